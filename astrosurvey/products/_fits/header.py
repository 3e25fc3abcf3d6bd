"""The walk over a file's HDUs that checks every number which later steps trust, before anything is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil, prod
from typing import NamedTuple

from .cards import CARD, CardError, Cards
from .guard import AGAIN, BadInput, Source, escape

BLOCK = 2880
MAX_HEADER = 4 << 20
MAX_HDUS = 10_000
MAX_FILLING = 1 << 20
MAX_AXES = 9
"""More axes than this (the standard allows 999) are data of another kind, or damage."""

BITPIX = (8, 16, 32, 64, -32, -64)
_ROOM = 64 << 20
_RATIO = {"PLIO_1": 8200}
_CODECS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS")
_FORM = re.compile(r"(\d*)([LXBIJKAEDCMPQ])(\w?)")
_WIDTH = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}


@dataclass(frozen=True)
class Hdu:
    """One HDU as its header describes it, sizes checked against the file.

    Attributes:
        index: place in the file, from 0.
        name: EXTNAME; "PRIMARY" for a nameless first HDU.
        kind: "image", "compressed" (a tile-compressed image), "table", "groups" or "other".
        cards: the header.
        shape: of the image, in NumPy's order and uncompressed; of a table, (rows, bytes a row).
        bitpix: of the image, uncompressed.
        header: byte offset of the header.
        data: byte offset of the data.
        size: bytes of the data, without the filling of the last block.
    """

    index: int
    name: str
    kind: str
    cards: Cards
    shape: tuple[int, ...]
    bitpix: int
    header: int
    data: int
    size: int

    @property
    def is_image(self) -> bool:
        """Whether this is an image with pixels."""
        return self.kind in ("image", "compressed") and len(self.shape) > 0 and prod(self.shape) > 0

    def __str__(self) -> str:
        return f"{self.index} ({escape(self.name, 60)})" if self.name else str(self.index)

    @property
    def end(self) -> int:
        """Byte offset of the next HDU."""
        return self.data + ceil(self.size / BLOCK) * BLOCK


class Column(NamedTuple):
    """A column of a binary table: its number from 1, TTYPE, repeat count, letter ("PB" for a variable length), bytes in the row."""

    number: int
    name: str
    repeat: int
    form: str
    offset: int
    width: int


def scan(source: Source) -> tuple[list[Hdu], list[str]]:
    """Return all HDUs and the repairs that had to be made.

    Raises:
        BadInput: any HDU is corrupt; none is dropped silently.
    """
    hdus: list[Hdu] = []
    repairs: list[str] = []
    offset = 0
    while not hdus or source.holds(offset + 1):
        if hdus and _only_filling(source, offset, hdus[-1], repairs):
            break
        if len(hdus) == MAX_HDUS:
            raise BadInput(source.path, f"has more than {MAX_HDUS} HDUs", fix="split the file")
        hdu = _describe(source, len(hdus), offset, repairs)
        hdus.append(hdu)
        offset = hdu.end
    return hdus, repairs


def _only_filling(source: Source, offset: int, last: Hdu, repairs: list[str]) -> bool:
    """Return whether what follows the last HDU is nothing but filling; the standard allows none."""
    if source.read(offset, 8) == b"XTENSION":
        return False
    position = offset
    while block := source.read(position, BLOCK):
        if block.strip(b"\0 ") or position - offset > MAX_FILLING:
            raise BadInput(
                source.path,
                f"after HDU {last} come bytes at offset {offset} that are no HDU: this one's size is wrong, or the next header is corrupt",
                hdu=last.index + 1,
                keyword="XTENSION",
                fix=AGAIN,
            )
        position += len(block)
    repairs.append(f"{position - offset} bytes of filling after the last HDU ignored")
    return True


def _describe(source: Source, index: int, offset: int, repairs: list[str]) -> Hdu:
    raw, data = _read_header(source, index, offset, repairs)
    cards = Cards(raw)
    if cards.impure:
        repairs.append(f"HDU {index}: bytes that FITS forbids in a header read as '?'")
    try:
        hdu = _checked(cards, index, offset, data, repairs)
    except CardError as error:
        raise BadInput(source.path, error.reason, hdu=index, keyword=error.keyword, fix=AGAIN) from error
    if hdu.size and not source.holds(data + hdu.size):
        raise BadInput(
            source.path,
            f"is cut short: its data need {hdu.size} bytes from offset {data}, the file ends at {source.size}",
            hdu=hdu,
            fix=AGAIN,
        )
    if not source.holds(hdu.end):
        repairs.append(f"HDU {hdu}: the last block is not filled up to {BLOCK} bytes")
    return hdu


def _read_header(source: Source, index: int, offset: int, repairs: list[str]) -> tuple[bytes, int]:
    """Return the header's cards in front of END, and the offset behind its last block."""
    blocks: list[bytes] = []
    while len(blocks) * BLOCK < MAX_HEADER:
        block = source.read(offset + len(blocks) * BLOCK, BLOCK)
        for start in range(0, len(block) - CARD + 1, CARD):
            if block[start : start + 8] == b"END     ":
                if block[start + 8 : start + CARD].strip(b" "):
                    repairs.append(f"HDU {index}: text behind END ignored")
                if len(block) < BLOCK:
                    repairs.append(f"HDU {index}: the header's last block is not filled up to {BLOCK} bytes")
                return b"".join(blocks) + block[:start], offset + (len(blocks) + 1) * BLOCK
        if len(block) < BLOCK:
            raise BadInput(
                source.path,
                "the header is cut short: the file ends before END",
                hdu=index,
                keyword="END",
                fix=AGAIN,
            )
        blocks.append(block)
    raise BadInput(source.path, f"no END within {MAX_HEADER} bytes of header", hdu=index, keyword="END", fix=AGAIN)


