"""What the deblending network sees and what it says: how a source's part of every pixel differs from what its template says.

The network looks at one source at a time, in the middle of a square stamp: at the data, at the templates of the source and of its
neighbours, and at what all templates leave over. It multiplies the source's template by a factor in every pixel before pixels
are shared, and says by what factor the flux is still off. A network that has learnt nothing changes nothing.

References:
    Boucaud et al. (2020), MNRAS 491, 2481, arXiv:1905.01324 (blend2mask2flux).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..bands import SKY, SOFT

SIDE = 64
"""Side of a stamp in pixels; the source is in pixel SIDE // 2."""
REACH = 2.0
"""How far stamps reach, in units of the footprints: the network was taught to see what is around a source."""
HEADS = (("change", 1), ("gain", 1))
CHANNELS = ("significance", "residual", "own template", "other templates", "log odds of its share")
FLOOR = 0.02
"""Light below this part of the noise does not count in the odds."""
MOST_CHANGE, MOST_GAIN = 4.0, 0.4
"""Natural logarithms of the greatest factors."""


class Planes(NamedTuple):
    """A source's stamp, (b, y, x) each, in units of the noise of a pixel.

    Attributes:
        data: flux; 0 where unusable.
        known: 1 where usable, else 0.
        own: the source's template.
        total: all sources' templates.
    """

    data: Tensor
    known: Tensor
    own: Tensor
    total: Tensor


def channels(planes: Planes) -> Tensor:
    """Return the network's input, (b, channel, y, x); see `CHANNELS`."""
    data, known, own, total = planes
    others = (total - own).clamp_min(0)
    odds = torch.log((own + FLOOR) / (others + FLOOR))
    return torch.stack([*(torch.asinh(v) for v in (data, (data - total) * known, own, others)), 0.3 * odds], 1)


def maps(network: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the factors on template and flux, (b, y, x) each."""
    found = network(inputs)
    change, gain = (found[name][:, 0].float() for name, _ in HEADS)
    return MOST_CHANGE * torch.tanh(change / MOST_CHANGE), MOST_GAIN * torch.tanh(gain)


def share(own: Tensor, total: Tensor, change: Tensor) -> Tensor:
    """Return the source's part of every pixel, its template being multiplied by the exponential of `change`."""
    changed = own * torch.exp(change)
    return changed / (changed + (total - own).clamp_min(0)).clamp_min(SKY)


def overall_gain(own: Tensor, gain: Tensor) -> Tensor:
    """Return each source's factor on its flux from the map of its logarithm, which counts where the template is bright.

    Args:
        own: (b, y, x) templates.
        gain: (b, y, x).
    """
    weight = own / (own + SOFT) * own
    return torch.exp((weight * gain).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp_min(1e-6))


def loss(network: nn.Module, batch: tuple[Planes, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the terms of the training loss: of the parts of each pixel, of the light given to the wrong source, and of the flux.

    Args:
        network: in training or not.
        batch: stamps, and what is to be learnt of them: fraction (b, y, x); flux, flux_err, whole (b,): the template's flux.
    """
    planes, truth = batch
    change, gain = maps(network, channels(planes))
    part = share(planes.own, planes.total, change)
    light, true = planes.total, truth["fraction"]
    weight = light / (light + 1)
    certain = true.clamp(1e-5, 1 - 1e-5)
    cross = functional.binary_cross_entropy(part.clamp(1e-5, 1 - 1e-5), true, reduction="none")
    entropy = functional.binary_cross_entropy(certain, true, reduction="none")
    # Errors count relative to the flux, or to its noise where that is more; those of the hopeless do not count for more and more.
    scale = truth["flux"] + truth["flux_err"]
    misplaced = ((part - true).abs() * light).sum((1, 2)) / scale
    wrong = (measured(planes, part, gain, truth["whole"]) - truth["flux"]).abs() / scale
    return {
        "masks": 0.5 * ((cross - entropy) * weight).sum() / weight.sum(),
        "misplaced": 0.1 * torch.log1p(misplaced / 0.1).mean(),
        "flux": 0.1 * torch.log1p(wrong / 0.1).mean(),
    }


def measured(planes: Planes, part: Tensor, gain: Tensor, whole: Tensor) -> Tensor:
    """Return the fluxes (b,) as `bands.Band.measure` finds them, times the gain.

    Args:
        planes: the stamps.
        part: (b, y, x) the source's part of every pixel.
        gain: (b, y, x) what `maps` returned.
        whole: (b,) flux of the templates, with what lies beyond the stamp.
    """
    weight = planes.own / (planes.own + SOFT) * planes.known
    seen = (weight * planes.own).sum((1, 2)).clamp_min(1e-6)
    return overall_gain(planes.own, gain) * whole / seen * (weight * part * planes.data).sum((1, 2))
