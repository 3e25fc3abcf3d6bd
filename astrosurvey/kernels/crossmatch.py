"""All pairs of two sets of places that are near each other: the cross-match of two catalogues.

The places of one set are in a k-d tree. The CPU twin walks down it with those of the other set, 32 that are near each other at a time; in
the CUDA twin a thread walks with one. Both walk twice: to count the pairs, so that each place's have room, and to note them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import morton
from ._kdtree import DEPTH, LEAF, build, lowest_bit, near_box, periods_of
from ._numba import cuda, download, empty, helper, inlined, launch, parallel, prange, upload
from .spec import KernelSpec, Launch

COLUMNS = 3
CHUNK = 32
"""Places that walk together, in the CPU twin."""
THREADS = 128
FLAT = periods_of(np.zeros(COLUMNS))

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Where each place's pairs begin, (n + 1,) int64; and of each pair the row of the other, int32, and the squared distance, float64."""


def reference(points: np.ndarray, others: np.ndarray, radius: float, spread: np.ndarray, other_spread: np.ndarray) -> Pairs:
    """Return which of m others are near each of n places.

    A pair is near if its squared distance is at most the radius' square and at most the sum of the two spreads, which are variances
    of the positions times the square of a number of standard deviations; infinite where the radius alone counts. Squared
    distances are sums of squared differences in double precision, the first column's first.

    Args:
        points: (n, 3) float64, C-contiguous, finite; on the sky, unit vectors.
        others: (m, 3) float64, C-contiguous, finite.
        radius: greatest distance, not negative; on the sky, a chord.
        spread: (n,) float64, not negative.
        other_spread: (m,) float64, not negative.

    Returns:
        (n + 1,) int64, `first`: the pairs of place i are those from first[i] to before first[i + 1]; (pair,) int32, rows of the
        others, of each place the nearest first, equally near ones by row; (pair,) float64, squared distances.

    Raises:
        ValueError: an argument is not as said.
    """
    _check(points, others, radius, spread, other_spread)
    first, rows, squared = np.zeros(len(points) + 1, np.int64), [np.empty(0, np.int32)], [np.empty(0)]
    for i, (x, y, z) in enumerate(points):
        apart = (others[:, 0] - x) ** 2 + (others[:, 1] - y) ** 2 + (others[:, 2] - z) ** 2
        near = np.flatnonzero((apart <= radius * radius) & (apart <= spread[i] + other_spread))
        near = near[np.argsort(apart[near], kind="stable")]
        first[i + 1] = first[i] + len(near)
        rows.append(near.astype(np.int32))
        squared.append(apart[near])
    return first, np.concatenate(rows), np.concatenate(squared)


def _check(points: np.ndarray, others: np.ndarray, radius: float, spread: np.ndarray, other_spread: np.ndarray) -> None:
    check_places(points, others, radius)
    if spread.shape != points.shape[:1] or other_spread.shape != others.shape[:1]:
        raise ValueError("there must be a spread for each place")


def check_places(points: np.ndarray, others: np.ndarray, radius: float) -> None:
    """Raise ValueError if places or the radius are not as `reference` says."""
    if points.shape[1:] != (COLUMNS,) or others.shape[1:] != (COLUMNS,):
        raise ValueError(f"places have {COLUMNS} columns, not {points.shape[1:]} and {others.shape[1:]}")
    if max(len(points), len(others)) >= 2**31:
        raise ValueError("places are too many for 32-bit indices; match parts of the sky one after the other")
    if not (np.isfinite(points).all() and np.isfinite(others).all()):
        raise ValueError("places must be finite: leave out rows without a position")
    if not radius >= 0:
        raise ValueError(f"the radius must not be negative, but is {radius}")


def cpu(points: np.ndarray, others: np.ndarray, radius: float, spread: np.ndarray, other_spread: np.ndarray) -> Pairs:
    """Return which of m others are near each of n places; see `reference`. Threaded over places that are near each other."""
    _check(points, others, radius, spread, other_spread)
    number = np.zeros(len(points), np.int64)
    if not len(points) or not len(others):
        return _room(number)
    given = (points, spread, morton.order(points), np.float64(radius * radius), *tree_of(others), other_spread)
    _search(*given, number, *_room(np.zeros_like(number)))
    first, index, squared = _room(number)
    if len(index):
        _search(*given, number, first, index, squared)
    return first, index, squared


