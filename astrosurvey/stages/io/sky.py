"""World coordinates of an image: read or done without, one grid for all bands, the size of a pixel."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import numpy as np

from ...core.stage import DataError
from ...products._fits import BadWcs, celestial
from .planes import Located

if TYPE_CHECKING:
    from astropy.wcs import WCS

MAX_SHIFT = 0.5
"""Bands whose coordinates differ by more pixels than this are not on one grid."""


def band_wcs(place: Located, shape: tuple[int, int], offset: tuple[int, int], *, required: bool, log: logging.Logger) -> WCS | None:
    """Return an image's coordinates; when they are missing or broken, None and a warning, or an error.

    Args:
        place: the image.
        shape: (y, x) of the window read.
        offset: (x, y) of its first pixel.
        required: whether missing or broken coordinates are an error.
        log: gets the warning.

    Raises:
        BadInput: they are required.
    """
    try:
        wcs = celestial(place.hdu.cards, place.file.path, shape, offset, place.file.repairs)
        reason = "" if wcs is not None else "the header has no celestial coordinates"
    except BadWcs as error:
        wcs, reason = None, f"the celestial coordinates are broken: {error}"
    if reason and required:
        raise place.file.bad(reason, place.hdu, fix="mend the header, or set `wcs: optional` to go on without")
    if reason.startswith("the celestial"):
        place.file.repairs.append(f"HDU {place.hdu}: {reason}; going on without them")
    elif reason:
        log.warning("%s, HDU %s: %s; sources will have no ra and dec", place.file.path.name, place.hdu, reason)
    return wcs


def require_one_grid(found: list[tuple[str, WCS]], shape: tuple[int, int]) -> None:
    """Raise `DataError` when the bands' coordinates differ at the middle or a corner of the tile.

    Args:
        found: (band, coordinates) pairs.
        shape: (y, x) of the tile.
    """
    if len(found) < 2:
        return
    ny, nx = shape
    x, y = np.array([(nx - 1) / 2, 0, nx - 1, 0, nx - 1]), np.array([(ny - 1) / 2, 0, 0, ny - 1, ny - 1])
    first, reference = found[0]
    points = reference.pixel_to_world(x, y).icrs
    for band, wcs in found[1:]:
        apart = wcs.pixel_to_world(x, y).icrs.separation(points).deg / math.sqrt(_area_deg2(reference))
        worst = float(np.nanmax(apart))
        if not worst <= MAX_SHIFT:
            raise DataError(
                f"bands {first} and {band} are not on one pixel grid: their coordinates differ by {worst:.2f} pixels; "
                "try: resample them onto one grid first, or set `wcs: ignore` if the headers are wrong"
            )


def pixel_area(wcs: WCS | None, pixel_scale: float | None) -> float | None:
    """Return the area of a pixel in sr, at the reference point so that all tiles of an image have the same; None when unknown.

    Args:
        wcs: the image's coordinates.
        pixel_scale: arcsec, for images without.
    """
    if wcs is not None:
        return _area_deg2(wcs) * math.radians(1) ** 2
    return math.radians(pixel_scale / 3600) ** 2 if pixel_scale is not None else None


def _area_deg2(wcs: WCS) -> float:
    return abs(float(np.linalg.det(wcs.pixel_scale_matrix)))
