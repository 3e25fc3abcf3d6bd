"""The corpus, but for tile-compressed images: each case builds one input and says what must come of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np

from . import build as b
from . import tile_cases  # noqa: F401  (adds its own to CASES)
from .case import BAD, CASES, EMPTY, HOLE, SOUND, Case, accept, named, refuse, special, stored


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)
        server.bind(path.name)
        os.chdir(here)


# What is no FITS file at all
refuse("empty file", b"", "is empty")
refuse("one byte", b"S", "not a FITS file")
refuse("plain text", b"hello, world\n" * 500, "not a FITS file")
refuse("web page", b"<!DOCTYPE html><html>404</html>", "an HTML page.*download")
refuse("PNG", b"\x89PNG\r\n\x1a\n" + bytes(3000), "PNG")
refuse("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(3000), "HDF5")
refuse("ASDF", b"#ASDF 1.0.0\n" + bytes(3000), "ASDF")
refuse("zip", b"PK\x03\x04" + bytes(3000), "zip")
refuse("bzip2", b"BZh91AY&SY" + bytes(3000), "bzip2.*gzip or fpack")
refuse("xz", b"\xfd7zXZ\x00" + bytes(3000), "xz")
refuse("zstd", b"\x28\xb5\x2f\xfd" + bytes(3000), "zstd")
refuse("compress .Z", b"\x1f\x9d\x90" + bytes(3000), r"\.Z")
refuse("git lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull")
refuse("zeros only", bytes(28800), "not a FITS file")

# The structure of the primary header
refuse("SIMPLE = F", b.image({"SIMPLE": "F"}), "SIMPLE: must be T")
refuse("SIMPLE is text", b.image({"SIMPLE": "'T'"}), "SIMPLE")
refuse("ends in the first header", SOUND[:400], "HDU 0, END: the header is cut short")
refuse("ends between header and data", SOUND[:2880], "HDU 0 .*cut short")
refuse("no END", b.image(end=False), "END|no END")
refuse("no END in five megabytes", b.header([b.card("SIMPLE", "T"), *["COMMENT x"] * 65000], end=False), "no END within")
refuse("BITPIX 17", b.image({"BITPIX": "17"}), "HDU 0, BITPIX: must be one of 8, 16, 32")
refuse("BITPIX 0", b.image({"BITPIX": "0"}), "BITPIX")
refuse("BITPIX text", b.image({"BITPIX": "'-32'"}), "BITPIX: must be an integer")
refuse("BITPIX 16.5", b.image({"BITPIX": "16.5"}), "BITPIX: must be an integer")
refuse("BITPIX 1E400", b.image({"BITPIX": "1E400"}), "BITPIX")
refuse("BITPIX missing", b.image({"BITPIX": None}), "BITPIX: must be card 2")
refuse("NAXIS missing", b.image({"NAXIS": None}), "NAXIS: must be card 3")
refuse("NAXIS -2", b.image({"NAXIS": "-2"}), "NAXIS: must be between 0 and 9")
refuse("NAXIS 999", b.image({"NAXIS": "999"}), "NAXIS: must be between 0 and 9")
refuse("NAXIS 3 of two", b.image({"NAXIS": "3"}), "NAXIS3: is missing")
refuse("NAXIS 1 of two", b.image({"NAXIS": "1"}), "there is a card NAXIS2")
refuse("NAXIS1 missing", b.image({"NAXIS1": None}), "NAXIS1: is missing")
refuse("NAXIS1 negative", b.image({"NAXIS1": "-40"}), "NAXIS1: must not be negative")
refuse("NAXIS1 of 10^18", b.image({"NAXIS1": "1000000000000000000"}), "cut short: its data need 128000000000000000000 bytes")
refuse("NAXIS1 of 10^30", b.image({"NAXIS1": "1" + "0" * 30}), "cut short")
refuse("NAXIS1 and NAXIS2 of 2^32", b.image({"NAXIS1": "4294967296", "NAXIS2": "4294967296"}), "cut short")
refuse("NAXIS1 not a number", b.image({"NAXIS1": "4O"}), "NAXIS1: has the value '4O'")
refuse("NAXIS1 twice, differing", b.image(extra=[b.card("NAXIS1", "41")]), "NAXIS1: stands 2 times with different values")
refuse("NAXIS1 without value indicator", b.image({"NAXIS1": None}, extra=["NAXIS1   40"]), "NAXIS1: is missing")
refuse("lower-case keywords", b.image({"NAXIS1": None}, extra=[b.card("naxis1", "40")]), "NAXIS1: is missing")
refuse("an axis of length zero", b.image(data=np.zeros((0, 40), np.float32)), "holds no image")
refuse("one axis only", b.image(data=b.TRUTH[0]), "holds no image")
accept("NAXIS1 twice, equal", b.image(extra=[b.card("NAXIS1", "40")]))
accept("text behind END", SOUND.replace(b"END".ljust(80), b"END     HISTORY of it".ljust(80)), repair="behind END")
accept("sound", SOUND)
accept("named .gz but plain", SOUND)

# Data cut, padded, followed by rubbish
refuse(
    "one row short", SOUND[: 2880 + b.TRUTH.nbytes - 160], "HDU 0 .*cut short: its data need 5120 bytes from offset 2880, the file ends at"
)
refuse("one byte short", SOUND[: 2880 + b.TRUTH.nbytes - 1], "cut short")
refuse("rubbish behind the last HDU", SOUND + b"rubbish" * 500, "are no HDU")
refuse("two megabytes of zeros behind", SOUND + bytes(2 << 20), "are no HDU")
accept("last block not filled", SOUND[: 2880 + b.TRUTH.nbytes], repair="last block is not filled")
accept("zeros behind the last HDU", SOUND + bytes(5760), repair="5760 bytes of filling")
accept("blanks behind the last HDU", SOUND + b" " * 100, repair="100 bytes of filling")

# Extensions: one that is corrupt condemns the file, wherever it stands
refuse("corrupt extension behind the image", SOUND + BAD, "HDU 1, BITPIX")
refuse("corrupt extension before the image", EMPTY + BAD + b.image(extension=True), "HDU 1, BITPIX", hdu=2)
refuse("XTENSION misspelt", SOUND + b.image(extension=True).replace(b"XTENSION", b"XTENSIOM"), "HDU 1, XTENSION: after HDU 0")
refuse("XTENSION without quotes", SOUND + b.image({"XTENSION": "IMAGE"}, extension=True), "HDU 1, XTENSION")
refuse("extension cut short", EMPTY + b.image(extension=True)[:-2880], "HDU 1.*cut short")
refuse("PCOUNT negative", EMPTY + b.image({"PCOUNT": "-5"}, extension=True), "HDU 1, PCOUNT: must be at least 0")
refuse("PCOUNT huge", EMPTY + b.image({"PCOUNT": "99999999999"}, extension=True), "HDU 1.*cut short")
refuse("GCOUNT zero", EMPTY + b.image({"GCOUNT": "0"}, extension=True), "HDU 1, GCOUNT: must be at least 1")
refuse("several images", SOUND + b.image(extension=True), "holds several images; try: set `hdu` to one of 0")
refuse("no such HDU", SOUND, "HDU 7: there is no such HDU", hdu=7)
refuse("negative HDU", SOUND, "HDU -1: there is no such HDU", hdu=-1)
refuse("no such EXTNAME", SOUND, "HDU SCI: there is no such HDU", hdu="SCI")
refuse("EXTNAME twice", SOUND + 2 * b.image({"EXTNAME": "'A'"}, extension=True), "2 HDUs have this name", hdu="A")
refuse(
    "a table where an image is needed",
    EMPTY + b.image({"XTENSION": "'BINTABLE'"}, data=np.zeros((4, 8), np.uint8), extension=True),
    "kind table",
    hdu=1,
)
refuse(
    "random groups",
    b.image({"GROUPS": "T", "PCOUNT": "1", "GCOUNT": "2"}, data=np.zeros((2, 0), np.float32)) + bytes(2880),
    "holds no image",
)
accept("PCOUNT and GCOUNT missing", EMPTY + b.image({"PCOUNT": None, "GCOUNT": None}, extension=True), repair="PCOUNT is missing")
accept("SCI among several", SOUND + b.image({"EXTNAME": "'SCI'"}, extension=True))
accept("unknown extension behind", SOUND + b.image({"XTENSION": "'FOREIGN '"}, extension=True))
accept("EXTNAME in lower case", EMPTY + b.image({"EXTNAME": "'Sci'"}, extension=True), hdu="SCI")

# Bytes and texts that do not belong into a header
accept("latin-1 in a comment", b.image(extra=["COMMENT M\xfcller"]), repair="forbids in a header")
accept("NUL bytes in a card", b.image(extra=["OBJECT  = 'M51\0\0\0'"]), repair="forbids in a header")
accept("terminal escape in OBJECT", b.image(extra=["OBJECT  = '\x1b[2J\x1b]0;owned\x07'"]), repair="forbids in a header")
accept("HTML in OBJECT", b.image(extra=["OBJECT  = '<script>alert(1)</script>'"]))
accept("path in OBJECT", b.image(extra=["OBJECT  = '../../../../etc/passwd'"]))
accept("a thousand equal cards", b.image(extra=["HISTORY again"] * 1000))
accept("HIERARCH and CONTINUE cards", b.image(extra=["HIERARCH ESO DET CHIP = 1", "LONG    = 'abc&'", "CONTINUE  'def'"]))
accept("string without closing quote elsewhere", b.image(extra=["OBJECT  = 'M51"]))
accept("value of no kind elsewhere", b.image(extra=["OBJECT  = M51 and more"]))

# Scaled integers
accept("int16 scaled", b.scaled(16))
accept("int16 with BLANK", b.scaled(16, blank=-32768), truth=HOLE)
accept("uint16 by BZERO", b.image({"BZERO": "32768"}, data=(np.round(b.TRUTH) - 32768).astype(np.int16)), truth=np.round(b.TRUTH))
accept("int32 with BLANK", b.scaled(32, blank=-1), truth=HOLE)
accept("int64 with BLANK", b.scaled(64, blank=-(2**62)), truth=HOLE)
accept(
    "uint8 with BLANK", b.scaled(8, scale=0.25, zero=64.0, blank=255)[:] if (b.TRUTH < 127).all() else b.scaled(16, blank=-1), truth=HOLE
)
accept("float64", b.image(data=b.TRUTH.astype(np.float64)))
accept("BLANK beyond the type", b.image({"BLANK": "99999", "BSCALE": "0.25"}, data=np.round(b.TRUTH * 4).astype(np.int16)))
accept("BLANK in an image of floats", b.image({"BLANK": "100"}), repair="BLANK ignored")
refuse("BLANK is text", b.image({"BLANK": "'x'"}, data=np.ones((4, 4), np.int16)), "HDU 0 .*BLANK: must be an integer")
refuse("BSCALE zero", b.image({"BSCALE": "0.0"}), "BSCALE: is 0")
refuse("BSCALE NaN", b.image({"BSCALE": "NaN"}), "BSCALE: has the value 'NaN'")
refuse("BSCALE text", b.image({"BSCALE": "'1.0'"}), "BSCALE: must be a finite number")
refuse("BSCALE twice", b.image({"BSCALE": "1.0"}, extra=[b.card("BSCALE", "2.0")]), "BSCALE: stands 2 times")
refuse("BZERO infinite", b.image({"BZERO": "1E999"}), "BZERO: must be a finite number")

# Pixels
accept("NaN block", b.image(data=HOLE), truth=HOLE)
accept("infinite pixels", b.image(data=np.where(np.isnan(HOLE), np.inf, HOLE).astype(np.float32)), truth=HOLE)
accept("float64 beyond float32", b.image(data=np.where(np.isnan(HOLE), 1e300, HOLE.astype(np.float64))), truth=HOLE)
accept("nothing but NaN", b.image(data=np.full_like(b.TRUTH, np.nan)), truth=np.full_like(b.TRUTH, np.nan))
refuse("pixels overflow in nJy", b.image({"BUNIT": "'MJy'"}, data=np.full((4, 4), 1e30, np.float32)), "beyond what float32 can hold")

# Checksums
SUMMED = b.checksummed(SOUND)
FLIPPED = b.patched(SUMMED, 2880 + 40, bytes([SUMMED[2880 + 40] ^ 1]))
accept("right checksums", SUMMED)
refuse("a bit of the pixels flipped", FLIPPED, "HDU 0 .*DATASUM.*the pixels were damaged")
accept("a header card edited", SUMMED.replace(b"2.2", b"2.3"), repair="CHECKSUM disagrees while DATASUM is right")
refuse("CHECKSUM alone, wrong", b.image(extra=["CHECKSUM= '0123456789abcdef'"]), "CHECKSUM: disagrees")

# Units and calibration
refuse("BUNIT missing", b.image({"BUNIT": None}), "HDU 0 .*BUNIT: there is no unit in the header; try: set `unit`")
refuse("BUNIT empty", b.image({"BUNIT": "''"}), "set `unit`")
refuse("BUNIT unknown", b.image({"BUNIT": "'parsnips'"}), "the unit 'parsnips' is unknown; try: set `unit`")
refuse("BUNIT without closing quote", b.image({"BUNIT": "'nJy"}), "BUNIT: has a string without its closing quote; try: set `unit`")
refuse("BUNIT twice", b.image(extra=[b.card("BUNIT", "'Jy'")]), "BUNIT: stands 2 times")
refuse("BUNIT a number", b.image({"BUNIT": "3"}), "BUNIT: the unit '3'")
refuse("BUNIT in magnitudes", b.image({"BUNIT": "'mag'"}), "BUNIT: the unit 'mag'")
refuse("BUNIT Jy/beam", b.image({"BUNIT": "'Jy/beam'"}), "neither a flux density")
refuse("counts without zero point", b.image({"BUNIT": "'adu'"}), "the zero point is needed; try: set `zeropoint`")
refuse("zero point of a calibrated image", SOUND, "would count twice", zeropoint=25.0)
refuse("zero point keyword missing", b.image({"BUNIT": "'adu'"}), "MAGZERO: is missing", zeropoint_keyword="MAGZERO")
refuse("zero point keyword NaN", b.image({"BUNIT": "'adu'", "MAGZERO": "NaN"}), "MAGZERO", zeropoint_keyword="MAGZERO")
refuse("MJy/sr without pixel size", b.image({"BUNIT": "'MJy/sr'"}, wcs={}), "set `pixel_scale`")
accept("unit from the pipeline", b.image({"BUNIT": "'parsnips'"}), unit="nJy")
accept("zero point from the header", b.image({"BUNIT": "'adu'", "MAGZERO": "31.4"}), zeropoint_keyword="MAGZERO")
accept(
    "zero point from a HIERARCH card", b.image({"BUNIT": "'adu'"}, extra=["HIERARCH ESO QC ZP = 31.4 / mag"]), zeropoint_keyword="ESO QC ZP"
)

# Broken coordinates: the image goes on without them and says so
for label, changes in {
    "CRVAL NaN": {"CRVAL1": "NaN"},
    "CRVAL text": {"CRVAL1": "'150.1'"},
    "CRVAL infinite": {"CRVAL1": "1E999"},
    "CRVAL2 missing": {"CRVAL2": None},
    "CRPIX missing": {"CRPIX1": None},
    "latitude beyond the pole": {"CRVAL2": "123.4"},
    "CD singular": {"CD1_1": "7.3E-05", "CD1_2": "7.3E-05", "CD2_1": "7.3E-05"},
    "CD zero": {"CD1_1": "0.0", "CD2_2": "0.0"},
    "CDELT zero": {"CD1_1": None, "CD1_2": None, "CD2_1": None, "CD2_2": None, "CDELT1": "0.0", "CDELT2": "1E-4"},
    "CD NaN": {"CD1_1": "NaN"},
    "pixels of 1E9 degrees": {"CD1_1": "1E9", "CD2_2": "1E9"},
    "no scale at all": {"CD1_1": None, "CD1_2": None, "CD2_1": None, "CD2_2": None},
    "only one sky axis": {"CTYPE2": "'LINEAR'"},
    "two longitudes": {"CTYPE2": "'RA---TAN'"},
    "two projections": {"CTYPE2": "'DEC--SIN'"},
    "unknown projection": {"CTYPE1": "'RA---XYZ'", "CTYPE2": "'DEC--XYZ'"},
    "IRAF TNX": {"CTYPE1": "'RA---TNX'", "CTYPE2": "'DEC--TNX'"},
    "look-up table -TAB": {"CTYPE1": "'RA---TAB'", "CTYPE2": "'DEC--TAB'"},
    "distortion table": {"CPDIS1": "'LOOKUP'"},
    "CUNIT parsec": {"CUNIT1": "'pc'", "CUNIT2": "'pc'"},
    "RADESYS unknown": {"RADESYS": "'MARS'"},
    "SIP order 99": {"A_ORDER": "99", "B_ORDER": "2"},
    "SIP order -1": {"A_ORDER": "-1", "B_ORDER": "2"},
    "SIP without B_ORDER": {"A_ORDER": "2"},
    "SIP coefficient NaN": {"A_ORDER": "2", "B_ORDER": "2", "A_2_0": "NaN"},
    "SIP term beyond its order": {"A_ORDER": "2", "B_ORDER": "2", "A_9_9": "1E-9"},
    "SIP on TPV": {"CTYPE1": "'RA---TPV'", "CTYPE2": "'DEC--TPV'", "A_ORDER": "2", "B_ORDER": "2"},
}.items():
    accept(f"WCS: {label}", b.image(changes), repair="coordinates are broken", wcs=False)
accept("WCS: CRVAL1 twice", b.image(extra=[b.card("CRVAL1", "10.0")]), repair="stands 2 times", wcs=False)
refuse("WCS: required and broken", b.image({"CRVAL1": "NaN"}), "CRVAL1.*NaN", wcs="required")
refuse("WCS: required and missing", b.image(wcs={}), "no celestial coordinates", wcs="required")
accept("WCS: none", b.image(wcs={}), wcs=False)
accept("WCS: CD and CDELT", b.image({"CDELT1": "1.0", "CDELT2": "1.0"}))
accept("WCS: WCSAXES 4000", b.image({"WCSAXES": "4000"}))
accept("WCS: EQUINOX as text", b.image({"EQUINOX": "'J2000'"}))
accept("WCS: EQUINOX of no meaning", b.image({"EQUINOX": "'soon'"}), repair="is no year")
accept("WCS: wild alternative WCS and ESO cards", b.image(extra=["CTYPE1A = 'RA---XYZ'", "HIERARCH ESO TEL A = 1", "PS99_99 = 'x'"]))


# gzip
accept("gzipped", b.gzipped(SOUND))
refuse("gzip stream cut", b.gzipped(SOUND)[:-500], "gzip stream is damaged or cut short")
refuse("gzip trailer cut", b.gzipped(SOUND)[:-4], "gzip stream is damaged or cut short")
refuse("gzip CRC wrong", b.patched(b.gzipped(SOUND), len(b.gzipped(SOUND)) - 8, b"\0\0\0\0"), "gzip stream is damaged")
refuse("gzip of rubbish", b.gzipped(b"rubbish" * 999), "not a FITS file|SIMPLE")
refuse("gzip in gzip", b.gzipped(b.gzipped(SOUND)), "not a FITS file|SIMPLE")
refuse("gzip header only", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "gzip stream is damaged|cut short")
refuse("gzip bomb: 16 GB of zeros", lambda: b.gzip_zeros(b"", 16384), "SIMPLE")
refuse(
    "gzip bomb: header that declares 16 GB",
    lambda: b.gzip_zeros(b.image({"NAXIS1": "65536", "NAXIS2": "65536"})[:2880], 16384),
    "when inflated; at most",
)
refuse("gzip bomb: 16 GB behind a sound image", lambda: b.gzip_zeros(SOUND, 16384), "are no HDU")
refuse("gzip bomb: 16 GB of header", lambda: b.gzip_zeros(b.header([b.card("SIMPLE", "T")], end=False), 16384), "no END within|BITPIX")

# Planes that do not go with the image
CUBE = b.image(data=np.stack([b.TRUTH] * 3))
refuse("cube with three planes for one band", CUBE, "HDU 0 .*NAXIS3: must be an image of two axes, or a cube with 1 planes")
refuse("four long axes", b.image(data=np.zeros((2, 2, 4, 4), np.float32)), "NAXIS3")
accept("degenerate axes", b.image(data=b.TRUTH[None, None]))
OTHER = b.image(data=b.TRUTH[:-1], extension=True)
refuse(
    "mask of another size", SOUND + OTHER, "mask of band r is 40 x 31 pixels, but must be 40 x 32", hdu=0, mask={"hdu": 1, "nonzero": "BAD"}
)
refuse("variance of another size", SOUND + OTHER, "variance of band r is 40 x 31", hdu=0, variance={"hdu": 1, "kind": "variance"})
refuse(
    "mask with fractions",
    SOUND + b.image(extension=True),
    "HDU 1: holds values that are no whole numbers",
    hdu=0,
    mask={"hdu": 1, "bits": {"BAD": [1]}},
)
refuse("PSF with an even side", SOUND + b.image(extension=True), "odd sides", hdu=0, psf={"hdu": 1})
refuse("PSF of zeros", SOUND + b.image(data=np.zeros((5, 5), np.float32), extension=True), "the PSF sums to 0", hdu=0, psf={"hdu": 1})
refuse(
    "PSF with NaN", SOUND + b.image(data=np.full((5, 5), np.nan, np.float32), extension=True), "the PSF sums to nan", hdu=0, psf={"hdu": 1}
)

# Names that mean more to some readers, and things that are no files
for text in (
    "{dir}/sound.fits(copy.fits)",
    "{dir}/sound.fits({dir}/copy.fits)[1:3,1:3]",
    "{dir}/sound.fits[0]",
    "{dir}/sound.fits[1][@/etc/passwd]",
    "{dir}/sound.fits[regfilter('/etc/passwd')]",
    "{dir}/sound.fits[col x=1]",
    "{dir}/sound.fits+1",
    "file://{dir}/sound.fits",
    "http://127.0.0.1:{port}/x.fits",
    "https://127.0.0.1:{port}/x.fits",
    "ftp://127.0.0.1:{port}/x.fits",
    "root://127.0.0.1:{port}/x.fits",
    "gsiftp://127.0.0.1:{port}/x.fits",
    "s3://127.0.0.1:{port}/x.fits",
    "shmem://h3",
    "mem://x",
    "stream://",
    "-",
    "stdin://-",
    "| id",
    "`id`",
    "$(id).fits",
    "{dir}/sound.fits\0.txt",
    "{dir}/" + "x" * 5000,
    "{dir}/sound.fits/x",
    "{dir}/none.fits",
    "",
):
    refuse(f"name: {text[:50]!r}", named(text), r"no such file|cannot be opened", raw=False)
refuse("named pipe", special(os.mkfifo), "a named pipe, not a regular file", raw=False)
refuse("folder", special(Path.mkdir), "a folder", raw=False)
refuse("socket", special(_socket), "a socket", raw=False)
refuse("link to /dev/zero", special(lambda p: p.symlink_to("/dev/zero")), "a character device", raw=False)
refuse("link to /dev/null", special(lambda p: p.symlink_to("/dev/null")), "a character device", raw=False)
refuse("link to nothing", special(lambda p: p.symlink_to("nowhere")), "no such file", raw=False)
refuse("link to itself", special(lambda p: p.symlink_to(p.name)), "cannot be opened", raw=False)
for text in (
    "we[ir]d.fits",
    "q1+3.fits",
    "x(y).fits",
    "a.fits[1]",
    "q+3",
    "http:__x.fits",
    "two words.fits",
    "new\nline.fits",
    "ünï.fits",
    "-",
):
    CASES.append(Case(f"literal name {text!r}", stored(SOUND, text)))
CASES.append(Case("link to a sound file", special(lambda p: p.symlink_to("sound.fits"))))
