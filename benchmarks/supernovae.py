"""Simulated supernovae, as something that no training has seen: what `benchmarks/anomaly.py` is tried on while a method is chosen.

Drawn from the textbook, not from the spectra that are kept for the test: a black body, broad P Cygni profiles of the ions of each type at
the photosphere's velocity, and in most of them the light of a host galaxy at the same redshift.

References:
    Filippenko (1997), ARA&A 35, 309 (types and their lines); Branch & Wheeler (2017), Supernova Explosions (P Cygni profiles).
"""

from __future__ import annotations

import numpy as np

from astrosurvey.stages.simulate.spectra.galaxies import Galaxies
from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.spectra.templates import Library
from astrosurvey.stages.spectra.velocity import LIGHT

LINES = {
    "Ia": {3945: 0.6, 4130: 0.25, 4481: 0.4, 4860: 0.45, 4950: 0.35, 5100: 0.35, 5454: 0.25, 5640: 0.3, 5972: 0.2, 6355: 0.55, 7773: 0.3},
    "II": {3945: 0.35, 4340: 0.2, 4861: 0.28, 4924: 0.1, 5018: 0.14, 5169: 0.2, 5876: 0.25, 6563: 0.42, 8567: 0.35},
    "Ibc": {3945: 0.5, 4481: 0.3, 4924: 0.3, 5018: 0.3, 5169: 0.35, 5876: 0.4, 6355: 0.3, 6678: 0.2, 7065: 0.2, 7773: 0.4, 8567: 0.5},
}
"""Type -> Å at rest -> typical depth: Ca II, Si II, Mg II, Fe II, S II, O I; the Balmer lines; He I."""
SHARES = {"Ia": 0.5, "II": 0.25, "Ibc": 0.25}
TEMPERATURE = (4500.0, 14000.0)
"""K."""
VELOCITY = (6000.0, 14000.0)
"""km/s, of the photosphere."""
Z = (0.02, 0.45)
HOSTED, MOST = 0.7, 0.7
"""Part of the supernovae with light of a host, and the most of all light that it may be."""
_HC_OVER_K = 1.4388e8  # Å K


def supernovae(library: Library, grid: LogGrid, rng: np.random.Generator, number: int) -> np.ndarray:
    """Return (number, pixel) float32 fluxes without noise, each with a mean of 1."""
    hosts = Galaxies(library, grid.fine, Z).draw(rng, number)
    light = grid.binned(hosts.flux)
    part = np.where(rng.random(number) < HOSTED, rng.uniform(0, MOST, number), 0.0)
    out = np.empty((number, grid.pixels), np.float32)
    for k in range(number):
        flux = supernova(rng, grid.wave / (1 + hosts.z[k]), str(rng.choice(list(SHARES), p=list(SHARES.values()))))
        out[k] = (1 - part[k]) * flux / flux.mean() + part[k] * light[k] / light[k].mean()
    return out


def supernova(rng: np.random.Generator, wave: np.ndarray, kind: str) -> np.ndarray:
    """Return the flux of one supernova at wavelengths at rest, Å."""
    temperature = np.exp(rng.uniform(*np.log(TEMPERATURE)))
    flux = 1e20 / (wave**5 * np.expm1(_HC_OVER_K / (wave * temperature)))
    photosphere, strength = rng.uniform(*VELOCITY), np.exp(rng.normal(0, 0.35))
    for line, typical in LINES[kind].items():
        depth = min(0.95, typical * strength * np.exp(rng.normal(0, 0.4)))
        blue = photosphere * np.exp(rng.normal(0, 0.12))
        width = blue * rng.uniform(0.3, 0.5)
        emitted = rng.uniform(1.0, 3.0) if line == 6563 else rng.uniform(0.2, 1.0)
        velocity = LIGHT * (wave / line - 1)
        profile = emitted * np.exp(-0.5 * (velocity / (1.1 * width)) ** 2) - np.exp(-0.5 * ((velocity + blue) / width) ** 2)
        flux *= np.maximum(1 + depth * profile, 0.02)
    return flux