def _checked(cards: Cards, index: int, offset: int, data: int, repairs: list[str]) -> Hdu:
    first = "XTENSION" if index else "SIMPLE"
    _require_order(cards, first)
    kind = cards.text(first) if index else "IMAGE"
    if not index and cards.get("SIMPLE") is not True:
        raise CardError("SIMPLE", "must be T: the file says of itself that it is no standard FITS")
    if index and not kind:
        raise CardError("XTENSION", "must be a string such as 'IMAGE'")
    bitpix = cards.integer("BITPIX")
    if bitpix not in BITPIX:
        raise CardError("BITPIX", f"must be one of {', '.join(map(str, BITPIX))}, not {bitpix}")
    axes = _axes(cards, "NAXIS")
    groups = not index and cards.text("GROUPS") == "True" and bool(axes) and axes[0] == 0
    pcount, gcount = _counts(cards, index, groups, repairs)
    size = abs(bitpix) // 8 * gcount * (pcount + prod(axes[1:] if groups else axes)) if axes else 0
    name = cards.text("EXTNAME") or ("" if index else "PRIMARY")
    shape, family = tuple(reversed(axes)), "image"
    if groups:
        family = "groups"
    elif kind == "BINTABLE":
        family, shape = "table", (axes[1], axes[0]) if len(axes) == 2 else ()
        if not shape or bitpix != 8:
            raise CardError("NAXIS" if not shape else "BITPIX", "a binary table has BITPIX = 8 and two axes")
        if cards.text("ZIMAGE") == "True":
            family = "compressed"
            bitpix, shape = _compressed(cards, shape, size, pcount)
    elif kind not in ("IMAGE", "IUEIMAGE"):
        family = "other"
    return Hdu(index, name, family, cards, shape, bitpix, offset, data, size)


def _require_order(cards: Cards, first: str) -> None:
    """Raise unless the mandatory cards stand at the head, where every reader looks for them."""
    expected = [first, "BITPIX", "NAXIS"]
    for place, keyword in enumerate(expected):
        if len(cards.order) <= place or cards.order[place] != keyword:
            found = escape(cards.order[place]) if len(cards.order) > place else "the header's end"
            raise CardError(keyword, f"must be card {place + 1} of the header; {found} stands there")


def _axes(cards: Cards, keyword: str) -> list[int]:
    count = cards.integer(keyword)
    if not 0 <= count <= MAX_AXES:
        raise CardError(keyword, f"must be between 0 and {MAX_AXES}, not {count}")
    axes = [cards.integer(f"{keyword}{n}") for n in range(1, count + 1)]
    for n, length in enumerate(axes, 1):
        if length < 0:
            raise CardError(f"{keyword}{n}", f"must not be negative, but is {length}")
    if f"{keyword}{count + 1}" in cards:
        raise CardError(keyword, f"is {count}, but there is a card {keyword}{count + 1}")
    return axes


