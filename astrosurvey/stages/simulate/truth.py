"""The truth table: every object of a tile, in every band."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...catalog.footprint import describe
from ...catalog.ownership import primary
from ...core.tiles import Box, Tile
from ...products import Catalog
from .population import Objects
from .profiles import BULGE_INDEX, DISK_INDEX, Table, sersic_enclosed
from .scene import Scene

if TYPE_CHECKING:
    from astropy.wcs import WCS


def truth_catalog(scene: Scene, tile: Tile, window: Box, wcs: WCS) -> Catalog:
    """Return the objects whose centres lie in a window, one row per object and band, brightest first.

    Args:
        scene: the sky.
        tile: the tile that shows the window.
        window: pixels of the sky.
        wcs: of the tile's own pixels.
    """
    ids, xs, ys, parts = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0)], []
    for _, placed in scene.placed(window, reaching=False):
        x, y = placed.x - window.x0, placed.y - window.y0
        inside = (
            (x >= -0.5)
            & (x < window.shape[1] - 0.5)
            & (y >= -0.5)
            & (y < window.shape[0] - 0.5)
            & (placed.objects.r <= scene.config.truth_depth)
        )
        ids.append(placed.truth_id[inside])
        xs.append(x[inside])
        ys.append(y[inside])
        parts.append(placed.objects.take(inside))
    meta = {"tile": describe(tile, window.shape, wcs)}
    if not sum(len(part) for part in parts):
        return Catalog.empty("truth", meta)
    objects = Objects.concatenate(parts)
    brightest_first = np.argsort(objects.r, kind="stable")
    return _rows(scene, tile, wcs, np.concatenate(ids)[brightest_first], np.concatenate(xs)[brightest_first],
                 np.concatenate(ys)[brightest_first], objects.take(brightest_first), meta)  # fmt: skip


def _rows(scene: Scene, tile: Tile, wcs: WCS, ids: np.ndarray, x: np.ndarray, y: np.ndarray, objects: Objects, meta: dict) -> Catalog:
    """Spread objects over bands."""
    names = [band.name for band in scene.bands]
    index = [band.index for band in scene.bands]
    n = len(names)
    scale = scene.config.pixel_scale
    bulge, disk, point = (part[:, index] for part in (objects.bulge, objects.disk, objects.point))
    flux = bulge + disk + point
    fraction = bulge / flux
    radius = half_light_radius(fraction, objects) / scale
    ratio = np.sqrt(fraction * objects.bulge_axis_ratio[:, None] + (1.0 - fraction) * objects.disk_axis_ratio[:, None])
    ra, dec = wcs.pixel_to_world_values(x, y)
    star = np.any(objects.point, axis=1)

    def of_galaxies(values: np.ndarray, unless: np.ndarray = star) -> np.ndarray:
        """Return values (n,) or (n, band) as a column that is NaN for stars, or where `unless` says so."""
        spread = values if values.ndim == 2 else np.repeat(values[:, None], n, axis=1)
        return np.where(np.repeat(star | unless, n), np.nan, spread.ravel())

    columns = {
        "truth_id": np.repeat(ids, n),
        "band": np.tile(names, len(ids)),
        "tile_id": np.full(len(ids) * n, tile.number, dtype=np.int64),
        "object_type": np.repeat(np.where(star, "star", "galaxy"), n),
        "x": np.repeat(x, n),
        "y": np.repeat(y, n),
        "ra": np.repeat(ra, n),
        "dec": np.repeat(dec, n),
        "flux": flux.ravel(),
        "redshift": of_galaxies(objects.redshift),
        "bulge_fraction": of_galaxies(fraction),
        "half_light_radius": of_galaxies(radius),
        "semi_major": of_galaxies(radius / ratio),
        "semi_minor": of_galaxies(radius * ratio),
        "theta": of_galaxies(np.rad2deg(objects.theta)),
        "bulge_radius": of_galaxies(objects.bulge_radius / scale, np.all(objects.bulge == 0.0, axis=1)),
        "disk_radius": of_galaxies(objects.disk_radius / scale),
        "primary": np.repeat(primary(tile, x, y), n),
    }
    return Catalog.from_columns("truth", columns, meta)


def half_light_radius(fraction: np.ndarray, objects: Objects) -> np.ndarray:
    """Return the radius of the circle that would hold half of a galaxy's light if its parts were round, in arcsec.

    Args:
        fraction: (n, band) of the flux in the bulge.
        objects: n galaxies (for stars the radius is 0).
    """
    bulge = Table.of(lambda log_r: sersic_enclosed(np.exp(log_r), BULGE_INDEX), -12.0, 8.0, 2001)
    disk = Table.of(lambda log_r: sersic_enclosed(np.exp(log_r), DISK_INDEX), -12.0, 8.0, 2001)
    log_bulge = np.log(np.maximum(objects.bulge_radius, 1e-4) * np.sqrt(objects.bulge_axis_ratio))[:, None]
    log_disk = np.log(np.maximum(objects.disk_radius, 1e-4) * np.sqrt(objects.disk_axis_ratio))[:, None]
    low = np.broadcast_to(np.minimum(log_bulge, log_disk), fraction.shape)
    high = np.broadcast_to(np.maximum(log_bulge, log_disk), fraction.shape)
    for _ in range(30):
        middle = 0.5 * (low + high)
        too_far = fraction * bulge(middle - log_bulge) + (1.0 - fraction) * disk(middle - log_disk) > 0.5
        low, high = np.where(too_far, low, middle), np.where(too_far, middle, high)
    return np.where(np.any(objects.point, axis=1, keepdims=True), 0.0, np.exp(high))
