"""Wavelengths in air and in vacuum.

The refractive index is that of standard air (dry, 15 °C, 101325 Pa, 450 ppm CO2), as SDSS, DESI and LAMOST use it:

    n - 1 = 5.792105e-2 / (238.0185 - s²) + 1.67917e-3 / (57.362 - s²),  s = 1 / (vacuum wavelength in µm)

Below 2000 Å wavelengths are in vacuum by convention, and are left alone.

References:
    Ciddor (1996), Applied Optics 35, 1566; Morton (1991), ApJS 77, 119, for the convention.
"""

from __future__ import annotations

import numpy as np

LOWEST = 2000.0
"""Å; below this, wavelengths are in vacuum by convention."""

_ROUNDS = 4
"""The index changes by 1e-11 over the shift itself: the second round is exact to the last bit but one."""


def index(vacuum: np.ndarray) -> np.ndarray:
    """Return the refractive index of standard air.

    Args:
        vacuum: wavelengths in vacuum, Å.
    """
    s2 = (1e4 / np.asarray(vacuum, np.float64)) ** 2
    n: np.ndarray = 1 + 5.792105e-2 / (238.0185 - s2) + 1.67917e-3 / (57.362 - s2)
    return n


def to_air(vacuum: np.ndarray) -> np.ndarray:
    """Return wavelengths in air, Å, of wavelengths in vacuum, Å."""
    vacuum = np.asarray(vacuum, np.float64)
    return np.where(vacuum < LOWEST, vacuum, vacuum / index(np.maximum(vacuum, LOWEST)))


def to_vacuum(air: np.ndarray) -> np.ndarray:
    """Return wavelengths in vacuum, Å, of wavelengths in air, Å: the exact inverse of `to_air`."""
    air = np.asarray(air, np.float64)
    lowest = float(to_air(np.array([LOWEST]))[0])
    vacuum = np.maximum(air, LOWEST)
    for _ in range(_ROUNDS):
        vacuum = np.maximum(air, lowest) * index(vacuum)
    return np.where(air < lowest, air, vacuum)
