"""The corpus of tile-compressed images: their cards, their tables, their tiles, and names that CFITSIO would read as code."""

from __future__ import annotations

import numpy as np

from . import build as b
from .case import BAD, CASES, HOLE, SOUND, Case, accept, refuse, stored

INTS = np.round(b.TRUTH).astype(np.int32)
RICE = b.compressed(INTS)
START = b.table_start(RICE)
GZIP = b.compressed(INTS, codec="GZIP_1")
for codec in ("RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"):
    accept(f"{codec} sound", b.compressed(INTS, codec=codec), truth=np.round(b.TRUTH))
accept("GZIP_2 floats with NaN", b.compressed(HOLE), truth=HOLE)
accept(
    "RICE with BLANK",
    b.compressed(np.where(np.isnan(HOLE), -9, np.round(b.TRUTH)).astype(np.int32), extra={"BLANK": "-9"}),
    truth=np.round(HOLE),
)
accept("fpacked and gzipped", b.gzipped(RICE), truth=np.round(b.TRUTH))
for label, changes, pattern in (
    ("ZCMPTYPE unknown", {"ZCMPTYPE": "'LZMA'"}, "HDU 1, ZCMPTYPE: must be one of RICE_1"),
    ("ZCMPTYPE missing", {"ZCMPTYPE": None}, "ZCMPTYPE"),
    ("ZBITPIX 5", {"ZBITPIX": "5"}, "ZBITPIX"),
    ("ZTILE1 zero", {"ZTILE1": "0"}, "ZTILE1: must be at least 1"),
    ("ZTILE1 negative", {"ZTILE1": "-16"}, "ZTILE1"),
    ("ZNAXIS zero", {"ZNAXIS": "0"}, "ZNAXIS"),
    ("ZNAXIS1 wrong", {"ZNAXIS1": "400"}, "NAXIS2: must be 50, one row for each tile, not 6"),
    ("ZNAXIS and ZTILE huge", {"ZNAXIS1": "4000000", "ZNAXIS2": "4000000", "ZTILE1": "4000000", "ZTILE2": "1000000"}, "NAXIS2|can hold in"),
    (
        "one tile of 10^12 pixels",
        {"ZNAXIS1": "3000000", "ZNAXIS2": "2000000", "ZTILE1": "1000000", "ZTILE2": "1000000"},
        "ZNAXIS: declares 24000000000000 bytes",
    ),
    ("TFORM1 unknown", {"TFORM1": "'1ZZ'"}, "TFORM1: is no column format"),
    ("TFORM1 not of tiles", {"TFORM1": "'1K'"}, "COMPRESSED_DATA|TFORM1|decompressing"),
    ("TFIELDS 0", {"TFIELDS": "0"}, "TFIELDS"),
    ("column renamed", {"TTYPE1": "'DATA'"}, "needs the column COMPRESSED_DATA"),
    ("row width wrong", {"NAXIS1": "9"}, "NAXIS1: is 9, but the columns are 8 bytes wide"),
    ("THEAP behind the heap", {"THEAP": "99999999"}, "THEAP: must be between"),
):
    extra = {"THEAP": "99999999"} if "THEAP" in changes else None
    refuse(f"tiles: {label}", b.compressed(INTS, changes=changes, extra=extra), pattern)
refuse("tiles: descriptor beyond the heap", b.patched(RICE, START, (2**30).to_bytes(4, "big")), "COMPRESSED_DATA: tile 0 lies outside")
refuse("tiles: descriptor negative", b.patched(RICE, START + 4, b"\xff\xff\xff\xf0"), "tile 0 lies outside")
refuse("tiles: heap cut off", RICE[:-2880], "cut short")
refuse(
    "tiles: bytes of a gzip tile destroyed",
    b.patched(GZIP, b.table_start(GZIP) + 48 + 12, bytes(60)),
    "HDU 1.*decompressing failed",
)


def _hcompress_bomb() -> bytes:
    raw = b.compressed(INTS, codec="HCOMPRESS_1")
    place = raw.index(b"\xdd\x99", b.table_start(raw))
    return b.patched(raw, place + 2, (32000).to_bytes(4, "big") * 2)


def _tile_bomb() -> bytes:
    bomb = b.gzip_zeros(b"", 700)
    raw = b.compressed(INTS, codec="GZIP_1", tile=(b.NY, b.NX), changes={"PCOUNT": str(len(bomb))})
    start = b.table_start(raw)
    return raw[:start] + b.pad(len(bomb).to_bytes(4, "big") + bytes(4) + bomb)


