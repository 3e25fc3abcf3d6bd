"""How surely points belong to fuzzy clusters, and which of these lies in which.

A point's membership is the mean of its memberships in the clusterings that have the fuzzy cluster and saw the point. Where a
clustering has several clusters in it, their union counts once.

References:
    Oliver & Elahi (2024), arXiv:2411.03229, where several clusters of a clustering count as their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .clusterings import FULL, Clusterings
from .groups import FuzzyGroup


class Membership(NamedTuple):
    """Members of a fuzzy cluster.

    Attributes:
        members: (m,) int64, points, ascending.
        probability: (m,) float64, above 0 and at most 1, that the point belongs to the cluster, given that this is there.
    """

    members: np.ndarray
    probability: np.ndarray


def memberships(clusterings: Clusterings, groups: Sequence[FuzzyGroup]) -> list[Membership]:
    """Return the members of each fuzzy cluster."""
    found = []
    total = np.zeros(clusterings.n_points, np.int64)
    for group in groups:
        total[:] = 0
        for members, weights in unions(clusterings, group):
            total[members] += weights
        members = np.flatnonzero(total)
        times = np.full(len(members), len(group.clusterings))
        if clusterings.present is not None:
            times = clusterings.present[group.clusterings][:, members].sum(axis=0)
        found.append(Membership(members, total[members] / (FULL * times)))
    return found


def unions(clusterings: Clusterings, group: FuzzyGroup) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each clustering that has the fuzzy cluster, its members there and their weights."""
    order = np.argsort(clusterings.clustering[group.clusters], kind="stable")
    clusters = group.clusters[order]
    starts = np.searchsorted(clusterings.clustering[clusters], group.clusterings)
    found = []
    for several in np.split(clusters, starts[1:]):
        members, weights = clusterings.members(several[0]), clusterings.weights(several[0])
        for cluster in several[1:]:
            both = np.union1d(members, clusterings.members(cluster))
            most = np.zeros(len(both), np.int64)
            for others, theirs in ((members, weights), (clusterings.members(cluster), clusterings.weights(cluster))):
                at = np.searchsorted(both, others)
                most[at] = np.maximum(most[at], theirs)
            members, weights = both, most
        found.append((members, weights))
    return found


def nesting(clusterings: Clusterings, groups: Sequence[FuzzyGroup]) -> np.ndarray:
    """Return (group, group) float64, at [i, j] in which part of the clusterings that have j it lies inside i."""
    of = np.full(len(clusterings), -1)
    for index, group in enumerate(groups):
        of[group.clusters] = index
    inside: set[tuple[int, int, int]] = set()
    for cluster in np.flatnonzero((of >= 0) & (clusterings.parent >= 0)).tolist():
        above = int(clusterings.parent[cluster])
        while above >= 0:
            if of[above] >= 0 and of[above] != of[cluster]:
                inside.add((int(of[above]), int(of[cluster]), int(clusterings.clustering[cluster])))
            above = int(clusterings.parent[above])
    times = np.zeros((len(groups), len(groups)))
    for i, j, _ in inside:
        times[i, j] += 1
    return times / np.maximum([len(group.clusterings) for group in groups], 1)


def parents(clusterings: Clusterings, groups: Sequence[FuzzyGroup], found: Sequence[Membership]) -> list[int]:
    """Return for each fuzzy cluster the smallest that holds it in most clusterings, -1 for none."""
    part = nesting(clusterings, groups)
    size = [float(membership.probability.sum()) for membership in found]
    order = sorted(range(len(groups)), key=lambda i: (size[i], i))
    rank = {index: place for place, index in enumerate(order)}
    return [
        min((i for i in range(len(groups)) if part[i, j] > 0.5 and rank[i] > rank[j]), key=rank.__getitem__, default=-1)
        for j in range(len(groups))
    ]


def own(found: Sequence[Membership], parent: Sequence[int]) -> list[np.ndarray]:
    """Return for each fuzzy cluster its members' probability to belong to it and to none of the clusters inside it."""
    rest = [membership.probability.copy() for membership in found]
    for child, above in enumerate(parent):
        if above >= 0:
            members, probability = found[child]
            _, there, here = np.intersect1d(found[above].members, members, assume_unique=True, return_indices=True)
            rest[above][there] -= probability[here]
    return [np.clip(values, 0.0, 1.0) for values in rest]


def assigned(n_points: int, found: Sequence[Membership], parent: Sequence[int]) -> np.ndarray:
    """Return (n_points,) the fuzzy cluster that each point is put into, -1 for none.

    It is the one that the point most probably belongs to, and to none of those inside it, if that is more probable than that
    the point belongs to none. Of equally probable ones it is the first.
    """
    best, of, total = np.zeros(n_points), np.full(n_points, -1, np.int64), np.zeros(n_points)
    for index, (membership, probability) in enumerate(zip(found, own(found, parent), strict=True)):
        members = membership.members
        better = probability > best[members]
        best[members[better]], of[members[better]] = probability[better], index
        total[members] += probability
    of[best <= 1.0 - total] = -1
    return of
