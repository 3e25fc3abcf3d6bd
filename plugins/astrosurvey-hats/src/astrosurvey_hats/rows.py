"""Sources with their photometry beside them, catalogue after catalogue."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from astrosurvey import Catalog, DataError, Tiles
from astrosurvey.catalog.schema import SchemaError
from astrosurvey.catalog.wide import wide_view
from astrosurvey.products.partitions import PartitionedCatalog


def wide_rows(sources: Tiles[Catalog], photometry: Tiles[Catalog] | None) -> Iterator[tuple[pa.Table, int]]:
    """Yield the primary sources that have a place on the sky, with their photometry, and how many primary ones have none.

    Raises:
        DataError: two names of columns come out the same.
    """
    measured = {name: index for index, name in enumerate(photometry.names)} if photometry is not None else {}
    for name, catalog in sources.items():
        flux = photometry[measured[name]] if photometry is not None and name in measured else None
        for part, beside in _pairs(catalog, flux):
            placed = np.isfinite(part.column("ra")) & np.isfinite(part.column("dec"))
            primary = part.column("primary")
            try:
                rows = part.rows if beside is None else wide_view(part.rows, beside.rows)
            except SchemaError as error:
                raise DataError(str(error)) from error
            yield rows.filter(pa.array(placed & primary)), int((primary & ~placed).sum())


def _pairs(sources: Catalog, photometry: Catalog | None) -> Iterator[tuple[Catalog, Catalog | None]]:
    """Yield partitions of sources with the photometry of the same sources; all at once, where their catalogues are not cut alike."""
    if photometry is None:
        yield from ((part, None) for part in sources.partitions())
    elif isinstance(sources, PartitionedCatalog) and isinstance(photometry, PartitionedCatalog) and [*sources.cells] == [*photometry.cells]:
        yield from zip(sources.partitions(), photometry.partitions(), strict=True)
    else:
        yield sources, photometry
