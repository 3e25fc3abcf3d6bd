"""Sky level and noise: right on known skies, sane on dirty ones."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.stages.background.mesh import clipped_rms, mesh, sky, source_mask

from .scenes import gaussians

SETTINGS = {"box": 64, "filter_size": 3, "clip": 3.0, "min_good": 0.5}
SKY = {**SETTINGS, "mask_sources": True, "threshold": 2.0, "dilation": 4}


def test_flat_noise_gives_level_and_rms_without_bias():
    rng = np.random.default_rng(1)
    data = rng.normal(1e5, 3.0, (512, 512)).astype(np.float32)
    level, rms = mesh(data, np.ones(data.shape, bool), **SETTINGS)
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
    level, _ = mesh((truth + rng.normal(0, 2, truth.shape)).astype(np.float32), np.ones(truth.shape, bool), **SETTINGS)
    assert np.abs(level - truth)[64:-64, 64:-64].max() < 1.0


def test_masking_sources_takes_their_light_out_of_the_sky():
    rng = np.random.default_rng(4)
    shape = (512, 512)
    n = 900
    stars = gaussians(shape, rng.uniform(0, 512, n), rng.uniform(0, 512, n), 10 ** rng.uniform(2.5, 4.5, n), sigma=3.0)
    data = (stars + rng.normal(0, 5, shape)).astype(np.float32)
    good = np.ones(shape, bool)
    plain = np.median(sky(data, good, **{**SKY, "mask_sources": False})[0])
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
    clean = mesh(data, good, **SETTINGS)
    data[~good] = np.nan
    dirty = mesh(data, good, **SETTINGS)
    np.testing.assert_array_equal(clean, dirty)
    assert np.isfinite(dirty[0]).all()
    assert dirty[0][140, 140] == pytest.approx(10, abs=0.5)


def test_nothing_good_gives_nan():
    level, rms = sky(np.zeros((40, 50), np.float32), np.zeros((40, 50), bool), **SKY)
    assert np.isnan(level).all()
    assert np.isnan(rms).all()


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
    assert not source_mask(data - level, rms, np.ones(data.shape, bool), threshold=2, dilation=4).any()


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
