"""The reader gives what two independent readers give, in windows, within bounds of memory."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tracemalloc
import warnings

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrosurvey.products import Image, Segmentation
from astrosurvey.products._fits import BadInput, FitsFile, Plane, Window, celestial, wcs_cards, write_fits
from astrosurvey.products._fits.cards import Cards

RNG = np.random.default_rng(5)
SHAPE = (301, 277)
PIXELS = {
    "uint8": RNG.integers(0, 255, SHAPE).astype(np.uint8),
    "int16": RNG.integers(-9999, 9999, SHAPE).astype(np.int16),
    "uint16": RNG.integers(0, 65535, SHAPE).astype(np.uint16),
    "int32": RNG.integers(-(2**24), 2**24, SHAPE).astype(np.int32),
    "uint32": RNG.integers(0, 2**24, SHAPE).astype(np.uint32),
    "int64": RNG.integers(-(2**24), 2**24, SHAPE).astype(np.int64),
    "float32": RNG.normal(size=SHAPE).astype(np.float32),
    "float64": RNG.normal(size=SHAPE),
}
WINDOWS = [None, Window(0, 301, 0, 277), Window(5, 6, 7, 8), Window(100, 301, 0, 277), Window(17, 290, 31, 276)]


def cut(array: np.ndarray, window: Window | None) -> np.ndarray:
    return array if window is None else array[window.y0 : window.y1, window.x0 : window.x1]


def make(path, pixels, how):
    if how in ("plain", "gzip"):
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels)]).writeto(path, checksum=True)
        if how == "gzip":
            path.write_bytes(gzip.compress(path.read_bytes()))
        return pixels
    if pixels.dtype.kind == "f":
        hdu = fits.CompImageHDU(pixels, compression_type="RICE_1", tile_shape=(64, 50), quantize_level=16)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
        with fits.open(path) as hdus:
            return hdus[1].data
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, compression_type=how, tile_shape=(64, 50))]).writeto(path)
    return pixels


COMBINATIONS = [
    (kind, how)
    for kind in PIXELS
    for how in ("plain", "gzip", "RICE_1", "GZIP_2")
    if kind != "int64" or how in ("plain", "gzip")  # nobody writes tile-compressed int64
]


@pytest.mark.parametrize(("kind", "how"), COMBINATIONS)
def test_every_type_in_every_window(kind, how, tmp_path):
    pixels = PIXELS[kind]
    path = tmp_path / "a.fits"
    truth = make(path, pixels, how)
    with FitsFile(path) as file:
        hdu = file.image()
        for window in WINDOWS:
            got = file.read(hdu, window)
            assert got.dtype == np.float32
            assert got.dtype.isnative
            assert got.flags.c_contiguous
            assert np.array_equal(got, cut(truth, window).astype(np.float32))
            if pixels.dtype.kind != "f":
                assert np.array_equal(file.read_integers(hdu, window), cut(pixels, window))
        assert file.repairs == []
    if how != "gzip":
        with fitsio.FITS(str(path)) as peer:
            assert np.array_equal(peer[1].read().astype(np.float32), truth.astype(np.float32))


def test_planes_of_a_cube(tmp_path):
    cube = RNG.normal(size=(4, 20, 30)).astype(np.float32)
    for name, hdu in (("plain", fits.PrimaryHDU(cube)), ("tiled", fits.CompImageHDU((cube * 100).astype(np.int32), tile_shape=(1, 7, 9)))):
        path = tmp_path / f"{name}.fits"
        fits.HDUList([hdu] if name == "plain" else [fits.PrimaryHDU(), hdu]).writeto(path)
        truth = cube if name == "plain" else (cube * 100).astype(np.int32).astype(np.float32)
        with FitsFile(path) as file:
            assert np.array_equal(file.read(file.image()), truth)
            assert np.array_equal(file.read(file.image(), plane=2), truth[2])
            assert np.array_equal(file.read(file.image(), Window(3, 9, 11, 30), plane=3), truth[3, 3:9, 11:30])


def test_a_window_of_a_large_image_takes_the_memory_of_the_window(tmp_path):
    path = tmp_path / "large.fits"
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 20000), ("NAXIS2", 20000), ("BUNIT", "nJy")])
    path.write_bytes(header.tostring().encode())
    os.truncate(path, -(-(2880 + 20000 * 20000 * 4) // 2880) * 2880)  # 1.6 GB, but sparse
    assert Image.extent(path) == (20000, 20000)
    tracemalloc.start()
    with FitsFile(path) as file:
        got = file.read(file.image(), Window(9000, 10024, 18000, 19024))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got.shape == (1024, 1024)
    assert peak < 3 * got.nbytes


def test_a_window_of_a_tiled_image_reads_only_its_tiles(tmp_path):
    path = tmp_path / "tiled.fits"
    pixels = RNG.integers(0, 2**30, (2048, 2048)).astype(np.int32)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, tile_shape=(256, 256))]).writeto(path)
    with FitsFile(path) as file:
        file.read(file.image(), Window(0, 10, 0, 10))  # what is imported for the first time is not measured
        tracemalloc.start()
        got = file.read_integers(file.image(), Window(1000, 1100, 300, 400))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert np.array_equal(got, pixels[1000:1100, 300:400])
    assert peak < pixels.nbytes / 3


def test_written_files_are_sound_for_others(tmp_path):
    labels = RNG.integers(0, 9, (300, 520)).astype(np.int32)
    Segmentation(labels).write(tmp_path / "seg.fits")
    with fitsio.FITS(str(tmp_path / "seg.fits")) as peer:
        assert np.array_equal(peer["SEG"].read(), labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(tmp_path / "seg.fits", checksum=True) as hdus:
            assert np.array_equal(hdus["SEG"].data, labels)
            assert hdus["SEG"].tile_shape == (256, 256)
            assert "DATE" not in "".join(hdus[0].header)
    if shutil.which("fitsverify"):
        verdict = subprocess.run(["fitsverify", "-q", str(tmp_path / "seg.fits")], capture_output=True, text=True, check=False).stdout
        assert verdict.startswith("verification OK")


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        write_fits(tmp_path / "a.fits", [], [Plane("SCI", np.zeros((2, 2), np.float32))])


def test_an_error_survives_being_sent_between_processes():
    import pickle

    error = BadInput("x\x1b[2J.fits", "is bad", hdu=3, keyword="BITPIX", fix="mend it")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "x\\x1b[2J.fits, HDU 3, BITPIX: is bad; try: mend it"
    assert (again.file, again.hdu, again.keyword, again.reason) == ("x\x1b[2J.fits", 3, "BITPIX", "is bad")


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((100, 100), np.float32)).writeto(path)
    with FitsFile(path) as file:
        os.truncate(path, 2880)
        with pytest.raises(BadInput, match="became shorter"):
            file.read(file.image())


PRIMARY = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 211.1234567890123,
    "CRVAL2": -54.98765432109876,
    "CRPIX1": 1 / 3,
    "CRPIX2": 1e4 / 7,
}
CD = {"CD1_1": -7.1234567890123e-5, "CD1_2": 1e-9 / 3, "CD2_1": 2e-9 / 3, "CD2_2": 7.3e-5}
SIP = {
    "A_ORDER": 3,
    "B_ORDER": 2,
    "A_2_0": 1e-6 / 3,
    "A_0_3": -1e-10 / 7,
    "B_1_1": 1e-6 / 9,
    "AP_ORDER": 2,
    "BP_ORDER": 2,
    "AP_2_0": -1e-6 / 3,
}
TPV = {f"PV{i}_{m}": (1.0 + 1e-3 / 3 if m == 1 else 1e-3 / (m + i)) for i in (1, 2) for m in (0, 1, 2, 4, 5, 6, 7, 8, 9, 10)}
HEADERS = {
    "TAN": PRIMARY | CD,
    "TAN-SIP": PRIMARY | CD | SIP | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"},
    "TPV": PRIMARY | CD | TPV | {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"},
    "CDELT and CROTA": PRIMARY | {"CDELT1": -1e-4 / 3, "CDELT2": 1e-4 / 3, "CROTA2": 12.3456789},
    "PC and arcsec": PRIMARY
    | {"CDELT1": -0.2, "CDELT2": 0.2, "PC1_1": 0.8, "PC1_2": 0.6, "PC2_1": -0.6, "PC2_2": 0.8}
    | {"CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRVAL1": 100.0, "CRVAL2": 3600.0},
    "galactic CAR": PRIMARY | {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CDELT1": -1e-3 / 3, "CDELT2": 1e-3 / 3, "CRVAL2": 0.0},
    "ZEA with LONPOLE": PRIMARY | CD | {"CTYPE1": "RA---ZEA", "CTYPE2": "DEC--ZEA", "LONPOLE": 171.2345678},
    "FK5 of 1975": PRIMARY | CD | {"RADESYS": "FK5", "EQUINOX": 1975.0},
    "declination first": PRIMARY | CD | {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 12.3, "CRVAL2": 211.1},
    "ZPN": PRIMARY | CD | {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "PV2_1": 1.0, "PV2_3": 42.0},
}


def cards_of(values: dict[str, object]) -> Cards:
    return Cards(fits.Header(values).tostring(endcard=False, padding=False).encode())


@pytest.mark.parametrize("name", HEADERS)
def test_wcs_comes_back_bit_for_bit(name, tmp_path):
    grid = RNG.uniform(0, 200, (100, 2))
    wcs = celestial(cards_of(HEADERS[name]), tmp_path, (200, 200))
    data = np.zeros((1, 200, 200), np.float32)
    Image(data, ("r",), wcs=wcs).write(tmp_path / "a.fits")
    back = Image.read(tmp_path / "a.fits").wcs
    assert back.all_pix2world(grid, 0).tobytes() == wcs.all_pix2world(grid, 0).tobytes()
    assert wcs_cards(back) == wcs_cards(wcs)
    # and it is the sky that astropy sees in the original header
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = WCS(fits.Header(HEADERS[name]))
        separation = peer.pixel_to_world(*grid.T).icrs.separation(wcs.pixel_to_world(*grid.T).icrs)
    assert separation.arcsec.max() < 1e-6


@pytest.mark.parametrize("name", HEADERS)
def test_wcs_of_a_window_is_that_of_the_whole_shifted(name, tmp_path):
    whole = celestial(cards_of(HEADERS[name]), tmp_path, (200, 200))
    part = celestial(cards_of(HEADERS[name]), tmp_path, (50, 60), offset=(70, 110))
    x, y = RNG.uniform(0, 50, (2, 100))
    assert part.pixel_to_world(x, y).separation(whole.pixel_to_world(x + 70, y + 110)).arcsec.max() < 1e-6


def test_wcs_tables_cannot_be_stored():
    from astropy.wcs import DistortionLookupTable

    from astrosurvey.core.product import ProductError

    wcs = WCS(fits.Header(HEADERS["TAN"]))
    wcs.cpdis1 = DistortionLookupTable(np.zeros((2, 2), np.float32), (1, 1), (0, 0), (1, 1))
    with pytest.raises(ProductError, match="distortion tables"):
        wcs_cards(wcs)


def test_a_gzipped_file_is_inflated_only_as_far_as_it_is_needed(tmp_path):
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.zeros((1000, 1000), np.float32)).writeto(buffer)
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(buffer.getvalue()))
    assert Image.extent(tmp_path / "a.fits.gz") == (1000, 1000)
