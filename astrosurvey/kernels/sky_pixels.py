"""The pixels that show sky: usable ones away from sources, for a second look at the sky."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _spline
from ._numba import cuda, download, empty, helper, launch, parallel, prange, read_only, upload
from .spec import KernelSpec, Launch

Pair = tuple[int, int]

MIN_PIXELS = 5
"""Connected pixels above the threshold that make a source; fewer are noise and stay in the sky."""
SMOOTHED = 0.375
"""Standard deviation of white noise of 1 behind the kernel (1, 2, 1) / 4 along both axes."""
THREADS = 128
ROWS = 128
"""Rows that a thread of the CPU twin takes at a time; it looks at some more on either side."""


def reference(
    data: np.ndarray, good: np.ndarray, level: np.ndarray, noise: np.ndarray, box: Pair, first: Pair, threshold: float, dilation: int
) -> np.ndarray:
    """Return the good pixels that are farther from every source than a distance.

    A source is at least five connected pixels, corners included, above a threshold in the image, which is
    smoothed with the kernel (1, 2, 1) / 4 along both axes.

    Args:
        data: (y, x) float32.
        good: (y, x) bool, the pixels to use.
        level: (box, box) float32, the sky's level on a mesh; a cubic spline through it is subtracted.
        noise: (box, box) float32, its noise; a spline through it, too, but nowhere lower than the lowest box.
        box: height and width of a box in pixels.
        first: row and column, within its box, of the first pixel.
        threshold: in units of the smoothed image's noise.
        dilation: pixels by which sources are grown on every side.

    Returns:
        (y, x) bool.
    """
    from scipy import ndimage

    sky, rms = _spline.reference(level, data.shape, box, first), _spline.reference(noise, data.shape, box, first)
    smooth = np.where(good, data - sky, 0).astype(np.float32)
    for axis in (0, 1):
        smooth = ndimage.correlate1d(smooth, [0.25, 0.5, 0.25], axis=axis, mode="constant")
    labels, n = ndimage.label(smooth > threshold * SMOOTHED * rms, structure=np.ones((3, 3)))
    source = np.bincount(labels.ravel(), minlength=n + 1) >= MIN_PIXELS
    source[0] = False
    grown: np.ndarray = ndimage.maximum_filter(source[labels], size=2 * dilation + 1, mode="constant")
    return good & ~grown


@helper
def _residual(value: np.float32, usable: bool, level: np.float32) -> np.float32:
    return value - level if usable else np.float32(0)


@helper
def _smooth(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    return (a + c) + (b + b)


@helper
def _bright_at(bright: np.ndarray, y: int, x: int) -> bool:
    return 0 <= y < bright.shape[0] and 0 <= x < bright.shape[1] and bright[y, x] != 0


@helper
def _in_source(bright: np.ndarray, y: int, x: int, ys: np.ndarray, xs: np.ndarray) -> bool:
    """Tell whether a bright pixel has MIN_PIXELS connected ones, itself counted; `ys` and `xs` are room to note them."""
    ys[0], xs[0] = y, x
    n, at = 1, 0
    while at < n:
        for k in range(9):
            v, u = ys[at] + k // 3 - 1, xs[at] + k % 3 - 1
            new = _bright_at(bright, v, u)
            for m in range(n):
                new = new and not (ys[m] == v and xs[m] == u)
            if new:
                ys[n], xs[n] = v, u
                n += 1
                if n == MIN_PIXELS:
                    return True
        at += 1
    return False


def cpu(
    data: np.ndarray, good: np.ndarray, level: np.ndarray, noise: np.ndarray, box: Pair, first: Pair, threshold: float, dilation: int
) -> np.ndarray:
    """Return the good pixels away from sources; see `reference`. Threaded over rows."""
    out = np.empty(data.shape, bool)
    _mark_sky(
        *read_only(data, good), *_spline.coefficients(level), *_spline.coefficients(noise),
        level.min(), level.max(), noise.min(), noise.max(), *box, *first, _cut(threshold), dilation, out,
    )  # fmt: skip
    return out


def _cut(threshold: float) -> np.float32:
    """Return the threshold for sums with weights that add up to 16, in units of a pixel's noise."""
    return np.float32(16 * SMOOTHED * threshold)


