"""The numbers: completeness, purity, fluxes and positions, overall and in bins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...products.metrics import Metric
from .gather import Fluxes, Objects, Space
from .match import one_to_one, robust, wilson

ZERO_POINT = 31.4
SNR_EDGES = np.array([0, 3, 4, 5, 7, 10, 20, 50, 100, np.inf])
Curve = dict[str, list[float | None]]


@dataclass(frozen=True)
class Sample:
    """Truth and sources, matched.

    Attributes:
        truth, found: the objects.
        true_flux: by band.
        measured: by (method, band).
        match: (n_truth,) index of the source matched to each true object, -1 for none.
        space: where they were matched.
    """

    truth: Objects
    found: Objects
    true_flux: Mapping[str, Fluxes]
    measured: Mapping[tuple[str, str], Fluxes]
    match: np.ndarray
    space: Space


def magnitude(flux: np.ndarray) -> np.ndarray:
    """Return AB magnitudes of fluxes in nJy; NaN where the flux is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flux > 0, ZERO_POINT - 2.5 * np.log10(flux), np.nan)


def bins(values: np.ndarray, width: float) -> np.ndarray:
    """Return edges, at whole multiples of `width`, that hold all finite values."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros(0)
    return np.arange(np.floor(finite.min() / width), np.floor(finite.max() / width) + 2) * width


def fraction_curve(axis: str, values: np.ndarray, hit: np.ndarray, edges: np.ndarray, name: str) -> Curve:
    """Return a fraction in bins with its 68.3 % Wilson interval; bins without objects are left out."""
    curve: Curve = {f"{axis}_min": [], f"{axis}_max": [], name: [], "low": [], "high": [], "n": []}
    for low, high in pairwise(edges.tolist()):
        here = (values >= low) & (values < high)
        n = int(np.count_nonzero(here))
        if n == 0:
            continue
        k = int(np.count_nonzero(hit & here))
        below, above = wilson(k, n)
        row = (low, high if np.isfinite(high) else None, k / n, below, above, n)
        for column, value in zip(curve, row, strict=True):
            curve[column].append(value)
    return curve


def fraction_metric(name: str, hit: np.ndarray, bar: float | None, description: str) -> Metric:
    """Return a fraction as a metric; its error is half the width of the Wilson interval."""
    n, k = len(hit), int(np.count_nonzero(hit))
    low, high = wilson(k, n)
    return Metric(name, k / n if n else np.nan, error=(high - low) / 2 if n else None, bar=bar, description=f"{description} ({k} of {n})")


def detection_scores(
    sample: Sample, *, reference: str | None, width: float, limit: float | None, min_completeness: float | None, min_purity: float | None
) -> tuple[list[Metric], dict[str, Curve]]:
    """Return how complete and how pure the sources are.

    Args:
        sample: matched truth and sources.
        reference: the band of the magnitude limit; None for the mean flux of all bands.
        width: of magnitude bins.
        limit: only true objects brighter than this count in the overall completeness.
        min_completeness, min_purity: bars.
    """
    hit = sample.match >= 0
    real = np.zeros(len(sample.found), bool)
    real[sample.match[hit]] = True
    flux = sample.true_flux[reference].flux if reference else sample.truth.rank / max(len(sample.true_flux), 1)
    counted = magnitude(flux) < limit if limit is not None else np.ones(len(hit), bool)
    of_what = (
        f"true objects brighter than {limit:g} mag in {reference or 'the mean of the bands'}" if limit is not None else "all true objects"
    )
    values = [
        Metric("n_truth", len(hit), description="true objects, each once"),
        Metric("n_sources", len(real), description="primary sources"),
        Metric("n_matched", int(hit.sum()), description="true objects with a source of their own"),
        fraction_metric("completeness", hit[counted], min_completeness, f"fraction of {of_what} that were found"),
        fraction_metric("purity", real, min_purity, "fraction of sources that are true objects"),
        _chance(sample),
    ]
    curves = {"purity by significance": fraction_curve("significance", sample.found.rank, real, SNR_EDGES, "purity")}
    for band, true in sample.true_flux.items():
        values_mag = magnitude(true.flux)
        curve = fraction_curve("magnitude", values_mag, hit, bins(values_mag, width), "completeness")
        curves[f"completeness by magnitude, {band}"] = curve
        for level in (0.5, 0.9):
            values.append(
                Metric(
                    f"depth_{level * 100:.0f}.{band}",
                    depth(curve, level),
                    "mag",
                    description=f"magnitude at which the completeness in {band} falls below {level:g}",
                )
            )
    return values, {name: curve for name, curve in curves.items() if curve["n"]}


def _chance(sample: Sample) -> Metric:
    """Return the fraction of sources that would match if they lay somewhere else."""
    fractions = []
    for points in sample.space.displaced:
        match = one_to_one(sample.space.truth, points, sample.truth.rank, sample.space.radius)
        fractions.append(np.count_nonzero(match >= 0) / len(points) if len(points) else np.nan)
    value = float(np.mean(fractions))
    return Metric(
        "chance_match_fraction",
        value,
        better="lower",
        description="fraction of sources matched when all are moved aside: by so much purity may flatter",
    )


def depth(curve: Curve, level: float) -> float:
    """Return the magnitude where a completeness curve, from its best bin towards the faint, falls below a level.

    Linear between bin centres; NaN if it never was above, or never falls below.
    """
    centre = [(a + b) / 2 for a, b in zip(curve["magnitude_min"], curve["magnitude_max"], strict=True) if a is not None and b is not None]
    value = [v for v in curve["completeness"] if v is not None]
    last = max((i for i, v in enumerate(value) if v >= level), default=len(value))
    if last + 1 >= len(value):
        return np.nan
    part = (value[last] - level) / (value[last] - value[last + 1])
    return float(centre[last] + part * (centre[last + 1] - centre[last]))


def position_scores(sample: Sample) -> list[Metric]:
    """Return the offsets of sources from their true positions."""
    at = np.flatnonzero(sample.match >= 0)
    offsets = sample.space.offsets(at, sample.match[at])
    unit = sample.space.unit
    axes = ("ra", "dec") if unit == "arcsec" else ("x", "y")
    values = []
    for axis, along in zip(axes, offsets.T, strict=True):
        middle, scatter, error = robust(along)
        known = error if np.isfinite(error) else None
        values.append(
            Metric(
                f"position_offset.{axis}", middle, unit, known, better="lower", description=f"median offset along {axis}, found minus true"
            )
        )
        values.append(
            Metric(f"position_scatter.{axis}", scatter, unit, better="lower", description=f"1.48 MAD of the offsets along {axis}")
        )
    return values


def flux_scores(sample: Sample, *, width: float, bright: float, max_flux_bias: float | None) -> tuple[list[Metric], dict[str, Curve]]:
    """Return bias and scatter of the measured fluxes of matched sources, and fractions by signal-to-noise ratio.

    Args:
        sample: matched truth and sources.
        width: of magnitude bins.
        bright: signal-to-noise ratio from which sources count in the overall bias and scatter.
        max_flux_bias: bar on the size of the bias.
    """
    at = np.flatnonzero(sample.match >= 0)
    real = np.zeros(len(sample.found), bool)
    real[sample.match[at]] = True
    values: list[Metric] = []
    curves: dict[str, Curve] = {}
    for (method, band), measured in sample.measured.items():
        if band not in sample.true_flux:
            continue
        true = sample.true_flux[band].flux
        flux, error = measured.flux[sample.match[at]], measured.flux_err[sample.match[at]]
        with np.errstate(divide="ignore", invalid="ignore"):
            relative, pull, snr = flux / true[at] - 1, (flux - true[at]) / error, measured.flux / measured.flux_err
        usable = np.isfinite(relative)
        firm = usable & (snr[sample.match[at]] >= bright)
        middle, scatter, uncertainty = robust(relative[firm])
        key = f"{method}.{band}"
        what = f"of {method} fluxes in {band} with S/N over {bright:g}"
        known = uncertainty if np.isfinite(uncertainty) else None
        values += [
            Metric(f"flux_bias.{key}", middle, error=known, better="lower", description=f"median relative error {what}"),
            Metric(f"flux_scatter.{key}", scatter, better="lower", description=f"1.48 MAD of the relative errors {what}"),
            Metric(
                f"flux_pull.{key}",
                robust(pull[firm & np.isfinite(pull)])[1],
                better="lower",
                description=f"1.48 MAD of (flux - true) / flux_err {what}",
            ),
        ]
        if max_flux_bias is not None:
            values.append(
                Metric(
                    f"flux_bias_size.{key}",
                    abs(middle),
                    bar=max_flux_bias,
                    better="lower",
                    description=f"size of the median relative error {what}",
                )
            )
        curves[f"flux by magnitude, {method}, {band}"] = _flux_curve(magnitude(true[at]), relative, usable, width)
        if np.isfinite(snr).any():
            curves[f"purity by signal to noise, {method}, {band}"] = fraction_curve("snr", snr, real, SNR_EDGES, "purity")
            typical = float(np.nanmedian(measured.flux_err))
            curves[f"completeness by signal to noise, {method}, {band}"] = fraction_curve(
                "snr", true / typical, sample.match >= 0, SNR_EDGES, "completeness"
            )
    return values, {name: curve for name, curve in curves.items() if curve["n"]}


def _flux_curve(axis: np.ndarray, relative: np.ndarray, usable: np.ndarray, width: float) -> Curve:
    curve: Curve = {"magnitude_min": [], "magnitude_max": [], "bias": [], "scatter": [], "error": [], "n": []}
    edges = bins(axis[usable], width)
    for low, high in pairwise(edges.tolist()):
        here = usable & (axis >= low) & (axis < high)
        if here.any():
            row = (low, high, *robust(relative[here]), int(here.sum()))
            for column, value in zip(curve, row, strict=True):
                curve[column].append(value)
    return curve
