"""Stamps of many objects against numbers known otherwise, and against the renderer of `simulate.sky`."""

import math

import numpy as np
import pytest

from astrosurvey.stages.simulate.profiles import sersic_transform
from astrosurvey.stages.simulate.psf import ellipse_form
from astrosurvey.stages.simulate.render import Bodies, Moffat, corners, matched_norms, render, smoothing_loss, stamp_sizes, stamps
from astrosurvey.stages.simulate.sersic import START, STEP, STOP, sersic_outside, sersic_rows, sersic_scale
from astrosurvey.stages.simulate.stamps import Shape
from astrosurvey.stages.simulate.stamps import render as render_one

GRID = np.arange(START, STOP + 0.5 * STEP, STEP)
NOISE = np.array([5.0])


def moffat(fwhm=4.0, beta=3.5, ellipticity=0.0, theta=0.0):
    return Moffat(beta, np.array([fwhm]), np.array([ellipticity]), np.array([theta]))


def bodies(n, rng, bands=1):
    half_light = np.where(rng.random(n) < 0.3, 0.0, rng.uniform(0.8, 10.0, n))
    flux = 100.0 * rng.random((n, 1)) ** -1.1 * np.ones(bands)
    return Bodies(
        *rng.uniform(0, 200, (2, n)), flux, half_light, rng.uniform(0.5, 4.0, n), rng.uniform(0.3, 1.0, n), rng.uniform(0, 3.1, n)
    )


def one(x, y, half_light, index, ratio=1.0, theta=0.0, flux=1.0):
    return Bodies(
        *(np.array([float(v)]) for v in (x, y)), np.array([[flux]]), *(np.array([float(v)]) for v in (half_light, index, ratio, theta))
    )


def test_transform_of_a_gaussian_and_of_a_disk():
    k2 = np.exp(GRID)
    rows = sersic_rows(np.array([0.5, 1.0]))
    b = sersic_scale(np.array([0.5, 1.0]))
    assert np.abs(rows[0] - np.exp(-k2 / (4 * b[0]))).max() < 1e-4
    assert np.abs(rows[1] - (1 + k2 / b[1] ** 2) ** -1.5).max() < 1e-4


@pytest.mark.parametrize("index", [2.13, 2.7, 3.3, 4.0, 5.4])
def test_transform_between_the_nodes(index):
    row = sersic_rows(np.array([index]))[0, ::20]
    assert np.abs(row - sersic_transform(np.exp(0.5 * GRID[::20]), index)).max() < 2e-4


def test_transform_falls_with_the_index_without_a_step():
    """The two integrals behind the table meet at an index of two."""
    rows = sersic_rows(np.linspace(1.9, 2.35, 60))
    assert np.abs(np.diff(rows, n=2, axis=0)).max() < 2e-4


def test_half_of_the_light_is_within_the_half_light_radius():
    for index in (0.5, 1.0, 2.5, 4.0):
        assert float(sersic_outside(np.ones(1), np.array([index]))[0]) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("index", [1.0, 4.0])
def test_a_stamp_is_that_of_the_other_renderer(index):
    psf = moffat(ellipticity=0.1, theta=0.3)
    new = stamps(one(10.3, 20.7, 3.0, index, 0.5, 0.7), psf, 128)[0, 0]
    form = ellipse_form(np.array([3.0 / math.sqrt(0.5)]), np.array([3.0 * math.sqrt(0.5)]), np.array([0.7]))[0]
    none, full = np.zeros(1), np.ones(1)
    bulge, disk = (full, none) if index == 4.0 else (none, full)
    old = render_one(Shape(10.3, 20.7, 128, none, bulge, disk, form, form, psf.forms()), 3.5, 3)[0]
    assert np.abs(new - old).max() < 3e-5 * old.max()


