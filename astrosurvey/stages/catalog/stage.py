"""One catalogue of the whole survey."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...core.product import Tiles, optional
from ...core.stage import Context, DataError, NoWork, Stage, StageConfig
from ...products import Catalog

if TYPE_CHECKING:
    import pyarrow as pa

    from ...catalog.merge import Merged

TABLES = {"sources": "source", "photometry": "photometry"}
"""The tables that are merged, by port."""


class MergeCatalogs(Stage):
    """Merge the catalogues of all tiles so that every source stands once.

    A source belongs to the tile in whose cell its centre lies; near the cells' borders, where two tiles
    may see one centre on different sides, sources are matched and one of each is kept. A tile without
    sources counts as a tile.
    """

    name = "catalog.merge"
    scope = "survey"
    inputs = {"sources": Tiles.of(Catalog.of("source")), "photometry": optional(Tiles.of(Catalog.of("photometry")))}
    outputs = {
        "sources": Catalog.of("source", passes="sources"),
        "photometry": Catalog.of("photometry", passes="photometry"),
        "tiles": Catalog.of("tile"),
    }

    class Config(StageConfig):
        """Settings of `catalog.merge`."""

        radius: float = Field(2.0, gt=0, description="how far apart, in pixels, two tiles may see the centre of one source")
        partition_rows: int = Field(
            1_000_000, ge=1, description="most rows in one file; a larger catalogue is a folder of files, each of one HEALPix cell"
        )

    def run(self, ctx: Context, *, sources: Tiles[Catalog], photometry: Tiles[Catalog] | None) -> Mapping[str, Any]:
        """Return the sources, their photometry (no rows if none was wired) and the tiles they come from."""
        from ...catalog.footprint import tile_columns
        from ...catalog.merge import merge
        from ...catalog.schema import SchemaError

        if len(sources) == 0:
            raise NoWork("no tile has a catalogue")
        footprints = [_footprint(name, catalog) for name, catalog in sources.items()]
        runs = ctx.scratch / "runs"
        runs.mkdir()
        try:
            merged = merge(
                self._tiles(ctx, sources, photometry),
                footprints,
                self.config.radius,
                scratch=runs,
                partition_rows=self.config.partition_rows,
            )
            made = _made(ctx, merged)
        except SchemaError as error:
            raise DataError(str(error)) from error
        ctx.log.info(
            "%d sources; near tile borders %d were seen by several tiles, %d just outside their own",
            len(merged),
            merged.n_reconciled,
            merged.n_rescued,
        )
        return {**made, "tiles": Catalog.from_columns("tile", tile_columns(footprints, merged.n_source))}

    @staticmethod
    def _tiles(ctx: Context, sources: Tiles[Catalog], photometry: Tiles[Catalog] | None) -> Iterator[tuple[int, pa.Table, pa.Table | None]]:
        """Yield (tile id, sources, photometry) of one tile at a time."""
        measured = {name: i for i, name in enumerate(photometry.names)} if photometry is not None else {}
        for done, (name, catalog) in enumerate(sources.items()):
            ctx.progress(done, len(sources))
            flux = photometry[measured[name]].rows if photometry is not None and name in measured else None
            yield int(catalog.meta["tile"]["tile_id"]), catalog.rows, flux


def _footprint(name: str, catalog: Catalog) -> Mapping[str, Any]:
    footprint: Mapping[str, Any] | None = catalog.meta.get("tile")
    if footprint is None:
        raise DataError(
            f"the sources of {name} do not say which tile they are of; wire them from a tile-scope stage that passes on their `meta`"
        )
    return footprint


def _made(ctx: Context, merged: Merged) -> dict[str, Catalog]:
    """Return the sources and their photometry, in memory or in partitions in the scratch folder."""
    from ...products.partitions import PartitionWriter

    writers: dict[str, PartitionWriter] = {}
    for partition, *tables in merged.parts():
        rows = {port: table for port, table in zip(TABLES, tables, strict=True) if table is not None}
        if partition is None:
            return {port: Catalog(table, rows[port]) if port in rows else Catalog.empty(table) for port, table in TABLES.items()}
        for port, table in rows.items():
            if port not in writers:
                writers[port] = PartitionWriter(ctx.scratch / port, TABLES[port])
            writers[port].add(partition, table)
    return {port: writers[port].close() if port in writers else Catalog.empty(table) for port, table in TABLES.items()}
