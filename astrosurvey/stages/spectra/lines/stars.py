"""The starlight of galaxies: stellar populations fitted beside the emission lines, so that these stand on the stars' own absorption.

Spectrum and populations are divided by their own smooth continua, which leaves dust and calibration out, and the rest of the spectrum is
taken as a sum of populations without negative parts, broadened by one of a few velocity dispersions.

References:
    Cid Fernandes et al. (2005), MNRAS 358, 363; Tremonti et al. (2004), ApJ 613, 898, for lines on fitted populations;
    Lawson & Hanson (1974), Solving Least Squares Problems, for non-negative least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import nnls

from ..templates.library import LOG_STEP, TemplateSet
from ..velocity import LIGHT
from .continuum import near_lines, smooth_continuum

DISPERSIONS = 90.0, 160.0, 260.0
"""km/s that are tried, beyond the populations' own resolution."""
MOST = 18
"""Populations that are used: neighbours in age and metallicity are hardly told apart, and time goes with the square of their number."""
BESIDE = 500.0
"""km/s around emission lines that do not count."""
LEAST_PIXELS = 300
"""A spectrum with fewer of them keeps its smooth continuum."""


@dataclass(frozen=True)
class Populations:
    """Stellar populations over their smooth continua.

    Attributes:
        first: log10 of the first wavelength, Å at rest.
        flux: (dispersion, population, pixel) float64 in steps of `LOG_STEP`; NaN where there is none.
    """

    first: float
    flux: np.ndarray


def prepared(templates: TemplateSet) -> Populations | None:
    """Return the populations of a set; None if it has none."""
    if not len(templates):
        return None
    rows = np.unique(np.linspace(0, len(templates) - 1, MOST).round().astype(np.int64))
    # Rows go by metallicity and age, so that even steps reach all of both.
    order = np.lexsort(
        [templates.parameters[name] for name in ("age", "metallicity") if name in templates.parameters] or [np.arange(len(templates))]
    )
    flux = templates.flux[order[rows]].astype(np.float64)
    good = np.isfinite(flux)
    log_wave = np.log(templates.wave)
    zero, narrow = np.zeros(len(flux)), np.zeros(len(flux), bool)
    pixel = LOG_STEP * np.log(10) * LIGHT
    broadened = []
    for dispersion in DISPERSIONS:
        blurred = gaussian_filter1d(np.where(good, flux, 0), dispersion / pixel, axis=1, mode="nearest")
        share = gaussian_filter1d(good.astype(np.float64), dispersion / pixel, axis=1, mode="nearest")
        blurred = blurred / np.maximum(share, 0.5)
        level = smooth_continuum(blurred, good, log_wave, zero, narrow)
        with np.errstate(divide="ignore", invalid="ignore"):
            broadened.append(np.where(good & (level > 0), blurred / level, np.nan))
    return Populations(templates.loglam0, np.stack(broadened))


def starlight(
    populations: Populations, flux: np.ndarray, weight: np.ndarray, log_wave: np.ndarray, log_shift: np.ndarray, smooth: np.ndarray
) -> np.ndarray:
    """Return the continua of galaxies.

    Args:
        populations: what stars there are.
        flux: (n, pixel).
        weight: (n, pixel) inverse variance; 0 where unusable.
        log_wave: (pixel,) or (n, pixel) natural logarithm of the wavelengths.
        log_shift: (n,) ln(1 + z).
        smooth: (n, pixel) smooth continua.

    Returns:
        (n, pixel); the smooth continuum where populations say nothing.
    """
    log_wave = np.broadcast_to(log_wave, flux.shape)
    result = smooth.copy()
    for row in range(len(flux)):
        rest = log_wave[row] - log_shift[row]
        used = (weight[row] > 0) & (smooth[row] > 0) & ~near_lines(rest, wide=False, beside=BESIDE)
        best = _best(populations, rest, used, flux[row], weight[row], smooth[row])
        if best is not None:
            result[row] = np.where(np.isfinite(best), smooth[row] * best, smooth[row])
    return result


def _best(
    populations: Populations, rest: np.ndarray, used: np.ndarray, flux: np.ndarray, weight: np.ndarray, smooth: np.ndarray
) -> np.ndarray | None:
    """Return the sum of populations that fits best, over its smooth continuum."""
    place = (rest / np.log(10) - populations.first) / LOG_STEP
    left = np.clip(np.floor(place).astype(np.int64), 0, populations.flux.shape[2] - 2)
    part = place - left
    inside = (part >= 0) & (part <= 1)
    found, least = None, np.inf
    for broadened in populations.flux:
        model = broadened[:, left] * (1 - part) + broadened[:, left + 1] * part
        fine = used & inside & np.isfinite(model).all(axis=0)
        if fine.sum() < LEAST_PIXELS:
            return None
        root = np.sqrt(weight[fine]) * smooth[fine]
        columns, target = model[:, fine] * root, flux[fine] / smooth[fine] * root
        # The normal equations' root has the same solution as the spectra themselves, at a hundredth of the size.
        normal = columns @ columns.T
        upper = np.linalg.cholesky(normal + 1e-10 * np.trace(normal) * np.eye(len(normal))).T
        amounts, rest_norm = nnls(upper, np.linalg.solve(upper.T, columns @ target))
        if rest_norm < least:
            found, least = np.where(inside, amounts @ model, np.nan), rest_norm
    return found
