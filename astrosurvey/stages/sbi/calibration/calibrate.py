"""The calibration of an estimator on simulations that training has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from .check import Calibration, check

BLOCK = 2**20
"""Draws that an estimator is asked for at once."""


class Posterior(Protocol):
    """What an estimator must be able to do: draw from, and weigh, posteriors of many observations at once."""

    def sample(self, x: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Return (m, draws, p) draws given (m, …) observations; NaN where the prior left fewer."""
        ...

    def log_prob(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return (m, k) log densities of (m, k, p) parameters given (m, …) observations, up to a constant for each."""
        ...


@runtime_checkable
class Partial(Posterior, Protocol):
    """An estimator that claims to know how some of the parameters hang together, and not all: only these are tested together."""

    def parts(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return (m, p) bool: for each of (m, …) observations one of the sets of parameters that it knows together, at random."""
        ...

    def log_prob_of(self, part: np.ndarray, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return (m, k) log densities of the parameters in (m, p) parts, otherwise as `log_prob`."""
        ...


def calibrate(
    estimator: Posterior, theta: np.ndarray, x: np.ndarray, *, names: Sequence[str], rng: np.random.Generator, draws: int = 200
) -> Calibration:
    """Return whether an estimator's posteriors mean what they say.

    Args:
        estimator: draws and weighs.
        theta: (n, p) true parameters of simulations that neither training nor its validation has used.
        x: (n, …) their data, as the estimator takes them.
        names: of the p parameters.
        rng: of draws, ties and exchanges.
        draws: from each posterior; ranks are discrete, so more than some hundred tell little more.
    """
    n, p = theta.shape
    step = max(1, BLOCK // (draws * p))
    drawn = np.empty((n, draws, p))
    log_prob = np.empty((n, 1 + draws))
    part = estimator.parts(x, rng) if isinstance(estimator, Partial) else None
    for first in range(0, n, step):
        here = slice(first, min(first + step, n))
        drawn[here] = estimator.sample(x[here], draws, rng)
        asked = np.concatenate([theta[here, None], drawn[here]], axis=1)
        # A missing draw is not asked for; the truth stands in for it, and `check` leaves it out again.
        asked = np.where(np.isfinite(asked).all(axis=2, keepdims=True), asked, theta[here, None])
        if isinstance(estimator, Partial) and part is not None:
            log_prob[here] = estimator.log_prob_of(part[here], asked, x[here])
        else:
            log_prob[here] = estimator.log_prob(asked, x[here])
    return check(theta, drawn, log_prob[:, 0], log_prob[:, 1:], names=names, rng=rng, part=part)
