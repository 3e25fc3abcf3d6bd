"""The matched filter: bytes that do not depend on tiles, and sizes around those of its tiles."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.kernels import _filtering
from astrosurvey.kernels.matched_filter import KERNEL, KNOTS, Bits

BITS = Bits(0b1111, 0b0010)


def arguments(rng, shape, sigmas=(1.7, 0.8), groups=(0, 1)):
    """Return the kernel's arguments for noise of two depths with a hole and a bad column."""
    data = rng.normal(0, 5, (1, *shape)).astype(np.float32)
    variance = np.where(np.arange(shape[1]) < shape[1] // 2, 25, 49).astype(np.float32) * np.ones(data.shape, np.float32)
    mask = (rng.uniform(size=data.shape) < 0.002).astype(np.int32)
    data[:, : shape[0] // 5, : shape[1] // 3] = np.nan
    reach = np.ceil(3 * np.array(sigmas)).astype(np.int64)
    steps = np.arange(-reach.max(), reach.max() + 1)
    taps = np.exp(-0.5 * (steps / np.array(sigmas)[:, None]) ** 2)
    taps = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)[:, None]
    chi = np.zeros((0, KNOTS), np.float32)
    return data, variance, mask, np.zeros(1, np.float32), BITS, taps, reach[:, None], np.array(groups), chi


@pytest.mark.parametrize("shape", [(255, 1023), (256, 1024), (257, 1025), (300, 2060), (1, 1100), (600, 1), (2, 2)])
def test_sizes_around_those_of_the_tiles(shape):
    these = arguments(np.random.default_rng(1), shape)
    for got, wanted in zip(KERNEL.cpu(*these), KERNEL.reference(*these), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def of_one_depth(rng, shape):
    """Return the same for an image whose weights are the same in long runs of rows, with a hole of one row and a step in depth."""
    data, variance, _, *rest = arguments(rng, shape)
    data = rng.normal(0, 5, data.shape).astype(np.float32)
    data[0, shape[0] // 2, 50:60] = np.nan
    variance[0, shape[0] // 3 :] = 36
    return data, variance, np.zeros((1, 0, 0), np.int32), *rest


def test_weights_that_repeat_from_row_to_row():
    these = of_one_depth(np.random.default_rng(6), (300, 1100))
    for got, wanted in zip(KERNEL.cpu(*these), KERNEL.reference(*these), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [arguments, of_one_depth])
def test_a_pixel_has_the_same_bytes_wherever_it_lies_in_a_tile(make):
    data, variance, mask, *rest = make(np.random.default_rng(2), (420, 1300))
    whole = KERNEL.cpu(data, variance, mask, *rest)
    margin = 6  # of the widest filter
    y0, x0 = 37, 101
    cut = [np.ascontiguousarray(plane[:, y0:, x0:]) if plane.size else plane for plane in (data, variance, mask)]
    for part, all_of_it in zip(KERNEL.cpu(*cut, *rest), whole, strict=True):
        assert part[:, margin:, margin:].tobytes() == np.ascontiguousarray(all_of_it[:, y0 + margin :, x0 + margin :]).tobytes()


def test_filter_larger_than_tile_and_image():
    these = arguments(np.random.default_rng(3), (40, 60), sigmas=(400.0,), groups=(0,))
    assert max(_filtering.ROWS, _filtering.COLUMNS) < 3 * 400
    for got, wanted in zip(KERNEL.cpu(*these), KERNEL.reference(*these), strict=True):
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)


def test_group_holds_the_greatest_significance_and_the_first_flux():
    rng = np.random.default_rng(4)
    data, variance, mask, typical, bits, taps, reach, _, chi = arguments(rng, (64, 64))
    apart = KERNEL.cpu(data, variance, mask, typical, bits, taps, reach, np.array([0, 1]), chi)
    together = KERNEL.cpu(data, variance, mask, typical, bits, taps, reach, np.array([0, 0]), chi)
    np.testing.assert_array_equal(together[0][0], apart[0][0])
    np.testing.assert_array_equal(together[1][0], apart[1].max(axis=0))


def test_tiny_variance_and_infinities_do_no_harm():
    data, variance, mask, *rest = arguments(np.random.default_rng(5), (50, 50))
    data[0, 20, 20], data[0, 30, 30] = np.inf, -np.inf
    variance[0, 25, 25], variance[0, 26, 26], variance[0, 27, 27] = np.inf, 0, np.nan
    for got in KERNEL.cpu(data, variance, mask, *rest):
        assert np.isfinite(got).all()
