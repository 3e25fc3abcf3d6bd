"""Basis vectors of drawn spectra."""

from __future__ import annotations

import numpy as np


def basis(flux: np.ndarray, count: int) -> np.ndarray:
    """Return the leading right singular vectors, each with a mean square of 1 and more light above zero than below.

    Args:
        flux: (n, pixel) float64, of comparable brightness; not centred, so that the first vector is about their mean.
        count: how many.

    Returns:
        (count, pixel) float32.
    """
    _, weights = np.linalg.eigh(flux @ flux.T)  # ascending
    vectors = weights[:, ::-1][:, :count].T @ flux
    vectors *= np.sqrt(flux.shape[1]) / np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= np.where(vectors.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    return np.asarray(vectors, np.float32)
