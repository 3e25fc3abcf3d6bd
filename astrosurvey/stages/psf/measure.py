"""One band's PSF, from the image to a polynomial of stamps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...products.psf import STAR, normalised, terms
from . import reselect, select
from .moffat import LEVEL
from .moffat import fit as fit_moffat
from .moments import FWHM_PER_SIGMA, Moments, Stamps, adaptive_moments, cut, fwhm_of, offsets
from .solve import Fit
from .solve import fit as fit_empirical

FIRST_HALF, LARGEST_HALF = 10, 80
"""Pixels from the middle to the edge of the first stamps, and of the largest."""
CORE = 1.2
"""A star's pixels within so many FWHM must all be there."""
CANDIDATES = 2000
"""Sources whose size is measured, the most significant first."""
STARS_PER_TERM = 10
INFORMATION, AT_LEAST = 0.9, 25
"""Stars are taken from the brightest down until they hold so much of what all of them know, and so many at least."""
EMPIRICAL = 3
"""With fewer stars nothing tells a star from what only looks like one, so a Moffat profile is all that is fitted."""


@dataclass(frozen=True)
class Band:
    """What is known of one band: (y, x) planes."""

    data: np.ndarray
    variance: np.ndarray
    good: np.ndarray


@dataclass(frozen=True)
class Rules:
    """Settings of the measurement; see `MeasurePsf.Config`."""

    min_snr: float
    contamination: float
    max_stars: int
    max_degree: int
    radius: float
    oversampling: int | None


@dataclass(frozen=True)
class Measured:
    """The PSF of one band.

    Attributes:
        basis: (coefficient, y, x) at the nodes, normalised as in `PsfModel`.
        oversampling: nodes per pixel.
        stars: rows of `products.psf.STAR`, without the band.
        residual: rms of the stars' mean residual in the core, as a part of the peak.
        chi2: median reduced chi square of the stars.
        origin: "stars", or "moffat" where there were too few of them for an empirical model.
    """

    basis: np.ndarray
    oversampling: int
    stars: np.ndarray = field(default_factory=lambda: np.zeros(0, STAR))
    residual: float = float("nan")
    chi2: float = float("nan")
    origin: str = "stars"

    @property
    def fwhm(self) -> float:
        """Full width at half maximum of the first coefficient, in pixels."""
        return fwhm_of(self.basis[0], self.oversampling)


def measure_band(
    band: Band, labels: np.ndarray, ids: np.ndarray, x: np.ndarray, y: np.ndarray, significance: np.ndarray, rules: Rules
) -> Measured | None:
    """Return the PSF of a band from the stars among the sources; None where there is none.

    Args:
        band: its planes.
        labels: (y, x), label i is source i - 1.
        ids: (n,) source ids.
        x, y: (n,) places in pixels.
        significance: (n,) of the detection, by which candidates are looked at.
        rules: the settings.
    """
    found = _stars(band, labels, x, y, significance, rules)
    if found is None:
        return None
    which, stamps, moments = found
    u, v = normalised(stamps.x + moments.dx, stamps.y + moments.dy, band.data.shape)
    start = fit_moffat(stamps, moments)
    oversampling = rules.oversampling or _oversampling(start.fwhm)
    if len(which) < EMPIRICAL:
        rows = _rows(ids[which], stamps, moments.dx, moments.dy, moments.flux, moments.snr, np.full(len(which), np.nan))
        return Measured(start.nodes(stamps.half, oversampling)[None], oversampling, rows, origin="moffat")
    factors = terms(u, v, _degree(len(which), rules.max_degree))
    fitted = fit_empirical(stamps, moments, factors, start, oversampling)
    points = reselect.points(stamps, fitted, factors, start.fwhm)
    if EMPIRICAL <= points.sum() < fitted.kept.sum():
        which, stamps, moments = which[points], stamps.take(points), _take(moments, points)
        start = fit_moffat(stamps, moments)
        factors = terms(u[points], v[points], _degree(len(which), rules.max_degree))
        fitted = fit_empirical(stamps, moments, factors, start, oversampling)
    kept = fitted.kept
    rows = _rows(ids[which], stamps, fitted.dx, fitted.dy, fitted.flux, moments.snr, fitted.chi2)[kept]
    residual = _residual(stamps, fitted, factors, start.fwhm)
    return Measured(fitted.nodes(), oversampling, rows, residual, float(np.median(fitted.chi2[kept])))


def _degree(n_stars: int, most: int) -> int:
    """Return the degree of the polynomial over the tile that so many stars can tell."""
    degree = 0
    while degree < most and n_stars >= STARS_PER_TERM * (degree + 2) * (degree + 3) // 2:
        degree += 1
    return degree


def _oversampling(fwhm: float) -> int:
    """Return how many nodes a pixel needs for cubic splines to follow a profile of this width within 0.3 % of its peak."""
    return 1 if fwhm >= 3.0 else 2 if fwhm >= 1.5 else 3


