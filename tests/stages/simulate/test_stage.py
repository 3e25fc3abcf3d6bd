"""The stage `simulate.sky`: its settings, its image, its truth table."""

import logging
import math

import numpy as np
import pytest
from pydantic import ValidationError

from astrosurvey.catalog.flags import PIXEL, UNUSABLE
from astrosurvey.core.stage import Context, DataError, check_stage, ports
from astrosurvey.core.tiles import Box, Tile
from astrosurvey.stages.simulate.exposure import tangent_wcs
from astrosurvey.stages.simulate.stage import SimulateSky


def context(tile, tmp_path):
    return Context(tile, np.random.default_rng(0), "cpu", logging.getLogger("test"), lambda done, total: None, tmp_path)


def simulate(tmp_path, tile, **settings):
    found = SimulateSky(SimulateSky.Config(**settings)).run(context(tile, tmp_path))
    return found["image"], found["truth"]


LEFT = Tile("t0", 11, 0, Box(0, 0, 512, 512), Box(0, 0, 448, 512))
RIGHT = Tile("t1", 12, 1, Box(384, 0, 896, 512), Box(448, 0, 896, 512))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scratch")
    return [simulate(folder, tile, seed=21) for tile in (LEFT, RIGHT)]


def rows(truth, band):
    chosen = truth.column("band") == band
    return {
        name: truth.column(name)[chosen]
        for name in ("truth_id", "x", "y", "ra", "dec", "flux", "primary", "object_type", "half_light_radius")
    }


def test_stage_follows_the_protocol():
    check_stage(SimulateSky)


