"""Deblending: pairs split where they can be, noise and smooth profiles left whole, every pixel kept."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from astrosurvey.stages.deblending.watershed import Criteria, deblend
from astrosurvey.stages.detection.filter import detection_image
from astrosurvey.stages.detection.footprints import label

from .scenes import FWHM, gaussians, make_image

CRITERIA = Criteria(contrast=0.001, dip=0.1, prominence=4.0, min_pixels=3, levels=32, mode="exponential")
RMS = 5.0


def islands(data: np.ndarray, rms: float = RMS, threshold: float = 4.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image = make_image(data, rms)
    labels = label(detection_image(image, None, np.array([FWHM])).snr, threshold, 5)
    sharp = detection_image(image, None, np.array([FWHM / 2]))
    noise = np.where(sharp.snr != 0, sharp.flux / np.where(sharp.snr != 0, sharp.snr, 1), np.inf)
    return labels, sharp.flux, noise


def pair(separation: float, ratio: float, seed: int = 1, flux: float = 20000.0) -> np.ndarray:
    x = np.array([60.0, 60.0 + separation])
    star = gaussians((128, 128), x, np.array([64.0, 64.0]), flux * np.array([1, ratio]))
    return star + np.random.default_rng(seed).normal(0, RMS, star.shape)


@pytest.mark.parametrize("mode", ["exponential", "linear", "sinh"])
@pytest.mark.parametrize(("separation", "ratio"), [(7, 1.0), (8, 0.5), (10, 0.2), (12, 0.1)])
def test_pairs_split(mode, separation, ratio):
    labels, flux, noise = islands(pair(separation, ratio))
    assert labels.max() == 1
    pieces, parent = deblend(labels, flux, noise, Criteria(0.005, 0.0, 3.0, 3, 32, mode))
    assert parent.tolist() == [1, 1]
    first, second = pieces[64, 60], pieces[64, 60 + separation]
    assert {first, second} == {1, 2}
    assert ((pieces > 0) == (labels > 0)).all()
    for piece in (1, 2):
        assert ndimage.label(pieces == piece, structure=np.ones((3, 3)))[1] == 1


def test_single_star_and_noise_stay_whole():
    rng = np.random.default_rng(2)
    whole = 0
    for _ in range(30):
        labels, flux, noise = islands(
            gaussians((64, 64), np.array([32.0]), np.array([32.0]), np.array([3000.0])) + rng.normal(0, RMS, (64, 64))
        )
        whole += len(deblend(labels, flux, noise, CRITERIA)[1]) == labels.max()
    assert whole == 30


def test_smooth_bright_galaxy_is_not_shredded_by_its_noise():
    y, x = np.mgrid[:256, :256]
    radius = np.hypot(x - 128, (y - 128) / 0.6)
    galaxy = 400 * np.exp(-radius / 25)
    shredded = {}
    for prominence in (0.0, 3.0):
        pieces = []
        for seed in range(3):
            labels, flux, noise = islands(galaxy + np.random.default_rng(seed).normal(0, RMS, galaxy.shape))
            centre = labels == labels[128, 128]
            pieces.append(len(deblend(centre.astype(np.int32), flux, noise, Criteria(0.0, 0.0, prominence, 1, 64, "exponential"))[1]))
        shredded[prominence] = np.mean(pieces)
    assert shredded[0.0] > 5  # without the height criterion noise peaks count
    assert shredded[3.0] < 0.05 * shredded[0.0]


def test_contrast_of_one_never_splits_and_more_contrast_splits_less():
    labels, flux, noise = islands(pair(10, 0.3))
    assert len(deblend(labels, flux, noise, Criteria(1.0, 0.0, 0.0, 1, 32, "linear"))[1]) == 1
    assert len(deblend(labels, flux, noise, Criteria(0.001, 0.0, 3.0, 1, 32, "exponential"))[1]) == 2


def test_faint_neighbour_of_a_bright_star_counts_by_its_dip():
    y, x = np.mgrid[:128, :128]
    halo = 4e5 / (1 + ((x - 60) ** 2 + (y - 64) ** 2) / 9) ** 2.5  # a bright star with the wings of a real one
    scene = halo + gaussians((128, 128), np.array([84.0]), np.array([64.0]), np.array([3000.0]))
    scene += np.random.default_rng(3).normal(0, RMS, scene.shape)
    labels, flux, noise = islands(scene)
    assert labels[64, 60] == labels[64, 84]
    assert len(deblend(labels, flux, noise, Criteria(0.005, 0.0, 4.0, 3, 32, "exponential"))[1]) == labels.max()
    pieces, _ = deblend(labels, flux, noise, Criteria(0.005, 0.5, 4.0, 3, 32, "exponential"))
    assert pieces.max() == labels.max() + 1
    assert pieces[64, 60] != pieces[64, 84]


def test_touching_islands_stay_apart():
    labels = np.zeros((30, 40), np.int32)
    labels[5:25, 5:20] = 1
    labels[5:25, 20:35] = 2
    flux = gaussians((30, 40), np.array([12.0, 27.0]), np.array([15.0, 15.0]), np.array([1e4, 1e4])) + 1
    pieces, parent = deblend(labels, flux, np.full(labels.shape, 0.1), CRITERIA)
    assert parent.tolist() == [1, 2]
    np.testing.assert_array_equal(pieces, labels)


def test_plateaus_and_constant_islands():
    labels = np.ones((20, 20), np.int32)
    for flux in (np.zeros((20, 20)), np.full((20, 20), 7.0), -np.ones((20, 20))):
        pieces, parent = deblend(labels, flux, np.ones((20, 20)), CRITERIA)
        assert parent.tolist() == [1]
        assert (pieces == 1).all()


@pytest.mark.parametrize("shape", [(1, 60), (60, 1), (1, 1), (2, 2)])
def test_odd_shapes(shape):
    labels = np.ones(shape, np.int32)
    flux = np.sin(np.arange(labels.size) / 3.0).reshape(shape) * 100 + 200
    pieces, parent = deblend(labels, flux, np.ones(shape), CRITERIA)
    assert (pieces > 0).all()
    assert len(parent) == pieces.max() == (4 if labels.size == 60 else 1)


def test_nothing_to_split():
    pieces, parent = deblend(np.zeros((10, 10), np.int32), np.zeros((10, 10)), np.ones((10, 10)), CRITERIA)
    assert not pieces.any()
    assert len(parent) == 0


def test_crowded_field_is_split_at_least_as_well_as_sep():
    sep = pytest.importorskip("sep")
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(11)
    shape, n = (512, 512), 120
    x, y = rng.uniform(20, 490, n), rng.uniform(20, 490, n)
    angle, distance = rng.uniform(0, 2 * np.pi, n), rng.uniform(6, 14, n)
    bright = 10 ** rng.uniform(3.6, 4.6, n)
    tx, ty = np.concatenate([x, x + distance * np.cos(angle)]), np.concatenate([y, y + distance * np.sin(angle)])
    data = gaussians(shape, tx, ty, np.concatenate([bright, bright * rng.uniform(0.1, 1, n)])) + rng.normal(0, RMS, shape)

    labels, flux, noise = islands(data)
    pieces, _ = deblend(labels, flux, noise, CRITERIA)
    ours = np.array(ndimage.center_of_mass(np.maximum(flux, 0), pieces, np.arange(1, pieces.max() + 1)))[:, ::-1]
    theirs = sep.extract(np.ascontiguousarray(data, np.float32), 1.0, err=RMS)
    theirs = np.stack([theirs["x"], theirs["y"]], 1)

    def pairs_found(found: np.ndarray) -> int:
        _, near = cKDTree(found).query(np.stack([tx, ty], 1), distance_upper_bound=3)
        return sum(a != b and a < len(found) and b < len(found) for a, b in zip(near[:n], near[n:], strict=True))

    assert pairs_found(ours) >= pairs_found(theirs) - 3
    assert len(ours) < 2 * n + 20


def test_same_answer_on_the_transposed_scene():
    labels, flux, noise = islands(pair(9, 0.4))
    pieces, _ = deblend(labels, flux, noise, CRITERIA)
    turned, _ = deblend(np.ascontiguousarray(labels.T), np.ascontiguousarray(flux.T), np.ascontiguousarray(noise.T), CRITERIA)
    np.testing.assert_array_equal(turned.T[64, 60] == turned.T, pieces == pieces[64, 60])
