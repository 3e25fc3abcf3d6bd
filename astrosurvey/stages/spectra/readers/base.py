"""What a format's reader gets and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ....products._fits import BadInput, BinaryTable, FitsFile, Hdu, Window, escape
from ....products._fits.guard import open_regular

ALIASES: Mapping[str, tuple[str, ...]] = {
    "wave": ("WAVE", "WAVELENGTH", "LAMBDA", "LAM", "WL", "WVL"),
    "loglam": ("LOGLAM", "LOG_LAMBDA", "LOGWAVE", "LOG_WAVE"),
    "flux": ("FLUX", "FLAM", "FLUX_LAMBDA", "FNU"),
    "ivar": ("IVAR", "INVVAR", "INVERSE_VARIANCE"),
    "error": ("ERROR", "ERR", "ERR_FLUX", "FLUX_ERR", "FLUX_ERROR", "E_FLUX", "SIGMA", "UNCERTAINTY"),
    "variance": ("VARIANCE", "VAR"),
    "mask": ("AND_MASK", "ANDMASK", "MASK", "QUAL", "QUALITY"),
}
"""What columns and extensions are called that say by their names what they are, in capitals."""


@dataclass
class Block:
    """Some of a file's spectra, as the file has them; what it does not say stays None.

    Attributes:
        wave: (pixel,) or (n, pixel) float64, centres of the pixels in `wave_unit`, in any order.
        flux: (n, pixel), in `unit`.
        noise: (n, pixel), what `noise_kind` says; None: the file holds no errors.
        noise_kind: "ivar", "error" (one standard deviation) or "variance".
        mask: (n, pixel) int32 of `SPECTRUM_PIXEL` bits; None: nothing is masked.
        names: (n,) names of the spectra; None: the file's name, and the row where there are several.
        unit: of the flux; "relative" when it has no physical scale, None when the file does not say.
        wave_unit: such as "Angstrom", "nm" or "log10(Angstrom)"; None when the file does not say.
        medium: "air" or "vacuum".
        frame: "topocentric", "heliocentric", "barycentric" or "source".
        columns: (n,) values for columns of the table `spectrum`: ra, dec, mjd, exposure, resolution.
        flags: (n,) int of `SPECTRUM` bits.
        site: longitude (deg, east), latitude (deg) and altitude (m) of the telescope.
    """

    wave: np.ndarray
    flux: np.ndarray
    noise: np.ndarray | None = None
    noise_kind: str = "ivar"
    mask: np.ndarray | None = None
    names: list[str] | None = None
    unit: str | None = None
    wave_unit: str | None = "Angstrom"
    medium: str | None = None
    frame: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    flags: Any = 0
    site: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Format:
    """A format of spectra: one file in this folder makes one of these, and `FORMATS` lists it.

    Attributes:
        name: what the setting `format` calls it.
        what: one line for the documentation.
        sniff: whether a file is of this format; quick, and an error only where the file is corrupt.
        count: how many spectra a file holds, from its headers alone where that is possible.
        read: some of its rows, first <= row < last.
    """

    name: str
    what: str
    sniff: Callable[[SpectrumFile], bool]
    count: Callable[[SpectrumFile], int]
    read: Callable[[SpectrumFile, int, int], Block]


class SpectrumFile:
    """An open file that may hold spectra; use it in a `with` block.

    Args:
        path: a literal path of a regular file.
        columns: from "wave", "flux", "ivar", "error", "variance", "mask" or "name" to what the file calls it.
        mask: the convention of the mask; see `masks.translated`.
        loader: which of specutils' loaders is asked for; None leaves it the choice.
        checksum: see `FitsFile`.

    Attributes:
        fits: the checked FITS file; None when this is no FITS file.
        start: the first bytes, uncompressed.

    Raises:
        BadInput: it is no regular file, or a FITS file that cannot be trusted.
    """

    def __init__(
        self,
        path: str | Path,
        columns: Mapping[Any, str] | None = None,
        mask: str | None = None,
        loader: str | None = None,
        *,
        checksum: bool = True,
    ) -> None:
        self.path = Path(path)
        self.columns = dict(columns or {})
        self.mask, self.loader = mask, loader
        self._stack = ExitStack()
        with open_regular(path) as stream:
            raw = stream.read(4096)
        self.gzipped = raw.startswith(b"\x1f\x8b")
        self.start = _inflated(raw) if self.gzipped else raw
        self.fits = self._stack.enter_context(FitsFile(path, checksum=checksum)) if self.start.startswith(b"SIMPLE") else None

    def __enter__(self) -> SpectrumFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def stem(self) -> str:
        """The file's name without its endings, printable."""
        return escape(self.path.name.removesuffix(".gz").rsplit(".", 1)[0] or self.path.name)

    def bad(self, reason: str, fix: str = "", hdu: Hdu | None = None, keyword: str = "") -> BadInput:
        """Return the error that names this file."""
        return BadInput(self.path, reason, hdu=hdu, keyword=keyword, fix=fix)

    # What readers of FITS files need; none of these raises when there is no such thing, unless it says so.

    @property
    def names(self) -> set[str]:
        """The names of the HDUs, in capitals."""
        return {hdu.name.upper() for hdu in self.fits.hdus} if self.fits else set()

    def text(self, *keywords: str) -> str:
        """Return the first of these values of the primary header that is there, as a text; "" when none is."""
        assert self.fits is not None
        return next((escape(value) for keyword in keywords if (value := self.fits.hdus[0].cards.text(keyword).strip())), "")

    def number(self, *keywords: str) -> float:
        """Return the first of these values of the primary header that is a finite number; NaN when none is."""
        for keyword in keywords:
            try:
                value = float(self.text(keyword))
            except ValueError:
                continue
            if np.isfinite(value):
                return value
        return np.nan

    def yes(self, keyword: str) -> bool | None:
        """Return a logical value of the primary header; None when there is none."""
        return {"True": True, "1": True, "False": False, "0": False}.get(self.text(keyword))

    def image(self, name: str, first: int = 0, last: int | None = None, dtype: type = np.float64) -> np.ndarray:
        """Return an image extension's rows as (n, pixel), or (pixel,) when it has one axis.

        Raises:
            BadInput: there is none of this name, or it has more axes.
        """
        return self.pixels(self._image(name), first, last, dtype)

    def pixels(self, hdu: Hdu, first: int = 0, last: int | None = None, dtype: type = np.float64) -> np.ndarray:
        """Return the rows first <= row < last of an image as (n, pixel), or (pixel,) when it has one axis.

        Raises:
            BadInput: it has other axes.
        """
        assert self.fits is not None
        shape = self.fits.shape(hdu) if hdu.is_image else ()
        if len(shape) not in (1, 2):
            raise self.fits.bad(f"must hold an image of one or two axes, but is of kind {hdu.kind} with shape {hdu.shape}", hdu)
        window = None if len(shape) == 1 or last is None else Window(first, last, 0, shape[1])
        if dtype is np.int64:
            return self.fits.read_integers(hdu, window).reshape(-1 if len(shape) == 1 else (-1, shape[-1]))
        return self.fits.read(hdu, window, dtype=dtype).reshape((-1,) if len(shape) == 1 else (-1, shape[-1]))

    def _image(self, name: str) -> Hdu:
        assert self.fits is not None
        return self.fits.find(name)

    def table(self, which: str | int) -> BinaryTable | None:
        """Return the binary table of this name or number; None when there is none."""
        hdus = self.fits.hdus if self.fits else ()
        found = [hdu for hdu in hdus if (hdu.index == which or hdu.name.upper() == which) and hdu.kind == "table"]
        return BinaryTable(self.fits, found[0]) if len(found) == 1 and self.fits else None

    def tables(self) -> Iterable[BinaryTable]:
        """Yield every binary table.

        Raises:
            BadInput: one of them is corrupt.
        """
        if self.fits is not None:
            yield from (BinaryTable(self.fits, hdu) for hdu in self.fits.hdus if hdu.kind == "table")

    def called(self, what: str, there: Iterable[str]) -> str | None:
        """Return what the file calls its "wave", "flux", …: as the setting `columns` says, or the first alias that is there.

        Raises:
            BadInput: the setting names something that is not there.
        """
        known = {name.upper(): name for name in there}
        wanted = self.columns.get(what)
        if wanted is not None:
            if wanted.upper() not in known:
                fix = f"set `columns.{what}` to one of {', '.join(escape(name, 40) for name in list(known)[:20])}"
                raise self.bad(f"there is no column or extension {escape(wanted)!r}", fix)
            return known[wanted.upper()]
        return next((known[alias] for alias in ALIASES.get(what, ()) if alias in known), None)

    def noise(self, there: Iterable[str]) -> tuple[str | None, str]:
        """Return what holds the noise, and of which kind it is."""
        there = list(there)
        kinds = ("ivar", "error", "variance")
        for kind in sorted(kinds, key=lambda kind: kind not in self.columns):
            if (name := self.called(kind, there)) is not None:
                return name, kind
        return None, "ivar"

    def convention(self, name: str, otherwise: str = "nonzero") -> str:
        """Return how the mask in a column or extension of this name is to be understood."""
        by_name = {"AND_MASK": "sdss", "OR_MASK": "sdss", "ANDMASK": "lamost", "ORMASK": "lamost"}
        return self.mask or by_name.get(name.upper(), otherwise)


def log_grid(cards: SpectrumFile, pixels: int) -> np.ndarray | None:
    """Return (pixel,) log10 of the wavelengths that COEFF0 and COEFF1 of the primary header describe; None without them."""
    start, step = cards.number("COEFF0"), cards.number("COEFF1")
    return start + step * np.arange(pixels) if np.isfinite(start) and step > 0 else None


def snapped(loglam: np.ndarray) -> np.ndarray:
    """Return log10 wavelengths that float32 has rounded, on the grid of SDSS and LAMOST when they are meant to be on it.

    All of these surveys' wavelengths are whole multiples of 1e-4; float32 keeps 0.002 of a step. On one grid,
    spectra can be compared pixel by pixel without resampling.
    """
    steps = np.asarray(loglam, np.float64) * 1e4
    nearest = np.round(steps)
    return nearest * 1e-4 if np.nanmax(np.abs(steps - nearest), initial=0) < 0.01 else np.asarray(loglam, np.float64)


def _inflated(raw: bytes) -> bytes:
    import zlib

    try:
        return zlib.decompressobj(wbits=47).decompress(raw, 4096)
    except zlib.error:
        return b""
