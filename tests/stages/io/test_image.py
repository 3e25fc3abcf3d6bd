"""io.image: units, planes, masks, noise, windows, and what settings may not leave open."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pydantic import ValidationError

from astrosurvey.catalog.flags import PIXEL
from astrosurvey.core.stage import Context, DataError, check_stage
from astrosurvey.core.tiles import Box, Tile
from astrosurvey.stages.io.stage import ReadImage
from astrosurvey.stages.io.units import UnitError, to_njy

NY, NX = 60, 80
RNG = np.random.default_rng(21)
SKY = RNG.normal(50, 5, (3, NY, NX)).astype(np.float32)
BANDS = ["g", "r", "i"]


def header(**values):
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 40.0, "CRPIX2": 30.0}
    scale = {"CD1_1": -0.2 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.2 / 3600}
    return fits.Header({**wcs, **scale, "BUNIT": "nJy", **values})


def write(path, *hdus, **primary):
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(primary)), *hdus]).writeto(path, overwrite=True)
    return str(path)


def hdu(data, name, **values):
    return fits.ImageHDU(np.asarray(data), header(**values), name=name)


def context(folder, tile=None):
    tile = tile or Tile("t1", 1, 0, fields={"image": str(folder / "sky.fits")})
    return Context(tile, np.random.default_rng(0), "cpu", logging.getLogger("t1"), lambda done, total: None, folder)


def read(folder, tile=None, **config):
    image = ReadImage(ReadImage.Config(**config)).run(context(folder, tile))["image"]
    image.check()
    return image


def test_the_stage_follows_the_protocol():
    check_stage(ReadImage)


class TestBands:
    def test_one_file_a_band(self, tmp_path):
        for k, band in enumerate(BANDS):
            write(tmp_path / f"t1_{band}.fits", hdu(SKY[k], "SCI"))
        image = read(tmp_path, path=str(tmp_path / "{tile}_{band}.fits"), bands=BANDS)
        assert np.array_equal(image.data, SKY)
        assert image.bands == ("g", "r", "i")
        assert image.meta["bands"]["r"]["file"] == "t1_r.fits"

    def test_one_hdu_a_band(self, tmp_path):
        write(tmp_path / "sky.fits", *(hdu(SKY[k], f"SCI_{band}") for k, band in enumerate(BANDS)))
        image = read(tmp_path, bands=BANDS, hdu={"g": "SCI_g", "r": 2, "i": "SCI_I"})
        assert np.array_equal(image.data, SKY)

    def test_one_plane_of_a_cube_a_band(self, tmp_path):
        write(tmp_path / "sky.fits", hdu(SKY, "SCI"))
        assert np.array_equal(read(tmp_path, bands=BANDS).data, SKY)
        with pytest.raises(DataError, match="a cube with 2 planes for g, r, but has the shape"):
            read(tmp_path, bands=["g", "r"])

    def test_bands_of_different_size_are_refused(self, tmp_path):
        write(tmp_path / "t1_g.fits", hdu(SKY[0], "SCI"))
        write(tmp_path / "t1_r.fits", hdu(SKY[1][:-1], "SCI"))
        with pytest.raises(DataError, match=r"t1_r.fits, HDU 1 \(SCI\), NAXIS1: the image of band r is 80 x 59 pixels"):
            read(tmp_path, path=str(tmp_path / "{tile}_{band}.fits"), bands=["g", "r"])

    def test_bands_on_different_grids_are_refused(self, tmp_path):
        write(tmp_path / "t1_g.fits", hdu(SKY[0], "SCI"))
        write(tmp_path / "t1_r.fits", hdu(SKY[1], "SCI", CRPIX1=41.0))
        config = {"path": str(tmp_path / "{tile}_{band}.fits"), "bands": ["g", "r"]}
        with pytest.raises(DataError, match=r"bands g and r are not on one pixel grid: their coordinates differ by 1\.00 pixels"):
            read(tmp_path, **config)
        assert read(tmp_path, **config, wcs="ignore").wcs is None

    def test_the_first_band_with_coordinates_lends_them(self, tmp_path):
        plain = fits.ImageHDU(SKY[0], fits.Header({"BUNIT": "nJy"}), name="G")
        write(tmp_path / "sky.fits", plain, hdu(SKY[1], "R"))
        image = read(tmp_path, bands=["g", "r"], hdu={"g": "G", "r": "R"})
        assert image.wcs.wcs.crpix.tolist() == [40.0, 30.0]

    def test_every_file_is_declared(self, tmp_path):
        config = ReadImage.Config(
            path="/d/{tile}_{band}.fits",
            bands=["g", "r"],
            variance={"path": "/d/{tile}_{band}_w.fits", "kind": "inverse_variance"},
            mask={"path": "/d/mask.fits", "nonzero": "BAD"},
            psf={"hdu": 2},
        )
        files = ["/d/t1_g.fits", "/d/t1_r.fits", "/d/t1_g_w.fits", "/d/t1_r_w.fits", "/d/mask.fits"]
        assert ReadImage.external_files(config, Tile("t1", 1, 0)) == files


class TestUnits:
    @pytest.mark.parametrize(
        ("unit", "factor"),
        [
            ("nJy", 1),
            ("uJy", 1e3),
            ("µJy", 1e3),
            ("mJy", 1e6),
            ("Jy", 1e9),
            ("MJy", 1e15),
            ("Jy/pix", 1e9),
            ("10^-9 Jy", 1),
            ("erg/s/cm2/Hz", 1e32),
            ("nanomaggy", 10 ** (8.9 / 2.5)),
            ("nanomaggies", 10 ** (8.9 / 2.5)),
            ("nMgy", 10 ** (8.9 / 2.5)),
            ("MJy/sr", 1e15 * math.radians(0.2 / 3600) ** 2),
            ("MJy sr-1", 1e15 * math.radians(0.2 / 3600) ** 2),
        ],
    )
    def test_calibrated_units(self, unit, factor):
        assert to_njy(unit, None, math.radians(0.2 / 3600) ** 2) == pytest.approx(factor, rel=1e-12)

    @pytest.mark.parametrize(
        "unit", ["adu", "ADU", "counts", "ct", "DN", "DN/s", "electrons", "ELECTRONS/S", "e-", "electron s-1", "adu / pixel"]
    )
    def test_counts_need_a_zero_point(self, unit):
        with pytest.raises(UnitError, match="zero point is needed"):
            to_njy(unit, None, None)
        assert to_njy(unit, 31.4, None) == 1
        assert to_njy(unit, 28.9, None) == pytest.approx(10)

    @pytest.mark.parametrize("unit", ["parsnips", "Jy Jy", "s", "mag", "Jy/beam", "m**9999999", "x" * 300, "K", "erg/s/cm2/Angstrom"])
    def test_other_units_are_refused(self, unit):
        with pytest.raises(UnitError):
            to_njy(unit, None, 1.0)

    def test_zero_point_per_band_and_saturation(self, tmp_path):
        write(tmp_path / "sky.fits", hdu(SKY, "SCI", BUNIT="ADU"))
        image = read(tmp_path, bands=BANDS, zeropoint={"g": 31.4, "r": 28.9, "i": 26.4}, saturate={"g": 60, "r": 1e9, "i": 55})
        assert np.allclose(image.data, SKY * np.array([1, 10, 100])[:, None, None], rtol=1e-6)
        assert np.array_equal(image.mask[0] == PIXEL["SAT"], SKY[0] >= 60)
        assert not image.mask[1].any()
        assert image.meta["bands"]["r"]["zeropoint"] == 28.9

    def test_numbers_from_the_primary_header(self, tmp_path):
        write(tmp_path / "sky.fits", hdu(SKY[0], "SCI", BUNIT="ADU"), MAGZERO=28.9, SATURATE=55.0, EXPTIME=30.0, OBJECT="M 31")
        image = read(tmp_path, bands=["g"], zeropoint_keyword="MAGZERO", saturate_keyword="SATURATE")
        assert np.allclose(image.data[0], SKY[0] * 10, rtol=1e-6)
        assert np.array_equal(image.mask[0] == PIXEL["SAT"], SKY[0] >= 55)
        assert image.meta["bands"]["g"]["exposure"] == 30
        assert image.meta["bands"]["g"]["object"] == "M 31"

    def test_surface_brightness_takes_the_pixel_from_the_setting_without_wcs(self, tmp_path):
        plain = fits.ImageHDU(SKY[0], fits.Header({"BUNIT": "MJy/sr"}))
        write(tmp_path / "sky.fits", plain)
        image = read(tmp_path, bands=["g"], pixel_scale=0.5)
        assert np.allclose(image.data[0], SKY[0] * 1e15 * math.radians(0.5 / 3600) ** 2, rtol=1e-6)
        assert image.meta["pixel_scale"] == pytest.approx(0.5)


VARIANCE = RNG.uniform(1, 9, (NY, NX)).astype(np.float32)


class TestVariance:
    @pytest.mark.parametrize(
        ("kind", "stored", "more"),
        [
            ("variance", VARIANCE, {}),
            ("inverse_variance", 1 / VARIANCE, {}),
            ("error", np.sqrt(VARIANCE), {}),
            ("weight", 100 / VARIANCE, {"scale": 0.01}),
        ],
    )
    def test_conventions(self, kind, stored, more, tmp_path):
        stored = stored.astype(np.float32)
        stored[:3, :3] = 0
        stored[4, :3] = np.nan, -1, -np.inf
        plane = fits.ImageHDU(stored, name="W")
        write(tmp_path / "sky.fits", hdu(SKY[0], "SCI", BUNIT="ADU"), plane)
        image = read(tmp_path, bands=["g"], hdu="SCI", zeropoint=28.9, variance={"hdu": "W", "kind": kind, **more})
        good = np.ones((NY, NX), bool)
        good[:3, :3] = good[4, :3] = False
        assert np.allclose(image.variance[0][good], 100 * VARIANCE[good], rtol=1e-5)
        assert np.isinf(image.variance[0][~good]).all()
        assert np.array_equal(image.mask[0] == PIXEL["NO_DATA"], ~good)

    def test_no_data_has_no_variance(self, tmp_path):
        data = SKY[0].copy()
        data[7, 7] = np.nan
        write(tmp_path / "sky.fits", hdu(data, "SCI"), hdu(VARIANCE, "VAR", BUNIT="nJy2"))
        image = read(tmp_path, bands=["g"], hdu="SCI", variance={"hdu": "VAR", "kind": "variance"})
        assert np.isnan(image.data[0, 7, 7])
        assert np.isinf(image.variance[0, 7, 7])
        assert image.mask[0, 7, 7] == PIXEL["NO_DATA"]
        assert "repairs" not in image.meta

    @pytest.mark.parametrize(("unit", "factor"), [("uJy2", 1e6), ("Jy2", 1e18)])
    def test_a_unit_of_its_own(self, unit, factor, tmp_path):
        write(tmp_path / "sky.fits", hdu(SKY[0], "SCI"), hdu(VARIANCE, "VAR", BUNIT=unit))
        image = read(tmp_path, bands=["g"], hdu="SCI", variance={"hdu": "VAR", "kind": "variance"})
        assert np.allclose(image.variance[0], VARIANCE * factor, rtol=1e-6)

    def test_a_copied_unit_is_noted(self, tmp_path):
        write(tmp_path / "sky.fits", hdu(SKY[0], "SCI"), hdu(1 / VARIANCE, "W", BUNIT="nJy"))
        image = read(tmp_path, bands=["g"], hdu="SCI", variance={"hdu": "W", "kind": "inverse_variance"})
        assert np.allclose(image.variance[0], VARIANCE, rtol=1e-5)
        assert any("copied" in note for note in image.meta["repairs"])

    def test_a_unit_that_does_not_fit(self, tmp_path):
        write(tmp_path / "sky.fits", hdu(SKY[0], "SCI"), hdu(VARIANCE, "VAR", BUNIT="K"))
        plane = {"hdu": "VAR", "kind": "variance"}
        with pytest.raises(DataError, match="the unit 'K' does not fit variance of an image in 'nJy'; try: set `variance.unit`"):
            read(tmp_path, bands=["g"], hdu="SCI", variance=plane)
        assert np.allclose(read(tmp_path, bands=["g"], hdu="SCI", variance=plane | {"unit": ""}).variance[0], VARIANCE)


class TestMask:
    @pytest.fixture
    def flags(self, tmp_path):
        values = np.zeros((NY, NX), np.int32)
        values[0, :8] = [1, 2, 3, 4, 8, 64, -(2**31), 0]
        write(tmp_path / "sky.fits", hdu(SKY[0], "SCI"), fits.ImageHDU(values, name="DQ"))

        def flags(**mask):
            image = read(tmp_path, bands=["g"], hdu="SCI", mask={"hdu": "DQ", **mask})
            assert not image.mask[0, 1:].any()
            return [PIXEL.decode(int(value)) for value in image.mask[0, 0, :8]]

        return flags

    def test_bits(self, flags):
        got = flags(bits={"SAT": [2], "CR": [4, 64]}, ignore=[8])
        assert got == [["BAD"], ["SAT"], ["BAD", "SAT"], ["CR"], [], ["CR"], ["BAD"], []]

    def test_bits_and_nothing_else(self, flags):
        assert flags(bits={"SAT": [2], "EDGE": [2**31]}, other=None) == [[], ["SAT"], ["SAT"], [], [], [], ["EDGE"], []]

    def test_codes(self, flags):
        got = flags(codes={"SAT": [3], "INTERP": [64]}, ignore=[1])
        assert got == [[], ["BAD"], ["SAT"], ["BAD"], ["BAD"], ["INTERP"], ["BAD"], []]

    def test_anything_that_is_not_zero(self, flags):
        assert flags(nonzero="BRIGHT") == [["BRIGHT"]] * 7 + [[]]

    def test_one_mask_for_all_bands_and_one_for_each(self, tmp_path):
        masks = (RNG.random((3, NY, NX)) < 0.1).astype(np.int16)
        write(tmp_path / "sky.fits", hdu(SKY, "SCI"), fits.ImageHDU(masks[0], name="ONE"), fits.ImageHDU(masks, name="EACH"))
        one = read(tmp_path, bands=BANDS, hdu="SCI", mask={"hdu": "ONE", "nonzero": "BAD"})
        each = read(tmp_path, bands=BANDS, hdu="SCI", mask={"hdu": "EACH", "nonzero": "BAD"})
        assert np.array_equal(one.mask, np.stack([masks[0]] * 3))
        assert np.array_equal(each.mask, masks)

    def test_no_mask_means_none(self, tmp_path):
        write(tmp_path / "sky.fits", hdu(SKY[0], "SCI"))
        assert read(tmp_path, bands=["g"]).mask is None


def test_psf_is_normalised_and_brought_to_one_size(tmp_path):
    small, large = np.ones((3, 5)), np.full((7, 7), 2.0)
    write(tmp_path / "sky.fits", hdu(SKY, "SCI"), *(fits.ImageHDU(p, name=n) for p, n in ((small, "A"), (large, "B"), (small, "C"))))
    image = read(tmp_path, bands=BANDS, hdu="SCI", psf={"hdu": {"g": "A", "r": "B", "i": "C"}})
    assert image.psf.shape == (3, 7, 7)
    assert image.psf[0, 2:5, 1:6] == pytest.approx(np.full((3, 5), 1 / 15))
    assert image.psf[0].sum() == pytest.approx(1)


@pytest.mark.parametrize("store", ["plain", "tiled", "gzip"])
def test_a_window_is_that_part_of_the_whole(store, tmp_path):
    data = np.round(SKY[0]).astype(np.int32)
    flags = (RNG.random((NY, NX)) < 0.05).astype(np.int16)
    make = (lambda d, h, n: fits.CompImageHDU(d, h, name=n, tile_shape=(16, 16))) if store == "tiled" else fits.ImageHDU
    path = write(tmp_path / "sky.fits", make(data, header(), "SCI"), make(flags, None, "DQ"), make(data, None, "VAR"))
    if store == "gzip":
        import gzip

        (tmp_path / "sky.fits").write_bytes(gzip.compress((tmp_path / "sky.fits").read_bytes()))
    config = {"bands": ["g"], "hdu": "SCI", "mask": {"hdu": "DQ", "nonzero": "BAD"}, "variance": {"hdu": "VAR", "kind": "variance"}}
    whole = read(tmp_path, **config)
    box = Box(13, 7, 70, 44)
    part = read(tmp_path, Tile("w", 2, 1, window=box, core=box, fields={"image": path}), **config)
    for name in ("data", "mask", "variance"):
        assert np.array_equal(getattr(part, name)[0], getattr(whole, name)[0, 7:44, 13:70])
    x, y = np.array([0.0, 20, 56]), np.array([0.0, 30, 36])
    assert part.wcs.pixel_to_world(x, y).separation(whole.wcs.pixel_to_world(x + 13, y + 7)).arcsec.max() < 1e-9
    assert part.wcs.pixel_shape == (57, 37)


def test_a_window_outside_is_refused(tmp_path):
    path = write(tmp_path / "sky.fits", hdu(SKY[0], "SCI"))
    with pytest.raises(DataError, match="is not inside the image of 80 x 60 pixels"):
        read(tmp_path, Tile("w", 2, 1, window=Box(60, 0, 90, 30), fields={"image": path}), bands=["g"])


def test_an_unknown_placeholder_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match=r"\{visit\} in .* is unknown; .*; try: correct the setting `path`"):
        read(tmp_path, path="x_{visit}.fits", bands=["g"])


def test_the_tile_warns_when_it_has_no_coordinates(tmp_path, caplog):
    write(tmp_path / "sky.fits", fits.ImageHDU(SKY[0], fits.Header({"BUNIT": "nJy"})))
    assert read(tmp_path, bands=["g"]).wcs is None
    assert "no celestial coordinates; sources will have no ra and dec" in caplog.text


def test_inputs_are_stored_and_read_back_as_they_are(tmp_path):
    data = SKY.copy()
    data[1, 5:9, 5:9] = np.nan
    write(tmp_path / "sky.fits", hdu(data, "SCI", OBJECT="<b>'x'"))
    image = read(tmp_path, bands=BANDS)
    image.write(tmp_path / "stored.fits")
    back = type(image).read(tmp_path / "stored.fits")
    assert back.data.tobytes() == image.data.tobytes()
    assert back.meta == image.meta
    grid = RNG.uniform(0, 60, (20, 2))
    assert back.wcs.all_pix2world(grid, 0).tobytes() == image.wcs.all_pix2world(grid, 0).tobytes()
    assert WCS(fits.getheader(tmp_path / "stored.fits", "SCI")).celestial.all_pix2world(grid, 0) == pytest.approx(
        image.wcs.all_pix2world(grid, 0), abs=1e-12
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bands": []}, "at least 1 item"),
        ({"bands": ["g", "g"]}, "names a band twice"),
        ({"bands": ["g"], "zeropoint": 25, "zeropoint_keyword": "X"}, "not both"),
        ({"bands": ["g"], "saturate": 25, "saturate_keyword": "X"}, "not both"),
        ({"bands": ["g", "r"], "zeropoint": {"g": 25}}, "`zeropoint` must name each of the bands g, r"),
        ({"bands": ["g"], "hdu": {"r": 1}}, "`hdu` must name each"),
        ({"bands": ["g"], "mask": {"nonzero": "BAD", "hdu": {"r": 1}}}, "`mask.hdu` must name each"),
        ({"bands": ["g"], "mask": {}}, "set one of `bits`, `codes` and `nonzero`"),
        ({"bands": ["g"], "mask": {"bits": {"SAT": [1]}, "nonzero": "BAD"}}, "set one of"),
        ({"bands": ["g"], "mask": {"bits": {"SATURATED": [1]}}}, "no mask bit 'SATURATED'; there are BAD, SAT"),
        ({"bands": ["g"], "mask": {"bits": {"SAT": [0]}}}, "must be positive"),
        ({"bands": ["g"], "variance": {"kind": "weight"}}, "`scale` is needed with kind `weight`"),
        ({"bands": ["g"], "variance": {"kind": "error", "scale": 2.0}}, "`scale` is needed"),
        ({"bands": ["g"], "colour": 1}, "Extra inputs"),
    ],
)
def test_settings_that_contradict_themselves(config, message):
    with pytest.raises(ValidationError, match=message):
        ReadImage.Config(**config)
