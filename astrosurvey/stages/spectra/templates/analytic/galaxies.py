"""Analytic stellar populations, and basis vectors of galaxies made of them."""

from __future__ import annotations

import numpy as np

from ..library import TemplateSet
from .eigen import basis
from .stars import FIRST, star, wavelengths

AGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 9.0, 13.0)
"""Gyr."""
TURN_OFF = (38000.0, 25000.0, 18000.0, 13000.0, 9700.0, 7700.0, 6400.0, 5850.0, 5600.0)
"""K, temperature of the hottest stars that still burn hydrogen."""
GIANTS = (0.05, 0.12, 0.10, 0.12, 0.18, 0.35, 0.45, 0.50, 0.55)
"""Share of giants in the light at 5500 Å."""
METALLICITIES = (-0.7, 0.0)
GIANT_TEMPERATURES = ((4800.0, 0.6), (4200.0, 0.3), (3500.0, 0.1))
"""K, and the share in the giants' light at 5500 Å."""

LINES = (
    (3727.1, 0.5), (3729.9, 0.7), (3869.9, 0.1), (4341.7, 0.35), (4862.7, 0.8), (4960.3, 0.3), (5008.2, 0.9), (6549.9, 0.35), (6564.6, 2.6),
    (6585.3, 1.0), (6718.3, 0.5), (6732.7, 0.4),
)  # fmt: skip
"""(Å, relative flux) of the emission lines in the basis vectors."""
DRAWN, VECTORS = 240, 5
LINE_WIDTH = 2.0
"""Pixels."""


def population(wave: np.ndarray, age: float, metallicity: float) -> np.ndarray:
    """Return the light of stars of one age, 1 at 5500 Å: a turn-off, cooler dwarfs and giants.

    Args:
        wave: Å in vacuum.
        age: Gyr.
        metallicity: [Z/H], by which giants are cooler and lines are stronger.
    """
    log_age = np.log10(age)
    hottest = 10 ** np.interp(log_age, np.log10(AGES), np.log10(TURN_OFF))
    giants = float(np.interp(log_age, np.log10(AGES), GIANTS))
    flux = np.zeros_like(wave)
    for temperature, share in (
        (hottest, 0.6 * (1 - giants)),
        (max(0.75 * hottest, 5000.0), 0.3 * (1 - giants)),
        (5000.0, 0.1 * (1 - giants)),
        *((t * 10 ** (-0.04 * metallicity), share * giants) for t, share in GIANT_TEMPERATURES),
    ):
        flux += share * star(wave, float(temperature), metallicity)
    flux /= np.interp(5500.0, wave, flux)
    return np.asarray(flux)


def populations() -> TemplateSet:
    """Return a population of every age and metallicity."""
    wave = wavelengths()
    rows = [(age, metallicity) for age in AGES for metallicity in METALLICITIES]
    flux = np.array([population(wave, *row) for row in rows], np.float32)
    names = tuple(f"{age:g} Gyr [Z/H]={metallicity:+.1f}" for age, metallicity in rows)
    ages, metallicities = (np.array(column) for column in zip(*rows, strict=True))
    return TemplateSet(flux, FIRST, names, ("SSP",) * len(rows), {"age": ages, "metallicity": metallicities}, "analytic", False, (0.0, 1.5))


def eigen_galaxies() -> TemplateSet:
    """Return basis vectors of galaxies: the leading singular vectors of mixtures of populations, dust and emission lines."""
    rng = np.random.default_rng(1)
    ssp = populations()
    wave = ssp.wave
    weights = rng.dirichlet(np.full(len(ssp), 0.2), DRAWN)
    flux = weights @ ssp.flux.astype(np.float64)
    flux *= 10 ** (-0.4 * rng.exponential(0.4, (DRAWN, 1)) * (5500.0 / wave) ** 0.7)
    flux /= np.median(flux[:, np.searchsorted(wave, 4000.0) : np.searchsorted(wave, 7000.0)], axis=1, keepdims=True)
    young = weights[:, ssp.parameters["age"] < 0.02].sum(axis=1, keepdims=True)
    lines = np.zeros((1, len(wave)))
    for center, strength in LINES:
        lines += strength * np.exp(-0.5 * ((np.arange(len(wave)) - np.interp(center, wave, np.arange(len(wave)))) / LINE_WIDTH) ** 2)
    flux += lines * young * rng.lognormal(1.5, 0.7, (DRAWN, 1))
    names = tuple(f"GALAXY {k}" for k in range(VECTORS))
    vectors = basis(flux, VECTORS)
    return TemplateSet(vectors, FIRST, names, ("GALAXY",) * VECTORS, {}, "analytic", True, (0.0, 2.0))
