"""Stamps against numerical integrals and convolutions that share no code with them."""

import math

import numpy as np
import pytest
from scipy.signal import fftconvolve
from scipy.special import j0

from astrosurvey.stages.simulate.profiles import (
    bulge_transform,
    disk_transform,
    moffat_alpha,
    moffat_brightness,
    moffat_table,
    sersic_b,
    sersic_brightness,
    sersic_enclosed,
    sersic_moment,
)
from astrosurvey.stages.simulate.psf import MoffatField, ellipse_form
from astrosurvey.stages.simulate.stamps import SIZES, Shape, oversampling, render

BETA = 3.0
NONE, ONE, FLAT = np.zeros(1), np.ones(1), np.zeros(3)


def moffat_form(fwhm, ratio=1.0, theta=0.0):
    """(1, 3) form of a Moffat profile whose axes have a geometric mean of `fwhm`."""
    alpha = np.array([moffat_alpha(fwhm, BETA)])
    return ellipse_form(alpha / math.sqrt(ratio), alpha * math.sqrt(ratio), np.array([theta]))


def elliptical_radius(x, y, major, ratio, theta):
    along = x * math.cos(theta) + y * math.sin(theta)
    across = -x * math.sin(theta) + y * math.cos(theta)
    return np.hypot(along / major, across / (major * ratio))


def fine_grid(n, samples):
    """Coordinates of sub-pixel centres, (n samples), around the middle pixel of n."""
    return (np.arange(n * samples) + 0.5) / samples - 0.5 - n // 2


def direct(profile, fwhm, x0, y0, n=64, samples=6):
    """Convolve `profile(x, y)` with a Moffat profile and integrate over pixels, in real space."""
    grid = fine_grid(n, samples)
    alpha = moffat_alpha(fwhm, BETA)
    # the cusp needs still finer sampling
    finer = (np.arange(20) + 0.5) / 20 / samples - 0.5 / samples
    x, y = np.meshgrid(grid - x0, grid - y0)
    light = profile(x, y)
    core = np.hypot(x, y) < 1.5
    light[core] = profile(x[core][:, None, None] + finer[:, None], y[core][:, None, None] + finer).mean(axis=(1, 2))
    kernel_grid = np.arange(-n * samples, n * samples + 1) / samples
    kernel = moffat_brightness(np.hypot(*np.meshgrid(kernel_grid, kernel_grid)) / alpha, BETA) / alpha**2
    seen = fftconvolve(light, kernel, mode="same") / samples**4
    return seen.reshape(n, samples, n, samples).sum(axis=(1, 3))


@pytest.mark.parametrize("k", [0.05, 0.5, 2.0, 8.0])
def test_transform_is_the_hankel_integral(k):
    v = np.linspace(0.0, 3.3, 2_000_001)
    r = v**8
    for index, transform in ((1.0, disk_transform), (4.0, bulge_transform)):
        integral = np.trapezoid(2.0 * np.pi * r * sersic_brightness(r, index) * j0(k * r) * 8.0 * v**7, v)
        assert transform(np.array([k * k]))[0] == pytest.approx(integral, abs=5e-6)
    # the Moffat profile falls as r^-6, so that its integral may stop
    r = np.linspace(0.0, 400.0, 2_000_001)
    integral = np.trapezoid(2.0 * np.pi * r * moffat_brightness(r, BETA) * j0(k * r), r)
    assert moffat_table(BETA)(np.array([k]))[0] == pytest.approx(integral, abs=2e-5)


@pytest.mark.parametrize("index", [1.0, 4.0])
def test_sersic_integrals(index):
    v = np.linspace(0.0, 5.5, 1_000_001)
    r = v**8
    light = 2.0 * np.pi * r * sersic_brightness(r, index) * 8.0 * v**7
    assert np.trapezoid(light, v) == pytest.approx(1.0, abs=1e-4)
    assert sersic_enclosed(np.array([1.0]), index)[0] == pytest.approx(0.5, abs=1e-12)
    assert np.trapezoid(light * r**2 / 2.0, v) == pytest.approx(sersic_moment(index), rel=1e-3)
    assert sersic_b(4.0) == pytest.approx(7.66925, abs=1e-5)


