"""Posteriors from a likelihood, by importance: the yardstick of estimators that do without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...core.stage import DataError
from .priors import Prior

LogDensity = Callable[[np.ndarray], np.ndarray]

_FREEDOM = 5.0
_DRAWS, _ROUNDS, _SETTLED = 2000, 60, 3
_ENOUGH = 0.05
"""The share of draws that must be effective for the posterior to be approached further."""
_WIDER = 1.1
"""A proposal is wider than the posterior it was fitted to, by this factor in each direction."""
_DEEP = 25.0
"""Draws whose prior is below that of the best by this much in the logarithm are not looked at."""
_AHEAD = 1.1
"""How far above the largest weight that was seen the bound of rejection lies."""


@dataclass(frozen=True)
class Weighted:
    """Draws of a proposal with the logarithm of what they weigh.

    Attributes:
        theta: (n, p).
        log_weight: (n,) log posterior over proposal, up to a constant; -inf outside the prior.
    """

    theta: np.ndarray
    log_weight: np.ndarray

    @property
    def effective(self) -> float:
        """The effective number of independent draws, (sum w)^2 / sum w^2."""
        weight = np.exp(self.log_weight - self.log_weight.max())
        return float(weight.sum() ** 2 / (weight**2).sum())

    def accepted(self, rng: np.random.Generator) -> np.ndarray:
        """Return (m, p) draws of the posterior, each row at most once, by rejection under the largest weight."""
        weight = np.exp(self.log_weight - self.log_weight.max())
        return self.theta[rng.random(len(weight)) * _AHEAD < weight]


def by_rejection(weighted: Callable[[int], Weighted], number: int, rng: np.random.Generator) -> np.ndarray:
    """Return (number, p) independent draws of a posterior, from as many weighted draws as that takes.

    Args:
        weighted: gives this many weighted draws.
        number: how many draws of the posterior are wanted.
        rng: decides.

    Raises:
        DataError: the proposal is so far from the posterior that it would take for ever.
    """
    pool = weighted(max(4 * number, 2000))
    for _ in range(30):
        found = pool.accepted(rng)
        if len(found) >= number:
            return found[:number]
        more = weighted(max(2000, min(len(pool.theta), 20 * number)))
        pool = Weighted(np.concatenate([pool.theta, more.theta]), np.concatenate([pool.log_weight, more.log_weight]))
    raise DataError(f"of {len(pool.theta)} proposals {pool.effective:.0f} are effective; no reference posterior can be had this way")


class AdaptiveProposal:
    """Student's t around a posterior with one mode, found by tempering, on the scales on which the prior is even or normal.

    Args:
        log_posterior: of (n, p) parameters, up to a constant.
        prior: the first draws are made from it.
        rng: decides.

    References: Cappé et al. (2004), J. Comput. Graph. Stat. 13, 907; Geweke (1989), Econometrica 57, 1317.
    """

    def __init__(self, log_posterior: LogDensity, prior: Prior, rng: np.random.Generator) -> None:
        self._log_posterior, self._prior = log_posterior, prior
        theta = prior.draw(rng, _DRAWS)
        base = prior.to_base(theta)
        log_proposal = self._log_prior(theta)
        settled = 0
        for _ in range(_ROUNDS):
            height, log_prior = self._heights(base)
            power, weight = _tempered(height, log_prior, log_proposal)
            self._mean = weight @ base
            offset = base - self._mean
            cov = (weight[:, None] * offset).T @ offset
            self._scale = np.linalg.cholesky(_WIDER**2 * cov + 1e-12 * np.eye(len(cov)) * np.trace(cov))
            settled = settled + 1 if power == 1 else 0
            if settled == _SETTLED:
                return
            base, log_proposal = self._draw(_DRAWS, rng)
        raise DataError("the posterior was not found by tempering; its mode is too narrow for the draws that are spent on it")

    def _log_prior(self, theta: np.ndarray) -> np.ndarray:
        """Return (n,) the log prior per volume of the scales."""
        return self._prior.log_density(theta) - self._prior.log_slope(theta)

    def _heights(self, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (n,) the log posterior and (n,) the log prior per volume of the scales; -inf where there is none to speak of."""
        with np.errstate(over="ignore"):
            theta = self._prior.from_base(base)
        log_prior, height = self._log_prior(theta), np.full(len(base), -np.inf)
        # The tails of the t reach beyond every prior, to where a simulator would only waste its time.
        within = log_prior > log_prior.max() - _DEEP
        height[within] = self._log_posterior(theta[within]) - self._prior.log_slope(theta[within])
        return np.where(np.isfinite(height), height, -np.inf), log_prior

    def _draw(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return (number, p) draws and (number,) the log density that they are drawn from, up to a constant."""
        size = len(self._mean)
        z = rng.standard_normal((number, size)) * np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, (number, 1)))
        return self._mean + z @ self._scale.T, -0.5 * (_FREEDOM + size) * np.log1p((z**2).sum(axis=1) / _FREEDOM)

    def weighted(self, number: int, rng: np.random.Generator) -> Weighted:
        """Return this many draws of the proposal, with weights."""
        base, log_proposal = self._draw(number, rng)
        return Weighted(self._prior.from_base(base), self._heights(base)[0] - log_proposal)


def _tempered(height: np.ndarray, log_prior: np.ndarray, log_proposal: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the largest power of the likelihood, up to 1, under which enough draws count, and (n,) their weights."""

    def weigh(power: float) -> np.ndarray:
        log = np.full(len(height), -np.inf)
        log[there] = power * height[there] + (1 - power) * log_prior[there] - log_proposal[there]
        weight = np.exp(log - log.max())
        return np.asarray(weight / weight.sum())

    there = np.isfinite(height)
    if not there.any():
        raise DataError("no draw of the prior has a likelihood; check the observation and the prior")
    low, high = 0.0, 1.0
    if 1 / (weigh(1.0) ** 2).sum() >= _ENOUGH * len(height):
        return 1.0, weigh(1.0)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 / (weigh(middle) ** 2).sum() >= _ENOUGH * len(height) else (low, middle)
    return low, weigh(low)
