"""A mesh's values at every pixel: a cubic spline through the middles of its boxes, kept within limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _spline
from ._numba import cuda, download, empty, launch, parallel, prange, upload
from .spec import KernelSpec, Launch

Pair = tuple[int, int]

THREADS = 128
ROWS = 32
"""Rows that a thread of the CPU twin takes at a time."""


def reference(mesh: np.ndarray, shape: Pair, box: Pair, first: Pair, low: float, high: float) -> np.ndarray:
    """Return a mesh at full size.

    Args:
        mesh: (box, box) float32, finite.
        shape: height and width of the result in pixels.
        box: height and width of a box in pixels.
        first: row and column, within its box, of the first pixel.
        low: a spline overshoots beside a jump; less than this becomes this.
        high: the same for more.

    Returns:
        (y, x) float32.
    """
    from scipy import ndimage

    # scipy's mode "reflect" evaluates a spline wrongly beside the edges, so the mesh is mirrored by hand.
    far = 16
    places = [(np.arange(n) + start + 0.5) / side - 0.5 + far for n, start, side in zip(shape, first, box, strict=True)]
    mirrored = np.pad(mesh.astype(np.float64), far, mode="symmetric")
    fine = ndimage.map_coordinates(mirrored, np.meshgrid(*places, indexing="ij"), order=3)
    return np.clip(fine, low, high).astype(np.float32)


def cpu(mesh: np.ndarray, shape: Pair, box: Pair, first: Pair, low: float, high: float) -> np.ndarray:
    """Return a mesh at full size; see `reference`. Threaded over rows."""
    spline, pedestal = _spline.coefficients(mesh)
    out = np.empty(shape, np.float32)
    _spread_rows(spline, *box, *first, pedestal, np.float32(low), np.float32(high), out)
    return out


@parallel
def _spread_rows(
    spline: np.ndarray, height: int, width: int, y_first: int, x_first: int,
    pedestal: np.float32, low: np.float32, high: np.float32, out: np.ndarray,
) -> None:  # fmt: skip
    across = _spline.weights(width)
    for part in prange((out.shape[0] + ROWS - 1) // ROWS):
        for y in range(part * ROWS, min((part + 1) * ROWS, out.shape[0])):
            _spline.line(spline, height, across, y + y_first, x_first, pedestal, low, high, out[y])


def cuda_twin(mesh: np.ndarray, shape: Pair, box: Pair, first: Pair, low: float, high: float) -> np.ndarray:
    """Return a mesh at full size; see `reference`. A thread a pixel."""
    spline, pedestal = _spline.coefficients(mesh)
    out = empty(shape, np.float32)
    if shape[0] and shape[1]:
        blocks = (-(-shape[1] // THREADS), min(shape[0], 65535))
        launch(_spread_pixels, blocks, (THREADS, 1), upload(spline), *box, *first, pedestal, np.float32(low), np.float32(high), out)
    return download(out)


def _spread_pixels(spline: Any, height: int, width: int, y_first: int, x_first: int, pedestal: Any, low: Any, high: Any, out: Any) -> None:
    x = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if x < out.shape[1]:
        for y in range(cuda.blockIdx.y, out.shape[0], cuda.gridDim.y):
            out[y, x] = _spline.within(_spline.at_pixel(spline, height, width, y + y_first, x + x_first) + pedestal, low, high)


def example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Return skies, one that overshoots and is cut, a single box, one row of pixels, and none."""
    sky = rng.normal(1000, 3, (3, 4)).astype(np.float32)
    step = np.zeros((5, 5), np.float32)
    step[:, 3:] = 50
    one = np.full((1, 1), -7, np.float32)
    return [
        (sky, (40, 50), (16, 15), (0, 0), -np.inf, np.inf),
        (sky, (22, 41), (8, 11), (1, 3), 995.0, 1003.0),
        (step, (24, 24), (5, 5), (0, 0), 0.0, 50.0),
        (one, (9, 11), (9, 11), (0, 0), -np.inf, np.inf),
        (sky[:1].copy(), (1, 50), (1, 13), (0, 2), -np.inf, np.inf),
        (one, (0, 11), (4, 11), (0, 0), -np.inf, np.inf),
    ]


def large(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return the mesh of a survey's image."""
    return rng.normal(1000, 3, (64, 64)).astype(np.float32), (4096, 4096), (64, 64), (0, 0), -np.inf, np.inf


KERNEL = KernelSpec(
    name="spread",
    summary="a mesh's values at every pixel, by a cubic spline",
    reference=reference,
    cpu=cpu,
    cuda=cuda_twin,
    launches=(
        Launch(
            _spread_pixels,
            "void(float32[:, ::1], int64, int64, int64, int64, float32, float32, float32, float32[:, ::1])",
            THREADS,
        ),
    ),
    example=example,
    large=large,
    rtol=1e-6,
    atol=1e-5,
)
