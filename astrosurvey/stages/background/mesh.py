"""Sky level and noise on a mesh: clipped statistics in boxes, median-filtered, interpolated back to pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from ...kernels import mesh, sky_pixels, subtract

Pair = tuple[int, int]
Planes = tuple[np.ndarray, np.ndarray]

SLOPED = 4
"""Boxes along an axis from which the sky's slope is told."""
NEIGHBOURS = 10
"""Boxes that a box with too few good pixels takes its values from."""


@dataclass(frozen=True)
class Sky:
    """The sky of one band, box by box.

    Attributes:
        level: (box, box) float32, finite.
        rms: (box, box) float32, finite, of single pixels.
        box: height and width of a box in pixels.
        first: row and column, within its box, of the image's first pixel.
    """

    level: np.ndarray
    rms: np.ndarray
    box: Pair
    first: Pair


def measure(
    data: np.ndarray,
    good: np.ndarray,
    *,
    box: int,
    filter_size: int,
    clip: float,
    min_good: float,
    mask_sources: bool,
    threshold: float,
    dilation: int,
    origin: Pair = (0, 0),
    device: Literal["cpu", "cuda"] = "cpu",
) -> Sky | None:
    """Return the sky of one band, or None if no pixel is good.

    In each box the values are clipped about the median until they settle; the level is the mode
    estimated as 2.5 median - 1.5 mean, or the median where the box is crowded. Boxes with too few good
    pixels take their values from the neighbouring boxes. A second pass leaves out the sources found over
    the first sky; where they leave no box with enough good pixels, the first pass stands.

    Args:
        data: (y, x) float32 flux per pixel; its values where `good` is False do not matter.
        good: (y, x) bool, the pixels to use.
        box: side of a mesh box in pixels; an image smaller than a box is one box.
        filter_size: odd side, in boxes, of the median filter over the mesh; 1 filters nothing.
        clip: where the values are clipped, in standard deviations.
        min_good: the fraction of good pixels a box needs, if any box has that many.
        mask_sources: whether to make the second pass.
        threshold: from where pixels are masked then, in units of the rms of the lightly smoothed image.
        dilation: by how many pixels each masked source is grown on every side.
        origin: (y, x) of the first pixel in the larger image that a tile is cut from: the boxes lie where
            they would in that image, so overlapping tiles measure the same sky.
        device: where the kernels run; the result is the same.

    References:
        Bertin & Arnouts (1996), A&AS 117, 393; Da Costa (1992), ASP Conf. Ser. 23, 90.
    """
    height, width = data.shape
    sides = (min(box, height), min(box, width))
    first = (origin[0] % box, origin[1] % box) if min(data.shape) > box else (0, 0)
    clipped = mesh.KERNEL.on(device)
    level, rms, count = clipped(data, good, sides, first, clip)
    if not count.any():
        return None
    enough = count >= min_good * sides[0] * sides[1]
    if not enough.any():
        enough = count > 0
    level, rms = _complete(level, rms, enough, filter_size, clip)
    if mask_sources:
        clean = sky_pixels.KERNEL.on(device)(data, good, level, rms, sides, first, threshold, dilation)
        again, rms_again, count = clipped(data, clean, sides, first, clip)
        enough = count >= min_good * sides[0] * sides[1]
        if enough.any():
            level, rms = _complete(again, rms_again, enough, filter_size, clip)
    return Sky(level, rms, sides, first)


