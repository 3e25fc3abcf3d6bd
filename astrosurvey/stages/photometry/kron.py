"""Kron photometry: an ellipse that follows each source's own extent, the same in every band."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...catalog.flags import SOURCE
from .apertures import Cutout, Neighbours, Planes, add_up, circle, cut, ellipse, nothing

MEASURED_OUT_TO = 6.0
"""The Kron radius is measured in the ellipse of so many times the second-moment axes."""
LARGEST_MOMENT = 4.0
"""First radial moment of a flat disc of radius 6: a profile whose moment is larger is rising, which no source does."""
POINT = 1.0 / 12.0
"""Second moment of one pixel's square, given to sources one pixel wide."""
GROWTH_STEPS = 24


@dataclass(frozen=True)
class Ellipses:
    """Second-moment ellipses, (n,) each: axes in pixels (one sigma), theta in radians from +x to +y."""

    semi_major: np.ndarray
    semi_minor: np.ndarray
    theta: np.ndarray
    measured: np.ndarray


def ellipses(labels: np.ndarray, flux: np.ndarray, x: np.ndarray, y: np.ndarray, fallback: float) -> Ellipses:
    """Return the second-moment ellipse of every footprint.

    Args:
        labels: (y, x) int; footprint i + 1 belongs to source i.
        flux: (y, x) smoothed flux per pixel.
        x, y: (n,) positions, pixels.
        fallback: sigma in pixels of the circle that stands in where moments cannot be measured.

    References:
        Bertin & Arnouts (1996), A&AS 117, 393.
    """
    n = len(x)
    where = np.flatnonzero((labels > 0) & (labels <= n))
    group = labels.ravel()[where] - 1
    py, px = np.divmod(where, labels.shape[1])
    value = np.maximum(flux.ravel()[where], 0).astype(float)
    total = np.bincount(group, value, n)
    measured = (total > 0) & np.isfinite(x) & np.isfinite(y)
    safe = np.where(measured, total, 1.0)
    dx, dy = px - x[group], py - y[group]
    xx, yy, xy = (np.where(measured, np.bincount(group, value * a * b, n) / safe, 0) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    thin = xx * yy - xy**2 < POINT**2
    xx, yy = np.where(thin, xx + POINT, xx), np.where(thin, yy + POINT, yy)
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    major, minor = np.sqrt(mean + half), np.sqrt(np.maximum(mean - half, POINT))
    return Ellipses(
        np.where(measured, major, fallback),
        np.where(measured, minor, fallback),
        np.where(measured, 0.5 * np.arctan2(2 * xy, xx - yy), 0.0),
        measured,
    )


def kron_radius(cutout: Cutout, semi_major: float, semi_minor: float, theta: float) -> float:
    """Return the first radial moment of the flux, in units of the semi-major axis; 0 where the flux is not positive.

    References:
        Kron (1980), ApJS 43, 305.
    """
    ny, nx = cutout.others.shape
    dx, dy = np.arange(nx) - cutout.x, np.arange(ny)[:, None] - cutout.y
    along, across = dx * np.cos(theta) + dy * np.sin(theta), dy * np.cos(theta) - dx * np.sin(theta)
    radius = np.hypot(along / semi_major, across / semi_minor)
    inside = (radius <= MEASURED_OUT_TO) & cutout.good[0]
    value = cutout.data[0][inside]
    moment, total = float(np.sum(radius[inside] * value)), float(np.sum(value))
    if moment <= 0 or total <= 0:
        return 0.0
    return min(moment / total, LARGEST_MOMENT)


def half_light_radius(cutout: Cutout, flux: np.ndarray, largest: float) -> np.ndarray:
    """Return the radius in pixels of the circle that holds half of each band's flux, from the growth curve.

    Args:
        cutout: out to at least `largest` pixels where the image is.
        flux: (band,) total fluxes.
        largest: where the growth curve ends, pixels.

    Returns:
        (band,) NaN where the flux is not positive or the curve never reaches half of it.
    """
    radii = largest * (np.arange(1, GROWTH_STEPS + 1) / GROWTH_STEPS) ** 1.5
    rings = np.stack([circle(cutout, radius) for radius in radii])
    curve = np.tensordot(cutout.data, rings, axes=([1, 2], [1, 2]))
    squares = np.concatenate([[0.0], radii**2])
    result = np.full(len(flux), np.nan)
    for b, total in enumerate(flux):
        if not total > 0:
            continue
        grown = np.concatenate([[0.0], curve[b]]) / total
        k = int(np.argmax(grown >= 0.5))
        if k:  # within a ring the flux grows with its area
            part = (0.5 - grown[k - 1]) / (grown[k] - grown[k - 1])
            result[b] = np.sqrt(squares[k - 1] + part * (squares[k] - squares[k - 1]))
    return result


def measure(
    planes: Planes,
    shape_planes: Planes,
    x: np.ndarray,
    y: np.ndarray,
    shape: Ellipses,
    *,
    factor: float,
    minimum: float,
    neighbours: Neighbours,
    progress: Callable[[int, int], None],
) -> dict[str, np.ndarray]:
    """Measure every source in every band in its Kron ellipse.

    Args:
        planes: the bands to measure.
        shape_planes: one band, from which the Kron radius is taken.
        x, y: (n,) positions, pixels; label i + 1 is source i's.
        shape: their ellipses.
        factor: semi-major axis of the aperture in Kron radii.
        minimum: its least value, in units of the second-moment semi-major axis.
        neighbours: see `apertures.cut`.
        progress: called with (done, total).

    Returns:
        (n, band): flux, flux_err, half_light_radius, masked_fraction, flags; (n,): radius, pixels.
    """
    n, bands = len(x), planes.data.shape[0]
    flux, flux_err, half, masked = (np.full((n, bands), np.nan) for _ in range(4))
    flags = np.zeros((n, bands), np.int64)
    radius = np.full(n, np.nan)
    for i in range(n):
        if i % 256 == 0:
            progress(i, n)
        a, b, theta = (float(v[i]) for v in (shape.semi_major, shape.semi_minor, shape.theta))
        extent = _extent(MEASURED_OUT_TO * a, MEASURED_OUT_TO * b, theta)
        around = cut(shape_planes, x[i], y[i], *extent, i + 1, neighbours)
        scale = max(factor * kron_radius(around, a, b, theta), minimum) if around else minimum
        radius[i] = scale * a
        # The growth curve is circular out to the semi-major axis, so the cut-out is a square of that size.
        cutout = cut(planes, x[i], y[i], radius[i], radius[i], i + 1, neighbours)
        if cutout is None:
            sums = nothing(bands)
        else:
            sums = add_up(cutout, ellipse(cutout, scale * a, scale * b, theta), np.pi * scale**2 * a * b)
            half[i] = half_light_radius(cutout, sums.flux, radius[i])
        flux[i], flux_err[i], masked[i] = sums.flux, sums.flux_err, sums.masked_fraction
        flags[i] = sums.flags | (0 if shape.measured[i] else SOURCE["NO_SHAPE"])
    progress(n, n)
    return {"flux": flux, "flux_err": flux_err, "half_light_radius": half, "masked_fraction": masked, "flags": flags, "radius": radius}


def _extent(semi_major: float, semi_minor: float, theta: float) -> tuple[float, float]:
    return (
        float(np.hypot(semi_major * np.cos(theta), semi_minor * np.sin(theta))),
        float(np.hypot(semi_major * np.sin(theta), semi_minor * np.cos(theta))),
    )
