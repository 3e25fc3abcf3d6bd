"""The posteriors of a tile's observations, some thousands at a time."""

from __future__ import annotations

import numpy as np

from ...core.stage import Context
from ...networks.determinism import threads
from ...products import Catalog, Metric, Metrics, Model, Observations
from ..models.load import digest
from . import tables
from .calibration.misspecification import LEVEL
from .estimator import Drawn
from .model import opened
from .reweight import reweighted
from .summary import summarised


def answer(
    ctx: Context, model: Model, observations: Observations, draws: int, keep: int, *, reweight: bool
) -> tuple[Catalog, Catalog, Metrics]:
    """Return rows of `posterior` and of `posterior_sample`, and how far the observations look like simulations.

    Args:
        ctx: the task's surroundings.
        model: trained by `sbi.npe` or `sbi.nle`.
        observations: real or simulated.
        draws: from each posterior.
        keep: draws of each that are given back.
        reweight: by the simulator's likelihood.
    """
    ready = opened(model, ctx.device)
    ready.require(observations)
    if doubt := ready.doubt(observations):
        ctx.log.warning("%s", doubt)
    if reweight:
        ready = reweighted(ready, model.card)
    x, seen = ready.heard(ctx, observations.data)
    score = ready.detector.highest(seen) if ready.detector else np.full(len(x), np.nan)
    p = ready.detector.ranked(score) if ready.detector else score
    with threads(1):
        drawn: Drawn = ready.estimator.posterior(x, draws, ctx.rng)
        summary = summarised(ready, x, drawn, p <= LEVEL)
    tile = ctx.tile.number if ctx.tile is not None else 0
    together = ready.detector.together(seen, ctx.rng) if ready.detector else float("nan")
    return (
        tables.rows(ready, digest(model), observations, drawn, summary, score, p, tile),
        tables.sample_rows(drawn, tile, keep),
        Metrics(_likeness(p, together)),
    )


def _likeness(p: np.ndarray, together: float) -> tuple[Metric, ...]:
    """Return how far a tile's observations, each by itself and all together, look like simulations."""
    known = p[np.isfinite(p)]
    flagged = float((known <= LEVEL).mean()) if len(known) else float("nan")
    about = "how often as many simulations are as unlike all others as these observations are, all together (MMD); small as well where "
    return (
        Metric("observations", len(p), description="of this tile"),
        Metric("unlike", flagged, better="lower", description=f"part of them that looks unlike {1 - LEVEL:.0%} of the simulations"),
        Metric("together_p", together, description=f"{about}objects are not distributed as the prior"),
    )