def count(points: np.ndarray, others: np.ndarray, radius: float, spread: np.ndarray, other_spread: np.ndarray) -> np.ndarray:
    """Return (n,) int64, how many of m others are near each of n places, on the CPU; see `reference`."""
    _check(points, others, radius, spread, other_spread)
    number = np.zeros(len(points), np.int64)
    if len(points) and len(others):
        order = morton.order(points)
        _search(points, spread, order, np.float64(radius * radius), *tree_of(others), other_spread, number, *_room(np.zeros_like(number)))
    return number


def tree_of(others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return of a tree what is walked through: rows, coordinates, and the nodes' boxes."""
    return tuple(build(others))[:4]


def _room(number: np.ndarray) -> Pairs:
    """Return where each place's pairs begin, and room for them."""
    first = np.append(0, np.cumsum(number))
    return first, np.empty(first[-1], np.int32), np.empty(first[-1])


@parallel
def _search(
    points: Any, spread: Any, order: Any, limit: Any, rows: Any, coordinates: Any, low: Any, high: Any, other_spread: Any,
    number: Any, first: Any, index: Any, squared: Any,
) -> None:  # fmt: skip
    """Count each place's pairs; where there is room for them, note and sort them."""
    n, noted = order.size, index.size > 0
    for chunk in prange((n + CHUNK - 1) // CHUNK):
        size = min(CHUNK, n - chunk * CHUNK)
        mine = order[chunk * CHUNK : chunk * CHUNK + size]
        places, within, scratch, stack = np.zeros((COLUMNS, CHUNK)), np.full(CHUNK, limit), np.empty(LEAF), np.empty((DEPTH, 3), np.int64)
        for i in range(size):
            number[mine[i]] = 0
            for c in range(COLUMNS):
                places[c, i] = points[mine[i], c]
        stack[0] = 0, 0, coordinates.shape[0]
        top = 1
        while top > 0:
            top -= 1
            node, a, b = stack[top]
            near = near_box(places, low[node], high[node], FLAT, within, scratch) & ((1 << size) - 1)
            if near and b - a > 1:
                middle = (a + b) // 2
                stack[top] = node + 2 * (middle - a), middle, b
                stack[top + 1] = node + 1, a, middle
                top += 2
            elif near:
                _scan(
                    places,
                    near,
                    mine,
                    spread,
                    limit,
                    coordinates[a],
                    rows[a * LEAF :],
                    other_spread,
                    scratch,
                    number,
                    first,
                    index,
                    squared,
                )
        if noted:
            for i in range(size):
                _sort(index, squared, first[mine[i]], first[mine[i] + 1])


@inlined
def _scan(
    places: Any, near: Any, mine: Any, spread: Any, limit: Any, others: Any, rows: Any, other_spread: Any, scratch: Any,
    number: Any, first: Any, index: Any, squared: Any,
) -> None:  # fmt: skip
    """Look for pairs of some places of a chunk with those of a leaf. Its inner loops become vectors."""
    noted = index.size > 0
    while near:
        i = lowest_bit(near)
        near &= near - 1
        all_apart(places, i, others, scratch)
        bits = np.int64(0)
        for j in range(LEAF):
            bits |= np.int64(scratch[j] <= limit) << j
        row = mine[i]
        while bits:
            j = lowest_bit(bits)
            bits &= bits - 1
            if scratch[j] <= spread[row] + other_spread[rows[j]]:
                if noted:
                    index[first[row] + number[row]] = rows[j]
                    squared[first[row] + number[row]] = scratch[j]
                number[row] += 1


@inlined
def all_apart(places: Any, i: Any, others: Any, scratch: Any) -> None:
    """Note the squared distances of place i of a chunk, (3, CHUNK), from those of a leaf. Its loops become vectors."""
    for j in range(LEAF):
        scratch[j] = 0.0
    for c in range(COLUMNS):
        x = places[c, i]
        for j in range(LEAF):
            difference = others[c, j] - x
            scratch[j] += difference * difference


@inlined
def _later(index: Any, squared: Any, i: Any, j: Any) -> Any:
    return squared[i] > squared[j] or (squared[i] == squared[j] and index[i] > index[j])


@inlined
def _swap(index: Any, squared: Any, i: Any, j: Any) -> None:
    index[i], index[j] = index[j], index[i]
    squared[i], squared[j] = squared[j], squared[i]


@helper
def _sort(index: Any, squared: Any, begin: Any, end: Any) -> None:
    """Sort the pairs from `begin` to before `end`, the nearest first, equally near ones by row; a heap's sort, in place."""
    size = end - begin
    for step in range(size + size // 2 - 1):
        # First the heap is made, from its last parent to its root; then its root goes to its end, again and again.
        root, last = size // 2 - 1 - step, size
        if root < 0:
            root, last = 0, size - (step - size // 2 + 1)
            _swap(index, squared, begin, begin + last)
        while 2 * root + 1 < last:
            child = 2 * root + 1
            if child + 1 < last and _later(index, squared, begin + child + 1, begin + child):
                child += 1
            if not _later(index, squared, begin + child, begin + root):
                break
            _swap(index, squared, begin + child, begin + root)
            root = child


def on_cuda(points: np.ndarray, others: np.ndarray, radius: float, spread: np.ndarray, other_spread: np.ndarray) -> Pairs:
    """Return which of m others are near each of n places; see `reference`. A thread a place, in an order in which neighbours are near."""
    _check(points, others, radius, spread, other_spread)
    n = len(points)
    if not n or not len(others):
        return _room(np.zeros(n, np.int64))
    sent = [upload(array) for array in (points, spread, morton.order_on_cuda(points))]
    tree = [upload(array) for array in (*tree_of(others), other_spread)]
    number = empty(n, np.int64)
    blocks = -(-n // THREADS)
    limit = np.float64(radius * radius)
    launch(_count_pairs, blocks, THREADS, *sent, limit, *tree, number)
    first, index, squared = _room(download(number))
    if not len(index):
        return first, index, squared
    found, apart = empty(len(index), np.int32), empty(len(index), np.float64)
    launch(_note_pairs, blocks, THREADS, *sent, limit, *tree, upload(first), found, apart)
    return first, download(found), download(apart)


def _count_pairs(points, spread, order, limit, rows, coordinates, low, high, other_spread, number):  # type: ignore[no-untyped-def]
    stack = cuda.local.array((DEPTH, 3), np.int32)
    i = cuda.grid(1)
    if i < order.size:
        row = order[i]
        number[row] = _walk(
            points[row], spread[row], limit, rows, coordinates, low, high, other_spread, stack, 0, rows[:0], other_spread[:0]
        )


def _note_pairs(points, spread, order, limit, rows, coordinates, low, high, other_spread, first, index, squared):  # type: ignore[no-untyped-def]
    stack = cuda.local.array((DEPTH, 3), np.int32)
    i = cuda.grid(1)
    if i < order.size:
        row = order[i]
        _walk(points[row], spread[row], limit, rows, coordinates, low, high, other_spread, stack, first[row], index, squared)
        _sort(index, squared, first[row], first[row + 1])


@helper
def _walk(
    point: Any, spread: Any, limit: Any, rows: Any, coordinates: Any, low: Any, high: Any, other_spread: Any,
    stack: Any, begin: Any, index: Any, squared: Any,
) -> Any:  # fmt: skip
    """Return the number of one place's pairs; where there is room for them, note them from `begin` on."""
    found = np.int64(0)
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, 0, coordinates.shape[0]
    top = 1
    while top > 0:
        top -= 1
        node, a, b = stack[top, 0], stack[top, 1], stack[top, 2]
        if from_box(point, low, high, node) > limit:
            continue
        if b - a > 1:
            middle = (a + b) // 2
            stack[top, 0], stack[top, 1], stack[top, 2] = node + 2 * (middle - a), middle, b
            stack[top + 1, 0], stack[top + 1, 1], stack[top + 1, 2] = node + 1, a, middle
            top += 2
            continue
        for j in range(min(LEAF, rows.size - a * LEAF)):
            apart = from_place(point, coordinates, a, j)
            row = rows[a * LEAF + j]
            if apart <= limit and apart <= spread + other_spread[row]:
                if index.size > 0:
                    index[begin + found] = row
                    squared[begin + found] = apart
                found += 1
    return found


@inlined
def from_box(point: Any, low: Any, high: Any, node: Any) -> Any:
    """Return the squared distance of a place from a node's box; never above that from a place in it, rounding included."""
    total = np.float64(0)
    for c in range(COLUMNS):
        side = max(low[node, c] - point[c], point[c] - high[node, c], np.float64(0))
        total += side * side
    return total


@inlined
def from_place(point: Any, coordinates: Any, leaf: Any, j: Any) -> Any:
    """Return the squared distance of a place from the jth of a leaf."""
    total = np.float64(0)
    for c in range(COLUMNS):
        difference = coordinates[leaf, c, j] - point[c]
        total += difference * difference
    return total


def example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Return arguments: places near each other and not, equal ones, ones at right angles, one, and none."""

    def sphere(n: int) -> np.ndarray:
        places = rng.normal(size=(n, COLUMNS))
        return np.ascontiguousarray(places / np.linalg.norm(places, axis=1)[:, None])

    def wide(places: np.ndarray) -> np.ndarray:
        return np.full(len(places), np.inf)

    points, others = sphere(120), sphere(150)
    others[:100] = points[:100] + rng.normal(0, 1e-5, (100, COLUMNS))
    clump = np.ascontiguousarray(points[:1] + rng.normal(0, 1e-6, (90, COLUMNS)))
    same = np.repeat(points[:3], 20, axis=0)
    poles = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    errors, other_errors = rng.uniform(0, 4e-10, 120), rng.uniform(0, 4e-10, 150)
    errors[:20], other_errors[10:30] = 0.0, np.inf
    return [
        (points, others, 3e-5, wide(points), wide(others)), (points, others, 0.5, wide(points), wide(others)),
        (points, others, 5e-5, errors, other_errors), (clump, clump[::2].copy(), 2e-6, wide(clump), wide(clump[::2])),
        (same, same[::3].copy(), 0.0, wide(same), wide(same[::3])),
        (poles, np.append(poles, -poles, axis=0), 2.0, wide(poles), np.full(6, np.inf)),
        (points[:1], others, 2.0, wide(points[:1]), wide(others)), (points, others[:1], 2.0, wide(points), wide(others[:1])),
        (points[:0], others, 1.0, wide(points[:0]), wide(others)), (points, others[:0], 1.0, wide(points), wide(others[:0])),
        (points, -points, 1e-9, wide(points), wide(points)),
    ]  # fmt: skip


def large(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return arguments: two catalogues of a million places all over the sky, of the same objects."""
    n = 1_000_000
    points = rng.normal(size=(n, COLUMNS))
    points /= np.linalg.norm(points, axis=1)[:, None]
    return points, points[::-1] + rng.normal(0, 5e-7, (n, COLUMNS)), 5e-6, np.full(n, np.inf), np.full(n, np.inf)


_TREE = "int32[::1], float64[:, :, ::1], float64[:, ::1], float64[:, ::1], float64[::1]"

KERNEL = KernelSpec(
    name="crossmatch",
    summary="all pairs of two sets of places that are within a radius and within their errors of each other",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(_count_pairs, f"void(float64[:, ::1], float64[::1], int64[::1], float64, {_TREE}, int64[::1])", THREADS),
        Launch(
            _note_pairs,
            f"void(float64[:, ::1], float64[::1], int64[::1], float64, {_TREE}, int64[::1], int32[::1], float64[::1])",
            THREADS,
        ),
    ),
    example=example,
    large=large,
    rtol=0.0,
    float64="a hundredth of an arcsecond of the sphere is less than a digit of single precision",
)
