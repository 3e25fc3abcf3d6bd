"""Density of points from their nearest neighbours, and the graph of neighbours in the order of density.

The density is an adaptive kernel estimate whose scale is the distance to the k-th neighbour. The weight of an edge is the
smaller density of its ends, so that the edges in descending order are those of each point to denser ones, point
by point from the densest down: no edge need be sorted, only points.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._numba import cuda, download, empty, helper, launch, parallel, prange, serial, upload
from .spec import KernelSpec, Launch

THREADS = 128
TINY = 2.2250738585072014e-308
"""The smallest normal number: in place of squared distances that underflow."""
LN2 = 0.6931471805599453
ROOT_HALF = 0.7071067811865476

Edges = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def reference(indices: np.ndarray, squared: np.ndarray, weights: np.ndarray, dimension: int, link: int) -> Edges:
    """Return the density of points and, from the densest point down, the denser points that each is connected with.

    With the distance h to the k-th neighbour and weights w, log rho = log(sum_j w_j (1 - r_j^2 / h^2)) - d log h, up to
    a constant. Two points are connected where one is among the `link` nearest of the other. Of equally
    dense points that of the lower index counts as the denser.

    Args:
        indices: (point, k) int32, nearest neighbours, the point itself included; below 0 for none.
        squared: (point, k) float64, their squared distances, ascending.
        weights: (point,) float64, positive; how many points, or how much mass, each stands for.
        dimension: d, of the space that the points fill.
        link: how many of the nearest, the point itself included, are connected with a point.

    Returns:
        (point,) float64, log rho.
        (point,) int32, the points from the densest down; the place in it is called a rank.
        (point + 1,) int32, where the edges of each rank start, and their number.
        (edge,) int32, rank of the denser end, ascending in each rank; every edge stands once.

    Raises:
        ValueError: the shapes differ, or there are 2**31 edges or more.

    References:
        Oliver, Elahi & Lewis (2024), arXiv:2312.14632; Epanechnikov (1969), Theory Probab. Appl. 14, 153.
    """
    _check(indices, squared, weights, link)
    n, k = indices.shape
    scale = np.maximum(squared[:, -1], TINY) if n else np.zeros(0)
    total = np.zeros(n)
    for j in range(k):
        held = np.where(indices[:, j] >= 0, weights[indices[:, j]], 0) if n else total
        total = total + held * (1 - squared[:, j] / scale)
    log_density = np.log(total) - dimension / 2 * np.log(scale)
    descending = np.argsort(-log_density, kind="stable").astype(np.int32)
    rank = np.empty(n, np.int64)
    rank[descending] = np.arange(n)
    pairs = {
        (max(a, b), min(a, b)) for i in range(n) for a, b in ((int(rank[i]), int(rank[j])) for j in indices[i, :link] if j >= 0) if a != b
    }
    edges = np.array(sorted(pairs), np.int32).reshape(-1, 2)
    start = np.searchsorted(edges[:, 0], np.arange(n + 1)).astype(np.int32)
    return log_density, descending, start, np.ascontiguousarray(edges[:, 1])


def _check(indices: np.ndarray, squared: np.ndarray, weights: np.ndarray, link: int) -> None:
    if indices.shape != squared.shape or indices.ndim != 2 or weights.shape != indices.shape[:1]:
        raise ValueError(f"indices {indices.shape}, squared {squared.shape} and weights {weights.shape} must be of the same points")
    if not 1 <= link <= max(indices.shape[1], 1):
        raise ValueError(f"link {link} must be 1 to the number of neighbours, {indices.shape[1]}")
    if indices.shape[0] * link >= 2**31:
        raise ValueError(f"{indices.shape[0]} points with {link} neighbours have too many edges; cut the catalogue into parts")


def cpu(indices: np.ndarray, squared: np.ndarray, weights: np.ndarray, dimension: int, link: int) -> Edges:
    """Return densities and edges; see `reference`. Densities are threaded over points, edges counted in one thread."""
    _check(indices, squared, weights, link)
    log_density = np.empty(indices.shape[0])
    if log_density.size:
        _densities(indices, squared, weights, dimension, log_density)
    return _connected(indices, log_density, link)


@parallel
def _densities(indices: Any, squared: Any, weights: Any, dimension: Any, log_density: Any) -> None:
    for i in prange(log_density.size):
        log_density[i] = _log_density(i, indices, squared, weights, dimension)


@helper
def _log_density(i: int, indices: np.ndarray, squared: np.ndarray, weights: np.ndarray, dimension: int) -> float:
    k = indices.shape[1]
    scale = max(squared[i, k - 1], TINY)
    total = 0.0
    for j in range(k):
        if indices[i, j] >= 0:
            total += weights[indices[i, j]] * (1.0 - squared[i, j] / scale)
    return _log(total) - dimension / 2.0 * _log(scale)


@helper
def _log(x: float) -> float:
    """Return log(x) of a positive normal number from arithmetic alone: libraries differ in the last digit, and order hangs on it."""
    m, e = math.frexp(x)
    if m < ROOT_HALF:
        m *= 2.0
        e -= 1
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = 0.0
    for n in range(21, 0, -2):
        series = series * z + 1.0 / n
    return e * LN2 + 2.0 * s * series


def _connected(indices: np.ndarray, log_density: np.ndarray, link: int) -> Edges:
    """Return the densities with the points in their order and the edges between ranks."""
    n = log_density.size
    descending = np.argsort(-log_density, kind="stable").astype(np.int32)
    rank = np.empty(n, np.int32)
    rank[descending] = np.arange(n, dtype=np.int32)
    start = np.zeros(n + 1, np.int32)
    denser = np.empty(_count(indices, rank, link, start), np.int32)
    m = _fill(indices, rank, link, start, denser)
    return log_density, descending, start, denser[:m].copy()


@serial
def _count(indices: np.ndarray, rank: np.ndarray, link: int, start: np.ndarray) -> int:
    """Have start[r] hold where the edges of rank r begin if none stands twice; return how many they are."""
    for i in range(rank.size):
        for k in range(link):
            j = indices[i, k]
            if j >= 0 and j != i:
                start[max(rank[i], rank[j])] += 1
    total = 0
    for r in range(start.size):
        total, start[r] = total + start[r], total
    return total


@serial
def _fill(indices: np.ndarray, rank: np.ndarray, link: int, start: np.ndarray, denser: np.ndarray) -> int:
    """Write each rank's denser ends, ascending and once each, and where they then start; return how many they are."""
    n = rank.size
    free = start.copy()
    for i in range(n):
        for k in range(link):
            j = indices[i, k]
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


