"""The graph of neighbours in the order of density: of each point, from the densest down, the denser ones it is connected with.

The weight of an edge is the smaller density of its ends, so that the edges in descending order are those of each point to denser ones,
point by point from the densest down: no edge need be sorted, only points.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._numba import serial
from .density import cpu as density_of
from .density import neighbours_of
from .spec import KernelSpec

Edges = tuple[np.ndarray, np.ndarray, np.ndarray]


def reference(near: np.ndarray, log_density: np.ndarray) -> Edges:
    """Return, from the densest point down, the denser points that each is connected with.

    Two points are connected where one is among those near the other. Of equally dense points that of the lower index counts
    as the denser.

    Args:
        near: (point, link) int32, nearest neighbours, perhaps the point itself among them; below 0 for none.
        log_density: (point,) float64.

    Returns:
        (point,) int32, the points from the densest down; the place in it is called a rank.
        (point + 1,) int32, where the edges of each rank start, and their number.
        (edge,) int32, rank of the denser end, ascending in each rank; every edge stands once.

    Raises:
        ValueError: the shapes differ, or there are 2**31 edges or more.

    References:
        Oliver, Elahi & Lewis (2024), arXiv:2312.14632.
    """
    _check(near, log_density)
    n = len(near)
    descending = np.argsort(-log_density, kind="stable").astype(np.int32)
    rank = np.empty(n, np.int64)
    rank[descending] = np.arange(n)
    pairs = {(max(a, b), min(a, b)) for i in range(n) for a, b in ((int(rank[i]), int(rank[j])) for j in near[i] if j >= 0) if a != b}
    edges = np.array(sorted(pairs), np.int32).reshape(-1, 2)
    start = np.searchsorted(edges[:, 0], np.arange(n + 1)).astype(np.int32)
    return descending, start, np.ascontiguousarray(edges[:, 1])


def _check(near: np.ndarray, log_density: np.ndarray) -> None:
    if near.ndim != 2 or log_density.shape != near.shape[:1]:
        raise ValueError(f"neighbours {near.shape} and densities {log_density.shape} must be of the same points")
    if near.size >= 2**31:
        raise ValueError(f"{near.shape[0]} points with {near.shape[1]} neighbours have too many edges; cut the catalogue into parts")


def cpu(near: np.ndarray, log_density: np.ndarray) -> Edges:
    """Return points by density, and their edges; see `reference`. In one thread: every edge is put beside those of its less dense end."""
    _check(near, log_density)
    n = log_density.size
    descending = np.argsort(-log_density, kind="stable").astype(np.int32)
    rank = np.empty(n, np.int32)
    rank[descending] = np.arange(n, dtype=np.int32)
    start = np.zeros(n + 1, np.int32)
    denser = np.empty(_count(near, rank, start), np.int32)
    denser.resize(_fill(near, rank, start, denser), refcheck=False)  # what stood twice is given back
    return descending, start, denser


@serial
def _count(near: np.ndarray, rank: np.ndarray, start: np.ndarray) -> int:
    """Have start[r] hold where the edges of rank r begin if none stands twice; return how many they are."""
    for i in range(rank.size):
        for k in range(near.shape[1]):
            j = near[i, k]
            if j >= 0 and j != i:
                start[max(rank[i], rank[j])] += 1
    total = 0
    for r in range(start.size):
        total, start[r] = total + start[r], total
    return total


@serial
def _fill(near: np.ndarray, rank: np.ndarray, start: np.ndarray, denser: np.ndarray) -> int:
    """Write each rank's denser ends, ascending and once each, and where they then start; return how many they are."""
    n = rank.size
    free = start.copy()
    for i in range(n):
        for k in range(near.shape[1]):
            j = near[i, k]
            if j >= 0 and j != i:
                low, high = max(rank[i], rank[j]), min(rank[i], rank[j])
                at = free[low]
                while at > start[low] and denser[at - 1] > high:
                    denser[at] = denser[at - 1]
                    at -= 1
                denser[at] = high
                free[low] += 1
    m = 0
    for r in range(n):
        first, last = start[r], free[r]
        start[r] = m
        for at in range(first, last):
            if at == first or denser[at] != denser[m - 1]:
                denser[m] = denser[at]
                m += 1
    start[n] = m
    return m


def on_cuda(near: np.ndarray, log_density: np.ndarray) -> Edges:
    """Return the same from the host, which waits for memory as a GPU would, and need not send any."""
    return cpu(near, log_density)


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    made: list[tuple[Any, ...]] = []
    lattice = np.stack(np.meshgrid(np.arange(12.0), np.arange(11.0)), axis=-1).reshape(-1, 2)
    for points, k, link in (
        (rng.normal(size=(200, 2)), 12, 7), (rng.normal(size=(300, 3)), 20, 7), (rng.normal(size=(90, 6)), 5, 5),
        (rng.normal(size=(7, 1)), 7, 3), (np.zeros((1, 2)), 1, 1), (lattice, 9, 5), (np.repeat(rng.normal(size=(5, 2)), 8, axis=0), 8, 6),
    ):  # fmt: skip
        indices, squared = neighbours_of(points, k)
        density = density_of(indices, squared, np.ones(len(points)), points.shape[1])
        made.append((np.ascontiguousarray(indices[:, :link]), density))
    made.append((np.zeros((0, 2), np.int32), np.zeros(0)))
    return made


KERNEL = KernelSpec(
    name="edges",
    summary="each point's edges to denser ones, the densest point first",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(),
    example=_example,
    rtol=0.0,
    host="edges are counted into place one after the other",
)
