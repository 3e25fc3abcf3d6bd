"""What gas between us and a quasar takes: the Lyman series' forests, Lyman limits, damped systems and metal lines.

The optical depth of the forest is a lognormal field along the line of sight. Its scale is set so that the mean
transmission is exactly exp(-τ_eff(z)); the scatter about the mean, and its correlation over the width of a spectrograph's
profile, are about those of observed spectra.

References:
    Bi & Davidsen (1997), ApJ 479, 523 (lognormal forest); Prochaska et al. (2009), ApJ 705, L113; of τ_eff, see `spectra.forest`.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ...spectra.forest import ALPHA, effective_depth
from .grid import LIGHT, LogGrid

BETA, LIMIT = 1025.72, 911.75
SERIES = ((ALPHA, 1.0), (BETA, 0.16), (972.54, 0.056), (949.74, 0.026))
"""Å, and optical depth relative to Lyα's (oscillator strength times wavelength)."""
SCATTER = 1.6
"""Standard deviation of ln τ in a pixel of 69 km/s."""
DAMPED, LIMITS = 0.12, 0.45
"""Numbers of damped systems and of Lyman limit systems per unit z, at z of 3; they grow as ((1 + z) / 4)^1.5."""
METALS = {
    "MgII": ((2796.35, 1.0), (2803.53, 0.7), (2600.17, 0.45), (2382.76, 0.45), (2586.65, 0.3), (2344.21, 0.35), (2852.96, 0.15)),
    "CIV": ((1548.20, 1.0), (1550.77, 0.65), (1393.76, 0.4), (1402.77, 0.25), (1334.53, 0.3), (1526.71, 0.2)),
}  # fmt: skip
"""Å and relative strength of the lines of an absorber."""


