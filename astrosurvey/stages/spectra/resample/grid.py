"""The wavelengths to resample to."""

from __future__ import annotations

import numpy as np

from ....core.stage import DataError
from ....products import Spectra
from .rows import lengths

SLACK = 1e-6
"""Of a step: a grid whose end misses `stop` by less than this reaches it."""


def made_grid(start: float, stop: float, step: float | None, log_step: float | None) -> np.ndarray:
    """Return pixel centres from `start` to `stop`, even in the wavelength or in its logarithm.

    Args:
        start: the first centre, Å.
        stop: no centre lies beyond this, Å.
        step: Å between centres.
        log_step: if there is no `step`: between the centres' log10.

    Raises:
        DataError: there is room for one pixel only.
    """
    if step is not None:
        grid = start + step * np.arange(np.floor((stop - start) / step + SLACK) + 1)
    else:
        assert log_step is not None
        grid = start * 10 ** (log_step * np.arange(np.floor(np.log10(stop / start) / log_step + SLACK) + 1))
    if len(grid) < 2:
        raise DataError(f"the grid from {start:g} to {stop:g} Å has one pixel only; make the step smaller than their distance")
    return grid


def first_grid(spectra: Spectra) -> np.ndarray:
    """Return the wavelengths of the first spectrum that has data, without the filling behind it; of the very first if none has."""
    if spectra.wave.ndim == 1:
        return spectra.wave
    rows = np.flatnonzero((spectra.ivar > 0).any(axis=1))
    if not len(rows):
        return spectra.wave[0].copy()
    first = int(rows[0])
    wave: np.ndarray = spectra.wave[first]
    return wave[: lengths(spectra, slice(first, first + 1))[0]].copy()
