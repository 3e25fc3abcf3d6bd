"""The rest-frame grid, and spectra on it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ....catalog.flags import SPECTRUM_UNUSABLE
from ....kernels.resample import KERNEL
from ....products import Spectra
from ..resample.rows import edges_of

FIRST, STEP, PIXELS = 2.93, 2e-4, 5440
"""log10 of the first pixel's centre in Å, from pixel to pixel, and how many: 851 to 10 423 Å."""
WHOLE = 0.5
"""A pixel of the grid of which a larger part is missing counts as missing."""


def wavelengths() -> np.ndarray:
    """Return (PIXELS,) the grid's pixel centres in Å."""
    return np.asarray(10.0 ** (FIRST + STEP * np.arange(PIXELS)))


def to_rest_frame(spectra: Spectra, z: np.ndarray, rows: slice, device: Literal["cpu", "cuda"]) -> tuple[np.ndarray, np.ndarray]:
    """Return some spectra on the rest-frame grid, resampled once and exactly.

    Args:
        spectra: observed, on any grids.
        z: (n,) redshifts, above -1.
        rows: which of them.
        device: where the kernel runs.

    Returns:
        flux and ivar, (row, PIXELS) float32; both 0 where there are no data.

    Raises:
        DataError: wavelengths that are no grid.
    """
    edges = edges_of(spectra, slice(None) if spectra.shared else rows) / (1.0 + z[rows, None])
    grid = 10.0 ** (FIRST + STEP * (np.arange(PIXELS + 1) - 0.5))
    planes = (spectra.flux[rows], spectra.ivar[rows], spectra.mask[rows])
    flux, ivar, masked, _ = KERNEL.on(device)(*planes, edges, grid, SPECTRUM_UNUSABLE, WHOLE)
    # A flux beyond what single precision can square is no measurement.
    missing = (masked > WHOLE) | ~(np.abs(flux) < 1e15) | ~np.isfinite(ivar)
    return np.where(missing, 0, flux).astype(np.float32), np.where(missing, 0, ivar).astype(np.float32)