def test_every_object_is_rendered_once_and_keeps_its_flux():
    some = bodies(400, np.random.default_rng(5))
    seen = []
    for which, x0, y0, images in render(some, moffat(), NOISE):
        seen += which.tolist()
        assert images.dtype == np.float32
        np.testing.assert_allclose(images.sum(axis=(1, 2, 3)), some.flux[which, 0], rtol=2e-3)
        size = images.shape[-1]
        assert np.array_equal(x0, corners(some.x[which], size))
        assert (np.abs(y0 + size // 2 - some.y[which]) <= 0.5).all()
    assert sorted(seen) == list(range(400))


def test_the_centroid_is_where_the_object_is():
    some = one(50.37, 80.81, 2.0, 1.0, 0.6, 1.1)
    (_, x0, y0, images), *_ = render(some, moffat(), NOISE)
    y, x = np.mgrid[: images.shape[-1], : images.shape[-1]]
    light = images[0, 0].astype(np.float64)
    assert (x * light).sum() / light.sum() + x0[0] == pytest.approx(50.37, abs=0.01)
    assert (y * light).sum() / light.sum() + y0[0] == pytest.approx(80.81, abs=0.01)


def test_wrapped_light_is_small_where_a_larger_stamp_shows_it():
    some = bodies(60, np.random.default_rng(6))
    sizes = stamp_sizes(some, moffat(), NOISE)
    for i in range(60):
        size = int(sizes[i])
        here = some.take(np.array([i]))
        small, large = stamps(here, moffat(), size)[0, 0], stamps(here, moffat(), 2 * size)[0, 0]
        cut = large[size // 2 : size // 2 + size, size // 2 : size // 2 + size]
        assert np.abs(small - cut).max() < 0.15 * NOISE[0]
        snr = float(matched_norms(large[None, None])[0, 0]) / NOISE[0]
        assert large.sum() - cut.sum() < max(0.01, 0.6 / snr) * large.sum()


def test_a_narrow_psf_is_sampled_finely_enough():
    """Its stamp sums to one and is symmetric, whatever the place in the pixel."""
    psf = moffat(2.4)
    assert psf.samples() > 1
    images = stamps(one(10.0, 10.0, 0.0, 1.0), psf, 32)[0, 0]
    assert images.sum() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(images[1:, 1:], images[:0:-1, :0:-1], atol=1e-6)
    assert images.min() > -1e-5


def test_the_psf_stamp_is_that_of_a_star():
    psf = moffat(4.0, ellipticity=0.15, theta=0.6)
    stamp = psf.stamp()
    assert stamp.shape[1] % 2 == 1
    assert stamp.sum() == pytest.approx(1.0, abs=1e-6)
    star = stamps(one(64.0, 64.0, 0.0, 1.0), psf, 128)[0, 0]
    half = stamp.shape[1] // 2
    np.testing.assert_allclose(stamp[0], star[64 - half : 65 + half, 64 - half : 65 + half], atol=2e-5)


def test_signal_to_noise_in_correlated_noise_is_that_of_the_filtered_image():
    """The scatter of the matched filter's output over many noise images says what the ratio must be."""
    from scipy.ndimage import gaussian_filter

    stamp = stamps(one(16.0, 16.0, 1.5, 1.0), moffat(), 32)
    white = np.random.default_rng(7).standard_normal((4000, 32, 32)).astype(np.float32)
    for sigma in (0.0, 0.9):
        noise = white if sigma == 0 else gaussian_filter(white, sigma, axes=(1, 2), mode="wrap") / math.sqrt(smoothing_loss(sigma))
        assert noise.std() == pytest.approx(1.0, abs=0.01)
        response = np.einsum("nyx,yx->n", noise, stamp[0, 0])
        measured = np.sum(stamp**2) / response.std()
        # The scatter of 4000 numbers is known to 1.1 %.
        assert matched_norms(stamp, sigma)[0, 0] == pytest.approx(measured, rel=0.045)


def test_batches_change_nothing(monkeypatch):
    some = bodies(80, np.random.default_rng(8), bands=2)
    psf = Moffat(3.5, np.array([4.0, 3.8]), np.zeros(2), np.zeros(2))

    def all_of_them():
        return {
            int(i): image for which, _, _, images in render(some, psf, np.array([5.0, 5.0])) for i, image in zip(which, images, strict=True)
        }

    whole = all_of_them()
    monkeypatch.setattr("astrosurvey.stages.simulate.render.BATCH", 3000)
    parts = all_of_them()
    assert all(np.array_equal(whole[i], parts[i]) for i in range(80))
