"""The posteriors of a tile's observations, block by block, so that memory does not depend on how many there are."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from ...core.stage import Context
from ...networks.determinism import threads
from ...products import Catalog, Metric, Metrics, Model, Observations
from ..models.load import digest
from . import tables
from .calibration.misspecification import LEVEL
from .model import opened
from .reweight import reweighted
from .summary import Summary, summarised

VALUES = 1 << 22
"""Numbers, at most, that the draws in memory are made of."""


def answer(
    ctx: Context, model: Model, observations: Observations, draws: int, keep: int, *, reweight: bool
) -> tuple[Catalog, Catalog, Metrics]:
    """Return rows of `posterior` and of `posterior_sample`, and how far the observations look like simulations.

    Args:
        ctx: the task's surroundings.
        model: trained by `sbi.npe` or `sbi.nle`.
        observations: real or simulated.
        draws: from each posterior; none depends on how many observations are dealt with at a time.
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
    tile = ctx.tile.number if ctx.tile is not None else 0
    summaries, samples = [], []
    step = max(1, round(VALUES * ctx.batch) // (draws * len(ready.estimator.prior)))
    with threads(1):
        for first in range(0, len(x), step):
            some = slice(first, first + step)
            drawn = ready.estimator.posterior(x[some], draws, deepcopy(ctx.rng), first)
            summaries.append(summarised(ready, x[some], drawn, p[some] <= LEVEL))
            samples.append(tables.sample_rows(drawn, tile, first, keep))
            ctx.progress(min(first + step, len(x)), len(x))
    together = ready.detector.together(seen, ctx.rng) if ready.detector else float("nan")
    return (
        tables.rows(ready, digest(model), observations, Summary.joined(summaries), score, p, tile),
        Catalog.concatenate(samples),
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
