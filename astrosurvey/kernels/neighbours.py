"""The k nearest neighbours of every point among all points, exact, with or without periodic sides.

The CPU twin searches for all points of a leaf of a k-d tree at once: they walk down the tree together, from their own leaf
outwards, and a box is passed over by those of them that have k nearer neighbours already. In the CUDA twin a block holds a tile
of the points in that tree's order, and looks through the tiles whose boxes are near enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from ._kdtree import DEPTH, LEAF, Tree, build, difference_of, gap, leaf_node, lowest_bit, near_box, node_gap, periods_of
from ._numba import cuda, download, empty, helper, inlined, launch, parallel, prange, upload
from .spec import KernelSpec, Launch

MAX_COLUMNS = 20
LEAVES = 8
"""Leaves that a thread of the CPU twin takes at a time."""
TILE = 64
"""Points that a block of the CUDA twin looks at together: two leaves."""
NONE = np.int32(2**31 - 1)
"""The row of a neighbour that is not found yet; behind all others at an equal distance."""
BLOCK = 2**20
"""Neighbours that `blocks`, and distances that the reference has in memory at a time."""
CUDA_BLOCK = 2**24
"""The same where neighbours are looked for on a GPU, which fewer would not fill."""

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows of some points, rows of their neighbours, and the squared distances of these."""


