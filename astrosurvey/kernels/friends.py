"""Friends of friends: points are in one group if a chain of pairs connects them, each pair nearer than a linking length.

Both twins look at pairs of leaves or tiles of a k-d tree whose boxes are near enough. The CPU twin first unites within blocks of
leaves, a block a thread, then across their seams; in the CUDA twin atomic minima unite. Groups are numbered by their first row, whoever
united them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._kdtree import DEPTH, LEAF, Tree, build, difference_of, gap, leaf_node, lowest_bit, node_gap, periods_of
from ._numba import cuda, download, empty, helper, inlined, launch, parallel, prange, serial, upload
from .neighbours import prepared
from .spec import KernelSpec, Launch

MAX_COLUMNS = 20
BLOCKS = 64
"""Parts of the leaves that are united on their own before they are joined; any number gives the same groups."""
TILE = 64
"""Points that a block of the CUDA twin looks at together: two leaves."""
THREADS = 128


def reference(points: np.ndarray, across: float, along: float, scale: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the group of every point.

    Two points are friends if their separation is at most `across`. With a positive `along`, points are positions seen from the origin: the
    line of sight of a pair goes to its middle, and two points are friends if they are at most `across` apart at right angles to it
    and at most `along` on it. Both lengths are multiplied with the mean of the two points' scales.

    Args:
        points: (n, d) float64, C-contiguous, finite, d from 1 to 20; d = 3 with a positive `along`.
        across: linking length, positive; across the line of sight, if there is one.
        along: linking length along the line of sight; 0 for no line of sight.
        scale: (n,) float64, factors of both lengths at each point, positive.
        box: (d,) float64, period of each column, 0 for none; see `neighbours`. All 0 with a positive `along`.

    Returns:
        (n,) int32, groups, numbered from 0 by their first point; a point without a friend is a group.

    Raises:
        ValueError: an argument is not as said.

    References:
        Huchra & Geller (1982), ApJ 257, 423; Davis et al. (1985), ApJ 292, 371; Eke et al. (2004), MNRAS 348, 866.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    points = _prepared(points, across, along, scale, box)
    n = len(points)
    pairs: list[np.ndarray] = [np.zeros((2, 0), np.int64)]
    for i in range(n):
        squared, depth, sight = np.zeros(n), np.zeros(n), np.zeros(n)
        for x, period in zip(points.T, box, strict=True):
            apart = np.abs(x[i] - x)
            squared += (np.minimum(apart, period - apart) if period else apart) ** 2
            depth += (x[i] - x) * (x[i] + x)
            sight += (x[i] + x) ** 2
        mean = (scale[i] + scale) * 0.5
        if along > 0:
            friends = squared <= (across**2 + along**2) * mean**2
            friends &= depth**2 <= along**2 * mean**2 * sight
            friends &= squared * sight - depth**2 <= across**2 * mean**2 * sight
        else:
            friends = squared <= (across * mean) ** 2
        found = np.flatnonzero(friends)
        pairs.append(np.stack([np.full(len(found), i), found]))
    ends = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(ends.shape[1], bool), (ends[0], ends[1])), shape=(n, n))
    return _numbered(connected_components(graph, directed=False)[1]) if n else np.zeros(0, np.int32)


def _prepared(points: np.ndarray, across: float, along: float, scale: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the points with periodic coordinates brought into the box."""
    points, _ = prepared(points, 1, box)
    if not (np.isfinite(across) and across > 0 and np.isfinite(along) and along >= 0):
        raise ValueError(f"linking lengths must be positive and finite, not {across} across and {along} along the line of sight")
    if along > 0 and (points.shape[1] != 3 or box.any()):
        raise ValueError("a line of sight needs three columns, positions seen from the origin, and none of them periodic")
    if scale.shape != (len(points),) or not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError(f"there must be a positive scale for each of {len(points)} points")
    return points


def _numbered(label: np.ndarray) -> np.ndarray:
    """Number groups from 0 by their first point."""
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int32)
    number[np.argsort(first)] = np.arange(len(first))
    return number[inverse]


@inlined
def _reach(across: Any, along: Any, scale: Any) -> Any:
    """Return the largest squared distance of friends; it grows with the scale, rounding included."""
    if along > 0:
        return (across * across + along * along) * (scale * scale)
    return (across * scale) * (across * scale)


