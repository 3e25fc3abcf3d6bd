"""Pixels out of a checked file: windows of plain, gzipped and tile-compressed images, in native arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from .cards import CardError
from .checksum import verify
from .guard import AGAIN, BadInput, Source, escape, translated
from .header import Hdu, scan

_CHUNK = 1 << 20
_Convert = Callable[[np.ndarray, np.ndarray], None]
_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


class Window(NamedTuple):
    """A half-open rectangle of pixels: y0 <= y < y1, x0 <= x < x1."""

    y0: int
    y1: int
    x0: int
    x1: int


class FitsFile:
    """A checked FITS file, open for reading; use it in a `with` block.

    Args:
        path: a literal path of an existing regular file.
        checksum: whether an HDU that is read whole must agree with its DATASUM and CHECKSUM. Windows
            are not checked: for each of them the whole file would have to be read.

    Attributes:
        hdus: every HDU of the file.
        repairs: what was wrong and is repaired, one line each.

    Raises:
        BadInput: the file cannot be trusted; any HDU that is corrupt is enough.
    """

    def __init__(self, path: str | Path, *, checksum: bool = True) -> None:
        self.path = Path(path)
        self.source = Source(path)
        self._checksum = checksum
        self._verified: set[int] = set()
        try:
            hdus, self.repairs = scan(self.source)
        except BaseException:
            self.source.close()
            raise
        self.hdus = tuple(hdus)

    def __enter__(self) -> FitsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.source.close()

    def bad(self, reason: str, hdu: Hdu | None = None, keyword: str = "", fix: str = "") -> BadInput:
        """Return the error that names this file."""
        return BadInput(self.path, reason, hdu=hdu, keyword=keyword, fix=fix)

    def find(self, which: int | str) -> Hdu:
        """Return the HDU with this number or EXTNAME.

        Raises:
            BadInput: there is none, or more than one of that name.
        """
        there = ", ".join(map(str, self.hdus[:20])) + (", …" if len(self.hdus) > 20 else "")
        if isinstance(which, int):
            if not 0 <= which < len(self.hdus):
                raise BadInput(self.path, f"there is no such HDU; there are {there}", hdu=which, fix="set `hdu` to one of them")
            return self.hdus[which]
        found = [hdu for hdu in self.hdus if hdu.name.upper() == which.upper()]
        if len(found) != 1:
            reason = f"{len(found)} HDUs have this name" if found else f"there is no such HDU; there are {there}"
            raise BadInput(self.path, reason, hdu=which, fix="set `hdu` to a number")
        return found[0]

    def image(self, which: int | str | None = None) -> Hdu:
        """Return an HDU that holds an image of two or more axes.

        Args:
            which: number or EXTNAME; None for the only one there is, or the one named SCI.

        Raises:
            BadInput: the HDU holds no image, or None leaves the choice open.
        """
        if which is not None:
            hdu = self.find(which)
            if not hdu.is_image or len(hdu.shape) < 2:
                raise self.bad(f"holds no image: it is of kind {hdu.kind} with shape {hdu.shape}", hdu, fix=self._images())
            return hdu
        found = [hdu for hdu in self.hdus if hdu.is_image and len(hdu.shape) >= 2]
        named = [hdu for hdu in found if hdu.name.upper() == "SCI"]
        if len(found) != 1 and len(named) != 1:
            raise self.bad("holds several images" if found else "holds no image", fix=self._images())
        return found[0] if len(found) == 1 else named[0]

    def _images(self) -> str:
        found = [f"{hdu} {'x'.join(map(str, hdu.shape[::-1]))}" for hdu in self.hdus if hdu.is_image and len(hdu.shape) >= 2]
        return "set `hdu` to one of " + ", ".join(found[:20]) + (", …" if len(found) > 20 else "") if found else "give another file"

    @contextmanager
    def cards(self, hdu: Hdu, fix: str = "") -> Iterator[None]:
        """Turn a `CardError` raised inside into the `BadInput` that names file and HDU."""
        try:
            yield
        except CardError as error:
            raise self.bad(error.reason, hdu, error.keyword, fix or "mend the header card") from error

    def shape(self, hdu: Hdu) -> tuple[int, ...]:
        """Return an image's shape in NumPy's order without leading axes of length one, but at least (y, x)."""
        shape = hdu.shape
        while len(shape) > 2 and shape[0] == 1:
            shape = shape[1:]
        return shape

    def read(self, hdu: Hdu, window: Window | None = None, plane: int | None = None, dtype: type = np.float32) -> np.ndarray:
        """Return pixels as floats: scaled by BSCALE and BZERO, NaN where the file has BLANK or NaN.

        Args:
            hdu: an HDU of this file that holds an image.
            window: the pixels to read of the last two axes; None for all.
            plane: index on the first axis of a three-dimensional image; None for all planes.
            dtype: float32, or float64 for wavelengths and the like.

        Returns:
            of that type, native and C-contiguous, shaped as `shape(hdu)` with window and plane cut out.
        """
        with self.cards(hdu):
            scale, zero = hdu.cards.number("BSCALE", 1.0), hdu.cards.number("BZERO", 0.0)
            blank = self._blank(hdu)
        if scale == 0:
            raise self.bad("is 0, so all pixels are equal", hdu, "BSCALE", "mend the header card")

        def convert(raw: np.ndarray, out: np.ndarray) -> None:
            if scale == 1 and zero == 0 and blank is None:
                out[...] = raw
                return
            values = raw.astype(np.float64)
            values *= scale
            values += zero
            if blank is not None:
                values[raw == blank] = np.nan
            out[...] = values

        with np.errstate(over="ignore", invalid="ignore"):  # beyond the type becomes inf, which callers see
            return self._read(hdu, window, plane, np.dtype(dtype), convert)

    def read_integers(self, hdu: Hdu, window: Window | None = None, plane: int | None = None) -> np.ndarray:
        """Return pixels of a mask or a label image exactly, as int64.

        Arguments are those of `read`. Pixels may be stored as floats if they are whole numbers.

        Raises:
            BadInput: the pixels are no whole numbers, or are scaled.
        """
        with self.cards(hdu):
            scale, zero = hdu.cards.number("BSCALE", 1.0), hdu.cards.number("BZERO", 0.0)
        if scale != 1 or not zero.is_integer():
            raise self.bad("a mask or label image must hold whole numbers, but is scaled", hdu, "BSCALE")
        problems = set()

        def convert(raw: np.ndarray, out: np.ndarray) -> None:
            if raw.dtype.kind == "f":
                sound = np.isfinite(raw) & (np.abs(raw) < 2.0**53)
                if not sound.all() or (np.floor(raw) != raw).any():
                    problems.add("holds values that are no whole numbers")
                    out[...] = 0
                    return
            with np.errstate(over="ignore"):
                out[...] = raw
                out += np.int64(zero) if zero < 2**63 else np.iinfo(np.int64).min
            if zero >= 2**63 and (out < 0).any():
                problems.add("holds values of 2^63 and above")

        values = self._read(hdu, window, plane, np.dtype(np.int64), convert)
        if problems:
            raise self.bad(", ".join(sorted(problems)), hdu, fix="give a mask or label image")
        return values

    def _blank(self, hdu: Hdu) -> int | None:
        keyword = "ZBLANK" if hdu.kind == "compressed" and "BLANK" not in hdu.cards else "BLANK"
        if hdu.bitpix < 0:
            if "BLANK" in hdu.cards:
                self.repairs.append(f"HDU {hdu}: BLANK ignored; it has no meaning in an image of floats")
            return None
        return hdu.cards.integer(keyword) if hdu.cards.get(keyword) is not None else None

    def _read(self, hdu: Hdu, window: Window | None, plane: int | None, dtype: np.dtype, convert: _Convert) -> np.ndarray:
        if hdu.kind not in ("image", "compressed"):
            raise self.bad(f"holds no image: it is of kind {hdu.kind}", hdu)
        shape = self.shape(hdu)
        if len(shape) > 3 and (window is not None or plane is not None):
            raise self.bad(f"has {len(shape)} axes longer than one; at most three can be read", hdu, "NAXIS")
        ny, nx = shape[-2:] if len(shape) > 1 else (1, shape[0] if shape else 0)
        count = prod(shape[:-2]) if len(shape) > 2 else 1
        planes = range(count) if plane is None else range(plane, plane + 1)
        if plane is not None and not 0 <= plane < count:
            raise self.bad(f"has {count} planes, so there is no plane {plane}", hdu, "NAXIS3")
        box = window or Window(0, ny, 0, nx)
        if not (0 <= box.y0 < box.y1 <= ny and 0 <= box.x0 < box.x1 <= nx):
            raise self.bad(f"the window {tuple(box)} (y0, y1, x0, x1) is not inside the image of {nx} x {ny} pixels", hdu, "NAXIS1")
        whole = box == (0, ny, 0, nx) and len(planes) == count
        if whole:
            self.verify(hdu)
        out = np.empty((len(planes), box.y1 - box.y0, box.x1 - box.x0), dtype)
        for k, p in enumerate(planes):
            if hdu.kind == "image":
                self._read_plain(hdu, p, box, out[k], convert)
            else:
                from .tiled import read_tiled  # brings numba, CFITSIO and astropy.io.fits along, which plain images do not need

                with translated(self.path, "decompressing", hdu=hdu, fix=AGAIN, notes=self.repairs), self.cards(hdu, AGAIN):
                    convert(read_tiled(self.source, hdu, p, box), out[k])
        if len(shape) < 2:
            return out.reshape(shape)
        return out.reshape((*shape[:-2], *out.shape[1:]) if plane is None else out.shape[1:])

    def verify(self, hdu: Hdu) -> None:
        """Compare an HDU with its DATASUM and CHECKSUM, once and if this file is to be checked at all.

        Raises:
            BadInput: they disagree.
        """
        if self._checksum and hdu.index not in self._verified:
            with self.cards(hdu, f"{AGAIN}, or set `checksum: false` to read it as it is"):
                verify(self.source, hdu, self.repairs)
            self._verified.add(hdu.index)

    def _read_plain(self, hdu: Hdu, plane: int, box: Window, out: np.ndarray, convert: _Convert) -> None:
        """Read rows in pieces that stay in the cache while their byte order, scale and type are changed."""
        dtype = np.dtype(_DTYPES[hdu.bitpix])
        ny, nx = hdu.shape[-2:] if len(hdu.shape) > 1 else (1, hdu.shape[0])
        width = box.x1 - box.x0
        row_bytes = nx * dtype.itemsize
        start = hdu.data + plane * ny * row_bytes
        rows = max(1, _CHUNK // max(width * dtype.itemsize, 1))
        buffer = np.empty((min(rows, box.y1 - box.y0), width), dtype)
        for y in range(box.y0, box.y1, len(buffer)):
            part = buffer[: min(len(buffer), box.y1 - y)]
            if width == nx:
                self.source.read_into(start + y * row_bytes, _bytes(part))
            else:
                for row, line in enumerate(part, y):
                    self.source.read_into(start + row * row_bytes + box.x0 * dtype.itemsize, _bytes(line))
            convert(part, out[y - box.y0 : y - box.y0 + len(part)])

    def raw(self, hdu: Hdu) -> bytes:
        """Return the bytes of an HDU's data unit as they stand, verified against its checksum."""
        if self._checksum:
            with self.cards(hdu, AGAIN):
                verify(self.source, hdu, self.repairs)
        return self.source.read(hdu.data, hdu.size)

    def text(self, hdu: Hdu, keyword: str) -> str:
        """Return a header value as a printable text, "" when it is absent; inherited from the primary HDU."""
        return escape(hdu.cards.text(keyword) or self.hdus[0].cards.text(keyword))


def _bytes(array: np.ndarray) -> memoryview:
    """Return a contiguous array's own bytes, whatever its byte order."""
    return array.reshape(-1).view(np.uint8).data
