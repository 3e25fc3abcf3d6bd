"""Images less their sky, and the sky's level and variance at every pixel: cubic splines through the middles of a mesh's boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _spline
from ._numba import cuda, download, empty, launch, parallel, prange, read_only, upload
from .spec import KernelSpec, Launch

Pair = tuple[int, int]
Planes = tuple[np.ndarray, np.ndarray, np.ndarray]

THREADS = 128
ROWS = 32
"""Rows that a thread of the CPU twin takes at a time."""


def reference(data: np.ndarray, level: np.ndarray, noise: np.ndarray, box: Pair, first: Pair) -> Planes:
    """Return images less their sky, and that sky.

    A spline overshoots beside a jump: level and noise are kept within the extremes of their mesh.

    Args:
        data: (band, y, x) float32.
        level: (band, box + 2, box + 2) float32, finite: the sky's level in every box, and in one more on every side.
        noise: (band, box, box) float32, finite: its standard deviation.
        box: height and width of a box in pixels.
        first: row and column, within its box, of the first pixel.

    Returns:
        data less level, level, and noise squared: (band, y, x) float32 each.
    """
    around = (first[0] + box[0], first[1] + box[1])
    sky, variance = np.empty(data.shape, np.float32), np.empty(data.shape, np.float32)
    for b in range(len(data)):
        sky[b] = _spline.reference(level[b], data.shape[1:], box, around)
        variance[b] = _spline.reference(noise[b], data.shape[1:], box, first) ** 2
    return data - sky, sky, variance


def cpu(data: np.ndarray, level: np.ndarray, noise: np.ndarray, box: Pair, first: Pair) -> Planes:
    """Return images less their sky, and that sky; see `reference`. Threaded over rows."""
    out = tuple(np.empty(data.shape, np.float32) for _ in range(3))
    for b in range(len(data)):
        _subtract_rows(*read_only(data[b]), *_limited(level[b]), *_limited(noise[b]), *box, *first, *(plane[b] for plane in out))
    return out[0], out[1], out[2]


def _limited(mesh: np.ndarray) -> tuple[np.ndarray, np.float32, np.float32, np.float32]:
    """Return a mesh's coefficients, what they are counted from, and the limits of its values."""
    return *_spline.coefficients(mesh), mesh.min(), mesh.max()


@parallel
def _subtract_rows(
    data: np.ndarray, level: np.ndarray, level_0: np.float32, level_low: np.float32, level_high: np.float32,
    noise: np.ndarray, noise_0: np.float32, noise_low: np.float32, noise_high: np.float32,
    height: int, width: int, y_first: int, x_first: int, residual: np.ndarray, sky: np.ndarray, variance: np.ndarray,
) -> None:  # fmt: skip
    ny, nx = data.shape
    levels, noises = _spline.along_rows(level, width, x_first + width, nx), _spline.along_rows(noise, width, x_first, nx)
    for part in prange((ny + ROWS - 1) // ROWS):
        for y in range(part * ROWS, min((part + 1) * ROWS, ny)):
            pixels, less, here, squared = data[y], residual[y], sky[y], variance[y]
            _spline.line(levels, height, y + y_first + height, level_0, level_low, level_high, here)
            _spline.line(noises, height, y + y_first, noise_0, noise_low, noise_high, squared)
            for x in range(nx):
                less[x] = pixels[x] - here[x]
                squared[x] *= squared[x]


def cuda_twin(data: np.ndarray, level: np.ndarray, noise: np.ndarray, box: Pair, first: Pair) -> Planes:
    """Return images less their sky, and that sky; see `reference`. A thread a pixel."""
    out = tuple(np.empty(data.shape, np.float32) for _ in range(3))
    if data.size:
        ny, nx = data.shape[1:]
        blocks = (-(-nx // THREADS), min(ny, 65535))
        for b in range(len(data)):
            planes = [empty((ny, nx), np.float32) for _ in out]
            (level_b, *level_limits), (noise_b, *noise_limits) = _limited(level[b]), _limited(noise[b])
            launch(
                _subtract_pixels, blocks, (THREADS, 1),
                upload(data[b]), upload(level_b), *level_limits, upload(noise_b), *noise_limits, *box, *first, *planes,
            )  # fmt: skip
            for whole, plane in zip(out, planes, strict=True):
                whole[b] = download(plane)
    return out[0], out[1], out[2]


def _subtract_pixels(
    data: Any, level: Any, level_0: Any, level_low: Any, level_high: Any, noise: Any, noise_0: Any, noise_low: Any, noise_high: Any,
    height: int, width: int, y_first: int, x_first: int, residual: Any, sky: Any, variance: Any,
) -> None:  # fmt: skip
    x = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if x < data.shape[1]:
        for y in range(cuda.blockIdx.y, data.shape[0], cuda.gridDim.y):
            here = _spline.at_pixel(level, height, width, y + y_first + height, x + x_first + width) + level_0
            here = _spline.within(here, level_low, level_high)
            rms = _spline.within(_spline.at_pixel(noise, height, width, y + y_first, x + x_first) + noise_0, noise_low, noise_high)
            residual[y, x], sky[y, x], variance[y, x] = data[y, x] - here, here, rms * rms


def example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Return two bands with missing pixels, a sky that overshoots and is cut, a single box, one row of pixels, and none."""
    data = rng.normal(1000, 3, (2, 40, 50)).astype(np.float32)
    data[0, 5:9, 20:] = np.nan
    level, noise = rng.normal(1000, 3, (2, 5, 6)).astype(np.float32), rng.uniform(2, 4, (2, 3, 4)).astype(np.float32)
    step = np.zeros((1, 7, 7), np.float32)
    step[:, :, 4:] = 50
    one = np.full((1, 3, 3), -7, np.float32)
    return [
        (data, level, noise, (16, 15), (0, 0)),
        (data[:1, :22, :41].copy(), level[:1], noise[:1], (8, 11), (1, 3)),
        (data[1:, :24, :24].copy(), step, step[:, 1:-1, 1:-1] / np.float32(9), (5, 5), (0, 0)),
        (data[1:, :9, :11].copy(), one, -one[:, 1:2, 1:2], (9, 11), (0, 0)),
        (data[1:, :1].copy(), level[1:, :3], noise[1:, :1], (1, 13), (0, 2)),
        (data[1:, :0].copy(), one, one[:, 1:2, 1:2], (4, 11), (0, 0)),
    ]


def large(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return a survey's image."""
    level, noise = rng.normal(1000, 3, (1, 66, 66)).astype(np.float32), rng.uniform(4, 5, (1, 64, 64)).astype(np.float32)
    return rng.normal(1000, 5, (1, 4096, 4096)).astype(np.float32), level, noise, (64, 64), (0, 0)


_SPLINE = "float32[:, ::1], float32, float32, float32"

KERNEL = KernelSpec(
    name="subtract",
    summary="images less their sky, with its level and variance at every pixel, by cubic splines through a mesh",
    reference=reference,
    cpu=cpu,
    cuda=cuda_twin,
    launches=(
        Launch(
            _subtract_pixels,
            f"void(float32[:, ::1], {_SPLINE}, {_SPLINE}, int64, int64, int64, int64, float32[:, ::1], float32[:, ::1], float32[:, ::1])",
            THREADS,
        ),
    ),
    example=example,
    large=large,
    rtol=1e-6,
    atol=3e-4,
)
