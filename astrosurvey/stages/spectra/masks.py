"""The pixel masks of surveys, in our bits. In all of them 0 is good.

References:
    sdss: Bolton et al. (2012), AJ 144, 144; the bitmask SPPIXMASK of idlspec2d.
    desi: Guy et al. (2023), AJ 165, 144; `specmask` of desispec.
    lamost: Luo et al. (2015), RAA 15, 1095; the description of the data release.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...catalog.flags import SPECTRUM_PIXEL

SDSS: Mapping[int, str] = {
    **dict.fromkeys(range(10), "SUSPECT"),  # NOPLUG … WHOPPER: warnings of a fibre, on each of its pixels; see FIBRE_WARNINGS
    **dict.fromkeys((16, 17, 19, 20, 21, 25), "SUSPECT"),  # NEARBADPIXEL, LOWFLAT, PARTIALREJECT, SCATTEREDLIGHT, CROSSTALK, COMBINEREJ
    **dict.fromkeys((22, 23, 27, 28), "BAD_SKY"),  # NOSKY, BRIGHTSKY, BADSKYCHI, REDMONSTER: what the survey's own fits leave out
    **dict.fromkeys((18, 24), "NO_DATA"),  # FULLREJECT, NODATA
    26: "BAD_CALIBRATION",  # BADFLUXFACTOR
}
DESI: Mapping[int, str] = {
    **dict.fromkeys((0, 2, 3), "SUSPECT"),  # SOMEBADPIX, COSMIC (some of the input was hit, and left out), LOWFLAT
    **dict.fromkeys((1, 8), "NO_DATA"),  # ALLBADPIX, NODATA
    **dict.fromkeys((7, 9), "BAD"),  # BAD2DFIT, BADFIBER
    4: "BAD_CALIBRATION",  # BADFIBERFLAT
    **dict.fromkeys((5, 6), "BAD_SKY"),  # BRIGHTSKY, BADSKY
}
LAMOST: Mapping[int, str] = {0: "BAD", 1: "BAD", 2: "BAD_SKY", 3: "BAD_SKY", 4: "NO_DATA", 5: "NO_DATA"}

CONVENTIONS: Mapping[str, Mapping[int, str]] = {"sdss": SDSS, "desi": DESI, "lamost": LAMOST}
FIBRE_WARNINGS = 0b1111111111
"""SDSS: bits that the survey sets on all pixels of a spectrum whose fibre it warns of."""

_IGNORED = {"sdss": 0b111 << 10}  # SMEARIMAGE, SMEARHIGHSN, SMEARMEDSN: how the flux was calibrated, nothing bad


def translated(values: np.ndarray, convention: str) -> np.ndarray:
    """Return our mask bits.

    Args:
        values: integers of any shape, as the survey wrote them.
        convention: "sdss", "desi" or "lamost"; "ours"; "nonzero": all that is not 0 is bad; "zero": 0 is bad;
            "ignore". A bit that its survey does not describe is bad.

    Returns:
        int32, shaped as `values`.
    """
    out = np.zeros(values.shape, np.int32)
    if convention in ("nonzero", "zero"):
        out[(values != 0) == (convention == "nonzero")] = SPECTRUM_PIXEL["BAD"]
    elif convention == "ours":
        out[...] = values
    elif convention != "ignore":
        values = values.astype(np.int64) & 0xFFFFFFFF
        known = _IGNORED.get(convention, 0)
        for bit, name in CONVENTIONS[convention].items():
            out[(values >> bit & 1) == 1] |= SPECTRUM_PIXEL[name]
            known |= 1 << bit
        out[(values & ~known) != 0] |= SPECTRUM_PIXEL["BAD"]
    return out