def subtracted(
    data: np.ndarray, skies: Sequence[Sky | None], device: Literal["cpu", "cuda"] = "cpu"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an image less its sky, and that sky at every pixel.

    Args:
        data: (band, y, x) float32.
        skies: of each band; None where nothing is known of it.
        device: where to calculate.

    Returns:
        (residual, level, variance): (band, y, x) float32 each; NaN, NaN and inf in bands of which no sky is known.
    """
    some = next((sky for sky in skies if sky is not None), None)
    if some is None:
        nothing = np.full(data.shape, np.nan, np.float32)
        return nothing, nothing.copy(), np.full(data.shape, np.inf, np.float32)
    # Without what a gradient is like beyond the edge, a spline would lag behind it there.
    levels = np.stack([continued((sky or some).level, 1) for sky in skies])
    noises = np.stack([(sky or some).rms for sky in skies])
    residual, level, variance = subtract.KERNEL.on(device)(data, levels, noises, some.box, some.first)
    for b, sky in enumerate(skies):
        if sky is None:
            residual[b], level[b], variance[b] = np.nan, np.nan, np.inf
    return residual, level, variance


def _complete(level: np.ndarray, rms: np.ndarray, enough: np.ndarray, filter_size: int, clip: float) -> Planes:
    """Return a measured mesh with no gaps, filtered, and its rms that of pixels which are not clipped."""
    narrowed = np.float32(clipped_rms(clip))
    reach = filter_size // 2
    inside = tuple(slice(reach, reach + n) for n in level.shape)
    # Without what a gradient is like beyond the edge, a median there would lag behind it.
    smooth = filtered(continued(filled(level, enough), reach), filter_size)[inside]
    return smooth, filtered(filled(rms, enough), filter_size) / narrowed


def continued(values: np.ndarray, boxes: int) -> np.ndarray:
    """Return a mesh continued beyond its edges as its slope there foretells, by so many boxes.

    Args:
        values: (box, box).
        boxes: on every side; beyond as many as the mesh has, or where it has too few to tell a slope from a bright source, the
            outermost value goes on.
    """
    for axis in (0, 1):
        n = min(boxes, values.shape[axis] - 1) if values.shape[axis] >= SLOPED else 0
        if n:
            values = np.pad(values, _around(axis, n), mode="reflect", reflect_type="odd")
        values = np.pad(values, _around(axis, boxes - n), mode="edge")
    return values


def _around(axis: int, boxes: int) -> list[Pair]:
    return [(boxes, boxes) if a == axis else (0, 0) for a in (0, 1)]


def filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return a mesh whose unknown boxes have the mean of the nearest known ones, weighted by inverse distance.

    Args:
        values: (box, box).
        known: (box, box) bool, at least one True.

    Returns:
        (box, box) of the type of `values`.
    """
    if known.all():
        return values
    from scipy.spatial import cKDTree

    n = min(NEIGHBOURS, int(known.sum()))
    distance, nearest = cKDTree(np.argwhere(known)).query(np.argwhere(~known), k=np.arange(1, n + 1))
    result = values.copy()
    result[~known] = np.average(values[known].astype(np.float64)[nearest], weights=1 / distance, axis=1)
    return result


def filtered(values: np.ndarray, size: int) -> np.ndarray:
    """Return a mesh behind a median filter of `size` by `size` boxes; what lies beyond its edge does not count."""
    if size == 1:
        return values
    around = np.pad(values, size // 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(around, (size, size)).reshape(*values.shape, -1)
    ordered = np.sort(windows, axis=-1)  # NaN come last
    n = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    middle = [np.take_along_axis(ordered, k, axis=-1)[..., 0] for k in ((n - 1) // 2, n // 2)]
    return np.float32(0.5) * (middle[0] + middle[1])


@cache
def clipped_rms(clip: float) -> float:
    """Return the standard deviation that clipping at `clip` standard deviations leaves of a unit normal one.

    Clipping until nothing more is cut narrows a normal distribution: by 1.5 % at 3 sigma. Dividing by
    this factor makes the measured noise that of the pixels.
    """
    sigma = 1.0
    for _ in range(100):
        k = clip * sigma
        kept = math.erf(k / math.sqrt(2))
        sigma = math.sqrt(max(1 - 2 * k * math.exp(-k * k / 2) / math.sqrt(2 * math.pi) / kept, 1e-6))
    return sigma
