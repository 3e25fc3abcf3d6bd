"""Which sources of different tiles are the same object: mutual nearest neighbours, one of each tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree


@dataclass(frozen=True, eq=False)
class Points:
    """Sources of one tile that may have a counterpart on another one.

    Attributes:
        tile: the tile's id.
        ids: (n,) int64 source ids.
        position: (n, k) in the frame that the tiles share.
        reach: (n,) how far from here a counterpart may lie, in the units of `position`.
    """

    tile: int
    ids: np.ndarray
    position: np.ndarray
    reach: np.ndarray


def groups(tiles: list[Points]) -> list[list[tuple[int, int]]]:
    """Return the groups of sources that are one object, each with at most one source of a tile.

    Two sources are linked when each is the other's nearest on its tile and neither is out of the other's
    reach; links are followed from the shortest to the longest as long as no tile comes in twice. The
    result depends on neither the order of the tiles nor that of their sources.

    Args:
        tiles: one entry a tile.

    Returns:
        Groups of two or more (index into `tiles`, index of the source there), sorted by source id.
    """
    links = []
    for one, other in _neighbours(tiles):
        a, b = tiles[one], tiles[other]
        for distance, p, q in zip(*_mutual(a, b), strict=True):
            low, high = sorted([(int(a.ids[p]), (one, int(p))), (int(b.ids[q]), (other, int(q)))])
            links.append((float(distance), low[0], high[0], low[1], high[1]))
    return _joined(tiles, sorted(links))


def _mutual(a: Points, b: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distances and indices of the pairs that are each other's nearest within reach of both."""
    near = cKDTree(b.position).query_ball_point(a.position, a.reach)
    i = np.repeat(np.arange(len(a.ids)), [len(found) for found in near])
    j = np.concatenate([np.asarray(found, np.int64) for found in near]) if len(i) else i
    distance = np.linalg.norm(a.position[i] - b.position[j], axis=1)
    within = distance <= b.reach[j]
    i, j, distance = i[within], j[within], distance[within]
    order = np.lexsort([b.ids[j], a.ids[i], distance])
    _, nearest_of_a = np.unique(i[order], return_index=True)
    _, nearest_of_b = np.unique(j[order], return_index=True)
    pairs = order[np.intersect1d(nearest_of_a, nearest_of_b)]
    return distance[pairs], i[pairs], j[pairs]


def _joined(tiles: list[Points], links: list[tuple[float, int, int, tuple[int, int], tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    group_of: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for _, _, _, p, q in links:
        one, other = group_of.get(p, [p]), group_of.get(q, [q])
        if one is other or {tile for tile, _ in one} & {tile for tile, _ in other}:
            continue
        joined = one + other
        for member in joined:
            group_of[member] = joined
    distinct = {id(group): group for group in group_of.values()}
    by_id = [sorted(group, key=lambda m: tiles[m[0]].ids[m[1]]) for group in distinct.values()]
    return sorted(by_id, key=lambda group: tiles[group[0][0]].ids[group[0][1]])


def _neighbours(tiles: list[Points]) -> Iterator[tuple[int, int]]:
    """Yield pairs of tiles whose points could be within reach, by the boxes that hold them."""
    occupied = [index for index, tile in enumerate(tiles) if len(tile.ids)]
    if len(occupied) < 2:
        return
    low = np.array([tiles[i].position.min(axis=0) - tiles[i].reach.max() for i in occupied])
    high = np.array([tiles[i].position.max(axis=0) + tiles[i].reach.max() for i in occupied])
    middle, radius = (low + high) / 2, np.linalg.norm(high - low, axis=1) / 2
    near = cKDTree(middle).query_ball_point(middle, radius + radius.max())
    for one, others in enumerate(near):
        for other in sorted(others):
            if one < other and (low[one] <= high[other]).all() and (low[other] <= high[one]).all():
                yield occupied[one], occupied[other]
