"""A prior cut to where the posteriors of what has been observed lie, by any estimator that draws from them.

References:
    Deistler, Gonçalves & Macke (2022), arXiv:2210.04815 (truncated proposals).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ....core.product import Tiles
from ....core.stage import Context, DataError
from ....networks.determinism import threads
from ....products import Model, Observations
from ..model import opened
from .box import KEY, Box, to_card
from .target import observed, telling

FEWEST = 100
"""Draws within the prior that an observation must have."""


def restricted(ctx: Context, model: Model, target: Tiles[Observations], config: Any) -> Model:
    """Return the model with the prior of the next round on its card.

    Args:
        ctx: the task's surroundings.
        model: of posteriors.
        target: what has been observed.
        config: the stage's settings.

    Raises:
        DataError: the prior cannot be cut, or a posterior is not where the prior is.
    """
    seen, ready = observed(target), opened(model, ctx.device)
    ready.require(seen)
    prior = ready.estimator.prior
    if not prior.has_density:
        raise DataError("sbi.restrict cuts parameters one by one, which a joint prior does not allow; use independent priors")
    x, _ = ready.heard(ctx, telling(ctx, seen, sets=ready.sets))
    boxes = []
    with threads(1):
        drawn = ready.estimator.posterior(x, config.draws, ctx.rng)
    for theta, log_density in zip(drawn.theta, drawn.log_density, strict=True):
        there = np.isfinite(theta).all(axis=1) & np.isfinite(log_density)
        if there.sum() < FEWEST:
            raise DataError(
                f"of {config.draws} draws of a posterior {there.sum()} are within the prior, too few to cut it by; "
                "look at this observation and its flags in the answer of sbi.posterior"
            )
        boxes.append(Box.of_draws(prior.probability(theta[there]), log_density[there], config.left_out, config.margin))
    box = Box(np.stack([one.low for one in boxes]), np.stack([one.high for one in boxes])).around()
    left = box.cut(prior)
    ctx.log.info("%.3g of the prior is left", box.kept.prod())
    how = {"left_out": config.left_out, "margin": config.margin}
    return replace(model, card={**model.card, KEY: to_card(left, box, how, len(x))})
