"""The condensed tree: merges of single linkage without those of groups that are too small to be clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._numba import serial


@dataclass(frozen=True)
class CondensedTree:
    """What remains of a hierarchy when only clusters of a least size count, and smaller groups fall out of them.

    Clusters are numbered so that children come before their parents; the last one is the root, which holds all points.
    Density is measured by lambda, one over the distance.

    Attributes:
        cluster: (n,) int32, the smallest cluster each point is in.
        level: (n,) float64, lambda at which the point falls out of it.
        parent: (cluster,) int32; -1 for the root.
        birth: (cluster,) float64, lambda at which the cluster splits off from its parent; 0 for the root.
        size: (cluster,) int64, points in it, those of its children among them.
    """

    cluster: np.ndarray
    level: np.ndarray
    parent: np.ndarray
    birth: np.ndarray
    size: np.ndarray


def condense(point: np.ndarray, into: np.ndarray, height: np.ndarray, least: int) -> CondensedTree | None:
    """Return the condensed tree of a hierarchy; None if there are fewer points than make a cluster.

    What joins at the same distance joins at once, so a cluster may have more than two children. Where points coincide
    the distance is 0, and lambda is that of the smallest distance that is not: so coinciding points count as the
    densest others do, and not without bound.

    Args:
        point, into, height: what `linkage` returned for n points.
        least: points of the smallest cluster, 2 or more.

    References:
        Campello, Moulavi, Zimek & Sander (2015), ACM TKDD 10, 5; McInnes & Healy (2017), arXiv:1705.07321.
    """
    n = len(point) + 1
    if n < least:
        return None
    apart = height[height > 0]
    level = 1 / np.sqrt(np.maximum(height, apart[0] if len(apart) else 1.0))
    cluster, fell = np.empty(n, np.int32), np.empty(n)
    most = 2 * (n // least)
    parent, birth, size = np.full(most, -1, np.int32), np.zeros(most), np.zeros(most, np.int64)
    m = _condense(point, into, height, level, least, cluster, fell, parent, birth, size)
    return CondensedTree(cluster, fell, parent[:m], birth[:m], size[:m])


@serial
def _condense(
    point: Any, into: Any, height: Any, level: Any, least: Any, cluster: Any, fell: Any, parent: Any, birth: Any, size: Any
) -> Any:  # fmt: skip
    """Go through the merges from the densest on. Groups that are no clusters yet are chains of points from their first to their last."""
    n = len(point) + 1
    count = np.ones(n, np.int64)
    following, last = np.full(n, -1, np.int64), np.arange(n)
    of = np.full(n, -1, np.int32)  # the cluster that a group is, by its first point
    m = 0
    begin = 0
    while begin < n - 1:
        first = into[begin]
        end = begin
        total, clusters, own = count[first], np.int64(of[first] >= 0), of[first]
        while end < n - 1 and into[end] == first and height[end] == height[begin]:
            r = point[end]
            total += count[r]
            if of[r] >= 0:
                clusters += 1
                own = of[r]
            end += 1
        if total >= least:
            if clusters != 1:
                own = np.int32(m)
                m += 1
            for e in range(begin - 1, end):
                r = first if e < begin else point[e]
                if of[r] < 0:
                    i = r
                    while i >= 0:
                        cluster[i], fell[i] = own, level[begin]
                        i = following[i]
                elif of[r] != own:
                    parent[of[r]], birth[of[r]], size[of[r]] = own, level[begin], count[r]
            of[first] = own
        else:
            for e in range(begin, end):
                following[last[first]] = point[e]
                last[first] = last[point[e]]
        count[first] = total
        begin = end
    size[m - 1] = n
    return m