def on_cuda(indices: np.ndarray, squared: np.ndarray, weights: np.ndarray, dimension: int, link: int) -> Edges:
    """Return densities, estimated on the GPU, and edges, which the host counts; see `reference`."""
    _check(indices, squared, weights, link)
    n = indices.shape[0]
    if n == 0:
        return _connected(indices, np.empty(0), link)
    sent = [upload(np.ascontiguousarray(array)) for array in (indices, squared, weights)]
    log_density = empty(n, np.float64)
    launch(_density_of_point, -(-n // THREADS), THREADS, *sent, np.int32(dimension), log_density)
    return _connected(indices, download(log_density).copy(), link)


def _density_of_point(indices, squared, weights, dimension, log_density):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i < log_density.size:
        log_density[i] = _log_density(i, indices, squared, weights, dimension)


def neighbours_of(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nearest neighbours of a few points for examples and tests: indices and squared distances, by (distance, index)."""
    squared = ((points[:, None] - points) ** 2).sum(axis=2)
    indices = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return indices.astype(np.int32), np.take_along_axis(squared, indices, axis=1)


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    made: list[tuple[Any, ...]] = []
    for n, d, k, link in ((200, 2, 12, 7), (300, 3, 20, 7), (90, 6, 5, 5), (7, 1, 7, 3), (1, 2, 1, 1)):
        made.append((*neighbours_of(rng.normal(size=(n, d)), k), rng.integers(1, 4, n).astype(float), d, link))
    lattice = np.stack(np.meshgrid(np.arange(12.0), np.arange(11.0)), axis=-1).reshape(-1, 2)
    made.append((*neighbours_of(lattice, 9), np.ones(len(lattice)), 2, 5))
    repeated = np.repeat(rng.normal(size=(5, 2)), 8, axis=0)
    made.append((*neighbours_of(repeated, 8), np.ones(40), 2, 6))
    made.append((np.zeros((0, 4), np.int32), np.zeros((0, 4)), np.zeros(0), 3, 2))
    return made


KERNEL = KernelSpec(
    name="edges",
    summary="Density of points from their nearest neighbours, and each point's edges to denser ones, the densest point first.",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(Launch(_density_of_point, "void(int32[:,::1], float64[:,::1], float64[::1], int32, float64[::1])", THREADS),),
    example=_example,
    rtol=1e-13,
    atol=1e-13,
    float64="densities decide the order in which points join; single precision ties them",
)
