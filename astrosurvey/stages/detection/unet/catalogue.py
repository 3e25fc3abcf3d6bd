"""From the network's maps to the two products of a detector: a segmentation and its sources."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from ....catalog.flags import SOURCE
from ....catalog.ids import object_ids
from ....core.tiles import Tile
from .. import footprints
from ..filter import FWHM_PER_SIGMA
from ..rows import source_rows
from .calibrate import Calibration
from .decode import CANDIDATE, Peaks, host
from .features import Device, Features
from .predict import Maps

if TYPE_CHECKING:
    from ....products import Catalog, Image

PROMINENCE = 5.0
"""Standard deviations by which a peak must rise above its saddle to be a source that the network overlooked."""
POSITION_FLOOR = 0.1
"""Pixels; the network's positions are not better than this, however bright the source."""


def build(
    tile: Tile,
    image: Image,
    seen: Features,
    maps: Maps,
    calibration: Calibration,
    *,
    threshold: float,
    footprint: float,
    certain: float,
    device: Device,
) -> tuple[np.ndarray, Catalog]:
    """Return labels (y, x) int32 and the sources, label i being row i - 1, in (y, x) order.

    The pixels that the network or the filtered significance call bright are flooded from the peaks of the centre map; what no
    peak reaches is sky.

    Args:
        tile: the tile.
        image: its image.
        seen: what the network saw.
        maps: what it said.
        calibration: of its scores.
        threshold: least probability of a source.
        footprint: filtered significance to which footprints reach.
        certain: filtered significance from which a peak that stands out is a source although the network does not see it.
        device: where to flood.
    """
    from ....kernels.seeded_flood import KERNEL

    detection = seen.detection
    found = maps.peaks(CANDIDATE)
    found = found.take(calibration(found.score, seen.mean_conditions) >= threshold)
    found, overlooked = with_overlooked(found, detection.snr, certain, device)
    bright = host(maps.mask)
    bright |= detection.snr > np.float32(footprint)
    bright[found.row, found.column] = True
    labels = KERNEL.on(device)(bright, detection.flux, found.row.astype(np.int64), found.column.astype(np.int64))
    measured = footprints.measure(labels, detection)
    sigma2 = (seen.fwhm / FWHM_PER_SIGMA) ** 2 / np.maximum(measured["significance"], 1.0) ** 2 + POSITION_FLOOR**2
    flags = measured["flags"] & ~SOURCE["NO_CENTROID"]
    flags |= SOURCE["BLENDED"] * _shared(bright, found.row, found.column, device) | SOURCE["NETWORK_BLIND"] * overlooked
    columns = {
        **measured,
        # A pair without a saddle has one centroid: the network's own positions count.
        "x": found.x,
        "y": found.y,
        "x_var": sigma2,
        "y_var": sigma2,
        "xy_cov": np.zeros_like(sigma2),
        "flags": flags,
        "probability": np.where(overlooked, np.nan, np.clip(calibration(found.score, seen.mean_conditions), 0.0, 1.0)),
        "star_probability": found.star.astype(np.float64),
    }
    if maps.scatter is not None:
        columns["probability_err"] = np.abs(calibration.slope(found.score, seen.mean_conditions)) * host(
            maps.scatter[found.row, found.column]
        )
    labels, columns = footprints.in_raster_order(labels, columns)
    return labels, source_rows(tile, image, columns, source_id=object_ids(tile.number, len(found.x)))


def with_overlooked(found: Peaks, snr: np.ndarray, certain: float, device: Device) -> tuple[Peaks, np.ndarray]:
    """Return the peaks, with those of the filtered significance that nothing explains; and which those are.

    What lies above `certain` is taken apart at saddles that are `PROMINENCE` deep on both sides, and a piece that holds
    none of the network's peaks gets its brightest pixel. A network may be blind for what it was never shown, such as the flat top of
    a saturated star.
    """
    from ....kernels import components, flood

    islands, n = components.KERNEL.on(device)(snr > np.float32(certain), 1)
    if not n:
        return found, np.zeros(len(found.x), bool)
    pieces, owner = flood.KERNEL.on(device)(islands, snr, np.full(snr.shape, PROMINENCE, np.float32), 1)
    seen = np.zeros(len(owner) + 1, bool)
    seen[pieces[found.row, found.column]] = True
    missing = np.flatnonzero(~seen[1:]) + 1
    if not missing.size:
        return found, np.zeros(len(found.x), bool)
    at = _brightest(snr, pieces, missing)
    extra = Peaks(at[:, 0], at[:, 1], at[:, 0].astype(float), at[:, 1].astype(float), np.zeros(len(at)), np.full(len(at), np.nan))
    both = Peaks(*(np.concatenate([getattr(found, f.name), getattr(extra, f.name)]) for f in fields(Peaks)))
    return both, np.arange(len(both.x)) >= len(found.x)


def _brightest(snr: np.ndarray, pieces: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Return (n, 2) row and column of the brightest pixel of some pieces, of equals the first; only their pixels are sorted."""
    wanted = np.zeros(int(pieces.max()) + 1, bool)
    wanted[which] = True
    at = np.flatnonzero(wanted[pieces])
    at = at[np.lexsort((at, -snr.reshape(-1)[at], pieces.reshape(-1)[at]))]
    _, first = np.unique(pieces.reshape(-1)[at], return_index=True)
    return np.stack(np.divmod(at[first], snr.shape[1]), axis=1)


def _shared(bright: np.ndarray, row: np.ndarray, column: np.ndarray, device: Device) -> np.ndarray:
    """Return which seeds share their connected pixels with another one."""
    from ....kernels.components import KERNEL

    islands, n = KERNEL.on(device)(bright, 1)
    mine = islands[row, column]
    return np.asarray(np.bincount(mine, minlength=n + 1)[mine] > 1)
