"""Tile-compressed images: CFITSIO and astropy agree value by value behind the guard, and CFITSIO leaves nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fitsio
import numpy as np
import pytest
from astropy.io import fits

from astrosurvey.core.stage import DataError
from astrosurvey.products._fits import BadInput, FitsFile, Window, tiled
from astrosurvey.products._fits.streams import rice_is_whole
from astrosurvey.products._fits.tiles import pack
from tests.fits_corpus import build

RNG = np.random.default_rng(17)
SHAPE = (150, 133)
SKY = RNG.normal(100, 5, SHAPE).astype(np.float32)
HOLES = SKY.copy()
HOLES[3:40, 5:60] = np.nan
HOLES[100:, 100:] = 7.25  # a tile of one value cannot be quantised and is stored as it is
INTEGERS = RNG.integers(-9999, 9999, SHAPE)
WINDOWS = [None, Window(0, 1, 0, 1), Window(149, 150, 132, 133), Window(60, 70, 40, 60), Window(7, 149, 31, 130)]
IMAGES = {
    "uint8 RICE": ((INTEGERS % 251).astype(np.uint8), {"compression_type": "RICE_1"}),
    "int16 RICE": (INTEGERS.astype(np.int16), {"compression_type": "RICE_1"}),
    "uint16 RICE": ((INTEGERS % 65536).astype(np.uint16), {"compression_type": "RICE_1"}),
    "int32 RICE": (INTEGERS.astype(np.int32) * 99999, {"compression_type": "RICE_1"}),
    "int32 RICE in rows": (INTEGERS.astype(np.int32), {"compression_type": "RICE_1", "tile_shape": (1, 133)}),
    "int32 RICE in one tile": (INTEGERS.astype(np.int32), {"compression_type": "RICE_1", "tile_shape": SHAPE}),
    "int16 GZIP_1": (INTEGERS.astype(np.int16), {"compression_type": "GZIP_1"}),
    "int32 GZIP_2": (INTEGERS.astype(np.int32), {"compression_type": "GZIP_2"}),
    "float32 GZIP_2": (HOLES, {"compression_type": "GZIP_2", "quantize_level": 0}),
    "float64 GZIP_1": (HOLES.astype(np.float64), {"compression_type": "GZIP_1", "quantize_level": 0}),
    "float32 quantised": (HOLES, {"compression_type": "RICE_1", "quantize_level": 16}),
    "float32 dithered": (HOLES, {"compression_type": "RICE_1", "quantize_method": 1, "dither_seed": 9876}),
    "float32 dithered, zeros kept": (
        np.where(SKY > 105, 0, HOLES),
        {"compression_type": "RICE_1", "quantize_method": 2, "dither_seed": 10000},
    ),
    "float64 dithered in rows": (
        HOLES.astype(np.float64),
        {"compression_type": "RICE_1", "quantize_method": 1, "dither_seed": 1, "tile_shape": (1, 133)},
    ),
    "float32 quantised, GZIP_1": (HOLES, {"compression_type": "GZIP_1", "quantize_level": 4}),
}


def write(path: Path, pixels: np.ndarray, **options) -> Path:
    hdu = fits.CompImageHDU(pixels, **{"tile_shape": (32, 50), **options})
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


@pytest.mark.parametrize("name", IMAGES)
def test_both_decoders_give_the_same_values(name, tmp_path, monkeypatch):
    pixels, options = IMAGES[name]
    path = write(tmp_path / "a.fits", pixels, **options)
    with fits.open(path) as hdus:
        peer = np.array(hdus[1].data)
    used = []
    monkeypatch.setattr(tiled, "by_cfitsio", lambda *a, decode=tiled.by_cfitsio: used.append(1) or decode(*a))
    monkeypatch.setattr(tiled, "_MANY_TILES", 10_000)
    with FitsFile(path) as file:
        hdu = file.image()
        for window in WINDOWS:
            box = window or Window(0, SHAPE[0], 0, SHAPE[1])
            bounds = [(box.y0, box.y1), (box.x0, box.x1)]
            packed, slices = pack(file.source, hdu, bounds), tuple(slice(*pair) for pair in bounds)
            ours, theirs = tiled.by_cfitsio(packed, slices), tiled.by_astropy(packed, slices)
            assert ours.dtype == theirs.dtype.newbyteorder("=")
            assert np.array_equal(ours, theirs, equal_nan=pixels.dtype.kind == "f")
            used.clear()
            assert np.array_equal(file.read(hdu, window), peer[slices].astype(np.float32), equal_nan=True)
            assert used == [1] * ("GZIP" not in options["compression_type"])


@pytest.mark.parametrize("limit", [0, 10_000])
def test_blank_is_nan_with_either_decoder(limit, tmp_path, monkeypatch):
    monkeypatch.setattr(tiled, "_MANY_TILES", limit)
    raw = INTEGERS.astype(np.int16)
    raw[20:40, 30:70] = -32768
    expected = np.where(raw == -32768, np.nan, raw * 0.5 + 3).astype(np.float32)
    for keyword in ("BLANK", "ZBLANK"):
        path = write(tmp_path / f"{keyword}.fits", raw, compression_type="RICE_1")
        with fits.open(path, mode="update", disable_image_compression=True) as hdus:
            hdus[1].header.update({keyword: -32768, "BSCALE": 0.5, "BZERO": 3.0})
        with FitsFile(path) as file:
            for window in WINDOWS:
                slices = np.s_[window.y0 : window.y1, window.x0 : window.x1] if window else np.s_[:, :]
                assert np.array_equal(file.read(file.image(), window), expected[slices], equal_nan=True)


@pytest.mark.parametrize(("codec", "tiles"), [("HCOMPRESS_1", 1), ("PLIO_1", 1), ("GZIP_1", 1), ("GZIP_2", 1), ("RICE_1", 15)])
def test_cfitsio_is_spared_what_it_does_badly(codec, tiles, tmp_path, monkeypatch):
    path = write(tmp_path / "a.fits", (INTEGERS % 999).astype(np.int32), compression_type=codec)
    monkeypatch.setattr(tiled, "by_cfitsio", None)
    window = Window(0, 9, 0, 9) if tiles == 1 else None
    with FitsFile(path) as file:
        assert np.array_equal(file.read_integers(file.image(), window), (INTEGERS % 999)[:9, :9] if window else INTEGERS % 999)


def test_decoders_see_only_cards_of_ours(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(build.compressed(extra={"EXTNAME": "'x(copy.fits)'", "INHERIT": "T", "ZHECKSUM": "'x'", "BSCALE": "2.0"}, quantize=16))
    with FitsFile(path) as file:
        packed = pack(file.source, file.image(), [(0, 32), (0, 40)])
    content = b"".join(packed.content)
    assert len(content) % 2880 == 0
    keywords = {fits.Header.fromstring(content[2880:]).cards[n].keyword.rstrip("0123456789") for n in range(20)}
    assert not keywords & {"EXTNAME", "INHERIT", "ZHECKSUM", "BSCALE", "CTYPE", "BUNIT"}
    assert {"ZIMAGE", "ZCMPTYPE", "ZBITPIX", "TFORM"} <= keywords


@pytest.mark.parametrize("kind", ["int16", "int32", "uint8"])
@pytest.mark.parametrize("spread", [0, 3, 100000])
def test_every_cut_of_a_rice_stream_is_seen(kind, spread, tmp_path):
    pixels = RNG.normal(0, spread, (9, 41)).astype(np.int64).astype(kind)
    path = write(tmp_path / "a.fits", pixels, compression_type="RICE_1", tile_shape=(9, 41))
    with FitsFile(path) as file:
        packed = pack(file.source, file.image(), [(0, 9), (0, 41)])
    stream = np.frombuffer(packed.content[1], np.uint8)
    width = 8 * pixels.itemsize
    arguments = (pixels.size, 32, width, *{8: (3, 6), 16: (4, 14), 32: (5, 25)}[width])
    assert rice_is_whole(stream, *arguments)
    assert not any(rice_is_whole(stream[:length], *arguments) for length in range(len(stream)))


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    good = write(tmp_path / "good.fits", INTEGERS.astype(np.int16), compression_type="RICE_1")
    failing = iter([False, True] * 100)

    names = []

    class Failing(fitsio.FITS):
        def __init__(self, name):
            names.append(name)
            super().__init__(name)

        def __getitem__(self, item):
            if next(failing):
                raise OSError("FITSIO status = 414: cannot decode\n/a/path")
            return super().__getitem__(item)

    monkeypatch.setattr(fitsio, "FITS", Failing)
    room = tmp_path / "t[1](x)+3"
    room.mkdir()
    for folder in (tmp_path / "plain", room):
        folder.mkdir(exist_ok=True)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        before = sorted(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else []
        for _ in range(20):
            with FitsFile(good) as file:
                assert file.read(file.image(), Window(0, 9, 0, 9)).shape == (9, 9)
            with pytest.raises(BadInput, match="HDU 1.*decompressing failed.*cannot decode; try"), FitsFile(good) as file:
                file.read(file.image(), Window(0, 9, 0, 9))
        assert os.listdir(folder) == []
        assert len(set(names)) == len(names) >= 40
        assert not any(Path(name).exists() or set(name) & set("[]()+!") for name in names)
        assert (sorted(os.listdir("/proc/self/fd")) if before else []) == before


def test_no_room_for_a_temporary_file_is_not_the_files_fault(tmp_path, monkeypatch):
    path = write(tmp_path / "a.fits", INTEGERS.astype(np.int16), compression_type="RICE_1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(DataError, match="no temporary file could be written in .*set TMPDIR") as caught, FitsFile(path) as file:
        file.read(file.image(), Window(0, 9, 0, 9))
    assert not isinstance(caught.value, BadInput)


def _sum(arguments: tuple[Path, int]) -> float:
    path, y = arguments
    with FitsFile(path) as file:
        return float(file.read(file.image(), Window(y, y + 30, 0, 60)).sum(dtype=np.float64))


@pytest.mark.parametrize("pool", ["threads", "fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_many_at_once(pool, tmp_path):
    paths = [write(tmp_path / f"{k}.fits", (INTEGERS + k).astype(np.int16), compression_type="RICE_1") for k in range(4)]
    jobs = [(path, y) for path in paths for y in range(0, 120, 5)]
    expected = [float((INTEGERS + k)[y : y + 30, :60].sum()) for k in range(4) for y in range(0, 120, 5)]
    if pool == "threads":
        with ThreadPoolExecutor(8) as executor:
            assert list(executor.map(_sum, jobs)) == expected
        return
    with multiprocessing.get_context(pool).Pool(2) as processes:
        assert processes.map(_sum, jobs) == expected


FUZZ = """
import sys, warnings
import numpy as np
from tests.fits_corpus import build
from astrosurvey.products._fits import BadInput, FitsFile
warnings.simplefilter("ignore")
rng = np.random.default_rng(3)
whole = np.round(build.TRUTH).astype(np.int32)
for codec in ("RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1", "quantised"):
    raw = build.compressed(quantize=4) if codec == "quantised" else build.compressed(whole, codec=codec)
    start, read = build.table_start(raw), 0
    for _ in range(80):
        bad = raw
        for _ in range(rng.integers(1, 6)):
            new = (bytes([rng.integers(256)]), bytes(8), bytes(40), b"\\xff" * 8)[rng.integers(4)]
            bad = build.patched(bad, int(rng.integers(start, len(raw) - 40)), new)
        with open(sys.argv[1], "wb") as file:
            file.write(bad)
        try:
            with FitsFile(sys.argv[1]) as file:
                read += file.read(file.image()).shape == whole.shape
        except BadInput:
            pass
    print(codec, read, flush=True)
"""


def test_damaged_tiles_do_not_crash_the_process(tmp_path):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    argv = [sys.executable, "-c", FUZZ, str(tmp_path / "a.fits")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, env=environment, cwd=root, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    read = {codec: int(count) for codec, count in map(str.split, done.stdout.splitlines())}
    assert len(read) == 6
    assert max(read["GZIP_1"], read["RICE_1"]) < 80
