"""PsfModel: the point-spread function anywhere on a tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.product import ProductError
from ._stored import check_array, check_meta, frozen, meta_plane, open_stored, read_meta

STAR = np.dtype([("source_id", "i8"), ("band", "i4"), ("x", "f8"), ("y", "f8"), ("flux", "f8"), ("snr", "f8"), ("chi2", "f8")])
"""A row of `PsfModel.stars`: the source, its band's place in `bands`, pixels, nJy, and the reduced chi square of the model there."""


@dataclass(frozen=True, eq=False)
class PsfModel:
    """The point-spread function of every band as a polynomial of the position on the tile.

    It is the effective PSF of Anderson & King: a node holds the light that a pixel centred there would
    collect. The PSF at a place is the sum over the coefficients of a Legendre product times its stamp,
    in the order of `terms`; places beyond the tile are taken at its edge, for polynomials do not extrapolate.

    Attributes:
        basis: (band, coefficient, y, x) float32, `oversampling` nodes a pixel along each axis, odd-sided,
            centred on the middle node. The first coefficient sums to `oversampling` squared, the others to zero.
        bands: the name of each band, in the order of `basis`.
        oversampling: nodes per pixel along each axis.
        shape: (ny, nx) of the tile in pixels; u = 2 x / (nx - 1) - 1 and v likewise run from -1 to 1 over it.
        fwhm: (band,) float64, full width at half maximum at the tile's centre, in pixels: of the circle with
            the area above half of the peak.
        ellipticity: (band,) float64, (a - b) / (a + b) at the tile's centre, from Gaussian-weighted moments.
        n_star: (band,) int64, stars that the model was fitted to; 0 where it comes from elsewhere.
        stars: (n,) of `STAR`, the stars themselves, by band and then as the sources came.
        meta: JSON values that travel along: `origin` and quality by band.

    References:
        Anderson & King (2000), PASP 112, 1360.
    """

    basis: np.ndarray
    bands: tuple[str, ...]
    oversampling: int
    shape: tuple[int, int]
    fwhm: np.ndarray
    ellipticity: np.ndarray
    n_star: np.ndarray
    stars: np.ndarray = field(default_factory=lambda: np.zeros(0, STAR))
    meta: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "psf"
    suffix: ClassVar[str] = ".fits"

    @property
    def degree(self) -> int:
        """The polynomial's total degree."""
        return degree_of(self.basis.shape[1])

    def coefficients(self, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        """Return the factors (n, coefficient) of the basis stamps at places (n,), in pixels of the tile."""
        return terms(*normalised(np.atleast_1d(x), np.atleast_1d(y), self.shape), self.degree)

    def nodes(self, x: float, y: float) -> np.ndarray:
        """Return the PSF at a place, (band, y, x) float64 on the oversampled nodes."""
        return np.einsum("k,bkyx->byx", self.coefficients(x, y)[0], self.basis.astype(float))

    def at(self, x: float, y: float) -> np.ndarray:
        """Return the PSF of a source centred on a pixel at a place.

        Args:
            x, y: 0-based pixels of the tile.

        Returns:
            (band, y, x) float32, one value a pixel, odd-sided, each band summing to one.
        """
        stamp = self.nodes(x, y)[:, :: self.oversampling, :: self.oversampling]
        return np.ascontiguousarray(stamp / stamp.sum(axis=(1, 2), keepdims=True), np.float32)

    def check(self) -> None:
        """Raise `ProductError`, naming the attribute, when a shape, type or value breaks the rules above."""
        bands = len(self.bands)
        if not bands or len(set(self.bands)) != bands or not all(isinstance(band, str) and band for band in self.bands):
            raise ProductError(f"PsfModel.bands must name each band once, not {self.bands!r}")
        check_array("PsfModel.basis", self.basis, np.float32, (bands, None, None, None))
        try:
            degree_of(self.basis.shape[1])
        except ValueError as error:
            raise ProductError(f"PsfModel.basis: {error}") from error
        if self.oversampling < 1 or any((side - 1) % (2 * self.oversampling) for side in self.basis.shape[2:]):
            raise ProductError(f"PsfModel.basis must span an odd number of pixels about its middle node, not {self.basis.shape[2:]} nodes")
        sums = self.basis.sum(axis=(2, 3), dtype=np.float64) / self.oversampling**2
        if not np.allclose(sums, np.eye(1, sums.shape[1]), atol=1e-3):
            raise ProductError(
                f"PsfModel.basis: the first coefficient must sum to one per pixel and the others to zero, not {sums.tolist()}"
            )
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise ProductError(f"PsfModel.shape must be the (ny, nx) of the tile, not {self.shape!r}")
        check_array("PsfModel.fwhm", self.fwhm, np.float64, (bands,))
        check_array("PsfModel.ellipticity", self.ellipticity, np.float64, (bands,))
        check_array("PsfModel.n_star", self.n_star, np.int64, (bands,))
        if not ((self.fwhm > 0).all() and (self.ellipticity >= 0).all() and (self.ellipticity < 1).all()):
            raise ProductError(f"PsfModel: widths must be positive and ellipticities in [0, 1), not {self.fwhm} and {self.ellipticity}")
        if not isinstance(self.stars, np.ndarray) or self.stars.dtype != STAR or self.stars.ndim != 1:
            raise ProductError("PsfModel.stars must be rows of products.psf.STAR")
        if np.bincount(self.stars["band"], minlength=bands).tolist() != self.n_star.tolist():
            raise ProductError(f"PsfModel.stars must hold the stars that n_star counts in each band: {self.n_star.tolist()}")
        check_meta("PsfModel.meta", self.meta)

    def write(self, path: Path) -> None:
        """Write a FITS file with the basis as extension PSF, a table STARS, and META."""
        from ._fits import Plane, write_fits
        from ._fits.wcs import card
        from ._fits.write import Table

        numbers = {"fwhm": self.fwhm.tolist(), "ellipticity": self.ellipticity.tolist(), "n_star": self.n_star.tolist()}
        head = [card("NBAND", len(self.bands)), *(card(f"BAND{n}", name) for n, name in enumerate(self.bands, 1))]
        head += [card("OVERSAMP", self.oversampling), card("TILE_NY", self.shape[0]), card("TILE_NX", self.shape[1])]
        stars = [Table("STARS", self.stars)] if len(self.stars) else []
        meta = meta_plane({"numbers": numbers, "meta": dict(self.meta)})
        write_fits(path, [card("PRODUCT", self.kind)], [Plane("PSF", self.basis, head), *stars, *meta])

    @classmethod
    def read(cls, path: Path) -> PsfModel:
        """Return the model stored at `path`."""
        with open_stored(path, cls.kind) as file:
            hdu = file.image("PSF")
            with file.cards(hdu):
                bands = tuple(hdu.cards.text(f"BAND{n}") for n in range(1, hdu.cards.integer("NBAND") + 1))
                oversampling = hdu.cards.integer("OVERSAMP")
                shape = hdu.cards.integer("TILE_NY"), hdu.cards.integer("TILE_NX")
            stars = np.zeros(0, STAR)
            if any(other.name == "STARS" for other in file.hdus):
                rows = file.find("STARS")
                stars = np.frombuffer(file.raw(rows), STAR.newbyteorder(">"), count=rows.shape[0]).astype(STAR)
            held = read_meta(file)
            numbers = held["numbers"]
            return cls(
                frozen(file.read(hdu).reshape(hdu.shape)),
                bands,
                oversampling,
                shape,
                frozen(np.array(numbers["fwhm"], np.float64)),
                frozen(np.array(numbers["ellipticity"], np.float64)),
                frozen(np.array(numbers["n_star"], np.int64)),
                frozen(stars),
                held["meta"],
            )

    def summary(self) -> dict[str, Any]:
        """Return bands, size, degree, and width, ellipticity and stars by band."""
        return {
            "bands": list(self.bands),
            "size": [(side - 1) // self.oversampling + 1 for side in self.basis.shape[2:]],
            "oversampling": self.oversampling,
            "degree": self.degree,
            "fwhm": [round(value, 4) for value in self.fwhm.tolist()],
            "ellipticity": [round(value, 4) for value in self.ellipticity.tolist()],
            "n_star": self.n_star.tolist(),
        }


def degree_of(coefficients: int) -> int:
    """Return the total degree of a polynomial in two variables from the number of its terms."""
    degree = 0
    while (count := (degree + 1) * (degree + 2) // 2) < coefficients:
        degree += 1
    if count != coefficients:
        raise ValueError(f"{coefficients} coefficients are no whole polynomial; there must be 1, 3, 6, 10, …")
    return degree


def normalised(x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return places (n,) in units that run from -1 to 1 over a tile of (ny, nx) pixels; beyond it, its edge's."""
    u, v = (np.clip(2 * np.asarray(p, float) / max(n - 1, 1) - (n > 1), -1, 1) for p, n in ((x, shape[1]), (y, shape[0])))
    return u, v


def terms(u: np.ndarray, v: np.ndarray, degree: int) -> np.ndarray:
    """Return (n, coefficient) the Legendre products P_i(u) P_j(v), by rising i + j and then rising j.

    Args:
        u, v: (n,), from -1 to 1.
        degree: the greatest i + j, at most 3.
    """
    one = np.ones_like(u)
    in_u, in_v = ([one, w, 1.5 * w * w - 0.5, w * (2.5 * w * w - 1.5)] for w in (u, v))
    return np.stack([in_u[total - j] * in_v[j] for total in range(degree + 1) for j in range(total + 1)], axis=1)
