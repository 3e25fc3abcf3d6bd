"""Rows of sources and photometry from what was fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...catalog import ownership
from ...catalog.flags import SOURCE
from ...kernels import aperture
from ..sky import to_sky
from .fitting import Device, Fitted, ellipses

if TYPE_CHECKING:
    from ...core.tiles import Tile
    from ...products import Catalog, Image

EXTRAPOLATED = 0.25
CROWDED = 0.1
"""From this ratio of neighbours' model to its own at its centre, a source is flagged BLENDED."""
FULL = 0.999
"""Part of an aperture that has to be usable for no flag to be set."""


def repeated(values: np.ndarray, bands: int) -> np.ndarray:
    """Return (n,) values once for each band."""
    return np.repeat(values, bands)


def total_columns(image: Image, sources: Catalog, found: Fitted, factor: np.ndarray) -> dict[str, Any]:
    """Return the columns of the rows of method "total", a row a source and band.

    Args:
        image: the image.
        sources: the sources, in the order of `found`.
        found: what was fitted.
        factor: (band,) on all errors, for correlated noise.
    """
    n, bands = found.flux.shape
    major, minor, theta = ellipses(found.moments)
    lost = ~np.isfinite(found.flux)
    flags = SOURCE["NO_FLUX"] * lost
    flags |= (SOURCE["APERTURE_TRUNCATED"] * found.clipped)[:, None]
    flags |= SOURCE["APERTURE_MASKED"] * ((found.covered < FULL) & ~found.clipped[:, None])
    flags |= (SOURCE["NO_WINDOW"] | SOURCE["NO_SHAPE"]) * ~found.centred[:, None]
    flags |= SOURCE["EXTRAPOLATED"] * (1 - found.covered * (1 - found.outside[:, None]) > EXTRAPOLATED)
    flags |= SOURCE["BLENDED"] * crowded(found)
    seen = np.isfinite(found.flux).any(1)
    per_source = {
        "source_id": sources.column("source_id"),
        "tile_id": sources.column("tile_id"),
        "radius": found.radius,
        "half_light_radius": np.where(seen, found.half_light, np.nan),
        "semi_major": np.where(found.centred, major, np.nan),
        "semi_minor": np.where(found.centred, minor, np.nan),
        "theta": np.where(found.centred, np.degrees(theta), np.nan),
        "sersic_radius": np.where(seen, found.size, np.nan),
        "n_sersic": np.where(seen, found.index, np.nan),
    }
    return {
        **{name: repeated(values, bands) for name, values in per_source.items()},
        "flux": found.flux.ravel(),
        "flux_err": (found.error * factor).ravel(),
        "masked_fraction": np.clip(1 - found.covered, 0, 1).ravel(),
        "flags": flags.ravel(),
        "band": np.tile(np.array(image.bands, dtype=object), n),
        "method": "total",
    }


def crowded(found: Fitted) -> np.ndarray:
    """Return (n, band) whether the models of neighbours are not small against a source's own at its centre."""
    column, row = found.drawn.pixels.T
    ny, nx = found.planes.model.shape[1:]
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    at = np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)
    own = np.array([found.drawn.models[:, b, 0] for b in range(len(found.planes.model))])
    result: np.ndarray = (inside & (found.planes.model[:, at[0], at[1]] - own > CROWDED * np.abs(own))).T
    return result


def refined(
    tile: Tile | None, image: Image, sources: Catalog, found: Fitted, factor: np.ndarray, weights: np.ndarray, row_flags: np.ndarray
) -> Catalog:
    """Return the sources at their windowed centroids; those without one stay where they were.

    Args:
        tile: the tile, for ownership.
        image: its image, for world coordinates.
        sources: as they were found.
        found: what was fitted.
        factor: (band,) on errors, for correlated noise.
        weights: (band,) share of each band in the variance of the positions.
        row_flags: (n * band,) flags of the photometry.
    """
    x, y = found.places.position.T
    x, y = np.where(found.centred, x, sources.column("x")), np.where(found.centred, y, sources.column("y"))
    ra, dec = to_sky(image.wcs, x, y)
    squared = float(np.sum(weights * factor**2) / np.sum(weights))
    names = ("x_var", "xy_cov", "y_var")
    covariance = {name: np.where(found.centred, squared * found.covariance[:, k], sources.column(name)) for k, name in enumerate(names)}
    about = SOURCE["NO_WINDOW"] | SOURCE["NO_SHAPE"] | SOURCE["BLENDED"] | SOURCE["APERTURE_TRUNCATED"]
    flags = np.bitwise_or.reduce(row_flags.reshape(len(x), len(image.bands)), axis=1, initial=0) & about
    new = {"x": x, "y": y, "ra": ra, "dec": dec, **covariance, "flags": sources.column("flags") | flags}
    if tile is not None:
        new["primary"] = ownership.primary(tile, x, y)
    return sources.replace(**new)


def aperture_columns(
    image: Image, sources: Catalog, found: Fitted, factor: np.ndarray, radii: Sequence[float], device: Device
) -> dict[str, Any]:
    """Return the columns of the rows of methods "aperture_R", with neighbours' models subtracted.

    Args:
        image: the image.
        sources: the sources, in the order of `found`.
        found: what was fitted.
        factor: (band,) on all errors, for correlated noise.
        radii: pixels.
        device: where to calculate.
    """
    n, bands = found.flux.shape
    axes = np.tile([1.0, 1.0, 0.0], (n, 1))
    flux, variance, used, _ = aperture.KERNEL.on(device)(*found.alone(), axes, np.tile(radii, (n, 1)))
    whole = np.pi * np.square(radii)
    lost = used <= 0
    ny, nx = image.data.shape[1:]
    position = found.places.position
    within = np.minimum(position, np.array([nx - 1, ny - 1]) - position).min(1) + 0.5  # distance to the image's edge
    truncated = (within[:, None] < np.array(radii))[:, None]
    flags = SOURCE["NO_FLUX"] * lost
    flags |= SOURCE["APERTURE_TRUNCATED"] * truncated
    flags |= SOURCE["APERTURE_MASKED"] * ((used < FULL * whole) & ~truncated)
    flags |= (SOURCE["BLENDED"] * crowded(found))[:, :, None]
    methods = np.array([f"aperture_{radius:g}" for radius in radii], dtype=object)
    order = (0, 2, 1)  # a source's rows by aperture, and then by band
    return {
        **{name: np.repeat(sources.column(name), bands * len(radii)) for name in ("source_id", "tile_id")},
        "flux": np.where(lost, np.nan, flux).transpose(order).ravel(),
        "flux_err": np.where(lost, np.nan, np.sqrt(variance) * factor[:, None]).transpose(order).ravel(),
        "masked_fraction": np.clip(1 - used / whole, 0, 1).transpose(order).ravel(),
        "flags": flags.transpose(order).ravel(),
        "radius": np.tile(np.repeat(radii, bands), n),
        "method": np.tile(np.repeat(methods, bands), n),
        "band": np.tile(np.array(image.bands, dtype=object), n * len(radii)),
    }
