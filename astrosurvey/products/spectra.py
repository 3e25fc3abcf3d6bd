"""Spectra: a block of spectra, on one wavelength grid or each on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..catalog.flags import SPECTRUM_PIXEL, SPECTRUM_UNUSABLE
from ..core.product import ProductError
from ._stored import check_array, check_ids, check_meta, frozen, meta_plane, open_stored, read_meta, text_column


@dataclass(frozen=True, eq=False)
class Spectra:
    """Spectra that share their wavelengths, or each with its own.

    Rows on their own grids may differ in length. Behind the end of a shorter one `wave` goes on in steps of its
    last one, `flux` is NaN, `ivar` 0 and `mask` NO_DATA, so that nothing but those three has to be looked at.

    Attributes:
        flux: (n, pixel) float32 in `unit`; NaN where there is none.
        ivar: (n, pixel) float32, inverse variance; 0 where `flux` says nothing.
        mask: (n, pixel) int32 of `astrosurvey.catalog.flags.SPECTRUM_PIXEL` bits; 0 is good.
        wave: (pixel,) float64 when shared, else (n, pixel); centres of the pixels in Å in vacuum, increasing.
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

    def __len__(self) -> int:
        return len(self.flux)

    @property
    def shared(self) -> bool:
        """Whether all spectra are on one wavelength grid."""
        return self.wave.ndim == 1

    def wave_of(self, row: int) -> np.ndarray:
        """Return (pixel,) wavelengths of one spectrum, whether the grid is shared or not."""
        wave: np.ndarray = self.wave if self.shared else self.wave[row]
        return wave

    def usable(self) -> np.ndarray:
        """Return which pixels carry usable flux: finite, of positive ivar, without an unusable mask bit.

        Returns:
            (n, pixel) bool.
        """
        return np.isfinite(self.flux) & (self.ivar > 0) & ((self.mask & SPECTRUM_UNUSABLE) == 0)

    def take(self, rows: Any) -> Spectra:
        """Return some of the spectra.

        Args:
            rows: what indexes the first axis: a slice, indices or (n,) bool.
        """
        rows = rows if isinstance(rows, slice) else np.atleast_1d(rows)
        wave = self.wave if self.shared else np.ascontiguousarray(self.wave[rows])
        flux, ivar, mask = (np.ascontiguousarray(plane[rows]) for plane in (self.flux, self.ivar, self.mask))
        return Spectra(flux, ivar, mask, wave, self.ids[rows].copy(), self.unit, self.meta)

    @classmethod
    def concatenate(cls, parts: Sequence[Spectra], meta: Mapping[str, Any] | None = None) -> Spectra:
        """Return the spectra of several blocks, one after the other; nothing is resampled.

        Grids that overlap and are pieces of one grid, to the last bit, become that grid. Others stay as they are
        and are padded to the longest.

        Args:
            parts: blocks with fluxes in the same unit.
            meta: of the result.

        Raises:
            ProductError: there are none, or their units differ.
        """
        units = {part.unit for part in parts}
        if len(units) != 1:
            raise ProductError(f"only spectra of one unit can be concatenated, not of {sorted(units) or 'none'}")
        ids = np.concatenate([part.ids for part in parts])
        grid = _common_grid([part.wave for part in parts]) if all(part.shared for part in parts) else None
        length = len(grid) if grid is not None else max(part.flux.shape[1] for part in parts)
        flux = np.full((len(ids), length), np.nan, np.float32)
        ivar, mask = np.zeros(flux.shape, np.float32), np.full(flux.shape, SPECTRUM_PIXEL["NO_DATA"], np.int32)
        wave = grid if grid is not None else np.empty(flux.shape)
        row = 0
        for part in parts:
            rows = slice(row, row + len(part))
            start = int(np.searchsorted(grid, part.wave[0])) if grid is not None else 0
            pixels = slice(start, start + part.flux.shape[1])
            flux[rows, pixels], ivar[rows, pixels], mask[rows, pixels] = part.flux, part.ivar, part.mask
            if grid is None:
                wave[rows] = lengthened(np.atleast_2d(part.wave), length)
            row += len(part)
        return cls(flux, ivar, mask, wave, ids, units.pop(), dict(meta or {}))

    def check(self) -> None:
        """Raise `ProductError`, naming the attribute, when a shape, type or value breaks the rules above."""
        check_array("Spectra.flux", self.flux, np.float32, (None, None))
        check_array("Spectra.ivar", self.ivar, np.float32, self.flux.shape)
        check_array("Spectra.mask", self.mask, np.int32, self.flux.shape)
        own = isinstance(self.wave, np.ndarray) and self.wave.ndim == 2
        check_array("Spectra.wave", self.wave, np.float64, self.flux.shape if own else self.flux.shape[1:])
        if not (np.isfinite(self.ivar).all() and (self.ivar >= 0).all()):
            raise ProductError("Spectra.ivar must be finite and not negative; 0 where the flux says nothing")
        if (self.ivar[~np.isfinite(self.flux)] > 0).any():
            raise ProductError("Spectra.ivar must be 0 where the flux is not finite")
        if not ((self.wave[..., 0] > 0).all() and np.isfinite(self.wave).all() and (np.diff(self.wave) > 0).all()):
            raise ProductError("Spectra.wave must be positive and increasing, in Å in vacuum")
        check_ids("Spectra.ids", self.ids, len(self.flux))
        check_meta("Spectra.meta", self.meta)

    def write(self, path: Path) -> None:
        """Write a FITS file with the extensions FLUX, IVAR, MASK, WAVE, IDS and META; the names of the bits are in the header of MASK."""
        from ._fits import Plane, write_fits
        from ._fits.wcs import card
        from ._fits.write import Table

        ids = text_column("Spectra.ids", self.ids) if self.ids.dtype.kind == "U" else self.ids
        rows = np.empty(len(ids), [("ID", ids.dtype)])
        rows["ID"] = ids
        bits = [card(f"BIT{flag.bit}", flag.name, flag.meaning) for flag in SPECTRUM_PIXEL.flags]
        planes = [
            Plane("FLUX", self.flux, [card("BUNIT", self.unit)]),
            Plane("IVAR", self.ivar),
            Plane("MASK", self.mask, bits, compress=True),
            Plane("WAVE", self.wave, [card("BUNIT", "Angstrom"), card("AIRORVAC", "vac")]),
        ]
        write_fits(path, [card("PRODUCT", self.kind)], [*planes, Table("IDS", rows), *meta_plane(self.meta)])

    @classmethod
    def read(cls, path: Path) -> Spectra:
        """Return the spectra stored at `path`; for other files there is the stage `io.spectra`."""
        with open_stored(path, cls.kind) as file:
            flux, wave, ids = file.image("FLUX"), file.find("WAVE"), file.find("IDS")
            form = ids.cards.text("TFORM1")
            dtype = ">i8" if form == "K" else f"S{form[:-1]}"
            column = np.frombuffer(file.raw(ids), dtype, count=ids.shape[0])
            return cls(
                flux=frozen(file.read(flux)),
                ivar=frozen(file.read(file.image("IVAR"))),
                mask=frozen(file.read_integers(file.image("MASK")).astype(np.int32)),
                wave=frozen(file.read(wave, dtype=np.float64)),
                ids=frozen(column.astype(np.int64 if form == "K" else "U")),
                unit=flux.cards.text("BUNIT"),
                meta=read_meta(file),
            )

    def summary(self) -> dict[str, Any]:
        """Return number, pixels, wavelength range, usable fraction and the median signal-to-noise ratio per usable pixel."""
        good = self.usable()
        where = np.broadcast_to(self.wave, good.shape)[good]
        ratio = np.abs(self.flux[good]) * np.sqrt(self.ivar[good])
        return {
            "spectra": len(self.flux),
            "pixels": self.flux.shape[1],
            "shared_grid": self.shared,
            "wave": [round(float(where.min()), 3), round(float(where.max()), 3)] if good.any() else None,
            "unit": self.unit,
            "usable_fraction": round(float(good.mean()), 6),
            "median_snr": round(float(np.median(ratio)), 3) if good.any() else None,
        }


def lengthened(wave: np.ndarray, length: int) -> np.ndarray:
    """Return wavelengths that go on in their last step up to `length` pixels.

    Args:
        wave: (n, pixel) increasing.
        length: at least as many pixels as there are.

    Returns:
        (n, length) float64.
    """
    missing = length - wave.shape[1]
    step = wave[:, -1:] - wave[:, -2:-1] if wave.shape[1] > 1 else np.ones((len(wave), 1))
    return np.concatenate([wave, wave[:, -1:] + step * np.arange(1, missing + 1)], axis=1)


def _common_grid(waves: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return the grid of which all these are unbroken, overlapping pieces; None when there is none."""
    if all(wave is waves[0] or np.array_equal(wave, waves[0]) for wave in waves):
        return waves[0]
    grid = np.unique(np.concatenate(waves))
    reach = -np.inf
    for wave in sorted(waves, key=lambda wave: float(wave[0])):
        start = int(np.searchsorted(grid, wave[0]))
        if not np.array_equal(grid[start : start + len(wave)], wave) or (reach > -np.inf and wave[0] > reach):
            return None
        reach = max(reach, float(wave[-1]))
    return grid
