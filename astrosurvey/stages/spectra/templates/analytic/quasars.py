"""Analytic quasars: a broken power law, broad and narrow lines, bumps of iron, and basis vectors of many of them."""

from __future__ import annotations

import numpy as np

from ...velocity import LIGHT
from ..library import LOG_STEP, TemplateSet
from .eigen import basis

FIRST, LAST = 26500, 40300
"""Pixels from 447 to 10715 Å."""

BROAD = (
    (1033.8, 9.0, 4200.0), (1215.7, 75.0, 4500.0), (1240.1, 18.0, 4500.0), (1305.4, 2.5, 4000.0), (1336.6, 1.0, 4000.0),
    (1398.3, 8.0, 5000.0), (1549.1, 24.0, 4500.0), (1640.4, 3.0, 5500.0), (1663.5, 1.5, 5000.0), (1892.0, 4.0, 5000.0),
    (1908.7, 16.0, 5500.0), (2326.4, 2.5, 5000.0), (2799.1, 28.0, 3600.0), (4102.9, 5.0, 3800.0), (4341.7, 11.0, 3800.0),
    (4862.7, 42.0, 3800.0), (5877.2, 6.0, 4200.0), (6564.6, 180.0, 3600.0), (7067.2, 3.0, 4000.0),
)  # fmt: skip
"""(Å, equivalent width in Å, FWHM in km/s). References: Vanden Berk et al. (2001), AJ 122, 549, rounded."""

NARROW = (
    (3346.8, 0.4), (3426.8, 1.0), (3728.5, 1.7), (3869.9, 1.5), (4364.4, 0.6), (4960.3, 4.3), (5008.2, 13.0), (6549.9, 1.0), (6585.3, 3.0),
    (6718.3, 1.6), (6732.7, 1.4),
)  # fmt: skip
"""(Å, equivalent width in Å)."""
NARROW_FWHM = 450.0

IRON = ((2080.0, 25.0, 0.12), (2480.0, 90.0, 0.26), (2630.0, 35.0, 0.14), (2950.0, 55.0, 0.10), (3180.0, 40.0, 0.12),
        (4565.0, 55.0, 0.14), (4630.0, 30.0, 0.10), (5180.0, 25.0, 0.10), (5290.0, 40.0, 0.12))  # fmt: skip
"""(Å, sigma in Å, height above the continuum): what is left of thousands of lines of Fe II after blending."""
BALMER_CONTINUUM = 0.25

BREAK = 5000.0
"""Å, where the host and hot dust make the continuum redder."""
_LOW_IONISATION = 2500.0
"""Å; lines beyond are emitted in the disk where there is one."""
DRAWN, VECTORS = 300, 5


def wavelengths() -> np.ndarray:
    """Return the grid of the analytic quasars, Å."""
    wave: np.ndarray = 10 ** (LOG_STEP * np.arange(FIRST, LAST))
    return wave


def quasars(wave: np.ndarray, rng: np.random.Generator, number: int, disks: float = 0.0) -> np.ndarray:
    """Return drawn quasars, 1 in their continuum at 3000 Å, without absorption between them and us.

    Args:
        wave: (pixel,) Å in vacuum at rest.
        rng: draws slopes, and strengths and widths of lines, with the scatter that quasars have.
        number: how many.
        disks: share whose Balmer and Mg II lines have two peaks, blue and red, as of a rotating disk, or one that is far off.

    Returns:
        (number, pixel) float64.

    References: Strateva et al. (2003), AJ 126, 1720 (double peaks).
    """
    slope = rng.normal(-1.55, 0.35, (number, 1))
    red = slope + rng.normal(0.9, 0.3, (number, 1))
    blue = rng.normal(0.9, 0.3, (number, 1))
    continuum = (wave / 3000.0) ** slope
    continuum = np.where(wave > BREAK, (BREAK / 3000.0) ** slope * (wave / BREAK) ** red, continuum)
    continuum = np.where(wave < 1100.0, continuum * (wave / 1100.0) ** blue, continuum)
    contrast, width = rng.normal(0, 0.35, (number, 1)), rng.normal(0, 0.2, (number, 1))
    excess = np.zeros((number, len(wave)))
    disk = rng.random((number, 1)) < disks
    core, wind = rng.uniform(0.4, 0.9, (number, 1)), rng.exponential(400.0, (number, 1))
    peaks = rng.uniform(-6000, -1000, (number, 1)), rng.uniform(1000, 6000, (number, 1))
    turning = rng.uniform(2500, 6500, (number, 1)) / 2.3548
    blue_share = rng.uniform(0.1, 0.9, (number, 1))
    for center, equivalent_width, fwhm in BROAD:
        area = equivalent_width * np.exp(contrast + rng.normal(0, 0.3, (number, 1)))
        sigma = np.exp(width + rng.normal(0, 0.1, (number, 1))) * fwhm / 2.3548
        shift = rng.normal(0, 200, (number, 1)) - (wind if 1300 < center < 2000 else 0.0)
        rotates = disk & (center > _LOW_IONISATION)
        for share, factor, peak in ((core, 0.75, peaks[0]), (1 - core, 1.5, peaks[1])):
            part = np.where(rotates, blue_share if factor < 1 else 1 - blue_share, share)
            velocity, spread = np.where(rotates, peak, shift), np.where(rotates, turning, factor * sigma)
            _add(excess, wave, center * (1 + velocity / LIGHT), area * part, spread / LIGHT * center)
    narrow = np.exp(rng.normal(-0.2, 0.7, (number, 1)))
    for center, equivalent_width in NARROW:
        sigma = np.full((number, 1), NARROW_FWHM / 2.3548 / LIGHT * center)
        _add(excess, wave, np.full((number, 1), center), equivalent_width * narrow * np.exp(rng.normal(0, 0.15, (number, 1))), sigma)
    iron = np.exp(rng.normal(0, 0.4, (number, 1)))
    for center, sigma_iron, height in IRON:
        excess += height * iron * np.exp(-0.5 * ((wave - center) / sigma_iron) ** 2)
    shape = np.where(wave < 3646.0, (wave / 3646.0) ** 3, np.exp(-(((wave - 3646.0) / 120.0) ** 2)))
    excess += BALMER_CONTINUUM * iron * shape * (wave > 1500.0)
    return np.asarray(continuum * (1 + excess))


def _add(excess: np.ndarray, wave: np.ndarray, center: np.ndarray, area: np.ndarray, sigma: np.ndarray) -> None:
    """Add a Gaussian line of these centres, areas and widths (Å), each (n, 1), where it matters."""
    first, last = np.searchsorted(wave, (float((center - 5 * sigma).min()), float((center + 5 * sigma).max())))
    x = (wave[first:last] - center) / sigma
    excess[:, first:last] += area / (np.sqrt(2 * np.pi) * sigma) * np.exp(-0.5 * x**2)


def eigen_quasars() -> TemplateSet:
    """Return basis vectors of quasars: the leading singular vectors of drawn ones."""
    wave = wavelengths()
    flux = quasars(wave, np.random.default_rng(2), DRAWN)
    flux /= np.sqrt(np.mean(flux[:, wave > 1000.0] ** 2, axis=1, keepdims=True))
    names = tuple(f"QSO {k}" for k in range(VECTORS))
    return TemplateSet(basis(flux, VECTORS), FIRST, names, ("QSO",) * VECTORS, {}, "analytic", True, (0.05, 7.0))
