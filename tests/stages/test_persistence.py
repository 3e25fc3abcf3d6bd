"""Deblending by persistence: pairs split, shoulders found, noise and smooth galaxies left whole, and images that are dirt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from astrosurvey.catalog.flags import SOURCE
from astrosurvey.catalog.ids import split_id
from astrosurvey.products import Catalog, Image, Segmentation
from astrosurvey.stages.deblending.levels import Criteria, split
from astrosurvey.stages.deblending.persistence import PersistenceDeblending
from astrosurvey.stages.detection.stage import SegmentDetection

from .running import run
from .scenes import FWHM, gaussians, grid, make_image

RMS = 5.0
CRITERIA = Criteria(2.5, 3.5, 0.01, 3, 0.6, 1.25)


def deblended(image: Image, **settings) -> tuple[dict, dict]:
    found = run(SegmentDetection, image=image)
    return found, run(PersistenceDeblending, settings, image=image, **found)


def stars(x, y, flux, shape=(96, 96), seed=1):
    return gaussians(shape, np.array(x, float), np.array(y, float), np.array(flux, float)) + np.random.default_rng(seed).normal(
        0, RMS, shape
    )


@pytest.mark.parametrize(("separation", "ratio"), [(6, 1.0), (7, 0.5), (9, 0.2), (12, 0.1)])
def test_pairs_are_split_and_linked_to_their_island(separation, ratio):
    before, after = deblended(make_image(stars([40, 40 + separation], [48, 48], [20000, 20000 * ratio]), RMS))
    assert len(before["sources"]) == 1
    children = after["sources"]
    assert len(children) == 2
    np.testing.assert_allclose(np.sort(children.column("x")), [40, 40 + separation], atol=1.0)
    np.testing.assert_allclose(children.column("y"), 48, atol=1.0)
    assert (children.column("parent_source_id") == before["sources"].column("source_id")[0]).all()
    assert (children.column("flags") & SOURCE["BLENDED"] != 0).all()
    assert split_id(children.column("source_id"))[1].min() > split_id(before["sources"].column("source_id"))[1].max()
    assert ((after["segmentation"].labels > 0) == (before["segmentation"].labels > 0)).all()


def test_a_companion_on_a_shoulder_is_found_in_the_sharpened_image_and_says_so():
    y, x = np.mgrid[:96, :96]
    galaxy = 300 * np.exp(-0.5 * ((x - 48) ** 2 + (y - 48) ** 2) / 5.0**2)
    image = make_image(galaxy + stars([57], [48], [3000]), RMS)
    _, plain = deblended(image, sharpening=0.0)
    assert len(plain["sources"]) == 1
    _, sharp = deblended(image)
    assert len(sharp["sources"]) == 2
    assert (sharp["sources"].column("flags") & SOURCE["SHOULDER"] != 0).all()
    assert np.hypot(sharp["sources"].column("x") - 57, sharp["sources"].column("y") - 48).min() < 1.5
    _, apart = deblended(make_image(stars([40, 54], [48, 48], [20000, 15000]), RMS))
    assert len(apart["sources"]) == 2
    assert (apart["sources"].column("flags") & SOURCE["SHOULDER"] == 0).all()


def test_single_stars_and_smooth_galaxies_stay_whole():
    y, x = np.mgrid[:96, :96]
    galaxy = 60 * np.exp(-np.hypot(x - 48, (y - 48) / 0.6) / 8)
    extra = 0
    for seed in range(20):
        for data in (stars([48], [48], [10 ** (3 + seed / 10)], seed=seed), galaxy + stars([], [], [], seed=seed)):
            before, after = deblended(make_image(data, RMS))
            extra += len(after["sources"]) - len(before["sources"])
    assert extra <= 2


def spiral(seed=3):
    """Return a disc with sixty knots, which rise out of the noise as stars do."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:192, :192]
    disc = 400 * np.exp(-np.hypot(x - 96, y - 96) / 30)
    angle, radius = rng.uniform(0, 2 * np.pi, 60), rng.uniform(15, 50, 60)
    return disc + stars(96 + radius * np.cos(angle), 96 + radius * np.sin(angle), np.full(60, 3000.0), disc.shape, seed)


def test_a_galaxy_keeps_its_knots_but_not_the_star_in_front_of_it():
    data = spiral()
    assert len(deblended(make_image(data, RMS), contrast=0.0)[1]["sources"]) > 20
    assert len(deblended(make_image(data, RMS))[1]["sources"]) == 1
    star = gaussians(data.shape, np.array([140.0]), np.array([110.0]), np.array([200_000.0]))
    both = deblended(make_image(data + star, RMS))[1]["sources"]
    assert len(both) == 2
    assert np.hypot(both.column("x") - 140, both.column("y") - 110).min() < 1


def test_two_large_galaxies_are_two_though_neither_has_a_sharp_peak():
    y, x = np.mgrid[:256, :256]
    discs = sum(300 * np.exp(-np.sqrt((x - u) ** 2 + (y - v) ** 2 + 100) / 14) for u, v in ((85, 120), (170, 135)))
    before, after = deblended(make_image(discs + stars([], [], [], discs.shape), RMS))
    assert len(after["sources"]) == len(before["sources"]) + 1
    largest = np.argsort(np.bincount(after["segmentation"].labels.ravel())[1:])[-2:]
    np.testing.assert_allclose(np.sort(after["sources"].column("x")[largest]), [85, 170], atol=8)


