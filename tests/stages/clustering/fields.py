"""Catalogues to be clustered: clumps in a field, and everything that catalogues are bad at."""

from __future__ import annotations

import numpy as np

from astrosurvey import Catalog


def catalog(**columns):
    """Return sources with these columns; others than those of the table source are the plugin `demo`'s."""
    n = len(next(iter(columns.values())))
    own = {name if name in ("ra", "dec", "primary", "source_id") else f"x_demo_{name}": values for name, values in columns.items()}
    pixels = {"x": np.arange(n), "y": 0, "x_min": 0, "x_max": 1, "y_min": 0, "y_max": 1, "n_pixels": 1}
    rows = {"source_id": np.arange(n) + 100, "tile_id": 1, **pixels, "significance": 0.0, "n_child": 0, "primary": True, "flags": 0, **own}
    return Catalog.from_columns("source", rows)


def clumps(n=600, seed=1):
    """Return (n, 2) points, a third of them each in two clumps and a uniform field, and (n,) labels; -1 for the field."""
    rng = np.random.default_rng(seed)
    third = n // 3
    label = np.repeat([0, 1, -1], [third, third, n - 2 * third])
    middle = np.array([[0.3, 0.3], [0.7, 0.6], [0.5, 0.5]])[label]
    values = np.where(label[:, None] < 0, rng.random((n, 2)), middle + rng.normal(size=(n, 2)) * np.where(label == 0, 0.02, 0.04)[:, None])
    return values, label
