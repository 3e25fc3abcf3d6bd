"""The stored tiles of a window, checked and packed into a small FITS file of our own that decoders may trust.

A decoder never sees the user's file: neither its name, nor its other HDUs, nor a card that is not checked
here. What it gets holds the very bytes that were checked, so nobody can change them in between.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np

from .cards import CardError
from .guard import Source, escape
from .header import BLOCK, Column, Hdu, columns
from .streams import BadStream, checked
from .wcs import card

_SIZES = {"B": 1, "I": 2, "J": 4, "E": 4, "D": 8}
_FORMS = {
    "COMPRESSED_DATA": "BIJED",
    "GZIP_COMPRESSED_DATA": "B",
    "UNCOMPRESSED_DATA": "BIJED",
    "ZSCALE": "ED",
    "ZZERO": "ED",
    "ZBLANK": "BIJ",
}
_DITHERS = ("SUBTRACTIVE_DITHER_1", "SUBTRACTIVE_DITHER_2")
_SEEDS = 10_000
_PARAMETERS: dict[str, dict[str, tuple[int, ...]]] = {
    "RICE_1": {"BLOCKSIZE": (32, 16), "BYTEPIX": (4, 2, 1)},
    "HCOMPRESS_1": {"SCALE": (), "SMOOTH": (0, 1)},
}
"""What decoders read of ZNAMEn and ZVALn: the values allowed, the default first; none named means any."""


class Packed(NamedTuple):
    """The tiles of a window, as a file in which the image's other tiles are empty.

    Attributes:
        content: the FITS file in pieces: an empty primary HDU, then the image.
        codec: ZCMPTYPE; "RICE_1" also for its old name.
        parameters: what ZNAMEn and ZVALn say of the codec.
        forms: name of each column -> format letters, such as "PB".
        tiles: how many there are.
    """

    content: list[bytes]
    codec: str
    parameters: dict[str, float]
    forms: dict[str, str]
    tiles: int


def pack(source: Source, hdu: Hdu, window: list[tuple[int, int]]) -> Packed:
    """Return the tiles that touch a window.

    Args:
        source: the file.
        hdu: its tile-compressed HDU.
        window: (first, last) of each axis, half-open, in NumPy's order.

    Raises:
        CardError: a tile's bytes are not inside the HDU or would lead a decoder astray, or a card that decoders trust is wrong.
    """
    cards, shape = hdu.cards, hdu.shape
    tile = [cards.integer(f"ZTILE{n}", shape[-1] if n == 1 else 1) for n in range(len(shape), 0, -1)]
    grid = [ceil(n / t) for n, t in zip(shape, tile, strict=True)]
    touched = [np.arange(first // t, (last - 1) // t + 1) for (first, last), t in zip(window, tile, strict=True)]
    numbers = np.ravel_multi_index(np.meshgrid(*touched, indexing="ij"), grid).reshape(-1)
    tile = [min(pair) for pair in zip(tile, shape, strict=True)]
    codec = "RICE_1" if cards.text("ZCMPTYPE") == "RICE_ONE" else cards.text("ZCMPTYPE")
    parameters = _parameters(hdu, codec)
    kept = _kept_columns(hdu)
    rows, heap = _Tiles(source, hdu, codec, parameters, tile).packed(kept, numbers)
    used = sum(map(len, heap))

    head = [card("XTENSION", "BINTABLE"), card("BITPIX", 8), card("NAXIS", 2), card("NAXIS1", rows.shape[1]), card("NAXIS2", len(rows))]
    head += [card("PCOUNT", used), card("GCOUNT", 1), card("TFIELDS", len(kept))]
    for n, column in enumerate(kept, 1):
        head += [card(f"TTYPE{n}", column.name), card(f"TFORM{n}", f"1{column.form}")]
    head += [card("ZIMAGE", True), card("ZCMPTYPE", codec), card("ZBITPIX", hdu.bitpix), card("ZNAXIS", len(shape))]
    for n, (length, size) in enumerate(zip(reversed(shape), reversed(tile), strict=True), 1):
        head += [card(f"ZNAXIS{n}", length), card(f"ZTILE{n}", size)]
    for n, (name, value) in enumerate(parameters.items(), 1):
        head += [card(f"ZNAME{n}", name), card(f"ZVAL{n}", value)]
    primary = [card("SIMPLE", True), card("BITPIX", 8), card("NAXIS", 0), card("EXTEND", True)]
    start = _header(primary) + _header(head + _scaling(hdu)) + rows.tobytes()
    content = [start, *heap, bytes(-(len(start) + used) % BLOCK)]
    return Packed(content, codec, parameters, {column.name: column.form for column in kept}, len(numbers))


def _header(cards: list[str]) -> bytes:
    text = "".join([*cards, "END".ljust(80)])
    return text.ljust(ceil(len(text) / BLOCK) * BLOCK).encode("ascii")


def _kept_columns(hdu: Hdu) -> list[Column]:
    """Return the columns that decoders read; ZBLANK of integers is no business of theirs."""
    kept = [c for c in columns(hdu.cards) if c.name in _FORMS and (hdu.bitpix < 0 or c.name.endswith("DATA"))]
    for column in kept:
        lengths, letters = ("PQ", column.form[1:]) if column.name.endswith("DATA") else ("", column.form)
        if column.repeat != 1 or (lengths and column.form[0] not in lengths) or not letters or letters not in _FORMS[column.name]:
            form = escape(hdu.cards.text(f"TFORM{column.number}"))
            raise CardError(f"TFORM{column.number}", f"the column {column.name} cannot have the form {form!r}")
    if len({column.name for column in kept}) != len(kept):
        raise CardError("TTYPE1", "a column of tiles stands twice")
    return kept


def _parameters(hdu: Hdu, codec: str) -> dict[str, float]:
    """Return the codec's parameters, with the defaults of the FITS standard."""
    known = _PARAMETERS.get(codec, {})
    found: dict[str, float] = {name: allowed[0] for name, allowed in known.items() if allowed}
    for keyword, _ in hdu.cards.matching(re.compile(r"ZNAME\d+")):
        name, number = hdu.cards.text(keyword).upper(), keyword.removeprefix("ZNAME")
        if name not in known:
            continue
        value, allowed = hdu.cards.number(f"ZVAL{number}"), known[name]
        if allowed and value not in allowed:
            raise CardError(f"ZVAL{number}", f"{name} must be one of {', '.join(map(str, sorted(allowed)))}, not {value:g}")
        found[name] = int(value) if value.is_integer() else value
    return found


