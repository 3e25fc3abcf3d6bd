"""One-to-one matching of detections to the truth, and the statistics of fractions."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree


def one_to_one(truth: np.ndarray, found: np.ndarray, brightness: np.ndarray, radius: float) -> np.ndarray:
    """Match each true source to at most one detection, bright sources choosing first.

    Args:
        truth: (n, d) true positions.
        found: (m, d) detected positions in the same space.
        brightness: (n,) by which the true sources queue.
        radius: greatest distance of a match.

    Returns:
        (n,) int, the detection matched to each true source, -1 for none. Each takes the nearest detection
        within the radius that no brighter one has taken.
    """
    matched = np.full(len(truth), -1, np.int64)
    if len(truth) == 0 or len(found) == 0:
        return matched
    pairs = cKDTree(truth).sparse_distance_matrix(cKDTree(found), radius, output_type="ndarray")
    place = np.empty(len(truth), np.int64)
    place[np.argsort(-brightness, kind="stable")] = np.arange(len(truth))
    order = np.lexsort((pairs["j"], pairs["v"], place[pairs["i"]]))
    taken = np.zeros(len(found), bool)
    for i, j in zip(pairs["i"][order].tolist(), pairs["j"][order].tolist(), strict=True):
        if matched[i] < 0 and not taken[j]:
            matched[i], taken[j] = j, True
    return matched


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return (n, 3) unit vectors of sky positions in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def chord(arcsec: float) -> float:
    """Return the length of the chord between unit vectors that far apart."""
    return 2.0 * float(np.sin(np.radians(arcsec / 3600.0) / 2.0))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 68.3 % Wilson score interval of a fraction; (0, 1) without trials.

    References:
        Wilson (1927), JASA 22, 209; Brown, Cai & DasGupta (2001), Statistical Science 16, 101.
    """
    if trials == 0:
        return 0.0, 1.0
    p = successes / trials
    middle = (p + 0.5 / trials) / (1 + 1 / trials)
    half = np.sqrt(p * (1 - p) / trials + 0.25 / trials**2) / (1 + 1 / trials)
    return max(0.0, min(p, float(middle - half))), min(1.0, max(p, float(middle + half)))


def robust(values: np.ndarray) -> tuple[float, float, float]:
    """Return median, scatter (1.4826 times the median absolute deviation) and the median's standard error."""
    if values.size == 0:
        return np.nan, np.nan, np.nan
    middle = float(np.median(values))
    scatter = 1.4826 * float(np.median(np.abs(values - middle)))
    return middle, scatter, float(np.sqrt(np.pi / 2) * scatter / np.sqrt(values.size))
