"""Tile-compressed images: their stored tiles are checked against the heap, then astropy decodes the window."""

from __future__ import annotations

import io
import os
import struct
import zlib
from math import ceil, prod
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from .cards import CardError
from .guard import BadInput, Source
from .header import Hdu

_SUSPECT = 512 << 20
_GZIP_RATIO = 1032


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
        BadInput: a tile's bytes are not inside the file, or would inflate beyond the tile.
    """
    y0, y1, x0, x1 = box
    leading = np.unravel_index(plane, hdu.shape[:-2]) if len(hdu.shape) > 2 else ()
    window = [(int(i), int(i) + 1) for i in leading] + [(y0, y1), (x0, x1)][2 - min(len(hdu.shape), 2) :]
    _check_tiles(source, hdu, window)
    source.file.seek(0)
    with (
        io.FileIO(os.dup(source.file.fileno()), "rb") as handle,
        fits.open(handle, mode="readonly", memmap=False, lazy_load_hdus=True, do_not_scale_image_data=True) as hdus,
    ):
        opened = hdus[hdu.index]
        if not isinstance(opened, fits.CompImageHDU):
            raise BadInput(source.path, "astropy does not take this for a tile-compressed image", hdu=hdu)
        pixels = opened.section[tuple(slice(first, last) for first, last in window)]
    return pixels.reshape(y1 - y0, x1 - x0)


def _check_tiles(source: Source, hdu: Hdu, window: list[tuple[int, int]]) -> None:
    """Check the tiles that touch the window: their place in the heap, and what decoders trust in their bytes."""
    cards = hdu.cards
    shape = hdu.shape
    tile = [cards.integer(f"ZTILE{n}", shape[-1] if n == 1 else 1) for n in range(len(shape), 0, -1)]
    grid = [ceil(n / t) for n, t in zip(shape, tile, strict=True)]
    touched = [np.arange(first // t, (last - 1) // t + 1) for (first, last), t in zip(window, tile, strict=True)]
    rows = np.ravel_multi_index(np.meshgrid(*touched, indexing="ij"), grid).reshape(-1)
    count, width = cards.integer("NAXIS2"), cards.integer("NAXIS1")
    table = np.frombuffer(source.read(hdu.data, count * width), np.uint8).reshape(count, width)[rows]
    heap = cards.integer("THEAP", count * width)
    heap_size = hdu.size - heap
    pixels = prod(min(t, n) for t, n in zip(tile, shape, strict=True))
    for name, form, offset in _descriptors(hdu):
        code = ">i8" if form[0] == "Q" else ">i4"
        pair = np.ascontiguousarray(table[:, offset : offset + 2 * np.dtype(code).itemsize]).view(code).astype(np.int64)
        size = {"B": 1, "I": 2, "J": 4, "E": 4, "D": 8}[form[1]]
        wrong = (pair < 0).any(axis=1) | (pair[:, 0] > heap_size // size) | (pair[:, 1] + pair[:, 0] * size > heap_size)
        wrong &= pair[:, 0] != 0
        if wrong.any():
            raise CardError(name, f"tile {int(rows[wrong][0])} lies outside the HDU's {heap_size} bytes of heap")
        for row, (length, place) in zip(rows, pair, strict=True):
            if length:
                stream = _Stream(name, int(row), hdu.data + heap + int(place), int(length) * size)
                _check_stream(source, hdu.cards.text("ZCMPTYPE"), stream, pixels)


def _descriptors(hdu: Hdu) -> list[tuple[str, str, int]]:
    """Return (column, "PB"-like form, byte offset in the row) of the columns of variable length."""
    found, offset = [], 0
    sizes = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
    for n in range(1, hdu.cards.integer("TFIELDS") + 1):
        form = hdu.cards.text(f"TFORM{n}").strip()
        digits = len(form) - len(form.lstrip("0123456789"))
        repeat, letters = int(form[:digits] or 1), form[digits:]
        name = hdu.cards.text(f"TTYPE{n}").strip().upper()
        if letters[0] in "PQ":
            if repeat != 1 or letters[1:2] not in ("B", "I", "J", "E", "D"):
                raise CardError(f"TFORM{n}", f"a column of tiles cannot have the form {form!r}")
            found.append((name, letters[:2], offset))
        offset += (repeat + 7) // 8 if letters[0] == "X" else repeat * sizes[letters[0]]
    return found


class _Stream(NamedTuple):
    """One stored tile: its column, number, byte offset in the file, and bytes."""

    column: str
    tile: int
    place: int
    length: int


def _check_stream(source: Source, codec: str, stream: _Stream, pixels: int) -> None:
    column, tile, place, length = stream
    if column not in ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA"):
        return
    if column == "GZIP_COMPRESSED_DATA":
        codec = "GZIP_1"
    if codec.startswith("GZIP") and length * _GZIP_RATIO > _SUSPECT:
        # The decoder inflates a tile without a limit; 8 bytes a pixel is the most that one can hold.
        inflated = zlib.decompressobj(wbits=47).decompress(source.read(place, length), pixels * 8 + 1)
        if len(inflated) > pixels * 8:
            raise CardError(column, f"tile {tile} inflates to more than its {pixels} pixels")
    if codec == "HCOMPRESS_1":
        # The decoder trusts the tile's own idea of its size when it writes.
        start = source.read(place, 14)
        magic, nx, ny = struct.unpack(">2sii", start[:10]) if len(start) == 14 else (b"", 0, 0)
        if magic != b"\xdd\x99" or nx < 1 or ny < 1 or nx * ny > pixels:
            raise CardError(column, f"tile {tile} does not begin as an HCOMPRESS stream of at most {pixels} pixels")
