"""One sky: any window of it shows the same, and it holds what the counts say."""

import numpy as np
import pytest

from astrosurvey.core.tiles import Box
from astrosurvey.stages.simulate.exposure import image_of, tangent_wcs
from astrosurvey.stages.simulate.lattice import Purpose, SmoothField, cells, generator
from astrosurvey.stages.simulate.scene import Scene
from astrosurvey.stages.simulate.stage import SimulateSky
from astrosurvey.stages.simulate.survey import bands


def scene(**settings):
    config = SimulateSky.Config(**settings)
    return Scene(config, bands(config))


def image(sky, window):
    return image_of(sky, window, tangent_wcs(sky.config.center, sky.config.pixel_scale, window))


# crowded with saturated stars, cosmic rays and bad columns, so that every effect crosses every border
CROWDED = {"bands": ["r", "i"], "star_density": 40, "cosmic_rays": 300, "bad_columns": 30, "seed": 5}


@pytest.fixture(scope="module")
def crowded():
    sky = scene(**CROWDED)
    window = Box(-203, 331, 377, 847)
    return sky, window, image(sky, window)


@pytest.mark.parametrize(
    "part",
    [
        Box(-203, 331, 100, 600),
        Box(100, 331, 377, 600),
        Box(-203, 600, 100, 847),
        Box(100, 600, 377, 847),
        Box(-77, 402, 191, 645),
        Box(40, 500, 43, 501),
    ],
)
def test_any_window_shows_the_same_sky_to_the_last_bit(crowded, part):
    _, window, whole = crowded
    again = image(scene(**CROWDED), part)  # a sky of its own, as another worker would make
    where = (slice(None), slice(part.y0 - window.y0, part.y1 - window.y0), slice(part.x0 - window.x0, part.x1 - window.x0))
    for plane in ("data", "variance", "mask"):
        assert np.array_equal(getattr(again, plane), getattr(whole, plane)[where]), plane


def test_crowded_window_holds_every_effect(crowded):
    _, _, whole = crowded
    for bit in (1, 2, 4):
        assert (whole.mask & bit).any()
    assert np.isfinite(whole.data).all()
    assert (whole.variance > 0).all()


def test_overlapping_tiles_of_a_survey_agree():
    sky = scene(seed=9)
    left, right = image(sky, Box(0, 0, 512, 512)), image(sky, Box(384, 0, 896, 512))
    for plane in ("data", "variance", "mask"):
        assert np.array_equal(getattr(left, plane)[:, :, 384:], getattr(right, plane)[:, :, :128])


def test_bands_do_not_depend_on_which_others_are_observed():
    window = Box(0, 0, 128, 128)
    three, one = image(scene(bands=["g", "r", "i"]), window), image(scene(bands=["i"]), window)
    # stamps are as large as the deepest band needs, so that wings differ below the noise
    assert np.abs(three.data[2] - one.data[0]).max() < 0.5
    assert np.median(np.abs(three.data[2] - one.data[0])) < 0.01


def test_seeds_are_skies():
    window = Box(0, 0, 64, 64)
    assert not np.array_equal(image(scene(seed=1), window).data, image(scene(seed=2), window).data)


