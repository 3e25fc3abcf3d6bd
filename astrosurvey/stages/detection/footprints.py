"""Footprints: connected pixels above a threshold, and what is measured of each as a whole."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...catalog.flags import PIXEL, SOURCE, UNUSABLE
from . import positions
from .filter import DetectionImage


def label(snr: np.ndarray, threshold: float, min_pixels: int, device: Literal["cpu", "cuda"] = "cpu") -> np.ndarray:
    """Return the labels of the 8-connected groups of at least `min_pixels` pixels above `threshold`.

    Args:
        snr: (y, x) significance.
        threshold: in standard deviations.
        min_pixels: smaller groups are dropped.
        device: where to calculate.

    Returns:
        (y, x) int32; 0 is sky, labels run from 1 in the raster order of each group's first pixel.
    """
    from ...kernels.components import KERNEL

    labels, _ = KERNEL.on(device)(snr > np.float32(threshold), min_pixels)
    return np.asarray(labels)


def keep_peaks(labels: np.ndarray, snr: np.ndarray, threshold: float) -> np.ndarray:
    """Return the labels, numbered anew in the same order, of the footprints with a pixel above `threshold`."""
    found = labels.reshape(-1)[np.flatnonzero(snr > np.float32(threshold))]
    keep = np.zeros(int(labels.max(initial=0)) + 1, bool)
    keep[found] = True
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]


def measure(labels: np.ndarray, detection: DetectionImage, at: Literal["moment", "peak"] = "moment") -> dict[str, np.ndarray]:
    """Measure position, extent, significance and flags of every footprint.

    The position is the first moment of the smoothed flux in the footprint; its covariance is that of
    the pixel noise carried through it. If the moment lies outside the footprint, as in an arc or around
    a hole, the brightest pixel stands in for it. A position at the peak of the smoothed flux is surer:
    the moment remains where there is no peak and for saturated sources.

    Args:
        labels: (y, x) int, 0 for sky; labels 1 to n, each present.
        detection: the maps the footprints were found in.
        at: what the position is.

    Returns:
        columns of the source table, each of length n, in the order of the labels: x, y, x_var, y_var,
        xy_cov, x_min, x_max, y_min, y_max (half-open), n_pixels, significance, flags.

    References:
        Bertin & Arnouts (1996), A&AS 117, 393.
    """
    ny, nx = labels.shape
    where = np.flatnonzero(labels)
    where = where[np.argsort(labels.reshape(-1)[where], kind="stable")]  # by footprint, in raster order within
    group = labels.reshape(-1)[where] - 1
    n = int(group[-1]) + 1 if where.size else 0
    first = np.searchsorted(group, np.arange(n))
    py, px = np.divmod(where, nx)
    value = np.maximum(detection.flux.reshape(-1)[where], 0).astype(float)
    snr = detection.snr.reshape(-1)[where].astype(float)

    def total(what: np.ndarray) -> np.ndarray:
        return np.bincount(group, what, n)

    # A footprint may hold no positive mean flux where the bands were combined by chi; its significance then weighs.
    value = np.where((total(value) > 0)[group], value, np.maximum(snr, np.finfo(float).tiny))
    flux = total(value)
    x, y = total(value * px) / flux, total(value * py) / flux
    variance, bits = detection.pixels(where)
    variance = np.where(np.isfinite(variance), variance, 0).astype(float)
    dx, dy = px - x[group], py - y[group]
    x_var, y_var, xy_cov = (total(variance * a * b) / flux**2 for a, b in ((dx, dx), (dy, dy), (dx, dy)))

    def each(ufunc: np.ufunc, what: np.ndarray) -> np.ndarray:
        return np.asarray(ufunc.reduceat(what, first)) if n else np.zeros(0, what.dtype)

    significance = each(np.maximum, snr)
    at_peak = np.flatnonzero(snr == significance[group])
    brightest = at_peak[np.searchsorted(group[at_peak], np.arange(n))]  # the first in raster order of equals
    x_min, x_max, y_min, y_max = each(np.minimum, px), each(np.maximum, px) + 1, each(np.minimum, py), each(np.maximum, py) + 1

    flags = _pixel_flags(bits, group, n)
    flags |= SOURCE["EDGE"] * ((x_min == 0) | (y_min == 0) | (x_max == nx) | (y_max == ny))
    if at == "peak":
        peak = positions.peaks(detection.flux, significance, py[brightest], px[brightest], detection.sigma)
        use = np.isfinite(peak[0]) & ((flags & SOURCE["SATURATED"]) == 0)
        x, y, x_var, y_var, xy_cov = (np.where(use, a, b) for a, b in zip(peak, (x, y, x_var, y_var, xy_cov), strict=True))
    outside = labels[np.rint(y).astype(int), np.rint(x).astype(int)] != np.arange(1, n + 1)
    if at == "peak":
        outside &= ~use  # a peak within a pixel of the footprint's brightest is its own
    flags |= SOURCE["NO_CENTROID"] * outside
    x[outside], y[outside] = px[brightest[outside]], py[brightest[outside]]
    return {
        "x": x, "y": y, "x_var": x_var, "y_var": y_var, "xy_cov": xy_cov,
        "x_min": x_min, "x_max": x_max, "y_min": y_min, "y_max": y_max,
        "n_pixels": np.bincount(group, minlength=n), "significance": significance, "flags": flags,
    }  # fmt: skip


def _pixel_flags(bits: np.ndarray, group: np.ndarray, n: int) -> np.ndarray:
    flags = np.zeros(n, np.int64)
    for pixel, name in ((PIXEL["SAT"], "SATURATED"), (UNUSABLE, "MASKED"), (PIXEL["CR"], "COSMIC_RAY")):
        held = np.bincount(group[(bits & pixel) != 0], minlength=n) > 0
        flags |= SOURCE[name] * held
    return flags


def in_raster_order(labels: np.ndarray, columns: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Renumber footprints by the (y, x) order of their positions, so that label i is row i - 1.

    Args:
        labels: (y, x) int32.
        columns: what `measure` returned of them, and any other columns in the order of the labels.

    Returns:
        the labels and the columns in the new order.
    """
    order = np.lexsort((columns["x"], columns["y"]))
    new = np.zeros(len(order) + 1, np.int32)
    new[order + 1] = np.arange(1, len(order) + 1)
    return new[labels], {name: values[order] for name, values in columns.items()}
