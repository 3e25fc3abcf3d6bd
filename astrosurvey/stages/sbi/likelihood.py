"""Posteriors by a network that stands for the likelihood, a flow over data given parameters or a ratio to the evidence, and walkers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from ...networks.conditional_flow import FlowEnsemble
from ...networks.ratio import RatioNetwork
from .data import whole
from .estimator import Drawn
from .sampler import walk
from .scaling import DataScaling, ParameterScaling

BLOCK = 1 << 14
"""Likelihoods that are evaluated at a time."""
WALKERS = 1024
"""In a population, at most; at least `FEWEST`."""
FEWEST = 256
TOGETHER = 16
"""Observations whose populations move together."""


class LikelihoodFlow:
    """Posteriors by a flow over data given parameters.

    Args:
        network: of data, given parameters.
        parameters, data: scales on which it sees them.
        device: where it runs.
    """

    def __init__(
        self, network: FlowEnsemble | RatioNetwork, parameters: ParameterScaling, data: DataScaling, device: Literal["cpu", "cuda"]
    ) -> None:
        self._network, self._parameters, self._data, self._device = network.to(device).eval(), parameters, data, device
        self.prior = parameters.prior

    def posterior(self, x: np.ndarray, draws: int, rng: np.random.Generator, first: int = 0) -> Drawn:
        """Return draws given (m, …) observations; none depends on how many observations there are."""
        start_seed, seed = (int(s) for s in rng.integers(2**62, size=2))
        m, p = len(x), len(self.prior)
        n = int(np.clip(draws + draws % 2, FEWEST, WALKERS))
        start = self._parameters.to_flow(self.prior.draw(np.random.default_rng(start_seed), n))
        theta, log = np.full((m, draws, p), np.nan), np.full((m, draws), np.nan)
        evidence, accepted = np.full(m, np.nan), np.full(m, np.nan)
        scaled, slope = self._seen(x)
        known = np.flatnonzero(whole(x, sets=False))
        for begin in range(0, len(known), TOGETHER):
            rows = known[begin : begin + TOGETHER]
            walked = walk(
                np.broadcast_to(start, (len(rows), n, p)),
                first + rows,
                lambda z, _: self._log_prior(z),
                lambda z, numbers: self._log_likelihood(z, scaled[numbers - first]) + slope[numbers - first, None],
                draws,
                seed,
            )
            theta[rows] = self._parameters.from_flow(walked.places)
            log[rows] = walked.log_likelihood + self.prior.log_density(theta[rows])
            evidence[rows], accepted[rows] = walked.log_evidence, walked.accepted
        return Drawn(theta, log, accepted, self._evidence(evidence), evidence)

    def sample(self, x: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Return (m, draws, p) draws alone."""
        return self.posterior(x, draws, rng).theta

    def log_prob(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return (m, k) log likelihood and prior of (m, k, p) parameters given (m, …) observations."""
        scaled, slope = self._seen(x)
        log = self._log_likelihood(self._parameters.to_flow(theta), scaled) + slope[:, None]
        return np.asarray(log + self.prior.log_density(theta))

    def _seen(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flat = x.reshape(len(x), -1)
        return self._data(flat), self._data.log_slope(flat)

    def _evidence(self, scale: np.ndarray) -> np.ndarray:
        """Return (m,) the log evidence by (m,) the log of what likelihood and prior integrate to."""
        return scale

    def _log_prior(self, z: np.ndarray) -> np.ndarray:
        """Return (m, n) log prior density on the flow's scale, -inf outside."""
        theta = self._parameters.from_flow(z)
        inside = self.prior.inside(theta)
        known = np.where(inside[..., None], theta, self._parameters.from_flow(np.zeros(z.shape[-1])))
        return np.where(inside, self.prior.log_density(known) - self._parameters.log_slope(known), -np.inf)

    @torch.no_grad()
    def _log_likelihood(self, z: np.ndarray, scaled: np.ndarray) -> np.ndarray:
        """Return (m, n) log likelihoods of the mixture of all members, per volume of the data as the network sees them."""
        m, n, p = z.shape
        log = np.empty((m, n))
        step = max(1, BLOCK // n)
        for first in range(0, m, step):
            some = z[first : first + step]
            context = torch.from_numpy(np.ascontiguousarray(some.reshape(-1, p).T, np.float32))[None].to(self._device)
            data = torch.from_numpy(np.repeat(scaled[first : first + step], n, axis=0).T.copy())[None].to(self._device)
            members = self._network(data, context).double()
            mixture = torch.logsumexp(members, dim=0) - np.log(len(members))
            log[first : first + step] = mixture.reshape(-1, n).cpu().numpy()
        return log


class LikelihoodRatio(LikelihoodFlow):
    """Posteriors by a network that gives the ratio of likelihood to evidence: ratio and prior are the posterior.

    Their integral is one but for the network's errors, and says nothing of the evidence. A ratio is the same on all scales of the data.
    """

    def _seen(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._data(x.reshape(len(x), -1)), np.zeros(len(x))

    def _evidence(self, scale: np.ndarray) -> np.ndarray:
        return np.full(len(scale), np.nan)
