"""What the deblending network sees and what its maps mean: a source's part of every pixel, and its flux.

The network looks at one source at a time, in the middle of a square stamp, and is told where the others are. Of every
pixel it says which part of the light is the source's, how much the pixel should count in the flux, and by what
factor that weighted sum falls short of the whole.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 64
"""Side of a stamp in pixels; the source is in pixel SIDE // 2."""
HEADS = {"fraction": 1, "weight": 1, "gain": 1}
CHANNELS = 4
SPOT = 1.2
"""Standard deviation in pixels of the spot that stands for a position."""
KERNEL = 15
"""Side of the part of the PSF that the matched filter uses."""
LEAST = 0.05
"""Light below this part of the noise of a pixel is taken for sky when fractions are learned."""


class Maps(NamedTuple):
    """What the network says of each stamp, (b, y, x).

    Attributes:
        fraction: the part of the light that is the source's, 0 to 1.
        weight: how much a pixel counts in the flux, 0 to 1.
        gain: logarithm of the factor by which the flux exceeds the weighted sum, seen from here.
    """

    fraction: Tensor
    weight: Tensor
    gain: Tensor


def spots(x: Tensor, y: Tensor) -> Tensor:
    """Return (b, SIDE, SIDE) maps with a Gaussian spot of height one at each position, pixels from the stamp's corner."""
    side = torch.arange(SIDE, dtype=torch.float32, device=x.device)
    along_x = torch.exp(-0.5 * torch.square((side - x[:, None]) / SPOT))
    along_y = torch.exp(-0.5 * torch.square((side - y[:, None]) / SPOT))
    return along_y[:, :, None] * along_x[:, None, :]


def channels(snr: Tensor, kernel: Tensor, mine: Tensor, others: Tensor) -> Tensor:
    """Return the network's input, (b, CHANNELS, SIDE, SIDE).

    Args:
        snr: (b, SIDE, SIDE) flux in standard deviations of the noise of a pixel; 0 where unusable.
        kernel: (b, k, k) PSF of each stamp, k odd and at least `KERNEL`.
        mine: (b, SIDE, SIDE) spot of the source.
        others: (b, SIDE, SIDE) spots of all others.
    """
    rim = (kernel.shape[-1] - KERNEL) // 2
    kernel = kernel[:, rim : rim + KERNEL, rim : rim + KERNEL]
    unit = kernel / torch.sqrt(torch.square(kernel).sum((1, 2), keepdim=True))
    matched = functional.conv2d(snr[None], unit[:, None], padding=KERNEL // 2, groups=len(snr))[0]
    return torch.stack([torch.asinh(snr), torch.asinh(matched), mine, others], 1)


def maps(network: nn.Module, inputs: Tensor) -> Maps:
    """Return the network's maps for its inputs."""
    found = network(inputs)
    fraction, weight, gain = (found[name][:, 0].float() for name in HEADS)
    return Maps(torch.sigmoid(fraction), torch.sigmoid(weight + 2.0), 0.3 * torch.tanh(gain))


def flux(found: Maps, part: Tensor, data: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return the flux of each stamp's source and the effective weight of every pixel in it.

    Args:
        found: what the network says.
        part: (b, y, x) the source's part of every pixel, after all sources of the pixel have had their say.
        data: (b, y, x) flux per pixel; 0 where unusable.
        known: (b, y, x) 1 where a pixel is usable, else 0.

    Returns:
        (b,) flux in the unit of `data`, and (b, y, x) d flux / d data.
    """
    weight = found.weight * part
    total = weight.sum((1, 2)).clamp_min(1e-6)
    seen = (weight * known).sum((1, 2)).clamp_min(1e-6)
    gain = torch.exp((weight * found.gain).sum((1, 2)) / total) * (total / seen).clamp_max(4.0)
    each = weight * known * gain[:, None, None]
    return (each * data).sum((1, 2)), each


def loss(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the terms of the training loss: of the fractions, weighted by the light, and of the flux, relative to it."""
    found = maps(network, batch["inputs"])
    light = batch["light"]
    share = light / (light + 1.0)
    cross = functional.binary_cross_entropy(found.fraction.clamp(1e-5, 1 - 1e-5), batch["fraction"], reduction="none")
    entropy = functional.binary_cross_entropy(batch["fraction"].clamp(1e-5, 1 - 1e-5), batch["fraction"], reduction="none")
    masks = ((cross - entropy) * share).sum() / share.sum()
    guess, _ = flux(found, found.fraction, batch["snr"], torch.ones_like(batch["snr"]))
    # Errors count relative to the flux, or to its noise where that is more.
    relative = (guess - batch["flux"]) / (batch["flux"] + batch["flux_err"])
    return {"masks": masks, "flux": functional.smooth_l1_loss(relative, torch.zeros_like(relative), beta=0.05)}