@pytest.mark.parametrize(("index", "tolerance"), [(1.0, 1e-3), (4.0, 4e-3)])
@pytest.mark.parametrize(("major", "ratio", "theta"), [(1.2, 0.9, 0.3), (4.0, 0.3, 1.1), (3.0, 0.6, 2.4)])
def test_galaxy_stamp_is_the_sersic_profile_convolved_with_the_psf(index, tolerance, major, ratio, theta):
    n, fwhm, x0, y0 = 64, 3.5, 0.31, -0.42
    form = ellipse_form(np.array([major]), np.array([major * ratio]), np.array([theta]))[0]
    bulge, disk = (ONE, NONE) if index == 4.0 else (NONE, ONE)
    shape = Shape(100.0 + x0, 200.0 + y0, 256, NONE, bulge, disk, form, form, moffat_form(fwhm))
    stamp = render(shape, BETA, oversampling(fwhm, BETA))[0][96:160, 96:160]

    def profile(x, y):
        return sersic_brightness(elliptical_radius(x, y, major, ratio, theta), index) / (major**2 * ratio)

    expected = direct(profile, fwhm, x0, y0, n)
    middle = slice(12, -12)  # the direct convolution knows no light from beyond its grid
    assert np.abs(stamp - expected)[middle, middle].max() < tolerance * expected.max()
    assert stamp[middle, middle].sum() == pytest.approx(expected[middle, middle].sum(), rel=2e-3)


@pytest.mark.parametrize("fwhm", [1.4, 2.0, 2.8, 3.5, 5.0])
@pytest.mark.parametrize(("ratio", "theta"), [(1.0, 0.0), (0.8, 0.7)])
def test_star_stamp_is_the_moffat_profile_integrated_over_pixels(fwhm, ratio, theta):
    n, samples, x0, y0 = 64, 24, 0.27, -0.48
    shape = Shape(x0, y0, 128, ONE, NONE, NONE, FLAT, FLAT, moffat_form(fwhm, ratio, theta))
    stamp = render(shape, BETA, oversampling(fwhm, BETA))[0][32:96, 32:96]
    x, y = np.meshgrid(fine_grid(n, samples) - x0, fine_grid(n, samples) - y0)
    alpha = moffat_alpha(fwhm, BETA)
    r = elliptical_radius(x, y, alpha / math.sqrt(ratio), ratio, theta)
    expected = (moffat_brightness(r, BETA) / alpha**2).reshape(n, samples, n, samples).sum(axis=(1, 3)) / samples**2
    assert np.abs(stamp - expected).max() < 1e-3 * expected.max()
    # the wings of a saturated star show far out: there the error must be small in itself
    assert np.abs(stamp - expected)[:16].max() < 3e-9


@pytest.mark.parametrize("size", [32, 48, 128, 256])
def test_stamps_conserve_flux(size):
    form = ellipse_form(np.array([5.0]), np.array([2.0]), np.array([0.4]))[0]
    rng = np.random.default_rng(size)
    for _ in range(5):
        x, y = rng.uniform(-500, 500, 2)
        shape = Shape(
            x, y, size, np.array([10.0, 0.0]), np.array([0.0, 4.0]), np.array([0.0, 6.0]), form, form, np.repeat(moffat_form(3.5), 2, 0)
        )
        assert render(shape, BETA, 2).sum(axis=(1, 2)) == pytest.approx([10.0, 10.0], rel=1e-5)


def test_stamp_sits_where_the_object_is():
    for x, y in ((10.0, 20.0), (10.49, 19.51), (-3.2, 7.7)):
        shape = Shape(x, y, 64, ONE, NONE, NONE, FLAT, FLAT, moffat_form(3.5))
        stamp = render(shape, BETA, 2)[0]
        rows, columns = np.mgrid[:64, :64]
        near = np.hypot(columns - 32, rows - 32) < 12  # centroid of the core; wings are noisy levers
        x_mean = (stamp * columns)[near].sum() / stamp[near].sum() - 32 + math.floor(x + 0.5)
        y_mean = (stamp * rows)[near].sum() / stamp[near].sum() - 32 + math.floor(y + 0.5)
        assert (x_mean, y_mean) == (pytest.approx(x, abs=0.02), pytest.approx(y, abs=0.02))


def test_all_stamp_sizes_are_even_and_rising():
    assert list(SIZES) == sorted(set(SIZES))
    assert all(size % 2 == 0 for size in SIZES)


def test_psf_drifts_but_keeps_its_mean():
    field = MoffatField(3, 2, 3.5, BETA, 0.04, 0.03)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-5e4, 5e4, (2, 1500))
    width, e1, e2 = field.at(x, y)
    # 1500 points on a lattice of 2048 pixels: about as many independent values
    assert width.mean() == pytest.approx(3.5, abs=5 * 0.04 * 3.5 / math.sqrt(1500))
    for values, scatter in ((width / 3.5 - 1.0, 0.04), (e1, 0.03), (e2, 0.03)):
        assert values.std() == pytest.approx(scatter, rel=0.1)
    step = field.at(x + 10.0, y)[0] - width
    assert np.abs(step).max() < 0.01
