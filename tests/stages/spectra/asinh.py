"""A test set that is no survey's format: DESI spectra as somebody's network saw them, asinh((flux - median) / scale), without errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from astrosurvey.catalog.flags import SPECTRUM_PIXEL
from astrosurvey.products import Spectra
from astrosurvey.stages.spectra.planes import measured
from astrosurvey.stages.spectra.skylines import marks


def asinh_spectra(path: Path) -> tuple[Spectra, np.ndarray]:
    """Return the spectra, up to a shift and a scale of each, with errors measured from their scatter, and their redshifts.

    Args:
        path: an npz archive with asinh_flux and valid (n, pixel), wave (pixel,) in Å in vacuum and z_true (n,).
    """
    with np.load(path, allow_pickle=False) as archive:
        stored, valid, wave, z = (archive[name] for name in ("asinh_flux", "valid", "wave", "z_true"))
    flux = np.where(valid, np.sinh(stored.astype(np.float64)), np.nan)
    sky = marks(wave.astype(np.float64))
    ivar = np.where(valid, np.nan_to_num(measured(flux, sky != 0)), 0).astype(np.float32)
    mask = sky | np.where(ivar > 0, 0, SPECTRUM_PIXEL["NO_DATA"]).astype(np.int32)
    return Spectra(flux.astype(np.float32), ivar, mask, wave.astype(np.float64), np.arange(len(z)), ""), z
