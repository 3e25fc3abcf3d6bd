"""Spectra: a block of spectra on one wavelength grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.product import ProductError
from ._stored import check_array, check_ids, check_meta, frozen, meta_plane, open_stored, read_meta, text_column


@dataclass(frozen=True, eq=False)
class Spectra:
    """Spectra that share their wavelengths.

    Attributes:
        flux: (n, pixel) float32 in `unit`; NaN where there is none.
        ivar: (n, pixel) float32, inverse variance; 0 where `flux` says nothing.
        mask: (n, pixel) int32, 0 = good.
        wave: (pixel,) float64, Å in vacuum, increasing.
        ids: (n,) int64 or text, each once.
        unit: of the flux, as FITS writes it; "" for relative fluxes.
        meta: JSON values that travel along.
    """

    flux: np.ndarray
    ivar: np.ndarray
    mask: np.ndarray
    wave: np.ndarray
    ids: np.ndarray
    unit: str = "1e-17 erg s-1 cm-2 Angstrom-1"
    meta: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "spectra"
    suffix: ClassVar[str] = ".fits"

    def check(self) -> None:
        """Raise `ProductError`, naming the attribute, when a shape, type or value breaks the rules above."""
        check_array("Spectra.flux", self.flux, np.float32, (None, None))
        check_array("Spectra.ivar", self.ivar, np.float32, self.flux.shape)
        check_array("Spectra.mask", self.mask, np.int32, self.flux.shape)
        check_array("Spectra.wave", self.wave, np.float64, self.flux.shape[1:])
        if not (np.isfinite(self.ivar).all() and (self.ivar >= 0).all()):
            raise ProductError("Spectra.ivar must be finite and not negative; 0 where the flux says nothing")
        if not (self.wave[0] > 0 and np.isfinite(self.wave).all() and (np.diff(self.wave) > 0).all()):
            raise ProductError("Spectra.wave must be positive and increasing, in Å in vacuum")
        check_ids("Spectra.ids", self.ids, len(self.flux))
        check_meta("Spectra.meta", self.meta)

    def write(self, path: Path) -> None:
        """Write a FITS file with the extensions FLUX, IVAR, MASK, WAVE and IDS."""
        from ._fits import Plane, write_fits
        from ._fits.wcs import card
        from ._fits.write import Table

        ids = text_column("Spectra.ids", self.ids) if self.ids.dtype.kind == "U" else self.ids
        rows = np.empty(len(ids), [("ID", ids.dtype)])
        rows["ID"] = ids
        planes = [
            Plane("FLUX", self.flux, [card("BUNIT", self.unit)]),
            Plane("IVAR", self.ivar),
            Plane("MASK", self.mask, compress=True),
            Plane("WAVE", self.wave, [card("BUNIT", "Angstrom"), card("AIRORVAC", "vac")]),
        ]
        write_fits(path, [card("PRODUCT", self.kind)], [*planes, Table("IDS", rows), *meta_plane(self.meta)])

    @classmethod
    def read(cls, path: Path) -> Spectra:
        """Return the spectra stored at `path`."""
        with open_stored(path, cls.kind) as file:
            flux, wave, ids = file.image("FLUX"), file.find("WAVE"), file.find("IDS")
            form = ids.cards.text("TFORM1")
            dtype = ">i8" if form == "K" else f"S{form[:-1]}"
            column = np.frombuffer(file.raw(ids), dtype, count=ids.shape[0])
            return cls(
                flux=frozen(file.read(flux)),
                ivar=frozen(file.read(file.image("IVAR"))),
                mask=frozen(file.read_integers(file.image("MASK")).astype(np.int32)),
                wave=frozen(np.frombuffer(file.raw(wave), ">f8").astype(np.float64)),
                ids=frozen(column.astype(np.int64 if form == "K" else "U")),
                unit=flux.cards.text("BUNIT"),
                meta=read_meta(file),
            )

    def summary(self) -> dict[str, Any]:
        """Return number, pixels, wavelength range and the median signal-to-noise ratio per pixel."""
        with np.errstate(invalid="ignore"):
            ratio = np.abs(self.flux) * np.sqrt(self.ivar)
        good = (self.ivar > 0) & np.isfinite(self.flux)
        return {
            "spectra": len(self.flux),
            "pixels": len(self.wave),
            "wave": [round(float(self.wave[0]), 3), round(float(self.wave[-1]), 3)],
            "median_snr": round(float(np.median(ratio[good])), 3) if good.any() else None,
        }
