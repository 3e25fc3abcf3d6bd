"""The posteriors of a tile's observations, block by block, so that memory does not depend on how many there are."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...core.stage import Context
from ...networks.determinism import threads
from ...products import Catalog, Metric, Metrics, Model, Observations
from ..models.load import digest, same
from . import tables
from .calibration.misspecification import LEVEL
from .likelihood import LikelihoodFlow
from .model import Opened, opened
from .reweight import Reweighted, reweighted
from .summary import Summary, summarised

VALUES = 1 << 22
"""Numbers, at most, that the draws in memory are made of."""
SLOW = 64
"""Observations, at most, between two words of progress, where each takes long."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A model that is ready to answer.

    Attributes:
        model: as it was trained.
        opened: what answers.
        digest: of its weights.
    """

    model: Model
    opened: Opened
    digest: str


def ready(kept: Ready | None, model: Model, device: Literal["cpu", "cuda"], *, reweight: bool) -> Ready:
    """Return a model that is ready to answer: what was kept from the tile before if that was the same model.

    Args:
        kept: from the tile before, on the same device and with the same `reweight`.
        model: of posteriors.
        device: where it runs.
        reweight: by the simulator's likelihood.
    """
    if kept is not None and same(kept.model, model) and kept.model.card == model.card:
        return kept
    found = opened(model, device)
    return Ready(model, reweighted(found, model.card) if reweight else found, digest(model))


def answer(ctx: Context, model: Ready, observations: Observations, draws: int, keep: int) -> tuple[Catalog, Catalog, Metrics]:
    """Return rows of `posterior` and of `posterior_sample`, and how far the observations look like simulations.

    Args:
        ctx: the task's surroundings.
        model: of posteriors.
        observations: real or simulated.
        draws: from each posterior; none depends on how many observations are dealt with at a time.
        keep: draws of each that are given back.
    """
    asked = model.opened
    asked.require(observations)
    if doubt := asked.doubt(observations):
        ctx.log.warning("%s", doubt)
    x, seen = asked.heard(replace(ctx, progress=lambda done, total: None), observations.data)  # draws say how far all is
    score = asked.detector.highest(seen) if asked.detector else np.full(len(x), np.nan)
    p = asked.detector.ranked(score) if asked.detector else score
    tile = ctx.tile.number if ctx.tile is not None else 0
    summaries, samples = [], []
    step = max(1, round(VALUES * ctx.batch) // (draws * len(asked.estimator.prior)))
    if isinstance(asked.estimator, LikelihoodFlow | Reweighted):
        step = min(step, SLOW)
    with threads(1):
        for first in range(0, len(x), step):
            some = slice(first, first + step)
            drawn = asked.estimator.posterior(x[some], draws, deepcopy(ctx.rng), first)
            summaries.append(summarised(asked, x[some], drawn, p[some] <= LEVEL))
            samples.append(tables.sample_rows(drawn, tile, first, keep))
            ctx.progress(min(first + step, len(x)), len(x))
    together = asked.detector.together(seen, ctx.rng) if asked.detector else float("nan")
    return (
        tables.rows(asked, model.digest, observations, Summary.joined(summaries), score, p, tile),
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
