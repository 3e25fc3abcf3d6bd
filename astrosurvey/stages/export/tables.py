"""Tables to export: the rows of all tiles, and photometry beside the sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...core.product import Tiles
from ...core.stage import DataError, NoWork
from ...products import Catalog

MEASURES = ("flux", "flux_err", "radius", "half_light_radius", "semi_major", "semi_minor", "theta", "masked_fraction", "flags")


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


def out_tables(sources: Tiles[Catalog] | None, photometry: Tiles[Catalog] | None, wide: bool) -> list[OutTable]:
    """Return the tables to write: one each, or one row a source with its photometry beside it.

    Raises:
        DataError: nothing is wired, or `wide` without both.
        NoWork: no tile has a catalogue.
    """
    if sources is None and photometry is None:
        raise DataError("there is nothing to export: wire `sources`, `photometry` or both")
    found, measured = gathered(sources), gathered(photometry)
    if wide:
        if found is None or measured is None:
            raise DataError("`layout: wide` puts photometry beside the sources: wire both, or set `layout: tables`")
        return [OutTable("source", _unique([*_columns(found), *_pivoted(found, measured)]))]
    return [OutTable(catalog.table, _unique(_columns(catalog))) for catalog in (found, measured) if catalog is not None]


def _columns(catalog: Catalog) -> list[OutColumn]:
    table = catalog.to_astropy()
    columns = []
    for name in table.colnames:
        column = table[name]
        if column.dtype.kind == "O":
            continue  # arrays of varying length, which neither format holds in a plain column
        mask = np.asarray(column.mask) if hasattr(column, "mask") and np.ndim(column.mask) == 1 and np.any(column.mask) else None
        columns.append(
            OutColumn(name, np.asarray(column), mask, str(column.unit or ""), column.meta.get("ucd", "") or "", column.description or "")
        )
    return columns


def _pivoted(sources: Catalog, photometry: Catalog) -> list[OutColumn]:
    """Return photometry columns in the order of the sources, named band_method_measure."""
    ids = sources.column("source_id")
    order = np.argsort(ids, kind="stable")
    owner = photometry.column("source_id")
    place = np.searchsorted(ids[order], owner).clip(max=max(len(ids) - 1, 0))
    known = ids[order][place] == owner if len(ids) else np.zeros(len(owner), bool)
    row = order[place] if len(ids) else place
    bands, methods = photometry.column("band"), photometry.column("method")
    described: Mapping[str, OutColumn] = {column.name: column for column in _columns(photometry)}
    columns = []
    for band, method in sorted(set(zip(bands.tolist(), methods.tolist(), strict=True))):
        here = known & (bands == band) & (methods == method)
        for measure in MEASURES:
            column = described[measure]
            missing = np.ones(len(ids), bool)
            missing[row[here]] = False if column.mask is None else column.mask[here]
            if missing.all():
                continue
            values = np.full(len(ids), np.nan if column.values.dtype.kind == "f" else 0, column.values.dtype)
            values[row[here]] = column.values[here]
            name = re.sub(r"\W", "_", f"{band}_{method}_{measure}", flags=re.ASCII)
            text = f"{column.description} ({method}, band {band})"
            columns.append(OutColumn(name, values, missing if missing.any() else None, column.unit, column.ucd, text))
    return columns


def _unique(columns: list[OutColumn]) -> tuple[OutColumn, ...]:
    """Return the columns, or complain of two that differ only in characters that names cannot have.

    Raises:
        DataError: two columns have one name.
    """
    names = [column.name.lower() for column in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"two columns would be called {', '.join(twice)}: rename a band, or set `layout: tables`")
    return tuple(columns)