@inlined
def _friends(x: Any, i: Any, y: Any, j: Any, d: Any, scale: Any, across: Any, along: Any, periods: Any) -> Any:
    """Return whether points (column, place) i of x and j of y are friends; the filling behind the last point is nobody's."""
    squared = np.float64(0)
    for c in range(d):
        apart = difference_of(x[c, i], y[c, j], periods[c])
        squared += apart * apart
    near = squared <= _reach(across, along, scale)
    if along > 0 and near:
        depth, sight = np.float64(0), np.float64(0)
        for c in range(d):
            depth += (x[c, i] - y[c, j]) * (x[c, i] + y[c, j])
            sight += (x[c, i] + y[c, j]) * (x[c, i] + y[c, j])
        depth *= depth
        wide = scale * scale
        near = depth <= along * along * wide * sight and squared * sight - depth <= across * across * wide * sight
    return near


def cpu(points: np.ndarray, across: float, along: float, scale: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the group of every point; see `reference`. Threaded over blocks of leaves."""
    points = _prepared(points, across, along, scale, box)
    n = len(points)
    labels = np.zeros(n, np.int32)
    if n:
        tree = build(points)
        scales, most = _spread(tree, scale)
        parent = np.arange(n, dtype=np.int32)
        lengths = float(across), float(along)
        block = -(-len(tree.coordinates) // BLOCKS)
        _unite_blocks(*tree[1:4], scales, most, *lengths, periods_of(box), parent, block)
        _unite_seams(*tree[1:4], scales, most, *lengths, periods_of(box), parent, block)
        _number(tree.rows, parent, labels)
    return labels


def _spread(tree: Tree, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scales of the points in the tree's order, and the largest in each node."""
    scales = scale[tree.rows]
    most = np.empty(len(tree.low))
    _largest(np.maximum.reduceat(scales, np.arange(0, len(scales), LEAF)), most)
    return scales, most


@serial
def _largest(of_leaf: Any, most: Any) -> None:
    """Find the largest value in each node from those of its leaves."""
    ranges = np.empty((len(most), 2), np.int64)
    ranges[0] = 0, len(of_leaf)
    for node in range(len(most)):
        a, b = ranges[node]
        if b - a > 1:
            middle = (a + b) // 2
            ranges[node + 1] = a, middle
            ranges[node + 2 * (middle - a)] = middle, b
    for node in range(len(most) - 1, -1, -1):
        a, b = ranges[node]
        most[node] = max(most[node + 1], most[node + 2 * ((a + b) // 2 - a)]) if b - a > 1 else of_leaf[a]


@parallel
def _unite_blocks(
    coordinates: Any, low: Any, high: Any, scales: Any, most: Any, across: Any, along: Any, periods: Any, parent: Any, block: Any
) -> None:
    leaves = len(coordinates)
    for part in prange((leaves + block - 1) // block):
        stack, scratch = np.empty((DEPTH, 3), np.int64), np.empty(LEAF)
        end = min((part + 1) * block, leaves)
        for leaf in range(part * block, end):
            _unite_leaf(leaf, leaf, end, coordinates, low, high, scales, most, across, along, periods, parent, stack, scratch)


@serial
def _unite_seams(
    coordinates: Any, low: Any, high: Any, scales: Any, most: Any, across: Any, along: Any, periods: Any, parent: Any, block: Any
) -> None:
    leaves = len(coordinates)
    stack, scratch = np.empty((DEPTH, 3), np.int64), np.empty(LEAF)
    for leaf in range(leaves):
        begin = (leaf // block + 1) * block
        _unite_leaf(leaf, begin, leaves, coordinates, low, high, scales, most, across, along, periods, parent, stack, scratch)


@helper
def _unite_leaf(
    leaf: Any, begin: Any, end: Any, coordinates: Any, low: Any, high: Any, scales: Any, most: Any,
    across: Any, along: Any, periods: Any, parent: Any, stack: Any, scratch: Any,
) -> None:  # fmt: skip
    """Unite a leaf's points with their friends in the leaves from `begin` to before `end`."""
    own = leaf_node(leaf, len(coordinates))
    stack[0] = 0, 0, len(coordinates)
    top = 1
    while top > 0:
        top -= 1
        node, a, b = stack[top]
        reach = _reach(across, along, (most[own] + most[node]) * 0.5)
        if b <= begin or a >= end or node_gap(low, high, own, node, periods) > reach:
            continue
        if b - a > 1:
            middle = (a + b) // 2
            stack[top] = node + 2 * (middle - a), middle, b
            stack[top + 1] = node + 1, a, middle
            top += 2
        elif not _united(parent, leaf, a):
            _unite_pair(leaf, a, low[node], high[node], coordinates, scales, most[node], across, along, periods, parent, scratch)


@helper
def _root(parent: Any, i: Any) -> Any:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@helper
def _united(parent: Any, leaf: Any, other: Any) -> Any:
    """Return whether all points of two leaves are in one group already."""
    root = _root(parent, leaf * LEAF)
    for first in (leaf * LEAF, other * LEAF):
        for i in range(first, min(first + LEAF, parent.size)):
            if _root(parent, i) != root:
                return False
    return True


@helper
def _unite_pair(
    leaf: Any, other: Any, low: Any, high: Any, coordinates: Any, scales: Any, most: Any,
    across: Any, along: Any, periods: Any, parent: Any, scratch: Any,
) -> None:  # fmt: skip
    """Unite the friends in two leaves; the loops over places, without branches, become vectors."""
    d, size = coordinates.shape[1], coordinates.shape[2]
    others = coordinates[other]
    for i in range(min(LEAF, scales.size - leaf * LEAF)):
        at = leaf * LEAF + i
        reach = _reach(across, along, (scales[at] + most) * 0.5)
        bound = 0.0
        for c in range(d):
            x = coordinates[leaf, c, i]
            apart = gap(x, x, low[c], high[c], periods[c])
            bound += apart * apart
        if bound > reach:
            continue
        for j in range(size):
            scratch[j] = 0.0
        for c in range(d):
            x = coordinates[leaf, c, i]
            for j in range(size):
                apart = difference_of(others[c, j], x, periods[c])
                scratch[j] += apart * apart
        bits = np.int64(0)
        for j in range(size):
            bits |= np.int64(scratch[j] <= reach) << j
        while bits:
            j = lowest_bit(bits)
            bits &= bits - 1
            a, b = _root(parent, at), _root(parent, other * LEAF + j)
            if a != b:
                mean = (scales[at] + scales[other * LEAF + j]) * 0.5
                if _friends(coordinates[leaf], i, others, j, d, mean, across, along, periods):
                    parent[max(a, b)] = min(a, b)


@serial
def _number(rows: Any, parent: Any, labels: Any) -> None:
    root = np.empty(rows.size, np.int32)
    for i in range(rows.size):
        root[rows[i]] = _root(parent, i)
    number = np.full(rows.size, -1, np.int32)
    groups = np.int32(0)
    for row in range(rows.size):
        if number[root[row]] < 0:
            number[root[row]] = groups
            groups += np.int32(1)
        labels[row] = number[root[row]]


def on_cuda(points: np.ndarray, across: float, along: float, scale: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the group of every point; see `reference`. A block a tile of points in the order of a tree."""
    points = _prepared(points, across, along, scale, box)
    n = len(points)
    if n == 0:
        return np.zeros(0, np.int32)
    tree = build(points)
    tiles = np.arange(0, n, TILE)
    low, high = (extreme.reduceat(points[tree.rows], tiles, axis=0) for extreme in (np.minimum, np.maximum))
    scales = scale[tree.rows]
    arrays = (tree.coordinates, low, high, scales, np.maximum.reduceat(scales, tiles))
    parent = upload(np.arange(n, dtype=np.int32))
    sent = [upload(array) for array in arrays]
    launch(_unite_tile, len(tiles), TILE, *sent, float(across), float(along), upload(periods_of(box)), parent)
    root = empty(n, np.int32)
    launch(_find_roots, -(-n // THREADS), THREADS, parent, root)
    of_row = np.empty(n, np.int32)
    of_row[tree.rows] = download(root)
    return _numbered(of_row)


def _unite_tile(coordinates, low, high, scales, most, across, along, periods, parent):  # type: ignore[no-untyped-def]
    """Unite the points of a tile with their friends in it and in all tiles behind it."""
    others = cuda.shared.array((MAX_COLUMNS, TILE), np.float64)
    near = cuda.shared.array(TILE, np.int32)
    point = cuda.local.array((MAX_COLUMNS, 1), np.float64)
    tile, me = cuda.blockIdx.x, cuda.threadIdx.x
    n, d, tiles = scales.size, coordinates.shape[1], most.size
    at = tile * TILE + me
    if at < n:
        for c in range(d):
            point[c, 0] = coordinates[at // LEAF, c, at % LEAF]
    for begin in range(tile, tiles, TILE):
        other = begin + me
        near[me] = 0
        if other < tiles:
            reach = _reach(across, along, (most[tile] + most[other]) * 0.5)
            near[me] = np.int32(node_gap(low, high, tile, other, periods) <= reach)
        cuda.syncthreads()
        for step in range(min(TILE, tiles - begin)):
            if near[step] == 0:
                continue
            other = begin + step
            leaf = other * (TILE // LEAF) + me // LEAF
            if leaf < coordinates.shape[0]:
                for c in range(d):
                    others[c, me] = coordinates[leaf, c, me % LEAF]
            cuda.syncthreads()
            if at < n:
                for j in range(min(TILE, n - other * TILE)):
                    mean = (scales[at] + scales[other * TILE + j]) * 0.5
                    if _friends(point, 0, others, j, d, mean, across, along, periods):
                        a, b = at, other * TILE + j
                        while True:
                            a, b = _top(parent, a), _top(parent, b)
                            if a == b:
                                break
                            a, b = max(a, b), min(a, b)
                            before = cuda.atomic.min(parent, a, b)
                            if before == a:
                                break
                            a = before
            cuda.syncthreads()
        cuda.syncthreads()


@inlined
def _top(parent: Any, i: Any) -> Any:
    while parent[i] != i:
        i = parent[i]
    return i


def _find_roots(parent, root):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i < parent.size:
        root[i] = _top(parent, i)


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    cloud = rng.normal(size=(150, 3))
    plane = rng.uniform(-1, 3, (140, 2))
    lattice = rng.integers(0, 9, (130, 2)).astype(float)
    seen = rng.normal(size=(140, 3)) * 3 + [10, 20, -5]
    same = np.append(np.ones((60, 2)), rng.normal(size=(20, 2)), axis=0)
    uneven = rng.uniform(0.5, 1.5, 140)
    one, none = np.ones(150), np.zeros(3)
    return [
        (cloud, 0.5, 0.0, one, none), (plane, 0.15, 0.0, uneven, np.array([2.0, 0.0])),
        (lattice, 1.0, 0.0, one[:130], np.array([9.0, 9.0])),
        (seen, 0.6, 3.0, one[:140], none), (seen, 0.6, 3.0, uneven, none), (same, 0.1, 0.0, one[:80], none[:2]),
        (rng.normal(size=(70, 20)), 5.5, 0.0, one[:70], np.zeros(20)),
        (cloud[:, :1].copy(), 0.01, 0.0, one, none[:1]),
        (np.zeros((3, 3)), 1.0, 2.0, one[:3], none), (cloud[:1], 0.5, 0.0, one[:1], none), (cloud[:0], 0.5, 0.0, one[:0], none),
    ]  # fmt: skip


def _large(rng: np.random.Generator) -> tuple[Any, ...]:
    from .morton import order

    points = rng.uniform(0, 100, (1_000_000, 3))
    return points[order(points)], 0.2, 0.0, np.ones(len(points)), np.full(3, 100.0)


KERNEL = KernelSpec(
    name="friends",
    summary="friends of friends: groups of points within linking lengths, also across and along the line of sight, periodic or not",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(
            _unite_tile,
            "void(float64[:, :, ::1], float64[:, ::1], float64[:, ::1], float64[::1], float64[::1], float64, float64, float64[::1], "
            "int32[::1])",
            TILE,
        ),
        Launch(_find_roots, "void(int32[::1], int32[::1])", THREADS),
    ),
    example=_example,
    large=_large,
    rtol=0.0,
    float64="whether two points are friends must not depend on rounding that differs from the CPU's",
)
