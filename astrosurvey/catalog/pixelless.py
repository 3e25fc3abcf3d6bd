"""Sources that were not measured on pixels: what stands in the columns of the table `source` that say where they were.

These columns cannot be null, because every reader of a detector's catalogue relies on them. A source of a published or
simulated catalogue is given a place of its own in a row of pixels instead: its number in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def pixel_columns(rows: np.ndarray) -> dict[str, Any]:
    """Return the pixel columns of sources: each is a pixel of its own, in the column of its row number and in row 0.

    Args:
        rows: (n,) numbers, from 0, of their rows in the file or simulation.
    """
    rows = np.asarray(rows, np.int64)
    box = {"x_min": rows, "x_max": rows + 1, "y_min": 0, "y_max": 1, "n_pixels": 1}
    return {"x": rows.astype(np.float64), "y": 0.0, **box, "significance": 0.0, "n_child": 0, "primary": True}


def pixelless_footprint(name: str, number: int, n: int) -> Mapping[str, Any]:
    """Return the footprint of a tile of such sources, for `Catalog.meta["tile"]`: it overlaps with no other tile.

    Args:
        name: of the tile.
        number: of the tile.
        n: rows.
    """
    sky = dict.fromkeys(("pixel_scale", "s_ra", "s_dec", "s_fov", "corners", "outline"))
    return {"name": name, "tile_id": int(number), "nx": max(n, 1), "ny": 1, "x0": 0, "y0": 0, "core": None, **sky}
