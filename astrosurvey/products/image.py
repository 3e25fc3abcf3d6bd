"""Image: one tile of sky in one or more bands, calibrated, with variance, mask and PSF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..catalog.flags import PIXEL, UNUSABLE
from ..core.product import ProductError
from ._stored import check_array, check_meta, frozen, meta_plane, open_stored, read_meta

if TYPE_CHECKING:
    from astropy.wcs import WCS

ROWS = 64
"""Rows that are looked at together where whole planes in between would fill the memory."""


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

    def check(self) -> None:
        """Raise `ProductError`, naming the attribute, when a shape, type or value breaks the rules above."""
        check_array("Image.data", self.data, np.float32, (len(self.bands), None, None))
        if not self.bands or len(set(self.bands)) != len(self.bands):
            raise ProductError(f"Image.bands must name each band once, not {self.bands!r}")
        for name in self.bands:
            if not isinstance(name, str) or not 0 < len(name) <= 40 or not all(" " <= c <= "~" for c in name):
                raise ProductError(f"Image.bands: {name!r} must be 1 to 40 printable ASCII characters")
        if self.unit != "nJy":
            raise ProductError(f"Image.unit must be 'nJy', not {self.unit!r}; convert where the image is read")
        if self.variance is not None:
            check_array("Image.variance", self.variance, np.float32, self.data.shape)
            if not (self.variance >= 0).all():
                raise ProductError("Image.variance holds negative values or NaN; where nothing is known it must be inf")
        if self.mask is not None:
            check_array("Image.mask", self.mask, np.int32, self.data.shape)
        if self.psf is not None:
            self._check_psf(self.psf)
        if self.wcs is not None and self.wcs.naxis != 2:
            raise ProductError(f"Image.wcs must have two axes, not {self.wcs.naxis}; take its `.celestial`")
        check_meta("Image.meta", self.meta)

    def _check_psf(self, psf: np.ndarray) -> None:
        check_array("Image.psf", psf, np.float32, (len(self.bands), None, None))
        if psf.shape[1] % 2 == 0 or psf.shape[2] % 2 == 0:
            raise ProductError(f"Image.psf must have odd sides, so that a pixel is its centre, not {psf.shape[1:]}")
        sums = psf.sum(axis=(1, 2), dtype=np.float64)
        if not np.allclose(sums, 1, atol=1e-3):
            raise ProductError(f"Image.psf must sum to one in each band, not {sums.round(4).tolist()}")

    def write(self, path: Path) -> None:
        """Write a FITS file with the extensions SCI, ERR, MASK, PSF and META, as far as there are any.

        ERR holds the variance; its header says so in the words of ESO's data product standard
        (HDUCLAS2 = 'ERROR', HDUCLAS3 = 'MSE').
        """
        from ._fits import Plane, wcs_cards, write_fits
        from ._fits.wcs import card

        sky = wcs_cards(self.wcs) if self.wcs is not None else []
        bands = [card("NBAND", len(self.bands)), *(card(f"BAND{n}", name) for n, name in enumerate(self.bands, 1))]
        planes = [Plane("SCI", self.data, [*bands, card("BUNIT", self.unit), *sky])]
        if self.variance is not None:
            meaning = [card("HDUCLASS", "ESO"), card("HDUCLAS1", "IMAGE"), card("HDUCLAS2", "ERROR"), card("HDUCLAS3", "MSE", "variance")]
            planes.append(Plane("ERR", self.variance, [card("BUNIT", f"{self.unit}2"), *meaning, card("SCIDATA", "SCI"), *sky]))
        if self.mask is not None:
            bits = [card(f"MP_{flag.name}"[:8], flag.bit, flag.meaning) for flag in PIXEL.flags]
            planes.append(Plane("MASK", self.mask, [*bits, *sky], compress=True))
        if self.psf is not None:
            planes.append(Plane("PSF", self.psf))
        write_fits(path, [card("PRODUCT", self.kind)], [*planes, *meta_plane(self.meta)])

    @classmethod
    def read(cls, path: Path) -> Image:
        """Return the image stored at `path` by `write`; for other files there is the stage `io.image`."""
        from ._fits import celestial

        with open_stored(path, cls.kind) as file:
            sci = file.image("SCI")
            names = {hdu.name for hdu in file.hdus}
            with file.cards(sci):
                bands = tuple(sci.cards.text(f"BAND{n}") for n in range(1, sci.cards.integer("NBAND") + 1))
            shape = sci.shape
            if len(shape) != 3:
                raise file.bad(f"the shape must be (band, y, x), not {shape}", sci)

            def plane(name: str, integers: bool = False) -> np.ndarray | None:
                if name not in names:
                    return None
                hdu = file.find(name)
                array = file.read_integers(hdu).astype(np.int32) if integers else file.read(hdu)
                return frozen(array.reshape(hdu.shape))

            data = plane("SCI")
            assert data is not None
            return cls(
                data=data,
                bands=bands,
                variance=plane("ERR"),
                mask=plane("MASK", integers=True),
                psf=plane("PSF"),
                wcs=celestial(sci.cards, path, (shape[1], shape[2])),
                unit=sci.cards.text("BUNIT"),
                meta=read_meta(file),
            )

    def usable(self) -> np.ndarray:
        """Return which pixels carry usable flux: finite, without an unusable mask bit, of known positive variance.

        Without a variance plane only data and mask decide.

        Returns:
            (band, y, x) bool.
        """
        good: np.ndarray = np.empty(self.data.shape, bool)
        n_bands, ny, _ = self.data.shape
        for band in range(n_bands):
            for y in range(0, ny, ROWS):
                rows = (band, slice(y, y + ROWS))
                np.isfinite(self.data[rows], out=good[rows])
                if self.variance is not None:
                    variance = self.variance[rows]
                    good[rows] &= variance > 0
                    good[rows] &= variance < np.inf
                if self.mask is not None:
                    good[rows] &= (self.mask[rows] & UNUSABLE) == 0
        return good

    def summary(self) -> dict[str, Any]:
        """Return shape, bands, what planes there are, and the fractions of pixels without data and masked."""
        finite = np.isfinite(self.data)
        return {
            "shape": list(self.data.shape),
            "bands": list(self.bands),
            "unit": self.unit,
            "variance": self.variance is not None,
            "psf": list(self.psf.shape[1:]) if self.psf is not None else None,
            "wcs": "-".join(self.wcs.wcs.ctype) if self.wcs is not None else None,
            "no_data_fraction": round(1 - float(finite.mean()), 6),
            "masked_fraction": round(float((self.mask != 0).mean()), 6) if self.mask is not None else 0.0,
        }

    @staticmethod
    def extent(path: Path, hdu: int | str | None = None) -> tuple[int, int]:
        """Return (nx, ny) of the image in any FITS file, from its headers alone.

        Args:
            path: a FITS file; one that is gzipped as a whole must be inflated for this.
            hdu: number or EXTNAME; None for the only image, or the one named SCI.

        Raises:
            BadInput: the file cannot be used, or the choice is open.
        """
        from ._fits import FitsFile

        with FitsFile(path) as file:
            ny, nx = file.image(hdu).shape[-2:]
        return nx, ny