def test_products_are_sound(tiles):
    for image, truth in tiles:
        assert image.data.dtype == image.variance.dtype == image.psf.dtype == np.float32
        assert image.mask.dtype == np.int32
        assert image.data.shape == image.variance.shape == image.mask.shape == (3, 512, 512)
        assert image.bands == ("g", "r", "i")
        assert image.psf.shape[0] == 3
        assert image.psf.shape[1] == image.psf.shape[2]
        assert image.psf.shape[1] % 2 == 1
        assert image.psf.sum(axis=(1, 2)) == pytest.approx(1.0, abs=1e-5)
        assert [np.unravel_index(p.argmax(), p.shape) for p in image.psf] == [(image.psf.shape[1] // 2,) * 2] * 3
        assert set(image.meta["seeing"]) == {"g", "r", "i"}
        truth.check()
        assert truth.meta["tile"]["pixel_scale"] == pytest.approx(0.2, rel=1e-6)


def test_truth_lists_every_object_in_every_band(tiles):
    _, truth = tiles[0]
    assert len(truth) % 3 == 0
    assert truth.column("band").tolist() == ["g", "r", "i"] * (len(truth) // 3)
    assert set(truth.column("object_type")) == {"star", "galaxy"}
    assert set(truth.column("tile_id")) == {11}
    keys = set(zip(truth.column("truth_id").tolist(), truth.column("band").tolist(), strict=True))
    assert len(keys) == len(truth)
    r = rows(truth, "r")["flux"]
    assert (np.diff(r) <= 0).all()
    area = (512 * 0.2 / 3600) ** 2
    assert len(r) == pytest.approx(137 * 3600 * area + 2 * 19300 * area, abs=5 * math.sqrt(450))
    galaxy = truth.column("object_type") == "galaxy"
    for name in ("redshift", "bulge_fraction", "half_light_radius", "semi_major", "semi_minor", "theta", "disk_radius"):
        values = truth.column(name)
        assert np.isfinite(values[galaxy]).all(), name
        assert np.isnan(values[~galaxy]).all(), name
    axes = truth.column("semi_major")[galaxy], truth.column("semi_minor")[galaxy]
    assert (axes[0] >= axes[1]).all()
    assert np.sqrt(axes[0] * axes[1]) == pytest.approx(truth.column("half_light_radius")[galaxy], rel=1e-5)
    bulge = truth.column("bulge_fraction")[galaxy]
    assert np.array_equal(bulge > 0, np.isfinite(truth.column("bulge_radius")[galaxy]))


def test_overlapping_tiles_agree_about_the_truth_and_own_it_once(tiles):
    (_, left), (_, right) = tiles
    left, right = rows(left, "r"), rows(right, "r")
    place = {i: k for k, i in enumerate(right["truth_id"].tolist())}
    pairs = [(k, place[i]) for k, i in enumerate(left["truth_id"].tolist()) if i in place]
    assert len(pairs) > 50
    a, b = np.array(pairs).T
    assert (left["x"][a] >= 383.5).all()
    assert left["x"][a] - 384 == pytest.approx(right["x"][b], abs=1e-9)
    for name in ("y", "ra", "dec", "flux"):
        assert left[name][a] == pytest.approx(right[name][b], rel=1e-12)
    assert (left["primary"][a] ^ right["primary"][b]).all()
    assert left["primary"].sum() + right["primary"].sum() == len(set(left["truth_id"].tolist()) | set(right["truth_id"].tolist()))


def test_truth_positions_and_fluxes_are_where_the_light_is(tmp_path):
    quiet = {"galaxy_density": 0, "star_density": 3, "cosmic_rays": 0, "bad_columns": 0, "sky_gradient": 0, "bands": ["r"], "seed": 4}
    image, truth = simulate(tmp_path, Tile("t", 1, 0, Box(1000, -2000, 2024, -976)), **quiet)
    level = 10 ** (0.4 * (31.4 - 21.2)) * 0.04
    stars = rows(truth, "r")
    used = 0
    for x, y, flux, ra, dec in zip(stars["x"], stars["y"], stars["flux"], stars["ra"], stars["dec"], strict=True):
        column, row = round(x), round(y)
        others = np.hypot(stars["x"] - x, stars["y"] - y)
        lonely = np.sum(stars["flux"][(others > 0) & (others < 60)]) < 0.02 * flux
        if not (lonely and 40 < column < 984 and 40 < row < 984 and 3e3 < flux < 3e5):
            continue
        part = np.s_[0, row - 32 : row + 33, column - 32 : column + 33]
        assert not (image.mask[part] & UNUSABLE).any()
        light = image.data[part].astype(float) - level
        error = math.sqrt(image.variance[part].sum())
        assert light.sum() == pytest.approx(flux, abs=4.5 * error + 0.025 * flux)
        rows_, columns_ = np.mgrid[-6:7, -6:7]
        core = light[26:39, 26:39]
        assert (core * columns_).sum() / core.sum() + column == pytest.approx(x, abs=0.25)
        assert (core * rows_).sum() / core.sum() + row == pytest.approx(y, abs=0.25)
        assert image.wcs.pixel_to_world_values(x, y) == (pytest.approx(ra, abs=1e-9), pytest.approx(dec, abs=1e-9))
        used += 1
    assert used >= 10


def test_stars_are_as_wide_as_the_psf(tmp_path):
    """Seeing as a photometrist would measure it, on bright stars, against what the product's PSF says."""
    from photutils.psf import fit_fwhm

    quiet = {
        "galaxy_density": 0,
        "star_density": 4,
        "cosmic_rays": 0,
        "bad_columns": 0,
        "sky_gradient": 0,
        "psf_variation": 0,
        "psf_ellipticity": 0,
        "seed": 8,
        "bands": ["r"],
    }
    image, truth = simulate(tmp_path, Tile("t", 1, 0, Box(0, 0, 768, 768)), **quiet)
    stars = rows(truth, "r")
    good = (stars["flux"] > 2e4) & (stars["flux"] < 3e5) & (np.abs(stars["x"] - 384) < 350) & (np.abs(stars["y"] - 384) < 350)
    apart = [
        np.sort(np.hypot(stars["x"] - x, stars["y"] - y)[stars["flux"] > 500])[1] > 25 for x, y in zip(stars["x"], stars["y"], strict=True)
    ]
    places = np.stack([stars["x"], stars["y"]], axis=1)[good & np.array(apart)]
    assert len(places) > 5
    data = image.data[0].astype(float) - 10 ** (0.4 * (31.4 - 21.2)) * 0.04
    measured = np.median(fit_fwhm(data, xypos=places, fit_shape=7))
    middle = image.psf.shape[1] // 2
    model = fit_fwhm(image.psf[0].astype(float), xypos=[(middle, middle)], fit_shape=7)[0]
    assert measured == pytest.approx(model, rel=0.03)
    # the width at half of the maximum; seen through pixels it is a little more than the seeing
    profile = image.psf[0, middle, middle:].astype(float)
    half = np.interp(-0.5 * profile[0], -profile, np.arange(len(profile)))
    assert 3.5 < 2 * half < 3.5 * 1.06


def test_one_tangent_plane_serves_the_whole_sky():
    config = SimulateSky.Config(center=(10.0, -30.0))
    origin, other = (
        tangent_wcs(config.center, config.pixel_scale, Box(0, 0, 100, 100)),
        tangent_wcs(config.center, config.pixel_scale, Box(5000, -300, 5100, -200)),
    )
    assert origin.pixel_to_world_values(0, 0) == (pytest.approx(10.0), pytest.approx(-30.0))
    assert other.pixel_to_world_values(7.0, 9.0) == tuple(pytest.approx(v, abs=1e-11) for v in origin.pixel_to_world_values(5007.0, -291.0))
    east = origin.pixel_to_world_values(-1, 0)[0] - 10.0
    assert east == pytest.approx(0.2 / 3600 / math.cos(math.radians(30)), rel=1e-4)


def test_same_tile_again_gives_the_same_bytes(tmp_path):
    tile = Tile("t", 3, 0, Box(100, 100, 228, 228))
    stored = []
    for turn in ("first", "second"):
        for product in simulate(tmp_path, tile):
            path = tmp_path / f"{turn}{product.suffix}"
            product.write(path)
            stored.append(path.read_bytes())
    assert stored[:2] == stored[2:]


@pytest.mark.parametrize("kind", ["galaxy", "star"])
def test_promised_columns_are_filled_even_where_only_one_kind_is_seen(tmp_path, kind):
    other = {"galaxy": "star_density", "star": "galaxy_density"}[kind]
    _, truth = simulate(tmp_path, Tile("t", 3, 0, Box(0, 0, 192, 192)), **{other: 0})
    assert set(truth.column("object_type")) == {kind}
    ports(SimulateSky, "outputs")["truth"].contract.check(truth)


def test_empty_truth_is_an_empty_catalogue(tmp_path):
    image, truth = simulate(tmp_path, Tile("t", 3, 0, Box(0, 0, 32, 32)), galaxy_density=0, star_density=0)
    assert len(truth) == 0
    assert truth.meta["tile"]["nx"] == 32
    assert np.isfinite(image.data).all()


def test_truth_depth_limits_the_list_and_not_the_sky(tmp_path):
    tile = Tile("t", 3, 0, Box(0, 0, 256, 256))
    (shallow, few), (deep, many) = (simulate(tmp_path, tile, truth_depth=depth) for depth in (24.0, 27.0))
    assert np.array_equal(shallow.data, deep.data)
    r_magnitude = 31.4 - 2.5 * np.log10(rows(few, "r")["flux"])
    assert r_magnitude.max() <= 24.0
    assert len(many) > 4 * len(few)


def test_tile_without_window_says_what_to_write(tmp_path):
    with pytest.raises(DataError, match=r"tile t7 has none; write `tiles: \{count: 8, size: 1024, overlap: 128\}`"):
        simulate(tmp_path, Tile("t7", 1, 0))


def test_settings_complete_themselves():
    config = SimulateSky.Config(depth={"r": 24.0})
    assert config.depth["r"] == 24.0
    assert config.depth["i"] == SimulateSky.Config().depth["i"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"bands": []},
        {"bands": ["r", "r"]},
        {"bands": ["V"]},
        {"depth": {"K": 22}},
        {"center": (400.0, 0.0)},
        {"pixel_scale": 0},
        {"psf_beta": 1.0},
        {"seeing": {"r": 0.0}},
        {"faint_limit": 40},
        {"colour": 1},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        SimulateSky.Config(**wrong)


def test_cosmic_rays_are_in_the_mask(tiles):
    image, _ = tiles[0]
    assert (image.mask & PIXEL["CR"]).any()


def test_camera_whose_sky_saturates_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"band r: the sky alone .* raise `exposures`"):
        simulate(tmp_path, LEFT, bands=["r"], pixel_scale=1.0, exposures=1)


@pytest.mark.parametrize(("pixel_scale", "seeing"), [(0.1, 0.4), (0.5, 0.7), (1.0, 1.0)])
def test_other_cameras(tmp_path, pixel_scale, seeing):
    """Well sampled or not, a sky keeps its objects and their fluxes."""
    settings = {
        "pixel_scale": pixel_scale,
        "seeing": {"r": seeing},
        "bands": ["r"],
        "cosmic_rays": 0,
        "bad_columns": 0,
        "sky_gradient": 0,
        "star_density": 0,
        "exposures": 20,
    }
    size = round(60 / pixel_scale)
    image, truth = simulate(tmp_path, Tile("t", 1, 0, Box(0, 0, size, size)), **settings)
    level = 10 ** (0.4 * (31.4 - 21.2)) * pixel_scale**2
    light = float((image.data[0].astype(float) - level)[~(image.mask[0] > 0)].sum())
    flux = truth.column("flux").sum()
    assert light == pytest.approx(flux, abs=0.25 * flux + 4 * math.sqrt(image.variance.sum()))
