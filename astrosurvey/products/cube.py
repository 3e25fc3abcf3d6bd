"""Cube: a spectral-line cube with its coordinates, beam and rest frequency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..core.product import ProductError
from ._stored import check_array, check_meta, meta_plane, open_stored, read_meta

if TYPE_CHECKING:
    from astropy.wcs import WCS


@dataclass(frozen=True, eq=False)
class Cube:
    """A spectral cube.

    Attributes:
        data: (spectral, y, x) float32 in `unit`; NaN where there is none.
        unit: the brightness unit as FITS writes it, such as "Jy/beam" or "K"; "" when dimensionless.
        wcs: of the axes (longitude, latitude, spectral), in FITS order; None when unknown.
        beam: (major, minor, position angle) of the restoring beam, FWHM, in degrees. None: unknown.
        rest_frequency: of the line, in Hz. None: unknown.
        meta: JSON values that travel along.
    """

    data: np.ndarray
    unit: str
    wcs: WCS | None = None
    beam: tuple[float, float, float] | None = None
    rest_frequency: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "cube"
    suffix: ClassVar[str] = ".fits"

    def check(self) -> None:
        """Raise `ProductError`, naming the attribute, when a shape, type or value breaks the rules above."""
        check_array("Cube.data", self.data, np.float32, (None, None, None))
        if self.wcs is not None and self.wcs.naxis != 3:
            raise ProductError(f"Cube.wcs must have three axes, not {self.wcs.naxis}")
        if self.beam is not None:
            major, minor, angle = self.beam
            if not (np.isfinite(angle) and 0 < minor <= major < 180):
                raise ProductError(f"Cube.beam must be (major, minor, angle) in degrees with 0 < minor <= major, not {self.beam}")
        if self.rest_frequency is not None and not (np.isfinite(self.rest_frequency) and self.rest_frequency > 0):
            raise ProductError(f"Cube.rest_frequency must be positive, in Hz, not {self.rest_frequency}")
        check_meta("Cube.meta", self.meta)

    def write(self, path: Path) -> None:
        """Write a FITS file with the extension SCI."""
        from ._fits import Plane, wcs_cards, write_fits
        from ._fits.wcs import card, number_card

        cards = [card("BUNIT", self.unit), *(wcs_cards(self.wcs) if self.wcs is not None else [])]
        if self.beam is not None:
            cards += [number_card(k, v) for k, v in zip(("BMAJ", "BMIN", "BPA"), self.beam, strict=True)]
        if self.rest_frequency is not None:
            cards = [c for c in cards if not c.startswith("RESTFRQ ")] + [number_card("RESTFRQ", self.rest_frequency)]
        write_fits(path, [card("PRODUCT", self.kind)], [Plane("SCI", self.data, cards), *meta_plane(self.meta)])

    @classmethod
    def read(cls, path: Path) -> Cube:
        """Return the cube stored at `path` by `write`; for other files there is `from_fits`."""
        from ._fits.cube import read_cube

        with open_stored(path, cls.kind) as file:
            return cls(**read_cube(file, file.image("SCI"), None, stored=True), meta=read_meta(file))

    @classmethod
    def from_fits(cls, path: Path, *, hdu: int | str | None = None, unit: str | None = None) -> Cube:
        """Return the cube in any FITS file.

        Args:
            path: a FITS file whose image has a longitude, a latitude and a spectral axis in any order;
                further axes, such as Stokes, must have length one.
            hdu: number or EXTNAME; None for the only image, or the one named SCI.
            unit: the brightness unit, when the header has no or a wrong BUNIT.

        Raises:
            BadInput: the file cannot be used, or holds no such cube.
        """
        from ._fits import FitsFile
        from ._fits.cube import read_cube

        with FitsFile(path) as file:
            cube = read_cube(file, file.image(hdu), unit)
            return cls(**cube, meta={"repairs": file.repairs} if file.repairs else {})

    def to_spectral_cube(self) -> Any:
        """Return a `spectral_cube.SpectralCube` of the same pixels, which are not copied.

        Raises:
            ProductError: the cube has no WCS.
        """
        import astropy.units as u
        from radio_beam import Beam  # type: ignore[import-untyped]
        from spectral_cube import SpectralCube

        if self.wcs is None:
            raise ProductError("a cube without WCS cannot become a SpectralCube")
        beam = Beam(*(value * u.deg for value in self.beam)) if self.beam is not None else None
        wcs = self.wcs.deepcopy()
        if self.rest_frequency is not None:
            wcs.wcs.restfrq = self.rest_frequency
        return SpectralCube(data=self.data * u.Unit(self.unit), wcs=wcs, beam=beam)

    def summary(self) -> dict[str, Any]:
        """Return shape, unit, beam and the fraction of voxels without data."""
        return {
            "shape": list(self.data.shape),
            "unit": self.unit,
            "beam": list(self.beam) if self.beam is not None else None,
            "no_data_fraction": round(1 - float(np.isfinite(self.data).mean()), 6),
        }
