"""Groups of points by descending density: which joined which, at what density, and an order in which each is one span.

Points are taken from the densest down. One without a denser neighbour is a peak and starts a group; one between groups is
the saddle at which they join, the smaller behind the larger. What is remembered of a join tells how far
each group stands out from its surroundings, whatever is later made of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._numba import serial
from .density import cpu as density_of
from .density import neighbours_of
from .edges import cpu as edges_of
from .spec import KernelSpec

Aggregated = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def reference(log_density: np.ndarray, start: np.ndarray, denser: np.ndarray) -> Aggregated:
    """Return the order of aggregation of a graph of points, and its joins.

    At a join the group with fewer points is the smaller, at a tie that with the lower peak. Its prominence is the
    log density of its peak above that of the saddle. The noise of a group is the root mean square of the
    prominences of the smaller groups that joined it so far. Groups that no edge connects join at last, the
    largest first, and the least dense point of the two counts as their saddle.

    Args:
        log_density: (point,) float64, descending.
        start: (point + 1,) int32, where the edges of each point start.
        denser: (edge,) int32, places of the denser ends, ascending for each point.

    Returns:
        (point,) int32, places of points in the order of aggregation.
        (join, 3) int32, of the smaller group: where in that order it starts, its points, its peak.
        (join, 3) int32, of the larger group before the join.
        (join,) int32, the saddle.
        (join, 2) float64, noise of the smaller and of the larger group before the join.

    Raises:
        ValueError: the shapes do not fit.

    References:
        Oliver, Elahi & Lewis (2024), arXiv:2312.14632; Kruskal (1956), Proc. AMS 7, 48.
    """
    _check(log_density, start, denser)
    n = log_density.size
    groups: dict[int, list[int]] = {}
    peak: dict[int, int] = {}
    risen: dict[int, list[float]] = {}
    home: list[int] = []
    joins: list[tuple[list[int], list[int], int, int, int, float, float]] = []

    def join(a: int, b: int, saddle: int) -> None:
        large, small = sorted((a, b), key=lambda group: (-len(groups[group]), peak[group]))
        noise = [float(np.sqrt(_mean_square(risen[group]))) for group in (small, large)]
        joins.append((list(groups[small]), list(groups[large]), peak[small], peak[large], saddle, noise[0], noise[1]))
        risen[large].append(float(log_density[peak[small]] - log_density[saddle]))
        groups[large] += groups[small]
        peak[large] = min(peak[large], peak[small])
        for point in groups.pop(small):
            home[point] = large

    for p in range(n):
        near = denser[start[p] : start[p + 1]].tolist()
        if near:
            home.append(home[near[0]])
            groups[home[p]].append(p)
        else:
            home.append(p)
            groups[p], peak[p], risen[p] = [p], p, []
        for q in near[1:]:
            if home[q] != home[p]:
                join(home[p], home[q], p)
    rest = sorted(groups, key=lambda group: (-len(groups[group]), peak[group]))
    for group in rest[1:]:
        join(home[rest[0]], group, max(groups[home[rest[0]]] + groups[group]))
    order = next(iter(groups.values())) if groups else []
    place = {point: i for i, point in enumerate(order)}
    small = [(place[s[0]], len(s), p) for s, _, p, _, _, _, _ in joins]
    large = [(place[g[0]], len(g), p) for _, g, _, p, _, _, _ in joins]
    return (
        np.array(order, np.int32),
        np.array(small, np.int32).reshape(-1, 3),
        np.array(large, np.int32).reshape(-1, 3),
        np.array([s for _, _, _, _, s, _, _ in joins], np.int32),
        np.array([noise for *_, a, b in joins for noise in (a, b)], float).reshape(-1, 2),
    )


def _mean_square(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value * value
    return total / len(values) if values else 0.0


def _check(log_density: np.ndarray, start: np.ndarray, denser: np.ndarray) -> None:
    if start.size != log_density.size + 1 or denser.size != (start[-1] if start.size else 0):
        raise ValueError(f"{log_density.size} points, {start.size} starts and {denser.size} edges do not fit together")


def cpu(log_density: np.ndarray, start: np.ndarray, denser: np.ndarray) -> Aggregated:
    """Return the order of aggregation and the joins; see `reference`. In one thread: every step hangs on the one before."""
    _check(log_density, start, denser)
    n = log_density.size
    joins = max(int((np.diff(start) == 0).sum()) - 1, 0)
    small, large = np.empty((joins, 3), np.int32), np.empty((joins, 3), np.int32)
    saddle, noise = np.empty(joins, np.int32), np.empty((joins, 2))
    order = np.empty(n, np.int32)
    if n:
        _aggregate(log_density, start, denser, order, small, large, saddle, noise)
    return order, small, large, saddle, noise


@serial
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@serial
def _join(
    a: int,
    b: int,
    saddle: int,
    m: int,
    log_density: np.ndarray,
    group: tuple[np.ndarray, ...],
    small: np.ndarray,
    large: np.ndarray,
    saddles: np.ndarray,
    noise: np.ndarray,
) -> int:
    """Join two roots, write down join m, and return the root that remains. A group's root is its head in the order, its first point."""
    parent, size, peak, tail, after, count, squares = group
    if size[a] < size[b] or (size[a] == size[b] and peak[a] > peak[b]):
        a, b = b, a
    small[m, 0], small[m, 1], small[m, 2] = b, size[b], peak[b]
    large[m, 0], large[m, 1], large[m, 2] = a, size[a], peak[a]
    saddles[m] = saddle
    noise[m, 0] = np.sqrt(squares[b] / max(count[b], 1))
    noise[m, 1] = np.sqrt(squares[a] / max(count[a], 1))
    prominence = log_density[peak[b]] - log_density[saddle]
    squares[a] += prominence * prominence
    count[a] += 1
    parent[b] = a
    size[a] += size[b]
    peak[a] = min(peak[a], peak[b])
    after[tail[a]] = b
    tail[a] = tail[b]
    return a


