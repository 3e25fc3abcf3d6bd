"""Edges of minimum spanning trees: the shortest ones between neighbours, and what they join."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._numba import helper, parallel, prange, serial


@helper
def first_edge(core: Any, indices: Any, i: Any) -> Any:
    """Return a neighbour to which an edge is as short as a point's can be, its core distance; -1 if there is none among those given."""
    for s in range(indices.shape[1]):
        j = indices[i, s]
        if j != i and core[j] <= core[i]:
            return j
    return np.int32(-1)


@parallel
def first_edges(core: Any, indices: Any, partner: Any) -> None:
    """Find every point's shortest edge; see `first_edge`."""
    for i in prange(len(core)):
        partner[i] = first_edge(core, indices, i)


@serial
def edges_to_neighbours(core: Any, indices: Any, component: Any, inner: Any, length: Any, edges: Any) -> None:
    """Find each component's shortest edge among those between neighbours, which are no longer than the core distances of their ends."""
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
                w = max(core[i], core[j])
                if w < length[c]:
                    length[c], edges[c, 0], edges[c, 1] = w, i, j
                if w < length[o]:
                    length[o], edges[o, 0], edges[o, 1] = w, j, i
        inner[i] = alone


@serial
def shortest(component: Any, weight: Any, partner: Any, length: Any, edges: Any) -> None:
    """Take over what a search found for points where that is shorter than the edges that their components have."""
    for i in range(len(component)):
        c = component[i]
        if partner[i] >= 0 and weight[i] < length[c]:
            length[c], edges[c, 0], edges[c, 1] = weight[i], i, partner[i]


@serial
def join(component: Any, edges: Any, length: Any, m: Any, ends: Any, lengths: Any, known: Any) -> Any:
    """Join components along edges, and number them anew.

    Args:
        component: (n,) int32, from 0 to m - 1; changed.
        edges: (m, 2) int32, an edge out of each component, from a point in it; the second point is -1 where there is none.
        length: (m,) float64, their lengths.
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
            ends[known, 0], ends[known, 1], lengths[known] = edges[c, 0], edges[c, 1], length[c]
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
