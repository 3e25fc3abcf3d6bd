"""Which columns of a catalogue are clustered, and in which metric: from catalogues to points.

Right ascension and declination together are a direction: they become a unit vector of three columns, so that the
seam at 0h and the poles are places like any other. All other columns become one column each. Every sum is taken in
an order of its own, so that points do not depend on the order of the rows.

References:
    Rousseeuw & Croux (1993), JASA 88, 1273 (robust scale); Mahalanobis (1936), Proc. Nat. Inst. Sci. India 2, 49.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from ...catalog.schema import SchemaError, suggestion
from ...core.product import Tiles, optional
from ...core.stage import DataError, StageConfig
from ...products import Catalog

if TYPE_CHECKING:
    import pyarrow as pa

DIRECTION = ("ra", "dec")
CENTRAL = 0.6826894921370859
"""The fraction of a Gaussian that lies within one standard deviation."""
CLIP = 3.0
"""Spreads from the median beyond which values no longer pull on a covariance."""
ALONG = 1e-10
"""Part of a whitened column's variance that must be its own: less, and the others determine it."""

INPUTS: Mapping[str, Any] = {
    "sources": Tiles.of(Catalog.of("source")),
    "photometry": optional(Tiles.of(Catalog.of("photometry"))),
    "redshifts": optional(Tiles.of(Catalog.of("redshift"))),
}
"""Input ports of every clustering stage: catalogues of tiles, or the one that `catalog.merge` made of them; see `catalog_of`."""


class FeatureConfig(StageConfig):
    """What every clustering stage has to be told: the columns, and what a distance between two of their rows is."""

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


@dataclass(frozen=True, eq=False)
class Metric:
    """How values of columns become points; made once from all of a catalogue, and then good for other draws of its values.

    Attributes:
        columns: indices of the non-constant columns that are no direction.
        direction: indices of `ra` and `dec`; None without them.
        angle: rad that count as one unit of distance; 0 if the direction is constant, and so left out.
        transform: (k, k) lower triangular, of the k columns; the points are `transform @ values`.
        shift: (k,) what is subtracted before, so that no digits are lost.
        period: (k,) of the columns, in their own units; 0 for none.
        names: see `Points`.
    """

    columns: tuple[int, ...]
    direction: tuple[int, int] | None
    angle: float
    transform: np.ndarray
    shift: np.ndarray
    period: np.ndarray
    names: tuple[str, ...]

    @property
    def dimension(self) -> int:
        """The intrinsic dimension; see `Points`."""
        return (2 if self.direction else 0) + len(self.columns)

    @property
    def box(self) -> np.ndarray:
        """(d,) periods of the points' columns."""
        return np.concatenate([np.zeros(3 if self.direction else 0), self.period * np.diag(self.transform)])

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return (n, d) points of (n, c) values of the chosen columns, C-contiguous."""
        flat = values[:, list(self.columns)] - self.shift
        flat = np.where(self.period > 0, np.mod(flat, np.where(self.period > 0, self.period, 1.0)), flat)
        result = np.zeros((len(values), len(self.box)))
        first = len(self.box) - len(self.columns)
        if self.direction:
            ra, dec = (values[:, index] for index in self.direction)
            result[:, :first] = _unit_vectors(ra, dec) / self.angle
        # A matrix product would round a row differently from place to place.
        for i, j in zip(*np.nonzero(self.transform), strict=True):
            result[:, first + i] += self.transform[i, j] * flat[:, j]
        result[(self.box > 0) & (result >= self.box)] = 0.0  # rounded onto the far side of the box
        return result


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
    order = np.argsort(joined.column("source_id"), kind="stable")
    joined = Catalog("source", joined.rows.take(pa.array(order)))
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
    """Return (n,) the redshift of rank 0 of each source; NaN where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [catalog.rows.select(["source_id", "rank", "z"]) for _, catalog in tiles.items()]
    rows = pa.concat_tables(parts) if parts else Catalog.empty("redshift").rows
    rows = rows.filter(pc.and_(pc.equal(rows.column("rank"), 0), pc.is_valid(rows.column("source_id"))))
    if rows.num_rows == 0:
        raise DataError("no redshift says of which source it is (`source_id`); match the spectra with the sources first")
    owner, z = rows.column("source_id").to_numpy(), rows.column("z").to_numpy()
    order = np.lexsort([z, owner])
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
    """Return the column that a setting means: that of this name, or the only plugin's column that ends in it."""
    if name in there:
        return name
    short = {other: other.split("_", 2)[2] for other in there if other.startswith("x_") and other.count("_") >= 2}
    meant = [other for other, end in short.items() if end == name]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise DataError(f"column {name!r} could be {' or '.join(meant)}; name one of these in `columns`")
    known = [other for other in there if other not in short] + list(short.values())
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


