"""Whether probabilities mean what they say.

References:
    Brier (1950), Monthly Weather Review 78, 1; Naeini, Cooper & Hauskrecht (2015), AAAI, 2901 (expected calibration error);
    Guo et al. (2017), arXiv:1706.04599.
"""

from __future__ import annotations

import numpy as np

from ..match import wilson

BINS = 15
TINY = 1e-6
"""Probabilities below this, which no finite sample can tell from zero, count as this."""

Curve = dict[str, list[float | None]]


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error: the mean distance of accuracy and confidence in bins of confidence, by their numbers.

    Args:
        confidence: (n,) probability of the most probable class.
        right: (n,) whether it is right.
    """
    if not len(confidence):
        return float("nan")
    place = _bin(confidence)
    gaps = [abs(float(right[place == k].sum()) - float(confidence[place == k].sum())) for k in range(BINS)]
    return sum(gaps) / len(confidence)


def calibration_scatter(confidence: np.ndarray) -> float:
    """Return the scatter that the expected calibration error would have were the probabilities (n,) exactly right."""
    place = _bin(confidence)
    variance = 0.0
    for k in np.unique(place):
        mine = confidence[place == k]
        p = float(mine.mean())
        variance += len(mine) * p * (1 - p)
    return float(variance**0.5) / max(len(confidence), 1)


def log_loss(probability: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean negative natural logarithm of the probability of the true class.

    Args:
        probability: (n, class).
        truth: (n,) its index.
    """
    if not len(truth):
        return float("nan")
    return float(-np.log(np.maximum(probability[np.arange(len(truth)), truth], TINY)).mean())


def brier(probability: np.ndarray, truth: np.ndarray) -> float:
    """Return the Brier score: the mean squared distance of the probabilities and the truth, between 0 and 2."""
    if not len(truth):
        return float("nan")
    sure = np.eye(probability.shape[1])[truth]
    return float(((probability - sure) ** 2).sum(axis=1).mean())


def reliability(confidence: np.ndarray, right: np.ndarray) -> Curve:
    """Return the reliability curve: accuracy and mean confidence in the bins of confidence that hold something."""
    curve: Curve = {name: [] for name in ("probability_min", "probability_max", "accuracy", "low", "high", "confidence", "n")}
    place = _bin(confidence)
    for k in range(BINS):
        here = place == k
        n = int(here.sum())
        if n:
            low, high = wilson(int(right[here].sum()), n)
            row = (k / BINS, (k + 1) / BINS, float(right[here].mean()), low, high, float(confidence[here].mean()), n)
            for column, value in zip(curve.values(), row, strict=True):
                column.append(value)
    return curve


def _bin(confidence: np.ndarray) -> np.ndarray:
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
