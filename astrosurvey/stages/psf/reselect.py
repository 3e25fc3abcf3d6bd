"""A second look at the stars that a PSF was fitted to: compact galaxies are wider than it, by little, but all to one side.

The bright stars shape the PSF, so under it the faint galaxies that came in with them stand out, however small. Where galaxies
shaped it instead, the stars are narrower than it, and are a group of their own all the same.
"""

from __future__ import annotations

import numpy as np

from .moments import Stamps
from .select import CONSPICUOUS
from .solve import Fit
from .spread import spread_of

SCATTER = 0.001
"""Of the spread of bright stars, from what a polynomial leaves of the PSF's drift."""
NARROWER, WIDER = 4.0, 2.0
"""Standard deviations from the stars' spread: galaxies lie on one side of it."""


def points(stamps: Stamps, fitted: Fit, factors: np.ndarray, fwhm: float) -> np.ndarray:
    """Return (n,) which of the stars of a fit are points.

    Args:
        stamps: the stars.
        fitted: the PSF fitted to them.
        factors: (n, coefficient) of the polynomial at each star.
        fwhm: of the PSF, in pixels.
    """
    value, error = spread_of(stamps, fitted.coefficients, factors, fitted.dx, fitted.dy, fwhm, fitted.oversampling)
    known = fitted.kept & np.isfinite(value) & np.isfinite(error)
    if not known.any():
        return known
    width = np.hypot(error, SCATTER)
    off = (value - _narrowest_group(value[known], width[known])) / width
    return known & (off > -NARROWER) & (off < WIDER)


def _narrowest_group(value: np.ndarray, width: np.ndarray) -> float:
    """Return the place of the first conspicuous peak in the density of values, each as wide as its error and weighing what it knows."""
    grid = np.linspace(value.min() - 3 * SCATTER, value.max() + 3 * SCATTER, 1000)
    density = np.zeros(len(grid) + 2)
    density[1:-1] = (np.exp(-0.5 * ((grid[:, None] - value) / width) ** 2) / width**2).sum(axis=1)
    peaks = (density[1:-1] >= density[:-2]) & (density[1:-1] > density[2:])
    return float(grid[np.flatnonzero(peaks & (density[1:-1] >= CONSPICUOUS * density.max()))[0]])
