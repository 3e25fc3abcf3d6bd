"""Flooding with persistence: known splits, and the laws that hold for any image."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from astrosurvey.kernels import flood
from astrosurvey.kernels.components import cpu as components


def field(seed: int, shape: tuple[int, int] = (40, 50), levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    bright = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5).astype(np.float32)
    if levels:
        bright = np.round(bright * levels).astype(np.float32)
    return components(bright > 0, 1)[0], bright


def split(labels, bright, height=0.0, min_pixels=1):
    return flood.cpu(labels, bright, np.full(labels.shape, height, np.float32), min_pixels)


ROW = np.array([[1, 5, 2, 4, 3, 9, 1]], np.float32)
ONE = np.ones((1, 7), np.int32)


@pytest.mark.parametrize(
    ("needs", "pieces"),
    [
        ({}, [1, 1, 2, 2, 3, 3, 3]),
        ({"height": 1.5}, [1, 1, 2, 2, 2, 2, 2]),  # 4 rises by 1 above its saddle, the others by 3 at least
        ({"height": 3.5}, [1, 1, 1, 1, 1, 1, 1]),
        ({"min_pixels": 2}, [1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_what_a_branch_needs(needs, pieces):
    got, parent = split(ONE, ROW, **needs)
    assert got[0, [0, 1, 3, 4, 5, 6]].tolist() == [pieces[i] for i in (0, 1, 3, 4, 5, 6)]
    assert parent.tolist() == [1] * max(pieces)


def test_saddles_below_zero_count_as_zero():
    bright = np.array([[3, -50, 2, -60, 9]], np.float32)
    assert split(np.ones((1, 5), np.int32), bright, height=2.5)[1].tolist() == [1, 1]


def test_a_bump_joins_the_piece_it_touches_not_the_brightest():
    bright = np.array([[9, 1, 6, 5, 5.5, 1, 0.5]], np.float32)
    got, parent = split(ONE, bright, height=1.0)
    assert parent.tolist() == [1, 1]
    assert got[0, 4] == got[0, 2] == 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0, 3, 10]), st.sampled_from([0.0, 0.02, 0.2]), st.integers(1, 4))
def test_laws(seed, levels, height, min_pixels):
    labels, bright = field(seed, levels=levels)
    if seed % 2:
        bright[10:20, 5:25] = np.nan
    pieces, parent = split(labels, bright, height, min_pixels)
    n = int(labels.max())
    expected = flood.reference(labels, bright, np.full(labels.shape, height, np.float32), min_pixels)
    np.testing.assert_array_equal(pieces, expected[0])
    np.testing.assert_array_equal(parent, expected[1])
    np.testing.assert_array_equal(np.concatenate([[0], parent])[pieces], labels)  # pieces partition the islands
    assert sorted(set(parent.tolist())) == list(range(1, n + 1))
    for i in range(1, len(parent) + 1):
        assert ndimage.label(pieces == i, np.ones((3, 3)))[1] == 1
    more, parents = split(*(np.pad(a, ((3, 5), (7, 2))) for a in (labels, bright)), height, min_pixels)
    np.testing.assert_array_equal(more[3:-5, 7:-2], pieces)
    np.testing.assert_array_equal(parents, parent)
    fewer = split(labels, bright, height + 0.1, min_pixels)[1]
    assert len(fewer) <= len(parent)


def test_a_cut_between_islands_changes_nothing():
    _, bright = field(5, (90, 90))
    labels, _ = components(bright > 0.08, 1)
    whole, parents = split(labels, bright, 0.02, 2)
    window = np.s_[17:80, 11:77]
    cut = labels[window]
    inside = [k for k in np.unique(cut[cut > 0]) if (cut == k).sum() == (labels == k).sum()]
    part, parent = split(cut, bright[window], 0.02, 2)
    here = np.isin(cut, inside)
    assert here.sum() > 100
    pairs = np.unique(np.stack([part[here], whole[window][here]]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    assert (parent[pairs[0] - 1] == parents[pairs[1] - 1]).all()


def test_threads_change_nothing():
    labels, bright = field(8, (300, 310))
    threads = numba.get_num_threads()
    found = []
    try:
        for n in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(n)
            found.append(split(labels, bright, 0.01))
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_more_than_1024_children_in_one_island():
    y, x = np.mgrid[:300, :300]
    bright = (2 + np.cos(2 * np.pi * x / 6) * np.cos(2 * np.pi * y / 6)).astype(np.float32)
    pieces, parent = split(np.ones((300, 300), np.int32), bright, 0.5)
    assert len(parent) > 4000
    assert np.bincount(pieces.ravel())[1:].min() > 0


def test_a_plateau_is_one_piece_if_a_rise_is_asked_for():
    mask = np.random.default_rng(4).random((60, 60)) < 0.6
    labels, n = components(mask, 1)
    assert split(labels, np.ones((60, 60), np.float32), 1e-3)[1].tolist() == list(range(1, n + 1))


def test_scale_of_the_brightness_does_not_matter():
    labels, bright = field(11)
    pieces, _ = split(labels, bright, 0.02)
    for factor in (2.0**-90, 2.0**90):
        got, _ = split(labels, bright * np.float32(factor), 0.02 * factor)
        np.testing.assert_array_equal(got, pieces)


@pytest.mark.parametrize("twin", [flood.cpu, flood.on_cuda, flood.reference])
def test_refused(twin):
    flat = np.ones((3, 3), np.float32)
    with pytest.raises(ValueError, match="one shape"):
        twin(ONE, flat, flat, 1)
    with pytest.raises(ValueError, match="height"):
        twin(ONE, ROW, flat, 1)
