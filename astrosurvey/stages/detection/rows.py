"""Rows of the source table from measured footprints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...catalog import footprint, ownership
from ...catalog.flags import SOURCE
from ...core.tiles import Tile
from ...products import Catalog
from ..sky import to_sky

if TYPE_CHECKING:
    from ...products import Image


def source_rows(tile: Tile, image: Image, measured: Mapping[str, np.ndarray], **more: Any) -> Catalog:
    """Return source rows for measured footprints, with sky positions and ownership filled in.

    Args:
        tile: the tile they were found on.
        image: its image, for the world coordinates.
        measured: what `footprints.measure` returned, in row order.
        more: further columns: `source_id`, and `parent_source_id` where there are parents.
    """
    ra, dec = to_sky(image.wcs, measured["x"], measured["y"])
    columns = {
        **measured,
        **more,
        "tile_id": tile.number,
        "ra": ra,
        "dec": dec,
        "n_child": 0,
        "primary": ownership.primary(tile, measured["x"], measured["y"]),
        "flags": measured["flags"] | SOURCE["NO_SKY_POSITION"] * ~np.isfinite(ra),
    }
    usable = np.asarray(image.usable().any(axis=0)) if image.wcs is not None else None  # where there is no sky, there is no outline on it
    return Catalog.from_columns("source", columns, {"tile": footprint.describe(tile, image.data.shape, image.wcs, usable)})
