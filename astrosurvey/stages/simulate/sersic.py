"""Fourier transforms of Sérsic profiles of any index, from one table over index and wave number.

References:
    Sérsic (1963); Graham & Driver (2005), PASA 22, 118.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.special import gamma, gammainc, gammaincinv, j0, kv

LOWEST, HIGHEST = 0.5, 6.0
"""The indices that the table covers."""

START, STOP, STEP = -14.0, 10.0, 0.025
"""The table's ln k^2, for k in units of one per half-light radius; beyond either end it keeps its end value."""

_INDEX_STEP = 1.0 / 32.0
_COMPACT = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)
_EXTENDED = (2.25, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)


def sersic_scale(n: np.ndarray) -> np.ndarray:
    """Return the b of exp(-b (r/r_half)^(1/n)) for which r_half encloses half of the light; (m,) indices."""
    return np.asarray(gammaincinv(2.0 * n, 0.5))


def sersic_outside(r: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the fraction of the light beyond `r`, in half-light radii, for indices that broadcast with it."""
    return np.asarray(1.0 - gammainc(2.0 * n, sersic_scale(n) * r ** (1.0 / n)))


def sersic_level(r: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the surface brightness of unit-flux profiles at `r`, in half-light radii, for indices that broadcast with it."""
    b = sersic_scale(n)
    return np.exp(-b * r ** (1.0 / n)) * b ** (2.0 * n) / (2.0 * np.pi * n * gamma(2.0 * n))


def sersic_rows(n: np.ndarray) -> np.ndarray:
    """Return (m, steps) float32, the transforms of (m,) indices over ln k^2 from `START` in steps of `STEP`."""
    table = _table()
    place = (np.clip(n, LOWEST, HIGHEST) - LOWEST) / _INDEX_STEP
    low = np.minimum(place.astype(np.intp), len(table) - 2)
    part = (place - low).astype(np.float32)[:, None]
    return np.asarray(table[low] + part * (table[low + 1] - table[low]))


@cache
def _table() -> np.ndarray:
    """Tabulate a few indices and wave numbers exactly, and fill in between with a bicubic spline."""
    coarse = np.arange(START, STOP + 0.1, 0.2)
    k = np.exp(0.5 * coarse)
    exact = np.concatenate([_compact(k, np.array(_COMPACT)), [_extended(k, n) for n in _EXTENDED]])
    fine = np.arange(START, STOP + 0.5 * STEP, STEP)
    indices = np.arange(LOWEST, HIGHEST + 0.5 * _INDEX_STEP, _INDEX_STEP)
    return np.asarray(RectBivariateSpline((*_COMPACT, *_EXTENDED), coarse, exact)(indices, fine), np.float32)


def _compact(k: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the transforms, (n, k), for indices of at most two: Hankel integrals whose integrands end soon."""
    u = np.linspace(0.0, 1.0, 16_001)
    r = 40.0 * u**2
    profile = r * u * np.exp(-sersic_scale(n)[:, None] * r ** (1.0 / n[:, None]))
    profile /= profile.sum(axis=1, keepdims=True)
    # Faster waves than the grid can show find nothing left.
    waves = np.stack([j0(wave * r) if wave < 150.0 else np.zeros_like(r) for wave in k])
    return np.asarray(profile @ waves.T)


def _extended(k: np.ndarray, n: float) -> np.ndarray:
    """Return the transform for an index above two, by the integral turned into the complex plane (see `sersic_transform`)."""
    b = float(sersic_scale(np.array(n)))
    log_r, step = np.linspace(-26.0, 14.0, 1001, retstep=True)
    r = np.exp(log_r)
    angle = np.pi / (2.0 * n)
    reach = b * r ** (1.0 / n)
    weight = r**2 * np.exp(-reach * np.cos(angle)) * np.sin(reach * np.sin(angle)) * step
    total = n * gamma(2.0 * n) / b ** (2.0 * n)
    return np.asarray(2.0 / np.pi * (kv(0, k[:, None] * r) @ weight) / total)
