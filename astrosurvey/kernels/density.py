"""Density of points from their nearest neighbours: an adaptive kernel estimate whose scale is the distance to the k-th of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._numba import cuda, download, empty, helper, launch, parallel, prange, upload
from .spec import KernelSpec, Launch

THREADS = 128
TINY = 2.2250738585072014e-308
"""The smallest normal number: in place of squared distances that underflow."""
LN2 = 0.6931471805599453
ROOT_HALF = 0.7071067811865476


def reference(indices: np.ndarray, squared: np.ndarray, weights: np.ndarray, dimension: int) -> np.ndarray:
    """Return the density of points: with the distance h to the k-th neighbour and weights w, up to a constant,
    log rho = log(sum_j w_j (1 - r_j^2 / h^2)) - d log h.

    Args:
        indices: (point, k) int32, nearest neighbours, the point itself included; below 0 for none.
        squared: (point, k) float64, their squared distances, ascending.
        weights: (n,) float64, positive; how many points, or how much mass, each point that is a neighbour stands for.
        dimension: d, of the space that the points fill.

    Returns:
        (point,) float64, log rho.

    Raises:
        ValueError: the shapes differ.

    References:
        Oliver, Elahi & Lewis (2024), arXiv:2312.14632; Epanechnikov (1969), Theory Probab. Appl. 14, 153.
    """
    _check(indices, squared, weights)
    n, k = indices.shape
    scale = np.maximum(squared[:, -1], TINY) if n else np.zeros(0)
    total = np.zeros(n)
    for j in range(k):
        held = np.where(indices[:, j] >= 0, weights[indices[:, j]], 0) if n else total
        total = total + held * (1 - squared[:, j] / scale)
    return np.asarray(np.log(total) - dimension / 2 * np.log(scale))


def _check(indices: np.ndarray, squared: np.ndarray, weights: np.ndarray) -> None:
    if indices.shape != squared.shape or indices.ndim != 2 or weights.ndim != 1:
        raise ValueError(f"indices {indices.shape} and squared {squared.shape} must be of the same points, and weights a column")


def cpu(indices: np.ndarray, squared: np.ndarray, weights: np.ndarray, dimension: int) -> np.ndarray:
    """Return densities; see `reference`. Threaded over points."""
    _check(indices, squared, weights)
    log_density = np.empty(indices.shape[0])
    if log_density.size:
        _densities(indices, squared, weights, dimension, log_density)
    return log_density


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


def on_cuda(indices: np.ndarray, squared: np.ndarray, weights: np.ndarray, dimension: int) -> np.ndarray:
    """Return densities, a thread for each point; see `reference`."""
    _check(indices, squared, weights)
    n = indices.shape[0]
    sent = [upload(np.ascontiguousarray(array)) for array in (indices, squared, weights)]
    log_density = empty(n, np.float64)
    launch(_density_of_point, -(-n // THREADS), THREADS, *sent, np.int32(dimension), log_density)
    return download(log_density).copy()


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
    for n, d, k in ((200, 2, 12), (300, 3, 20), (90, 6, 5), (7, 1, 7), (1, 2, 1)):
        made.append((*neighbours_of(rng.normal(size=(n, d)), k), rng.integers(1, 4, n).astype(float), d))
    indices, squared, weights, d = made[0]
    made.append((indices[20:90], squared[20:90], weights, d))  # some of the points
    lattice = np.stack(np.meshgrid(np.arange(12.0), np.arange(11.0)), axis=-1).reshape(-1, 2)
    made.append((*neighbours_of(lattice, 9), np.ones(len(lattice)), 2))
    made.append((*neighbours_of(np.repeat(rng.normal(size=(5, 2)), 8, axis=0), 8), np.ones(40), 2))
    made.append((np.zeros((0, 4), np.int32), np.zeros((0, 4)), np.zeros(0), 3))
    return made


KERNEL = KernelSpec(
    name="density",
    summary="density of points from their nearest neighbours",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(Launch(_density_of_point, "void(int32[:,::1], float64[:,::1], float64[::1], int32, float64[::1])", THREADS),),
    example=_example,
    rtol=1e-13,
    atol=1e-13,
    float64="densities decide the order in which points join; single precision ties them",
)
