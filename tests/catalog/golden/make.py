"""Make the golden files of the current schema version: `python tests/catalog/golden/make.py`.

Every released version of the schema leaves its files here, and they are read in a test for ever after.
They are made once, when a version is released, and never again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from astrosurvey.catalog.ids import object_ids
from astrosurvey.catalog.schema import core
from astrosurvey.products import Catalog


def catalogs() -> dict[str, Catalog]:
    """Return one small catalogue with nulls, NaN and a plugin's column, and one with text keys."""
    n = 4
    ids = object_ids(12345, n)
    sources = Catalog.from_columns(
        "source",
        {
            "source_id": ids,
            "tile_id": 12345,
            "parent_source_id": np.ma.MaskedArray([0, 0, ids[0], 0], [True, True, False, True]),
            "x": [10.25, 20.5, 11.0, 40.125],
            "y": [1.0, 2.0, 3.0, 4.0],
            "ra": [150.125, 0.0, 359.9999, np.nan],
            "dec": [2.25, -90.0, 89.5, np.nan],
            "x_var": np.float32([0.01, 0.02, np.nan, 0.04]),
            "x_min": [8, 18, 9, 38],
            "x_max": [13, 23, 14, 43],
            "y_min": [0, 0, 1, 2],
            "y_max": [4, 5, 6, 7],
            "n_pixels": [20, 21, 22, 23],
            "significance": np.float32([5.5, 6.5, 7.5, 8.5]),
            "n_child": [1, 0, 0, 0],
            "primary": [True, True, True, False],
            "flags": [0, 2, 2, 512],
            "x_demo_note": ["a", None, "ccc", "d"],
        },
        {"tile": {"name": "t12345", "tile_id": 12345, "core": None}},
    )
    photometry = Catalog.from_columns(
        "photometry",
        {
            "source_id": np.repeat(ids, 2),
            "band": ["g", "r"] * n,
            "method": "kron",
            "tile_id": 12345,
            "flux": np.arange(2 * n) * 100.5,
            "flux_err": np.full(2 * n, 3.25),
            "flags": 0,
        },
    )
    return {"source": sources, "photometry": photometry}


if __name__ == "__main__":
    for name, catalog in catalogs().items():
        path = Path(__file__).parent / f"{name}-{core().version.current}.parquet"
        if not path.exists():
            catalog.write(path)
