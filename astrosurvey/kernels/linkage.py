"""Single linkage of mutual reachability distances: in which order points join as the distance grows.

The tree is that of a minimum spanning tree, found by Borůvka's method: every component takes its shortest edge out,
components join, and so on. Most shortest edges lead to one of the nearest neighbours, which are given; whether an
edge to another point is shorter is searched for in boxes around runs of points. Which of several equally long edges
are taken does not matter, for what joins at the same distance joins at once in what is returned.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._numba import parallel, prange, serial
from ._outside import plant, search, survey


def reference(
    points: np.ndarray, core: np.ndarray, indices: np.ndarray, squared: np.ndarray, box: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the merges of single linkage by mutual reachability distance, max(core(a), core(b), distance(a, b)).

    At every distance at which components join, each of them is named by its first point, and all but the one that comes
    first end there, in it. So every point but the first ends once, and merges at one distance have no order
    that they could depend on.

    Args:
        points: (n, d) float64, in an order in which neighbours are near; any order gives the same tree.
        core: (n,) float64, squared core distances; 0 for plain single linkage.
        indices: (n, k) int32, nearest neighbours, nearest first; they make it faster.
        squared: (n, k) float64, their squared distances.
        box: (d,) float64, periods of the coordinates; 0 for none.

    Returns:
        point, (n - 1,) int32, that names the component that ends; into, (n - 1,) int32, that which names what it ends in; and
        height, (n - 1,) float64, the squared distance at which it does. Rising in height, then into, then point.

    References:
        Campello, Moulavi & Sander (2013), PAKDD 160 (mutual reachability); Borůvka (1926).
    """
    n = len(points)
    if n < 2:
        return _empty()
    apart = np.abs(points[:, None] - points)
    apart = np.where(box > 0, np.minimum(apart, box - apart), apart)
    total = np.zeros((n, n))
    for c in range(points.shape[1]):
        total += apart[..., c] ** 2
    reach = np.maximum(np.maximum(core, core[:, None]), total)
    # Prim: the nearest of the points that are not in the tree joins it.
    nearest, parent, inside = reach[0].copy(), np.zeros(n, int), np.zeros(n, bool)
    inside[0] = True
    edges = []
    for _ in range(n - 1):
        b = int(np.argmin(np.where(inside, np.inf, nearest)))
        edges.append((nearest[b], parent[b], b))
        inside[b] = True
        closer = reach[b] < nearest
        nearest[closer], parent[closer] = reach[b, closer], b
    name = np.arange(n)
    merges = []
    for height in sorted({edge[0] for edge in edges}):
        before = name.copy()
        for _, a, b in (edge for edge in edges if edge[0] == height):
            name[(name == name[a]) | (name == name[b])] = min(name[a], name[b])
        ended = np.unique(before[before != name])
        merges += sorted((height, name[r], r) for r in ended)
    return np.array([m[2] for m in merges], np.int32), np.array([m[1] for m in merges], np.int32), np.array([m[0] for m in merges])


def _empty() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0)