@pytest.mark.parametrize("spacing", [8, 10])
def test_more_than_1024_sources_in_one_island_are_all_found(spacing):
    """A crowd is no galaxy, however large its island: a source is weighed against its neighbours."""
    rng = np.random.default_rng(spacing)
    shape = (40 * spacing, 40 * spacing)
    x, y = grid(shape, spacing, rng)
    flux = rng.uniform(30_000, 120_000, x.size)
    before, after = deblended(make_image(stars(x, y, flux, shape), RMS))
    assert len(before["sources"]) == 1
    found = after["sources"]
    assert len(found) == x.size == 1600
    tree = cKDTree(np.stack([found.column("x"), found.column("y")], axis=1))
    distance, index = tree.query(np.stack([x, y], axis=1))
    assert distance.max() < 1.5
    assert np.unique(index).size == 1600


def test_each_setting_can_forbid_a_split():
    image = make_image(stars([40, 50, 60], [48, 50, 44], [20000, 2000, 9000]), RMS)
    assert len(deblended(image)[1]["sources"]) == 3
    for settings in ({"contrast": 1.0}, {"min_pixels": 400}, {"significance": 500.0, "shoulder_significance": 500.0}):
        assert len(deblended(image, **settings)[1]["sources"]) == 1


def test_a_shift_of_the_tile_changes_nothing_far_from_its_edge():
    rng = np.random.default_rng(5)
    data = stars(rng.uniform(0, 256, 120), rng.uniform(0, 256, 120), rng.uniform(800, 30000, 120), (256, 256))
    image = make_image(data, RMS)
    part = replace(image, data=image.data[:, 24:, 17:].copy(), variance=image.variance[:, 24:, 17:].copy())
    whole, cut = (deblended(i)[1]["sources"] for i in (image, part))

    def inner(sources, dx, dy):
        x, y = sources.column("x") + dx, sources.column("y") + dy
        keep = (x > 70) & (y > 70) & (x < 230) & (y < 230)
        return np.stack([x[keep], y[keep], sources.column("flags")[keep]], axis=1)

    here, there = inner(whole, 0, 0), inner(cut, 17, 24)
    assert len(here) > 30
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-3)


def dirty(kind: str) -> Image:
    data = stars([30, 38, 70], [40, 40, 60], [20000, 9000, 5000])
    image = make_image(data, RMS)
    if kind == "all masked":
        return replace(image, mask=np.ones(image.data.shape, np.int32))
    if kind == "constant":
        return replace(image, data=np.full_like(image.data, 3.0))
    if kind == "infinite variance":
        return replace(image, variance=np.where(np.arange(96) < 50, image.variance, np.inf).astype(np.float32))
    if kind == "NaN block":
        holed = image.data.copy()
        holed[:, 35:45, 34:36] = np.nan
        return replace(image, data=holed)
    rows = slice(40, 41) if kind == "one row" else slice(None)
    columns = slice(38, 39) if kind == "one column" else slice(None)
    return replace(image, data=image.data[:, rows, columns].copy(), variance=image.variance[:, rows, columns].copy())


@pytest.mark.parametrize("kind", ["all masked", "constant", "infinite variance", "NaN block", "one row", "one column"])
def test_dirt_gives_a_linked_result(kind):
    image = dirty(kind)
    before, after = deblended(image)
    assert after["segmentation"].labels.max(initial=0) == len(after["sources"])
    assert ((after["segmentation"].labels > 0) == (before["segmentation"].labels > 0)).all()
    assert len(after["sources"]) >= len(before["sources"])
    assert np.isfinite(after["sources"].column("x")).all()


def test_no_sources_pass_through():
    image = make_image(np.zeros((32, 32)), RMS)
    after = run(
        PersistenceDeblending, image=image, segmentation=Segmentation(np.zeros((32, 32), np.int32)), sources=Catalog.empty("source")
    )
    assert len(after["sources"]) == 0


def test_pieces_partition_islands_and_bands_work_together():
    rng = np.random.default_rng(6)
    x, y, flux = rng.uniform(0, 160, 60), rng.uniform(0, 160, 60), rng.uniform(2000, 30000, 60)
    data = np.stack([stars(x, y, flux, (160, 160), seed) for seed in (1, 2)])
    image = make_image(data, [RMS, RMS])
    labels = run(SegmentDetection, image=image)["segmentation"].labels
    found = split(image, None, np.full(2, FWHM), labels, CRITERIA)
    np.testing.assert_array_equal(found.parent[found.number - 1], labels.reshape(-1)[found.where])
    split_islands = np.flatnonzero(np.bincount(found.parent) > 1)
    assert len(split_islands) > 3
    assert set(found.parent) == set(split_islands)
    assert sorted(found.where) == sorted(np.flatnonzero(np.isin(labels, split_islands)))
    one = split(image, ("g",), np.full(2, FWHM), labels, CRITERIA)
    assert len(one.parent) <= len(found.parent) + 3
