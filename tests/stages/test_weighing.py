"""Weighing pieces against the light around them: as the rule says, and independent of what else is in the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from astrosurvey.kernels import flood
from astrosurvey.kernels.components import cpu as components
from astrosurvey.stages.deblending.weighing import EXTENDED, standing

AREA = 8.0


def pieces_of(seed: int, shape=(40, 50)):
    bright = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5).astype(np.float32)
    labels, _ = components(bright > -0.1, 1)
    pieces, parent = flood.cpu(labels, bright, np.full(shape, 0.01, np.float32), 1)
    return pieces, parent, bright, (bright + 0.05 * np.random.default_rng(seed + 1).random(shape)).astype(np.float32)


def by_the_rule(pieces, parent, bright, light, area, contrast):
    """Do it by masks, everything anew in each round."""
    pieces = pieces.copy()
    at = {k: k for k in range(1, len(parent) + 1)}
    while True:
        alive = [k for k in at if at[k] == k]
        own = {k: float(np.maximum(light[pieces == k], 0).sum(dtype=float)) for k in alive}
        top = {k: max(bright[pieces == k].max(), np.float32(0)) for k in alive}
        saddle: dict[tuple[int, int], np.float32] = {}
        ny, nx = pieces.shape
        for (y, x), p in np.ndenumerate(pieces):
            for v, u in ((y, x + 1), (y + 1, x - 1), (y + 1, x), (y + 1, x + 1)):
                if p and v < ny and 0 <= u < nx and (q := pieces[v, u]) and q != p and parent[q - 1] == parent[p - 1]:
                    level = max(min(bright[y, x], bright[v, u]), np.float32(0))
                    for pair in ((p, q), (q, p)):
                        saddle[pair] = max(saddle.get(pair, level), level)
        rises = {}
        for k in alive:
            met = sorted((-level, other) for (mine, other), level in saddle.items() if mine == k)
            if met:
                rises[k] = (top[k] + met[0][0], met[0][1], sum(own[other] for _, other in met))
        grown = set()
        for k in sorted(rises, key=lambda k: (rises[k][0], k)):
            rise, other, around = rises[k]
            needed = contrast * (own[k] + around)
            extended = np.maximum(bright[pieces == k] - (top[k] - rise), 0).sum(dtype=float)
            if k in grown or rise * area >= needed or extended >= EXTENDED * needed:
                continue
            while at[other] != other:
                other = at[other]
            at[k] = other
            own[other] += own[k]
            pieces[pieces == k] = other
            grown.add(other)
        if not grown:
            left = np.array(alive)
            return np.where(pieces > 0, np.searchsorted(left, pieces) + 1, 0), parent[left - 1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0]))
def test_the_rule(seed, contrast):
    pieces, parent, bright, light = pieces_of(seed, (22, 27))
    got, parents = standing(pieces, parent, bright, light, AREA, contrast)
    expected, of = by_the_rule(pieces, parent, bright, light, AREA, contrast)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(parents, of)
    np.testing.assert_array_equal(np.concatenate([[0], parents])[got], np.concatenate([[0], parent])[pieces])
    assert set(parents) == set(parent)


def test_islands_are_weighed_each_by_itself():
    pieces, parent, bright, light = pieces_of(4, (90, 100))
    whole, parents = standing(pieces, parent, bright, light, AREA, 0.02)
    assert len(set(parent)) < len(parents) < len(parent)
    for island in np.unique(parent)[:6]:
        members = np.flatnonzero(parent == island) + 1
        alone = np.where(np.isin(pieces, members), np.searchsorted(members, pieces) + 1, 0).astype(np.int32)
        y, x = np.nonzero(alone)
        box = np.s_[y.min() : y.max() + 1, x.min() : x.max() + 1]
        part, of = standing(alone[box].copy(), parent[members - 1], *(np.ascontiguousarray(a[box]) for a in (bright, light)), AREA, 0.02)
        inside = alone[box] > 0
        pairs = np.unique(np.stack([part[inside], whole[box][inside]]), axis=1)
        assert np.unique(pairs[0]).size == np.unique(pairs[1]).size == pairs.shape[1] == len(of) == (parents == island).sum()


def test_the_larger_part_absorbs_the_brighter_peak():
    """What decides is the light around a peak, not which of two peaks is higher."""
    bright = np.full((1, 60), 10.0, np.float32)
    bright[0, 20], bright[0, 49], bright[0, 50] = 12.0, 5.0, 14.0
    pieces = np.ones((1, 60), np.int32)
    pieces[0, 50:] = 2
    bright[0, 51:] = 4.0
    pieces, parent = standing(pieces, np.array([1, 1]), bright, bright, 1.0, 0.02)
    assert parent.tolist() == [1]
    assert (pieces == 1).all()


@pytest.mark.parametrize("parent", [[], [1], [1, 2, 3]])
def test_pieces_without_siblings_stay(parent):
    pieces = np.zeros((3, 7), np.int32)
    pieces[1, : 2 * len(parent) : 2] = np.arange(1, len(parent) + 1)
    flat = np.ones((3, 7), np.float32)
    got, parents = standing(pieces, np.array(parent, np.int32), flat, flat, AREA, 1.0)
    np.testing.assert_array_equal(got, pieces)
    assert parents.tolist() == parent
