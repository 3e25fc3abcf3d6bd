"""Coordinates for Gaussians: directions become places on a plane."""

from __future__ import annotations

import numpy as np

from ....core.stage import DataError
from ..features import DIRECTION, Points

WIDE = 0.5
"""A map holds directions within 60 degrees of its middle: the cosine of the largest distance."""


def flattened(points: Points, what: str) -> np.ndarray:
    """Return (n, dimension) float64 coordinates in which points fill a volume.

    A direction, three columns on a sphere, becomes two on Lambert's azimuthal equal-area map around the mean direction.

    Args:
        points: n of them, in no periodic box.
        what: what needs the coordinates, for errors.

    Raises:
        DataError: directions are too far apart for a map.
    """
    if points.names[:1] != DIRECTION[:1] or not len(points):
        return points.values
    vectors, others = points.values[:, :3], points.values[:, 3:]
    radius = float(np.sqrt((vectors[0] ** 2).sum()))
    mean = np.sort(vectors, axis=0).sum(axis=0)
    length = float(np.sqrt((mean**2).sum()))
    middle = mean / length if length > 0 else vectors[0] / radius
    cosine = vectors @ middle / radius
    if cosine.min() < WIDE:
        raise DataError(f"{what} needs directions within 60 degrees of their middle; choose a part of the sky, or take clustering.hdbscan")
    # Two axes at right angles to the middle; the first along the equator but at the poles, where any will do.
    east = np.array([-middle[1], middle[0], 0.0])
    size = float(np.sqrt((east**2).sum()))
    east = east / size if size > 0 else np.array([0.0, 1.0, 0.0])
    axes = np.stack([east, np.cross(middle, east)])
    return np.concatenate([vectors @ axes.T * np.sqrt(2 / (1 + cosine))[:, None], others], axis=1)
