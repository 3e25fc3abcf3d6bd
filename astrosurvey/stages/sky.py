"""From pixels to the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from astropy.wcs import WCS


def to_sky(wcs: WCS | None, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return right ascension and declination (ICRS, degrees) of 0-based pixel positions.

    Args:
        wcs: celestial coordinates in any frame that astropy knows; None for none.
        x, y: (n,) pixels.

    Returns:
        (n,) each; NaN where there are no coordinates.
    """
    if wcs is None or len(x) == 0:
        return np.full(len(x), np.nan), np.full(len(x), np.nan)
    here = wcs.pixel_to_world(x, y).icrs
    ra, dec = np.asarray(here.ra.deg, float) % 360.0, np.asarray(here.dec.deg, float)
    known = np.isfinite(ra) & np.isfinite(dec)
    return np.where(known, ra, np.nan), np.where(known, dec, np.nan)


def pixel_scale(wcs: WCS) -> float:
    """Return the side of a pixel in arcsec, as the square root of its area at the reference point."""
    from astropy.wcs.utils import proj_plane_pixel_area

    return float(3600.0 * np.sqrt(proj_plane_pixel_area(wcs.celestial)))
