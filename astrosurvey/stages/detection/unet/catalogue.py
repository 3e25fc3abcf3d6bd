"""From the network's maps to the two products of a detector: a segmentation and its sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ....catalog.flags import SOURCE
from ....catalog.ids import object_ids
from ....core.tiles import Tile
from .. import footprints
from ..filter import FWHM_PER_SIGMA
from ..rows import source_rows
from .calibrate import Calibration
from .decode import peaks
from .features import Features
from .predict import Maps

if TYPE_CHECKING:
    from ....products import Catalog, Image

INSIDE = 0.5
"""Of the network's mask, from which a pixel belongs to a source."""
POSITION_FLOOR = 0.1
"""Pixels; the network's positions are not better than this, however bright the source."""


def build(
    tile: Tile, image: Image, seen: Features, maps: Maps, calibration: Calibration, *, threshold: float, footprint: float
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
    """
    from ....kernels.seeded_flood import KERNEL

    found = peaks(maps.centre, maps.offset, maps.star, calibration.least(threshold))
    detection = seen.detection
    bright = (maps.mask > INSIDE) | (detection.snr > footprint)
    bright[found.row, found.column] = True
    labels = KERNEL.cpu(bright, detection.flux, found.row.astype(np.int64), found.column.astype(np.int64))
    measured = footprints.measure(labels, detection)
    # A pair without a saddle is told from its moments no better than from one source's: the network's own positions count.
    score = found.score.astype(np.float64)
    sigma2 = (seen.fwhm / FWHM_PER_SIGMA) ** 2 / np.maximum(measured["significance"], 1.0) ** 2 + POSITION_FLOOR**2
    probability = np.clip(calibration(score), 0.0, 1.0)
    columns = {
        **measured,
        "x": found.x,
        "y": found.y,
        "x_var": sigma2,
        "y_var": sigma2,
        "xy_cov": np.zeros_like(sigma2),
        "flags": (measured["flags"] & ~SOURCE["NO_CENTROID"]) | SOURCE["BLENDED"] * _shared(bright, found.row, found.column),
        "probability": probability,
        "star_probability": found.star.astype(np.float64),
    }
    if maps.scatter is not None:
        columns["probability_err"] = np.abs(calibration.slope(score)) * maps.scatter[found.row, found.column]
    labels, columns = footprints.in_raster_order(labels, columns)
    return labels, source_rows(tile, image, columns, source_id=object_ids(tile.number, len(score)))


def _shared(bright: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return which seeds share their connected pixels with another one."""
    islands, n = ndimage.label(bright, structure=np.ones((3, 3)))
    mine = islands[row, column]
    return np.asarray(np.bincount(mine, minlength=n + 1)[mine] > 1)