def metric_of(columns: Columns, config: FeatureConfig, log: logging.Logger) -> Metric:
    """Return the metric that the settings ask for, measured on the columns.

    Raises:
        DataError: units differ in a plain metric, all columns are constant, or one is a combination of others.
    """
    direction = tuple(columns.names.index(name) for name in DIRECTION) if DIRECTION[0] in columns.names else None
    others = [index for index, name in enumerate(columns.names) if name not in DIRECTION]
    if config.metric == "plain":
        _require_one_unit(columns, config)
    spreads = {index: _spread(columns.values[:, index]) for index in others}
    constant = [columns.names[index] for index in others if spreads[index] == 0]
    angle = _angle(columns.values[:, list(direction)], config) if direction else 0.0
    if direction and angle == 0:
        constant, direction = [*DIRECTION, *constant], None
    kept = [index for index in others if spreads[index] > 0]
    if constant and len(columns.rows) > 1:
        if not kept and not direction:
            raise DataError(f"all of the columns {', '.join(constant)} are constant; there is nothing to cluster")
        log.warning("left out because constant: %s", ", ".join(constant))
    if len(columns.rows) <= 1:  # nothing can be measured, and nothing is needed
        kept, spreads = others, dict.fromkeys(others, 1.0)
    names = [columns.names[index] for index in kept]
    period = np.array([config.box.get(name, 0.0) for name in names])
    for index, length in zip(kept, period, strict=True):
        if length and len(columns.rows) and np.ptp(columns.values[:, index]) > length * (1 + 1e-9):
            raise DataError(f"column {columns.names[index]!r} spans more than its period {length:g}; give the box's true side in `box`")
    shift = np.where(period > 0, 0.0, [_middle(columns.values[:, index]) for index in kept])
    if config.metric == "whitened":
        transform = _whitening(columns.values[:, kept] - shift, names)
    else:
        measured = [CENTRAL / 2 * length or spreads[index] for index, length in zip(kept, period, strict=True)]
        default = measured if config.metric == "scaled" else np.ones(len(kept))
        transform = np.diag([1 / config.scales.get(name, unit) for name, unit in zip(names, default, strict=True)]).reshape(
            len(kept), len(kept)
        )
    chosen = ((*DIRECTION,) if direction else ()) + tuple(names)
    pair = (direction[0], direction[1]) if direction else None
    return Metric(tuple(kept), pair, angle, transform, shift, period, chosen)


def points_of(catalog: Catalog, config: FeatureConfig, log: logging.Logger) -> Points:
    """Return the points that the settings make of a catalogue; see `columns_of` and `metric_of` for what is raised."""
    columns = columns_of(catalog, config)
    metric = metric_of(columns, config, log)
    if len(columns.rows) < columns.total:
        log.info(
            "%d of %d sources are not clustered: a value is missing, or they are not primary",
            columns.total - len(columns.rows),
            columns.total,
        )
    return Points(metric.apply(columns.values), columns.rows, columns.total, metric.dimension, metric.box, metric.names)


def _require_one_unit(columns: Columns, config: FeatureConfig) -> None:
    units: dict[str, list[str]] = {}
    scaled = {*config.scales, *(DIRECTION if any(name in config.scales for name in DIRECTION) else ())}
    for name, unit in zip(columns.names, columns.units, strict=True):
        units.setdefault("" if name in scaled else unit, []).append(name)
    if len(units) > 1:
        listed = "; ".join(f"{', '.join(names)} in {unit or 'no unit'}" for unit, names in units.items())
        raise DataError(f"a plain distance cannot mix units ({listed}); set `scales` for the columns, or the metric scaled")


def _spread(values: np.ndarray) -> float:
    """Return half the range that the central 68 % of values take; their standard deviation if that is none; 0 for constants."""
    if len(values) == 0 or values.min() == values.max():
        return 0.0
    low, high = np.quantile(values, [(1 - CENTRAL) / 2, (1 + CENTRAL) / 2])
    if high > low:
        return float(high - low) / 2
    middle = _middle(values)
    return float(np.sqrt(np.sort((values - middle) ** 2).mean()))


def _middle(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _angle(degrees: np.ndarray, config: FeatureConfig) -> float:
    """Return the angle, in rad, that counts as one unit: as declared, a degree if plain, or else measured on each axis."""
    declared = [config.scales[name] for name in DIRECTION if name in config.scales]
    unit = _unit_vectors(degrees[:, 0], degrees[:, 1])
    constant = len(unit) > 1 and bool((degrees == degrees[0]).all())
    if declared or config.metric == "plain" or len(unit) <= 1:
        return 0.0 if constant else float(np.radians(declared[0] if declared else 1.0))
    if constant:
        return 0.0
    mean = np.sort(unit, axis=0).sum(axis=0)
    length = np.sqrt((mean**2).sum())
    # Directions all over the sky have no middle to measure from: there, a radian is as good a unit as any.
    if length < 0.1 * len(unit):
        return 1.0
    apart = 2 * np.arcsin(np.minimum(np.sqrt(((unit - mean / length) ** 2).sum(axis=1)) / 2, 1))
    # In two dimensions, half of a Gaussian lies within sqrt(2 ln 2) standard deviations.
    return float(np.median(apart) / np.sqrt(2 * np.log(2)) or np.sqrt(np.sort(apart**2).mean() / 2))


def _unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return (n, 3) unit vectors of directions in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _whitening(values: np.ndarray, names: list[str]) -> np.ndarray:
    """Return the (k, k) matrix after which (n, k) values have unit variance and no correlation, outliers apart.

    Raises:
        DataError: a column is a combination of others.
    """
    if len(values) <= 1:
        return np.eye(len(names))
    spread = np.array([_spread(column) for column in values.T])
    clipped = np.clip(values / spread, -CLIP, CLIP)
    clipped = clipped - np.sort(clipped, axis=0).mean(axis=0)
    k = len(names)
    covariance = np.array([[np.sort(clipped[:, i] * clipped[:, j]).mean() for j in range(k)] for i in range(k)]).reshape(k, k)
    factor = np.zeros((k, k))
    for i in range(k):  # Cholesky's, which says at which column it fails
        for j in range(i + 1):
            rest = covariance[i, j] - factor[i, :j] @ factor[j, :j]
            if i == j and rest <= ALONG * covariance[i, i]:
                raise DataError(f"column {names[i]!r} is a combination of {', '.join(names[:i])}; leave one of them out of `columns`")
            factor[i, j] = np.sqrt(rest) if i == j else rest / factor[j, j]
    return np.linalg.solve(factor, np.diag(1 / spread))
