"""Which columns of a catalogue are clustered: from catalogues to points, in the metric that `metric.py` makes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from ...catalog.schema import SchemaError, suggestion
from ...core.product import Tiles, optional
from ...core.stage import DataError, StageConfig
from ...products import Catalog

if TYPE_CHECKING:
    import pyarrow as pa

DIRECTION = ("ra", "dec")
INPUTS: Mapping[str, Any] = {
    "sources": Tiles.of(Catalog.of("source")),
    "photometry": optional(Tiles.of(Catalog.of("photometry"))),
    "redshifts": optional(Tiles.of(Catalog.of("redshift"))),
}
"""Input ports of every clustering stage: catalogues of tiles, or the one that `catalog.merge` made of them; see `catalog_of`."""


class FeatureConfig(StageConfig):
    """What every clustering stage has to be told: the columns, and what a distance between two of their rows is.

    Attributes:
        knows_box: whether the method can measure across the sides of a periodic box.
    """

    knows_box: ClassVar[bool] = True

    columns: list[str] = Field(
        min_length=1,
        description="columns to cluster in: of the table source, of photometry as `r_kron_flux`, `redshift`, or `parallax` for "
        "a plugin's `x_…_parallax`; `ra` and `dec` together are a direction",
    )
    metric: Literal["scaled", "whitened", "plain"] = Field(
        "scaled",
        description="scaled: each column over its robust spread; whitened: correlations are taken out as well; plain: columns as they are",
    )
    scales: dict[str, float] = Field(
        {}, description="by column, what counts as one unit of distance, in the column's own unit (deg for `ra` or `dec`)"
    )
    box: dict[str, float] = Field({}, description="by column, its period: opposite sides of a simulation's box are neighbours")

    @model_validator(mode="after")
    def _consistent(self) -> FeatureConfig:
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("`columns` names a column twice")
        if len([name for name in DIRECTION if name in self.columns]) == 1:
            raise ValueError("`ra` and `dec` are a direction only together; name both in `columns`")
        for setting, given in (("scales", self.scales), ("box", self.box)):
            for name, value in given.items():
                if name not in self.columns:
                    raise ValueError(f"`{setting}` names {name!r}, which is not among `columns`{suggestion(name, self.columns)}")
                if not value > 0:
                    raise ValueError(f"`{setting}.{name}` must be positive")
        if any(name in self.box for name in DIRECTION):
            raise ValueError("`ra` and `dec` go round by themselves; leave them out of `box`")
        if self.box and not self.knows_box:
            raise ValueError("this method knows no periodic box; leave `box` out, or take clustering.astrolink or clustering.hdbscan")
        if self.box and self.metric == "whitened":
            raise ValueError("`box` needs the metric scaled or plain: whitening mixes columns, and a mixture has no period")
        if self.scales and self.metric == "whitened":
            raise ValueError("`scales` needs the metric scaled or plain: whitening sets the scales itself")
        if len({self.scales[name] for name in DIRECTION if name in self.scales}) == 2:
            raise ValueError("`ra` and `dec` are one direction, with one scale in degrees")
        return self


@dataclass(frozen=True, eq=False)
class Columns:
    """The chosen columns as the catalogue has them.

    Attributes:
        names: c names, as chosen.
        units: their units; "" for none.
        values: (n, c) float64, finite; `ra` and `dec` in degrees.
        rows: (n,) int64, ascending: which rows of the catalogue they are. Rows left out miss a value, or are not primary.
        total: rows of the catalogue.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    values: np.ndarray
    rows: np.ndarray
    total: int


@dataclass(frozen=True, eq=False)
class Points:
    """Points whose distances mean something.

    Attributes:
        values: (n, d) float64, C-contiguous, finite, in the metric's units; the geometry is Euclidean up to `box`.
        rows: (n,) int64, which rows of the catalogue they are; rows with a missing value are left out.
        total: rows of the catalogue.
        dimension: of the space the points fill: 2 for a direction, although it has three columns, and 1 for each other one.
        box: (d,) periods in the metric's units, 0 for none.
        names: of the columns that count, those left out as constant excepted; `ra` and `dec` come first.
    """

    values: np.ndarray
    rows: np.ndarray
    total: int
    dimension: int
    box: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)


def catalog_of(sources: Tiles[Catalog], photometry: Tiles[Catalog] | None = None, redshifts: Tiles[Catalog] | None = None) -> Catalog:
    """Return all tiles' sources as one catalogue to cluster, by ascending id, with photometry and `redshift` in columns beside them.

    The columns beside are for reading only: no file of the table `source` has them.

    Raises:
        DataError: two tiles share an id, or no redshift says of which source it is.
    """
    import pyarrow as pa

    from ...catalog.wide import wide_view

    parts = [catalog for _, catalog in sources.items()]
    joined = Catalog.concatenate(parts) if parts else Catalog.empty("source")
    del parts
    ids = joined.column("source_id")
    if (ids[1:] < ids[:-1]).any():
        joined = Catalog("source", joined.rows.take(pa.array(np.argsort(ids, kind="stable"))))
        ids = joined.column("source_id")
    if (twice := ids[1:] == ids[:-1]).any():
        raise DataError(f"source {ids[1:][twice][0]} is there more than once; give the catalogues of one run, or merge them first")
    rows = joined.rows
    try:
        if photometry is not None and (flux := [catalog for _, catalog in photometry.items()]):
            rows = wide_view(rows, Catalog.concatenate(flux).rows)
    except SchemaError as error:
        raise DataError(str(error)) from error
    if redshifts is not None:
        rows = rows.append_column("redshift", pa.array(_redshifts(joined, redshifts)))
    return Catalog("source", rows)


