"""The numbers: coverage of intervals, offsets, widths and scores of each parameter, and of all together."""

from __future__ import annotations

import numpy as np

from ....products import Metric
from ...sbi.calibration.curves import Curve, expected_coverage
from ...sbi.calibration.places import spread
from ..match import wilson
from .density import LogDensity
from .gather import Answers

NOMINAL = (0.68, 0.9)
"""Probabilities of the central intervals whose coverage is a metric."""


def of_parameters(
    answers: Answers, truth: np.ndarray, draws: np.ndarray, rng: np.random.Generator
) -> tuple[list[Metric], dict[str, Curve]]:
    """Return metrics of each parameter, and the coverage of its central intervals by level.

    Args:
        answers: n posteriors.
        truth: (n, p).
        draws: (n, s, p); a draw with a NaN is missing.
        rng: breaks ties of ranks.
    """
    some = np.isfinite(draws).all(axis=2).any(axis=1)
    truth, draws = truth[some], draws[some]
    n, missing = len(truth), ~np.isfinite(draws).all(axis=2)
    metrics, curves = [], {}
    for k, (name, unit) in enumerate(zip(answers.names, answers.units, strict=True)):
        known, drawn = truth[:, k], np.where(missing, np.nan, draws[..., k])
        candidates = np.concatenate([known[:, None], drawn], axis=1)
        off_centre = np.abs(2 * spread(candidates, np.isnan(candidates), rng)[:, 0].astype(np.float64) - 1)
        curves[f"central coverage by level, {name}"] = expected_coverage(off_centre)
        for level in NOMINAL:
            hits = int((off_centre <= level).sum())
            low, high = wilson(hits, n)
            said = f"truths within the central interval of {level} ({hits} of {n})"
            metrics.append(Metric(f"{name}.covers_{100 * level:.0f}", hits / max(n, 1), error=(high - low) / 2, description=said))
        mean, std = np.nanmean(drawn, axis=1), np.nanstd(drawn, axis=1)
        offset = mean - known
        metrics += [
            _mean(f"{name}.offset", offset, unit, "mean of the posterior less the truth"),
            _mean(f"{name}.width", std, unit, "standard deviation of the posterior"),
            Metric(
                f"{name}.rmse", float(np.sqrt(np.mean(offset**2))) if n else np.nan, unit, None, None, "lower", "root mean square offset"
            ),
            _mean(f"{name}.crps", crps(known, drawn), unit, "continuous ranked probability score"),
        ]
    return metrics, curves


def of_density(log: LogDensity) -> list[Metric]:
    """Return the log score, and how much more it is than the prior's, where the model's density is known."""
    said = {
        "log_score": (log.normalised, "log of the posterior density at the truth"),
        "information": (log.gain, "nats that the posterior knows more than the prior: log of their ratio at the truth"),
    }
    return [_mean(name, values, "", text, better="higher") for name, (values, text) in said.items() if np.isfinite(values).any()]


def crps(truth: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return (n,) the continuous ranked probability score: how far draws are from the truth, less half of how far from one another.

    Args:
        truth: (n,).
        draws: (n, s), NaN where one is missing; of a single draw, the score is its distance.
    """
    number = np.isfinite(draws).sum(axis=1)
    ordered = np.sort(draws, axis=1)  # missing ones come last
    weight = 2 * np.arange(1, draws.shape[1] + 1) - number[:, None] - 1
    apart = np.nansum(weight * ordered, axis=1) / np.maximum(number * (number - 1), 1)
    return np.asarray(np.nanmean(np.abs(draws - truth[:, None]), axis=1) - apart)


def _mean(name: str, values: np.ndarray, unit: str, said: str, better: str = "lower") -> Metric:
    """Return the mean of values and its standard error."""
    known = values[np.isfinite(values)]
    error = float(known.std() / np.sqrt(len(known))) if len(known) else None
    value = float(known.mean()) if len(known) else np.nan
    return Metric(name, value, unit, error, None, "higher" if better == "higher" else "lower", f"{said}, mean")
