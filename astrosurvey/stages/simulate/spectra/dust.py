"""Extinction by dust: of the Milky Way, of starbursts and of the Small Magellanic Cloud's kind, as quasars have it."""

from __future__ import annotations

import numpy as np

_OPTICAL_A = (1.0, 0.104, -0.609, 0.701, 1.137, -1.718, -0.827, 1.647, -0.505)
_OPTICAL_B = (0.0, 1.952, 2.908, -3.989, -7.985, 11.102, 5.491, -10.805, 3.347)
"""Coefficients of O'Donnell (1994) in powers of (1/µm - 1.82)."""


def milky_way(wave: np.ndarray) -> np.ndarray:
    """Return A(λ)/A(V) of the Milky Way for R(V) = 3.1.

    Args:
        wave: Å, from 1250 to 33000.

    References: Cardelli, Clayton & Mathis (1989), ApJ 345, 245; O'Donnell (1994), ApJ 422, 158 (between 3030 and 9090 Å).
    """
    x = 1e4 / wave
    y = x - 1.82
    optical = np.polynomial.polynomial.polyval(y, _OPTICAL_A) + np.polynomial.polynomial.polyval(y, _OPTICAL_B) / 3.1
    infrared = (0.574 - 0.527 / 3.1) * x**1.61
    bump_a = 1.752 - 0.316 * x - 0.104 / ((x - 4.67) ** 2 + 0.341)
    bump_b = -3.090 + 1.825 * x + 1.206 / ((x - 4.62) ** 2 + 0.263)
    far = np.clip(x - 5.9, 0, None)
    bump_a = bump_a - 0.04473 * far**2 - 0.009779 * far**3
    bump_b = bump_b + 0.2130 * far**2 + 0.1207 * far**3
    return np.where(x < 1.1, infrared, np.where(x < 3.3, optical, bump_a + bump_b / 3.1))


def starburst(wave: np.ndarray) -> np.ndarray:
    """Return A(λ)/A(V) of the light of star-forming galaxies, R(V) = 4.05.

    Args:
        wave: Å, from 1000 to 22000.

    References: Calzetti et al. (2000), ApJ 533, 682.
    """
    x = 1e4 / wave
    blue = 2.659 * (-2.156 + 1.509 * x - 0.198 * x**2 + 0.011 * x**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 * x) + 4.05
    return np.clip(np.where(wave < 6300.0, blue, red), 0, None) / 4.05


def magellanic(wave: np.ndarray) -> np.ndarray:
    """Return A(λ)/E(B-V) of dust without the bump at 2175 Å, as it reddens quasars.

    References: Hopkins et al. (2004), AJ 128, 1112, from Prevot et al. (1984): 1.39 (λ/µm)^-1.2.
    """
    return np.asarray(1.39 * (wave / 1e4) ** -1.2)
