"""Tables to export: the rows of all tiles, and photometry beside the sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...catalog.arrow import to_astropy
from ...catalog.schema import SchemaError
from ...catalog.wide import wide_view, with_posteriors
from ...core.product import Tiles
from ...core.stage import DataError, NoWork
from ...products import Catalog


@dataclass(frozen=True)
class OutColumn:
    """One column to write.

    Attributes:
        name: letters, digits and underscores.
        values: (n,) or (n, length); text as str.
        mask: (n,) bool where there is no value; None where there always is one.
        unit, ucd, description: as the schema has them; "" for none.
    """

    name: str
    values: np.ndarray
    mask: np.ndarray | None
    unit: str
    ucd: str
    description: str


@dataclass(frozen=True)
class OutTable:
    """One table to write."""

    name: str
    columns: tuple[OutColumn, ...]


def gathered(tiles: Tiles[Catalog] | None) -> Catalog | None:
    """Return the rows of all tiles in one catalogue; None if the port is not wired.

    Raises:
        NoWork: it is wired but no tile has a catalogue.
    """
    if tiles is None:
        return None
    if len(tiles) == 0:
        raise NoWork("no tile has a catalogue")
    return Catalog.concatenate([catalog for _, catalog in tiles.items()])


def out_tables(catalogs: Sequence[Tiles[Catalog] | None], *, wide: bool) -> list[OutTable]:
    """Return the tables to write: one for each catalogue.

    Args:
        catalogs: None for what is not wired; those of one table are joined.
        wide: put photometry and posteriors beside the sources, in one row for each.

    Raises:
        DataError: nothing is wired, or `wide` without sources and photometry.
        NoWork: no tile has a catalogue.
    """
    found: dict[str, Catalog] = {}
    for tiles in catalogs:
        if (catalog := gathered(tiles)) is not None:
            found[catalog.table] = Catalog.concatenate([found[catalog.table], catalog]) if catalog.table in found else catalog
    if not found:
        raise DataError("there is nothing to export: wire `sources`, `photometry` or another catalogue")
    first = []
    if wide:
        if not {"source", "photometry"} <= set(found):
            raise DataError("`layout: wide` puts photometry beside the sources: wire both, or set `layout: tables`")
        try:
            rows = wide_view(found.pop("source").rows, found.pop("photometry").rows)
            if "posterior" in found:
                rows = with_posteriors(rows, found.pop("posterior").rows)
        except SchemaError as error:
            raise DataError(str(error)) from error
        first = [OutTable("source", _columns(rows))]
    return first + [OutTable(catalog.table, _columns(catalog.rows)) for catalog in found.values()]


def _columns(rows: pa.Table) -> tuple[OutColumn, ...]:
    table = to_astropy(rows, {})
    columns = []
    for name in table.colnames:
        column = table[name]
        if column.dtype.kind == "O":
            continue  # arrays of varying length, which neither format holds in a plain column
        mask = np.asarray(column.mask) if hasattr(column, "mask") and np.ndim(column.mask) == 1 and np.any(column.mask) else None
        columns.append(
            OutColumn(name, np.asarray(column), mask, str(column.unit or ""), column.meta.get("ucd", "") or "", column.description or "")
        )
    return _unique(columns)


def _unique(columns: list[OutColumn]) -> tuple[OutColumn, ...]:
    """Return the columns, or complain of two whose names differ only in case, which FITS does not tell apart.

    Raises:
        DataError: two columns have one name.
    """
    names = [column.name.lower() for column in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"the names of two columns differ only in case: {', '.join(twice)}; rename a band, or set `layout: tables`")
    return tuple(columns)
