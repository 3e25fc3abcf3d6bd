"""Why the network sees a source: how much each pixel around it adds to its score.

References:
    Sundararajan, Taly & Yan (2017), arXiv:1703.01365 (integrated gradients).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ....networks.unet import UNet
from .features import Features

STEPS = 16
HALF = 24
"""Half the side of the stamp that is shown, pixels."""
SURROUNDINGS = 64
"""How far around the source the network looks; what lies further hardly counts."""


@dataclass(frozen=True)
class Saliency:
    """One source's stamp and what its pixels count for.

    Attributes:
        significance: (y, x) what the network sees of the pixels, asinh of S/N, bands added up; NaN outside the image.
        weight: (y, x) what each pixel adds to the logit of the centre map at the source; positive speaks for it.
        score: the centre map's logit at the source, and the logit where there is nothing but sky.
    """

    significance: np.ndarray
    weight: np.ndarray
    score: tuple[float, float]


def saliency(network: UNet, seen: Features, row: int, column: int) -> Saliency:
    """Return integrated gradients of the centre map at a pixel, from an empty sky to what is there.

    Over all pixels, the weights add up to the difference of both logits, but for the error of the numerical integral.

    Args:
        network: in evaluation mode, single precision, on the CPU.
        seen: the image.
        row, column: the source's pixel.
    """
    reach = -(-SURROUNDINGS // network.multiple) * network.multiple
    y0, x0 = ((row - reach) // network.multiple) * network.multiple, ((column - reach) // network.multiple) * network.multiple
    size = 2 * reach + network.multiple
    look = _cut(seen, y0, x0, size)
    groups = len(seen.conditions)
    x = torch.from_numpy(look)[None]
    sky = x.clone()
    sky[:, :groups] = 0.0
    at = row - y0, column - x0
    total = torch.zeros_like(x)
    for step in range(STEPS):
        point = (sky + (step + 0.5) / STEPS * (x - sky)).requires_grad_(True)
        network(point)["centre"][0, 0, at[0], at[1]].backward()
        assert point.grad is not None
        total += point.grad / STEPS
    with torch.no_grad():
        logits = tuple(float(network(z)["centre"][0, 0, at[0], at[1]]) for z in (x, sky))
    weight = ((x - sky) * total)[0, :groups].sum(dim=0).numpy()
    shown = slice(at[0] - HALF, at[0] + HALF + 1), slice(at[1] - HALF, at[1] + HALF + 1)
    ny, nx = seen.maps.shape[1:]
    inside = np.zeros((size, size), bool)
    inside[max(-y0, 0) : ny - y0, max(-x0, 0) : nx - x0] = True
    significance = np.where(inside, look[:groups:2].sum(axis=0), np.nan)
    return Saliency(significance[shown], weight[shown], (logits[0], logits[1]))


def _cut(seen: Features, y0: int, x0: int, size: int) -> np.ndarray:
    """Return the network's input for a square that may reach beyond the image, where there is nothing."""
    ny, nx = seen.maps.shape[1:]
    inside = slice(max(y0, 0), min(y0 + size, ny)), slice(max(x0, 0), min(x0 + size, nx))
    part = seen.window(*inside)
    full = np.zeros((part.shape[0], size, size), np.float32)
    full[len(seen.conditions) :] = seen.conditions[:, None, None]
    full[:, inside[0].start - y0 : inside[0].stop - y0, inside[1].start - x0 : inside[1].stop - x0] = part
    return full
