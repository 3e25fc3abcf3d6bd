"""FITS checksums: the 32-bit ones' complement sum and its ASCII form (FITS standard 4.0, appendix J)."""

from __future__ import annotations

import numpy as np

from .cards import CARD, CardError
from .guard import Source
from .header import BLOCK, Hdu

_ALL = 0xFFFFFFFF
_CHUNK = 1 << 20
_EXCLUDED = frozenset(b":;<=>?@[\\]^_`")


def ones_sum(data: bytes | memoryview, total: int = 0) -> int:
    """Return the ones' complement sum of big-endian 32-bit words; `data` is filled up with zeros."""
    raw = memoryview(data).cast("B")
    whole = len(raw) // 4 * 4
    total += int(np.frombuffer(raw[:whole], dtype=">u4").sum(dtype=np.uint64))
    if whole < len(raw):
        total += int.from_bytes(bytes(raw[whole:]).ljust(4, b"\0"), "big")
    while total > _ALL:
        total = (total & _ALL) + (total >> 32)
    return total


def encode(total: int) -> str:
    """Return the 16 characters that, as CHECKSUM's value, bring an HDU's sum to minus zero.

    Args:
        total: the sum of the HDU with CHECKSUM set to sixteen zeros.
    """
    value = _ALL - total
    columns = np.zeros((4, 4), np.int64)
    for place in range(4):
        byte = value >> (24 - 8 * place) & 0xFF
        quarter, rest = divmod(byte, 4)
        letters = [quarter + rest + 0x30, quarter + 0x30, quarter + 0x30, quarter + 0x30]
        while any(letter in _EXCLUDED for letter in letters):
            # Moving a letter up and its neighbour down leaves the sum as it is.
            for first in (0, 2):
                if letters[first] in _EXCLUDED or letters[first + 1] in _EXCLUDED:
                    letters[first] += 1
                    letters[first + 1] -= 1
        columns[:, place] = letters
    text = "".join(chr(int(c)) for c in columns.reshape(-1))
    return text[-1] + text[:-1]


def verify(source: Source, hdu: Hdu, repairs: list[str]) -> None:
    """Check an HDU's DATASUM and CHECKSUM where it has them.

    A wrong DATASUM means damaged pixels and is an error. A wrong CHECKSUM over sound data means that a
    header card was edited afterwards, which many tools do: a repair note.

    Raises:
        CardError: DATASUM disagrees with the data.
    """
    declared, checksum = hdu.cards.text("DATASUM"), hdu.cards.text("CHECKSUM")
    if not declared.isdigit() and not checksum:
        return
    size = min(hdu.end, source.size) - hdu.data
    total = _sum(source, hdu.data, size)
    if declared.isdigit() and int(declared) != total and not (int(declared) in (0, _ALL) and total in (0, _ALL)):
        raise CardError("DATASUM", f"is {declared}, but the data sum to {total}: the pixels were damaged or changed")
    if checksum and _sum(source, hdu.header, hdu.data - hdu.header, total) not in (0, _ALL):
        if not declared.isdigit():
            raise CardError("CHECKSUM", "disagrees with the HDU: it was damaged or changed")
        repairs.append(f"HDU {hdu}: CHECKSUM disagrees while DATASUM is right; the header was changed after it was written")


def _sum(source: Source, offset: int, size: int, total: int = 0) -> int:
    buffer = memoryview(bytearray(min(_CHUNK, max(size, 1))))
    for start in range(0, size, _CHUNK):
        part = buffer[: min(_CHUNK, size - start)]
        source.read_into(offset + start, part)
        total = ones_sum(part, total)
    return total


def stamp(header: str, data_sum: int) -> str:
    """Return a header, its DATASUM and CHECKSUM cards filled in, as text that fills whole blocks.

    Args:
        header: cards of 80 characters, without END.
        data_sum: the sum of the data unit.
    """
    cards = header + _card("DATASUM", str(data_sum), "sum of the data") + _card("CHECKSUM", "0" * 16, "makes the HDU sum to -0")
    text = (cards + "END".ljust(CARD)).ljust(-(-(len(cards) + CARD) // BLOCK) * BLOCK)
    total = ones_sum(text.encode("ascii"), data_sum)
    return text.replace(_card("CHECKSUM", "0" * 16, "makes the HDU sum to -0"), _card("CHECKSUM", encode(total), "makes the HDU sum to -0"))


def _card(keyword: str, value: str, comment: str) -> str:
    quoted = f"'{value:8}'"
    return f"{keyword:8}= {quoted:20} / {comment}".ljust(CARD)  # spaced as astropy does, which sums up its own rendering of it
