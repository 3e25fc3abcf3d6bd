"""From a network's score to the probability that a source is real, learnt on tiles that training has not seen.

References:
    Zadrozny & Elkan (2002), KDD '02, 694 (isotonic calibration).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

KNOTS = 64
FEWEST = 100
"""Detections from which probabilities are learnt."""
RADIUS = 3.0
"""Pixels within which a detection is a true source."""


@dataclass(frozen=True)
class Calibration:
    """A rising function from score to probability, and the probability from which a catalogue has the wanted purity.

    Attributes:
        score, probability: (k,) knots, both rising.
        threshold: probability.
        purity: of what lies above the threshold, on the tiles it was learnt on.
    """

    score: np.ndarray
    probability: np.ndarray
    threshold: float
    purity: float

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """Return the probabilities of scores (any shape)."""
        return np.interp(score, self.score, self.probability)

    def slope(self, score: np.ndarray) -> np.ndarray:
        """Return the derivative of the probability with respect to the score, by finite difference."""
        step = 0.02
        return (self(score + step) - self(score - step)) / (2 * step)

    def least(self, probability: float) -> float:
        """Return the least score of at least that probability; above 1 if there is none."""
        above = np.flatnonzero(self.probability >= probability)
        if not above.size:
            return 1.1
        k = int(above[0])
        if k == 0:
            return float(self.score[0])
        return float(np.interp(probability, self.probability[k - 1 : k + 1], self.score[k - 1 : k + 1]))

    def to_card(self) -> dict[str, Any]:
        """Return the calibration as JSON values."""
        return {
            "score": [round(float(v), 5) for v in self.score],
            "probability": [round(float(v), 5) for v in self.probability],
            "threshold": round(self.threshold, 4),
            "purity": round(self.purity, 4),
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Calibration:
        """Return the calibration that a card holds."""
        return cls(np.array(card["score"]), np.array(card["probability"]), float(card["threshold"]), float(card["purity"]))


def calibrate(score: np.ndarray, real: np.ndarray, purity: float) -> Calibration:
    """Learn the probability of a score.

    Args:
        score: (n,) of detections.
        real: (n,) bool, which of them match a true source.
        purity: the threshold is the least probability above which the detections are at least as pure.

    Returns:
        the calibration; of fewer than 100 detections nothing is learnt, and the score stands for the probability.
    """
    if len(score) < FEWEST:
        return Calibration(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0.5, float(real[score > 0.5].mean()) if (score > 0.5).any() else 0.0)
    order = np.argsort(score, kind="stable")
    fitted = isotonic_regression(real[order].astype(float)).x
    place = np.unique(np.linspace(0, len(order) - 1, KNOTS).astype(int))
    # The mean over a knot's surroundings: a step function's corners are noise.
    pieces = np.array_split(np.arange(len(order)), len(place))
    knots = np.array([score[order][p].mean() for p in pieces])
    values = np.maximum.accumulate(np.array([fitted[p].mean() for p in pieces]))
    falling = np.cumsum(real[order][::-1]) / np.arange(1, len(order) + 1)
    pure = np.flatnonzero(falling[::-1] >= purity)
    cut = score[order][pure[0]] if pure.size else score[order][-1]
    chosen = score >= cut
    return Calibration(knots, values, float(np.interp(cut, knots, values)), float(real[chosen].mean()))
