"""Searching for neighbours and friends at sizes that the examples do not have: against SciPy, by exact properties, and at its limits."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.spatial import cKDTree

from astrosurvey.kernels import friends, morton, neighbours

pytestmark = pytest.mark.timeout(900)  # the first of these compiles


def cloud(n, d, seed=1):
    """Return (n, d) points: a uniform field, a dense clump, a line and 200 copies of one point."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (n, d))
    points[: n // 3] = 0.4 + 0.003 * rng.normal(size=(n // 3, d))
    points[n // 3 : n // 2] = rng.uniform(0, 1, (n // 2 - n // 3, 1))
    points[-200:] = points[-1]
    return points[rng.permutation(n)]


@pytest.mark.parametrize(
    ("n", "d", "k", "periods"), [(4000, 1, 20, 0), (4000, 3, 20, 1), (3000, 6, 33, 0), (1000, 20, 5, 0), (3000, 2, 1, 1)]
)
def test_distances_are_those_of_scipy(n, d, k, periods):
    points = cloud(n, d)
    box = np.where(np.arange(d) < periods, 1.0, 0.0)
    indices, squared = neighbours.cpu(points, k, box)
    wanted, _ = cKDTree(points, boxsize=box).query(points, [*range(1, k + 1)])
    np.testing.assert_allclose(np.sqrt(squared), wanted, rtol=1e-12, atol=1e-15)
    apart = np.abs(points[indices] - points[:, None])
    apart[..., :periods] = np.minimum(apart[..., :periods], 1 - apart[..., :periods])
    np.testing.assert_allclose((apart**2).sum(axis=-1), squared, rtol=1e-12, atol=1e-30)
    later = (np.diff(squared, axis=1) > 0) | ((np.diff(squared, axis=1) == 0) & (np.diff(indices, axis=1) > 0))
    assert later.all(), "by distance, and equal ones by row"


@pytest.mark.parametrize(("n", "d", "k", "block"), [(3000, 3, 20, 1), (3000, 2, 7, 10_000), (70, 3, 5, 1), (3, 2, 9, 1), (0, 2, 9, 1)])
def test_neighbours_of_some_points_after_the_others_are_those_of_all(n, d, k, block, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    points, box = cloud(n, d)[:n] if n > 200 else np.random.default_rng(1).random((n, d)), np.zeros(d)
    wanted = neighbours.reference(points, k, box)
    indices, squared = np.full_like(wanted[0], -1), np.full_like(wanted[1], -1)
    seen = np.zeros(n, int)
    for rows, near, apart in neighbours.blocks(points, k, box, "cpu"):
        assert near.shape == apart.shape == (len(rows), min(k, n))
        assert len(rows) <= max(block / min(k, n), neighbours.TILE)
        seen[rows] += 1
        indices[rows], squared[rows] = near, apart
    assert (seen == 1).all()
    np.testing.assert_array_equal(indices, wanted[0])
    np.testing.assert_array_equal(squared, wanted[1])


def test_neighbours_do_not_depend_on_the_order_of_rows():
    points = cloud(3000, 3)
    again = points[np.random.default_rng(0).permutation(len(points))]
    first, second = (p[morton.order(p)] for p in (points, again))
    np.testing.assert_array_equal(first, second)
    for a, b in zip(neighbours.cpu(first, 9, np.zeros(3)), neighbours.cpu(second, 9, np.zeros(3)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_equal_points_and_lattices_have_their_first_rows_as_neighbours():
    indices, squared = neighbours.cpu(np.ones((40_000, 3)), 7, np.zeros(3))
    assert (indices == np.arange(7)).all()
    assert (squared == 0).all()
    lattice = np.stack(np.meshgrid(*[np.arange(12.0)] * 3), axis=-1).reshape(-1, 3)
    indices, squared = neighbours.cpu(lattice, 27, np.full(3, 12.0))
    np.testing.assert_array_equal(squared, np.repeat([0.0, 1.0, 2.0, 3.0], [1, 6, 12, 8])[None].repeat(len(lattice), axis=0))


@pytest.mark.parametrize(
    ("points", "k", "box", "said"),
    [
        (np.zeros((5, 21)), 3, np.zeros(21), "20 columns"),
        (np.zeros((5, 2)), 0, np.zeros(2), "at least 1"),
        (np.zeros((5, 2)), 3, np.array([1.0, -1.0]), "period"),
        (np.zeros((5, 2)), 3, np.zeros(3), "period"),
        (np.full((5, 2), np.nan), 3, np.zeros(2), "finite"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(points, k, box, said):
    for way in (neighbours.reference, neighbours.cpu, partial(neighbours.blocks, device="cpu")):
        with pytest.raises(ValueError, match=said):
            way(points, k, box)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_friends_are_components_of_the_graph_of_short_links(d):
    from scipy.sparse.csgraph import connected_components

    points, box = cloud(3000, d), np.append(1.0, np.zeros(d - 1))
    length = 0.2 * len(points) ** (-1 / d)
    links = cKDTree(points, boxsize=box).sparse_distance_matrix(cKDTree(points, boxsize=box), length, output_type="coo_matrix")
    links.data[:] = 1  # distances of zero are links, too
    _, label = connected_components(links, directed=False)
    got = friends.cpu(points, length, 0.0, np.ones(len(points)), box)
    assert len(np.unique(got)) > 10
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(got, np.argsort(np.argsort(first))[inverse])


@pytest.mark.parametrize(
    ("across", "along", "box", "scale", "said"),
    [
        (0.0, 0.0, np.zeros(2), np.ones(5), "positive"),
        (1.0, 1.0, np.zeros(2), np.ones(5), "three columns"),
        (1.0, 0.0, np.zeros(2), np.ones(4), "scale"),
        (1.0, 0.0, np.zeros(2), np.zeros(5), "scale"),
    ],
)
def test_lengths_that_mean_nothing_are_refused(across, along, box, scale, said):
    with pytest.raises(ValueError, match=said):
        friends.cpu(np.zeros((5, 2)), across, along, scale, box)
