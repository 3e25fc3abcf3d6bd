"""Clipped sky level and noise in the boxes of a mesh; how they are found without sorting stands in `_clipping`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._clipping import (
    ACCEPT,
    BINS,
    CLIPS,
    COUNTED,
    CROWDED,
    EDGES,
    RANGES,
    SAMPLE,
    add_bins,
    bin_of,
    farther,
    first_range,
    is_finite,
    judge,
    next_range,
    rank_in,
    refine,
    repeats,
    sampled,
)
from ._numba import cuda, download, empty, helper, launch, parallel, prange, read_only, upload
from .spec import KernelSpec, Launch

Pair = tuple[int, int]
Planes = tuple[np.ndarray, np.ndarray, np.ndarray]

STRETCH = 1024
"""Pixels of a row that the CPU twin copies at once."""
THREADS = 64
"""In a block: as many as there are pixels in a sample; each also adds up BINS / THREADS bins."""
MAX_BLOCKS = 65536


def reference(data: np.ndarray, good: np.ndarray, box: Pair, first: Pair, clip: float) -> Planes:
    """Return the clipped level and noise of every box of a mesh.

    The values of a box are clipped about their median until they settle, ten times at most. The level is the
    mode estimated as 2.5 median - 1.5 mean, or the median where mean and median differ by more than 0.3
    standard deviations; the noise is the standard deviation.

    Args:
        data: (y, x) float32.
        good: (y, x) bool, the pixels to use; what is not finite is not used either.
        box: height and width of a box in pixels.
        first: row and column, within its box, of the first pixel.
        clip: values farther from the median than so many standard deviations are cut.

    Returns:
        (level, noise, count): (box, box) float32, float32 and int32; count is the number of good pixels, and
        level and noise are NaN where there is none.

    References:
        Bertin & Arnouts (1996), A&AS 117, 393; Da Costa (1992), ASP Conf. Ser. 23, 90.
    """
    level, noise, count = _planes(data.shape, box, first)
    for j, i in np.ndindex(level.shape):
        window = _window(data.shape, box, first, j, i)
        values = data[window][good[window] & np.isfinite(data[window])].astype(np.float64)
        count[j, i] = values.size
        if not values.size:
            continue
        for _ in range(CLIPS):
            kept = values[np.abs(values - np.median(values)) <= clip * values.std()]
            if kept.size == values.size:
                break
            values = kept
        mean, median, noise[j, i] = values.mean(), np.median(values), values.std()
        level[j, i] = median if abs(mean - median) > CROWDED * values.std() else 2.5 * median - 1.5 * mean
    return level, noise, count


def _planes(shape: Pair, box: Pair, first: Pair) -> Planes:
    """Return level, noise and count of all boxes that an image touches, to be filled."""
    boxes = tuple(-(-(n + start) // side) for n, side, start in zip(shape, box, first, strict=True))
    return np.full(boxes, np.nan, np.float32), np.full(boxes, np.nan, np.float32), np.zeros(boxes, np.int32)


def _window(shape: Pair, box: Pair, first: Pair, j: int, i: int) -> tuple[slice, slice]:
    """Return the pixels of a box."""
    y, x = j * box[0] - first[0], i * box[1] - first[1]
    return slice(max(y, 0), min(y + box[0], shape[0])), slice(max(x, 0), min(x + box[1], shape[1]))


@helper
def _value(data: np.ndarray, good: np.ndarray, y: int, x: int) -> np.float32:
    """Return a pixel's value, NaN if it is not to be used or outside the image."""
    ny, nx = data.shape
    if 0 <= y < ny and 0 <= x < nx and good[y, x] and is_finite(data[y, x]):
        return data[y, x]
    return np.float32(np.nan)


def cpu(data: np.ndarray, good: np.ndarray, box: Pair, first: Pair, clip: float) -> Planes:
    """Return the clipped level and noise of every box of a mesh; see `reference`. Threaded over boxes."""
    level, noise, count = _planes(data.shape, box, first)
    _measure_boxes(*read_only(data, good), *box, *first, np.float32(clip), level, noise, count)
    return level, noise, count