refuse("tiles: HCOMPRESS tile that claims 10^9 pixels", _hcompress_bomb, "HDU 1.*HCOMPRESS stream of at most")
refuse("tiles: gzip bomb in a tile", _tile_bomb, "inflates to more than its")


# Tiles that lie to the C code which decodes them, and cards that it would believe


def _tile(codec: str, stream: bytes) -> bytes:
    """Return an image of one tile, which holds `stream`; CFITSIO and astropy both crash on some of these."""
    raw = b.compressed(INTS, codec=codec, tile=(b.NY, b.NX), changes={"PCOUNT": str(len(stream))})
    start = b.table_start(raw)
    elements = len(stream) // 2 if codec == "PLIO_1" else len(stream)
    return raw[:start] + b.pad(elements.to_bytes(4, "big") + bytes(4) + stream)


def _stream(raw: bytes) -> bytes:
    """Return the stored tile of what `compressed` made with one tile."""
    start = b.table_start(raw)
    length, place = (int.from_bytes(raw[start + n : start + n + 4], "big") for n in (0, 4))
    return raw[start + 8 + place :][:length]


WHOLE = b.compressed(INTS, tile=(b.NY, b.NX))
HCOMPRESS = _stream(b.compressed(INTS, codec="HCOMPRESS_1", tile=(b.NY, b.NX)))
accept("tile: the sound RICE stream", _tile("RICE_1", _stream(WHOLE)), truth=np.round(b.TRUTH))
accept("tile: RICE stream with bytes to spare", _tile("RICE_1", _stream(WHOLE) + bytes(99)), truth=np.round(b.TRUTH))
for size in (64, 128, 256, 1024, 4096, 20480):
    refuse(
        f"tile: RICE run of zeros to the end of {size} kB",
        lambda size=size: _tile("RICE_1", b"\0\0\0\0\x08" + bytes(size * 1024 - 21)),
        "HDU 1 .*COMPRESSED_DATA: tile 0 is no RICE stream of 1280 pixels",
    )
for keep in (-1, -20, 5, 4, 1):
    refuse(f"tile: RICE stream cut at {keep}", _tile("RICE_1", _stream(WHOLE)[:keep]), "tile 0 is no RICE stream")
