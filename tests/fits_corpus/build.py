"""FITS files made byte by byte, so that anything in them can be wrong."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from astropy.io import fits

NY, NX = 32, 40
TRUTH = (np.random.default_rng(11).normal(100, 10, (NY, NX)) // 0.25 * 0.25).astype(np.float32)
"""The pixels of every sound image here; whole quarters, so that scaled integers hold them exactly."""

WCS = {
    "CTYPE1": "'RA---TAN'",
    "CTYPE2": "'DEC--TAN'",
    "CRVAL1": "150.1",
    "CRVAL2": "2.2",
    "CRPIX1": "20.5",
    "CRPIX2": "16.5",
    "CD1_1": "-7.3E-05",
    "CD1_2": "0.0",
    "CD2_1": "0.0",
    "CD2_2": "7.3E-05",
}
_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def card(keyword: str, value: str) -> str:
    return f"{keyword:8}= {value:>20}".ljust(80)


def header(cards: Sequence[str], end: bool = True) -> bytes:
    text = "".join(c[:80].ljust(80) for c in cards) + ("END".ljust(80) if end else "")
    return text.ljust(-(-len(text) // 2880) * 2880).encode("latin-1")


def pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 2880)


def image(
    changes: Mapping[str, str | None] | None = None,
    *,
    data: np.ndarray | None = TRUTH,
    extra: Sequence[str] = (),
    wcs: Mapping[str, str] = WCS,
    extension: bool = False,
    end: bool = True,
) -> bytes:
    """Return an HDU with an image: sound, but for the cards in `changes` (None leaves one out) and `extra`."""
    values: dict[str, str | None] = {"XTENSION": "'IMAGE   '"} if extension else {"SIMPLE": "T"}
    pixels = np.zeros(0, np.float32) if data is None else data
    kind = {np.dtype(v).newbyteorder("="): k for k, v in _DTYPES.items()}[pixels.dtype.newbyteorder("=")]
    values |= {"BITPIX": str(kind), "NAXIS": str(0 if data is None else pixels.ndim)}
    values |= {f"NAXIS{n}": str(length) for n, length in enumerate(reversed(pixels.shape), 1) if data is not None}
    if extension:
        values |= {"PCOUNT": "0", "GCOUNT": "1"}
    if data is not None:
        values |= {"BUNIT": "'nJy'", **wcs}
    values |= changes or {}
    cards = [card(k, v) for k, v in values.items() if v is not None]
    return header([*cards, *extra], end) + pad(pixels.astype(_DTYPES[kind]).tobytes())


def scaled(bitpix: int, scale: float = 0.25, zero: float = 0.0, blank: int | None = None) -> bytes:
    """Return TRUTH as scaled integers, with a blank corner of 3 x 3 pixels where `blank` is given."""
    raw = np.round((TRUTH.astype(float) - zero) / scale).astype(_DTYPES[bitpix])
    changes = {"BSCALE": str(scale), "BZERO": str(zero)}
    if blank is not None:
        raw[:3, :3] = blank
        changes["BLANK"] = str(blank)
    return image(changes, data=raw)


def truth_with_hole() -> np.ndarray:
    out = TRUTH.copy()
    out[:3, :3] = np.nan
    return out


def compressed(
    data: np.ndarray = TRUTH,
    *,
    codec: str = "RICE_1",
    changes: Mapping[str, str | None] | None = None,
    extra: Mapping[str, str] | None = None,
    tile: tuple[int, int] = (16, 16),
    quantize: float = 0.0,
) -> bytes:
    """Return a file with a tile-compressed image, its header cards changed afterwards; lossless unless `quantize`."""
    hdu = fits.CompImageHDU(data, compression_type=codec, tile_shape=tile, quantize_level=quantize or 16, hcomp_scale=0)
    if data.dtype.kind == "f" and not quantize:
        hdu = fits.CompImageHDU(data, compression_type="GZIP_2", tile_shape=tile, quantize_level=0)
    hdu.header["BUNIT"] = "nJy"
    for keyword, value in WCS.items():
        hdu.header[keyword] = value.strip("'") if value.startswith("'") else float(value)
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    raw = buffer.getvalue()
    start = 2880
    stop = raw.index(b"END".ljust(80), start) + 80
    old = [raw[n : n + 80].decode() for n in range(start, stop - 80, 80)]
    wanted = dict(changes or {})
    new = []
    for text in old:
        keyword = text[:8].rstrip()
        if keyword in wanted:
            value = wanted[keyword]
            text = card(keyword, value) if value is not None else ""  # noqa: PLW2901
        if text:
            new.append(text)
    new += [card(k, v) for k, v in (extra or {}).items()]
    return raw[:start] + header(new) + raw[start + -(-(stop - start) // 2880) * 2880 :]


def table_start(raw: bytes) -> int:
    """Return the offset of the compressed table's rows in what `compressed` made."""
    return 2880 + -(-(raw.index(b"END".ljust(80), 2880) + 80 - 2880) // 2880) * 2880


def patched(raw: bytes, offset: int, new: bytes) -> bytes:
    return raw[:offset] + new + raw[offset + len(new) :]


def gzipped(raw: bytes) -> bytes:
    return gzip.compress(raw, 1, mtime=0)


def gzip_zeros(prefix: bytes, megabytes: int) -> bytes:
    """Return a gzip stream of `prefix` and many megabytes of zeros, without ever holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(prefix) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = bytes(1 << 20)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    tail = packer.flush(zlib.Z_FINISH)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + head + block * megabytes + tail + bytes(8)


def checksummed(raw: bytes) -> bytes:
    """Return the one-HDU file with astropy's CHECKSUM and DATASUM in it."""
    buffer = io.BytesIO()
    with fits.open(io.BytesIO(raw)) as hdus:
        hdus.writeto(buffer, checksum=True)
    return buffer.getvalue()
