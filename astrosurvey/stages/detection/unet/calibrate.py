"""From a network's score to the probability that a source is real, learnt on tiles that training has not seen.

How far a score can be trusted depends on the image: where the PSF is wide or the noise correlated, sources are rarer and
noise is smoother. So the score is first shifted by a linear function of both, fitted by maximum likelihood, and then
mapped to a probability by a rising function.

References:
    Zadrozny & Elkan (2002), KDD '02, 694 (isotonic calibration); Platt (1999), Advances in Large Margin Classifiers, 61.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit

KNOTS = 64
FEWEST = 100
"""Detections from which probabilities are learnt."""
RADIUS = 3.0
"""Pixels within which a detection is a true source."""
EXTREME = 1e-5
"""Scores are kept so far from 0 and 1."""


@dataclass(frozen=True)
class Calibration:
    """A rising function from score to probability, and the probability from which a catalogue has the wanted purity.

    Attributes:
        shift: (2,) what is added to the score's logit per unit of the image's conditions (`Features.conditions`: log2 of the width of
            the PSF over 4 px, log of the noise correlation).
        evidence, probability: (k,) knots, both rising; evidence is the shifted logit.
        threshold: probability.
        purity: of what lies above the threshold, on the tiles it was learnt on.
    """

    shift: np.ndarray
    evidence: np.ndarray
    probability: np.ndarray
    threshold: float
    purity: float

    def __call__(self, score: np.ndarray, conditions: np.ndarray) -> np.ndarray:
        """Return the probabilities of scores (n,) in an image of these conditions, (2,) or (n, 2)."""
        return np.interp(evidence_of(score, conditions, self.shift), self.evidence, self.probability)

    def slope(self, score: np.ndarray, conditions: np.ndarray) -> np.ndarray:
        """Return the derivative of the probability with respect to the score, by finite difference."""
        step = 0.02
        return (self(score + step, conditions) - self(score - step, conditions)) / (2 * step)

    def to_card(self) -> dict[str, Any]:
        """Return the calibration as JSON values."""
        return {
            "shift": [round(float(v), 5) for v in self.shift],
            "evidence": [round(float(v), 5) for v in self.evidence],
            "probability": [round(float(v), 5) for v in self.probability],
            "threshold": round(self.threshold, 4),
            "purity": round(self.purity, 4),
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Calibration:
        """Return the calibration that a card holds."""
        shift, evidence, probability = (np.array(card[name], float) for name in ("shift", "evidence", "probability"))
        return cls(shift, evidence, probability, float(card["threshold"]), float(card["purity"]))


def evidence_of(score: np.ndarray, conditions: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the logit of scores, shifted by the conditions."""
    return logit(np.clip(score, EXTREME, 1 - EXTREME)) + np.asarray(conditions, float) @ shift


def calibrate(score: np.ndarray, real: np.ndarray, conditions: np.ndarray, purity: float) -> Calibration:
    """Learn the probability of a score.

    Args:
        score: (n,) of detections.
        real: (n,) bool, which of them match a true source.
        conditions: (n, 2) of the images they are in.
        purity: the threshold is the least probability above which the detections are at least as pure.

    Returns:
        the calibration; of fewer than 100 detections nothing is learnt, and the score stands for the probability.
    """
    if len(score) < FEWEST or real.all() or not real.any():
        knots = np.linspace(-8.0, 8.0, KNOTS)
        return Calibration(np.zeros(2), knots, expit(knots), 0.5, float(real[score > 0.5].mean()) if (score > 0.5).any() else 0.0)
    shift = _shift(score, real, conditions)
    evidence = evidence_of(score, conditions, shift)
    order = np.argsort(evidence, kind="stable")
    fitted = isotonic_regression(real[order].astype(float)).x
    # The mean over a knot's surroundings: a step function's corners are noise.
    pieces = np.array_split(np.arange(len(order)), min(KNOTS, len(order)))
    knots = np.array([evidence[order][p].mean() for p in pieces])
    values = np.maximum.accumulate(np.array([fitted[p].mean() for p in pieces]))
    falling = np.cumsum(real[order][::-1]) / np.arange(1, len(order) + 1)
    pure = np.flatnonzero(falling[::-1] >= purity)
    cut = evidence[order][pure[0]] if pure.size else evidence[order][-1]
    return Calibration(shift, knots, values, float(np.interp(cut, knots, values)), float(real[evidence >= cut].mean()))


def _shift(score: np.ndarray, real: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Return the (2,) shift per unit of the conditions, in units of the score's logit, of the likeliest logistic model."""
    x = np.column_stack([np.ones(len(score)), logit(np.clip(score, EXTREME, 1 - EXTREME)), conditions])
    sign = np.where(real, 1.0, -1.0)

    def cost(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (x @ w)
        # A weak prior keeps conditions that never vary at zero.
        value = np.logaddexp(0, -margin).sum() + 0.5 * float(w[2:] @ w[2:])
        gradient = -(x * (sign * expit(-margin))[:, None]).sum(axis=0)
        gradient[2:] += w[2:]
        return float(value), gradient

    fitted = minimize(cost, np.array([0.0, 1.0, 0.0, 0.0]), jac=True, method="BFGS").x
    return np.asarray(fitted[2:] / max(float(fitted[1]), 0.1))