def _redshifts(sources: Catalog, tiles: Tiles[Catalog]) -> np.ndarray:
    """Return (n,) the redshift of rank 0 of each source, of several spectra's the surest; NaN where there is none."""
    import pyarrow.compute as pc

    parts = [catalog for _, catalog in tiles.items()]
    rows = (Catalog.concatenate(parts) if parts else Catalog.empty("redshift")).rows
    rows = rows.filter(pc.and_(pc.equal(rows.column("rank"), 0), pc.is_valid(rows.column("source_id"))))
    if rows.num_rows == 0:
        raise DataError("no redshift says of which source it is (`source_id`); match the spectra with the sources first, by catalog.match")
    owner, z, error, warning = (rows.column(name).to_numpy() for name in ("source_id", "z", "z_err", "z_warning"))
    order = np.lexsort([z, error, warning != 0, owner])
    owner, z = owner[order], z[order]
    place = np.searchsorted(owner, sources.column("source_id")).clip(max=len(owner) - 1)
    return np.asarray(np.where(owner[place] == sources.column("source_id"), z[place], np.nan))


def columns_of(catalog: Catalog, config: FeatureConfig) -> Columns:
    """Return the chosen columns of a catalogue, without the rows in which one of them is missing or that are not primary.

    Raises:
        DataError: there is no such column, several columns could be meant, or one holds no numbers.
    """
    found = [resolved(name, catalog.rows.column_names) for name in config.columns]
    if len(set(found)) != len(found):
        raise DataError(f"`columns` names one column twice: {', '.join(name for name in found if found.count(name) > 1)}")
    values = np.empty((len(catalog), len(found)))
    units = []
    for index, name in enumerate(found):
        values[:, index] = numbers(catalog.rows, name)
        units.append((catalog.rows.schema.field(name).metadata or {}).get(b"unit", b"").decode())
    keep = np.isfinite(values).all(axis=1) & catalog.column("primary")
    rows = np.flatnonzero(keep).astype(np.int64)
    return Columns(tuple(config.columns), tuple(units), values[rows], rows, len(catalog))


def resolved(name: str, there: list[str]) -> str:
    """Return the column that a setting means: that of this name, or the only plugin's column that ends in it.

    A catalogue that brings an `x` of its own may mean that one or the pixel's, so such a name is an error. Directions are
    always the table's own: readers fill these with what they take to be positions.
    """
    short = {other: other.split("_", 2)[2] for other in there if other.startswith("x_") and other.count("_") >= 2}
    meant = [other for other, end in short.items() if end == name]
    if name in there:
        if not meant or name in DIRECTION:
            return name
        meant = [name, *meant]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise DataError(f"column {name!r} could be {' or '.join(meant)}; name one of these in `columns`")
    if name == "redshift":
        raise DataError("no redshifts are wired; wire those of spectra.redshift, or of another method, through catalog.match")
    from ..io.catalog.positions import USUAL

    if any(name.lower() in names for names in USUAL.values()):
        raise DataError(f"the catalogue has no column {name!r}: positions of all catalogues are called `ra` and `dec` here")
    known = [*short.values(), *(other for other in there if other not in short)]
    raise DataError(f"the catalogue has no column {name!r}{suggestion(name, known)}")


def numbers(rows: pa.Table, name: str) -> np.ndarray:
    """Return a column as (n,) float64, with NaN for null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = rows.column(name)
    if pa.types.is_boolean(column.type) or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        kind = "text" if pa.types.is_string(column.type) else str(column.type)
        raise DataError(f"column {name!r} holds {kind}, and distances need numbers; leave it out of `columns`")
    if pa.types.is_integer(column.type):
        column = pc.cast(column, pa.float64(), safe=False)
    return np.asarray(column.to_numpy(), np.float64)


def points_of(catalog: Catalog, config: FeatureConfig, log: logging.Logger) -> Points:
    """Return the points that the settings make of a catalogue; see `columns_of` and `metric.metric_of` for what is raised."""
    from .metric import metric_of

    columns = columns_of(catalog, config)
    metric = metric_of(columns, config, log)
    if len(columns.rows) < columns.total:
        log.info(
            "%d of %d sources are not clustered: a value is missing, or they are not primary",
            columns.total - len(columns.rows),
            columns.total,
        )
    return Points(metric.apply(columns.values), columns.rows, columns.total, metric.dimension, metric.box, metric.names)


def only(catalog: Catalog, beside: Sequence[str] = ()) -> Catalog:
    """Return a catalogue with what `tables.write_tables` needs and the columns `beside`. Once the points are made the others are of no
    use, and they may be most of the memory."""
    names = ["source_id", "ra", "dec", "primary", *(resolved(name, catalog.rows.column_names) for name in beside)]
    return Catalog(catalog.table, catalog.rows.select(list(dict.fromkeys(names))))