def transmission(rng: np.random.Generator, wave: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the transmission of the Lyman series' forests and of optically thick systems.

    Args:
        rng: the randomness.
        wave: (pixel,) Å as observed, in steps of about 69 km/s.
        z: (n,) redshifts of the quasars.

    Returns:
        (n, pixel) float32, 1 redward of Lyα.
    """
    n, pixels = len(z), len(wave)
    out = np.ones((n, pixels), np.float32)
    field = rng.standard_normal((n, pixels), np.float32)
    field[:, 1:] = 0.8 * field[:, 1:] + 0.6 * field[:, :-1]  # neighbours share their gas; the variance stays 1
    for center, ratio in SERIES:
        at = wave / center - 1
        inside = at[None, :] < z[:, None]
        if not inside.any():
            continue
        last = int(np.flatnonzero(inside.any(axis=0))[-1]) + 1
        tau = _scale(ratio, at[:last]) * np.exp(SCATTER * np.roll(field, int(center), axis=1)[:, :last])
        out[:, :last] *= np.where(inside[:, :last], np.exp(-tau), 1).astype(np.float32)
    out[:, 1:-1] = 0.25 * out[:, :-2] + 0.5 * out[:, 1:-1] + 0.25 * out[:, 2:]  # the spectrograph's profile
    _add_thick(rng, wave, z, out)
    return out


def _scale(ratio: float, z: np.ndarray) -> np.ndarray:
    """Return the median optical depth at which the mean of exp(-τ) is the published one; the series' lines share it."""
    depth, median = _table()
    return np.asarray(ratio * np.exp(np.interp(np.log(np.maximum(effective_depth(np.maximum(z, 0)), 1e-6)), depth, median)), np.float32)


@cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    """Return ln of the effective depth, and ln of the median depth that has it, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    median = np.linspace(-16, 12, 800)
    mean = (weights * np.exp(-np.exp(median[:, None] + SCATTER * nodes))).sum(axis=1) / weights.sum()
    depth = np.log(-np.log(np.clip(mean, 1e-280, 1 - 1e-15)))
    return depth, median


def _add_thick(rng: np.random.Generator, wave: np.ndarray, z: np.ndarray, out: np.ndarray) -> None:
    """Multiply with Lyman limits and damped Lyα lines of systems that the forest of thin clouds does not hold."""
    for row in np.flatnonzero((1 + z) * ALPHA > wave[0]):
        lowest = max(wave[0] / ALPHA - 1, 0.0)
        for number, column in ((DAMPED, (20.3, 21.6)), (LIMITS, (17.2, 19.5))):
            length = z[row] - lowest
            for place in lowest + length * rng.random(rng.poisson(number * length * ((1 + z[row]) / 4) ** 1.5)):
                density = 10 ** (column[0] + min(rng.exponential(0.35), column[1] - column[0]))
                out[row] *= _damped(wave, place, density)


def _damped(wave: np.ndarray, z: float, column: float) -> np.ndarray:
    """Return the transmission of hydrogen of a column density (cm^-2): Lyα's damping wings, and the limit."""
    rest = wave / (1 + z)
    tau = column * 4.26e-20 / np.maximum((rest - ALPHA) ** 2, 1e-3)  # e^2 f Γ λ^4 / (4π m c^3) of Lyα, per Å^2
    tau += np.where(rest < LIMIT, column * 6.3e-18 * (rest / LIMIT) ** 3, 0)
    return np.exp(-np.minimum(tau, 60)).astype(np.float32)


def add_metals(rng: np.random.Generator, flux: np.ndarray, grid: LogGrid, z: np.ndarray, share: float = 0.3) -> None:
    """Absorb narrow metal lines of galaxies in front of some quasars.

    Args:
        rng: the randomness.
        flux: (n, grid.pixels), changed in place.
        grid: with `bins` of 1.
        z: (n,) redshifts of the quasars.
        share: of the quasars that get an absorber of each kind, where it can be seen.
    """
    pixel = np.arange(grid.pixels)
    for lines in METALS.values():
        lowest = grid.wave[0] / lines[0][0] - 1
        for row in np.flatnonzero((rng.random(len(z)) < share) & (z > max(lowest, 0.05))):
            place = rng.uniform(max(lowest, 0.0), z[row])
            depth, sigma = min(rng.exponential(0.5), 0.98), rng.uniform(0.9, 2.5)
            for center, strength in lines:
                at = (np.log10(center * (1 + place)) - np.log10(grid.start)) * 1e4
                near = slice(max(int(at) - 12, 0), max(int(at) + 13, 0))
                flux[row, near] *= (1 - depth * strength * np.exp(-0.5 * ((pixel[near] - at) / sigma) ** 2)).astype(flux.dtype)


TROUGHS = ((1549.1, 1.0), (1396.8, 0.8), (1240.1, 0.95), (ALPHA, 0.7), (1033.8, 0.9), (1122.0, 0.4))
"""Å and relative depth of the lines with broad absorption; of low ionisation also those below."""
LOW_IONISATION = ((2799.1, 0.7), (1857.8, 0.8), (2600.2, 0.35), (2382.8, 0.45), (1335.3, 0.5))


def add_troughs(rng: np.random.Generator, flux: np.ndarray, grid: LogGrid, z: np.ndarray, broad: np.ndarray) -> None:
    """Absorb broad troughs blueward of the lines of quasars with fast winds.

    Args:
        rng: the randomness.
        flux: (n, grid.pixels), changed in place.
        grid: with `bins` of 1.
        z: (n,) redshifts.
        broad: (n,) bool, which have troughs.

    References: Trump et al. (2006), ApJS 165, 1.
    """
    log_wave = np.log(grid.wave)
    for row in np.flatnonzero(broad):
        number = rng.integers(1, 4)
        fastest = rng.uniform(3000, 25000)
        centers, half = rng.uniform(0, fastest, number), rng.uniform(600, 3500, number)
        depths, edges = rng.uniform(0.25, 1.0, number), rng.uniform(80, 900, number)
        for center, strength in TROUGHS + (LOW_IONISATION if rng.random() < 0.2 else ()):
            velocity = -LIGHT * (log_wave - np.log(center * (1 + z[row])))
            near = slice(*np.searchsorted(-velocity, (-1.3 * fastest - 5000, 4000)))
            left = np.ones(near.stop - near.start)
            for v, width, depth, edge in zip(centers, half, depths, edges, strict=True):
                inside = np.tanh((velocity[near] - v + width) / edge) - np.tanh((velocity[near] - v - width) / edge)
                left *= 1 - 0.5 * strength * rng.uniform(0.7, 1.0) * depth * inside
            flux[row, near] *= left.astype(flux.dtype)
