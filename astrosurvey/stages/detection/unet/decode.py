"""From the network's maps to sources: peaks of the centre map, moved to where the offsets point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

CANDIDATE = 0.05
"""Score from which a peak may be a source."""
LARGEST_STEP = 2.0
"""Pixels; an offset that points further is not believed."""


@dataclass(frozen=True)
class Peaks:
    """Sources the network sees, in raster order of their pixels, (n,) each.

    Attributes:
        row, column: the pixel of the peak.
        y, x: position, pixels.
        score: value of the centre map, 0 to 1; not yet a probability.
        star: what the network says of its being a star, 0 to 1.
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


def peaks(centre: np.ndarray, offset: np.ndarray, star: np.ndarray, least: float) -> Peaks:
    """Return the local maxima of the centre map.

    Args:
        centre: (y, x) float32, 0 to 1.
        offset: (2, y, x) float32, pixels to add to (y, x).
        star: (y, x) float32, 0 to 1.
        least: score a peak must have.
    """
    highest = ndimage.maximum_filter(centre, size=3, mode="constant")
    row, column = np.nonzero((centre == highest) & (centre >= least))
    if len(row) > 1:  # a plateau of equal values counts once: its first pixel in raster order
        keep = np.ones(len(row), bool)
        index = np.full(centre.shape, -1, np.int64)
        index[row, column] = np.arange(len(row))
        for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
            y, x = row + dy, column + dx
            inside = (y >= 0) & (x >= 0) & (x < centre.shape[1])
            neighbour = np.where(inside, index[np.clip(y, 0, None), np.clip(x, 0, centre.shape[1] - 1)], -1)
            keep &= neighbour < 0
        row, column = row[keep], column[keep]
    step = offset[:, row, column].astype(np.float64)
    length = np.hypot(*step)
    step = np.where(length <= LARGEST_STEP, step, 0.0)
    ny, nx = centre.shape
    y, x = np.clip(row + step[0], -0.5, ny - 0.5), np.clip(column + step[1], -0.5, nx - 0.5)
    return Peaks(row, column, y, x, centre[row, column], star[row, column])