@parallel
def _measure_boxes(
    data: np.ndarray, good: np.ndarray, height: int, width: int, y_first: int, x_first: int, clip: np.float32,
    level: np.ndarray, noise: np.ndarray, count: np.ndarray,
) -> None:  # fmt: skip
    rows, columns = level.shape
    # Boxes side by side are copied together, along the image's rows: reading them one after the other would wait for memory.
    together = max(STRETCH // width, 1)
    groups = (columns + together - 1) // together
    for task in prange(rows * groups):
        j, left = task // groups, (task % groups) * together
        right = min(left + together, columns)
        boxes = np.empty((right - left, height * width), np.float32)
        for y in range(height):
            for i in range(left, right):
                _copy_line(data, good, j * height - y_first + y, i * width - x_first, boxes[i - left, y * width : (y + 1) * width])
        for i in range(left, right):
            level[j, i], noise[j, i], count[j, i] = _measure(boxes[i - left], clip)


@helper
def _copy_line(data: np.ndarray, good: np.ndarray, y: int, x: int, line: np.ndarray) -> None:
    """Copy one row of a box out of an image, NaN where there is nothing to be used."""
    ny, nx = data.shape
    if 0 <= y < ny and x >= 0 and x + line.size <= nx:
        pixels, usable = data[y, x : x + line.size], good[y, x : x + line.size]
        for k in range(line.size):
            line[k] = pixels[k] if usable[k] & is_finite(pixels[k]) else np.float32(np.nan)
    else:
        for k in range(line.size):
            line[k] = _value(data, good, y, x + k)


@helper
def _measure(values: np.ndarray, clip: np.float32) -> tuple[np.float32, np.float32, int]:
    """Return level, noise and number of the usable values of a box."""
    sample, ordered = np.empty(SAMPLE, np.float32), np.empty(SAMPLE, np.float32)
    n = 0
    for t in range(SAMPLE):
        sample[t] = sampled(values, t)
        n += sample[t] < np.float32(np.inf)
    if n == 0:
        return np.float32(np.nan), np.float32(np.nan), 0
    for t in range(SAMPLE):
        ordered[rank_in(sample, t)] = sample[t]
    found = np.zeros(8, np.float32)
    state = np.zeros(4, np.int32)
    state[1], state[3] = 1, repeats(ordered, n)
    found[0], found[1] = ordered[n // 2], first_range(ordered, n, clip)
    if found[1] == np.float32(0):
        for value in values:
            found[1] = farther(value, found[0], found[1])
    histogram = np.empty(COUNTED, np.int32)
    before, s1, s2 = np.empty(EDGES, np.int32), np.empty(EDGES, np.int64), np.empty(EDGES, np.int64)
    before[0], s1[0], s2[0] = 0, 0, 0
    for attempt in range(RANGES + 1):
        low, scale = next_range(found, state)
        _count(values, low, scale, histogram)
        add_bins(histogram, before, s1, s2, 0, BINS)
        if state[1]:
            judge(histogram, before, s1, s2, clip, attempt, found, state)
        else:
            refine(histogram, before, found, state)
        if not (state[1] or state[3]):
            break
    return found[2], found[3], state[2]


@helper
def _count(values: np.ndarray, low: np.float32, scale: np.float32, histogram: np.ndarray) -> None:
    """Count values into a histogram; its last bin takes those that are NaN."""
    histogram[:] = 0
    bins = np.empty(SAMPLE, np.uint32)
    for start in range(0, values.size, SAMPLE):
        n = min(SAMPLE, values.size - start)
        part = values[start : start + n]
        for k in range(n):  # a loop of its own, for the compiler makes vector instructions of it
            bins[k] = np.uint32(bin_of(part[k], low, scale))
        for k in range(n):
            histogram[bins[k]] += 1


def cuda_twin(data: np.ndarray, good: np.ndarray, box: Pair, first: Pair, clip: float) -> Planes:
    """Return the clipped level and noise of every box of a mesh; see `reference`. A block a box."""
    level, noise, count = _planes(data.shape, box, first)
    if not level.size:
        return level, noise, count
    rows, columns = level.shape
    boxes = empty((level.size, box[0] * box[1]), np.float32)
    pixels = level.size * box[0] * box[1]
    launch(_copy_boxes, min(-(-pixels // THREADS), MAX_BLOCKS), THREADS, upload(data), upload(good), *box, *first, columns, boxes)
    out = empty(level.size, np.float32), empty(level.size, np.float32), empty(level.size, np.int32)
    launch(_measure_block, level.size, THREADS, boxes, np.float32(clip), *out)
    level, noise, count = (download(plane).reshape(rows, columns) for plane in out)
    return level, noise, count


def _copy_boxes(
    data: Any, good: Any, height: int, width: int, y_first: int, x_first: int, columns: int, boxes: Any,
) -> None:  # fmt: skip
    """Copy every box into a line of its own, NaN where there is nothing to be used; a thread a pixel."""
    area = height * width
    for at in range(cuda.grid(1), boxes.shape[0] * area, cuda.gridsize(1)):
        k, pixel = at // area, at % area
        y = (k // columns) * height - y_first + pixel // width
        x = (k % columns) * width - x_first + pixel % width
        boxes[k, pixel] = _value(data, good, y, x)


def _measure_block(boxes: Any, clip: Any, level: Any, noise: Any, count: Any) -> None:
    """Measure a box; the block's threads share in everything but the clipping."""
    values = boxes[cuda.blockIdx.x]
    t = cuda.threadIdx.x
    sample = cuda.shared.array(SAMPLE, np.float32)
    ordered = cuda.shared.array(SAMPLE, np.float32)
    histogram = cuda.shared.array(COUNTED, np.int32)
    before = cuda.shared.array(EDGES, np.int32)
    s1 = cuda.shared.array(EDGES, np.int64)
    s2 = cuda.shared.array(EDGES, np.int64)
    found = cuda.shared.array(8, np.float32)
    state = cuda.shared.array(4, np.int32)

    before[0], s1[0], s2[0] = 0, 0, 0
    sample[t] = sampled(values, t)
    n = cuda.syncthreads_count(np.int32(sample[t] < np.float32(np.inf)))
    if n == 0:
        if t == 0:
            level[cuda.blockIdx.x], noise[cuda.blockIdx.x] = np.float32(np.nan), np.float32(np.nan)
            count[cuda.blockIdx.x] = 0
        return
    ordered[rank_in(sample, t)] = sample[t]
    cuda.syncthreads()
    if t == 0:
        found[0], found[1] = ordered[n // 2], first_range(ordered, n, clip)
        state[0], state[1], state[3] = ACCEPT, 1, repeats(ordered, n)
    cuda.syncthreads()
    if found[1] == np.float32(0):
        farthest = np.float32(0)
        for k in range(t, values.size, THREADS):
            farthest = farther(values[k], found[0], farthest)
        sample[t] = farthest
        cuda.syncthreads()
        if t == 0:
            for k in range(THREADS):
                found[1] = max(found[1], sample[k])
        cuda.syncthreads()
    for attempt in range(RANGES + 1):
        low, scale = next_range(found, state)
        for k in range(t, COUNTED, THREADS):
            histogram[k] = 0
        cuda.syncthreads()
        for k in range(t, values.size, THREADS):
            cuda.atomic.add(histogram, bin_of(values[k], low, scale), 1)
        cuda.syncthreads()
        # Each thread adds up some bins, then what the threads before it have added up.
        start, stop = t * (BINS // THREADS), (t + 1) * (BINS // THREADS)
        add_bins(histogram, before, s1, s2, start, stop)
        cuda.syncthreads()
        n0, n1, n2 = np.int32(0), np.int64(0), np.int64(0)
        for end in range(BINS // THREADS, start + 1, BINS // THREADS):
            n0, n1, n2 = n0 + before[end], n1 + s1[end], n2 + s2[end]
        cuda.syncthreads()
        for k in range(start + 1, stop + 1):
            before[k] += n0
            s1[k] += n1
            s2[k] += n2
        cuda.syncthreads()
        if t == 0 and state[1]:
            judge(histogram, before, s1, s2, clip, attempt, found, state)
        elif t == 0:
            refine(histogram, before, found, state)
        cuda.syncthreads()
        if not (state[1] or state[3]):
            if t == 0:
                level[cuda.blockIdx.x], noise[cuda.blockIdx.x] = found[2], found[3]
                count[cuda.blockIdx.x] = state[2]
            return


def example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Return skies of noise 1 with stars, masked and missing pixels, skies without noise, nothing, and one row."""
    shape = (40, 56)
    sky = rng.normal(1000, 1, shape).astype(np.float32)
    good = np.ones(shape, bool)
    stars = sky + np.float32(300) * (rng.random(shape) < 0.04).astype(np.float32)
    stars[rng.random(shape) < 0.05] = np.nan
    masked = rng.random(shape) < 0.7
    masked[:20, :20] = False
    flat = np.full(shape, 12.5, np.float32)
    flat[7, 9] = 1e6
    counts = np.round(sky * np.float32(0.4))
    # Light of a galaxy in whole counts, of which the noise is so many that a bin of the histogram has one or none.
    galaxy = np.round(37 * rng.exponential(1, shape) + 25 * sky) / np.float32(37)
    nothing = np.zeros((0, 9), np.float32)
    return [
        (stars, good, (20, 28), (0, 0), 3.0),
        (sky, masked, (20, 20), (13, 7), 2.5),
        (flat, good, (20, 30), (0, 0), 3.0),
        (counts, good, (40, 56), (0, 0), 3.0),
        (galaxy.astype(np.float32), good, (40, 56), (0, 0), 3.0),
        (sky, ~good, (16, 64), (0, 0), 3.0),
        (sky[:1].copy(), good[:1].copy(), (1, 56), (0, 0), 3.0),
        (nothing, nothing.astype(bool), (4, 4), (0, 0), 3.0),
    ]


def large(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return a survey's image."""
    data = rng.normal(1000, 5, (4096, 4096)).astype(np.float32)
    return data, np.ones(data.shape, bool), (64, 64), (0, 0), 3.0


KERNEL = KernelSpec(
    name="mesh",
    summary="clipped sky level and noise in the boxes of a mesh",
    reference=reference,
    cpu=cpu,
    cuda=cuda_twin,
    launches=(
        Launch(_copy_boxes, "void(float32[:, ::1], boolean[:, ::1], int64, int64, int64, int64, int64, float32[:, ::1])", THREADS),
        Launch(_measure_block, "void(float32[:, ::1], float32, float32[::1], float32[::1], int32[::1])", THREADS),
    ),
    example=example,
    large=large,
    rtol=1e-6,
    atol=0.03,
)
