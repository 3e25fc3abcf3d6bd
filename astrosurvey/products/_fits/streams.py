"""Stored tiles are checked before C code decodes them: each of the decoders believes something that a file can lie about.

CFITSIO's RICE decoder, which astropy has too, looks only after a block whether it has run over the end of its
input, and a run of zeros can take it as far as the next unmapped page. Its HCOMPRESS decoder does not know
where its input ends, and believes the tile about its own size. PLIO's believes the tile about its length.
A GZIP stream that is cut short makes CFITSIO loop for ever; astropy inflates one without a limit.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numba
import numpy as np

_SUSPECT = 512 << 20
_GZIP_RATIO = 1032
_RICE = {1: (3, 6), 2: (4, 14), 4: (5, 25)}
_HCOMPRESS_HEAD = ">2siiiq3B"
_LEADING_ZEROS = np.array([8 - int(byte).bit_length() for byte in range(256)], np.int64)


class BadStream(ValueError):
    """A stored tile that no decoder must see."""


def checked(codec: str, piece: bytes, pixels: int, parameters: Mapping[str, float]) -> bytes:
    """Return a stored tile as a decoder may have it.

    Args:
        codec: ZCMPTYPE, or "GZIP_FLOATS" for floats that were not quantised in an image of those that were.
        piece: the tile's bytes.
        pixels: how many pixels it must hold.
        parameters: of the codec; of "GZIP_FLOATS", SIZE is the bytes of a pixel.

    Raises:
        BadStream: decoding would read or write where it must not, or never end.
    """
    check = _CHECKS.get(codec)
    return check(piece, pixels, parameters) if check else piece


def _rice(piece: bytes, pixels: int, parameters: Mapping[str, float]) -> bytes:
    size = int(parameters["BYTEPIX"])
    stream = np.frombuffer(piece, np.uint8)
    if not rice_is_whole(stream, pixels, int(parameters["BLOCKSIZE"]), 8 * size, *_RICE[size]):
        raise BadStream(f"is no RICE stream of {pixels} pixels: it is damaged or cut short")
    return piece


def _gzip(piece: bytes, pixels: int, parameters: Mapping[str, float]) -> bytes:
    most = 8 * pixels  # no pixel has more bytes
    if len(piece) * _GZIP_RATIO > _SUSPECT and len(zlib.decompressobj(wbits=47).decompress(piece, most + 1)) > most:
        raise BadStream(f"inflates to more than its {pixels} pixels")
    return piece


def _gzip_floats(piece: bytes, pixels: int, parameters: Mapping[str, float]) -> bytes:
    size = int(parameters["SIZE"]) * pixels
    inflater = zlib.decompressobj(wbits=47)
    try:
        inflated = inflater.decompress(piece, size + 1)
    except zlib.error as error:
        raise BadStream(f"is no GZIP stream: {error}") from error
    if not inflater.eof or len(inflated) != size:
        raise BadStream(f"is no GZIP stream of {pixels} pixels: it is damaged or cut short")
    return piece


def _hcompress(piece: bytes, pixels: int, parameters: Mapping[str, float]) -> bytes:
    """Check the head, and add what ends the decoding of a bit plane that runs over the end: 5 is no plane's first nybble."""
    head = struct.calcsize(_HCOMPRESS_HEAD)
    magic, nx, ny, _, _, *planes = struct.unpack(_HCOMPRESS_HEAD, piece[:head]) if len(piece) >= head else (b"", 0, 0, 0, 0, 64)
    if magic != b"\xdd\x99" or nx < 1 or ny < 1 or nx * ny > pixels or max(planes) >= 64:
        raise BadStream(f"does not begin as an HCOMPRESS stream of at most {pixels} pixels")
    return piece + b"\x55" * (2 * pixels + 64)


def _plio(piece: bytes, pixels: int, parameters: Mapping[str, float]) -> bytes:
    words = np.frombuffer(piece[: len(piece) // 2 * 2], ">i2").astype(np.int64)
    start, length = 3, int(words[2]) if len(words) > 2 else 0
    if length <= 0 and len(words) > 4:
        start, length = int(words[1]), (int(words[4]) << 15) + int(words[3])
    if not 0 <= start <= length <= len(words) or length < 3:
        raise BadStream("is no PLIO line list, or it is cut short")
    return piece


_CHECKS: dict[str, Callable[[bytes, int, Mapping[str, float]], bytes]] = {
    "RICE_1": _rice,
    "GZIP_1": _gzip,
    "GZIP_2": _gzip,
    "GZIP_FLOATS": _gzip_floats,
    "HCOMPRESS_1": _hcompress,
    "PLIO_1": _plio,
}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # nowhere to keep compiled code: an installation that cannot be written to, and no home
        return numba.njit(nogil=True)(function)


@_compiled
def rice_is_whole(stream: np.ndarray, pixels: int, block: int, width: int, selector: int, direct: int) -> bool:
    """Return whether a RICE stream has the codes of all its pixels, without working them out.

    Args:
        stream: (byte,) uint8.
        pixels: how many pixels it must hold.
        block: pixels that share one selector.
        width: bits of a pixel as the codec sees it.
        selector: bits of the number in front of each block that says how it is coded.
        direct: the selector, less one, of a block that is not coded.

    References:
        Rice, Yeh & Miller (1993); White et al., the tiled image convention (FITS standard 4.0, section 10.4.1).
    """
    end = 8 * stream.size
    bit = width  # the first pixel stands in front as it is
    left = pixels
    if bit >= end:
        return False
    while left > 0:
        if bit + selector > end:
            return False
        pair = stream[bit >> 3] << 8
        if (bit >> 3) + 1 < stream.size:
            pair |= stream[(bit >> 3) + 1]
        kind = ((pair >> (16 - (bit & 7) - selector)) & ((1 << selector) - 1)) - 1
        bit += selector
        count = min(block, left)
        left -= count
        if kind > direct:
            return False
        if kind == direct:
            bit += count * width
        elif kind >= 0:
            for _ in range(count):
                place = bit >> 3
                if place >= stream.size:
                    return False
                byte = stream[place] & (0xFF >> (bit & 7))
                while byte == 0:
                    place += 1
                    if place >= stream.size:
                        return False
                    byte = stream[place]
                bit = 8 * place + _LEADING_ZEROS[byte] + 1 + kind
        if bit > end:
            return False
    return True
