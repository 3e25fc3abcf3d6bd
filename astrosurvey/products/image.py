"""Image: one tile of sky in one or more bands, calibrated, with variance, mask and PSF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from astropy.wcs import WCS


@dataclass(frozen=True, eq=False)
class Image:
    """One tile of sky in one or more bands on one pixel grid.

    Attributes:
        data: (band, y, x) float32, flux per pixel in `unit`; NaN where there is none.
        bands: the name of each band, in the order of `data`.
        variance: (band, y, x) float32, in `unit` squared; inf where `data` says nothing. None: unknown.
        mask: (band, y, x) int32 of `astrosurvey.catalog.flags.PIXEL` bits. None: nothing masked.
        psf: (band, y, x) float32, the point-spread function at the tile's centre, odd-sized, centred
            on the middle pixel, each band summing to one. None: unknown.
        wcs: celestial coordinates of the tile's own pixels; None when the file has none.
        unit: always "nJy" once read; AB magnitude = 31.4 - 2.5 log10(flux).
        meta: JSON values that travel along: exposure, seeing (arcsec), where the pixels came from.
    """

    data: np.ndarray
    bands: tuple[str, ...]
    variance: np.ndarray | None = None
    mask: np.ndarray | None = None
    psf: np.ndarray | None = None
    wcs: WCS | None = None
    unit: str = "nJy"
    meta: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "image"
    suffix: ClassVar[str] = ".fits"
