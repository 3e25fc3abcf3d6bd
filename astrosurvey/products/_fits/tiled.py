"""Windows of tile-compressed images, decoded by CFITSIO, or by astropy where CFITSIO cannot be trusted or cannot do it."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fitsio
import numpy as np
from astropy.io import fits

from ...core.stage import DataError
from .guard import Source
from .header import Hdu
from .tiles import Packed, pack

_PLAIN = re.compile(r"/[\w/.-]*", re.ASCII)
_MOST_AXES = 6
_MANY_TILES = 8


def read_tiled(source: Source, hdu: Hdu, plane: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return the unscaled pixels of a window; only the tiles that touch it are read.

    Args:
        source: the file.
        hdu: its tile-compressed HDU.
        plane: index over all axes but the last two.
        box: y0, y1, x0, x1.

    Returns:
        (y, x) in the stored type; floats that were quantised come dequantised.

    Raises:
        CardError: a tile, or a card that decoders trust, is wrong.
        DataError: there is no room for a temporary file.
    """
    y0, y1, x0, x1 = box
    leading = np.unravel_index(plane, hdu.shape[:-2]) if len(hdu.shape) > 2 else ()
    window = [(int(i), int(i) + 1) for i in leading] + [(y0, y1), (x0, x1)][2 - min(len(hdu.shape), 2) :]
    packed = pack(source, hdu, window)
    decode = by_cfitsio if _suits_cfitsio(hdu, packed) else by_astropy
    return decode(packed, tuple(slice(first, last) for first, last in window)).reshape(y1 - y0, x1 - x0)


def _suits_cfitsio(hdu: Hdu, packed: Packed) -> bool:
    """Return whether CFITSIO is to decode this.

    Not HCOMPRESS and PLIO, with their history of memory errors, nor what it does not know. Many tiles of
    integers are left to astropy, which takes longer to begin but half the time for each; not so floats, which
    must be the same to the last bit in every window.
    """
    if hdu.bitpix == 64 or len(hdu.shape) > _MOST_AXES or not packed.forms["COMPRESSED_DATA"].endswith("B"):
        return False
    if packed.codec == "RICE_1":
        return packed.parameters["BYTEPIX"] == min(abs(hdu.bitpix) // 8, 4) and (hdu.bitpix < 0 or packed.tiles <= _MANY_TILES)
    return packed.codec in ("GZIP_1", "GZIP_2")


def by_cfitsio(packed: Packed, window: tuple[slice, ...]) -> np.ndarray:
    """Return the pixels of a window, decoded by CFITSIO."""
    with _named(packed.content) as name:
        try:
            with fitsio.FITS(name) as file:
                return file[1][window]
        except OSError as error:
            # The first line says it; the others may hold the temporary file's name, another one in each run.
            raise ValueError(str(error).partition("\n")[0]) from error


def by_astropy(packed: Packed, window: tuple[slice, ...]) -> np.ndarray:
    """Return the pixels of a window, decoded by astropy."""
    with fits.open(io.BytesIO(b"".join(packed.content)), memmap=False) as hdus:
        return hdus[1].section[window]


@contextmanager
def _named(content: list[bytes]) -> Iterator[str]:
    """Give a file of this content a name in which CFITSIO sees no syntax, in a private folder that is gone afterwards.

    A name is the only thing that fitsio opens. It is never used twice: CFITSIO takes files of the same name for one.
    """
    parent = tempfile.gettempdir()
    parent = parent if _PLAIN.fullmatch(parent) else "/tmp"
    try:
        with tempfile.TemporaryDirectory(prefix="astrosurvey-", dir=parent) as private:
            path = Path(private, "tiles.fits")
            with path.open("xb") as file:
                file.writelines(content)
            yield os.fspath(path)
    except OSError as error:
        raise DataError(f"no temporary file could be written in {parent} ({error.strerror}); try: set TMPDIR to a folder with room") from error
