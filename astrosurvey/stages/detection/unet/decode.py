"""From the network's maps to sources: peaks of the centre map, moved to where the offsets point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

CANDIDATE = 0.05
"""Score from which a peak may be a source."""
LARGEST_STEP = 2.0
"""Pixels; an offset that points further is not believed."""
AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Steps to a pixel's neighbours, in raster order."""


@dataclass(frozen=True)
class Peaks:
    """Sources the network sees, in raster order of their pixels, (n,) each.

    Attributes:
        row, column: the pixel of the peak.
        y, x: position, pixels.
        score: value of the centre map; from `Maps.peaks` 0 to 1, and not yet a probability.
        star: what the network says of its being a star; from `Maps.peaks` 0 to 1.
    """

    row: np.ndarray
    column: np.ndarray
    y: np.ndarray
    x: np.ndarray
    score: np.ndarray
    star: np.ndarray

    def take(self, which: np.ndarray) -> Peaks:
        """Return some of them."""
        return Peaks(*(getattr(self, name)[which] for name in ("row", "column", "y", "x", "score", "star")))


def peaks(centre: torch.Tensor, offset: torch.Tensor, star: torch.Tensor, least: float) -> Peaks:
    """Return the local maxima of the centre map.

    Args:
        centre: (y, x).
        offset: (2, y, x), pixels to add to (y, x).
        star: (y, x).
        least: value a peak must have.
    """
    ny, nx = centre.shape
    row, column = torch.nonzero(centre >= least, as_tuple=True)
    value = centre[row, column]
    highest = torch.ones_like(value, dtype=torch.bool)
    for dy, dx in AROUND:
        y, x = row + dy, column + dx
        inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
        highest &= ~inside | (centre[y.clamp(0, ny - 1), x.clamp(0, nx - 1)] <= value)
    row, column = row[highest], column[highest]
    # A plateau of equal values counts once: its first pixel in raster order. One more column keeps rows apart.
    at = row * (nx + 1) + column
    first = torch.ones_like(at, dtype=torch.bool)
    for dy, dx in AROUND[:4]:
        first &= ~torch.isin(at + dy * (nx + 1) + dx, at)
    row, column = row[first], column[first]
    score, stars, steps = (host(plane[..., row, column]) for plane in (centre, star, offset))
    steps = np.where(np.hypot(*steps) <= LARGEST_STEP, steps, 0.0)
    i, j = host(row), host(column)
    return Peaks(i, j, np.clip(i + steps[0], -0.5, ny - 0.5), np.clip(j + steps[1], -0.5, nx - 0.5), score, stars)


def host(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's values as a NumPy array, in single precision if they are in less."""
    return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy())
