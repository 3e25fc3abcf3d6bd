"""How many dimensions points fill, as the distances to their neighbours tell: fewer than there are columns if some depend on others."""

from __future__ import annotations

import numpy as np


def intrinsic_dimension(squared: np.ndarray) -> float:
    """Return the maximum-likelihood estimate of the dimension that points fill around themselves; NaN of too few neighbours.

    It is low by some ten per cent at the edges of few points in many dimensions, and lower for points that are clustered on all scales.

    Args:
        squared: (m, k) squared distances to the k nearest points, the point itself first, ascending.

    References:
        Levina & Bickel (2005), NeurIPS 17, 777; the mean is taken of inverses, as their likelihood for all points together has it.
    """
    if squared.shape[1] < 3 or not len(squared):
        return float("nan")
    ratios = np.log(squared[:, -1:] / squared[:, 1:-1]) / 2
    return float(1 / ratios.mean()) if ratios.any() else float("inf")
