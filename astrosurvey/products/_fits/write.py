"""FITS files with the same bytes for the same content: no dates, all digits, checksums in every HDU."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .checksum import ones_sum, stamp
from .header import BLOCK
from .wcs import card

TILE = 256
"""Edge of the tiles of a compressed plane: a cut-out then touches few of them."""

_CHUNK = 1 << 20
_BITPIX = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}


@dataclass(frozen=True)
class Plane:
    """One image extension to write.

    Attributes:
        name: EXTNAME, such as "SCI".
        data: uint8, int16, int32, int64, float32 or float64.
        cards: more header cards, 80 characters each.
        compress: store it tile-compressed (RICE, lossless); integers only.
    """

    name: str
    data: np.ndarray
    cards: Sequence[str] = ()
    compress: bool = False


@dataclass(frozen=True)
class Table:
    """One binary table extension to write.

    Attributes:
        name: EXTNAME.
        rows: a structured array; text columns are bytes ("S").
        cards: more header cards, 80 characters each.
    """

    name: str
    rows: np.ndarray
    cards: Sequence[str] = ()


def write_fits(path: Path, primary: Sequence[str], extensions: Sequence[Plane | Table]) -> None:
    """Write a new FITS file; an existing one is not overwritten.

    Args:
        path: where; nothing in the name has a meaning.
        primary: cards of the primary HDU, which holds no data.
        extensions: the HDUs behind it, in order.
    """
    with open(path, "xb") as file:
        head = [card("SIMPLE", True), card("BITPIX", 8), card("NAXIS", 0), card("EXTEND", True), card("NEXTEND", len(extensions)), *primary]
        file.write(stamp("".join(head), 0).encode("ascii"))
        for extension in extensions:
            if isinstance(extension, Table):
                _write_table(file, extension)
            elif extension.compress:
                _write_compressed(file, extension)
            else:
                _write_plain(file, extension)


def _write_plain(file: BinaryIO, plane: Plane) -> None:
    data = np.ascontiguousarray(plane.data)
    big = data.dtype.newbyteorder(">")
    head = [card("XTENSION", "IMAGE"), card("BITPIX", _BITPIX[data.dtype.str[1:]]), card("NAXIS", data.ndim)]
    head += [card(f"NAXIS{n}", length) for n, length in enumerate(reversed(data.shape), 1)]
    head += [card("PCOUNT", 0), card("GCOUNT", 1), card("EXTNAME", plane.name), *plane.cards]
    text = "".join(head)
    start = file.tell()
    file.write(bytes(len(stamp(text, 0))))  # the header's place: its DATASUM is known when the data are written
    flat = data.reshape(-1)
    step = _CHUNK // data.dtype.itemsize
    total = 0
    for first in range(0, flat.size, step):
        part = flat[first : first + step].astype(big)
        raw = part.view(np.uint8).data
        total = ones_sum(raw, total)
        file.write(raw)
    _fill(file, data.nbytes)
    file.seek(start)
    file.write(stamp(text, total).encode("ascii"))
    file.seek(0, os.SEEK_END)


def _write_compressed(file: BinaryIO, plane: Plane) -> None:
    from astropy.io import fits

    tile = (1,) * (plane.data.ndim - 2) + tuple(min(TILE, n) for n in plane.data.shape[-2:])
    compressed = fits.CompImageHDU(np.ascontiguousarray(plane.data), compression_type="RICE_1", tile_shape=tile)
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), compressed]).writeto(buffer)
    raw = buffer.getvalue()[BLOCK:]
    header = fits.Header.fromstring(raw[: raw.index(b"END".ljust(80)) + 80])
    header.remove("EXTNAME", ignore_missing=True)
    start = ceil((raw.index(b"END".ljust(80)) + 80) / BLOCK) * BLOCK
    size = header["NAXIS1"] * header["NAXIS2"] + header["PCOUNT"]
    text = "".join(str(c).ljust(80) for c in header.cards) + card("EXTNAME", plane.name) + "".join(plane.cards)
    _write_payload(file, text, raw[start : start + size])


def _write_table(file: BinaryIO, table: Table) -> None:
    head = [card("XTENSION", "BINTABLE"), card("BITPIX", 8), card("NAXIS", 2)]
    head += [card("NAXIS1", table.rows.dtype.itemsize), card("NAXIS2", len(table.rows)), card("PCOUNT", 0), card("GCOUNT", 1)]
    fields: dict[str, tuple[Any, ...]] = dict(table.rows.dtype.fields or {})
    head.append(card("TFIELDS", len(fields)))
    for n, (name, (dtype, *_)) in enumerate(fields.items(), 1):
        form = f"{dtype.itemsize}A" if dtype.kind == "S" else {"i4": "J", "i8": "K", "f4": "E", "f8": "D"}[dtype.str[1:]]
        head += [card(f"TTYPE{n}", name), card(f"TFORM{n}", form)]
    big = np.dtype([(name, dtype if dtype.kind == "S" else dtype.newbyteorder(">")) for name, (dtype, *_) in fields.items()])
    _write_payload(file, "".join([*head, card("EXTNAME", table.name), *table.cards]), table.rows.astype(big).tobytes())


def _write_payload(file: BinaryIO, text: str, payload: bytes) -> None:
    file.write(stamp(text, ones_sum(payload)).encode("ascii"))
    file.write(payload)
    _fill(file, len(payload))


def _fill(file: BinaryIO, size: int) -> None:
    file.write(bytes(-size % BLOCK))
