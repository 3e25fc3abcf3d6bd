"""Footprints: connected pixels above a threshold, and what is measured of each as a whole."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...catalog.flags import PIXEL, SOURCE, UNUSABLE
from .filter import DetectionImage


def label(snr: np.ndarray, threshold: float, min_pixels: int) -> np.ndarray:
    """Return the labels of the 8-connected groups of at least `min_pixels` pixels above `threshold`.

    Args:
        snr: (y, x) significance.
        threshold: in standard deviations.
        min_pixels: smaller groups are dropped.

    Returns:
        (y, x) int32; 0 is sky, labels run from 1 in the raster order of each group's first pixel.
    """
    labels, n = ndimage.label(snr > threshold, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    keep = sizes >= min_pixels
    keep[0] = False
    new = np.zeros(n + 1, np.int32)
    new[keep] = np.arange(1, np.count_nonzero(keep) + 1)
    return new[labels]


def measure(labels: np.ndarray, detection: DetectionImage) -> dict[str, np.ndarray]:
    """Measure position, extent, significance and flags of every footprint.

    The position is the first moment of the smoothed flux in the footprint; its covariance is that of
    the pixel noise carried through it. If the moment lies outside the footprint, as in an arc or around
    a hole, the brightest pixel stands in for it.

    Args:
        labels: (y, x) int, 0 for sky; labels 1 to n, each present.
        detection: the maps the footprints were found in.

    Returns:
        columns of the source table, each of length n, in the order of the labels: x, y, x_var, y_var,
        xy_cov, x_min, x_max, y_min, y_max (half-open), n_pixels, significance, flags.

    References:
        Bertin & Arnouts (1996), A&AS 117, 393.
    """
    ny, nx = labels.shape
    n = int(labels.max(initial=0))
    where = np.flatnonzero(labels)
    group = labels.ravel()[where] - 1
    py, px = np.divmod(where, nx)
    value = np.maximum(detection.flux.ravel()[where], 0).astype(float)
    snr = detection.snr.ravel()[where].astype(float)

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

    # Pixels sorted by footprint and then by significance: the last of each footprint is its brightest.
    brightest = np.full(n, -1, np.int64)
    order = np.lexsort((-where, snr, group))
    brightest[group[order]] = order
    x_min, x_max, y_min, y_max = (np.zeros(n, np.int64) for _ in range(4))
    for i, (rows, columns) in enumerate(ndimage.find_objects(labels, n)):
        y_min[i], y_max[i], x_min[i], x_max[i] = rows.start, rows.stop, columns.start, columns.stop

    flags = _pixel_flags(bits, group, n)
    flags |= SOURCE["EDGE"] * ((x_min == 0) | (y_min == 0) | (x_max == nx) | (y_max == ny))
    outside = labels[np.rint(y).astype(int), np.rint(x).astype(int)] != np.arange(1, n + 1)
    flags |= SOURCE["NO_CENTROID"] * outside
    x[outside], y[outside] = px[brightest[outside]], py[brightest[outside]]
    return {
        "x": x, "y": y, "x_var": x_var, "y_var": y_var, "xy_cov": xy_cov,
        "x_min": x_min, "x_max": x_max, "y_min": y_min, "y_max": y_max,
        "n_pixels": np.bincount(group, minlength=n), "significance": snr[brightest], "flags": flags,
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
