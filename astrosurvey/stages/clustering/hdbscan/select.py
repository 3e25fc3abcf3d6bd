"""Which clusters of the condensed tree are taken, which points they have, and how well these belong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ....kernels._condensed import CondensedTree


@dataclass(frozen=True)
class Selection:
    """A flat clustering.

    Attributes:
        clusters: (k,) the clusters of the condensed tree that were taken, none inside another.
        label: (n,) int64, which of them each point is in; -1 for none.
        probability: (n,) lambda at which the point falls out over that at which the cluster ends, at most 1; 0 outside.
        stability: (k,) from 0 to 1, how much of its density a cluster stands out by: the mean over its points of
            1 - birth / lambda.
    """

    clusters: np.ndarray
    label: np.ndarray
    probability: np.ndarray
    stability: np.ndarray


def excess_of_mass(tree: CondensedTree) -> np.ndarray:
    """Return (cluster,) the sum over a cluster's points of the lambda for which they are in it.

    References:
        Campello et al. (2015), ACM TKDD 10, 5, eq. 3, there called stability.
    """
    m = len(tree.parent)
    inner = tree.parent[:-1]
    lasted = np.bincount(tree.cluster, tree.level, m) + np.bincount(inner, (tree.size * tree.birth)[:-1], m)
    return np.asarray(lasted - tree.size * tree.birth)


def densest(tree: CondensedTree) -> np.ndarray:
    """Return (cluster,) the largest lambda of a point in each cluster, its children's among them."""
    largest = np.zeros(len(tree.parent))
    np.maximum.at(largest, tree.cluster, tree.level)
    for c, parent in enumerate(tree.parent[:-1]):  # children come first
        largest[parent] = max(largest[parent], largest[c])
    return largest


def _ends(tree: CondensedTree) -> np.ndarray:
    """Return (cluster,) lambda at which a cluster splits into its children or loses its last point."""
    last = np.zeros(len(tree.parent))
    np.maximum.at(last, tree.cluster, tree.level)
    np.maximum.at(last, tree.parent[:-1], tree.birth[:-1])
    return last


def outlier_scores(tree: CondensedTree) -> np.ndarray:
    """Return (n,) GLOSH scores: by how much a point is less dense than the densest of the cluster it falls out of, from 0 to 1.

    References:
        Campello et al. (2015), ACM TKDD 10, 5, eq. 8.
    """
    return np.asarray(1 - tree.level / densest(tree)[tree.cluster])


def select(tree: CondensedTree, method: Literal["eom", "leaf"], epsilon: float, single: bool) -> Selection:
    """Take clusters out of a condensed tree.

    Args:
        tree: the condensed tree.
        method: "eom" takes those that together have the largest excess of mass; "leaf" the smallest ones.
        epsilon: clusters that split at a smaller distance than this are taken together; 0 for none.
        single: whether one cluster of all may be the answer. It then has all points; with an epsilon, those at least as dense.

    References:
        Malzer & Baum (2020), IEEE MFI 223 (epsilon).
    """
    root = len(tree.parent) - 1
    taken = _largest_excess(tree, single) if method == "eom" else _leaves(tree, single)
    if epsilon > 0 and not taken[root]:
        taken = _widened(tree, taken, epsilon, single)
    above = _outermost(tree, taken)
    clusters = np.flatnonzero(taken)
    number = np.full(root + 2, -1)
    number[clusters] = np.arange(len(clusters))
    label = number[above[tree.cluster]]
    if taken[root] and epsilon > 0:
        label = np.where(tree.level * epsilon >= 1, label, -1)
        clusters = clusters[: label.max() + 1]
    inside = label >= 0
    at = np.where(inside, label, 0)
    k = len(clusters)
    probability = np.where(inside, np.minimum(tree.level / _ends(tree)[clusters][at], 1), 0.0) if k else np.zeros(len(label))
    share = np.where(inside, 1 - tree.birth[clusters][at] / tree.level, 0.0) if k else np.zeros(len(label))
    members = np.bincount(at, inside, k)[:k]
    return Selection(clusters, label, probability, np.bincount(at, share, k)[:k] / np.maximum(members, 1))


def _leaves(tree: CondensedTree, single: bool) -> np.ndarray:
    taken = np.ones(len(tree.parent), bool)
    taken[tree.parent[:-1]] = False
    taken[-1] &= single
    return taken


def _largest_excess(tree: CondensedTree, single: bool) -> np.ndarray:
    """Return (cluster,) bool: from the leaves up, a cluster is taken if its excess is not below that of the best ones inside it."""
    excess = excess_of_mass(tree)
    taken = np.ones(len(excess), bool)
    within = np.zeros(len(excess))
    split = np.zeros(len(excess), bool)
    split[tree.parent[:-1]] = True
    for c, parent in enumerate(tree.parent):
        # What has no clusters inside is taken for want of anything better, whatever the rounding of its excess.
        taken[c] = not split[c] or excess[c] >= within[c]
        if parent >= 0:
            within[parent] += excess[c] if taken[c] else within[c]
    taken[-1] &= single
    return _without_inner(tree, taken)


def _widened(tree: CondensedTree, taken: np.ndarray, epsilon: float, single: bool) -> np.ndarray:
    """Return the clusters taken, with such as split at a distance below epsilon replaced by the first larger one that does not."""
    root = len(tree.parent) - 1
    wider = np.zeros(len(taken), bool)
    for c in np.flatnonzero(taken):
        at = int(c)
        while tree.birth[at] * epsilon > 1:
            if tree.parent[at] == root and not single:
                break
            at = int(tree.parent[at])
        wider[at] = True
    return _without_inner(tree, wider)


def _outermost(tree: CondensedTree, taken: np.ndarray) -> np.ndarray:
    """Return (cluster,) the largest cluster taken that holds each cluster or is it; -1 for none."""
    above = np.full(len(taken), -1)
    for c in range(len(taken) - 1, -1, -1):
        outer = above[tree.parent[c]] if tree.parent[c] >= 0 else -1
        above[c] = outer if outer >= 0 else (c if taken[c] else -1)
    return above


def _without_inner(tree: CondensedTree, taken: np.ndarray) -> np.ndarray:
    return taken & (_outermost(tree, taken) == np.arange(len(taken)))
