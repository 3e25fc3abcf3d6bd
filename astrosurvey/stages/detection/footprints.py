"""Footprints: connected pixels above a threshold, and what is measured of each as a whole."""

from __future__ import annotations

from collections.abc import Mapping
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
    nx = labels.shape[1]
    where = np.flatnonzero(labels)
    where = where[np.argsort(labels.reshape(-1)[where], kind="stable")]  # by footprint, in raster order within
    group = labels.reshape(-1)[where] - 1
    n = int(group[-1]) + 1 if where.size else 0
    first = np.searchsorted(group, np.arange(n))
    py, px = np.divmod(where, nx)
    snr = detection.snr.reshape(-1)[where]

    def each(ufunc: np.ufunc, what: np.ndarray) -> np.ndarray:
        return np.asarray(ufunc.reduceat(what, first)) if n else np.zeros(0, what.dtype)

    significance = each(np.maximum, snr)
    at_peak = np.flatnonzero(snr == significance[group])
    brightest = at_peak[np.searchsorted(group[at_peak], np.arange(n))]  # the first in raster order of equals
    x_min, x_max, y_min, y_max = each(np.minimum, px), each(np.maximum, px) + 1, each(np.minimum, py), each(np.maximum, py) + 1
    flags = _pixel_flags(detection.bits_of(where), group, n)
    flags |= SOURCE["EDGE"] * at_edge({"x_min": x_min, "x_max": x_max, "y_min": y_min, "y_max": y_max}, labels.shape)

    place = np.full((5, n), np.nan)  # x, y, x_var, y_var, xy_cov
    if at == "peak":
        place[:] = positions.peaks(detection.flux, significance.astype(float), py[brightest], px[brightest], detection.sigma)
        place[:, (flags & SOURCE["SATURATED"]) != 0] = np.nan
    moment = np.isnan(place[0])
    theirs = moment[group]
    place[:, moment] = _moments(where[theirs], (np.cumsum(moment) - 1)[group[theirs]], int(moment.sum()), detection)
    x, y, x_var, y_var, xy_cov = place
    outside = moment & (labels[np.rint(y).astype(int), np.rint(x).astype(int)] != np.arange(1, n + 1))
    flags |= SOURCE["NO_CENTROID"] * outside
    x[outside], y[outside] = px[brightest[outside]], py[brightest[outside]]
    return {
        "x": x, "y": y, "x_var": x_var, "y_var": y_var, "xy_cov": xy_cov,
        "x_min": x_min, "x_max": x_max, "y_min": y_min, "y_max": y_max,
        "n_pixels": np.diff(first, append=where.size), "significance": significance.astype(float), "flags": flags,
    }  # fmt: skip


def at_edge(columns: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Return whether the boxes of footprints touch the edge of an image of (y, x) shape."""
    ny, nx = shape
    return (columns["x_min"] == 0) | (columns["y_min"] == 0) | (columns["x_max"] == nx) | (columns["y_max"] == ny)


def _moments(where: np.ndarray, group: np.ndarray, n: int, detection: DetectionImage) -> np.ndarray:
    """Return (5, n): x, y, x_var, y_var and xy_cov by the first moments of the smoothed flux in n groups of pixels."""
    py, px = np.divmod(where, detection.flux.shape[1])
    value = np.maximum(detection.flux.reshape(-1)[where], 0).astype(float)

    def total(what: np.ndarray) -> np.ndarray:
        return np.bincount(group, what, n)

    # A footprint may hold no positive mean flux where the bands were combined by chi; its significance then weighs.
    snr = detection.snr.reshape(-1)[where].astype(float)
    value = np.where((total(value) > 0)[group], value, np.maximum(snr, np.finfo(float).tiny))
    flux = total(value)
    x, y = total(value * px) / flux, total(value * py) / flux
    variance = detection.variance_of(where)
    variance = np.where(np.isfinite(variance), variance, 0).astype(float)
    dx, dy = px - x[group], py - y[group]
    return np.array([x, y, *(total(variance * a * b) / flux**2 for a, b in ((dx, dx), (dy, dy), (dx, dy)))])


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
    from ...kernels._islands import renumbered

    return renumbered(labels, new), {name: values[order] for name, values in columns.items()}
