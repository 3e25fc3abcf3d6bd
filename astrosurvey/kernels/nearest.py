"""The nearest of one set of places to each of another, and how many are near.

The walk is that of `crossmatch`, but once, and of all pairs only the nearest one of each place is kept. Where nobody asks how many there
are, a place looks no farther than the nearest one that it has found so far.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import morton
from ._kdtree import DEPTH, LEAF, lowest_bit, near_box
from ._numba import cuda, download, empty, helper, inlined, launch, parallel, prange, upload
from .crossmatch import CHUNK, COLUMNS, FLAT, all_apart, check_places, example, from_box, from_place, large, tree_of
from .spec import KernelSpec, Launch

THREADS = 128
NONE = np.int32(-1)
"""The row of a place that none is near."""

Nearest = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of each place the row of its nearest other, int32, the squared distance, float64, and how many are near, int64."""


def reference(points: np.ndarray, others: np.ndarray, radius: float, counted: bool) -> Nearest:
    """Return which of m others is the nearest to each of n places, and how many are near.

    Those are near whose squared distance is at most the radius' square. Squared distances are sums of squared differences in
    double precision, the first column's first.

    Args:
        points: (n, 3) float64, C-contiguous, finite; on the sky, unit vectors.
        others: (m, 3) float64, C-contiguous, finite.
        radius: greatest distance, not negative; on the sky, a chord.
        counted: whether to count those that are near, for which all of them must be looked at.

    Returns:
        (n,) int32, row of the nearest of the others, the first of equally near ones; -1 where none is near. (n,) float64, squared
        distances; infinite where none is near. (n,) int64, how many are near; if not counted, 1 where any is.

    Raises:
        ValueError: an argument is not as said.
    """
    check_places(points, others, radius)
    index, squared, number = _none(len(points))
    for i, (x, y, z) in enumerate(points if len(others) else points[:0]):
        apart = (others[:, 0] - x) ** 2 + (others[:, 1] - y) ** 2 + (others[:, 2] - z) ** 2
        near = int((apart <= radius * radius).sum())
        if near:
            index[i] = apart.argmin()
            squared[i] = apart[index[i]]
            number[i] = near if counted else 1
    return index, squared, number


def _none(n: int) -> Nearest:
    """Return the result of n places that none is near."""
    return np.full(n, NONE), np.full(n, np.inf), np.zeros(n, np.int64)


def cpu(points: np.ndarray, others: np.ndarray, radius: float, counted: bool) -> Nearest:
    """Return which of m others is the nearest to each of n places; see `reference`. Threaded over places that are near each other."""
    check_places(points, others, radius)
    found = _none(len(points))
    if len(points) and len(others):
        _search(points, morton.order(points), np.float64(radius * radius), counted, *tree_of(others), *found)
    return found