def reference(points: np.ndarray, k: int, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest neighbours of every point, the point itself among them, the nearest first.

    Squared distances are sums of squared differences in double precision, the first column's first. Neighbours at equal distances
    follow the order of their rows. So of more than k equal points all have the first k of them as neighbours, perhaps without themselves.
    Points need not be in any order; in that of `morton.order` results do not depend on the rows' order, and searching is quicker.

    Args:
        points: (n, d) float64, C-contiguous, finite, d from 1 to 20.
        k: neighbours wanted, at least 1. With fewer points than that all of them are returned: k is cut to n.
        box: (d,) float64, period of each column, 0 for none. A periodic coordinate is first brought into [0, period], and the
            difference of two is the shorter way round.

    Returns:
        (n, min(k, n)) int32, rows of the neighbours; and (n, min(k, n)) float64, squared distances.

    Raises:
        ValueError: coordinates are not finite, or n, d, k or the box are not as said.
    """
    points, k = prepared(points, k, box)
    n = len(points)
    indices, squared = np.empty((n, k), np.int32), np.empty((n, k))
    rows = max(BLOCK // max(n, 1), 1)
    for first in range(0, n, rows):
        some = slice(first, min(first + rows, n))
        total = np.zeros((some.stop - first, n))
        for x, period in zip(points.T, box, strict=True):
            with np.errstate(over="ignore"):  # such pairs are infinitely far apart
                apart = np.abs(x[some, None] - x)
                total += (np.minimum(apart, period - apart) if period else apart) ** 2
        indices[some] = np.argsort(total, axis=1, kind="stable")[:, :k]
        squared[some] = np.take_along_axis(total, indices[some].astype(np.int64), axis=1)
    return indices, squared


def prepared(points: np.ndarray, k: int, box: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the points with periodic coordinates brought into the box, and k cut to their number."""
    n, d = points.shape
    if not 1 <= d <= MAX_COLUMNS:
        raise ValueError(f"neighbours are found in 1 to {MAX_COLUMNS} columns, not {d}; leave some out or project them")
    if n >= 2**31:
        raise ValueError(f"{n} points are too many for 32-bit indices; cluster fewer than 2**31 at once")
    if k < 1:
        raise ValueError(f"at least 1 neighbour must be wanted, not {k}")
    if box.shape != (d,) or not (np.isfinite(box) & (box >= 0)).all():
        raise ValueError(f"the box must have a period for each of {d} columns, positive or 0 for none, not {box.tolist()}")
    if n and not np.isfinite([points.min(), points.max()]).all():
        raise ValueError("points must be finite: leave out rows with missing values")
    if box.any():
        points = points.copy()
        points[:, box > 0] = np.mod(points[:, box > 0], box[box > 0])
    return points, min(k, n)


def cpu(points: np.ndarray, k: int, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest neighbours of every point; see `reference`. Threaded over leaves of a k-d tree."""
    return _gathered(points, k, box, "cpu")


def blocks(points: np.ndarray, k: int, box: np.ndarray, device: Literal["cpu", "cuda"]) -> Iterator[Found]:
    """Yield the k nearest neighbours of some points after the others, so that those of all points need not be in memory at once.

    Args:
        points, k, box: see `reference`.
        device: where neighbours are looked for.

    Yields:
        (m,) int32, rows of the points, which lie near each other; (m, k) int32, rows of their neighbours, k cut to n; and (m, k) float64,
        squared distances. The next ones take their places, so what is to stay is copied.

    Raises:
        ValueError: see `reference`.
    """
    return _blocks(*prepared(points, k, box), box, device)


def _blocks(points: np.ndarray, k: int, box: np.ndarray, device: Literal["cpu", "cuda"]) -> Iterator[Found]:
    if len(points):
        search, block = (_on_cpu, BLOCK) if device == "cpu" else (_on_cuda, CUDA_BLOCK)
        yield from search(points, build(points), periods_of(box), k, max(block // (k * TILE), 1))


def _gathered(points: np.ndarray, k: int, box: np.ndarray, device: Literal["cpu", "cuda"]) -> tuple[np.ndarray, np.ndarray]:
    """Return what `blocks` yields, by rows."""
    points, k = prepared(points, k, box)
    indices, squared = np.empty((len(points), k), np.int32), np.empty((len(points), k))
    for rows, near, apart in _blocks(points, k, box, device):
        indices[rows], squared[rows] = near, apart
    return indices, squared


def _on_cpu(points: np.ndarray, tree: Tree, periods: np.ndarray, k: int, tiles: int) -> Iterator[Found]:
    """Yield the neighbours of the points of so many tiles at a time."""
    leaves, many = len(tree.coordinates), tiles * (TILE // LEAF)
    indices, squared = np.empty((min(many, leaves) * LEAF, k), np.int32), np.empty((min(many, leaves) * LEAF, k))
    for first in range(0, leaves, many):
        _search(*tree, periods, first, min(first + many, leaves), indices, squared)
        rows = tree.rows[first * LEAF : (first + many) * LEAF]
        yield rows, indices[: len(rows)], squared[: len(rows)]


@parallel
def _search(
    rows: Any, coordinates: Any, low: Any, high: Any, first: Any, periods: Any, begin: Any, end: Any, indices: Any, squared: Any
) -> None:  # fmt: skip
    """Find the neighbours of the points of the leaves from `begin` to before `end`."""
    k = indices.shape[1]
    for chunk in prange((end - begin + LEAVES - 1) // LEAVES):
        found, apart = np.empty((LEAF, k), np.int32), np.empty((LEAF, k))
        worst, scratch = np.empty(LEAF), np.empty(LEAF)
        stack, bounds = np.empty((DEPTH, 3), np.int64), np.empty(DEPTH)
        for leaf in range(begin + chunk * LEAVES, min(begin + (chunk + 1) * LEAVES, end)):
            found[:] = NONE
            apart[:] = np.inf
            worst[:] = np.inf
            _search_leaf(leaf, rows, coordinates, low, high, first, periods, found, apart, worst, scratch, stack, bounds)
            for i in range(min(LEAF, rows.size - leaf * LEAF)):
                place = (leaf - begin) * LEAF + i
                for j in range(k):
                    indices[place, j] = found[i, j]
                    squared[place, j] = apart[i, j]


@helper
def _search_leaf(
    leaf: Any, rows: Any, coordinates: Any, low: Any, high: Any, first: Any, periods: Any,
    found: Any, apart: Any, worst: Any, scratch: Any, stack: Any, bounds: Any,
) -> None:  # fmt: skip
    """Find the neighbours of a leaf's points.

    The stack holds nodes that are still to be looked at, with their distances; `limit` is the largest distance at which a neighbour could
    still count for any of the points, `last` the largest row at that very distance.
    """
    leaves, k = coordinates.shape[0], found.shape[1]
    own = leaf_node(leaf, leaves)
    limit, last = np.inf, NONE
    stack[0] = 0, 0, leaves
    bounds[0] = 0.0
    top = 1
    while top > 0:
        top -= 1
        node, a, b = stack[top]
        bound = bounds[top]
        while _matters(bound, first[node], limit, last) and b - a > 1:
            middle = (a + b) // 2
            left, right = node + 1, node + 2 * (middle - a)
            to_left, to_right = node_gap(low, high, own, left, periods), node_gap(low, high, own, right, periods)
            if leaf < middle if a <= leaf < b else to_left <= to_right:
                stack[top] = right, middle, b
                bounds[top] = to_right
                node, b, bound = left, middle, to_left
            else:
                stack[top] = left, a, middle
                bounds[top] = to_left
                node, a, bound = right, middle, to_right
            top += 1
        if not _matters(bound, first[node], limit, last):
            continue
        near = near_box(coordinates[leaf], low[node], high[node], periods, worst, scratch)
        while near:
            i = lowest_bit(near)
            near &= near - 1
            _scan(coordinates[leaf], i, coordinates[a], rows[a * LEAF :], periods, found[i], apart[i], worst, scratch)
        limit, last = 0.0, np.int32(0)
        for i in range(min(LEAF, rows.size - leaf * LEAF)):
            if worst[i] > limit:
                limit, last = worst[i], found[i, k - 1]
            elif worst[i] == limit:
                last = max(last, found[i, k - 1])


@inlined
def _matters(bound: Any, row: Any, limit: Any, last: Any) -> Any:
    return bound < limit or (bound == limit and row < last)


@inlined
def _scan(points: Any, i: Any, others: Any, rows: Any, periods: Any, found: Any, apart: Any, worst: Any, scratch: Any) -> None:
    """Look for neighbours of point i of a leaf among the points of another."""
    d, size = others.shape
    for j in range(size):
        scratch[j] = 0.0
    for c in range(d):
        x = points[c, i]
        if periods[c] < np.inf:
            for j in range(size):
                difference = difference_of(others[c, j], x, periods[c])
                scratch[j] += difference * difference
        else:
            for j in range(size):
                difference = others[c, j] - x
                scratch[j] += difference * difference
    limit = worst[i]
    bits = np.int64(0)
    for j in range(size):
        bits |= np.int64(scratch[j] <= limit) << j
    last = found.size - 1
    while bits:
        j = lowest_bit(bits)
        bits &= bits - 1
        if _matters(scratch[j], rows[j], apart[last], found[last]):
            _insert(found, apart, rows[j], scratch[j])
    worst[i] = apart[last]


@inlined
def _insert(found: Any, apart: Any, row: Any, distance: Any) -> None:
    """Put a neighbour into its place in a list, whose last one falls out."""
    at = found.size - 1
    while at > 0 and _matters(distance, row, apart[at - 1], found[at - 1]):
        found[at] = found[at - 1]
        apart[at] = apart[at - 1]
        at -= 1
    found[at] = row
    apart[at] = distance


def on_cuda(points: np.ndarray, k: int, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest neighbours of every point; see `reference`. A block a tile of points in the order of a tree."""
    return _gathered(points, k, box, "cuda")


def _on_cuda(points: np.ndarray, tree: Tree, periods: np.ndarray, k: int, tiles: int) -> Iterator[Found]:
    """Yield the neighbours of the points of so many tiles at a time."""
    n = len(points)
    starts = np.arange(0, n, TILE)
    low, high = (extreme.reduceat(points[tree.rows], starts, axis=0) for extreme in (np.minimum, np.maximum))
    first = np.minimum.reduceat(tree.rows, starts)
    sent = [upload(array) for array in (tree.rows, tree.coordinates, low, high, first, periods)]
    for begin in range(0, len(starts), tiles):
        rows = tree.rows[begin * TILE : (begin + tiles) * TILE]
        found, apart = empty((k, len(rows)), np.int32), empty((k, len(rows)), np.float64)
        launch(_search_tile, -(-len(rows) // TILE), TILE, *sent, np.int32(begin), found, apart)
        yield rows, np.ascontiguousarray(download(found).T), np.ascontiguousarray(download(apart).T)


def _search_tile(rows, coordinates, low, high, first, periods, before, found, apart):  # type: ignore[no-untyped-def]
    others = cuda.shared.array((MAX_COLUMNS, TILE), np.float64)
    limits = cuda.shared.array(TILE, np.float64)
    near = cuda.shared.array(TILE, np.int32)
    point = cuda.local.array(MAX_COLUMNS, np.float64)
    tile, me = before + cuda.blockIdx.x, cuda.threadIdx.x
    n, k, d, tiles = rows.size, found.shape[0], coordinates.shape[1], first.size
    at = tile * TILE + me
    place = at - before * TILE
    worst, last = np.float64(-1), np.int32(0)
    if at < n:
        worst, last = np.float64(np.inf), np.int32(NONE)
        for c in range(d):
            point[c] = coordinates[at // LEAF, c, at % LEAF]
        for j in range(k):
            found[j, place] = NONE
            apart[j, place] = np.inf
    # The own tile comes first, then its neighbours in the tree's order on both sides; each thread looks at the box of one of them.
    for begin in range(0, 2 * max(tile, tiles - 1 - tile) + 1, TILE):
        step = begin + me
        other = tile + (step + 1) // 2 if step % 2 else tile - step // 2
        limits[me] = worst
        cuda.syncthreads()
        half = TILE // 2
        while half > 0:
            if me < half:
                limits[me] = max(limits[me], limits[me + half])
            cuda.syncthreads()
            half //= 2
        near[me] = -1
        if other >= 0 and other < tiles and node_gap(low, high, tile, other, periods) <= limits[0]:
            near[me] = other
        cuda.syncthreads()
        for step in range(TILE):
            other = near[step]
            if other < 0:
                continue
            bound = np.float64(0)
            if at < n:
                for c in range(d):
                    side = gap(point[c], point[c], low[other, c], high[other, c], periods[c])
                    bound += side * side
            wanted = _matters(bound, first[other], worst, last)
            if cuda.syncthreads_or(np.int32(wanted)) == 0:
                continue
            leaf = other * (TILE // LEAF) + me // LEAF
            if leaf < coordinates.shape[0]:
                for c in range(d):
                    others[c, me] = coordinates[leaf, c, me % LEAF]
            cuda.syncthreads()
            if wanted:
                for j in range(min(TILE, n - other * TILE)):
                    distance = np.float64(0)
                    for c in range(d):
                        difference = difference_of(others[c, j], point[c], periods[c])
                        distance += difference * difference
                    row = rows[other * TILE + j]
                    if _matters(distance, row, worst, last):
                        _insert(found[:, place], apart[:, place], row, distance)
                        worst, last = apart[k - 1, place], found[k - 1, place]
            cuda.syncthreads()


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    cloud = rng.normal(size=(150, 3))
    lattice = rng.integers(0, 4, (130, 2)).astype(float)
    line = np.linspace(0, 1, 90)[:, None] * [1.0, 2.0, 0.0]
    same = np.append(np.ones((60, 2)), rng.normal(size=(20, 2)), axis=0)
    far = np.append(cloud[:70], [[1e300, -1e300, 0], [1e155, 0, 0], [1e-300, 0, 0]], axis=0)
    inside = rng.uniform(-1, 3, (140, 3))
    none = np.zeros(3)
    return [
        (cloud, 20, none), (lattice, 7, none[:2]), (line, 5, none), (same, 20, none[:2]), (far, 9, none),
        (inside, 6, np.array([2.0, 0.0, 0.5])),
        (lattice, 9, np.array([4.0, 4.0])), (rng.normal(size=(70, 20)), 4, np.zeros(20)), (rng.normal(size=(66, 1)), 3, none[:1]),
        (np.ascontiguousarray(cloud[:12]), 20, none), (cloud[:1], 3, none), (cloud[:0], 3, none),
    ]  # fmt: skip


def _large(rng: np.random.Generator) -> tuple[Any, ...]:
    from .morton import order

    points = rng.normal(size=(1_000_000, 3))
    return points[order(points)], 20, np.zeros(3)


KERNEL = KernelSpec(
    name="neighbours",
    summary="k nearest neighbours of every point, exact, in 1 to 20 columns that may be periodic",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(
            _search_tile,
            "void(int32[::1], float64[:, :, ::1], float64[:, ::1], float64[:, ::1], int32[::1], float64[::1], "
            "int32, int32[:, ::1], float64[:, ::1])",
            TILE,
        ),
    ),
    example=_example,
    large=_large,
    rtol=0.0,
    float64="which of two neighbours is nearer must not depend on rounding that differs from the CPU's",
)