def cpu(
    points: np.ndarray, core: np.ndarray, indices: np.ndarray, squared: np.ndarray, box: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the merges of single linkage by mutual reachability distance; see `reference`."""
    n = len(points)
    if n < 2:
        return _empty()
    low, high, least, blocks, cores = plant(points, core)
    owner = np.empty(len(least), np.int32)
    component, partner = np.arange(n, dtype=np.int32), np.empty(n, np.int32)
    weight, inner = np.empty(n), np.zeros(n, np.uint8)
    ends, lengths = np.empty((n - 1, 2), np.int32), np.empty(n - 1)
    _first_edges(core, indices, squared, weight, partner)
    # What has no shortest edge among the neighbours waits until another component joins it.
    edges = np.stack([np.arange(n, dtype=np.int32), partner], axis=1)
    m, known = join(component, edges, weight, n, ends, lengths, 0)
    while m > 1:
        bound, edges = np.full(m, np.inf), np.full((m, 2), -1, np.int32)
        _edges_to_neighbours(core, indices, squared, component, inner, bound, edges)
        survey(component, owner)
        search(points, component, box, low, high, least, blocks, cores, owner, bound, weight, partner)
        _shortest(component, weight, partner, bound, edges)
        m, known = join(component, edges, bound, m, ends, lengths, known)
    return merges(ends, lengths)


@parallel
def _first_edges(core: Any, indices: Any, squared: Any, weight: Any, partner: Any) -> None:
    """Find each point's shortest edge; a neighbour that is known to be at its end, or -1."""
    k = indices.shape[1]
    for i in prange(len(core)):
        best, at = np.inf, np.int32(-1)
        for s in range(k):
            j = indices[i, s]
            if j != i:
                w = max(core[i], core[j], squared[i, s])
                if w < best:
                    best, at = w, j
                if w <= core[i]:
                    break
        # Others are at least as far as the last neighbour; and no edge is shorter than the core distance.
        weight[i], partner[i] = best, at if at >= 0 and best <= max(core[i], squared[i, k - 1]) else -1


@serial
def _edges_to_neighbours(core: Any, indices: Any, squared: Any, component: Any, inner: Any, bound: Any, edges: Any) -> None:
    """Find each component's shortest edge among those between neighbours."""
    for i in range(len(core)):
        if inner[i]:
            continue
        c = component[i]
        alone = True
        for s in range(indices.shape[1]):
            j = indices[i, s]
            o = component[j]
            if o != c:
                alone = False
                w = max(core[i], core[j], squared[i, s])
                if w < bound[c]:
                    bound[c], edges[c, 0], edges[c, 1] = w, i, j
                if w < bound[o]:
                    bound[o], edges[o, 0], edges[o, 1] = w, j, i
        inner[i] = alone


@serial
def _shortest(component: Any, weight: Any, partner: Any, bound: Any, edges: Any) -> None:
    """Take over what the search found: of every component the edge that is as short as its bound now is."""
    for i in range(len(component)):
        if partner[i] >= 0 and weight[i] == bound[component[i]]:
            edges[component[i], 0], edges[component[i], 1] = i, partner[i]


@serial
def join(component: Any, edges: Any, bound: Any, m: Any, ends: Any, lengths: Any, known: Any) -> Any:
    """Join components along edges, and number them anew.

    Args:
        component: (n,) int32, from 0 to m - 1; changed.
        edges: (m, 2) int32, an edge out of each component, from a point in it; the second point is -1 where there is none.
        bound: (m,) float64, their lengths.
        m: how many components there are.
        ends, lengths: (n - 1, 2) int32 and (n - 1,) float64, receive the edges of the tree.
        known: how many of those there are already.

    Returns:
        How many components and how many edges there are now.
    """
    parent = np.arange(m)
    for c in range(m):
        if edges[c, 1] < 0:
            continue
        a, b = _root(parent, c), _root(parent, component[edges[c, 1]])
        if a != b:
            parent[max(a, b)] = min(a, b)
            ends[known, 0], ends[known, 1], lengths[known] = edges[c, 0], edges[c, 1], bound[c]
            known += 1
    fewer = 0
    number = np.empty(m, np.int32)
    for c in range(m):  # a parent comes before its children
        if parent[c] == c:
            number[c] = fewer
            fewer += 1
        else:
            number[c] = number[parent[c]]
    for i in range(len(component)):
        component[i] = number[component[i]]
    return fewer, known


@serial
def _root(parent: Any, i: Any) -> Any:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def merges(ends: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the merges that the edges of a minimum spanning tree stand for, as `reference` has them."""
    order = np.argsort(lengths)
    point, into = np.empty(len(ends), np.int32), np.empty(len(ends), np.int32)
    height = lengths[order]
    _merge(ends, order, height, point, into)
    return point, into, height


@serial
def _merge(ends: Any, order: Any, height: Any, point: Any, into: Any) -> None:
    n = len(ends) + 1
    parent = np.arange(n)
    begin = 0
    while begin < n - 1:
        end = begin
        while end < n - 1 and height[end] == height[begin]:
            a, b = _root(parent, ends[order[end], 0]), _root(parent, ends[order[end], 1])
            parent[max(a, b)] = min(a, b)
            point[end] = max(a, b)
            end += 1
        keys = np.empty(end - begin, np.int64)
        for e in range(begin, end):
            keys[e - begin] = _root(parent, point[e]) * n + point[e]
        if end > begin + 1:
            keys.sort()
        for e in range(begin, end):
            into[e], point[e] = keys[e - begin] // n, keys[e - begin] % n
        begin = end