def _counts(cards: Cards, index: int, groups: bool, repairs: list[str]) -> tuple[int, int]:
    if not index and not groups:
        return 0, 1
    for keyword in ("PCOUNT", "GCOUNT"):
        if keyword not in cards:
            repairs.append(f"HDU {index}: {keyword} is missing; {'0' if keyword == 'PCOUNT' else '1'} assumed")
    pcount, gcount = cards.integer("PCOUNT", 0), cards.integer("GCOUNT", 1)
    for keyword, value, least in (("PCOUNT", pcount, 0), ("GCOUNT", gcount, 1)):
        if value < least:
            raise CardError(keyword, f"must be at least {least}, not {value}")
    return pcount, gcount


def _compressed(cards: Cards, table: tuple[int, ...], size: int, pcount: int) -> tuple[int, tuple[int, ...]]:
    """Check a tile-compressed image's header and return its (BITPIX, shape) uncompressed."""
    codec = cards.text("ZCMPTYPE")
    if codec not in _CODECS:
        raise CardError("ZCMPTYPE", f"must be one of {', '.join(_CODECS)}, not {escape(codec)!r}")
    bitpix = cards.integer("ZBITPIX")
    if bitpix not in BITPIX:
        raise CardError("ZBITPIX", f"must be one of {', '.join(map(str, BITPIX))}, not {bitpix}")
    axes = _axes(cards, "ZNAXIS")
    if not axes:
        raise CardError("ZNAXIS", "must be at least 1")
    tiles = [cards.integer(f"ZTILE{n}", axes[0] if n == 1 else 1) for n in range(1, len(axes) + 1)]
    for n, length in enumerate(tiles, 1):
        if length < 1:
            raise CardError(f"ZTILE{n}", f"must be at least 1, not {length}")
    rows = prod(ceil(length / tile) for length, tile in zip(axes, tiles, strict=True))
    if rows != table[0]:
        raise CardError("NAXIS2", f"must be {rows}, one row for each tile, not {table[0]}")
    cap = _ROOM + _RATIO.get(codec, 1100) * size
    if prod(axes) * abs(bitpix) // 8 > cap:
        raise CardError("ZNAXIS", f"declares {prod(axes) * abs(bitpix) // 8} bytes, more than {codec} can hold in {size} bytes")
    _check_columns(cards, table)
    start = cards.integer("THEAP", prod(table))
    if not prod(table) <= start <= prod(table) + pcount:
        raise CardError("THEAP", f"must be between {prod(table)} and {prod(table) + pcount}, not {start}")
    return bitpix, tuple(reversed(axes))


def _check_columns(cards: Cards, table: tuple[int, ...]) -> None:
    found = columns(cards)
    width = sum(column.width for column in found)
    if width != table[1]:
        raise CardError("NAXIS1", f"is {table[1]}, but the columns are {width} bytes wide")
    if all(column.name != "COMPRESSED_DATA" for column in found):
        raise CardError("TTYPE1", "a tile-compressed image needs the column COMPRESSED_DATA")


def columns(cards: Cards, most: int = 99) -> list[Column]:
    """Return the columns of a binary table, in the order of the row's bytes.

    Args:
        cards: the table's header.
        most: how many there may be; the standard allows 999, but a tile-compressed image needs few.

    Raises:
        CardError: TFIELDS or a TFORM cannot be understood.
    """
    fields = cards.integer("TFIELDS")
    if not 1 <= fields <= most:
        raise CardError("TFIELDS", f"must be between 1 and {most}, not {fields}")
    found: list[Column] = []
    offset = 0
    for n in range(1, fields + 1):
        form = _FORM.match(cards.text(f"TFORM{n}").strip())
        if not form:
            raise CardError(f"TFORM{n}", f"is no column format: {escape(cards.text(f'TFORM{n}'))!r}")
        count, kind = int(form[1] or 1), form[2]
        width = (count + 7) // 8 if kind == "X" else count * _WIDTH[kind]
        name = cards.text(f"TTYPE{n}").strip().upper()
        found.append(Column(n, name, count, kind + (form[3] if kind in "PQ" else ""), offset, width))
        offset += width
    return found
