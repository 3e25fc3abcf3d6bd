"""The HEALPix index by which catalogues are sorted and partitioned.

References:
    Górski et al. (2005), ApJ 622, 759, doi:10.1086/427976
"""

from __future__ import annotations

import numpy as np

ORDER = 29
"""The deepest order whose index fits int64; its cells are 0.4 milliarcseconds wide."""


def healpix_29(ra: np.ndarray, dec: np.ndarray) -> np.ma.MaskedArray:
    """Return the nested HEALPix index of order 29, masked where there is no position.

    Args:
        ra: (n,) right ascension, deg.
        dec: (n,) declination, deg.

    Returns:
        (n,) int64.

    References:
        Górski et al. (2005), ApJ 622, 759, doi:10.1086/427976
    """
    known = np.isfinite(ra) & (np.abs(dec) <= 90)
    index = np.zeros(len(ra), np.int64)
    if known.any():
        import astropy.units as u
        from astropy_healpix import lonlat_to_healpix

        index[known] = lonlat_to_healpix(ra[known] * u.deg, dec[known] * u.deg, 2**ORDER, order="nested")
    return np.ma.MaskedArray(index, ~known)
