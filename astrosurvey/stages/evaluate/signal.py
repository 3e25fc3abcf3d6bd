"""How detection does with signal: completeness, positions and fluxes of isolated objects in bins of signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from ...products.metrics import Metric
from . import scorer
from .gather import Details, Fluxes, Objects, Space
from .match import robust
from .scores import Curve

EDGES = (3.0, 4.0, 5.0, 7.0, 10.0, 20.0, 50.0, 100.0, np.inf)


def fraction_curve(axis: str, edges: Sequence[float], name: str, fractions: Sequence[scorer.Fraction]) -> Curve:
    """Return fractions in bins with their intervals as a curve; bins without objects are left out."""
    curve: Curve = {f"{axis}_min": [], f"{axis}_max": [], name: [], "low": [], "high": [], "n": []}
    for (low, high), fraction in zip(pairwise(edges), fractions, strict=True):
        if fraction.of:
            row = (low, high if np.isfinite(high) else None, fraction.value, *fraction.interval, fraction.of)
            for column, value in zip(curve, row, strict=True):
                curve[column].append(value)
    return curve


def fraction_metric(name: str, fraction: scorer.Fraction, description: str, bar: float | None = None) -> Metric:
    """Return a fraction as a metric; its error is half the width of the Wilson interval."""
    low, high = fraction.interval
    error = (high - low) / 2 if fraction.of else None
    return Metric(name, fraction.value, error=error, bar=bar, description=f"{description} ({fraction.hits} of {fraction.of})")


def matched_in(space: Space, known: Objects, details: Details, rank: np.ndarray) -> scorer.Matched:
    """Return true objects and sources matched as the scorer does it: only what is real can be found."""
    truth = scorer.Known(space.truth, known.rank, details.snr, details.pair)
    return scorer.match(truth, scorer.Detected(space.found, rank), space.radius / space.pixel, space.pixel)


def purest(matched: scorer.Matched, radius: float, purity: float) -> tuple[list[Metric], dict[str, Curve]]:
    """Return completeness by signal-to-noise ratio of the surest sources alone.

    Args:
        matched: truth and all sources, ranked by how sure they are; inf for those that are certain.
        radius: of the match (pixel).
        purity: which they must have.
    """
    percent = f"{100.0 * purity:g}".replace(".", "_")
    cut_match, cut = scorer.match_at_purity(matched.known, matched.detected, purity, radius, matched.pixel)
    # Where nothing is cut, it is the least rank of all; where nothing but the certain is left, it is none.
    least = float(np.min(cut_match.detected.rank, initial=np.inf)) if cut == -np.inf else cut
    values, curves = completeness_scores(cut_match, f"_at_purity_{percent}", f" at purity {purity:g}")
    reached = fraction_metric(f"purity_reached_{percent}", cut_match.purity, "purity of the surest sources, as many as keep it")
    limit = Metric(f"rank_at_purity_{percent}", least if np.isfinite(least) else np.nan, description="rank of the least sure of them")
    return [reached, limit, *values], curves


def completeness_scores(matched: scorer.Matched, suffix: str = "", what: str = "") -> tuple[list[Metric], dict[str, Curve]]:
    """Return completeness by signal-to-noise ratio.

    Args:
        matched: truth and sources.
        suffix: of the metrics' names.
        what: said of the sources in the descriptions.
    """
    strong = scorer.Fraction.among(matched.hit, matched.known.snr > 5.0)
    values = [fraction_metric(f"completeness_snr_5{suffix}", strong, f"fraction of all true objects with S/N over 5 that were found{what}")]
    for (low, high), fraction in zip(pairwise(scorer.SNR_BINS), scorer.completeness(matched), strict=True):
        description = f"fraction of isolated true objects with S/N {low:g} to {high:g} that were found{what}"
        values.append(fraction_metric(f"isolated_completeness{suffix}.{low:g}-{high:g}", fraction, description))
    isolated = fraction_curve("snr", EDGES, "completeness", scorer.completeness(matched, EDGES))
    everything = fraction_curve("snr", EDGES, "completeness", scorer.completeness(matched, EDGES, isolated=False))
    panel = f"completeness{what} by true signal to noise"
    return values, {f"{panel}, isolated": isolated, f"{panel}, all": everything}


def quality_curves(matched: scorer.Matched, true: Mapping[str, Fluxes], measured: Mapping[tuple[str, str], Fluxes]) -> dict[str, Curve]:
    """Return how far off the positions and fluxes of isolated objects are, by signal-to-noise ratio.

    Args:
        matched: truth and sources.
        true: true fluxes by band.
        measured: measured fluxes by (method, band).
    """
    at = np.flatnonzero(matched.hit & matched.isolated)
    of, snr = matched.match[at], matched.known.snr[at]
    apart = np.linalg.norm(matched.detected.points[of] - matched.known.points[at], axis=1) / matched.pixel
    curves = {"position error by true signal to noise": _curve(snr, ("position_error",), lambda here: robust(apart[here])[:1])}
    for (method, band), fluxes in measured.items():
        if band not in true:
            continue
        flux, error, truth = fluxes.flux[of], fluxes.flux_err[of], true[band].flux[at]

        def errors(
            here: np.ndarray, flux: np.ndarray = flux, error: np.ndarray = error, truth: np.ndarray = truth
        ) -> tuple[float, float, float]:
            found = scorer.flux_errors(truth[here], flux[here], error[here])
            return found.bias, found.scatter, found.error

        def pull(here: np.ndarray, flux: np.ndarray = flux, error: np.ndarray = error, truth: np.ndarray = truth) -> tuple[float]:
            return (scorer.flux_errors(truth[here], flux[here], error[here]).pull,)

        curves[f"flux error by true signal to noise, {method}, {band}"] = _curve(snr, ("bias", "scatter", "error"), errors)
        curves[f"flux pull by true signal to noise, {method}, {band}"] = _curve(snr, ("pull",), pull)
    return {name: curve for name, curve in curves.items() if curve["n"]}


def _curve(snr: np.ndarray, names: tuple[str, ...], function: Callable[[np.ndarray], tuple[float, ...]]) -> Curve:
    curve: Curve = {"snr_min": [], "snr_max": [], **{name: [] for name in names}, "n": []}
    for low, high in pairwise(EDGES):
        here = np.flatnonzero((snr >= low) & (snr < high))
        if len(here):
            values = (v if np.isfinite(v) else None for v in function(here))
            for column, value in zip(curve, (low, high if np.isfinite(high) else None, *values, len(here)), strict=True):
                curve[column].append(value)
    return curve
