"""A round: marginal ratios are learnt, what has been observed is asked for, and the prior is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from ....catalog.schema import suggestion
from ....core.product import Tiles
from ....core.stage import Context, DataError
from ....networks.determinism import threads
from ....products import Metric, Observations
from ...models.load import digest
from ..answer import Ready, answer
from ..infer import Material, fitted, prepared
from ..model import opened, require_alike
from ..priors import Prior
from .box import KEY, Box, to_card
from .marginals import MarginalRatio
from .target import by_id, observed, telling

FEW = 6
"""Parameters up to which all pairs are learnt."""


def learnt(ctx: Context, observations: Tiles[Observations], target: Tiles[Observations], config: Any) -> Mapping[str, Any]:
    """Return the products of `sbi.tmnre`.

    Args:
        ctx: the task's surroundings.
        observations: this round's simulations of all tiles.
        target: what has been observed.
        config: the stage's settings.
    """
    seen = observed(target)
    material = prepared(ctx, by_id(observations), config, of_data=True)
    # What is wrong with the target is said before hours of training, not after them.
    require_alike(seen, material.simulations.shape, material.simulations.names, material.simulations.units)
    x = telling(ctx, seen)
    model, metrics = fitted(ctx, material, config, "sbi.tmnre", subsets=subsets(material.simulations.prior, config.pairs))
    asked = opened(model, ctx.device)
    estimator = asked.estimator
    assert isinstance(estimator, MarginalRatio)
    with threads(1):
        box = Box.of(estimator.log_ratios(x), config.threshold).around()
        held = _held(estimator, material, config)
    left = box.cut(estimator.prior)
    model = replace(model, card={**model.card, KEY: to_card(left, box, {"threshold": config.threshold}, len(x))})
    posterior, sample, _ = answer(ctx, Ready(model, asked, digest(model)), seen, max(config.keep, 2), config.keep)
    metrics = replace(metrics, values=(*metrics.values, *_values(box, left, held)))
    return {"posterior_model": model, "posterior": posterior, "posterior_sample": sample, "calibration": metrics}


def subsets(prior: Prior, pairs: Sequence[tuple[str, str]] | None) -> list[list[int]]:
    """Return which parameters are learnt together: each alone, and pairs.

    Args:
        prior: of the parameters.
        pairs: their names; None for all pairs of few parameters.

    Raises:
        DataError: the prior has no such parameters.
    """
    names = prior.names
    if pairs is None:
        chosen = list(combinations(range(len(names)), 2)) if len(names) <= FEW else []
    else:
        for name in (name for pair in pairs for name in pair if name not in names):
            raise DataError(f"`pairs` names {name!r}, which is no parameter{suggestion(name, names)}")
        chosen = sorted({(min(a, b), max(a, b)) for a, b in ((names.index(one), names.index(other)) for one, other in pairs)})
        if any(a == b for a, b in chosen):
            raise DataError("`pairs` names a parameter together with itself; a pair has two")
    return [*([k] for k in range(len(names))), *map(list, chosen)]


def _held(estimator: MarginalRatio, material: Material, config: Any) -> np.ndarray:
    """Return (n,) bool: of which simulations that training has not seen their own box holds the true parameters."""
    test = material.split.test[: config.tests]
    boxes = Box.of(estimator.log_ratios(material.simulations.take(test)), config.threshold)
    return boxes.holds(estimator.prior.probability(material.simulations.theta[test]))


def _values(box: Box, left: Prior, held: np.ndarray) -> list[Metric]:
    n = len(held)
    error = float(np.sqrt(max(held.mean() * (1 - held.mean()), 1 / n) / n)) if n else None
    return [
        Metric("volume", float(box.kept.prod()), better="lower", description="part of this round's prior that is left"),
        Metric(
            "truth_kept",
            float(held.mean()) if n else float("nan"),
            error=error,
            description="simulations kept back whose own box holds the true parameters",
        ),
        *(
            Metric(f"{name}.kept", float(part), better="lower", description="part of this parameter's prior that is left")
            for name, part in zip(left.names, box.kept, strict=True)
        ),
    ]
