"""Windows of tile-compressed images, decoded by CFITSIO, or by astropy where CFITSIO cannot be trusted or cannot do it."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

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
    """Return whether CFITSIO is to decode this: RICE, which it does best, and which cannot lead it astray once it is checked.

    Cut GZIP tiles make it loop for ever, HCOMPRESS and PLIO have a history of memory errors. Many tiles are
    left to astropy, which takes longer to begin but half the time for each, and gives the same values.
    """
    if packed.codec != "RICE_1" or packed.forms["COMPRESSED_DATA"][1] != "B" or "UNCOMPRESSED_DATA" in packed.forms:
        return False
    if hdu.bitpix == 64 or len(hdu.shape) > _MOST_AXES or packed.parameters["BYTEPIX"] != min(abs(hdu.bitpix) // 8, 4):
        return False
    return packed.tiles <= _MANY_TILES


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
    """Give a new file of this content a name in which CFITSIO sees no syntax; it is gone afterwards.

    A name is the only thing that fitsio opens. It is never used twice: CFITSIO takes files of the same name for one.
    """
    parent = tempfile.gettempdir()
    parent = parent if _PLAIN.fullmatch(parent) else "/tmp"
    try:
        with tempfile.NamedTemporaryFile(prefix="astrosurvey-", suffix=".fits", dir=parent) as file:  # only we may read it
            file.writelines(content)
            file.flush()
            yield file.name
    except OSError as error:
        raise DataError(
            f"no temporary file could be written in {parent} ({error.strerror}); try: set TMPDIR to a folder with room"
        ) from error
