"""Single linkage by mutual reachability distance, and the condensed tree, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from astrosurvey.kernels import linkage, morton, neighbours
from astrosurvey.kernels._condensed import condense


def points(kind, n, d, rng):
    if kind == "grid":
        return np.round(rng.normal(size=(n, d)), 1)
    if kind == "coinciding":
        return np.repeat(rng.normal(size=(-(-n // 9), d)), 9, axis=0)[:n]
    clumps = rng.normal(size=(n, d)) * rng.choice([0.02, 0.3], (n, 1)) + rng.integers(0, 2, (n, 1))
    return clumps + (100.0 * (np.arange(n) % 2))[:, None] if kind == "apart" else clumps


def reachability(values, k):
    """Return the matrix of squared mutual reachability distances."""
    apart = sum((x[:, None] - x) ** 2 for x in values.T)
    core = np.sort(apart, axis=1)[:, min(k, len(values)) - 1]
    return np.maximum(apart, np.maximum(core, core[:, None]))


def linked(values, k):
    """Return points in canonical order, and their merges."""
    values = np.ascontiguousarray(values[morton.KERNEL.cpu(values)])
    box = np.zeros(values.shape[1])
    indices, squared = neighbours.reference(values, k, box)
    return values, linkage.cpu(values, np.ascontiguousarray(squared[:, -1]), indices, box)


KINDS = [
    (kind, n, d, k) for kind in ("clumps", "apart", "grid", "coinciding") for n, d, k in ((17, 1, 3), (90, 2, 5), (200, 3, 20), (150, 6, 2))
]


@pytest.mark.parametrize(("kind", "n", "d", "k"), KINDS)
def test_the_tree_is_a_minimum_spanning_tree_and_the_merges_are_components(kind, n, d, k):
    values, (point, into, height) = linked(points(kind, n, d, np.random.default_rng([n, d])), k)
    reach = reachability(values, k)
    levels, rank = np.unique(reach, return_inverse=True)
    tree = minimum_spanning_tree(rank + 1)  # SciPy takes zeros for missing edges
    assert height.tolist() == levels[np.sort(tree.data).astype(int) - 1].tolist()
    assert sorted(point) == list(range(1, n))
    for level in np.unique(height)[:: max(n // 10, 1)]:
        name = np.arange(n)
        for a, b in zip(point[height <= level], into[height <= level], strict=True):
            name[name == a] = b
        _, wanted = connected_components(reach <= level)
        assert (name[:, None] == name).tolist() == (wanted[:, None] == wanted).tolist()
        assert all(name[name == c].min() == c for c in np.unique(name))


def condensed(reach, least):
    """Return the condensed tree by its definition: {(birth, points): [(level, point) that falls out]}, from the top down."""
    found = {}
    levels, rank = np.unique(reach, return_inverse=True)

    def cluster(members, birth):
        fallen, inside = [], members
        while True:
            part = rank[np.ix_(inside, inside)]
            highest = int(minimum_spanning_tree(part + 1).data.max()) - 1
            level = levels[highest]
            n, label = connected_components(part < highest)
            parts = [inside[label == c] for c in range(n)]
            large = [p for p in parts if len(p) >= least]
            fallen += [(level, int(i)) for p in parts if len(p) < least or len(large) == 0 for i in p]
            if len(large) != 1:
                break
            inside = large[0]
        found[birth, tuple(members)] = fallen
        for p in large:
            cluster(p, level)

    cluster(np.arange(len(reach)), np.inf)
    return found


@pytest.mark.parametrize(("kind", "least", "k"), [("clumps", 5, 3), ("clumps", 12, 8), ("grid", 4, 2), ("apart", 6, 4)])
def test_the_condensed_tree_is_that_of_the_definition_and_equal_distances_are_one_step(kind, least, k):
    values, merges = linked(points(kind, 120, 2, np.random.default_rng(least)), k)
    tree = condense(*merges, least)
    wanted = condensed(reachability(values, k), least)
    assert len(tree.parent) == len(wanted)
    assert tree.parent[-1] == -1
    assert (tree.parent[:-1] > np.arange(len(tree.parent) - 1)).all()
    sizes = sorted(
        (round(1 / birth**0.5 if np.isfinite(birth) else 0.0, 9), len(members), len(fallen)) for (birth, members), fallen in wanted.items()
    )
    direct = np.bincount(tree.cluster, minlength=len(tree.parent))
    assert sorted(zip(tree.birth.round(9).tolist(), tree.size.tolist(), direct.tolist(), strict=True)) == sizes
    level = {i: height for fallen in wanted.values() for height, i in fallen}
    heights = np.array([level[i] for i in range(len(values))])
    positive = merges[2][merges[2] > 0].min()
    np.testing.assert_allclose(tree.level, 1 / np.sqrt(np.maximum(heights, positive)), rtol=1e-9)


def test_fewer_points_than_a_cluster_have_no_tree():
    _, merges = linked(np.random.default_rng(0).normal(size=(9, 2)), 3)
    assert condense(*merges, 10) is None
    assert len(condense(*merges, 9).parent) == 1
