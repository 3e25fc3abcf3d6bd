"""Aperture and Kron photometry against known fluxes, masks, edges and neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.catalog.flags import SOURCE
from astrosurvey.stages.detection.filter import detection_image
from astrosurvey.stages.detection.footprints import in_raster_order, label, measure
from astrosurvey.stages.photometry import circular, kron
from astrosurvey.stages.photometry.apertures import Planes

from .scenes import FWHM, SIGMA, gaussians, grid, make_image

RMS = 5.0


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


def planes(data: np.ndarray, good: np.ndarray | None = None, labels: np.ndarray | None = None) -> Planes:
    data = data.reshape((-1, *data.shape[-2:]))
    return Planes(data, np.full(data.shape, RMS**2), np.ones(data.shape, bool) if good is None else good, labels)


def circles(what: Planes, x: list[float], y: list[float], radii: list[float], **more) -> dict[str, np.ndarray]:
    settings = {"neighbours": "keep", "ring": None, "progress": quiet, **more}
    return circular.measure(what, np.array(x, float), np.array(y, float), radii, **settings)


def test_flat_image_gives_exact_areas():
    found = circles(planes(np.ones((2, 50, 60))), [30.0, 20.3], [25.0, 24.7], [1.0, 3.5, 8.0])
    area = np.pi * np.array([1.0, 3.5, 8.0]) ** 2
    np.testing.assert_allclose(found["flux"], np.broadcast_to(area[None, :, None], (2, 3, 2)), rtol=1e-10)
    np.testing.assert_allclose(found["masked_fraction"], 0, atol=1e-10)
    assert not found["flags"].any()


def test_photutils_agrees():
    from photutils.aperture import CircularAperture, aperture_photometry

    rng = np.random.default_rng(1)
    data = rng.normal(0, 1, (80, 90))
    x, y = rng.uniform(2, 87, 20), rng.uniform(2, 77, 20)
    found = circles(planes(data), x.tolist(), y.tolist(), [4.0])
    theirs = aperture_photometry(data, CircularAperture(np.stack([x, y], 1), 4.0))
    np.testing.assert_allclose(found["flux"][:, 0, 0], theirs["aperture_sum"], rtol=1e-9, atol=1e-9)


def test_errors_are_the_scatter():
    rng = np.random.default_rng(2)
    x, y = grid((400, 400), 20, rng)
    found = circles(planes(rng.normal(0, RMS, (1, 400, 400))), x.tolist(), y.tolist(), [5.0])
    pull = found["flux"][:, 0, 0] / found["flux_err"][:, 0, 0]
    assert np.std(pull) == pytest.approx(1, abs=5 / np.sqrt(2 * len(x)))


def test_truncated_and_beyond():
    found = circles(planes(np.ones((40, 40))), [0.0, 20.0, -30.0, np.nan], [20.0, 20.0, 20.0, 20.0], [5.0])
    flags = found["flags"][:, 0, 0]
    assert flags[0] == SOURCE["APERTURE_TRUNCATED"]
    assert flags[1] == 0
    assert flags[2] == flags[3] == SOURCE["NO_FLUX"]
    assert np.isnan(found["flux"][2:, 0, 0]).all()
    assert found["masked_fraction"][:, 0, 0] == pytest.approx([0.5 - 0.5 * 10 / (np.pi * 25), 0, 1, 1], abs=0.005)


def test_masked_pixels_are_left_out_and_told():
    data = np.ones((2, 40, 40))
    good = np.ones(data.shape, bool)
    good[1, :, 20] = False
    data[1, :, 20] = np.nan
    found = circles(planes(data, good), [20.0], [20.0], [5.0])
    assert found["flags"][0, 0].tolist() == [0, SOURCE["APERTURE_MASKED"]]
    assert found["flux"][0, 0, 1] == pytest.approx(found["flux"][0, 0, 0] * (1 - found["masked_fraction"][0, 0, 1]))
    dead = circles(planes(data, np.zeros_like(good)), [20.0], [20.0], [5.0])
    assert np.isnan(dead["flux"]).all()
    assert (dead["flags"] & SOURCE["NO_FLUX"]).all()


def test_local_sky_is_taken_off_and_a_bright_neighbour_in_the_ring_does_not_count():
    rng = np.random.default_rng(3)
    data = 20.0 + rng.normal(0, 1, (1, 80, 80)) + gaussians((80, 80), np.array([40.0]), np.array([40.0]), np.array([5000.0]))
    data[0, 50:56, 44:50] = 1e5
    labels = np.zeros((80, 80), np.int32)
    labels[38:43, 38:43], labels[50:56, 44:50] = 1, 2
    ring = circular.Ring(12, 18, 3.0)
    found = circles(planes(data, labels=labels), [40.0], [40.0], [8.0], ring=ring)
    assert found["flux"][0, 0, 0] == pytest.approx(5000, abs=5 * np.sqrt(201 + 201**2 / 500))
    bare = circles(planes(data, labels=labels), [40.0], [40.0], [8.0])
    assert bare["flux"][0, 0, 0] == pytest.approx(5000 + 20 * np.pi * 64, abs=100)
    assert found["flux_err"][0, 0, 0] > bare["flux_err"][0, 0, 0]


@pytest.mark.parametrize(("neighbours", "expected"), [("keep", 15000), ("mask", 5000), ("correct", 5000)])
def test_neighbours(neighbours, expected):
    shape = (80, 80)
    data = gaussians(shape, np.array([36.0, 46.0]), np.array([40.0, 40.0]), np.array([5e3, 1e4]), sigma=1.2)
    labels = np.where(np.arange(80) < 41, 1, 2) * np.ones(shape, np.int32)
    found = circles(planes(data, labels=labels), [36.0], [40.0], [14.0], neighbours=neighbours)
    assert found["flux"][0, 0, 0] == pytest.approx(expected, rel=0.01)
    assert found["flags"][0, 0, 0] & SOURCE["BLENDED"]


def run_kron(data: np.ndarray, *, threshold: float = 4.0, neighbours: str = "correct", good: np.ndarray | None = None):
    data = data.reshape((-1, *data.shape[-2:]))
    image = make_image(data, RMS)
    detection = detection_image(image, None, np.full(len(data), FWHM))
    labels, found = in_raster_order(first := label(detection.snr, threshold, 5), measure(first, detection))
    shape = kron.ellipses(labels, detection.flux, found["x"], found["y"], SIGMA)
    sharp = detection_image(image, None, np.zeros(len(data)))
    kwargs = {"factor": 2.5, "minimum": 3.5, "neighbours": neighbours, "progress": quiet}
    reference = Planes(sharp.flux[None], None, np.isfinite(sharp.variance)[None], labels)
    return found, shape, kron.measure(planes(data, good, labels), reference, found["x"], found["y"], shape, **kwargs)


def test_kron_holds_the_flux_of_stars_in_every_band():
    rng = np.random.default_rng(4)
    shape = (512, 512)
    x, y = grid(shape, 40, rng)
    flux = 10 ** rng.uniform(4, 5, x.size)
    colours = np.array([1.0, 0.3, 2.0])
    data = np.stack([gaussians(shape, x, y, flux * c) for c in colours]) + rng.normal(0, RMS, (3, *shape))
    found, _, result = run_kron(data)
    from scipy.spatial import cKDTree

    distance, match = cKDTree(np.stack([x, y], 1)).query(np.stack([found["x"], found["y"]], 1))
    near = distance < 1
    assert near.sum() == x.size
    for band, colour in enumerate(colours):
        truth = flux[match[near]] * colour
        pull = (result["flux"][near, band] - truth) / result["flux_err"][near, band]
        assert abs(np.median(pull)) < 5 * np.sqrt(np.pi / 2 / near.sum())
        assert 1.4826 * np.median(np.abs(pull)) == pytest.approx(1, abs=0.3)
        # A pixel's square widens the star: sqrt(sigma^2 + 1/12) for sigma.
        expected = np.sqrt(2 * np.log(2) * (SIGMA**2 + 1 / 12))
        assert np.median(result["half_light_radius"][near, band]) == pytest.approx(expected, rel=0.02)


def test_kron_on_a_galaxy_matches_sep():
    sep = pytest.importorskip("sep")
    y, x = np.mgrid[:200, :200]
    turned = np.radians(30)
    along, across = (x - 100) * np.cos(turned) + (y - 95) * np.sin(turned), (y - 95) * np.cos(turned) - (x - 100) * np.sin(turned)
    data = 500 * np.exp(-np.hypot(along, across / 0.5) / 6) + np.random.default_rng(5).normal(0, RMS, x.shape)
    found, shape, result = run_kron(data)
    i = int(np.argmax(found["significance"]))
    a, b, theta = shape.semi_major[i], shape.semi_minor[i], shape.theta[i]
    assert np.degrees(theta) == pytest.approx(30, abs=3)
    smooth = np.ascontiguousarray(data, np.float64)
    at = ([found["x"][i]], [found["y"][i]], [a], [b], [theta])
    moment, _ = sep.kron_radius(smooth, *at, 6.0)
    flux, _, _ = sep.sum_ellipse(smooth, *at, max(2.5 * moment[0], 3.5), subpix=0)
    assert result["radius"][i] == pytest.approx(max(2.5 * moment[0], 3.5) * a, rel=1e-3)
    assert result["flux"][i, 0] == pytest.approx(flux[0], rel=2e-3)
    half, _ = sep.flux_radius(smooth, *at[:2], [result["radius"][i]], 0.5, normflux=[result["flux"][i, 0]], subpix=10)
    assert result["half_light_radius"][i, 0] == pytest.approx(half[0], rel=0.02)
    total = 2 * np.pi * 500 * 6**2 * 0.5
    assert 0.88 < result["flux"][i, 0] / total < 1.0


def test_kron_with_a_dead_band_and_at_the_edge():
    shape = (80, 80)
    star = gaussians(shape, np.array([2.0, 50.0]), np.array([40.0, 40.0]), np.array([2e4, 2e4]))
    data = np.stack([star, star]) + np.random.default_rng(6).normal(0, RMS, (2, *shape))
    good = np.ones(data.shape, bool)
    good[1] = False
    found, _, result = run_kron(data, good=good)
    assert np.rint(found["x"]).tolist() in ([2, 50], [50, 2])
    edge = int(np.argmin(found["x"]))
    assert result["flags"][edge, 0] & SOURCE["APERTURE_TRUNCATED"]
    assert np.isfinite(result["flux"][:, 0]).all()
    assert np.isnan(result["flux"][:, 1]).all()
    assert (result["flags"][:, 1] & SOURCE["NO_FLUX"]).all()


def test_sources_without_footprint_get_the_psf_circle():
    shape = kron.ellipses(np.zeros((20, 20), np.int32), np.zeros((20, 20)), np.array([5.0, 10.0]), np.array([5.0, 10.0]), 1.7)
    assert not shape.measured.any()
    np.testing.assert_array_equal(shape.semi_major, 1.7)
    line = np.zeros((20, 20), np.int32)
    line[10, 4:15] = 1
    thin = kron.ellipses(line, np.ones((20, 20)), np.array([9.0]), np.array([10.0]), 1.7)
    assert thin.semi_minor[0] == pytest.approx(np.sqrt(1 / 12))
    assert thin.semi_major[0] == pytest.approx(np.sqrt(10 + 1 / 12))
