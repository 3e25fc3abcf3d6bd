"""Catalogues to export."""

from __future__ import annotations

import numpy as np

from astrosurvey import Catalog
from astrosurvey.catalog.pixelless import pixel_columns

N = 300


def sources(seed, n=N):
    """Return sources of a tile: most in a field that lies over the border of cells and right ascension 0, the rest all over the sky."""
    rng = np.random.default_rng(seed)
    ra = np.append(rng.normal(0, 0.3, n - n // 5), rng.uniform(0, 360, n // 5)) % 360
    dec = np.append(rng.normal(0, 0.3, n - n // 5), np.degrees(np.arcsin(rng.uniform(-1, 1, n // 5))))
    columns = {"source_id": seed * 10_000 + np.arange(n), "tile_id": seed, **pixel_columns(np.arange(n)), "ra": ra, "dec": dec, "flags": 0}
    return Catalog.from_columns("source", columns)


def photometry(seed, n=N):
    """Return their fluxes in two bands; a tenth were not measured in r."""
    ids = seed * 10_000 + np.arange(n)
    columns = {"source_id": np.append(ids, ids[n // 10 :]), "band": ["g"] * n + ["r"] * (n - n // 10)}
    flux = np.random.default_rng(seed).lognormal(7, 1, len(columns["band"]))
    return Catalog.from_columns("photometry", {**columns, "method": "kron", "tile_id": seed, "flux": flux, "flux_err": 10.0, "flags": 0})