refuse("tile: RICE selector that does not exist", _tile("RICE_1", bytes(4) + b"\xff" * 9999), "tile 0 is no RICE stream")
refuse("tile: HCOMPRESS stream cut in the head", _tile("HCOMPRESS_1", HCOMPRESS[:20]), "HCOMPRESS stream of at most")
refuse("tile: HCOMPRESS stream cut in a bit plane", _tile("HCOMPRESS_1", HCOMPRESS[: len(HCOMPRESS) // 2]), "HDU 1.*decompressing failed")
refuse("tile: HCOMPRESS of 255 bit planes", _tile("HCOMPRESS_1", b.patched(HCOMPRESS, 22, b"\xff" * 3)), "HCOMPRESS stream of at most")
for label, words in {
    "longer than the tile": [0, 7, -100, 0, 16000, 0, 0],
    "of negative start": [0, -9, -100, 7, 0, 0, 0],
    "of no words": [0],
    "of old style, longer than the tile": [0, 0, 32000, 0, 0],
}.items():
    refuse(f"tile: PLIO line list {label}", _tile("PLIO_1", np.array(words, ">i2").tobytes()), "is no PLIO line list")
refuse("tile: GZIP of too few bytes", _tile("GZIP_1", b.gzipped(bytes(100))), "HDU 1.*decompressing failed")
refuse("tile: GZIP of too many bytes", _tile("GZIP_1", b.gzipped(bytes(99999))), "HDU 1.*decompressing failed")
refuse("tile: GZIP stream cut", _tile("GZIP_1", b.gzipped(INTS.astype(">i4").tobytes())[:-900]), "HDU 1.*decompressing failed")
refuse("tile: GZIP stream that is none", _tile("GZIP_1", b"rubbish" * 50), "HDU 1.*decompressing failed")
refuse("tile: empty", b.patched(WHOLE, b.table_start(WHOLE), bytes(8)), "HDU 1")
refuse("tiles: all in the same bytes", b.patched(RICE, START, RICE[START : START + 8] * 6), "share bytes of the heap|no RICE stream")
DITHER = "'SUBTRACTIVE_DITHER_1'"


def _quantized(extra: dict[str, str] | None = None, **changes: str | None) -> bytes:
    return b.compressed(quantize=16, extra=extra, changes=changes)


for label, raw, pattern in (
    ("BLOCKSIZE 0", b.compressed(INTS, changes={"ZVAL1": "0"}), "ZVAL1: BLOCKSIZE must be one of 16, 32, not 0"),
    ("BLOCKSIZE huge", b.compressed(INTS, changes={"ZVAL1": "2000000000"}), "ZVAL1: BLOCKSIZE"),
    ("BYTEPIX 3", b.compressed(INTS, changes={"ZVAL2": "3"}), "ZVAL2: BYTEPIX must be one of 1, 2, 4"),
    ("BYTEPIX missing its value", b.compressed(INTS, changes={"ZVAL2": None}), "ZVAL2: is missing"),
    ("ZDITHER0 0", _quantized({"ZQUANTIZ": DITHER, "ZDITHER0": "0"}), "ZDITHER0: must be between 1 and 10000"),
    ("ZDITHER0 -2147483648", _quantized({"ZQUANTIZ": DITHER, "ZDITHER0": "-2147483648"}), "ZDITHER0"),
    ("ZDITHER0 missing", _quantized({"ZQUANTIZ": DITHER}), "ZDITHER0: is missing"),
    ("ZQUANTIZ unknown", _quantized({"ZQUANTIZ": "'MAGIC'"}), "ZQUANTIZ: must be NO_DITHER"),
    ("ZSCALE in text", _quantized(TFORM3="'8A'"), "TFORM3: the column ZSCALE cannot have"),
    ("the same column twice", _quantized(TTYPE3="'ZZERO'"), "stands twice"),
):
    refuse(f"tiles: {label}", raw, pattern)


def _unquantized(stream: bytes) -> bytes:
    """Return a quantised image whose only tile could not be quantised, with `stream` in its place."""
    raw = b.compressed(np.full_like(b.TRUTH, 7), quantize=16, tile=(b.NY, b.NX), changes={"PCOUNT": str(len(stream))})
    start = b.table_start(raw)
    width = int(raw[raw.index(b"NAXIS1  =", 2880) + 10 :][:20])
    return raw[:start] + b.pad(bytes(8) + len(stream).to_bytes(4, "big") + raw[start + 12 : start + width] + stream)


SEVENS = b.gzipped(np.full(b.TRUTH.shape, 7, ">f4").tobytes())
accept("tile: floats that could not be quantised", _unquantized(SEVENS), truth=np.full_like(b.TRUTH, 7))
refuse("tile: such floats cut", _unquantized(SEVENS[:-20]), "GZIP_COMPRESSED_DATA: tile 0 is no GZIP stream of 1280 pixels")
refuse("tile: such floats, too few", _unquantized(b.gzipped(bytes(400))), "is no GZIP stream of 1280 pixels")
refuse("tile: such floats, too many", _unquantized(b.gzipped(bytes(9999999))), "is no GZIP stream of 1280 pixels")
refuse("tile: such floats, none", _unquantized(b"rubbish" * 99), "is no GZIP stream")
accept("tiles: old name RICE_ONE", b.compressed(INTS, changes={"ZCMPTYPE": "'RICE_ONE'"}), truth=np.round(b.TRUTH))

# What only a reader like CFITSIO gives a meaning to: names with syntax, header cards that draw others in
SYNTAX = {"EXTNAME": "'a.fits(copy.fits)[1][@/etc/passwd]'", "INHERIT": "T", "EXTVER": "-7", "FILENAME": "'!other.fits'"}
accept("tiles: EXTNAME with syntax, INHERIT", b.compressed(INTS, extra=SYNTAX), truth=np.round(b.TRUTH))
accept("tiles: found by an EXTNAME with syntax", b.compressed(INTS, changes={"EXTNAME": "'x[1]'"}), truth=np.round(b.TRUTH), hdu="x[1]")
accept(
    "tiles: CONTINUE, GROUP and INCLUDE cards",
    b.compressed(INTS, extra={"LONGSTRN": "'OGIP 1.0'", "GRPNAME": "'g'", "GRPLC1": "'http://127.0.0.1/'", "TDISP1": "'&'"}),
    truth=np.round(b.TRUTH),
)
accept("tiles: behind other HDUs", SOUND + b.image(extension=True) + RICE[2880:], truth=np.round(b.TRUTH), hdu=2)
refuse("tiles: corrupt HDU in front of them", SOUND + BAD + RICE[2880:], "HDU 1, BITPIX", hdu=2)
refuse("tiles: HDU named by syntax", RICE, "there is no such HDU", hdu="COMPRESSED_IMAGE[1:9,1:9]")
for text in ("we[ir]d.fits", "q1+3", "x(y).fits", "a.fits[1]", "-", "mem:__x", "$HOME.fits", "~", "!x.fits"):
    CASES.append(Case(f"literal name of a tile-compressed file {text!r}", stored(RICE, text), truth=np.round(b.TRUTH)))
