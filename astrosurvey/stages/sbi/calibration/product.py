"""Calibration as a product: numbers, curves and the verdict, for the report and for whoever reads the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ....products import Metric, Metrics
from .check import ALPHA, FEWEST, NOMINAL, OFF, Calibration
from .uniform import EXCHANGES

CARD = "calibration"
"""Where the card stands in the `meta` of the Metrics product, and in a model's card."""
BAR = ALPHA + 1 / (EXCHANGES + 1)
"""The least p-value that is found no fault with: there is none between `ALPHA` and this."""


def to_metrics(
    calibration: Calibration, values: Sequence[Metric] = (), curves: Mapping[str, Mapping[str, Sequence[float | None]]] | None = None
) -> Metrics:
    """Return a calibration as Metrics.

    Args:
        calibration: also one that is off.
        values, curves: what a training has to say besides, such as its learning curves.
    """
    found = [] if calibration.verdict == OFF else _values(calibration)
    drawn = {name: {column: list(numbers) for column, numbers in curve.items()} for name, curve in (curves or {}).items()}
    return Metrics((*found, *values), {**calibration.curves, **drawn}, {CARD: calibration.to_card()})


def of_metrics(metrics: Metrics) -> Calibration | None:
    """Return the calibration that a Metrics product holds, curves included; None of one that is about something else."""
    card = metrics.meta.get(CARD)
    if not isinstance(card, Mapping) or "verdict" not in card:
        return None
    calibration = Calibration.from_card(card)
    return Calibration(**{**vars(calibration), "curves": metrics.curves})


def _values(found: Calibration) -> list[Metric]:
    n = found.tests
    counts = [
        Metric("tests", n, description=f"simulations with known parameters that this rests on; fewer than {FEWEST} say nothing"),
        Metric("empty", found.empty, better="lower", description="further ones for which there was no draw"),
    ]
    if n < FEWEST:
        return counts
    error = float(np.sqrt(found.covered * (1 - found.covered) / n))
    return [
        Metric("calibration_p", found.p, bar=BAR, description="how often right posteriors look at least as wrong, by all tests together"),
        Metric(
            f"coverage_{100 * NOMINAL:.0f}", found.covered, error=error, description=f"truths in regions of highest density of {NOMINAL}"
        ),
        Metric(
            "coverage_signed",
            found.signed,
            error=float(1 / np.sqrt(12 * n)),
            description="coverage less nominal probability, mean over all; negative is overconfident",
        ),
        Metric("coverage_error", found.error, better="lower", description="greatest distance of coverage and nominal probability"),
        Metric("tarp", found.tarp, better="lower", description="the same, for balls around random points"),
        *counts,
        *(
            metric
            for one in found.marginals
            for metric in (
                Metric(f"{one.name}.sbc_p", one.ks_p, description="chance of ranks as far from uniform, of this parameter alone"),
                Metric(f"{one.name}.bias", one.bias, error=1 / np.sqrt(n), description="truth less posterior, in widths of the posterior"),
                Metric(f"{one.name}.spread", one.spread, error=1 / np.sqrt(2 * n), description="scatter of the truth, in the same"),
            )
        ),
    ]
