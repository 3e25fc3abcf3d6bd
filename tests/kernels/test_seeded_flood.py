"""Seeded flooding: known divisions, nothing lost, and nothing that depends on where the image was cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from astrosurvey.kernels import seeded_flood
from astrosurvey.kernels.components import cpu as components


def field(seed: int, shape: tuple[int, int] = (40, 50), levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    bright = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5).astype(np.float32)
    if levels:
        bright = np.round(bright * levels).astype(np.float32)
    return components(bright > 0, 1)[0], bright


def test_two_stars_are_parted_at_their_saddle():
    x = np.arange(21)
    row = np.exp(-0.5 * ((x - 5) / 2.0) ** 2) + 0.7 * np.exp(-0.5 * ((x - 14) / 2.0) ** 2)
    bright = np.tile(row, (5, 1)).astype(np.float32)
    got = seeded_flood.cpu(np.ones((5, 21), np.int32), bright, [2, 2], [14, 5])
    saddle = 5 + int(np.argmin(row[5:15]))
    assert (got[:, :saddle] == 2).all()
    assert (got[:, saddle + 1 :] == 1).all()


def test_a_seed_on_a_shoulder_keeps_what_lies_below_it():
    bright = np.array([[9, 8, 7, 6, 5, 4]], np.float32)
    assert seeded_flood.cpu(np.ones((1, 6), np.int32), bright, [0, 0], [3, 0]).tolist() == [[2, 2, 2, 1, 1, 1]]


def test_an_unseeded_peak_falls_to_the_seed_across_its_highest_saddle():
    bright = np.array([[3, 2, 9, 1, 8]], np.float32)
    assert seeded_flood.cpu(np.ones((1, 5), np.int32), bright, [0, 0], [4, 0]).tolist() == [[2, 2, 2, 2, 1]]


def test_islands_without_a_seed_and_seeds_without_an_island():
    labels = np.array([[1, 0, 2], [1, 0, 2]])
    got = seeded_flood.cpu(labels, np.ones((2, 3)), [0, 0, 9, 1, -1], [1, 2, 9, 2, 0])
    assert got.tolist() == [[0, 0, 2], [0, 0, 4]]
    assert (got[:, 0] == 0).all()
    assert seeded_flood.cpu(labels, np.ones((2, 3)), [0, 0], [2, 2]).tolist() == [[0, 0, 1], [0, 0, 1]]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0, 3, 10]), st.integers(0, 60))
def test_laws(seed, levels, n):
    labels, bright = field(seed, levels=levels)
    rng = np.random.default_rng(seed)
    y, x = rng.integers(0, 40, n), rng.integers(0, 50, n)
    got = seeded_flood.cpu(labels, bright, y, x)
    np.testing.assert_array_equal(got, seeded_flood.reference(labels, bright, y, x))
    held = np.unique(labels[y, x])
    np.testing.assert_array_equal(got > 0, (labels > 0) & np.isin(labels, held))  # islands are divided whole, or not at all
    for i in np.unique(got[got > 0]):
        assert got[y[i - 1], x[i - 1]] == i
        assert ndimage.label(got == i, np.ones((3, 3)))[1] == 1
    shifted = seeded_flood.cpu(*(np.pad(a, ((3, 5), (7, 2))) for a in (labels, bright)), y + 3, x + 7)
    np.testing.assert_array_equal(shifted[3:-5, 7:-2], got)


def test_a_cut_between_islands_changes_nothing():
    labels, bright = field(5, (64, 64))
    y, x = np.nonzero(ndimage.maximum_filter(bright, 9) == bright)
    whole = seeded_flood.cpu(labels, bright, y, x)
    cut = labels[10:60, 10:60]
    inside = [k for k in np.unique(cut[cut > 0]) if (cut == k).sum() == (labels == k).sum()]
    part = seeded_flood.cpu(cut, bright[10:60, 10:60], y - 10, x - 10)
    here = np.isin(cut, inside)
    assert here.any()
    np.testing.assert_array_equal(part[here], whole[10:60, 10:60][here])


def test_many_seeds_in_one_island():
    bright = np.random.default_rng(3).random((200, 200)).astype(np.float32)
    y, x = (a.ravel() for a in np.mgrid[0:200:4, 0:200:4])
    got = seeded_flood.cpu(np.ones((200, 200), bool), bright, y, x)
    assert len(np.unique(got)) == len(y) == 2500
    assert (got[y, x] == np.arange(1, 2501)).all()


@pytest.mark.parametrize("twin", [seeded_flood.cpu, seeded_flood.on_cuda, seeded_flood.reference])
def test_refused(twin):
    with pytest.raises(ValueError, match="one shape"):
        twin(np.ones((3, 3), np.int32), np.ones((3, 4)), [0], [0])
    with pytest.raises(ValueError, match="cut it into tiles"):
        twin(np.broadcast_to(np.int32(0), (2**16, 2**15)), np.broadcast_to(np.float32(0), (2**16, 2**15)), [0], [0])
