"""Analytic stars, from O to L, and white dwarfs."""

from __future__ import annotations

import numpy as np

from ..library import LOG_STEP, TemplateSet
from . import features as f

FIRST, LAST = 30300, 40700
"""Pixels from 1072 to 11749 Å: populations of stars need the ultraviolet."""

TEMPERATURES = {
    "O5": 42000.0, "O9": 33000.0, "B0": 30000.0, "B3": 18500.0, "B5": 15200.0, "B9": 10700.0, "A0": 9600.0, "A3": 8700.0, "A7": 7800.0,
    "F0": 7200.0, "F2": 6900.0, "F5": 6550.0, "F9": 6050.0, "G2": 5780.0, "G5": 5600.0, "G8": 5450.0, "K1": 5100.0, "K3": 4800.0,
    "K5": 4400.0, "K7": 4050.0, "M0": 3850.0, "M1": 3700.0, "M2": 3550.0, "M3": 3400.0, "M4": 3250.0, "M5": 3100.0, "M6": 2950.0,
    "M8": 2600.0, "L1": 2150.0,
}  # fmt: skip
"""K, of the main sequence. References: Pecaut & Mamajek (2013), ApJS 208, 9."""

METALS = (0.0, -1.0)
"""[Fe/H] of each type."""


def wavelengths() -> np.ndarray:
    """Return the grid of the analytic stars, Å."""
    wave: np.ndarray = 10 ** (LOG_STEP * np.arange(FIRST, LAST))
    return wave


def star(wave: np.ndarray, temperature: float, feh: float = 0.0) -> np.ndarray:
    """Return a star's flux density per Å, about 1 at 5500 Å.

    Args:
        wave: Å in vacuum.
        temperature: K.
        feh: [Fe/H], which scales metal lines and bands by 10**(0.4 feh), as saturated lines do.
    """
    t, metals = float(np.log10(temperature)), 10 ** (0.4 * feh)
    flux: np.ndarray = f.planck(wave, temperature) * f.balmer(wave, 1.1 * f.bump(t, 9400.0, 0.125), 11.0 * f.bump(t, 9000.0, 0.25) + 2.0)
    for lines, strength, width in (
        (f.IONISED_HELIUM, f.bump(t, 42000.0, 0.09), 4.0),
        (f.HELIUM, f.bump(t, 21000.0, 0.13), 3.0),
        (f.CALCIUM, metals * f.step(t, 6600.0, 0.035) * (1 - 0.6 * f.step(t, 3300.0, 0.03)), 5.0 + 4.0 * f.step(t, 5500.0, 0.03)),
        (f.NEUTRAL, metals * f.step(t, 4700.0, 0.045), 4.0 + 4.0 * f.step(t, 4200.0, 0.03)),
        (f.IRON, metals * f.step(t, 5600.0, 0.045), 3.5),
        (f.ULTRAVIOLET, metals * f.step(t, 7500.0, 0.05), 12.0),
    ):
        for center, depth in lines:
            f.absorb(flux, wave, center, min(depth * strength, 0.95), width)
    f.absorb_iron(flux, wave, metals * (0.15 * f.bump(t, 8500.0, 0.15) + f.step(t, 5500.0, 0.05)))
    f.absorb(flux, wave, 4304.0, min(0.35 * metals * f.step(t, 5600.0, 0.03), 0.95), 13.0)  # the G band of CH
    blanket = metals * f.step(t, 5300.0, 0.05)  # the blends that take the light below 4000 Å
    flux = flux * (1 - min(0.5 * blanket, 0.9) / (1 + np.exp((wave - 3980.0) / 25.0)))
    flux = flux * (1 - min(0.8 * blanket, 0.95) / (1 + np.exp((wave - 2900.0) / 40.0)))
    for head, depth in f.TITANIUM_OXIDE:
        f.absorb_band(flux, wave, head, min(1.3 * depth * metals * f.step(t, 3350.0, 0.025) * (1 - 0.7 * f.step(t, 2250.0, 0.02)), 0.93))
    for head, depth in f.COLD:
        f.absorb_band(flux, wave, head, min(1.4 * depth * f.step(t, 2500.0, 0.025), 0.9))
    f.absorb(flux, wave, 7690.0, 0.7 * f.step(t, 2400.0, 0.02), 90.0)  # potassium of L dwarfs
    return flux


def main_sequence() -> TemplateSet:
    """Return a star of each type and metallicity."""
    wave = wavelengths()
    rows = [(kind, t, feh) for kind, t in TEMPERATURES.items() for feh in (METALS if 2500 < t < 9000 else METALS[:1])]
    flux = np.array([star(wave, t, feh) for _, t, feh in rows])
    kinds, teff, fehs = zip(*rows, strict=True)
    names = tuple(f"{kind} [Fe/H]={feh:+.1f}" for kind, _, feh in rows)
    return _set(flux, names, kinds, teff=np.array(teff), feh=np.array(fehs))


def white_dwarfs() -> TemplateSet:
    """Return white dwarfs: hydrogen (DA), helium (DB) and featureless ones (DC)."""
    wave = wavelengths()
    spectra, names, kinds, teff = [], [], [], []
    for t in (8000.0, 10000.0, 13000.0, 17000.0, 25000.0):
        log_t = float(np.log10(t))
        spectra.append(f.planck(wave, t) * f.balmer(wave, 0.9 * f.bump(log_t, 13000.0, 0.2), 38.0))
        names.append(f"WD:DA {t:.0f} K")
        kinds.append("WD:DA")
        teff.append(t)
    for t in (15000.0, 20000.0, 27000.0):
        flux = f.planck(wave, t)
        for center, depth in f.HELIUM:
            f.absorb(flux, wave, center, 1.3 * depth, 17.0)
        spectra.append(flux)
        names.append(f"WD:DB {t:.0f} K")
        kinds.append("WD:DB")
        teff.append(t)
    for t in (5500.0, 9000.0):
        spectra.append(f.planck(wave, t))
        names.append(f"WD:DC {t:.0f} K")
        kinds.append("WD:DC")
        teff.append(t)
    return _set(np.array(spectra), names, kinds, teff=np.array(teff))


def _set(flux: np.ndarray, names: tuple[str, ...] | list[str], kinds: tuple[str, ...] | list[str], **parameters: np.ndarray) -> TemplateSet:
    return TemplateSet(flux.astype(np.float32), FIRST, tuple(names), tuple(kinds), parameters, "analytic")
