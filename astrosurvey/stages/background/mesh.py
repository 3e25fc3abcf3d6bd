"""Sky level and noise on a mesh: clipped statistics in boxes, median-filtered, interpolated back to pixels."""

from __future__ import annotations

import math
import warnings
from functools import cache, partial
from typing import Any

import numpy as np
from astropy.stats import SigmaClip
from astropy.utils.exceptions import AstropyUserWarning
from photutils.background import Background2D, SExtractorBackground, StdBackgroundRMS
from scipy import ndimage

MIN_SOURCE_PIXELS = 5
"""Connected pixels above the masking threshold that make a source; fewer are noise and stay in the sky."""


def mesh(data: np.ndarray, good: np.ndarray, *, box: int, filter_size: int, clip: float, min_good: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the sky level and the rms of one band at every pixel.

    In each box the values are clipped about the median until they settle; the level is the mode
    estimated as 2.5 median - 1.5 mean, or the median where the box is crowded. Boxes with too few good
    pixels take their values from the neighbouring boxes.

    Args:
        data: (y, x) flux per pixel; its values where `good` is False do not matter.
        good: (y, x) bool, the pixels to use.
        box: side of a mesh box in pixels; an image smaller than a box is one box.
        filter_size: odd side, in boxes, of the median filter over the mesh; 1 filters nothing.
        clip: where the values are clipped, in standard deviations.
        min_good: the fraction of good pixels a box needs, if any box has that many.

    Returns:
        (level, rms): (y, x) float32 each; NaN throughout if no pixel is good.

    References:
        Bertin & Arnouts (1996), A&AS 117, 393; Da Costa (1992), ASP Conf. Ser. 23, 90.
    """
    if not good.any():
        nothing = np.full(data.shape, np.nan, np.float32)
        return nothing, nothing.copy()
    values = np.where(good, data, 0).astype(np.float32)
    # Clipping subtracts large numbers, so the sky's bulk goes first: a pedestal of 1e5 with an rms of 1 keeps its digits.
    pedestal = np.float32(np.median(values[good]))
    values -= pedestal
    settings = {
        "mask": ~good,
        "filter_size": filter_size,
        "sigma_clip": SigmaClip(sigma=clip, maxiters=10),
        "bkg_estimator": SExtractorBackground(sigma_clip=None),
        "bkg_rms_estimator": StdBackgroundRMS(sigma_clip=None),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        try:
            maps = Background2D(values, box, exclude_percentile=100 * (1 - min_good), **settings)
            level, rms = maps.background, maps.background_rms
        except ValueError:  # no box has enough good pixels: let every box with any of them speak
            maps = Background2D(values, box, exclude_percentile=100, **settings)
            level, rms = maps.background, maps.background_rms
    # A cubic spline through the mesh can overshoot; noise below the smallest box's is an artefact.
    lowest = np.nanmin(maps.background_rms_mesh)
    return level + pedestal, np.maximum(rms, lowest) / np.float32(clipped_rms(clip))


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


def source_mask(residual: np.ndarray, rms: np.ndarray, good: np.ndarray, *, threshold: float, dilation: int) -> np.ndarray:
    """Return the pixels of sources and their surroundings, to be left out of a second look at the sky.

    Args:
        residual: (y, x) sky-subtracted flux.
        rms: (y, x) noise per pixel.
        good: (y, x) bool, usable pixels.
        threshold: in units of the rms of the lightly smoothed image.
        dilation: by how many pixels each source is grown on every side.

    Returns:
        (y, x) bool, True on sources.
    """
    kernel = np.array([1.0, 2.0, 1.0]) / 4.0
    smooth = np.where(good, residual, 0).astype(np.float32)
    for axis in (0, 1):
        smooth = ndimage.correlate1d(smooth, kernel, axis=axis, mode="constant")
    bright = smooth > threshold * float(np.sum(kernel**2)) * rms
    labels, n = ndimage.label(bright, structure=np.ones((3, 3)))
    keep = np.bincount(labels.ravel(), minlength=n + 1) >= MIN_SOURCE_PIXELS
    keep[0] = False
    sources = keep[labels]
    return ndimage.maximum_filter(sources, size=2 * dilation + 1)


def sky(
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
    origin: tuple[int, int] = (0, 0),
) -> tuple[np.ndarray, np.ndarray]:
    """Return sky level and rms of one band, with the sources of a first pass masked in a second if asked.

    Args and returns are those of `mesh` and `source_mask`. `origin` is the (y, x) of the first pixel in the
    larger image that a tile is cut from: the boxes lie where they would in that image, so overlapping
    tiles measure the same sky. Where the masked sources leave no box with `min_good` good pixels, the
    first pass stands.
    """
    if min(data.shape) > box and any(start % box for start in origin):
        before = [start % box for start in origin]
        padded = [np.pad(plane, [(n, 0) for n in before]) for plane in (data, good)]
        settings: dict[str, Any] = {
            "box": box,
            "filter_size": filter_size,
            "clip": clip,
            "min_good": min_good,
            "mask_sources": mask_sources,
        }
        level, rms = sky(*padded, **settings, threshold=threshold, dilation=dilation)
        return level[before[0] :, before[1] :], rms[before[0] :, before[1] :]
    on_mesh = partial(mesh, data, box=box, filter_size=filter_size, clip=clip, min_good=min_good)
    level, rms = on_mesh(good)
    if not mask_sources or not good.any():
        return level, rms
    clean = good & ~source_mask(data - level, rms, good, threshold=threshold, dilation=dilation)
    ny, nx = data.shape
    step_y, step_x = min(box, ny), min(box, nx)
    whole = clean[: ny - ny % step_y, : nx - nx % step_x]
    filled = whole.reshape(ny // step_y, step_y, nx // step_x, step_x).mean(axis=(1, 3))
    return on_mesh(clean) if (filled > min_good).any() else (level, rms)