def test_number_counts_follow_the_law():
    sky = scene(seed=2)
    magnitude, star, ids = [], [], []
    window = Box(0, 0, 6144, 6144)
    for _, placed in sky.placed(window, reaching=False):
        magnitude.append(placed.objects.r)
        star.append(placed.objects.point.any(axis=1))
        ids.append(placed.truth_id)
        assert ((placed.x >= -0.5) & (placed.x < 6143.5) & (placed.y >= -0.5) & (placed.y < 6143.5)).all()
    magnitude, star, ids = np.concatenate(magnitude), np.concatenate(star), np.concatenate(ids)
    area = (6144 * 0.2 / 3600) ** 2
    # the law as published, restated: log10 per square degree and magnitude at its knots
    galaxies = np.array([[16, 0.72], [18, 1.85], [20, 2.87], [22, 3.76], [24, 4.52], [26, 5.13], [28, 5.60]])
    for low, high in ((19, 20), (20, 21), (22, 22.5), (24, 24.5), (26, 26.25), (27, 27.5)):
        grid = np.linspace(low, high, 200)
        expected = np.mean(10 ** np.interp(grid, *galaxies.T)) * (high - low) * area
        found = np.sum(~star & (magnitude >= low) & (magnitude < high))
        assert abs(found - expected) < 4 * np.sqrt(expected), (low, found, expected)
    assert np.sum(star & (magnitude < 22)) == pytest.approx(2.0 * 5417 * area, abs=4 * np.sqrt(2.0 * 5417 * area))
    assert len(np.unique(ids)) == len(ids)
    assert ids.min() >= 0
    assert ids.max() < 2**53


def test_ids_belong_to_objects_and_not_to_windows():
    sky = scene(seed=3)

    def listed(window):
        return {i: (x, y) for _, p in sky.placed(window) for i, x, y in zip(p.truth_id.tolist(), p.x.tolist(), p.y.tolist(), strict=True)}

    left, right = listed(Box(-300, -40, 200, 200)), listed(Box(100, 0, 700, 300))
    shared = left.keys() & right.keys()
    assert len(shared) > 100
    assert all(left[i] == right[i] for i in shared)


def test_stamps_reach_as_far_as_their_objects_show():
    sky = scene(seed=4, star_density=5)
    at_limit = {0: [], 1: []}
    for level, placed in sky.placed(Box(0, 0, 3072, 3072)):
        at_limit[level.number].append(placed.size == level.largest)
        assert (placed.reach <= level.largest // 2).all()
    # a stamp at its level's limit may be cut where its object still shows
    assert np.mean(np.concatenate(at_limit[0])) < 0.005
    assert np.mean(np.concatenate(at_limit[1])) < 0.0005


def test_sky_gradient_is_smooth_and_within_its_scatter():
    sky = scene(seed=1, sky_gradient=0.02, galaxy_density=0, star_density=0)
    expected, trails = sky.expected(Box(0, 0, 2048, 512))
    assert not any(trails)
    for band, level in zip(sky.bands, expected, strict=True):
        assert np.abs(level / band.sky - 1.0).max() < 0.1
        assert level.std() > 1e-4 * band.sky
        assert np.abs(np.diff(level, axis=1)).max() < 1e-4 * band.sky


def test_cells_cover_a_window_in_one_order():
    boxes = [box for _, _, box in cells(Box(-5, 3, 20, 17), 10, 2)]
    assert [(b.x0, b.y0) for b in boxes] == [(x, y) for y in (0, 10) for x in (-10, 0, 10, 20)]


def test_generators_differ_by_place_and_purpose():
    draws = {
        generator(1, purpose, x, y).integers(1 << 62)
        for purpose in (Purpose.NOISE, Purpose.FAINT)
        for x in (-1, 0, 1, 1 << 31)
        for y in (-1, 0, 1)
    }
    assert len(draws) == 24


def test_smooth_field_is_the_same_at_points_and_over_windows():
    field = SmoothField(1, Purpose.SKY_LEVEL, 0, 100.0)
    window = Box(-130, -20, 260, 40)
    grid = field.over(window)
    rows, columns = np.mgrid[window.y0 : window.y1, window.x0 : window.x1]
    points = field.at(columns.ravel().astype(float), rows.ravel().astype(float)).reshape(grid.shape)
    assert np.allclose(points, grid, rtol=0, atol=1e-12)
    assert len(field.at(np.empty(0), np.empty(0))) == 0
    far = np.random.default_rng(1).uniform(-3000, 3000, (2, 4000))
    values = field.at(*far)
    assert values.mean() == pytest.approx(0, abs=5 / np.sqrt(4000))
    assert values.std() == pytest.approx(1.0, abs=0.08)
