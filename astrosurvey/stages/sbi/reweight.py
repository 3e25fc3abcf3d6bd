"""Posteriors of a flow corrected by the likelihood of the simulator, where that has a formula: neural importance sampling.

Each draw weighs as prior times likelihood over the density that it was drawn from. Where the flow covers the posterior the weighted
draws are exact however wrong it is, the mean weight is the evidence, and the effective number of draws says how far off it was. What the
flow does not draw from at all, such as a mode that it never learnt, weights cannot bring back.

References:
    Dax et al. (2023), arXiv:2210.05686 (neural importance sampling); Kong (1992), technical report 348, University of Chicago (the
    effective number of draws).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import ValidationError
from scipy.special import logsumexp

from ...core.stage import DataError
from .estimator import Drawn, Importance, PosteriorFlow
from .model import Opened
from .pareto import tail_shape
from .rows import RowRandom
from .sampler import resampled
from .simulator import Simulator


class Reweighted:
    """Posteriors of a flow, drawn anew by what prior and likelihood say of its draws.

    Args:
        flow: what draws.
        simulator: its likelihood has the last word.
    """

    def __init__(self, flow: PosteriorFlow, simulator: Simulator) -> None:
        self._flow, self._simulator, self.prior = flow, simulator, flow.prior
        self._order = [self.prior.names.index(name) for name in simulator.parameters]

    def posterior(self, x: np.ndarray, draws: int, rng: np.random.Generator, first: int = 0) -> Drawn:
        """Return draws given (m, …) observations; of one that no draw can explain, they are those of the flow."""
        drawn = self._flow.posterior(x, draws, rng, first)
        seed = int(rng.integers(2**62))
        theta, log, likelihood = drawn.theta.copy(), drawn.log_density.copy(), np.full(drawn.log_density.shape, np.nan)
        evidence, effective, tail = (np.full(len(x), np.nan) for _ in range(3))
        for row in np.flatnonzero(np.isfinite(drawn.log_density).any(axis=1)).tolist():
            count = int(np.isfinite(drawn.log_density[row]).sum())
            some = theta[row, :count]
            likelihood[row, :count] = self._log_likelihood(some, x[row])
            height = likelihood[row, :count] + self.prior.log_density(some)
            weight = height - (self._flow.log_prob(some[None], x[row, None])[0] - drawn.log_scale[row])
            total = logsumexp(weight)
            if not np.isfinite(total):
                effective[row] = 0.0
                continue
            evidence[row], effective[row] = total - np.log(count), np.exp(2 * total - logsumexp(2 * weight))
            tail[row] = tail_shape(weight)
            random = RowRandom(seed, first + row, first + row + 1)
            # In an order of chance, so that the first ones stand for all.
            chosen = resampled(weight[None], random.uniform(1))[0][np.argsort(random.uniform(count)[0])]
            theta[row, :count], log[row, :count], likelihood[row, :count] = some[chosen], height[chosen], likelihood[row, chosen]
        importance = Importance(effective, tail, likelihood)
        return replace(drawn, theta=theta, log_density=log, log_evidence=evidence, log_scale=evidence, importance=importance)

    def sample(self, x: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Return (m, draws, p) draws alone."""
        return self.posterior(x, draws, rng).theta

    def log_prob(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return (m, k) log likelihood and prior of (m, k, p) parameters given (m, …) observations."""
        likelihood = np.stack([self._log_likelihood(some, one) for some, one in zip(theta, x, strict=True)])
        return np.asarray(likelihood + self.prior.log_density(theta))

    def _log_likelihood(self, theta: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Return (n,) log likelihoods of (n, p) parameters given one (…) observation; -inf where there is none."""
        with np.errstate(all="ignore"):
            log = self._simulator.likelihood_of(observed.astype(np.float64))(np.ascontiguousarray(theta[:, self._order]))
        return np.where(np.isfinite(log), log, -np.inf)


def reweighted(opened: Opened, card: Mapping[str, Any]) -> Opened:
    """Return a model whose posteriors the likelihood of its simulator corrects.

    Args:
        opened: the model.
        card: its card, which names the simulator.

    Raises:
        DataError: there is no such likelihood here, or the model's draws have no density.
    """
    prior, flow = opened.estimator.prior, opened.estimator
    if not isinstance(flow, PosteriorFlow):
        raise DataError(f"`reweight` needs draws of a known density, as a model of sbi.npe gives them, and this one is of {opened.method}")
    if opened.network is not None:
        raise DataError(
            "`reweight` needs the likelihood of what the flow takes, and this one takes the summaries of a network: leave `reweight` out, "
            "or train sbi.npe without `summary_model`"
        )
    if unlike := [m.name for m in prior.marginals if m.kind in ("joint", "categorical")]:
        raise DataError(f"`reweight` needs the density of every parameter's prior, and {unlike[0]!r} has none: leave `reweight` out")
    simulator = _installed(card.get("simulator", {}))
    if set(prior.names) != set(simulator.parameters):
        raise DataError(f"{simulator.name} takes {', '.join(simulator.parameters)}, and the model gives {', '.join(prior.names)}")
    if opened.names != simulator.feature_names():
        raise DataError(
            f"the model was trained on {', '.join(opened.names) or 'data without names'}, and the likelihood is one of what "
            f"{simulator.name} makes: train on its output, without summaries between, or leave `reweight` out"
        )
    return replace(opened, estimator=Reweighted(flow, simulator))


def _installed(made_by: Mapping[str, Any]) -> Simulator:
    """Return the simulator that a card names, with the settings that it had.

    Raises:
        DataError: it is not installed as it was, or has no likelihood.
    """
    from ...plugins import load

    name, leave = made_by.get("name"), "leave `reweight` out"
    cls = load().stages.get(str(name))
    if cls is None or not issubclass(cls, Simulator):
        raise DataError(f"the model was trained on simulations of {name!r}, which is not installed here: install its plugin, or {leave}")
    if not cls.has_likelihood():
        raise DataError(f"{name} has no formula for its likelihood: {leave}")
    if cls.version != made_by.get("version"):
        raise DataError(
            f"the model was trained on version {made_by.get('version')} of {name}, and version {cls.version} is installed: train anew"
        )
    if made_by.get("files"):
        raise DataError(f"{name} reads files, which the model's card does not hold: {leave}")
    try:
        simulator = cls(cls.Config.model_validate(made_by.get("settings", {})))
    except ValidationError as error:
        raise DataError(f"{name} does not know the settings of the model's card ({error.errors()[0]['msg']}): train anew") from error
    if simulator.identity()["digest"] != made_by.get("digest"):
        raise DataError(f"the source of {name} has changed since the model's simulations were made: simulate and train anew, or {leave}")
    return simulator
