"""Footprints: connected pixels above a threshold, and what is measured of each as a whole."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...catalog.flags import PIXEL, SOURCE, UNUSABLE
from . import positions
from .filter import DetectionImage
from .sums import spreads, sums


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


def measure(
    labels: np.ndarray, detection: DetectionImage, at: Literal["moment", "peak"] = "moment", offset: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Measure position, extent, significance and flags of every footprint.

    The position is the first moment of the smoothed flux in the footprint; its covariance is that of
    the pixel noise carried through it. If the moment lies outside the footprint, as in an arc or around
    a hole, the brightest pixel stands in for it. A position at the peak of the smoothed flux is surer:
    the moment remains where there is no peak and for saturated sources.

    Args:
        labels: (y, x) int, 0 for sky; labels 1 to n, each present.
        detection: the maps the footprints were found in, of the same shape.
        at: what the position is.
        offset: (n, 2) int, for footprints cut out of the image: what is to be added to row and column of
            each one's pixels for their place in it. Left out, labels and maps are of the whole image.

    Returns:
        columns of the source table, each of length n, in the order of the labels: x, y, x_var, y_var,
        xy_cov, x_min, x_max, y_min, y_max (half-open), n_pixels, significance, flags; places are in the image.

    References:
        Bertin & Arnouts (1996), A&AS 117, 393.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    n = len(offset) if offset is not None else int(labels.max(initial=0))
    offset = np.zeros((n, 2), np.int64) if offset is None else offset.astype(np.int64)
    found = sums(labels, n, detection, offset)
    py, px = np.divmod(found.brightest, labels.shape[1])
    significance = detection.snr[py, px].astype(float)
    y_min, x_min, y_max, x_max = (found.box + np.tile(offset, 2)).T
    flags = np.zeros(n, np.int64)
    for pixel, name in ((PIXEL["SAT"], "SATURATED"), (UNUSABLE, "MASKED"), (PIXEL["CR"], "COSMIC_RAY")):
        flags |= SOURCE[name] * ((found.bits & pixel) != 0)
    ny, nx = detection.image.data.shape[1:]
    flags |= SOURCE["EDGE"] * ((x_min == 0) | (y_min == 0) | (x_max == nx) | (y_max == ny))

    place = np.full((5, n), np.nan)  # x, y, x_var, y_var, xy_cov
    if at == "peak":
        place[:] = positions.peaks(detection.flux, significance, py, px, detection.sigma)
        place[:, (flags & SOURCE["SATURATED"]) != 0] = np.nan
    moment = np.isnan(place[0])
    # A footprint may hold no positive mean flux where the bands were combined by chi; its significance then weighs.
    total, down, across = np.where(found.flux[:, :1] > 0, found.flux, found.snr).T
    centre = np.stack([down / total, across / total], axis=1)
    spread = spreads(labels, detection, offset, centre, moment) / (total**2)[:, None]
    place[:, moment] = np.stack([centre[:, 1], centre[:, 0], spread[:, 1], spread[:, 0], spread[:, 2]])[:, moment]
    x, y, x_var, y_var, xy_cov = place
    outside = moment & (labels[np.rint(y).astype(int), np.rint(x).astype(int)] != np.arange(1, n + 1))
    flags |= SOURCE["NO_CENTROID"] * outside
    x[outside], y[outside] = px[outside], py[outside]
    return {
        "x": x + offset[:, 1], "y": y + offset[:, 0], "x_var": x_var, "y_var": y_var, "xy_cov": xy_cov,
        "x_min": x_min, "x_max": x_max, "y_min": y_min, "y_max": y_max,
        "n_pixels": found.pixels, "significance": significance, "flags": flags,
    }  # fmt: skip


def in_raster_order(labels: np.ndarray, columns: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Renumber footprints by the (y, x) order of their positions, so that label i is row i - 1.

    Args:
        labels: (y, x) int32; numbered anew in place.
        columns: what `measure` returned of them, and any other columns in the order of the labels.

    Returns:
        the labels and the columns in the new order.
    """
    order = np.lexsort((columns["x"], columns["y"]))
    new = np.zeros(len(order) + 1, np.int32)
    new[order + 1] = np.arange(1, len(order) + 1)
    from ...kernels._islands import renumber

    renumber(labels, new)
    return labels, {name: values[order] for name, values in columns.items()}
