"""Sky level and noise: right on known skies, sane on dirty ones."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.kernels import sky_pixels
from astrosurvey.stages.background.mesh import clipped_rms, filled, filtered, measure, subtracted
from astrosurvey.stages.background.stage import MeshBackground

from .running import run
from .scenes import gaussians, make_image

SETTINGS = {"box": 64, "filter_size": 3, "clip": 3.0, "min_good": 0.5}
SKY = {**SETTINGS, "mask_sources": True, "threshold": 2.0, "dilation": 4}
FIRST = {**SKY, "mask_sources": False}


def sky(data, good, **settings):
    """Return the level and the rms of the sky at every pixel."""
    residual, level, variance = subtracted(data[None], [measure(data, good, **settings)])
    np.testing.assert_array_equal(residual[0], data - level[0])
    return level[0], np.sqrt(variance[0])


def test_flat_noise_gives_level_and_rms_without_bias():
    rng = np.random.default_rng(1)
    data = rng.normal(1e5, 3.0, (512, 512)).astype(np.float32)
    level, rms = sky(data, np.ones(data.shape, bool), **FIRST)
    # 512^2 pixels tell the mean to 3 / 512 and the rms to 3 / 724; float32 at 1e5 rounds to 0.008.
    assert np.mean(level) == pytest.approx(1e5, abs=0.04)
    assert np.mean(rms) == pytest.approx(3.0, abs=0.03)


def test_clipping_factor_is_that_of_a_clipped_normal_sample():
    sample = np.random.default_rng(2).normal(size=400_000)
    for clip in (2.5, 3.0):
        kept = sample
        while True:
            inside = kept[np.abs(kept - np.median(kept)) <= clip * kept.std()]
            if inside.size == kept.size:
                break
            kept = inside
        assert clipped_rms(clip) == pytest.approx(kept.std(), abs=0.005)


def test_gradient_is_followed():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:512, :512]
    truth = 100 + 0.05 * x - 0.03 * y
    level, _ = sky((truth + rng.normal(0, 2, truth.shape)).astype(np.float32), np.ones(truth.shape, bool), **FIRST)
    assert np.abs(level - truth)[64:-64, 64:-64].max() < 1.0


def test_masking_sources_takes_their_light_out_of_the_sky():
    rng = np.random.default_rng(4)
    shape = (512, 512)
    n = 900
    stars = gaussians(shape, rng.uniform(0, 512, n), rng.uniform(0, 512, n), 10 ** rng.uniform(2.5, 4.5, n), sigma=3.0)
    data = (stars + rng.normal(0, 5, shape)).astype(np.float32)
    good = np.ones(shape, bool)
    plain = np.median(sky(data, good, **FIRST)[0])
    masked, rms = sky(data, good, **SKY)
    assert 0.3 < plain < 5
    assert abs(np.median(masked)) < 0.3 * plain
    assert np.median(rms) == pytest.approx(5, rel=0.05)


def test_masked_pixels_and_nan_do_not_matter():
    rng = np.random.default_rng(5)
    data = rng.normal(10, 1, (256, 256)).astype(np.float32)
    good = np.ones(data.shape, bool)
    good[:, 30:40] = False
    good[100:180, 100:180] = False
    clean = sky(data, good, **FIRST)
    data[~good] = np.nan
    dirty = sky(data, good, **FIRST)
    np.testing.assert_array_equal(clean, dirty)
    assert np.isfinite(dirty[0]).all()
    assert dirty[0][140, 140] == pytest.approx(10, abs=0.5)


def test_nothing_good_gives_no_sky():
    data, good = np.random.default_rng(7).normal(50, 2, (2, 40, 50)).astype(np.float32), np.zeros((40, 50), bool)
    level, rms = sky(data[0], good, **SKY)
    assert np.isnan(level).all()
    assert np.isinf(rms).all()
    residual, level, variance = subtracted(data, [None, measure(data[1], ~good, **SKY)])
    assert np.isnan(residual[0]).all()
    assert np.isnan(level[0]).all()
    assert np.isinf(variance[0]).all()
    assert np.abs(level[1] - 50).max() < 2


def test_one_good_corner_speaks_for_the_image():
    data = np.full((256, 256), 7, np.float32)
    good = np.zeros(data.shape, bool)
    good[:5, :5] = True
    level, rms = sky(data, good, **SKY)
    np.testing.assert_allclose(level, 7)
    np.testing.assert_allclose(rms, 0)


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1), (5, 7), (65, 64), (30, 500)])
def test_odd_shapes(shape):
    data = np.random.default_rng(6).normal(50, 2, shape).astype(np.float32)
    level, rms = sky(data, np.ones(shape, bool), **SKY)
    assert level.shape == rms.shape == shape
    assert np.abs(level - np.median(data)).max() < 3
    assert (rms >= 0).all()


def test_constant_image_has_no_noise_and_no_sources():
    data = np.full((200, 200), 12.5, np.float32)
    level, rms = sky(data, np.ones(data.shape, bool), **SKY)
    np.testing.assert_allclose(level, 12.5)
    assert not rms.any()
    one = np.full((1, 1), 12.5, np.float32)
    assert sky_pixels.cpu(data, np.ones(data.shape, bool), one, 0 * one, data.shape, (0, 0), 2.0, 4).all()


def test_a_field_full_of_light_keeps_its_first_pass():
    y, x = np.mgrid[:128, :128]
    data = (1000 * np.exp(-((x - 64) ** 2 + (y - 64) ** 2) / 5000) + np.random.default_rng(7).normal(0, 1, (128, 128))).astype(np.float32)
    level, _ = sky(data, np.ones(data.shape, bool), **SKY)
    assert np.isfinite(level).all()


def test_inputs_are_left_alone():
    data = np.random.default_rng(8).normal(0, 1, (128, 128)).astype(np.float32)
    data.setflags(write=False)
    good = np.ones(data.shape, bool)
    good.setflags(write=False)
    before = data.copy()
    sky(data, good, **SKY)
    np.testing.assert_array_equal(data, before)


def test_boxes_without_enough_pixels_take_over_from_their_neighbours():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    known = np.ones(values.shape, bool)
    known[1, 1] = False
    full = filled(values, known)
    assert full.dtype == np.float32
    assert full[1, 1] == pytest.approx(5, abs=0.3)  # its neighbours lie around it evenly, but for one side
    np.testing.assert_array_equal(full[known], values[known])
    known[:] = False
    known[0, 3] = True
    np.testing.assert_array_equal(filled(values, known), np.full(values.shape, 3))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_median_filter_counts_only_what_is_there(size):
    values = np.random.default_rng(9).normal(size=(6, 7)).astype(np.float32)
    half = size // 2
    around = [[np.median(values[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]) for x in range(7)] for y in range(6)]
    np.testing.assert_allclose(filtered(values, size), around, rtol=1e-6)


def test_level_and_rms_are_those_of_photutils():
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, SExtractorBackground, StdBackgroundRMS

    rng = np.random.default_rng(10)
    shape = (1152, 1024)
    y, x = np.mgrid[: shape[0], : shape[1]]
    n = 1200
    stars = gaussians(shape, rng.uniform(0, 1024, n), rng.uniform(0, 1152, n), 10 ** rng.uniform(2.5, 4.5, n), sigma=3.0)
    data = (stars + 50 + 0.02 * x - 0.01 * y + rng.normal(0, 5, shape)).astype(np.float32)
    good = rng.random(shape) < 0.95
    level, rms = sky(data, good, **FIRST)
    clip = SigmaClip(sigma=3.0, maxiters=10)
    oracle = Background2D(
        data, 64, mask=~good, filter_size=3, sigma_clip=clip, exclude_percentile=50,
        bkg_estimator=SExtractorBackground(sigma_clip=None), bkg_rms_estimator=StdBackgroundRMS(sigma_clip=None),
    )  # fmt: skip
    # A box tells the level to 5 / 64 = 0.08 and more where it is crowded; both see the same pixels.
    # In the outermost boxes photutils' medians lag behind the gradient; ours continue it (see the last test), and four boxes on its spline has forgotten it.
    inner = (slice(256, -256), slice(256, -256))
    assert np.abs(level - oracle.background)[inner].max() < 0.1
    assert np.abs(level - oracle.background)[inner].mean() < 0.02
    np.testing.assert_allclose(rms[inner] * clipped_rms(3.0), oracle.background_rms[inner], rtol=0.02)


def test_overlapping_tiles_measure_the_same_sky():
    data = np.random.default_rng(11).normal(20, 2, (320, 320)).astype(np.float32)
    good = np.ones(data.shape, bool)
    whole = sky(data, good, **{**SKY, "filter_size": 1})
    part = sky(data[70:, 33:].copy(), good[70:, 33:].copy(), **{**SKY, "filter_size": 1}, origin=(70, 33))
    for a, b in zip(whole, part, strict=True):
        assert np.abs(a[70:, 33:] - b)[160:, 160:].max() < 0.02  # a spline feels the part's edge less and less


@pytest.mark.parametrize("case", ["all masked", "constant", "1 x N", "NaN blocks", "huge values"])
def test_known_bad_input(case):
    data = np.random.default_rng(12).normal(0, 1, (150, 170)).astype(np.float32)
    good = np.ones(data.shape, bool)
    if case == "all masked":
        good[:] = False
    elif case == "constant":
        data[:] = -3.25
    elif case == "1 x N":
        data, good = data[:1].copy(), good[:1].copy()
    elif case == "NaN blocks":
        data[:80] = np.nan
    else:
        data[::7, ::11] = np.float32(3e38)
    level, rms = sky(data, good, **SKY)
    assert level.shape == rms.shape == data.shape
    if case == "all masked":
        assert np.isnan(level).all()
        return
    assert np.isfinite(level).all()
    assert (rms >= 0).all()
    assert np.abs(level - (-3.25 if case == "constant" else 0)).max() < 0.8
    assert np.median(rms) == pytest.approx(0 if case == "constant" else 1, abs=0.15)


def test_what_is_not_known_has_infinite_variance_and_the_rest_its_sky():
    data = np.random.default_rng(13).normal(30, 2, (2, 130, 140))
    data[0, :70, 40:90] = np.nan
    variance = np.full(data.shape, 4, np.float32)
    variance[1] = np.inf
    found = run(MeshBackground, image=make_image(data, 2, variance=variance))
    image, sky = found["image"], found["background"]
    hole = np.isnan(data[0])
    assert np.isinf(image.variance[0][hole]).all()
    assert (image.variance[0][~hole] == 4).all()
    assert np.abs(image.data[0][~hole].mean()) < 0.1
    assert np.isfinite(sky.data[0]).all()
    # A band of which every variance is infinite has no usable pixel, so it has no sky.
    assert np.isnan(image.data[1]).all()
    assert np.isinf(image.variance[1]).all()
    assert np.isinf(sky.variance[1]).all()


def test_a_gradient_is_followed_to_the_very_edge():
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:512, :512]
    slope = 100 + 20 * x / 512 + 12 * y / 512
    level, _ = sky((slope + rng.normal(0, 5, slope.shape)).astype(np.float32), np.ones(slope.shape, bool), **FIRST)
    error = level - slope
    edge = np.ones(slope.shape, bool)
    edge[32:-32, 32:-32] = False
    # A box's level is known to 5 / 64 * 1.3; continued by half a box it is 1.6 times as uncertain.
    assert abs(error[edge].mean()) < 0.1
    assert error[edge].std() < 0.3
