"""The matched filter: noise of unit variance, right S/N, and masked pixels that do no harm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from astrosurvey.catalog.flags import PIXEL, SOURCE
from astrosurvey.core.stage import DataError
from astrosurvey.kernels.matched_filter import knots
from astrosurvey.stages.detection import filter as matched
from astrosurvey.stages.detection.footprints import in_raster_order, label, measure

from .scenes import FWHM, SIGMA, gaussians, grid, make_image, psf_stamp

SHAPE = (256, 256)


def noise(bands: int, seed: int, rms: float = 5.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, rms, (bands, *SHAPE))


@pytest.mark.parametrize("fwhm", [0.0, 2.0, 4.0])
@pytest.mark.parametrize("combine", ["mean", "chi"])
def test_noise_has_the_chances_it_claims(fwhm, combine):
    image = make_image(noise(3, 1) * np.array([1, 2, 4]).reshape(3, 1, 1), [5, 10, 20])
    snr = matched.detection_image(image, None, np.full(3, fwhm), combine).snr[16:-16, 16:-16]
    independent = snr.size / max(1.0, 2 * np.pi * (fwhm / 2.35) ** 2)
    for level in (1.0, 2.0):
        chance = stats.norm.sf(level)
        assert np.mean(snr > level) == pytest.approx(chance, abs=5 * np.sqrt(chance / independent))


def test_peak_is_the_matched_filter_signal_to_noise():
    flux, rms = 3000.0, 5.0
    image = make_image(gaussians(SHAPE, np.array([100.0]), np.array([80.0]), np.array([flux])), rms)
    detection = matched.detection_image(image, None, np.array([FWHM]))
    assert detection.snr.max() == pytest.approx(flux / (rms * np.sqrt(4 * np.pi) * SIGMA), rel=0.01)
    assert np.unravel_index(detection.snr.argmax(), SHAPE) == (80, 100)


def test_effective_width_of_a_gaussian_is_its_own():
    assert matched.effective_fwhm(psf_stamp()) == pytest.approx(FWHM, rel=0.01)


def test_smoothing_comes_from_settings_then_psf_then_seeing():
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    sky = noise(2, 2)
    assert matched.smoothing(make_image(sky, 5), 3.0)[1] == "settings"
    width, origin = matched.smoothing(make_image(sky, 5), None)
    assert origin == "psf"
    np.testing.assert_allclose(width, FWHM, rtol=0.01)
    bare = make_image(sky, 5, psf=None, wcs=wcs, meta={"seeing": 0.8})
    np.testing.assert_allclose(matched.smoothing(bare, None)[0], 4.0)
    each = make_image(sky, 5, psf=None, wcs=wcs, meta={"seeing": {"g": 0.8, "r": 0.6}})
    np.testing.assert_allclose(matched.smoothing(each, None)[0], [4.0, 3.0])
    assert matched.smoothing(make_image(sky, 5, psf=None), None)[1] == "unknown"


def test_bands_add_up():
    star = gaussians(SHAPE, np.array([128.0]), np.array([128.0]), np.array([2000.0]))
    one = matched.detection_image(make_image(star, 5), None, np.array([FWHM])).snr.max()
    three = matched.detection_image(make_image(np.stack([star] * 3), 5), None, np.full(3, FWHM)).snr.max()
    assert three == pytest.approx(one * np.sqrt(3), rel=1e-3)


def test_chi_keeps_an_object_seen_in_one_band_only():
    data = np.zeros((4, *SHAPE))
    data[3] = gaussians(SHAPE, np.array([128.0]), np.array([128.0]), np.array([800.0]))
    image = make_image(data, 5)
    mean = matched.detection_image(image, None, np.full(4, FWHM), "mean").snr.max()
    chi = matched.detection_image(image, None, np.full(4, FWHM), "chi").snr.max()
    assert chi > 1.5 * mean


def test_chi_of_one_band_is_its_signal_to_noise():
    table = matched.chi_table(1)
    np.testing.assert_allclose(table[1][1:], knots()[1:], rtol=2e-3, atol=2e-3)
    data = gaussians(SHAPE, np.array([60.0]), np.array([60.0]), np.array([5e4]))  # S/N beyond the table's end
    one = matched.detection_image(make_image(data, 1), None, np.array([FWHM]), "mean").snr
    chi = matched.detection_image(make_image(data, 1), None, np.array([FWHM]), "chi").snr
    assert one.max() > 2 * knots()[-1]
    np.testing.assert_allclose(chi[one > 0.1], one[one > 0.1], rtol=2e-3)


def test_an_unusable_band_changes_nothing():
    data = np.stack([gaussians(SHAPE, np.array([60.0]), np.array([60.0]), np.array([2000.0]))] * 2)
    both = make_image(data, 5)
    mask = np.zeros(data.shape, np.int32)
    mask[1] = PIXEL["NO_DATA"]
    lost = data.copy()
    lost[1] = np.nan
    dead = make_image(lost, 5, mask=mask)
    one = matched.detection_image(both, ["g"], np.full(2, FWHM))
    masked = matched.detection_image(dead, None, np.full(2, FWHM))
    np.testing.assert_allclose(masked.snr, one.snr, rtol=1e-5)
    assert np.isfinite(masked.flux).all()


def test_bad_column_does_not_split_a_star_and_a_hole_is_not_filled():
    data = gaussians(SHAPE, np.array([100.0]), np.array([100.0]), np.array([20000.0]))[None]
    mask = np.zeros(data.shape, np.int32)
    mask[0, :, 100] = PIXEL["BAD"]
    mask[0, :, 150:] = PIXEL["NO_DATA"]
    data[mask != 0] = np.nan
    image = make_image(data + np.nan_to_num(noise(1, 3)), 5, mask=mask)
    detection = matched.detection_image(image, None, np.array([FWHM]))
    labels = label(detection.snr, 5.0, 5)
    assert labels.max() == 1
    assert labels[100, 100] == 1
    assert not detection.snr[:, 151:].any()
    found = measure(labels, detection)
    assert found["x"][0] == pytest.approx(100, abs=0.2)
    assert found["flags"][0] & SOURCE["MASKED"]


def test_saturated_star_is_one_source_with_its_core():
    data = np.minimum(gaussians(SHAPE, np.array([100.0]), np.array([90.0]), np.array([3e7]), sigma=6.0), 3e4)[None]
    mask = np.where(data >= 3e4, PIXEL["SAT"], 0).astype(np.int32)
    assert np.count_nonzero(mask) > 300
    variance = np.where(mask != 0, np.inf, 25).astype(np.float32)
    detection = matched.detection_image(make_image(data + noise(1, 4), 5, mask=mask, variance=variance), None, np.array([FWHM]))
    found = measure(label(detection.snr, 5.0, 5), detection)
    assert len(found["x"]) == 1
    assert (found["x"][0], found["y"][0]) == (pytest.approx(100, abs=0.1), pytest.approx(90, abs=0.1))
    assert found["flags"][0] & SOURCE["SATURATED"]
    assert not found["flags"][0] & SOURCE["NO_CENTROID"]


def test_positions_scatter_as_their_errors_say():
    rng = np.random.default_rng(5)
    shape = (1024, 1024)
    x, y = grid(shape, 32, rng)
    data = gaussians(shape, x, y, 10 ** rng.uniform(3.3, 4.3, x.size)) + rng.normal(0, 5, shape)
    detection = matched.detection_image(make_image(data, 5), None, np.array([FWHM]))
    labels, found = in_raster_order(labels := label(detection.snr, 4.0, 5), measure(labels, detection))
    from scipy.spatial import cKDTree

    distance, match = cKDTree(np.stack([x, y], 1)).query(np.stack([found["x"], found["y"]], 1))
    near = distance < 2
    assert near.sum() > 0.99 * x.size
    for pull in ((found["x"] - x[match]) / np.sqrt(found["x_var"]), (found["y"] - y[match]) / np.sqrt(found["y_var"])):
        assert abs(np.mean(pull[near])) < 5 / np.sqrt(near.sum())
        # Isophotes follow the noise, so the pixel noise tells the scatter to about ten per cent only.
        assert 0.8 < np.std(pull[near]) < 1.2
    assert (np.diff(found["y"]) >= 0).all()
    inside = labels[np.rint(found["y"]).astype(int), np.rint(found["x"]).astype(int)]
    np.testing.assert_array_equal(inside, np.arange(1, len(inside) + 1))


def test_labels_are_in_raster_order_and_small_groups_go():
    snr = np.zeros((20, 30), np.float32)
    snr[2, 20:28] = 9
    snr[5:7, 3:9] = 9
    snr[10, 10:13] = 9
    snr[12:15, 12] = snr[15, 13] = 9
    labels = label(snr, 4, 4)
    assert labels[2, 20] == 1
    assert labels[5, 3] == 2
    assert labels[10, 10] == 0
    assert labels[15, 13] == labels[12, 12] == 3


def test_arc_gets_its_brightest_pixel():
    snr = np.zeros((40, 40), np.float32)
    y, x = np.mgrid[:40, :40]
    ring = np.abs(np.hypot(x - 20, y - 20) - 10) < 1.5
    snr[ring] = 10
    snr[20, 30] = 50
    image = make_image(np.zeros((40, 40)), 1)
    detection = matched.DetectionImage(np.where(ring, 5, 0).astype(np.float32), snr, image, [0], np.zeros(1, np.float32), 1.0)
    found = measure(label(snr, 5, 5), detection)
    assert found["flags"][0] & SOURCE["NO_CENTROID"]
    assert (found["x"][0], found["y"][0]) == (30, 20)


@pytest.mark.parametrize("shape", [(1, 200), (200, 1), (1, 1), (3, 4)])
def test_odd_shapes(shape):
    image = make_image(np.zeros(shape), 5)
    detection = matched.detection_image(image, None, np.array([FWHM]))
    labels = label(detection.snr, 4, 5)
    assert labels.shape == shape
    assert not labels.any()
    assert all(len(column) == 0 for column in measure(labels, detection).values())


def test_edge_flag():
    shape = (64, 64)
    image = make_image(gaussians(shape, np.array([1.0, 40.0]), np.array([30.0, 40.0]), np.array([5e3, 5e3])), 5)
    detection = matched.detection_image(image, None, np.array([FWHM]))
    found = measure(label(detection.snr, 5, 5), detection)
    assert [bool(flags & SOURCE["EDGE"]) for flags in found["flags"]] == [True, False]


def test_missing_variance_and_band_are_told():
    image = make_image(np.zeros((8, 8)), 5)
    with pytest.raises(DataError, match="background.mesh"):
        matched.detection_image(make_image(np.zeros((8, 8)), 5, variance=None), None, np.array([FWHM]))
    with pytest.raises(DataError, match="no band 'z'"):
        matched.detection_image(image, ["z"], np.array([FWHM]))
