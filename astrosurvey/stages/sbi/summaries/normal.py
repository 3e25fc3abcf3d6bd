"""Posteriors of which a moment network knows mean and standard deviation: normal ones within the prior, without correlations."""

from __future__ import annotations

import numpy as np

from ..distributions import log_mass, normal_quantile
from ..estimator import Drawn
from ..rows import RowRandom
from ..scaling import ParameterScaling


class NormalPosterior:
    """Normal posteriors, on the scale on which the prior is even or normal, cut off where the prior ends.

    What it takes as data are (m, 2 p) means and standard deviations on that scale, as a moment network says them.

    Args:
        parameters: their scales.
    """

    def __init__(self, parameters: ParameterScaling) -> None:
        self._parameters, self.prior = parameters, parameters.prior
        low, high = self.prior.bounds
        with np.errstate(divide="ignore"):  # a log-normal prior begins at zero
            self._low, self._high = parameters.to_flow(low, 0.0), parameters.to_flow(high, 1.0)

    def posterior(self, x: np.ndarray, draws: int, rng: np.random.Generator, first: int = 0) -> Drawn:
        """Return draws given (m, 2 p) moments; none depends on how many there are."""
        mean, spread = self._moments(x)
        begin, end = (self._low - mean) / spread, (self._high - mean) / spread
        even = RowRandom(int(rng.integers(2**62)), first, first + len(x)).uniform(draws, len(self.prior))
        z = np.clip(mean + spread * normal_quantile(even, begin, end), self._low, self._high)
        theta = np.clip(self._parameters.from_flow(z), *self.prior.bounds)
        scale = log_mass(begin, end).sum(axis=(1, 2))
        return Drawn(theta, self.log_prob(theta, x), np.exp(scale), np.full(len(x), np.nan), scale)

    def sample(self, x: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Return (m, draws, p) draws alone."""
        return self.posterior(x, draws, rng).theta

    def log_prob(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return (m, k) log densities of (m, k, p) parameters given (m, 2 p) moments."""
        mean, spread = self._moments(x)
        apart = (self._parameters.to_flow(theta) - mean) / spread
        log = -0.5 * (apart**2 + np.log(2 * np.pi * spread**2)).sum(axis=2)
        known = np.isfinite(log)
        return np.where(self.prior.inside(theta) | ~known, log + self._parameters.log_slope(theta), -np.inf)

    def _moments(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (m, 1, p) means and standard deviations."""
        mean, spread = np.split(x[:, None].astype(float), 2, axis=2)
        return mean, spread
