"""What the network is taught: a map of centres, the way to them, whose pixels are sources, and which are stars.

References:
    Zhou, Wang & Krähenbühl (2019), arXiv:1904.07850 (centres as points, their loss); Lin et al. (2017), arXiv:1708.02002.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

HEADS = (("centre", 1), ("offset", 2), ("mask", 1), ("star", 1))
"""The network's heads and their channels."""
CENTRE_SIGMA = 0.2
"""Width of the bump that marks a centre, in FWHM of the PSF: bumps of a pair that can be told apart must not merge."""
NARROWEST, WIDEST = 0.6, 1.5
"""Pixels; within these the bump stays."""
FAINTEST = 1.5
"""Sources of less matched signal to noise are sky: nobody could tell."""
CERTAIN = 6.0
"""From this signal to noise on, the network is taught which sources are stars."""
REACH = 3
"""Half the side of the patch in which a source writes its targets, pixels."""


@dataclass(frozen=True)
class Objects:
    """True objects of one image, (n,) each.

    Attributes:
        x, y: pixels.
        snr: matched signal to noise of the object alone.
        star: bool.
    """

    x: np.ndarray
    y: np.ndarray
    snr: np.ndarray
    star: np.ndarray

    def inside(self, y0: int, x0: int, size: int) -> Objects:
        """Return the objects in a square, with some margin, in its own pixels."""
        x, y = self.x - x0, self.y - y0
        near = (x > -REACH) & (y > -REACH) & (x < size + REACH) & (y < size + REACH)
        return Objects(x[near], y[near], self.snr[near], self.star[near])


def paint(objects: Objects, size: int, fwhm: float) -> dict[str, np.ndarray]:
    """Return the targets of a square: centre (y, x), offset (2, y, x) to (y, x), near (y, x), star (y, x).

    `near` is where offset and star are taught; star is -1 where it is not known.

    Args:
        objects: in the square's pixels.
        size: side of the square, pixels.
        fwhm: of the PSF, pixels.
    """
    sigma = min(max(CENTRE_SIGMA * fwhm, NARROWEST), WIDEST)
    centre = np.zeros((size, size), np.float32)
    offset = np.zeros((2, size, size), np.float32)
    nearest = np.full((size, size), np.inf, np.float32)
    star = np.full((size, size), -1.0, np.float32)
    for x, y, snr, is_star in zip(objects.x, objects.y, objects.snr, objects.star, strict=True):
        column, row = round(float(x)), round(float(y))
        y0, y1, x0, x1 = max(row - REACH, 0), min(row + REACH + 1, size), max(column - REACH, 0), min(column + REACH + 1, size)
        if y0 >= y1 or x0 >= x1:
            continue
        dy, dx = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        dy, dx = np.float32(y) - dy, np.float32(x) - dx
        distance2 = dx * dx + dy * dy
        bump = np.exp(-0.5 * distance2 / sigma**2)
        if 0 <= row < size and 0 <= column < size:
            bump[row - y0, column - x0] = 1.0
        box = (slice(y0, y1), slice(x0, x1))
        np.maximum(centre[box], bump, out=centre[box])
        closer = (distance2 < nearest[box]) & (distance2 < 2.0**2)
        nearest[box][closer] = distance2[closer]
        offset[0][box][closer], offset[1][box][closer] = dy[closer], dx[closer]
        star[box][closer] = float(is_star) if snr > CERTAIN else -1.0
    return {"centre": centre, "offset": offset, "near": np.isfinite(nearest), "star": star}


def losses(maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the terms of the loss.

    Args:
        maps: the network's heads, (batch, channels, y, x); all but "offset" are logits.
        targets: centre, near, star, mask (batch, y, x); offset (batch, 2, y, x).
    """
    logits, truth = maps["centre"][:, 0].float(), targets["centre"]
    found = functional.logsigmoid(logits)
    missed = functional.logsigmoid(-logits)
    chance = torch.sigmoid(logits)
    at = truth == 1.0
    n = at.sum().clamp(min=1)
    centre = -torch.where(at, (1 - chance) ** 2 * found, (1 - truth) ** 4 * chance**2 * missed).sum() / n
    near = targets["near"].float()
    apart = functional.smooth_l1_loss(maps["offset"].float(), targets["offset"], reduction="none", beta=0.25).sum(dim=1)
    star, judged = targets["star"], (targets["star"] >= 0).float()
    kind = functional.binary_cross_entropy_with_logits(maps["star"][:, 0].float(), star.clamp(min=0), reduction="none")
    return {
        "centre": centre,
        "offset": (apart * near).sum() / near.sum().clamp(min=1),
        "mask": functional.binary_cross_entropy_with_logits(maps["mask"][:, 0].float(), targets["mask"]),
        "star": 0.3 * (kind * judged).sum() / judged.sum().clamp(min=1),
    }