@parallel
def _mark_sky(
    data: np.ndarray, good: np.ndarray, level: np.ndarray, level_0: np.float32, noise: np.ndarray, noise_0: np.float32,
    level_low: np.float32, level_high: np.float32, noise_low: np.float32, noise_high: np.float32,
    height: int, width: int, y_first: int, x_first: int, cut: np.float32, dilation: int, out: np.ndarray,
) -> None:  # fmt: skip
    ny, nx = data.shape
    levels, noises = _spline.along_rows(level, width, x_first, nx), _spline.along_rows(noise, width, x_first, nx)
    for part in prange((ny + ROWS - 1) // ROWS):
        top, bottom = part * ROWS, min((part + 1) * ROWS, ny)
        # From so far sources reach in; and within so much more it shows whether they are some.
        near_top, near_bottom = max(top - dilation, 0), min(bottom + dilation, ny)
        start, stop = max(near_top - MIN_PIXELS + 1, 0), min(near_bottom + MIN_PIXELS - 1, ny)
        # Runs of bright pixels: their ends, the first of each row, which one each is joined to, and how many pixels hang together.
        ends, rows = np.empty((stop - start) * (nx + 1) + 1, np.int32), np.zeros(stop - start + 1, np.int64)
        joined, pixels = np.empty(ends.size // 2, np.int32), np.empty(ends.size // 2, np.int32)
        lines = np.zeros((3, nx), np.float32)
        sky, summed, bright = np.empty(nx, np.float32), np.zeros(nx + 2, np.float32), np.zeros(nx + 2, np.uint8)
        for y in range(start - 1, stop + 1):
            line = lines[(y + 1) % 3]
            if 0 <= y < ny:
                values, usable = data[y], good[y]
                _spline.line(levels, height, y + y_first, level_0, level_low, level_high, sky)
                for x in range(nx):
                    line[x] = _residual(values[x], usable[x], sky[x])
            else:
                line[:] = 0
            if y <= start:
                continue
            above, middle = lines[(y - 1) % 3], lines[y % 3]
            for x in range(nx):
                summed[x + 1] = _smooth(above[x], middle[x], line[x])
            _spline.line(noises, height, y - 1 + y_first, noise_0, noise_low, noise_high, sky)
            for x in range(nx):
                bright[x + 1] = _smooth(summed[x], summed[x + 1], summed[x + 2]) > cut * sky[x]
            row = y - 1 - start
            rows[row + 1] = _find_runs(bright, rows[row], ends)
            _join_runs(ends, rows[max(row - 1, 0)], rows[row], rows[row + 1], joined, pixels)
        near = np.zeros((near_bottom - near_top, nx), np.uint8)
        for row in range(near_top - start, near_bottom - start):
            for run in range(rows[row], rows[row + 1]):
                if pixels[_first(joined, run)] >= MIN_PIXELS:
                    near[row + start - near_top, max(ends[2 * run] - dilation, 0) : min(ends[2 * run + 1] + dilation, nx)] = 1
        covered = np.empty(nx, np.uint8)
        for y in range(top, bottom):
            covered[:] = 0
            for v in range(max(y - dilation, 0), min(y + dilation + 1, ny)):
                here = near[v - near_top]
                for x in range(nx):
                    covered[x] |= here[x]
            usable, result = good[y], out[y]
            for x in range(nx):
                result[x] = usable[x] & (covered[x] == 0)


@helper
def _find_runs(bright: np.ndarray, run: int, ends: np.ndarray) -> int:
    """Note where runs of bright pixels begin and end, from the run of that number on; return the number of the next one.

    `bright` has one pixel more at either end, which is none.
    """
    n = 2 * run
    for x in range(bright.size - 1):
        ends[n] = x
        n += bright[x] != bright[x + 1]
    return n // 2


@helper
def _first(joined: np.ndarray, run: int) -> int:
    """Return the first of the runs that hang together with one."""
    while joined[run] != run:
        joined[run] = joined[joined[run]]
        run = joined[run]
    return run


@helper
def _join_runs(ends: np.ndarray, before: int, begin: int, end: int, joined: np.ndarray, pixels: np.ndarray) -> None:
    """Join a row's runs, from `begin` to `end`, to those of the row before, from `before` on, that they touch, corners included."""
    other = before
    for run in range(begin, end):
        first, last = ends[2 * run], ends[2 * run + 1]
        joined[run], pixels[run] = run, last - first
        while other < begin and ends[2 * other + 1] < first:
            other += 1
        touching = other
        while touching < begin and ends[2 * touching] <= last:
            a, b = _first(joined, touching), _first(joined, run)
            if a != b:
                joined[max(a, b)] = min(a, b)
                pixels[min(a, b)] += pixels[max(a, b)]
            touching += 1


def cuda_twin(
    data: np.ndarray, good: np.ndarray, level: np.ndarray, noise: np.ndarray, box: Pair, first: Pair, threshold: float, dilation: int
) -> np.ndarray:
    """Return the good pixels away from sources; see `reference`. A thread a pixel."""
    if not data.size:
        return np.zeros(data.shape, bool)
    ny, nx = data.shape
    blocks, threads = (-(-nx // THREADS), min(ny, 65535)), (THREADS, 1)
    usable = upload(good)
    (sky, sky_0), (rms, rms_0) = _spline.coefficients(level), _spline.coefficients(noise)
    residual, bright, source, out = (empty(data.shape, kind) for kind in (np.float32, np.uint8, np.uint8, np.bool_))
    launch(_subtract, blocks, threads, upload(data), usable, upload(sky), sky_0, level.min(), level.max(), *box, *first, residual)
    launch(_find_bright, blocks, threads, residual, upload(rms), rms_0, noise.min(), noise.max(), *box, *first, _cut(threshold), bright)
    launch(_find_sources, blocks, threads, bright, dilation, source)
    launch(_find_sky, blocks, threads, source, usable, dilation, out)
    return download(out)


def _subtract(
    data: Any, good: Any, level: Any, level_0: Any, low: Any, high: Any, height: int, width: int, y_first: int, x_first: int, residual: Any
) -> None:
    x = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if x < data.shape[1]:
        for y in range(cuda.blockIdx.y, data.shape[0], cuda.gridDim.y):
            sky = _spline.within(_spline.at_pixel(level, height, width, y + y_first, x + x_first) + level_0, low, high)
            residual[y, x] = _residual(data[y, x], good[y, x], sky)


@helper
def _column(residual: np.ndarray, y: int, x: int) -> np.float32:
    """Return a smoothed pixel of a column; there is nothing beyond the image."""
    ny, nx = residual.shape
    if x < 0 or x >= nx:
        return np.float32(0)
    above = residual[y - 1, x] if y > 0 else np.float32(0)
    below = residual[y + 1, x] if y < ny - 1 else np.float32(0)
    return _smooth(above, residual[y, x], below)


def _find_bright(
    residual: Any, noise: Any, noise_0: Any, low: Any, high: Any, height: int, width: int, y_first: int, x_first: int, cut: Any, bright: Any
) -> None:
    x = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if x < residual.shape[1]:
        for y in range(cuda.blockIdx.y, residual.shape[0], cuda.gridDim.y):
            rms = _spline.within(_spline.at_pixel(noise, height, width, y + y_first, x + x_first) + noise_0, low, high)
            smooth = _smooth(_column(residual, y, x - 1), _column(residual, y, x), _column(residual, y, x + 1))
            bright[y, x] = 1 if smooth > cut * rms else 0


def _find_sources(bright: Any, dilation: int, wide: Any) -> None:
    ys = cuda.local.array(MIN_PIXELS, np.int64)
    xs = cuda.local.array(MIN_PIXELS, np.int64)
    x = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if x < bright.shape[1]:
        for y in range(cuda.blockIdx.y, bright.shape[0], cuda.gridDim.y):
            found = False
            for u in range(max(x - dilation, 0), min(x + dilation + 1, bright.shape[1])):
                found = found or (bright[y, u] != 0 and _in_source(bright, y, u, ys, xs))
            wide[y, x] = 1 if found else 0


def _find_sky(wide: Any, good: Any, dilation: int, out: Any) -> None:
    x = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if x < wide.shape[1]:
        for y in range(cuda.blockIdx.y, wide.shape[0], cuda.gridDim.y):
            near = False
            for v in range(max(y - dilation, 0), min(y + dilation + 1, wide.shape[0])):
                near = near or wide[v, x] != 0
            out[y, x] = good[y, x] and not near


def example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Return a sky with stars, missing and masked pixels, one without noise, nothing good, one row, and no pixels."""
    shape = (40, 48)
    sky = rng.normal(100, 2, shape).astype(np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for _ in range(6):
        v, u = rng.uniform(0, 40), rng.uniform(0, 48)
        sky += np.float32(60) * np.exp(-((y - v) ** 2 + (x - u) ** 2) / 3).astype(np.float32)
    good = rng.random(shape) < 0.97
    sky[~good] = np.nan
    level, noise = rng.normal(100, 0.3, (3, 4)).astype(np.float32), rng.uniform(1.9, 2.1, (3, 4)).astype(np.float32)
    whole, flat = np.ones(shape, bool), np.full(shape, 100, np.float32)
    one, zero = np.full((1, 1), 100, np.float32), np.zeros((1, 1), np.float32)
    row = np.where(np.isfinite(sky[5:6]), sky[5:6], 0).astype(np.float32)
    return [
        (sky, good, level, noise, (16, 14), (3, 0), 2.0, 4),
        (sky, good, level, noise, (16, 14), (3, 0), 1.5, 0),
        (flat, whole, one, zero, shape, (0, 0), 2.0, 2),
        (sky, np.zeros(shape, bool), one, one, shape, (0, 0), 2.0, 4),
        (row, whole[:1].copy(), level[:1].copy(), noise[:1].copy(), (1, 12), (0, 0), 1.5, 3),
        (row[:0].copy(), whole[:0].copy(), one, one, (4, 48), (0, 0), 2.0, 4),
    ]


def large(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return a survey's image."""
    data = rng.normal(1000, 5, (4096, 4096)).astype(np.float32)
    data[rng.random(data.shape) < 0.01] += 50
    level, noise = np.full((64, 64), 1000, np.float32), np.full((64, 64), 5, np.float32)
    return data, np.ones(data.shape, bool), level, noise, (64, 64), (0, 0), 2.0, 4


_SPLINE = "float32[:, ::1], float32, float32, float32, int64, int64, int64, int64"

KERNEL = KernelSpec(
    name="sky_pixels",
    summary="the usable pixels away from sources",
    reference=reference,
    cpu=cpu,
    cuda=cuda_twin,
    launches=(
        Launch(_subtract, f"void(float32[:, ::1], boolean[:, ::1], {_SPLINE}, float32[:, ::1])", THREADS),
        Launch(_find_bright, f"void(float32[:, ::1], {_SPLINE}, float32, uint8[:, ::1])", THREADS),
        Launch(_find_sources, "void(uint8[:, ::1], int64, uint8[:, ::1])", THREADS),
        Launch(_find_sky, "void(uint8[:, ::1], boolean[:, ::1], int64, boolean[:, ::1])", THREADS),
    ),
    example=example,
    large=large,
    rtol=0,
)
