"""A k-d tree over points: leaves of equal size, each with its coordinates side by side, and the tight box around every node.

A node holds the leaves from `a` to before `b`. It is split at its middle leaf, across the widest side of its box; its left child is the
node after it, and its right child comes after all nodes of the left one. So a tree needs no pointers: whoever walks down carries (node,
a, b). What is found in it does not depend on its shape, for equal distances are told apart by rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._numba import helper, inlined, parallel, prange

LEAF = 32
"""Points of a leaf; bits of an integer say which of them count; see `lowest_bit`."""
DEPTH = 40
"""More than the levels of any tree of fewer than 2**31 points."""
TOP = 6
"""Levels that grow one after the other; below them each thread grows subtrees of its own."""
NINTHER = 1000


class Tree(NamedTuple):
    """A k-d tree.

    Attributes:
        rows: (n,) int32, rows of the points in the order of the leaves; within a leaf they ascend.
        coordinates: (leaf, d, LEAF) float64, NaN behind the last point.
        low: (node, d) float64, lowest coordinates in each node.
        high: (node, d) float64, highest.
        first: (node,) int32, the lowest row in each node.
    """

    rows: np.ndarray
    coordinates: np.ndarray
    low: np.ndarray
    high: np.ndarray
    first: np.ndarray


def build(points: np.ndarray) -> Tree:
    """Return the tree of (n, d) points, n at least 1; threaded over its nodes."""
    n, d = points.shape
    leaves = -(-n // LEAF)
    nodes = 2 * leaves - 1
    tree = Tree(
        np.arange(n, dtype=np.int32),
        np.full((leaves, d, LEAF), np.nan),
        np.empty((nodes, d)),
        np.empty((nodes, d)),
        np.empty(nodes, np.int32),
    )
    keys = np.empty(n)
    front = np.array([[0, 0, leaves]])
    for _ in range(TOP):
        _grow_all(points, keys, front, False, *tree)
        front = front[front[:, 2] - front[:, 1] > 1]
        node, a, b = front.T
        middle = (a + b) // 2
        front = np.concatenate([np.stack([node + 1, a, middle], 1), np.stack([node + 2 * (middle - a), middle, b], 1)])
    _grow_all(points, keys, front, True, *tree)
    return tree


@parallel
def _grow_all(points: Any, keys: Any, front: Any, whole: Any, rows: Any, coordinates: Any, low: Any, high: Any, first: Any) -> None:
    """Grow the nodes (node, a, b) of `front`, or the whole subtrees below them."""
    for i in prange(len(front)):
        stack = np.empty((DEPTH, 3), np.int64)
        stack[0] = front[i]
        top = 1
        while top > 0:
            top -= 1
            node, a, b = stack[top]
            _split(points, keys, node, a, b, rows, coordinates, low, high, first)
            if whole and b - a > 1:
                middle = (a + b) // 2
                stack[top] = node + 2 * (middle - a), middle, b
                stack[top + 1] = node + 1, a, middle
                top += 2


@helper
def _split(points: Any, keys: Any, node: Any, a: Any, b: Any, rows: Any, coordinates: Any, low: Any, high: Any, first: Any) -> None:
    """Find a node's box; then part its rows at the middle leaf, or fill the leaf that it is."""
    n, d = points.shape
    begin, end = a * LEAF, min(b * LEAF, n)
    lowest, highest = low[node], high[node]
    lowest[:] = np.inf
    highest[:] = -np.inf
    earliest = rows[begin]
    for i in range(begin, end):
        row = rows[i]
        earliest = min(earliest, row)
        for c in range(d):
            lowest[c] = min(lowest[c], points[row, c])
            highest[c] = max(highest[c], points[row, c])
    first[node] = earliest
    if b - a == 1:
        rows[begin:end].sort()
        for i in range(begin, end):
            for c in range(d):
                coordinates[a, c, i - begin] = points[rows[i], c]
        return
    widest, width = 0, -1.0
    for c in range(d):
        if highest[c] * 0.5 - lowest[c] * 0.5 > width:
            widest, width = c, highest[c] * 0.5 - lowest[c] * 0.5
    for i in range(begin, end):
        keys[i] = points[rows[i], widest]
    _part(keys, rows, begin, end, (a + b) // 2 * LEAF)


@inlined
def _before(keys: Any, rows: Any, i: Any, j: Any) -> Any:
    return keys[i] < keys[j] or (keys[i] == keys[j] and rows[i] < rows[j])


@inlined
def _median(keys: Any, rows: Any, i: Any, j: Any, k: Any) -> Any:
    """Return which of three places holds their median."""
    if _before(keys, rows, j, i):
        i, j = j, i
    if _before(keys, rows, k, j):
        return i if _before(keys, rows, k, i) else k
    return j


@helper
def _part(keys: Any, rows: Any, begin: Any, end: Any, nth: Any) -> None:
    """Bring the nth of (key, row), and what belongs before and behind it, to their places; Hoare's selection."""
    while end - begin > 1:
        size = end - begin
        pivot = _median(keys, rows, begin, begin + size // 2, end - 1)
        if size > NINTHER:
            early = _median(keys, rows, begin + size // 8, begin + size // 4, begin + size * 3 // 8)
            late = _median(keys, rows, begin + size * 5 // 8, begin + size * 3 // 4, begin + size * 7 // 8)
            pivot = _median(keys, rows, pivot, early, late)
        key, row = keys[pivot], rows[pivot]
        i, j = begin, end - 1
        while i <= j:
            while keys[i] < key or (keys[i] == key and rows[i] < row):
                i += 1
            while keys[j] > key or (keys[j] == key and rows[j] > row):
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                rows[i], rows[j] = rows[j], rows[i]
                i += 1
                j -= 1
        if nth <= j:
            end = j + 1
        elif nth >= i:
            begin = i
        else:
            return


def periods_of(box: np.ndarray) -> np.ndarray:
    """Return the periods of a box, infinite instead of 0 where there is none, so that the other way round is never the shorter one."""
    return np.where(box > 0, box, np.inf)


@inlined
def difference_of(x: Any, y: Any, period: Any) -> Any:
    """Return how far two coordinates are apart, the shorter way round."""
    direct = abs(x - y)
    around = period - direct
    return around if around < direct else direct


@inlined
def gap(low: Any, high: Any, other_low: Any, other_high: Any, period: Any) -> Any:
    """Return the least difference between coordinates of two intervals; never above that of any two of their points, rounding included."""
    direct = max(other_low - high, low - other_high, 0.0)
    around = period - (max(high, other_high) - min(low, other_low))
    return around if around < direct else direct


@inlined
def node_gap(low: Any, high: Any, node: Any, other: Any, periods: Any) -> Any:
    """Return the least squared distance between points of two nodes, added up as those of points are."""
    total = 0.0
    for c in range(low.shape[1]):
        apart = gap(low[node, c], high[node, c], low[other, c], high[other, c], periods[c])
        total += apart * apart
    return total


@inlined
def near_box(points: Any, low: Any, high: Any, periods: Any, worst: Any, scratch: Any) -> Any:
    """Return the bits of up to 32 points, (d, 32), that are at most the square root of `worst` from a box. Its loops become vectors."""
    d, size = points.shape
    for i in range(size):
        scratch[i] = 0.0
    for c in range(d):
        for i in range(size):
            apart = gap(points[c, i], points[c, i], low[c], high[c], periods[c])
            scratch[i] += apart * apart
    bits = np.int64(0)
    for i in range(size):
        bits |= np.int64(scratch[i] <= worst[i]) << i
    return bits


@inlined
def leaf_node(leaf: Any, leaves: Any) -> Any:
    """Return the node of a leaf."""
    node, a, b = 0, 0, leaves
    while b - a > 1:
        middle = (a + b) // 2
        if leaf < middle:
            node, b = node + 1, middle
        else:
            node, a = node + 2 * (middle - a), middle
    return node


PLACES = np.zeros(32, np.int64)
PLACES[(0x077CB531 << np.arange(32) & 0xFFFFFFFF) >> 27] = np.arange(32)


@inlined
def lowest_bit(bits: Any) -> Any:
    """Return the place of the lowest of 32 bits that is set: a de Bruijn sequence, shifted by it, begins with bits that tell it."""
    return PLACES[((bits & -bits) * 0x077CB531 & 0xFFFFFFFF) >> 27]