def _scaling(hdu: Hdu) -> list[str]:
    """Return the cards by which quantised floats are restored."""
    if hdu.bitpix > 0:
        return []
    cards = hdu.cards
    method = cards.text("ZQUANTIZ")
    if method not in ("", "NONE", "NO_DITHER", *_DITHERS):
        raise CardError("ZQUANTIZ", f"must be NO_DITHER, {' or '.join(_DITHERS)}, not {escape(method)!r}")
    kept = [card("ZQUANTIZ", method)] if method else []
    if method in _DITHERS:
        seed = cards.integer("ZDITHER0")
        if not 1 <= seed <= _SEEDS:
            raise CardError("ZDITHER0", f"must be between 1 and {_SEEDS}, not {seed}")
        kept.append(card("ZDITHER0", seed))
    kept += [card(k, cards.number(k)) for k in ("ZSCALE", "ZZERO") if cards.get(k) is not None]
    return kept + ([card("ZBLANK", cards.integer("ZBLANK"))] if cards.get("ZBLANK") is not None else [])


class _Tiles(NamedTuple):
    source: Source
    hdu: Hdu
    codec: str
    parameters: Mapping[str, float]
    tile: Sequence[int]

    def packed(self, kept: list[Column], numbers: np.ndarray) -> tuple[np.ndarray, list[bytes]]:
        """Return the table's rows (row, byte), empty but for `numbers` and with new places, and the heap they point to."""
        count, width = self.hdu.cards.integer("NAXIS2"), self.hdu.cards.integer("NAXIS1")
        table = np.frombuffer(self.source.read(self.hdu.data, count * width), np.uint8).reshape(count, width)
        parts: list[np.ndarray] = []
        heap: list[bytes] = []
        used = 0
        for column in kept:
            part = np.zeros((count, column.width), np.uint8)
            part[numbers] = table[numbers, column.offset : column.offset + column.width]
            parts.append(part)
            if column.form[0] in "PQ":
                pairs = part.view(">i8" if column.form[0] == "Q" else ">i4")  # (row, [number of elements, byte offset in the heap])
                pieces = self._pieces(column, numbers, pairs[numbers].astype(np.int64))
                size = _SIZES[column.form[1]]
                lengths = np.array([len(piece) for piece in pieces], np.int64)
                pairs[numbers] = np.stack([lengths // size, used + np.cumsum(lengths) - lengths], axis=1)
                used += int(lengths.sum())
                heap += pieces
        return np.concatenate(parts, axis=1), heap

    def _pieces(self, column: Column, numbers: np.ndarray, pairs: np.ndarray) -> list[bytes]:
        """Return the bytes of each tile in a column; none where (length, place) is (0, anything)."""
        cards, size = self.hdu.cards, _SIZES[column.form[1]]
        start = cards.integer("THEAP", cards.integer("NAXIS1") * cards.integer("NAXIS2"))
        room = self.hdu.size - start
        codec, parameters = (self.codec, self.parameters) if column.name == "COMPRESSED_DATA" else ("", {})
        if column.name == "GZIP_COMPRESSED_DATA":
            codec, parameters = "GZIP_FLOATS", {"SIZE": abs(self.hdu.bitpix) // 8}
        left = room
        pieces = []
        for number, (length, place) in zip(numbers.tolist(), pairs.tolist(), strict=True):
            if length and (length < 0 or place < 0 or place + length * size > room):
                raise CardError(column.name, f"tile {number} lies outside the HDU's {room} bytes of heap")
            left -= length * size
            if left < 0:
                raise CardError(column.name, f"tile {number} and others share bytes of the heap")
            piece = self.source.read(self.hdu.data + start + place, length * size) if length else b""
            try:
                pieces.append(checked(codec, piece, self._pixels(number), parameters) if piece else piece)
            except BadStream as error:
                raise CardError(column.name, f"tile {number} {error}") from error
        return pieces

    def _pixels(self, number: int) -> int:
        """Return how many pixels a tile has; fewer at the far edges of the image."""
        pixels = 1
        for length, size in zip(reversed(self.hdu.shape), reversed(self.tile), strict=True):
            number, place = divmod(number, ceil(length / size))
            pixels *= min(size, length - place * size)
        return pixels
