"""Binned power spectra: the definition against full transforms, units, bins, and what a field of known spectrum gives."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from astrosurvey import DataError, Observations
from astrosurvey.stages.sbi.summaries.power import PowerBins
from astrosurvey.stages.sbi.summaries.power_stage import PowerSpectrum

from ..running import run


def brute(field, pixel):
    """Return |k| along each axis and power of every mode, by the full transform."""
    lines = [2 * np.pi * np.fft.fftfreq(n, d) for n, d in zip(field.shape, pixel, strict=True)]
    k = np.stack([axis.ravel() for axis in np.meshgrid(*lines, indexing="ij")])
    return np.abs(k), np.abs(np.fft.fftn(field).ravel()) ** 2 / field.size * np.prod(pixel)


@pytest.mark.parametrize("shape", [(16,), (15,), (8, 9), (9, 8), (6, 5, 8), (4, 8, 7)])
@pytest.mark.parametrize("spacing", ["log", "linear"])
def test_bins_hold_means_over_all_modes(shape, spacing):
    field, pixel = np.random.default_rng(1).normal(5, 2, shape), (0.5, 2.0, 3.0)[: len(shape)]
    k, power = brute(field, pixel)
    size = np.sqrt((k**2).sum(axis=0))
    bins = PowerBins.of(shape, 3, pixel=pixel, spacing=spacing)
    space = np.geomspace if spacing == "log" else np.linspace
    edges = space(size[size > 0].min() * (1 - 1e-6), size.max() * (1 + 1e-6), 4)
    there = [(size > a) & (size < b) for a, b in pairwise(edges)]
    there = [some for some in there if some.any()]
    np.testing.assert_allclose(bins.power(field), [power[some].mean() for some in there], rtol=1e-9)
    np.testing.assert_allclose(bins.k[:, 0], [size[some].mean() for some in there], rtol=1e-9)


def test_cylindrical_bins_keep_the_line_of_sight_apart():
    field = np.random.default_rng(2).normal(size=(8, 6, 6))
    k, power = brute(field, (1, 1, 1))
    bins = PowerBins.of(field.shape, 2, along=1)
    across = np.hypot(k[1], k[2])
    middle = np.sqrt(across[across > 0].min() * across.max())
    label = [(a, b) for a in (across == 0, (across > 0) & (across < middle), across > middle) for b in (k[0] == 0, k[0] > 0)]
    means = [power[a & b].mean() for a, b in label[1:]]  # without k = 0
    np.testing.assert_allclose(bins.power(field), means, rtol=1e-9)
    assert bins.k.shape == (5, 2)
    assert len(set(bins.names)) == 6


def test_white_noise_has_the_power_of_its_variance_in_a_pixel():
    noise = np.random.default_rng(3).normal(3, 2, (200, 16, 16)).astype(np.float32)
    seen = Observations(noise, np.arange(200))
    made = run(PowerSpectrum, {"bins": 4, "pixel": [0.5, 0.25]}, observations=seen)["observations"]
    assert made.names[0] == "mean"
    assert made.data[:, 0].mean() == pytest.approx(3, abs=0.03)
    # 4 of 200 x the modes of a bin, at least 8, scatter by sqrt(2 / 1600).
    np.testing.assert_allclose(np.exp(made.data[:, 1:]).mean(axis=0), 4 * 0.5 * 0.25, rtol=0.15)


def test_a_wave_has_its_power_where_it_is():
    x = np.arange(64)
    bins = PowerBins.of((64,), 12, spacing="linear")
    power = bins.power(3 * np.cos(2 * np.pi * 5 * x / 64))
    assert np.argmax(power) == np.argmin(np.abs(bins.k[:, 0] - 2 * np.pi * 5 / 64))
    assert np.delete(power, np.argmax(power)).max() < 1e-20


def test_limits_leave_modes_out():
    shape = (16, 16)
    all_of, some = PowerBins.of(shape, 6), PowerBins.of(shape, 6, limits=(0.5, np.pi))
    assert some.weight[some.bin < len(some.k)].sum() < all_of.weight[all_of.bin < len(all_of.k)].sum() == 255
    assert 0.5 <= some.k.min() <= some.k.max() <= np.pi
    observations = Observations(np.ones((2, *shape), np.float32), np.arange(2))
    with pytest.raises(DataError, match="within `limits`"):
        run(PowerSpectrum, {"limits": [0, 0.1]}, observations=observations)
    assert np.isfinite(run(PowerSpectrum, {}, observations=observations)["observations"].data).all()  # even fields have no power
