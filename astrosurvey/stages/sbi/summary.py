"""Posteriors in a few numbers, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ...catalog.flags import SBI
from .calibration.check import OFF, UNTESTED
from .data import whole
from .estimator import LEVELS, Drawn
from .model import Opened
from .pareto import LIMIT as HEAVIEST
from .scaling import ParameterScaling

CANDIDATES = 8
"""Of the draws the densest by their own member; the densest by all members is the most probable one."""
END, CROWDED = 0.01, 0.05
"""A posterior is at the prior's edge if more than `CROWDED` of it lies in the first or last `END` of a bounded parameter's range."""
LEAST_ACCEPTANCE = 0.01
FEWEST_EFFECTIVE = 100
"""Effective draws, at least, of a posterior that was reweighted."""


@dataclass(frozen=True, eq=False)
class Summary:
    """Of m posteriors.

    Attributes:
        quantiles: (m, p, level) at `LEVELS`.
        mean, std, best: (m, p); the last is the most probable of the draws.
        log_density: (m,) at `Prior.centre` of mean and best.
        number: (m,) draws that there are.
        acceptance, log_evidence: (m,) as `Drawn` has them.
        effective, tail: (m,) as `Importance` has them; None where no likelihood has corrected the draws.
        flags: (m,) bits of `catalog.flags.SBI`.
    """

    quantiles: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    best: np.ndarray
    log_density: np.ndarray
    number: np.ndarray
    acceptance: np.ndarray
    log_evidence: np.ndarray
    effective: np.ndarray | None
    tail: np.ndarray | None
    flags: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Summary]) -> Summary:
        """Return the posteriors of several blocks of observations, one block after the other."""

        def every(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            return None if values[0] is None else np.concatenate(values)

        return cls(**{field.name: every(field.name) for field in fields(cls)})


def summarised(opened: Opened, x: np.ndarray, drawn: Drawn, ood: np.ndarray) -> Summary:
    """Return draws in a few numbers.

    Args:
        opened: the model that drew them.
        x: (m, …) the observations.
        drawn: from their posteriors.
        ood: (m,) bool: the data are unlike the simulations.
    """
    m, _, p = drawn.theta.shape
    number = np.isfinite(drawn.log_density).sum(axis=1)
    quantiles = np.full((m, p, len(LEVELS)), np.nan)
    mean, std, best = (np.full((m, p), np.nan) for _ in range(3))
    log_density = np.full(m, np.nan)
    # Whoever has the same number of draws is dealt with at once; the others are few.
    for count in np.unique(number[number > 0]):
        rows = np.flatnonzero(number == count)
        theta = drawn.theta[rows, :count]
        quantiles[rows] = np.moveaxis(np.quantile(theta, LEVELS, axis=1), 0, -1)
        mean[rows], std[rows] = theta.mean(axis=1), theta.std(axis=1)
        chosen = np.argsort(-drawn.log_density[rows, :count], axis=1, kind="stable")[:, :CANDIDATES]
        candidates = np.take_along_axis(theta, chosen[..., None], 1)
        log = opened.estimator.log_prob(candidates, x[rows])
        best[rows] = np.take_along_axis(candidates, log.argmax(axis=1)[:, None, None], 1)[:, 0]
    if (exact := drawn.moments) is not None:
        quantiles, mean, std = exact.quantiles, exact.mean, exact.std
    if len(some := np.flatnonzero(number)):
        centre = opened.estimator.prior.centre(mean[some], best[some])
        log_density[some] = opened.estimator.log_prob(centre[:, None], x[some])[:, 0] - drawn.log_scale[some]
    effective, tail = (None, None) if drawn.importance is None else (drawn.importance.effective, drawn.importance.tail)
    flags = _flags(opened, x, drawn, ood)
    return Summary(quantiles, mean, std, best, log_density, number, drawn.acceptance, drawn.log_evidence, effective, tail, flags)


def _flags(opened: Opened, x: np.ndarray, drawn: Drawn, ood: np.ndarray) -> np.ndarray:
    m = len(x)
    flags = np.zeros(m, np.int32)
    invalid = ~whole(x, sets=False)
    flags[invalid] |= SBI["INVALID_INPUT"]
    flags[~invalid & (drawn.acceptance < LEAST_ACCEPTANCE)] |= SBI["LOW_ACCEPTANCE"]
    flags[~invalid & ood] |= SBI["OUT_OF_DISTRIBUTION"]
    flags[_at_edge(ParameterScaling(opened.estimator.prior), drawn.theta)] |= SBI["PRIOR_EDGE"]
    if drawn.importance is not None:
        few, heavy = drawn.importance.effective < FEWEST_EFFECTIVE, drawn.importance.tail > HEAVIEST
        flags[few | heavy] |= SBI["LOW_EFFICIENCY"]
    if opened.calibration.failed:
        flags |= SBI["CALIBRATION_FAILED"]
    if opened.calibration.verdict in (OFF, UNTESTED):
        flags |= SBI["CALIBRATION_OFF"]
    return flags


def _at_edge(parameters: ParameterScaling, theta: np.ndarray) -> np.ndarray:
    """Return (m,) bool: whether much of a posterior crowds at an end of a bounded parameter."""
    place = parameters.place(theta)
    known = np.maximum(np.isfinite(place).sum(axis=1), 1)
    with np.errstate(invalid="ignore"):
        low, high = (place < END).sum(axis=1) / known, (place > 1 - END).sum(axis=1) / known
    return np.asarray((np.maximum(low, high) > CROWDED).any(axis=1))
