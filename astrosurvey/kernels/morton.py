"""The canonical order of points: along a Morton curve, so that what is near in space is near in memory.

Whatever is calculated from points in this order depends on their positions, not on the order of the rows that they came in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._numba import argsort, cuda, download, empty, helper, launch, parallel, prange, upload
from .spec import KernelSpec, Launch

THREADS = 128
MAX_BITS = 31
"""Bits a column at most, however few columns there are."""


def reference(points: np.ndarray) -> np.ndarray:
    """Return the order of points along a Morton curve.

    Each column's range is divided into 2**b cells, b = min(63 // d, 31); a point's code interleaves the bits of its cells, the first
    column's in front. Points of one code follow the order of their coordinates, the first column's first, and equal points that of
    their rows. So the points in this order are the same for any order of the rows.

    Args:
        points: (n, d) float64, finite, d from 1 to 63.

    Returns:
        (n,) int64, rows in this order.

    References:
        Morton (1966), A Computer Oriented Geodetic Data Base, IBM Ltd.
    """
    low, width, bits = _cells(points)
    codes = np.zeros(len(points), np.int64)
    for b in range(bits - 1, -1, -1):
        for x, lowest, range_ in zip(points.T, low, width, strict=True):
            part = (x * 0.5 - lowest) / (range_ or 1.0)
            cell = np.minimum((part * 2.0**bits).astype(np.int64), 2**bits - 1)
            codes = 2 * codes + ((cell >> b) & 1)
    return np.lexsort([*points.T[::-1], codes]) if len(points) else codes


def _cells(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return half the lowest coordinate and half the range of each column, which no float64 can overflow, and the bits a column."""
    n, d = points.shape
    if not 1 <= d <= 63:
        raise ValueError(f"points have 1 to 63 columns, not {d}")
    low = points.min(axis=0) * 0.5 if n else np.zeros(d)
    high = points.max(axis=0) * 0.5 if n else np.zeros(d)
    if not np.isfinite(high - low).all():
        raise ValueError("points must be finite: leave out rows with missing values")
    return low, high - low, min(63 // d, MAX_BITS)


@helper
def _code(points: Any, i: Any, low: Any, width: Any, bits: Any) -> Any:
    code = np.int64(0)
    d = points.shape[1]
    cells = np.float64(np.int64(1) << bits)
    for j in range(d):
        if width[j] > 0:
            part = (points[i, j] * 0.5 - low[j]) / width[j]
            cell = min(np.int64(part * cells), (np.int64(1) << bits) - 1)
            for b in range(bits):
                code |= ((cell >> b) & 1) << (b * d + d - 1 - j)
    return code


def order(points: np.ndarray) -> np.ndarray:
    """Return the order of points along a Morton curve, on the CPU; see `reference`."""
    low, width, bits = _cells(points)
    codes = np.empty(len(points), np.int64)
    _codes(points, low, width, bits, codes)
    return _untied(points, codes, np.argsort(codes))


@parallel
def _codes(points: Any, low: Any, width: Any, bits: Any, codes: Any) -> None:
    for i in prange(codes.size):
        codes[i] = _code(points, i, low, width, bits)


def _untied(points: np.ndarray, codes: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Sort those that share their code by coordinates and row; they are few, but where a column has far outliers."""
    same = codes[found[1:]] == codes[found[:-1]]
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows = found[tied]
        found[tied] = rows[np.lexsort([rows, *points[rows].T[::-1], codes[rows]])]
    return found


def order_on_cuda(points: np.ndarray) -> np.ndarray:
    """Return the order of points along a Morton curve; codes and their sorting on the GPU, ties on the host. See `reference`."""
    low, width, bits = _cells(points)
    codes = empty(len(points), np.int64)
    launch(_code_points, -(-len(points) // THREADS), THREADS, upload(points), upload(low), upload(width), np.int32(bits), codes)
    return _untied(points, download(codes), download(argsort(codes)))


def _code_points(points, low, width, bits, codes):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i < codes.size:
        codes[i] = _code(points, i, low, width, bits)


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    cloud = rng.normal(size=(300, 3))
    lattice = rng.integers(0, 4, (200, 2)).astype(float)
    flat = cloud[:, :2] * [1, 0]
    far = np.append(cloud, [[1e300, -1e300, 0], [1.7e308, -1.7e308, 1e-300]], axis=0)
    points = [cloud, lattice, flat, far, rng.normal(size=(50, 20)), rng.normal(size=(40, 1)), cloud[:1], cloud[:0], np.ones((60, 3))]
    return [(array,) for array in points]


KERNEL = KernelSpec(
    name="morton",
    summary="canonical order of points: along a Morton curve, whatever the order of the rows",
    reference=reference,
    cpu=order,
    cuda=order_on_cuda,
    launches=(Launch(_code_points, "void(float64[:, ::1], float64[::1], float64[::1], int32, int64[::1])", THREADS),),
    example=_example,
    large=lambda rng: (rng.normal(size=(1_000_000, 3)),),
    rtol=0.0,
    float64="coordinates of points have digits that single precision does not have",
)
