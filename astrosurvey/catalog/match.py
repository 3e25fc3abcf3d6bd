"""Which sources of different tiles are the same object: mutual nearest neighbours, one of each tile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

_BLOCK = 2**16
"""Sources whose neighbours are sought at once."""


@dataclass(frozen=True, eq=False)
class Points:
    """Sources of several tiles that may have counterparts on other tiles.

    Attributes:
        tile: (n,) int64 ids of their tiles.
        ids: (n,) int64 source ids.
        position: (n, k) in the frame that the tiles share.
        reach: (n,) how far from here a counterpart may lie, in the units of `position`.
    """

    tile: np.ndarray
    ids: np.ndarray
    position: np.ndarray
    reach: np.ndarray


def groups(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Return the groups of sources that are one object, each with at most one source of a tile.

    Two sources are linked when each is the other's nearest on its tile and neither is out of the other's
    reach; links are followed from the shortest to the longest as long as no tile comes in twice. The
    result depends not on the order of the sources.

    Returns:
        (m,) indices of the sources that are in a group of two or more, group after group and by id in each;
        and (m,) the numbers of their groups, from 0.
    """
    i, j, distance = _mutual(points)
    swapped = points.ids[i] > points.ids[j]
    low, high = np.where(swapped, j, i), np.where(swapped, i, j)
    order = np.lexsort([points.ids[high], points.ids[low], distance])
    member, group = _joined(points.tile.tolist(), low[order].tolist(), high[order].tolist())
    order = np.lexsort([points.ids[member], group])
    return member[order], group[order]


def _mutual(points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return indices and distances of the pairs that are each other's nearest on their tiles, within reach of both."""
    i, j = _near(points)
    distance = np.linalg.norm(points.position[i] - points.position[j], axis=1)
    within = distance <= points.reach[j]
    i, j, distance = i[within], j[within], distance[within]
    order = np.lexsort([points.ids[j], points.ids[i], distance])
    i, j, distance = i[order], j[order], distance[order]
    _, tile = np.unique(points.tile, return_inverse=True)
    n = int(tile.max(initial=0)) + 1
    _, nearest_of_i = np.unique(i * n + tile[j], return_index=True)
    _, nearest_of_j = np.unique(j * n + tile[i], return_index=True)
    both = np.intersect1d(nearest_of_i, nearest_of_j)
    return i[both], j[both], distance[both]


def _near(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of sources of different tiles, that of the smaller tile id first, which has the other within reach."""
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    tree = cKDTree(points.position)
    for start in range(0, len(points.ids), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = tree.query_ball_point(points.position[block], points.reach[block])
        i = start + np.repeat(np.arange(len(near)), [len(others) for others in near])
        j = np.concatenate(near).astype(np.int64)
        other = points.tile[i] < points.tile[j]
        found.append((i[other], j[other]))
    return np.concatenate([i for i, _ in found]), np.concatenate([j for _, j in found])


def _joined(tile: list[int], low: list[int], high: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the members of groups and the numbers of these."""
    group_of: dict[int, list[int]] = {}
    for p, q in zip(low, high, strict=True):
        one, other = group_of.get(p, [p]), group_of.get(q, [q])
        if one is other or not {tile[member] for member in one}.isdisjoint([tile[member] for member in other]):
            continue
        joined = one + other
        for member in joined:
            group_of[member] = joined
    distinct = list({id(group): group for group in group_of.values()}.values())
    members = np.array([member for group in distinct for member in group], np.int64)
    return members, np.repeat(np.arange(len(distinct)), [len(group) for group in distinct])
