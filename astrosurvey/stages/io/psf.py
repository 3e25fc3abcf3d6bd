"""Point-spread functions out of FITS: one stamp a band, odd-sized, normalised."""

from __future__ import annotations

import numpy as np

from .planes import Located


def read_psf(located: list[Located]) -> np.ndarray:
    """Return the stamps of all bands at one size, each summing to one.

    Returns:
        (band, y, x) float32; smaller stamps are surrounded by zeros.

    Raises:
        BadInput: a stamp has an even side, a value that is no number, or no positive sum.
    """
    stamps = []
    for place in located:
        stamp = place.read(None).astype(np.float64)
        if stamp.shape[0] % 2 == 0 or stamp.shape[1] % 2 == 0:
            reason = f"a PSF stamp must have odd sides, so that a pixel is its centre, but is {stamp.shape[1]} x {stamp.shape[0]}"
            raise place.file.bad(reason, place.hdu, "NAXIS1", "resample the PSF onto an odd-sized stamp")
        total = stamp.sum()
        if not (np.isfinite(total) and total > 0):
            raise place.file.bad(f"the PSF sums to {total}", place.hdu, fix="give a PSF without NaN and with a positive sum")
        stamps.append(stamp / total)
    height, width = (max(stamp.shape[axis] for stamp in stamps) for axis in (0, 1))
    out = np.zeros((len(stamps), height, width), np.float32)
    for k, stamp in enumerate(stamps):
        y, x = (height - stamp.shape[0]) // 2, (width - stamp.shape[1]) // 2
        out[k, y : y + stamp.shape[0], x : x + stamp.shape[1]] = stamp
    return out
