"""The numbers: how many spectra are classed right, how far redshifts are off, and what passes for confident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....products.metrics import Metric
from ...spectra.classes import COARSE
from ..match import robust
from ..scores import fraction_curve, fraction_metric
from . import calibration
from .gather import NONE, Classes, Redshifts, Truth

OUTLIER, CATASTROPHIC = 0.0033, 0.05
"""Differences of redshift over 1 + z: 1000 km/s, as DESI and SDSS count failures, and what spoils a redshift for any use."""
SNR_EDGES = np.array([0, 1, 2, 4, 7, 10, 15, 20, 30, 50, np.inf])

Curve = dict[str, list[float | None]]
Scores = tuple[list[Metric], dict[str, Curve]]


def class_scores(name: str, classes: Classes, truth: np.ndarray, snr: np.ndarray, bars: dict[str, float | None]) -> Scores:
    """Return accuracy, calibration and what each class gets right.

    Args:
        name: "coarse" or "fine".
        classes: the answers. What has none is wrong.
        truth: (n,) indices of the true classes; spectra with NONE do not count.
        snr: (n,) signal-to-noise ratios.
        bars: of "accuracy", "mean_diagonal" and "ece".
    """
    known = truth != NONE
    best, right = classes.best, classes.best == truth
    answered = known & classes.classed
    probability, confidence = classes.probability[answered], classes.confidence[answered]
    there = [k for k in range(len(classes.labels)) if (truth == k).any()]
    recall = np.array([right[truth == k].mean() for k in there])
    noise = np.array([(truth == k).sum() for k in there])
    mean, error, worst = np.nan, None, np.nan
    if there:
        mean, worst = float(recall.mean()), float(recall.min())
        error = float(np.sqrt((recall * (1 - recall) / noise).sum()) / len(there))
    least = f"{classes.labels[there[int(recall.argmin())]]}" if there else "none"
    values = [
        fraction_metric(f"accuracy.{name}", right[known], bars.get("accuracy"), "of the spectra classed right"),
        Metric(
            f"mean_diagonal.{name}",
            mean,
            error=error,
            bar=bars.get("mean_diagonal"),
            description="mean over the classes of the part classed right",
        ),
        Metric(f"worst_class.{name}", worst, description=f"least part of a class that is classed right: {least}"),
        Metric(
            f"ece.{name}",
            calibration.calibration_error(confidence, right[answered]),
            bar=bars.get("ece"),
            better="lower",
            description="expected calibration error in 15 bins",
        ),
        Metric(f"nll.{name}", calibration.log_loss(probability, truth[answered]), better="lower", description="mean log loss"),
        Metric(f"brier.{name}", calibration.brier(probability, truth[answered]), better="lower", description="Brier score"),
    ]
    for k in there:
        label = classes.labels[k]
        values.append(fraction_metric(f"{label}.recall", right[truth == k], None, f"of the spectra of {label} classed so"))
        values.append(fraction_metric(f"{label}.purity", right[known & (best == k)], None, f"of the spectra classed {label} that are"))
    curves = {
        f"reliability by probability, {name}": calibration.reliability(confidence, right[answered]),
        f"accuracy by snr, {name}": fraction_curve("snr", snr[known], right[known], SNR_EDGES, "accuracy"),
    }
    return values, curves


def taught(coarse: np.ndarray) -> np.ndarray:
    """Return the true coarse classes without the unknown, which no answer can be right about."""
    return np.where(coarse == COARSE.index("unknown"), NONE, coarse)


def confusion(classes: Classes, truth: np.ndarray) -> dict[str, object]:
    """Return the confusion matrix: numbers of spectra by true class, in rows, and by answer; the last column is of those without one."""
    size = len(classes.labels)
    known = truth != NONE
    answer = np.where(classes.best == NONE, size, classes.best)[known]
    counts = np.bincount(truth[known] * (size + 1) + answer, minlength=size * (size + 1)).reshape(size, size + 1)
    return {"labels": list(classes.labels), "counts": counts.tolist()}


def from_redshifts(redshifts: Redshifts) -> Classes:
    """Return the classes of the templates as answers, as sure as their redshifts are."""
    there = redshifts.coarse != NONE
    sure = np.where(np.isfinite(redshifts.probability), redshifts.probability, 1.0)
    probability = np.full((len(there), len(COARSE)), np.nan)
    probability[there] = ((1 - sure) / (len(COARSE) - 1))[there, None]
    probability[there, redshifts.coarse[there]] = sure[there]
    return Classes(COARSE, probability, np.full(len(there), np.nan))


def redshift_scores(redshifts: Redshifts, truth: Truth, max_outliers: float | None) -> Scores:
    """Return outliers, scatter and the meaning of the errors, of galaxies and quasars, together and apart, and of stars."""
    off = (redshifts.z - truth.z) / (1 + truth.z)
    values: list[Metric] = []
    extragalactic = np.isin(truth.coarse, [COARSE.index("galaxy"), COARSE.index("quasar")])
    samples = [("all", extragalactic)] + [(name, truth.coarse == COARSE.index(name)) for name in ("galaxy", "quasar", "star")]
    for name, members in samples:
        here = members & np.isfinite(truth.z)
        if here.any():
            values += _redshift_metrics(name, off, here, redshifts, max_outliers if name == "all" else None)
    here = extragalactic & np.isfinite(truth.z)
    if not here.any():
        return values, {}
    # No redshift is no answer, and so an outlier.
    right = np.abs(np.nan_to_num(off, nan=np.inf)) <= OUTLIER
    curve = fraction_curve("snr", truth.snr[here], right[here], SNR_EDGES, "right")
    by_z = fraction_curve("redshift", truth.z[here], right[here], np.arange(0, 8.01, 0.25), "right")
    return values, {"right redshifts by snr": curve, "right redshifts by redshift": by_z}


def _redshift_metrics(name: str, off: np.ndarray, here: np.ndarray, redshifts: Redshifts, bar: float | None) -> list[Metric]:
    there, size = here & np.isfinite(off), np.abs(np.nan_to_num(off, nan=np.inf))
    safe = here & redshifts.safe
    outlier = fraction_metric(
        f"redshift_outlier.{name}", size[here] > OUTLIER, bar, f"off by more than {OUTLIER} (1 + z), or without a redshift"
    )
    values = [
        _lower(outlier),
        _lower(
            fraction_metric(f"redshift_catastrophic.{name}", size[here] > CATASTROPHIC, None, f"off by more than {CATASTROPHIC} (1 + z)")
        ),
        fraction_metric(f"redshift_safe.{name}", safe[here], None, "without a warning"),
        _lower(
            fraction_metric(
                f"redshift_outlier_safe.{name}", size[safe] > OUTLIER, None, f"of those without a warning off by more than {OUTLIER}"
            )
        ),
        _lower(
            fraction_metric(
                f"redshift_catastrophic_safe.{name}", size[safe] > CATASTROPHIC, None, f"of those off by more than {CATASTROPHIC}"
            )
        ),
    ]
    median, scatter, error = robust(off[there])
    bias = error if np.isfinite(error) else None
    values.append(Metric(f"redshift_bias.{name}", float(median), error=bias, description="median of the differences over 1 + z"))
    values.append(Metric(f"redshift_nmad.{name}", float(scatter), better="lower", description="1.48 times their median absolute deviation"))
    # How far the error reaches can be told of redshifts that are not of another line altogether.
    z = there & (size <= OUTLIER) & (redshifts.error > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = size / (redshifts.error / (1 + np.nan_to_num(redshifts.z)))
    for sigma in (1, 2):
        values.append(
            fraction_metric(
                f"redshift_within_{sigma}_sigma.{name}", pull[z] <= sigma, None, f"of those not outliers, within {sigma} of their errors"
            )
        )
    return values


def _lower(metric: Metric) -> Metric:
    return replace(metric, better="lower")


def sky_scores(classes: Classes | None, redshifts: Redshifts | None, truth: Truth, confident: float) -> list[Metric]:
    """Return the part of the spectra of empty sky that passes for an object, with confidence."""
    sky = truth.coarse == COARSE.index("sky")
    if not sky.any():
        return []
    objects = [COARSE.index(name) for name in ("star", "galaxy", "quasar")]
    values = []
    if classes is not None:
        accepted = np.isin(classes.best, objects) & (np.nan_to_num(classes.confidence) >= confident)
        values.append(
            _lower(fraction_metric("sky_accepted.classes", accepted[sky], None, f"of empty sky classed an object, {confident:g} sure"))
        )
    if redshifts is not None:
        sure = np.isnan(redshifts.probability) | (redshifts.probability >= confident)
        accepted = redshifts.safe & sure & np.isin(redshifts.coarse, objects)
        values.append(_lower(fraction_metric("sky_accepted.redshifts", accepted[sky], None, "of empty sky given a safe redshift")))
    return values


def novelty_scores(classes: Classes, truth: Truth) -> list[Metric]:
    """Return how well the out-of-distribution score tells what nobody taught from stars, galaxies and quasars."""
    known = np.isin(truth.coarse, [COARSE.index(name) for name in ("star", "galaxy", "quasar")])
    values = []
    for name in ("unknown", "sky"):
        strange = truth.coarse == COARSE.index(name)
        area = _area(classes.novelty[strange], classes.novelty[known])
        if np.isfinite(area):
            values.append(Metric(f"auroc.{name}", area, description=f"chance that the score of {name} exceeds that of a known object"))
    return values


def _area(high: Sequence[float] | np.ndarray, low: Sequence[float] | np.ndarray) -> float:
    """Return the chance that a value of one sample exceeds one of the other, ties half: the area under the ROC curve."""
    high, low = (np.sort(np.asarray(each, np.float64)[np.isfinite(each)]) for each in (high, low))
    if not len(high) or not len(low):
        return float("nan")
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(below.mean() / 2 / len(low))
