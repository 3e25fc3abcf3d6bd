"""`detection.matched`: the threshold means sigma, positions are a star's, and seeds become sources."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats
from scipy.spatial import cKDTree

from astrosurvey.catalog.flags import PIXEL, SOURCE
from astrosurvey.products import Catalog
from astrosurvey.stages.detection import filter as matched
from astrosurvey.stages.detection import significance
from astrosurvey.stages.detection.stage import MatchedDetection

from .running import run
from .scenes import FWHM, SIGMA, gaussians, grid, make_image, psf_stamp

RMS = 5.0
SHAPE = (512, 512)


def noise(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, RMS, shape)


def star(flux: float, x: float = 100.0, y: float = 80.0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return gaussians(shape, np.array([x]), np.array([y]), np.array([flux]))


def flux_of(snr: float) -> float:
    """Return the flux of a star of that matched-filter S/N."""
    return snr * RMS * np.sqrt(4 * np.pi) * SIGMA


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 1.4), (1.0, 1.4, 2.0, 3.0)])
def test_significance_of_the_greatest_has_the_chance_it_claims(scales):
    image = make_image(noise(1, (1024, 1024)), RMS)
    snr = matched.detection_images(image, None, [[np.array([FWHM * s]) for s in scales]])[0].snr[40:-40, 40:-40]
    found = significance.of_greatest(snr, scales)
    independent = snr.size / (4 * np.pi * SIGMA**2)
    for level in (-1.0, 0.0, 1.0, 2.0, 3.0):
        chance = stats.norm.sf(level)
        # Five standard deviations of the count, and five per cent for taking a width to depend on its neighbour only.
        assert np.mean(found > level) == pytest.approx(chance, abs=5 * np.sqrt(chance / independent) + 0.05 * chance)
    for level in (-3.0, 0.5, 4.3, 50.0):
        assert significance.of_greatest(np.array(significance.greatest_of(level, scales)), scales) == pytest.approx(level, abs=2e-3)


def test_one_filter_needs_no_allowance():
    z = np.linspace(-8, 80, 100)
    np.testing.assert_allclose(significance.of_greatest(z, (1.0,)), z, atol=1e-9)


def test_correlated_noise_is_measured_and_the_threshold_keeps_its_meaning():
    data = ndimage.gaussian_filter(noise(2, (1024, 1024)), 0.8)
    image = make_image(data, data.std())
    plain = run(MatchedDetection, {"threshold": 4.0}, image=image)
    aware = run(MatchedDetection, {"threshold": 4.0, "noise": "measured"}, image=image)
    # Noise smoothed by s scatters, after a filter of sigma f, 2 sqrt(pi) s f / sqrt(f^2 + s^2) times what white noise would.
    expected = 2 * np.sqrt(np.pi) * 0.8 * SIGMA / np.hypot(SIGMA, 0.8)
    assert aware["segmentation"].meta["noise_scale"] == pytest.approx(expected, rel=0.03)
    assert len(plain["sources"]) > 100
    assert len(aware["sources"]) < 20
    assert plain["segmentation"].meta["noise_scale"] == 1
    white = run(MatchedDetection, {"noise": "measured"}, image=make_image(noise(3, (1024, 1024)), RMS))
    assert white["segmentation"].meta["noise_scale"] == pytest.approx(1, abs=0.03)


def test_positions_are_as_good_as_a_star_allows_and_their_errors_true():
    rng = np.random.default_rng(4)
    x, y = grid((1024, 1024), 32, rng)
    snr = rng.uniform(10, 60, x.size)
    image = make_image(gaussians((1024, 1024), x, y, flux_of(1.0) * snr) + noise(5, (1024, 1024)), RMS)
    sources = run(MatchedDetection, image=image)["sources"]
    distance, match = cKDTree(np.stack([x, y], 1)).query(np.stack([sources.column("x"), sources.column("y")], 1))
    near = distance < 2
    assert near.sum() > 0.99 * x.size
    match, bound = match[near], np.sqrt(2) * SIGMA / snr[match[near]]  # the Cramer-Rao bound of a Gaussian star
    for axis, truth in (("x", x), ("y", y)):
        off = sources.column(axis)[near] - truth[match]
        pull = off / np.sqrt(sources.column(f"{axis}_var")[near])
        margin = 4 / np.sqrt(2 * near.sum())
        assert abs(np.mean(pull)) < 4 / np.sqrt(near.sum())
        assert np.std(pull) == pytest.approx(1, abs=margin + 0.02)
        assert np.std(off / bound) == pytest.approx(1, abs=margin + 0.03)
    assert sources.column("significance")[near] == pytest.approx(snr[match], abs=5)


def test_a_source_is_its_peak_and_the_floor_only_widens_it():
    image = make_image(star(flux_of(6.0)) + star(flux_of(3.6), 300, 300), RMS)
    tight = run(MatchedDetection, image=image)
    wide = run(MatchedDetection, {"floor": 2.0}, image=image)
    assert len(tight["sources"]) == len(wide["sources"]) == 1
    assert wide["sources"].column("n_pixels")[0] > 2 * tight["sources"].column("n_pixels")[0]
    assert wide["sources"].column("significance") == pytest.approx(tight["sources"].column("significance"))
    assert set(np.unique(wide["segmentation"].labels)) == {0, 1}


def test_saturated_star_keeps_the_middle_of_its_core():
    data = np.minimum(gaussians(SHAPE, np.array([100.0]), np.array([90.0]), np.array([3e7]), sigma=6.0), 3e4)
    mask = np.where(data >= 3e4, PIXEL["SAT"], 0).astype(np.int32)[None]
    variance = np.where(mask != 0, np.inf, RMS**2).astype(np.float32)
    sources = run(MatchedDetection, image=make_image(data + noise(6), RMS, mask=mask, variance=variance))["sources"]
    best = int(sources.column("significance").argmax())
    assert (sources.column("x")[best], sources.column("y")[best]) == (pytest.approx(100, abs=0.1), pytest.approx(90, abs=0.1))
    assert sources.column("flags")[best] & SOURCE["SATURATED"]


def nothing_there() -> dict:
    quiet = np.random.default_rng(7).normal(0, 0.01, (2, 64, 64))
    return {
        "constant": make_image(np.zeros((2, 64, 64)), RMS),
        "all NaN": make_image(np.full((2, 64, 64), np.nan), RMS),
        "all masked": make_image(quiet, RMS, mask=np.full((2, 64, 64), PIXEL["NO_DATA"], np.int32)),
        "infinite variance": make_image(quiet, RMS, variance=np.full((2, 64, 64), np.inf, np.float32)),
        "PSF larger than the tile": make_image(np.zeros((1, 48, 48)), RMS, psf=psf_stamp(101, 25.0)[None]),
        "one row": make_image(np.zeros((1, 1, 200)), RMS),
        "one column": make_image(np.zeros((1, 200, 1)), RMS),
        "one pixel": make_image(np.zeros((1, 1, 1)), RMS),
    }


@pytest.mark.parametrize("name", nothing_there())
@pytest.mark.parametrize("settings", [{}, {"scales": (1.0, 2.0), "noise": "measured", "floor": 2.0}, {"combine": "chi"}, {"fwhm": 300.0}])
def test_nothing_gives_an_empty_catalogue(name, settings):
    image = nothing_there()[name]
    for seeds in (None, seeds_at([0.0], [0.0])):
        found = run(MatchedDetection, settings, image=image, seeds=seeds)
        assert len(found["sources"]) == 0
        assert not found["segmentation"].labels.any()


def test_blocks_of_nan_and_dead_variance_hide_only_what_is_behind_them():
    data = star(flux_of(20.0)) + star(flux_of(20.0), 300, 300) + noise(8)
    data[:60], data[280:320, 280:320] = np.nan, np.nan
    variance = np.full((1, *SHAPE), RMS**2, np.float32)
    variance[0, 400:] = np.inf
    found = run(MatchedDetection, {"threshold": 6.0}, image=make_image(data, RMS, variance=variance))["sources"]
    assert (found.column("x"), found.column("y")) == (pytest.approx([100], abs=0.5), pytest.approx([80], abs=0.5))


@pytest.mark.parametrize(
    "settings", [{"scales": [1.4, 1.0]}, {"scales": [0.0]}, {"floor": 5.0, "threshold": 4.0}, {"noise": "measured", "combine": "chi"}]
)
def test_contradictory_settings_are_refused(settings):
    with pytest.raises(ValueError, match=r"must|needs"):
        MatchedDetection.Config(**settings)


def seeds_at(x: list[float], y: list[float], **more: object) -> Catalog:
    n = len(x)
    columns = {
        "source_id": np.arange(n), "tile_id": 7, "x": np.array(x), "y": np.array(y), "ra": np.nan, "dec": np.nan,
        "x_min": 0, "x_max": 1, "y_min": 0, "y_max": 1, "n_pixels": 1, "significance": 1.0, "n_child": 0, "primary": True, "flags": 0,
        **more,
    }  # fmt: skip
    return Catalog.from_columns("source", columns)


def test_seeds_divide_islands_and_reach_deeper():
    bright, faint = flux_of(40.0), flux_of(3.5)
    data = star(bright, 100, 80) + star(bright, 104, 80) + star(faint, 300, 200) + star(bright, 400, 400)
    seeds = seeds_at(
        [104.2, 99.9, 300.0, 30.0, 99.9, -5.0, np.nan],
        [80.0, 80.1, 200.0, 450.0, 80.1, 3.0, 5.0],
        probability=[0.9, 0.8, 0.6, 0.5, 0.1, 0.9, 0.9],
        x_toy_mark=[1, 2, 3, 4, 5, 6, 7],
    )
    image = make_image(data, RMS)
    found = run(MatchedDetection, {"threshold": 4.2}, image=image, seeds=seeds)
    sources, labels = found["sources"], found["segmentation"].labels
    np.testing.assert_allclose(sources.column("x"), [104.2, 99.9, 300, 400], atol=0.2)
    assert sources.rows.column("probability").to_pylist() == [pytest.approx(0.9), pytest.approx(0.8), pytest.approx(0.6), None]
    assert sources.rows.column("x_toy_mark").to_pylist() == [1, 2, 3, None]
    assert [bool(flags & SOURCE["SEEDED"]) for flags in sources.column("flags")] == [False, False, True, False]
    assert [bool(flags & SOURCE["BLENDED"]) for flags in sources.column("flags")] == [True, True, False, False]
    assert [labels[80, 106], labels[80, 98], labels[200, 300], labels[400, 400], labels[450, 30]] == [1, 2, 3, 4, 0]
    alone = run(MatchedDetection, {"threshold": 4.2}, image=image)
    assert len(alone["sources"]) == 2
    np.testing.assert_array_equal(alone["segmentation"].labels > 0, (labels > 0) & (labels != 3))
    assert (sources.column("n_pixels")[:2] > 0.15 * alone["sources"].column("n_pixels")[0]).all()
