"""Gaussian mixtures by expectation and maximisation, with a uniform component for what belongs to none of them.

Scikit-learn's mixtures have no such component, and without it a few broad Gaussians are spent on the field stars.

References:
    Dempster, Laird & Rubin (1977), JRSS B 39, 1; Banfield & Raftery (1993), Biometrics 49, 803 (uniform noise);
    Schwarz (1978), Ann. Stat. 6, 461 (BIC).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular

FLOOR = 1e-6
"""Added to every variance, as a part of the square of the points' spread, so that a Gaussian cannot shrink onto a single point."""
MOST_STEPS = 300
BLOCK = 2**16
"""Points whose memberships are calculated at once."""


@dataclass(frozen=True)
class Mixture:
    """A density: k Gaussians, and a uniform background in the box of the points.

    Attributes:
        weight: (k + 1,) parts of all points, the background's last; 0 without one.
        mean: (k, d).
        factor: (k, d, d) lower Cholesky factors of the covariances.
        log_uniform: the log of the background's density.
        log_likelihood: of all points.
    """

    weight: np.ndarray
    mean: np.ndarray
    factor: np.ndarray
    log_uniform: float
    log_likelihood: float = -np.inf

    def log_terms(self, values: np.ndarray) -> np.ndarray:
        """Return (n, k + 1) logs of what each component, the background last, adds to the density at (n, d) points."""
        d = values.shape[1]
        terms = np.empty((len(values), len(self.weight)))
        with np.errstate(divide="ignore"):
            log_weight = np.log(self.weight)
        for c, (mean, factor) in enumerate(zip(self.mean, self.factor, strict=True)):
            apart = solve_triangular(factor, (values - mean).T, lower=True, check_finite=False)
            scale = np.log(np.diag(factor)).sum() + 0.5 * d * np.log(2 * np.pi)
            terms[:, c] = log_weight[c] - 0.5 * (apart**2).sum(axis=0) - scale
        terms[:, -1] = log_weight[-1] + self.log_uniform
        return terms

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (n, k + 1) probabilities that points belong to each component, and (n,) the log of the density."""
        terms = self.log_terms(values)
        highest = terms.max(axis=1, keepdims=True)
        terms = np.exp(terms - highest)
        total = terms.sum(axis=1, keepdims=True)
        return terms / total, (highest + np.log(total))[:, 0]

    def bic(self, n: int) -> float:
        """Return Schwarz's criterion for n points; less is better."""
        k, d = self.mean.shape
        free = k * (d + d * (d + 1) / 2) + k - 1 + (self.weight[-1] > 0)
        return float(free * np.log(n) - 2 * self.log_likelihood)


def fit(values: np.ndarray, label: np.ndarray, k: int, background: float, tolerance: float) -> Mixture:
    """Fit a mixture to (n, d) points, from (n,) labels 0 to k - 1 to begin with.

    Args:
        values: points, n at least 1.
        label: a first division of them.
        k: Gaussians, at least 1.
        background: the part of all points that is background, to begin with; with 0 there is none.
        tolerance: see `refine`.
    """
    d = values.shape[1]
    hold = np.zeros((len(values), k + 1))
    hold[np.arange(len(values)), label] = 1 - background
    hold[:, k] = background
    span = np.ptp(values, axis=0)
    volume = float(np.log(np.where(span > 0, span, 1.0)).sum())
    empty = Mixture(np.zeros(k + 1), np.zeros((k, d)), np.tile(np.eye(d), (k, 1, 1)), -volume)
    return refine(values, _Sums(values, empty, hold).maximum(empty, _floor(values)), tolerance)


def refine(values: np.ndarray, mixture: Mixture, tolerance: float) -> Mixture:
    """Return a mixture after steps of expectation and maximisation, until the mean log-likelihood grows by less than the tolerance."""
    floor, before = _floor(values), -np.inf
    for _ in range(MOST_STEPS):
        sums = _Sums(values, mixture)
        if sums.log_likelihood - before < tolerance * len(values):
            break
        before = sums.log_likelihood
        mixture = sums.maximum(mixture, floor)
    return replace(mixture, log_likelihood=_Sums(values, mixture).log_likelihood)


def spread(values: np.ndarray) -> np.ndarray:
    """Return (d,) half the range of the central 68 % of (n, d) points; where that is nothing, the standard deviation, or 1."""
    low, high = np.quantile(values, [0.16, 0.84], axis=0)
    deviation = values.std(axis=0)
    return np.asarray(np.where(high > low, (high - low) / 2, np.where(deviation > 0, deviation, 1.0)))


def _floor(values: np.ndarray) -> np.ndarray:
    return np.asarray(FLOOR * spread(values) ** 2)


class _Sums:
    """What a maximisation needs of the points: sums weighted by memberships, those of the mixture or given ones, block by block."""

    def __init__(self, values: np.ndarray, mixture: Mixture, hold: np.ndarray | None = None) -> None:
        self.n, self.log_likelihood = len(values), 0.0
        k, d = mixture.mean.shape
        self.count, self.first, self.second = np.zeros(k + 1), np.zeros((k, d)), np.zeros((k, d, d))
        for first in range(0, len(values), BLOCK):
            x = values[first : first + BLOCK]
            if hold is None:
                r, log_density = mixture(x)
                self.log_likelihood += float(log_density.sum())
            else:
                r = hold[first : first + BLOCK]
            self.count += r.sum(axis=0)
            self.first += r[:, :k].T @ x
            for c in range(k):
                self.second[c] += (r[:, c, None] * x).T @ x

    def maximum(self, before: Mixture, floor: np.ndarray) -> Mixture:
        """Return the mixture that is likeliest with these memberships; a Gaussian without points stays as it was."""
        mean, factor = before.mean.copy(), before.factor.copy()
        for c, count in enumerate(self.count[:-1]):
            if count > 1e-3:
                mean[c] = self.first[c] / count
                covariance = self.second[c] / count - np.outer(mean[c], mean[c])
                factor[c] = _factor(covariance, floor)
        return Mixture(self.count / self.n, mean, factor, before.log_uniform)


def _factor(covariance: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Return the Cholesky factor of a covariance, with enough added to its diagonal for there to be one."""
    while True:
        try:
            return np.asarray(np.linalg.cholesky(covariance + np.diag(floor)))
        except np.linalg.LinAlgError:
            floor = 10 * floor
