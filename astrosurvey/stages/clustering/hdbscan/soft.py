"""Soft memberships: how probably each point belongs to each cluster, of which the best is kept.

Two things speak for a cluster: that its densest points, the exemplars, are near; and that the point joins it at a density not
far below the cluster's own. Their product, divided by its sum over the clusters, is multiplied by the probability that the point is
in any cluster: the density at which it joins one, over that cluster's largest.

References:
    McInnes, Healy & Astels (2017), JOSS 2, 205, and the soft clustering of its package hdbscan.
"""

from __future__ import annotations

import numpy as np

from ....core.stage import DataError
from ....kernels._condensed import CondensedTree
from .select import Selection, densest
from .tree import Hierarchy

BLOCK = 2**22
"""Memberships, of points in clusters, that are in memory at a time."""
MOST = 2**26
"""Clusters of the tree times clusters taken, which must be in memory at once."""


def best_memberships(hierarchy: Hierarchy, selection: Selection, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each point, the cluster to which it most probably belongs, and the probability.

    Args:
        hierarchy: n points, with a tree.
        selection: k clusters of it, at least one.
        box: (d,) periods of the coordinates, 0 for none.

    Returns:
        (n,) int64, index among the clusters taken; and (n,) float64.

    Raises:
        DataError: there are too many clusters.
    """
    from scipy.spatial import cKDTree

    tree = hierarchy.tree
    assert tree is not None
    k, n = len(selection.clusters), len(hierarchy.values)
    if k * len(tree.parent) > MOST:
        raise DataError(f"{k} clusters are too many for soft memberships; set `min_cluster_size` higher, or `soft` to false")
    exemplars = [cKDTree(hierarchy.values[rows], boxsize=box) for rows in _exemplars(tree, selection)]
    level, largest = _joined(tree, selection), densest(tree)
    label, probability = np.empty(n, np.int64), np.empty(n)
    for first in range(0, n, max(BLOCK // k, 1)):
        some = slice(first, first + max(BLOCK // k, 1))
        apart = np.stack([near.query(hierarchy.values[some])[0] for near in exemplars], axis=1)
        close = _shares(1 / np.maximum(apart, np.finfo(float).tiny))
        own, at = tree.cluster[some], tree.level[some, None]
        joins = np.fmin(level[own], at)
        most = np.maximum(largest[own][:, None], joins)
        kept = _shares(1 / np.maximum(1 - joins / most, np.finfo(float).eps))
        both = _shares(close * kept)
        nearest = joins.argmax(axis=1)[:, None]
        reached = np.take_along_axis(joins, nearest, axis=1)
        inside = reached / np.maximum(largest[selection.clusters][nearest], at)
        label[some] = both.argmax(axis=1)
        probability[some] = both.max(axis=1) * inside[:, 0]
    return label, probability


def _shares(values: np.ndarray) -> np.ndarray:
    values = values / values.max(axis=1, keepdims=True)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def _exemplars(tree: CondensedTree, selection: Selection) -> list[np.ndarray]:
    """Return the points of each cluster that are densest in the innermost cluster that they are in."""
    largest = densest(tree)
    innermost = np.ones(len(largest), bool)
    innermost[tree.parent[:-1]] = False
    chosen = innermost[tree.cluster] & (tree.level == largest[tree.cluster])
    return [np.flatnonzero(chosen & (selection.label == c)) for c in range(len(selection.clusters))]


def _joined(tree: CondensedTree, selection: Selection) -> np.ndarray:
    """Return (cluster, k) lambda at which what is in a cluster of the tree joins each one that was taken; NaN: as soon as it is there.

    All children of a cluster split off at one lambda. So what is in one of them joins what is in the others then.
    """
    m = len(tree.parent)
    holds = np.zeros((m, len(selection.clusters)), bool)
    holds[selection.clusters, np.arange(len(selection.clusters))] = True
    for c, parent in enumerate(tree.parent[:-1]):
        holds[parent] |= holds[c]
    joined = np.full(holds.shape, np.nan)
    inside = np.full(m, -1)
    inside[selection.clusters] = np.arange(len(selection.clusters))
    for c in range(m - 2, -1, -1):
        parent = tree.parent[c]
        apart = ~holds[c] & (np.arange(holds.shape[1]) != inside[parent])
        joined[c] = np.where(np.isnan(joined[parent]) & apart, tree.birth[c], joined[parent])
        inside[c] = inside[parent] if inside[parent] >= 0 else inside[c]
    return joined
