"""Where the truth stands among draws of its posterior, by any quantity: what all tests of calibration are made of.

If posteriors are right, the true parameters and the draws are exchangeable given the data: nothing tells which of them is the truth. So
the rank of the truth in any quantity, a parameter, the density, a distance, is uniform over the places 0 … s among s draws. Ranks are
discrete; to make tests exact for any number of draws, each is spread at random over its own 1 / (s + 1), which leaves exactly uniform
numbers, and ties are broken at random.

References:
    Cook, Gelman & Rubin (2006), J. Comput. Graph. Stat. 15, 675; Talts et al. (2018), arXiv:1804.06788 (simulation-based calibration);
    Hermans et al. (2021), arXiv:2110.06581 (regions of highest density); Lemos et al. (2023), arXiv:2302.03026 (TARP).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BOX = 0.005
"""Part of all draws that lies outside, on either side, of the box in which TARP's reference points are drawn."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where each of the candidates of n tests, the truth and its draws, stands among the others.

    Attributes:
        values: (n, 1 + s, quantity) float32 in [0, 1]; the truth is candidate 0. NaN for draws that are missing.
        number: (n,) candidates there are, missing draws left out; they come first.
        parameters: how many quantities are parameters; then follow the density and the distance to TARP's reference point.
    """

    values: np.ndarray
    number: np.ndarray
    parameters: int

    def of(self, candidate: np.ndarray) -> np.ndarray:
        """Return (…, n, quantity) places of one candidate of each test, (…, n)."""
        return np.asarray(self.values[np.arange(len(self.number)), candidate])

    @property
    def truth(self) -> np.ndarray:
        """(n, quantity) places of the truth, uniform in [0, 1] if posteriors are right."""
        return np.asarray(self.values[:, 0], np.float64)


def places(
    truth: np.ndarray,
    draws: np.ndarray,
    log_prob_truth: np.ndarray,
    log_prob_draws: np.ndarray,
    rng: np.random.Generator,
    part: np.ndarray | None = None,
) -> Places:
    """Return the places of true parameters and of draws, in each parameter, in density and in distance to a random point.

    Args:
        truth: (n, p) parameters that the data were simulated with.
        draws: (n, s, p) of the posteriors of these data; a draw with a NaN is missing.
        log_prob_truth, log_prob_draws: (n,) and (n, s) the posteriors' log densities there, up to a constant for each test. NaN is
            the least density.
        rng: breaks ties, spreads ranks, and chooses reference points.
        part: (n, p) bool, the parameters whose distance counts in each test; None for all.
    """
    n, s, p = draws.shape
    candidates = np.concatenate([truth[:, None], draws], axis=1)
    log_prob = np.concatenate([log_prob_truth[:, None], log_prob_draws], axis=1)
    there = np.isfinite(candidates).all(axis=2)
    first = np.argsort(~there, axis=1, kind="stable")
    candidates, log_prob = np.take_along_axis(candidates, first[..., None], 1), np.take_along_axis(log_prob, first, 1)
    number = there.sum(axis=1)
    missing = np.arange(1 + s) >= number[:, None]
    found = np.empty((n, 1 + s, p + 2), np.float32)
    for quantity in range(p):
        found[..., quantity] = spread(candidates[..., quantity], missing, rng)
    found[..., p] = spread(-np.where(np.isnan(log_prob), -np.inf, log_prob), missing, rng)
    found[..., p + 1] = spread(_distances(candidates, missing, rng, part), missing, rng)
    return Places(found, number, p)


def spread(values: np.ndarray, missing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (n, k) places of values in their rows: the rank, ties at random, plus a random part of one, over their number.

    Args:
        values: (n, k).
        missing: (n, k) which of them do not count; their place is NaN.
        rng: breaks ties and spreads.
    """
    order = np.lexsort((rng.random(values.shape, np.float32), values, missing), axis=1)
    rank = np.empty(values.shape, np.float32)
    np.put_along_axis(rank, order, np.arange(values.shape[1], dtype=np.float32)[None], 1)
    number = np.maximum(values.shape[1] - missing.sum(axis=1, keepdims=True), 1)
    return np.asarray(np.where(missing, np.nan, (rank + rng.random(values.shape, np.float32)) / number), np.float32)


def _distances(candidates: np.ndarray, missing: np.ndarray, rng: np.random.Generator, part: np.ndarray | None) -> np.ndarray:
    """Return (n, k) distances to a reference point for each test, uniform in the box that all candidates of all tests fill.

    The box knows nothing of which candidate is the truth, so that exchanging them leaves it as it is.
    """
    n, _, p = candidates.shape
    known = candidates[~missing]
    if not len(known):
        return np.zeros(missing.shape)
    low, high = np.quantile(known, [BOX, 1 - BOX], axis=0)
    width = np.where(high > low, high - low, 1.0)
    with np.errstate(invalid="ignore"):
        apart = (candidates - low) / width - rng.random((n, 1, p))
    if part is not None:
        apart = np.where(part[:, None], apart, 0.0)
    return np.asarray(np.sqrt((apart**2).sum(axis=2)))