def _rows(
    ids: np.ndarray, stamps: Stamps, dx: np.ndarray, dy: np.ndarray, flux: np.ndarray, snr: np.ndarray, chi2: np.ndarray
) -> np.ndarray:
    rows = np.zeros(len(ids), STAR)
    rows["source_id"], rows["x"], rows["y"] = ids, stamps.x + dx, stamps.y + dy
    rows["flux"], rows["snr"], rows["chi2"] = flux, snr, chi2
    return rows


def _stars(
    band: Band, labels: np.ndarray, x: np.ndarray, y: np.ndarray, significance: np.ndarray, rules: Rules
) -> tuple[np.ndarray, Stamps, Moments] | None:
    """Return which sources are stars to measure on, their stamps at full size, and their moments."""
    ny, nx = band.data.shape
    place = np.flatnonzero((x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5))
    bright = place[np.argsort(-np.nan_to_num(significance[place]), kind="stable")[:CANDIDATES]]
    half, largest = FIRST_HALF, min(LARGEST_HALF, max(ny, nx))
    while True:
        stamps = cut(band.data, band.variance, band.good, labels, bright + 1, x[bright], y[bright], half)
        # Too few good pixels in the very middle make moments meaningless, whatever they are.
        solid = _core_share(stamps, 1.5) >= 1
        which, stamps = bright[solid], stamps.take(solid)
        if not len(which):
            return None
        moments = adaptive_moments(stamps.data, stamps.ivar > 0, stamps.ivar)
        usable = select.well_behaved(moments, half) & (moments.snr >= rules.min_snr)
        locus = select.stellar_locus(np.log(moments.sigma[usable]), moments.snr[usable]) if usable.any() else None
        wide = half / 5.0 if locus is None else float(np.exp(locus))
        needed = int(np.ceil(4.0 * wide))
        if half >= largest or (locus is not None and needed <= half):
            break
        half = min(max(needed, 2 * half if locus is None else 0), largest)
    if locus is None:
        return None
    fwhm = FWHM_PER_SIGMA * wide
    which, moments = which[usable], _take(moments, usable)
    light = np.bincount(labels.ravel(), np.where(band.good, band.data, 0).ravel(), len(x) + 1)[1:]
    light[which] = np.maximum(light[which], moments.flux)
    whole = _core_share(stamps.take(usable), CORE * fwhm) >= 1
    alone = select.isolated(x, y, light, which, fwhm, rules.contamination) & whole
    if not alone.any():
        return None
    which, moments = which[alone], _take(moments, alone)
    u, v = normalised(x[which], y[which], band.data.shape)
    chosen = np.flatnonzero(select.on_locus(moments, locus, u, v))
    chosen = np.sort(chosen[_worth_it(moments.snr[chosen])[: rules.max_stars]])
    if not chosen.size:
        return None
    which, moments = which[chosen], _take(moments, chosen)
    half = int(min(max(np.ceil(rules.radius * fwhm), 3), LARGEST_HALF))
    full = cut(band.data, band.variance, band.good, labels, which + 1, x[which], y[which], half)
    return which, full, moments


def _worth_it(snr: np.ndarray) -> np.ndarray:
    """Return the order of stars by brightness, cut where fainter ones hardly add knowledge, but are ever more often galaxies."""
    order = np.argsort(-snr, kind="stable")
    knowledge = np.cumsum(1.0 / (1.0 / snr[order] ** 2 + LEVEL**2))
    return order[: max(int(np.searchsorted(knowledge, INFORMATION * knowledge[-1])) + 1, AT_LEAST)]


def _take(moments: Moments, which: np.ndarray) -> Moments:
    return Moments(**{name: values[which] for name, values in vars(moments).items()})


def _core_share(stamps: Stamps, radius: float) -> np.ndarray:
    """Return the part of the pixels within a radius of each stamp's middle that can be used."""
    gx, gy = offsets(stamps.half)
    core = (gx**2 + gy**2 <= max(radius, 1.0) ** 2)[0]
    return np.asarray((stamps.ivar[:, core] > 0).mean(axis=1))


def _residual(stamps: Stamps, fitted: Fit, factors: np.ndarray, fwhm: float) -> float:
    """Return the rms, over the core, of the stars' weighted mean residual at their pixels, as a part of the peak."""
    from .solve import model_pixels

    model = model_pixels(fitted, stamps.half, factors)
    kept = fitted.kept
    flux = fitted.flux[kept, None, None]
    gx, gy = offsets(stamps.half)
    core = (gx**2 + gy**2 <= (1.5 * max(fwhm, 1.0)) ** 2)[0]
    weight = fitted.weight[kept] * flux**2
    total = weight.sum(axis=0)
    mean = np.divide((weight * (stamps.data[kept] / flux - model[kept])).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
    return float(np.sqrt(np.mean(mean[core & (total > 0)] ** 2)) / model[kept].max())
