"""Light profiles by their Fourier transforms: Sérsic components and the Moffat point-spread function.

Everything here is circular and of unit flux; ellipses come from evaluating a transform at
|A^T k| instead of |k|. A convolution is then a product, and a stamp one inverse transform
(`astrosurvey.stages.simulate.stamps`), as in GalSim.

References:
    Sérsic (1963); Moffat (1969); Rowe et al. (2015), GalSim, arXiv:1407.7676.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import gamma, gammainc, gammaincinv, kv

DISK_INDEX = 1.0
BULGE_INDEX = 4.0


@dataclass(frozen=True)
class Table:
    """A function tabulated at equal steps from `start`; beyond either end it keeps its end value."""

    start: float
    per_step: float
    values: np.ndarray

    @classmethod
    def of(cls, function: Callable[[np.ndarray], np.ndarray], start: float, stop: float, n: int) -> Table:
        """Tabulate a vectorised function at `n` points from `start` to `stop`."""
        grid = np.linspace(start, stop, n)
        return cls(start, (n - 1) / (stop - start), function(grid))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the linearly interpolated function at `x` (any shape)."""
        place = np.clip((x - self.start) * self.per_step, 0.0, len(self.values) - 1.001)
        index = place.astype(np.intp)
        place -= index
        low = self.values[index]
        return low + place * (self.values[index + 1] - low)


@cache
def sersic_b(n: float) -> float:
    """Return the b of exp(-b (r/r_half)^(1/n)) for which r_half encloses half of the light."""
    return float(gammaincinv(2.0 * n, 0.5))


def sersic_brightness(r: np.ndarray, n: float) -> np.ndarray:
    """Return the surface brightness of a unit-flux Sérsic profile at `r`, in units of the half-light radius."""
    b = sersic_b(n)
    return np.exp(-b * r ** (1.0 / n)) * b ** (2.0 * n) / (2.0 * math.pi * n * gamma(2.0 * n))


def sersic_enclosed(r: np.ndarray, n: float) -> np.ndarray:
    """Return the fraction of a Sérsic profile's light within `r`, in units of the half-light radius."""
    return gammainc(2.0 * n, sersic_b(n) * r ** (1.0 / n))


def sersic_moment(n: float) -> float:
    """Return the second moment along one axis of a unit Sérsic profile, in squared half-light radii."""
    return float(gamma(4.0 * n) / (2.0 * gamma(2.0 * n) * sersic_b(n) ** (2.0 * n)))


def sersic_transform(k: np.ndarray, n: float) -> np.ndarray:
    """Return the Fourier transform of a unit-flux Sérsic profile at wave number `k` per half-light radius.

    The Hankel integral oscillates for ever. Turned by 90 degrees in the complex plane, J0 becomes K0 and
    the integrand falls off exponentially without a wiggle, so that a plain sum in log r is exact to
    1e-9 or better.

    Args:
        k: (any shape), wave number times half-light radius, > 0.
        n: Sérsic index, above 1.
    """
    b = sersic_b(n)
    log_r = np.linspace(-46.0, 12.0, 1161)
    r = np.exp(log_r)
    angle = math.pi / (2.0 * n)
    reach = b * r ** (1.0 / n)
    weight = r**2 * np.exp(-reach * math.cos(angle)) * np.sin(reach * math.sin(angle)) * (log_r[1] - log_r[0])
    k = np.asarray(k, dtype=np.float64)
    flat = np.array([np.sum(weight * kv(0, kk * r)) for kk in k.ravel()])
    total = n * gamma(2.0 * n) / b ** (2.0 * n)
    return (2.0 / math.pi * flat / total).reshape(k.shape)


@cache
def bulge_table() -> Table:
    """Return the transform of the de Vaucouleurs profile, tabulated in log k^2."""
    return Table.of(lambda log_k2: sersic_transform(np.exp(0.5 * log_k2), BULGE_INDEX), math.log(1e-6), math.log(1e8), 1500)


def disk_transform(k2: np.ndarray) -> np.ndarray:
    """Return the transform of the exponential profile at `k2`, the squared wave number per half-light radius."""
    root = 1.0 + k2 / sersic_b(DISK_INDEX) ** 2
    return 1.0 / (root * np.sqrt(root))


def bulge_transform(k2: np.ndarray) -> np.ndarray:
    """Return the transform of the de Vaucouleurs profile at `k2`, the squared wave number per half-light radius."""
    return bulge_table()(np.log(np.maximum(k2, 1e-6)))


def moffat_alpha(fwhm: float, beta: float) -> float:
    """Return the scale radius of a Moffat profile (1 + (r/alpha)^2)^-beta of the given full width at half maximum."""
    return fwhm / (2.0 * math.sqrt(2.0 ** (1.0 / beta) - 1.0))


def moffat_brightness(r: np.ndarray, beta: float) -> np.ndarray:
    """Return the surface brightness of a unit-flux Moffat profile at `r`, in units of alpha."""
    return (beta - 1.0) / math.pi * (1.0 + r * r) ** -beta


@cache
def moffat_table(beta: float) -> Table:
    """Return the transform of the unit-flux Moffat profile, tabulated in k alpha."""

    def transform(x: np.ndarray) -> np.ndarray:
        x = np.maximum(x, 1e-6)
        return 2.0 ** (2.0 - beta) / gamma(beta - 1.0) * x ** (beta - 1.0) * kv(beta - 1.0, x)

    return Table.of(transform, 0.0, 40.0, 20_001)
