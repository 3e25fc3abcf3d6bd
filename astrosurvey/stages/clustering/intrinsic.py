"""How many dimensions points fill, as the distances to their neighbours tell: fewer than there are columns if some depend on others.

References:
    Levina & Bickel (2005), NeurIPS 17, 777; means are taken of inverses, as their likelihood for all points together has it.
"""

from __future__ import annotations

import numpy as np


def inverse_dimension(squared: np.ndarray) -> np.ndarray:
    """Return (m,) for each point the mean logarithm of the distance to the last neighbour over those to all, the last among them.

    Args:
        squared: (m, k) squared distances to the k nearest points, the point itself first, ascending.
    """
    if squared.shape[1] < 2:
        return np.zeros(len(squared))
    ratio = np.maximum(squared, np.finfo(float).tiny)
    with np.errstate(invalid="ignore"):  # of points that are infinitely far apart nothing is known
        # The point itself, in front, is no neighbour.
        ratio = ratio[:, -1:] / ratio[:, 1:]
    return np.asarray(0.5 * np.log(ratio, out=ratio).mean(axis=1))


def intrinsic_dimension(inverse: np.ndarray, k: int) -> float:
    """Return the maximum-likelihood estimate of the dimension that points fill around themselves; NaN of too few neighbours.

    It is low by some ten per cent at the edges of few points in many dimensions, and lower for points that are clustered on all scales.

    Args:
        inverse: (m,) what `inverse_dimension` returned of k neighbours.
        k: 3 or more; the last one, with itself, tells nothing.
    """
    if k < 3 or not len(inverse):
        return float("nan")
    mean = inverse.mean() * (k - 1) / (k - 2)
    return float(1 / mean) if mean else float("inf")
