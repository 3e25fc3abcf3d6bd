"""Tests of whether the places of the truth are uniform, together: one p-value for all, and one for each that allows for the others.

Every quantity is asked whether its mean is 1/2 (a bias; for the density, regions too small or too large), whether it lies at the ends or in
the middle (a posterior too narrow or too wide), and, by Kolmogorov's distance, anything else. The least of these p-values is
compared with what it would be were another candidate the truth: posteriors that are right do not notice the exchange. This needs no
formula for how parameters, densities and distances hang together, and is exact for any number of tests and draws.

References:
    Neyman (1937), Skand. Aktuarietidskr. 20, 149 (smooth tests); Stephens (1970), JRSS B 32, 115 (Kolmogorov's distance); Westfall & Young
    (1993), Resampling-Based Multiple Testing (least p-value, adjusted p-values); Phipson & Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9,
    39 (p-values of random exchanges are never zero); Besag & Clifford (1991), Biometrika 78, 301 (when exchanges are enough).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import kolmogorov as kolmogorov_sf
from scipy.special import log_ndtr
from scipy.stats import kstwo

from .places import Places

QUESTIONS = ("mean", "spread", "shape")
EXCHANGES = 999
ENOUGH = 20
"""Exchanges that look as wrong as the truth: after so many it is clear how usual that is, and no more are made."""
BLOCK = 2**18
"""Places that are looked at at once."""
HAIR = 1e-9
"""Sums in another order differ by less."""


@dataclass(frozen=True, eq=False)
class Uniformity:
    """What the tests say.

    Attributes:
        p: of all together: how often right posteriors look at least as wrong.
        statistic: (quantity, question) the mean and the spread in their standard errors, and Kolmogorov's distance.
        alone: (quantity, question) p-values of each test alone.
        adjusted: (quantity, question) the same, allowing for there being many: how often right posteriors have any as small.
    """

    p: float
    statistic: np.ndarray
    alone: np.ndarray
    adjusted: np.ndarray


def uniformity(places: Places, rng: np.random.Generator, exchanges: int = EXCHANGES) -> Uniformity:
    """Return whether the truths' places are uniform in all quantities.

    Args:
        places: of n tests, n at least 1.
        rng: chooses who is exchanged for the truth.
        exchanges: how often at most; the least p-value is 1 / (exchanges + 1).
    """
    n, _, quantities = places.values.shape
    statistic = _statistics(places.truth[None])[0]
    alone = _log_p(statistic, n)
    step = max(1, BLOCK // (n * quantities))
    least = np.empty(0)
    while len(least) < exchanges and (least <= alone.min() + HAIR).sum() < ENOUGH:
        chosen = (rng.random((min(step, exchanges - len(least)), n)) * places.number).astype(np.int64)
        least = np.append(least, _log_p(_statistics(places.of(chosen)), n).min(axis=(1, 2)))
    # Of those that look as wrong, the last one ends the count, and is not part of it.
    ends = np.flatnonzero(least <= alone.min() + HAIR)[ENOUGH - 1 :]
    least = least[: ends[0]] if len(ends) else least
    adjusted = (1 + (least <= alone[..., None] + HAIR).sum(axis=-1)) / (len(least) + 1)
    exact = kstwo.sf(statistic[:, 2:], n)
    return Uniformity(float(adjusted.min()), statistic, np.concatenate([np.exp(alone[:, :2]), exact], axis=1), adjusted)


def kolmogorov(uniform: np.ndarray) -> np.ndarray:
    """Return the greatest distance of the distribution of (…, n) numbers from the uniform one, of the last axis."""
    n = uniform.shape[-1]
    ordered = np.sort(uniform, axis=-1)
    step = np.arange(n) / n
    return np.asarray(np.maximum((step + 1 / n - ordered).max(axis=-1), (ordered - step).max(axis=-1)))


def _statistics(uniform: np.ndarray) -> np.ndarray:
    """Return (b, quantity, question) of (b, n, quantity) places."""
    n = uniform.shape[1]
    off = uniform.astype(np.float64) - 0.5
    mean = np.sqrt(12 * n) * off.mean(axis=1)
    spread = np.sqrt(180 * n) * ((off**2).mean(axis=1) - 1 / 12)
    return np.stack([mean, spread, kolmogorov(np.moveaxis(uniform, 1, 2))], axis=-1)


def _log_p(statistic: np.ndarray, n: int) -> np.ndarray:
    """Return the logs of two-sided p-values of statistics of n uniform numbers, nearly: they make unlike statistics comparable."""
    normal = np.log(2) + log_ndtr(-np.abs(statistic[..., :2]))
    # Stephens (1970): the limit for many numbers, which is quick, holds for few ones too.
    shape = kolmogorov_sf((np.sqrt(n) + 0.12 + 0.11 / np.sqrt(n)) * statistic[..., 2:])
    return np.concatenate([normal, np.log(np.maximum(shape, np.finfo(float).tiny))], axis=-1)
