"""Photometry in circular apertures of fixed radii, with an optional local sky."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .apertures import Cutout, Neighbours, Planes, Sums, add_up, circle, cut, nothing

CLIP_ROUNDS = 5
FEWEST = 10
"""Pixels an annulus needs to tell a sky level."""


@dataclass(frozen=True)
class Ring:
    """An annulus about each source: radii in pixels, and where its values are clipped, in standard deviations."""

    inner: float
    outer: float
    clip: float


def local_sky(cutout: Cutout, ring: Ring) -> tuple[np.ndarray, np.ndarray]:
    """Return the clipped median of the annulus in each band and that level's standard error.

    Pixels of any other source's footprint are left out.

    Returns:
        (band,) level and error; NaN where fewer than ten pixels are left.
    """
    ny, nx = cutout.others.shape
    distance = np.hypot(np.arange(nx) - cutout.x, np.arange(ny)[:, None] - cutout.y)
    free = (distance >= ring.inner) & (distance < ring.outer) & ~cutout.others
    levels, errors = np.full(len(cutout.data), np.nan), np.full(len(cutout.data), np.nan)
    for band, (data, good) in enumerate(zip(cutout.data, cutout.good, strict=True)):
        values = data[free & good]
        for _ in range(CLIP_ROUNDS):
            if values.size < FEWEST:
                break
            middle = np.median(values)
            kept = values[np.abs(values - middle) <= ring.clip * values.std()]
            if kept.size == values.size:
                break
            values = kept
        if values.size >= FEWEST:
            # The median's standard error is sqrt(pi / 2) times the mean's.
            levels[band], errors[band] = np.median(values), np.sqrt(np.pi / 2 / values.size) * values.std()
    return levels, errors


def measure(
    planes: Planes,
    x: np.ndarray,
    y: np.ndarray,
    radii: Sequence[float],
    *,
    neighbours: Neighbours,
    ring: Ring | None,
    progress: Callable[[int, int], None],
) -> dict[str, np.ndarray]:
    """Measure every source in every band in circles of every radius.

    Args:
        planes: the bands to measure.
        x, y: (n,) positions, pixels; label i + 1 is source i's.
        radii: pixels.
        neighbours: see `apertures.cut`.
        ring: where to take a local sky; None takes none.
        progress: called with (done, total).

    Returns:
        flux, flux_err, masked_fraction, flags: (n, radius, band).
    """
    n, bands = len(x), planes.data.shape[0]
    flux, flux_err, masked = (np.full((n, len(radii), bands), np.nan) for _ in range(3))
    flags = np.zeros((n, len(radii), bands), np.int64)
    for i in range(n):
        if i % 256 == 0:
            progress(i, n)
        level = error = np.zeros(bands)
        if ring:
            around = cut(planes, x[i], y[i], ring.outer, ring.outer, i + 1, "keep")
            if around is not None:
                found, found_error = local_sky(around, ring)
                level, error = np.nan_to_num(found), np.nan_to_num(found_error)
        cutout = cut(planes, x[i], y[i], max(radii), max(radii), i + 1, neighbours)
        for k, radius in enumerate(radii):
            sums: Sums = nothing(bands) if cutout is None else add_up(cutout, circle(cutout, radius), np.pi * radius**2)
            flux[i, k] = sums.flux - level * sums.area
            flux_err[i, k] = np.hypot(sums.flux_err, error * sums.area)
            masked[i, k], flags[i, k] = sums.masked_fraction, sums.flags
    progress(n, n)
    return {"flux": flux, "flux_err": flux_err, "masked_fraction": masked, "flags": flags}
