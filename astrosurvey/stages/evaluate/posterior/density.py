"""How probable the posteriors hold the truth and their own draws to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....core.product import Tiles
from ....core.stage import Context, DataError
from ....networks.determinism import threads
from ....products import Model, Observations
from ...sbi.calibration.calibrate import Partial
from ...sbi.model import opened
from ...sbi.reweight import reweighted
from .gather import Answers, simulations_of

BLOCK = 1 << 20
"""Numbers of draws that a model is asked about at once."""
JITTER = 1e-9
"""Part of the variance that keeps the ellipsoids of draws that lie in a plane from collapsing."""


@dataclass(frozen=True, eq=False)
class LogDensity:
    """Log densities of n posteriors.

    Attributes:
        truth: (n,).
        draws: (n, draw); up to the same constant.
        normalised: (n,) at the truth, without one; NaN where that is unknown.
        gain: (n,) the same less the prior's.
        regions: what their regions of highest density are.
        part: (n, p) bool, the parameters that `truth` and `draws` are of in each; None for all.
    """

    truth: np.ndarray
    draws: np.ndarray
    normalised: np.ndarray
    gain: np.ndarray
    regions: str
    part: np.ndarray | None = None


def of_draws(truth: np.ndarray, draws: np.ndarray) -> LogDensity:
    """Return minus half the square of how far truth and draws are from their mean, by the covariance of all of them.

    Mean and covariance know nothing of which of them is the truth, so right posteriors do not notice an exchange.

    Args:
        truth: (n, p).
        draws: (n, s, p); a draw with a NaN is missing.
    """
    everything = np.concatenate([truth[:, None], draws], axis=1)
    there = np.isfinite(everything).all(axis=2, keepdims=True)
    number = there.sum(axis=1, keepdims=True)
    offset = np.where(there, everything, 0.0)
    offset = np.where(there, everything - offset.sum(axis=1, keepdims=True) / number, 0.0)
    scale = np.sqrt((offset**2).sum(axis=1, keepdims=True) / number)
    offset /= np.where(scale > 0, scale, 1.0)
    covariance = np.einsum("nsi,nsj->nij", offset, offset) / number + JITTER * np.eye(truth.shape[1])
    square = np.einsum("nsi,nsi->ns", offset, np.linalg.solve(covariance, offset.transpose(0, 2, 1)).transpose(0, 2, 1))
    log = np.where(there[..., 0], -0.5 * square, np.nan)
    unknown = np.full(len(truth), np.nan)
    return LogDensity(log[:, 0], log[:, 1:], unknown, unknown, "ellipsoids of the draws")


def of_model(
    ctx: Context, model: Model, answers: Answers, truth: np.ndarray, draws: np.ndarray, observations: Tiles[Observations]
) -> LogDensity:
    """Return the densities of the model that the posteriors are of.

    A model that knows some of the parameters together, and not all, is asked for such a part of each posterior, chosen at random. The
    density that scores it is that of all parameters, from which its draws are.

    Args:
        ctx: the task's surroundings.
        model: trained for `sbi.posterior`.
        answers: n posteriors.
        truth: (n, p).
        draws: (n, s, p); a draw with a NaN is missing.
        observations: their data.

    Raises:
        DataError: the posteriors are of other parameters than the model.
    """
    ready = opened(model, ctx.device)
    if ready.estimator.prior.names != answers.names:
        raise DataError(f"the model is of {', '.join(ready.estimator.prior.names)}, and the posteriors are of {', '.join(answers.names)}")
    if answers.weighed.any():
        ready = reweighted(ready, model.card)
    prior = ready.estimator.prior
    # A missing draw is not asked for; the truth stands in for it, and whoever ranks leaves it out.
    asked = np.concatenate([prior.centre(answers.mean, answers.best)[:, None], truth[:, None], draws], axis=1)
    asked = np.where(np.isfinite(asked).all(axis=2, keepdims=True), asked, truth[:, None])
    log, part = np.full(asked.shape[:2], np.nan), np.ones(truth.shape, bool)
    partial = ready.estimator if isinstance(ready.estimator, Partial) else None
    together = np.full((len(asked), asked.shape[1] - 1), np.nan)
    step = max(1, BLOCK // asked[0].size) if len(asked) else 1
    with threads(1):
        for here, found, rows in simulations_of(answers, observations):
            ready.require(found)
            for first in range(here.start, here.stop, step):
                some = slice(first, min(first + step, here.stop))
                x, _ = ready.heard(ctx, found.data[rows[some.start - here.start : some.stop - here.start]])
                if partial is not None:
                    log[some, :2] = partial.log_prob(asked[some, :2], x)
                    part[some] = partial.parts(x, ctx.rng)
                    together[some] = partial.log_prob_of(part[some], asked[some, 1:], x)
                else:
                    log[some] = ready.estimator.log_prob(asked[some], x)
    # The table holds the density there in full, and so the constant that the model leaves out.
    normalised = log[:, 1] - log[:, 0] + answers.log_density
    gain = normalised - prior.log_density(truth) if prior.has_density else np.full(len(truth), np.nan)
    if partial is not None:
        return LogDensity(together[:, 0], together[:, 1:], normalised, gain, "highest density of the parts that the model knows", part)
    return LogDensity(log[:, 1], log[:, 2:], normalised, gain, "highest density of the model")
