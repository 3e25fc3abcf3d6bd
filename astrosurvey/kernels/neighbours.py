"""The k nearest neighbours of every point among all points, exact, with or without periodic sides."""

from __future__ import annotations

import numpy as np

MAX_COLUMNS = 20
BLOCK = 2**22
"""Distances that the reference has in memory at a time."""


def reference(points: np.ndarray, k: int, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest neighbours of every point, the point itself among them, the nearest first.

    Squared distances are sums of squared differences in double precision, the first column's first. Neighbours at equal distances
    follow the order of their rows. So of more than k equal points all have the first k of them as neighbours, perhaps without themselves.
    Points need not be in any order; in that of `morton.order` results do not depend on the rows' order, and searching is quicker.

    Args:
        points: (n, d) float64, C-contiguous, finite, d from 1 to 20.
        k: neighbours wanted, at least 1. With fewer points than that all of them are returned: k is cut to n.
        box: (d,) float64, period of each column, 0 for none. A periodic coordinate is first brought into [0, period], and the
            difference of two is the shorter way round.

    Returns:
        (n, min(k, n)) int32, rows of the neighbours; and (n, min(k, n)) float64, squared distances.

    Raises:
        ValueError: coordinates are not finite, or n, d, k or the box are not as said.
    """
    points, k = _prepared(points, k, box)
    n = len(points)
    indices, squared = np.empty((n, k), np.int32), np.empty((n, k))
    rows = max(BLOCK // max(n, 1), 1)
    for first in range(0, n, rows):
        some = slice(first, min(first + rows, n))
        total = np.zeros((some.stop - first, n))
        for x, period in zip(points.T, box, strict=True):
            apart = np.abs(x[some, None] - x)
            total += (np.minimum(apart, period - apart) if period else apart) ** 2
        indices[some] = np.argsort(total, axis=1, kind="stable")[:, :k]
        squared[some] = np.take_along_axis(total, indices[some].astype(np.int64), axis=1)
    return indices, squared


def _prepared(points: np.ndarray, k: int, box: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the points with periodic coordinates brought into the box, and k cut to their number."""
    n, d = points.shape
    if not 1 <= d <= MAX_COLUMNS:
        raise ValueError(f"neighbours are found in 1 to {MAX_COLUMNS} columns, not {d}; leave some out or project them")
    if n >= 2**31:
        raise ValueError(f"{n} points are too many for 32-bit indices; cluster fewer than 2**31 at once")
    if k < 1:
        raise ValueError(f"at least 1 neighbour must be wanted, not {k}")
    if box.shape != (d,) or not (np.isfinite(box) & (box >= 0)).all():
        raise ValueError(f"the box must have a period for each of {d} columns, positive or 0 for none, not {box.tolist()}")
    if n and not np.isfinite(points.max() - points.min()):
        raise ValueError("points must be finite: leave out rows with missing values")
    if box.any():
        points = points.copy()
        points[:, box > 0] = np.mod(points[:, box > 0], box[box > 0])
    return points, min(k, n)


def cpu(points: np.ndarray, k: int, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest neighbours of every point; see `reference`."""
    from scipy.spatial import cKDTree

    points, k = _prepared(points, k, box)
    if len(points) <= k:
        return reference(points, max(k, 1), box)
    _, found = cKDTree(points, boxsize=box).query(points, np.arange(1, k + 1))
    squared = np.zeros(found.shape)
    for x, period in zip(points.T, box, strict=True):
        apart = np.abs(x[:, None] - x[found])
        squared += (np.minimum(apart, period - apart) if period else apart) ** 2
    best = np.lexsort([found, squared], axis=1)
    return np.take_along_axis(found, best, axis=1).astype(np.int32), np.take_along_axis(squared, best, axis=1)
