"""Many clusterings of the same points, held in memory as one sparse matrix of clusters by points.

A membership is kept as a whole number of 65535ths, so that sums of memberships are exact: they do not depend on the order of
the clusterings, the clusters or the points. For the same reason clusters are put into an order that only their members decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

FULL = 65535
"""The weight of a certain member."""


class Cluster(NamedTuple):
    """A cluster of one clustering.

    Attributes:
        members: (m,) int, distinct indices of points.
        probability: (m,) membership of each, from 0 to 1; None where each is certain.
        parent: place of the cluster that holds this one in the same clustering; -1 for none.
        significance: in standard deviations; NaN for none.
    """

    members: np.ndarray
    probability: np.ndarray | None = None
    parent: int = -1
    significance: float = np.nan


@dataclass(frozen=True, eq=False)
class Clusterings:
    """All clusters of all clusterings.

    Attributes:
        first: (c + 1,) int64, where the members of each cluster begin.
        point: (member,) int32, ascending in each cluster.
        weight: (member,) uint16, in 65535ths, positive; None where all are certain.
        clustering: (c,) int32, of which clustering a cluster is, from 0.
        parent: (c,) int32, the cluster of the same clustering that holds this one; -1 for none.
        significance: (c,) float64, in standard deviations; NaN for none.
        n_clusterings: how many there are, with those that found nothing.
        n_points: how many points there are.
        present: (n_clusterings, n_points) bool, whether a clustering saw a point at all; None where all saw all.
    """

    first: np.ndarray
    point: np.ndarray
    weight: np.ndarray | None
    clustering: np.ndarray
    parent: np.ndarray
    significance: np.ndarray
    n_clusterings: int
    n_points: int
    present: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.clustering)

    def members(self, cluster: int | np.integer) -> np.ndarray:
        """Return the points of a cluster, ascending."""
        return self.point[self.first[cluster] : self.first[cluster + 1]]

    def weights(self, cluster: int | np.integer) -> np.ndarray:
        """Return (m,) int64 weights of a cluster's members, in 65535ths."""
        if self.weight is None:
            return np.full(self.first[cluster + 1] - self.first[cluster], FULL, np.int64)
        return self.weight[self.first[cluster] : self.first[cluster + 1]].astype(np.int64)


def gather(clusterings: Sequence[Sequence[Cluster]], n_points: int, present: np.ndarray | None = None) -> Clusterings:
    """Return clusterings of the same points as one matrix.

    Args:
        clusterings: the clusters of each. A cluster without members, or with a membership of 0, loses these.
        n_points: how many points there are, at most 2**31 - 1.
        present: (clustering, point) bool, whether a clustering saw a point; None where all saw all.

    Raises:
        ValueError: a member is no point, stands twice, or has a membership beyond 0 to 1.
    """
    points: list[np.ndarray] = []
    weights: list[np.ndarray | None] = []
    of: list[int] = []
    parents: list[int] = []
    significances: list[float] = []
    for index, clusters in enumerate(clusterings):
        kept = [_cleaned(cluster, n_points) for cluster in clusters]
        place = np.cumsum([len(members) > 0 for members, _ in kept]) - 1 + len(of)
        for (members, weight), cluster in zip(kept, clusters, strict=True):
            if len(members) == 0:
                continue
            above = cluster.parent
            while above >= 0 and len(kept[above][0]) == 0:
                above = clusters[above].parent
            parents.append(int(place[above]) if above >= 0 else -1)
            points.append(members)
            weights.append(weight)
            of.append(index)
            significances.append(cluster.significance)
    first = np.concatenate([[0], np.cumsum([len(members) for members in points], dtype=np.int64)]).astype(np.int64)
    weight = None
    if any(part is not None for part in weights):
        weight = np.concatenate([np.full(len(m), FULL, np.uint16) if w is None else w for m, w in zip(points, weights, strict=True)])
    whole = Clusterings(
        first,
        np.concatenate([np.zeros(0, np.int32), *points]),
        weight,
        np.array(of, np.int32),
        np.array(parents, np.int32),
        np.array(significances, np.float64),
        len(clusterings),
        n_points,
        present,
    )
    return _ordered(whole)


def _cleaned(cluster: Cluster, n_points: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the members, ascending, and their weights; those of weight 0 are left out."""
    members = np.asarray(cluster.members)
    order = None if cluster.probability is None else np.argsort(members, kind="stable")
    members = np.sort(members) if order is None else members[order]
    if len(members) and (members[0] < 0 or members[-1] >= n_points):
        raise ValueError(f"a cluster has member {members[0] if members[0] < 0 else members[-1]}, but there are {n_points} points")
    if (members[1:] == members[:-1]).any():
        raise ValueError("a cluster names a member twice")
    if cluster.probability is None:
        return members.astype(np.int32), None
    probability = np.asarray(cluster.probability, np.float64)[order]
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a cluster has a membership that is not between 0 and 1")
    weight = np.rint(probability * FULL).astype(np.uint16)
    return members[weight > 0].astype(np.int32), weight[weight > 0]


def _ordered(whole: Clusterings) -> Clusterings:
    """Return the clusters in an order that hangs on their members alone: the largest first, and equal ones side by side."""
    size = np.diff(whole.first)
    mixed = _mix(whole.point.astype(np.uint64) * np.uint64(65536) + (np.uint64(FULL) if whole.weight is None else whole.weight))
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
    content = total[whole.first[1:]] - total[whole.first[:-1]]
    order = np.lexsort([content, -size])
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    starts = np.repeat(whole.first[:-1][order] - np.concatenate([[0], np.cumsum(size[order])[:-1]]).astype(np.int64), size[order])
    take = starts + np.arange(len(whole.point))
    return replace(
        whole,
        first=np.concatenate([[0], np.cumsum(size[order])]).astype(np.int64),
        point=whole.point[take],
        weight=None if whole.weight is None else whole.weight[take],
        clustering=whole.clustering[order],
        significance=whole.significance[order],
        parent=np.where(whole.parent[order] >= 0, place[whole.parent[order]] if len(order) else whole.parent, -1).astype(np.int32),
    )


def _mix(values: np.ndarray) -> np.ndarray:
    """Return well-mixed 64-bit numbers of numbers (the finaliser of splitmix64); sums of them tell sets apart."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
