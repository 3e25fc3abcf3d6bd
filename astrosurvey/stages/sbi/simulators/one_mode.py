"""Simulators whose likelihood has a formula and whose posteriors have one mode: exact draws by importance."""

from __future__ import annotations

import numpy as np

from ..importance import AdaptiveProposal, by_rejection
from ..simulator import Simulator


class OneMode(Simulator):
    """A simulator with a likelihood, and posteriors of one mode under its usual prior."""

    def proposal(self, observed: np.ndarray, rng: np.random.Generator) -> AdaptiveProposal:
        """Return a proposal for the posterior of one (…) observation under the usual prior."""
        prior, log_likelihood = self.usual_prior(), self.likelihood_of(observed)
        return AdaptiveProposal(lambda theta: log_likelihood(theta) + prior.log_density(theta), prior, rng)

    def reference(self, observed: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        """Return (number, p) draws of that posterior, by importance."""
        proposal = self.proposal(observed, rng)
        return by_rejection(lambda count: proposal.weighted(count, rng), number, rng)
