"""How well blends are taken apart: pairs found, and the fluxes of their members, against separation and flux ratio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from ...products.metrics import Metric
from . import scorer
from .gather import Fluxes
from .scores import Curve
from .signal import fraction_curve, fraction_metric


def pair_scores(
    pairs: scorer.Pairs, separation: np.ndarray, unit: str, edges: Sequence[float], middle: tuple[float, float]
) -> tuple[list[Metric], dict[str, Curve]]:
    """Return the fraction of pairs of which both members were found.

    Args:
        pairs: the pairs.
        separation: (k,) in `unit`.
        unit: "pixel" or "seeing".
        edges: of the bins of separation.
        middle: the separations of the pairs that count by flux ratio.
    """
    by_separation = scorer.in_bins(pairs.found, separation, edges)
    inside = (separation >= middle[0]) & (separation < middle[1])
    by_ratio = scorer.in_bins(pairs.found, pairs.ratio, scorer.RATIO_BINS, inside)
    values = [Metric("n_pairs", len(pairs), description="pairs of true objects")]
    for (low, high), fraction in zip(pairwise(edges), by_separation, strict=True):
        what = f"fraction of pairs {low:g} to {high:g} {_plural(unit)} apart of which both were found"
        values.append(fraction_metric(f"pairs_found.{_bin(low)}-{_bin(high)}", fraction, what))
    for (low, high), fraction in zip(pairwise(scorer.RATIO_BINS), by_ratio, strict=True):
        what = f"fraction of pairs {middle[0]:g} to {middle[1]:g} {_plural(unit)} apart, of flux ratio {low:g} to {high:g}, both found"
        values.append(fraction_metric(f"pairs_found_by_ratio.{_bin(low)}-{_bin(high)}", fraction, what))
    curves = {
        "pairs found by separation": fraction_curve("separation", edges, "found", by_separation),
        "pairs found by flux ratio": fraction_curve("flux_ratio", scorer.RATIO_BINS, "found", by_ratio),
    }
    return values, {name: curve for name, curve in curves.items() if curve["n"]}


def member_scores(
    matched: scorer.Matched,
    pairs: scorer.Pairs,
    separation: np.ndarray,
    edges: Sequence[float],
    middle: tuple[float, float],
    true: Mapping[str, Fluxes],
    measured: Mapping[tuple[str, str], Fluxes],
    *,
    max_scatter: float | None,
    max_outliers: float | None,
) -> tuple[list[Metric], dict[str, Curve]]:
    """Return bias, scatter and outliers of the fluxes of the members of pairs of which both were found.

    Args:
        matched: truth and sources.
        pairs: the pairs.
        separation: (k,) in the unit of `edges` and `middle`.
        edges: of the bins of separation.
        middle: the separations over which the numbers are taken.
        true: true fluxes by band.
        measured: measured fluxes by (method, band).
        max_scatter, max_outliers: bars.
    """
    values: list[Metric] = []
    curves: dict[str, Curve] = {}

    def errors(low: float, high: float, true_flux: np.ndarray, found: np.ndarray) -> scorer.FluxErrors:
        at = pairs.members[pairs.found & (separation >= low) & (separation < high)].ravel()
        return scorer.flux_errors(true_flux[at], found[matched.match[at]])

    for (method, band), fluxes in measured.items():
        if band not in true:
            continue
        key = f"{method}.{band}"
        overall = errors(*middle, true[band].flux, fluxes.flux)
        what = f"of {method} fluxes in {band} of the members of pairs both found"
        known = overall.error if np.isfinite(overall.error) else None
        values += [
            Metric(f"pair_flux_bias.{key}", overall.bias, error=known, better="lower", description=f"median relative error {what}"),
            Metric(
                f"pair_flux_scatter.{key}", overall.scatter, bar=max_scatter, better="lower", description=f"1.48 MAD of the errors {what}"
            ),
            Metric(
                f"pair_flux_outliers.{key}",
                overall.outliers.value,
                bar=max_outliers,
                better="lower",
                description=f"fraction {what} that are more than {scorer.OUTLIER:.0%} off",
            ),
        ]
        curve: Curve = {"separation_min": [], "separation_max": [], "bias": [], "scatter": [], "error": [], "n": []}
        for low, high in pairwise(edges):
            one = errors(low, high, true[band].flux, fluxes.flux)
            if one.n:
                row = (low, high, one.bias, one.scatter, one.error, one.n)
                for column, value in zip(curve, row, strict=True):
                    curve[column].append(value)
        if curve["n"]:
            curves[f"pair flux error by separation, {method}, {band}"] = curve
    return values, curves


def _bin(edge: float) -> str:
    """Return a bin's edge without a point, which would part the metric's name."""
    return f"{edge:g}".replace(".", "_")


def _plural(unit: str) -> str:
    return "pixels" if unit == "pixel" else "seeing widths"
