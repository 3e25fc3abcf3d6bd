"""Resampling: exact integrals, conserved flux, and variances, against calculations made in other ways."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.kernels.resample import KERNEL, pixel_edges

LOG = 10 ** (3.58 + 1e-4 * np.arange(400))  # SDSS's pixels
IRREGULAR = 3800 + np.cumsum(np.random.default_rng(5).gamma(4, 0.25, 400))
GRIDS = {
    "to a coarser linear grid": (LOG, np.arange(3830.0, 4100.0, 2.5)),
    "to a finer one": (LOG, np.arange(3830.0, 4100.0, 0.31)),
    "between shifted logarithmic ones": (LOG, 10 ** (3.5813333 + 1e-4 * np.arange(350))),
    "linear to logarithmic": (np.arange(3801.0, 4200.0), 10 ** (3.582 + 3e-4 * np.arange(100))),
    "from an irregular grid": (IRREGULAR, np.arange(3820.0, 4100.0, 1.7)),
    "to an irregular grid": (LOG, IRREGULAR[50:250]),
    "beyond both ends": (LOG, np.arange(3700.0, 4300.0, 1.3)),
    "to two wide pixels": (LOG, np.array([3900.0, 4100.0])),
}
on_grids = pytest.mark.parametrize(("wave", "target"), GRIDS.values(), ids=GRIDS)


def edges_of(wave):
    return pixel_edges(np.atleast_2d(np.asarray(wave, float)))


def spectra(wave, rows=5, dtype=np.float64):
    rng = np.random.default_rng(11)
    flux = 10 + rng.normal(0, 3, (rows, len(wave)))
    return flux.astype(dtype), rng.gamma(4, 0.1, flux.shape).astype(dtype), np.zeros(flux.shape, np.int32)


def resample(flux, ivar, mask, wave, target, unusable=-1, threshold=0.5):
    return KERNEL.cpu(flux, ivar, mask, edges_of(wave), edges_of(target)[0], unusable, threshold)


def integral(flux, edges, grid):
    """Return the integral over each new pixel: differences of the cumulative one, in extended precision."""
    edges, grid = edges.astype(np.longdouble), grid.astype(np.longdouble)
    total = np.concatenate([[0], np.cumsum(flux.astype(np.longdouble) * np.diff(edges))])
    j = np.clip(np.searchsorted(edges, grid, side="right") - 1, 0, len(flux) - 1)
    return np.diff(total[j] + flux[j] * (np.clip(grid, edges[0], edges[-1]) - edges[j]))


@on_grids
def test_flux_times_covered_width_is_the_exact_integral(wave, target):
    flux, ivar, mask = spectra(wave)
    out, _, masked, _ = resample(flux, ivar, mask, wave, target)
    grid = edges_of(target)[0]
    for i in range(len(flux)):
        wanted = integral(flux[i], edges_of(wave)[0], grid)
        got = np.nan_to_num(out[i]) * (1 - masked[i]) * np.diff(grid)
        np.testing.assert_allclose(got, wanted.astype(float), rtol=1e-12, atol=1e-12 * np.ptp(target))


@on_grids
def test_single_precision_costs_one_rounding(wave, target):
    flux, ivar, mask = spectra(wave, dtype=np.float32)
    single = resample(flux, ivar, mask, wave, target)
    double = resample(flux.astype(float), ivar.astype(float), mask, wave, target)
    for got, wanted in zip(single[:3], double[:3], strict=True):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, wanted.astype(np.float32))


def test_all_flux_arrives_when_the_new_grid_reaches_beyond_the_old_one():
    flux, ivar, mask = spectra(LOG)
    target = np.arange(3700.0, 4300.0, 1.3)
    out, _, masked, _ = resample(flux, ivar, mask, LOG, target)
    arrived = (np.nan_to_num(out) * (1 - masked)) @ np.diff(edges_of(target)[0])
    np.testing.assert_allclose(arrived, flux @ np.diff(edges_of(LOG)[0]), rtol=1e-12)


def spectres(flux, error, edges, grid, used):
    """Return flux and error by the formulae of Carnall (2017), written after his code, of the pixels that are used."""
    widths = np.diff(edges)
    out = np.full((2, len(grid) - 1), np.nan)
    for k in range(len(grid) - 1):
        factor = np.clip(np.minimum(edges[1:], grid[k + 1]) - np.maximum(edges[:-1], grid[k]), 0, None) / widths * used
        if (weights := factor * widths).any():
            out[0, k] = np.sum(weights * np.where(used, flux, 0)) / np.sum(weights)
            out[1, k] = np.sqrt(np.sum((weights * np.where(used, error, 0)) ** 2)) / np.sum(weights)
    return out


@on_grids
@pytest.mark.parametrize("dirty", [False, True])
def test_flux_and_variance_are_those_of_carnall(wave, target, dirty):
    flux, ivar, mask = spectra(wave, rows=3)
    if dirty:
        mask[:, ::7] = 4
        flux[:, 50:60] = np.nan
        ivar[:, 90] = 0
        ivar[:, 91] = np.nan
        ivar[:, 92] = -1
    out, weight, _, _ = resample(flux, ivar, mask, wave, target)
    for i in range(len(flux)):
        used = np.isfinite(flux[i]) & (ivar[i] > 0) & (mask[i] == 0)
        error = 1 / np.sqrt(np.where(used, ivar[i], 1))
        wanted, spread = spectres(flux[i], error, edges_of(wave)[0], edges_of(target)[0], used)
        np.testing.assert_allclose(out[i], wanted, rtol=1e-12)
        np.testing.assert_allclose(weight[i], np.nan_to_num(1 / spread**2), rtol=1e-12)


@pytest.mark.parametrize("target", [np.arange(3850.0, 4100.0, 2.9), np.arange(3850.0, 3900.0, 0.4)], ids=["coarser", "finer"])
def test_variance_is_the_scatter_of_many_noisy_spectra(target):
    rng = np.random.default_rng(2)
    _, ivar, mask = spectra(LOG, rows=1)
    mask[0, ::9] = 1
    n = 4000
    flux = rng.normal(0, 1 / np.sqrt(ivar[0]), (n, len(LOG)))
    out, weight, _, _ = resample(flux, np.repeat(ivar, n, axis=0), np.repeat(mask, n, axis=0), LOG, target)
    there = np.isfinite(out[0])
    ratio = out[:, there].var(axis=0) * weight[0, there]
    assert np.abs(ratio - 1).max() < 4.5 * np.sqrt(2 / n)  # of a normal distribution's variance


def test_the_same_grid_changes_nothing():
    flux, ivar, mask = spectra(LOG, dtype=np.float32)
    mask[0, 7] = 4
    flux[1, 8] = np.nan
    out, weight, masked, bits = resample(flux, ivar, mask, LOG, LOG)
    lost = (mask != 0) | np.isnan(flux)
    assert out.tobytes() == np.where(lost, np.float32(np.nan), flux).tobytes()
    assert weight.tobytes() == np.where(lost, np.float32(0), ivar).tobytes()
    assert masked.tobytes() == lost.astype(np.float32).tobytes()
    assert bits.tobytes() == mask.tobytes()


def test_a_constant_stays_one():
    flux, ivar, mask = spectra(LOG)
    out, _, masked, _ = resample(np.full_like(flux, 3.3), ivar, mask, LOG, np.arange(3750.0, 4200.0, 1.1))
    np.testing.assert_allclose(out[masked < 1], 3.3, rtol=1e-15)


def test_masked_part_is_what_unusable_pixels_cover_and_what_nothing_covers():
    wave, target = np.arange(100.0, 110.0), np.array([98.5, 100.5, 102.5, 104.5, 106.5, 108.5, 110.5])  # edges at 97.5, 99.5, …
    flux, ivar, mask = np.ones((1, 10), np.float32), np.ones((1, 10), np.float32), np.zeros((1, 10), np.int32)
    mask[0, 2] = 1
    ivar[0, 4:6] = 0
    out, weight, masked, _ = resample(flux, ivar, mask, wave, target)
    np.testing.assert_array_equal(masked, [[1, 0, 0.5, 1, 0, 0, 1]])
    np.testing.assert_array_equal(out, [[np.nan, 1, 1, np.nan, 1, 1, np.nan]])
    np.testing.assert_array_equal(weight, [[0, 2, 1, 0, 2, 2, 0]])


@pytest.mark.parametrize(("threshold", "wanted"), [(0.0, [3, 2]), (0.3, [2, 2]), (0.5, [0, 2]), (1.0, [0, 0])])
def test_mask_bits_are_kept_where_they_cover_more_than_the_threshold(threshold, wanted):
    wave, target = np.arange(100.5, 108.5), np.array([102.0, 106.0])  # a new pixel is four old ones
    mask = np.array([[1, 2, 2, 0, 2, 2, 2, -(2**31)]], np.int32)
    ones = np.ones((1, 8), np.float32)
    out, _, masked, bits = resample(ones, ones, mask, wave, target, unusable=0, threshold=threshold)
    sign = -(2**31) if threshold < 0.25 else 0
    np.testing.assert_array_equal(bits, [[wanted[0], wanted[1] | sign]])
    np.testing.assert_array_equal(masked, 0)
    np.testing.assert_array_equal(out, 1)


def test_edges_that_differ_by_a_rounding_do_not_hand_on_masks_or_flux():
    flux, ivar, mask = spectra(LOG, dtype=np.float32)
    mask[:, 100] = 1
    _, weight, masked, bits = KERNEL.cpu(flux, ivar, mask, edges_of(LOG), edges_of(LOG)[0] * (1 + 1e-15), -1, 0.0)
    np.testing.assert_array_equal(bits, mask)
    assert (weight[:, 100] == 0).all()
    assert (masked[:, 100] == 1).all()


def test_a_shared_grid_and_rows_with_the_same_grid_of_their_own_give_the_same_bytes():
    flux, ivar, mask = spectra(LOG, rows=70, dtype=np.float32)
    mask[::3, ::5] = 2
    grid = edges_of(np.arange(3810.0, 4150.0, 1.7))[0]
    shared = KERNEL.cpu(flux, ivar, mask, edges_of(LOG), grid, -1, 0.5)
    own = KERNEL.cpu(flux, ivar, mask, np.repeat(edges_of(LOG), 70, axis=0), grid, -1, 0.5)
    assert [a.tobytes() for a in shared] == [a.tobytes() for a in own]
    one = KERNEL.cpu(flux[41:42], ivar[41:42], mask[41:42], edges_of(LOG), grid, -1, 0.5)
    assert [a[41:42].tobytes() for a in shared] == [a.tobytes() for a in one]


@pytest.mark.parametrize("wave", [LOG, 3600.0 + 2 * np.arange(500), IRREGULAR, np.array([4000.0, 4001.0])])
def test_edges_are_half_way(wave):
    edges = edges_of(wave)[0]
    assert (np.diff(edges) > 0).all()
    even = wave is LOG
    half = np.sqrt(wave[1:] * wave[:-1]) if even else (wave[1:] + wave[:-1]) / 2
    np.testing.assert_allclose(edges[1:-1], half, rtol=1e-15)
    np.testing.assert_allclose(np.sqrt(edges[[0, -2]] * edges[[1, -1]]) if even else (edges[[0, -2]] + edges[[1, -1]]) / 2, wave[[0, -1]])


def test_centres_kept_in_single_precision_are_still_even_in_the_logarithm():
    single = 10 ** np.log10(LOG).astype(np.float32).astype(float)
    np.testing.assert_allclose(edges_of(single)[0, 1:-1], np.sqrt(single[1:] * single[:-1]), rtol=1e-15)


@pytest.mark.parametrize("fill", [2.0, 1e-6])
def test_filling_behind_a_row_changes_nothing_before_it(fill):
    n = 100
    wave = np.concatenate([LOG[:n], LOG[n - 1] + fill * np.arange(1, 300)])
    edges = pixel_edges(wave[None], np.array([n]))[0]
    assert edges[: n + 1].tobytes() == edges_of(LOG[:n])[0].tobytes()
    assert (np.diff(edges) >= 0).all()
    one, none = (pixel_edges(wave[None], np.array([length]))[0] for length in (1, 0))
    assert one[0] == one[1] == wave[0]
    assert (np.diff(none) >= 0).all()


@pytest.mark.parametrize(
    "wave", [[4000.0], [4001.0, 4000.0], [4000.0, 4000.0, 4001.0], [4000.0, np.nan, 4002.0], [-1.0, 2.0], [0.0, 1.0], [1.0, np.inf]]
)
def test_what_is_no_grid_has_no_edges(wave):
    assert np.isnan(edges_of(np.array([wave]))).all()