@serial
def _aggregate(
    log_density: np.ndarray,
    start: np.ndarray,
    denser: np.ndarray,
    order: np.ndarray,
    small: np.ndarray,
    large: np.ndarray,
    saddles: np.ndarray,
    noise: np.ndarray,
) -> None:
    n = log_density.size
    parent, size, peak = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    tail, after, count = np.empty(n, np.int32), np.full(n, -1, np.int32), np.zeros(n, np.int32)
    squares = np.zeros(n)
    group = (parent, size, peak, tail, after, count, squares)
    m = 0
    for p in range(n):
        first, last = start[p], start[p + 1]
        if first == last:
            parent[p], size[p], peak[p], tail[p] = p, 1, p, p
            continue
        a = _root(parent, denser[first])
        parent[p] = a
        after[tail[a]] = p
        tail[a] = p
        size[a] += 1
        for e in range(first + 1, last):
            b = _root(parent, denser[e])
            if b != a:
                a = _join(a, b, p, m, log_density, group, small, large, saddles, noise)
                m += 1
    rest = np.flatnonzero(parent == np.arange(n))
    rest = rest[np.argsort(-size[rest].astype(np.int64) * n + peak[rest])]  # unique: no two groups share a peak
    a, lowest = rest[0], 0
    least = np.zeros(n, np.int32)
    if rest.size > 1:
        for p in range(n):
            least[_root(parent, p)] = p
        lowest = least[a]
    for i in range(1, rest.size):
        lowest = max(lowest, least[rest[i]])
        a = _join(a, rest[i], lowest, m, log_density, group, small, large, saddles, noise)
        m += 1
    place = count  # its counts are no longer needed
    p = a
    for i in range(n):
        order[i] = p
        place[p] = i
        p = after[p]
    for i in range(m):
        small[i, 0], large[i, 0] = place[small[i, 0]], place[large[i, 0]]


def on_cuda(log_density: np.ndarray, start: np.ndarray, denser: np.ndarray) -> Aggregated:
    """Return the same from the host: every step hangs on the one before."""
    return cpu(log_density, start, denser)


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    made: list[tuple[Any, ...]] = []
    apart = np.repeat(np.arange(6.0), 25)[:, None] * 100
    lattice = np.stack(np.meshgrid(np.arange(12.0), np.arange(11.0)), axis=-1).reshape(-1, 2)
    for points, k, link in (
        (rng.normal(size=(400, 2)), 12, 7), (rng.random((300, 3)), 10, 7), (rng.normal(size=(150, 2)) + apart, 10, 6),
        (lattice, 9, 5), (rng.normal(size=(2, 1)), 2, 2), (np.zeros((1, 1)), 1, 1), (np.zeros((0, 2)), 1, 1),
    ):  # fmt: skip
        indices, squared = neighbours_of(points, k)
        log_density = density_of(indices, squared, np.ones(len(points)), points.shape[1])
        descending, start, denser = edges_of(np.ascontiguousarray(indices[:, :link]), log_density)
        made.append((log_density[descending], start, denser))
    return made


KERNEL = KernelSpec(
    name="aggregate",
    summary="Join groups of points by descending density, and remember at each join the groups' spans, peaks, saddle and noise.",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(),
    example=_example,
    rtol=0.0,
    host="every step hangs on the one before, and one thread of a GPU is slower than one of a processor",
)
