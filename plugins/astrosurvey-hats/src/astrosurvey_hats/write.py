"""Partitions and what describes them, as HATS wants them."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hats.catalog import CatalogType, CollectionProperties, PartitionInfo, TableProperties
from hats.io.file_io import get_parquet_write_table_kwargs
from hats.io.parquet_metadata import write_parquet_metadata
from hats.pixel_math import HealpixPixel

from astrosurvey import Catalog, Context, NoWork, Tiles
from astrosurvey.catalog.healpix import ORDER
from astrosurvey.catalog.margins import Spread
from astrosurvey.catalog.partitions import Partition
from astrosurvey.catalog.schema import HEALPIX_COLUMN

from .rows import wide_rows

if TYPE_CHECKING:
    from .stage import HatsExport

TABLE = "source"


class Dataset:
    """One catalogue of a collection: its partitions, written one after the other, and then what describes them.

    Args:
        folder: the catalogue's.
        properties: what `hats.properties` says of it besides numbers.
    """

    def __init__(self, folder: Path, **properties: object) -> None:
        self._folder, self._properties = folder, properties
        self._pixels: list[HealpixPixel] = []
        self._rows = 0

    @property
    def name(self) -> str:
        """The catalogue's name, which is its folder's."""
        return self._folder.name

    def __bool__(self) -> bool:
        return bool(self._pixels)

    def write(self, cell: Partition, rows: pa.Table) -> None:
        """Write the rows of a cell, if there are any, in the order of index and id."""
        if not len(rows):
            return
        rows = rows.take(pa.array(np.lexsort([rows.column(name).to_numpy() for name in ("source_id", HEALPIX_COLUMN)])))
        rows = rows.select([HEALPIX_COLUMN, *(name for name in rows.column_names if name != HEALPIX_COLUMN)])
        path = self._folder / "dataset" / cell.path
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows.combine_chunks(), path, **get_parquet_write_table_kwargs(rows.schema))
        self._pixels.append(HealpixPixel(cell.order, cell.pixel))
        self._rows += len(rows)

    def close(self) -> None:
        """Write the metadata of all partitions and the catalogue's properties. No date is among them: the run keeps that."""
        write_parquet_metadata(self._folder)
        info = PartitionInfo.from_healpix(self._pixels)
        info.write_to_file(catalog_path=self._folder)
        TableProperties(
            catalog_name=self.name,
            total_rows=self._rows,
            ra_column="ra",
            dec_column="dec",
            healpix_column=HEALPIX_COLUMN,
            healpix_order=ORDER,
            moc_sky_fraction=float(f"{info.calculate_fractional_coverage():.5g}"),
            hats_builder=f"astrosurvey-hats {version('astrosurvey-hats')}, hats {version('hats')}",
            hats_version="v1.0",
            **self._properties,
        ).to_properties_file(self._folder)


def export(ctx: Context, sources: Tiles[Catalog], photometry: Tiles[Catalog] | None, config: HatsExport.Config) -> Path:
    """Write a collection of the catalogue and its margin; return its folder.

    Raises:
        NoWork: there are no sources.
    """
    spill = ctx.scratch / "spill"
    spill.mkdir()
    spread, nowhere = Spread((TABLE,), config.rows, spill), 0
    for done, (rows, lost) in enumerate(wide_rows(sources, photometry)):
        spread.add(TABLE, rows)
        nowhere += lost
        ctx.progress(min(done, len(sources)), len(sources))
    if nowhere:
        ctx.log.warning("%d sources have no place on the sky and are left out", nowhere)
    folder = ctx.scratch / "catalog"
    primary = Dataset(folder / config.name, catalog_type=CatalogType.OBJECT)
    margin = Dataset(
        folder / f"{config.name}_{config.margin:g}arcs",
        catalog_type=CatalogType.MARGIN,
        primary_catalog=config.name,
        margin_threshold=config.margin,
    )
    for cell, part in spread.cells(config.margin, empty=config.margin > 0):
        rows, core = part[TABLE]
        primary.write(cell, rows.filter(pa.array(core)))
        margin.write(cell, rows.filter(pa.array(~core)))
    if not primary:
        raise NoWork("there are no sources with a place on the sky")
    primary.close()
    margins = {}
    if margin:
        margin.close()
        margins = {"all_margins": [margin.name], "default_margin": margin.name}
    CollectionProperties(name=config.name, hats_primary_table_url=config.name, **margins).to_properties_file(folder)
    return folder