@parallel
def _search(
    points: Any, order: Any, limit: Any, counted: Any, rows: Any, coordinates: Any, low: Any, high: Any,
    index: Any, squared: Any, number: Any,
) -> None:  # fmt: skip
    """Find the nearest to each place. A chunk of places walks down the tree together, to what is nearer to its first one first."""
    n = order.size
    for chunk in prange((n + CHUNK - 1) // CHUNK):
        size = min(CHUNK, n - chunk * CHUNK)
        mine = order[chunk * CHUNK : chunk * CHUNK + size]
        places, within, scratch, stack = np.zeros((COLUMNS, CHUNK)), np.full(CHUNK, limit), np.empty(LEAF), np.empty((DEPTH, 3), np.int64)
        for i in range(size):
            for c in range(COLUMNS):
                places[c, i] = points[mine[i], c]
        stack[0] = 0, 0, coordinates.shape[0]
        top = 1
        while top > 0:
            top -= 1
            node, a, b = stack[top]
            near = near_box(places, low[node], high[node], FLAT, within, scratch) & ((1 << size) - 1)
            if near and b - a > 1:
                _descend(places[:, 0], node, a, b, low, high, stack, top)
                top += 2
            while near and b - a == 1:
                i = lowest_bit(near)
                near &= near - 1
                _scan(places, i, mine[i], limit, counted, coordinates[a], rows[a * LEAF :], within, scratch, index, squared, number)


@inlined
def _descend(point: Any, node: Any, a: Any, b: Any, low: Any, high: Any, stack: Any, top: Any) -> None:
    """Put the children of a node on the stack, the one that is nearer to a place last, so that it is looked at first."""
    middle = (a + b) // 2
    left, right = node + 1, node + 2 * (middle - a)
    first = np.int64(from_box(point, low, high, left) <= from_box(point, low, high, right))
    stack[top + first, 0], stack[top + first, 1], stack[top + first, 2] = left, a, middle
    stack[top + 1 - first, 0], stack[top + 1 - first, 1], stack[top + 1 - first, 2] = right, middle, b


@inlined
def _scan(
    places: Any, i: Any, row: Any, limit: Any, counted: Any, others: Any, rows: Any, within: Any, scratch: Any,
    index: Any, squared: Any, number: Any,
) -> None:  # fmt: skip
    """Look among those of a leaf for one that is nearer to place i of a chunk. Its loops over all of them become vectors."""
    all_apart(places, i, others, scratch)
    if counted:
        near = np.int64(0)
        for j in range(LEAF):
            near += np.int64(scratch[j] <= limit)
        number[row] += near
    least = min(squared[row], limit)
    bits = np.int64(0)
    for j in range(LEAF):
        bits |= np.int64(scratch[j] <= least) << j
    while bits:
        j = lowest_bit(bits)
        bits &= bits - 1
        if _nearer(scratch[j], rows[j], squared[row], index[row]):
            squared[row], index[row] = scratch[j], rows[j]
    if not counted and index[row] >= 0:
        within[i], number[row] = squared[row], 1


@inlined
def _nearer(apart: Any, row: Any, least: Any, best: Any) -> Any:
    return apart < least or (apart == least and row < best)


def on_cuda(points: np.ndarray, others: np.ndarray, radius: float, counted: bool) -> Nearest:
    """Return which of m others is the nearest to each of n places; see `reference`. A thread a place, neighbours beside each other."""
    check_places(points, others, radius)
    n = len(points)
    if not n or not len(others):
        return _none(n)
    sent = [upload(array) for array in (points, morton.order_on_cuda(points))]
    tree = [upload(array) for array in tree_of(others)]
    found = empty(n, np.int32), empty(n, np.float64), empty(n, np.int64)
    launch(_find_nearest, -(-n // THREADS), THREADS, *sent, np.float64(radius * radius), counted, *tree, *found)
    index, squared, number = (download(array) for array in found)
    return index, squared, number


def _find_nearest(points, order, limit, counted, rows, coordinates, low, high, index, squared, number):  # type: ignore[no-untyped-def]
    stack = cuda.local.array((DEPTH, 3), np.int32)
    i = cuda.grid(1)
    if i < order.size:
        row = order[i]
        index[row], squared[row], number[row] = _walk(points[row], limit, counted, rows, coordinates, low, high, stack)


@helper
def _walk(point: Any, limit: Any, counted: Any, rows: Any, coordinates: Any, low: Any, high: Any, stack: Any) -> Any:
    """Return the row of the nearest to one place, its squared distance, and how many are near."""
    best, least, number, within = NONE, np.float64(np.inf), np.int64(0), limit
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, 0, coordinates.shape[0]
    top = 1
    while top > 0:
        top -= 1
        node, a, b = stack[top, 0], stack[top, 1], stack[top, 2]
        if from_box(point, low, high, node) > within:
            continue
        if b - a > 1:
            _descend(point, node, a, b, low, high, stack, top)
            top += 2
            continue
        for j in range(min(LEAF, rows.size - a * LEAF)):
            apart = from_place(point, coordinates, a, j)
            if apart <= within:
                number += 1
                if _nearer(apart, rows[a * LEAF + j], least, best):
                    best, least = rows[a * LEAF + j], apart
                    if not counted:
                        within = apart
    return best, least, number if counted else min(number, np.int64(1))


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    return [(*arguments[:3], counted) for arguments in example(rng) for counted in (True, False)]


def _large(rng: np.random.Generator) -> tuple[Any, ...]:
    return *large(rng)[:3], True


KERNEL = KernelSpec(
    name="nearest",
    summary="the nearest of one set of places to each of another within a radius, and how many are within it",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(
            _find_nearest,
            "void(float64[:, ::1], int64[::1], float64, boolean, int32[::1], float64[:, :, ::1], float64[:, ::1], float64[:, ::1], "
            "int32[::1], float64[::1], int64[::1])",
            THREADS,
        ),
    ),
    example=_example,
    large=_large,
    rtol=0.0,
    float64="a hundredth of an arcsecond of the sphere is less than a digit of single precision",
)
