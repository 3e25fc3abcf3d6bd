"""`sbi.observe`: columns of a catalogue, as the data from which parameters of each source, or of all together, are inferred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from ...core.product import Tiles, optional
from ...core.stage import Context, DataError, NoWork, Stage, StageConfig
from ...products import Catalog, Observations


class ObserveSources(Stage):
    """Take columns of a catalogue as one observation for each source, or as one for all sources of a tile.

    Columns are those of the table `source`, of photometry as `r_kron_flux`, `redshift`, and those of plugins by their short names, as in
    clustering. A value that a source lacks is NaN. With `rows`, the primary sources of a tile that lack none are one set, (row, column),
    whose order means nothing; `sbi.moments` with `network: deep_set` learns from such.
    """

    name, version, scope = "sbi.observe", 2, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {
        "sources": Catalog.of("source"),
        "photometry": optional(Catalog.of("photometry")),
        "redshifts": optional(Catalog.of("redshift")),
    }
    outputs: ClassVar[Mapping[str, Any]] = {"observations": Observations}

    class Config(StageConfig):
        """Which columns."""

        columns: list[str] = Field(min_length=1, description="columns, in the order of the simulator's features, such as r_kron_flux")
        rows: int | None = Field(
            None, ge=1, le=1_000_000, description="room for sources in the set that a tile is, NaN where there are fewer; unset: no sets"
        )

        @field_validator("columns")
        @classmethod
        def _once(cls, value: list[str]) -> list[str]:
            if len(set(value)) != len(value):
                raise ValueError("`columns` names a column twice")
            return value

    def run(self, ctx: Context, *, sources: Catalog, photometry: Catalog | None, redshifts: Catalog | None) -> Mapping[str, Any]:
        """Return the tile's observations, by ascending source id, or the one that they are together."""
        from ..clustering.features import catalog_of, numbers, resolved
        from .sets import padded

        if len(sources) == 0:
            raise NoWork("there are no sources")
        catalog = catalog_of(
            _alone(sources), None if photometry is None else _alone(photometry), None if redshifts is None else _alone(redshifts)
        )
        found = [resolved(name, catalog.rows.column_names) for name in self.config.columns]
        data = np.stack([numbers(catalog.rows, name) for name in found], axis=1).astype(np.float32)
        if np.isinf(data).any():
            name = self.config.columns[int(np.isinf(data).any(axis=0).argmax())]
            raise DataError(f"column {name!r} holds values beyond single precision")
        names, about = tuple(self.config.columns), [catalog.rows.schema.field(name).metadata or {} for name in found]
        units = tuple(said.get(b"unit", b"").decode() for said in about)
        if self.config.rows is None:
            return {"observations": Observations(data, np.array(catalog.column("source_id")), "source", names, units=units)}
        assert ctx.tile is not None
        one = padded(data[catalog.column("primary")], self.config.rows, "sources")
        return {"observations": Observations(one, np.array([ctx.tile.number]), "tile", names, units=units)}


def _alone(catalog: Catalog) -> Tiles[Catalog]:
    return Tiles(("one",), lambda _: catalog)
