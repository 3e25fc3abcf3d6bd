"""The posteriors of a tile's observations, some thousands at a time."""

from __future__ import annotations

import numpy as np

from ...core.stage import Context
from ...networks.determinism import threads
from ...products import Catalog, Model, Observations
from ..models.load import digest
from . import tables
from .calibration.misspecification import LEVEL, Seen
from .estimator import Drawn
from .model import opened
from .reweight import reweighted
from .summary import summarised


def answer(ctx: Context, model: Model, observations: Observations, draws: int, keep: int, *, reweight: bool) -> tuple[Catalog, Catalog]:
    """Return rows of `posterior` and of `posterior_sample`.

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
    x = np.asarray(observations.data, np.float32)
    score = ready.detector.highest(Seen(x)) if ready.detector else np.full(len(x), np.nan)
    p = ready.detector.ranked(score) if ready.detector else score
    with threads(1):
        drawn: Drawn = ready.estimator.posterior(x, draws, ctx.rng)
        summary = summarised(ready, x, drawn, p <= LEVEL)
    tile = ctx.tile.number if ctx.tile is not None else 0
    return (
        tables.rows(ready, digest(model), observations, drawn, summary, score, p, tile),
        tables.sample_rows(drawn, tile, keep),
    )
