"""Samples: draws from a posterior or from a generative model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.product import ProductError
from ._stored import check_array, check_meta, frozen

WEIGHT = "weight"


@dataclass(frozen=True, eq=False)
class Samples:
    """Draws of some parameters.

    Attributes:
        draws: (n, parameter) float64.
        parameters: their names; "weight" is taken.
        units: their units as FITS writes them; "" when dimensionless.
        weights: (n,) float64, not negative; they need not sum to one. None: all equal.
        meta: JSON values that travel along.
    """

    draws: np.ndarray
    parameters: tuple[str, ...]
    units: tuple[str, ...]
    weights: np.ndarray | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "samples"
    suffix: ClassVar[str] = ".parquet"

    def check(self) -> None:
        """Raise `ProductError`, naming the attribute, when a shape, type or value breaks the rules above."""
        check_array("Samples.draws", self.draws, np.float64, (None, len(self.parameters)))
        if not self.parameters or len({*self.parameters, WEIGHT}) != len(self.parameters) + 1 or not all(self.parameters):
            raise ProductError(f"Samples.parameters must be different names and not {WEIGHT!r}, not {self.parameters}")
        if len(self.units) != len(self.parameters) or not all(isinstance(unit, str) for unit in self.units):
            raise ProductError(f"Samples.units must name a unit for each of {self.parameters}, not {self.units}")
        if self.weights is not None:
            check_array("Samples.weights", self.weights, np.float64, self.draws.shape[:1])
            if not ((self.weights >= 0).all() and 0 < self.weights.sum() < np.inf):
                raise ProductError("Samples.weights must be finite, not negative and not all zero")
        check_meta("Samples.meta", self.meta)

    def write(self, path: Path) -> None:
        """Write a Parquet file with one column a parameter, and one of weights if there are any."""
        import pyarrow as pa

        from ._parquet import write_table

        columns = {name: pa.array(np.ascontiguousarray(self.draws[:, i])) for i, name in enumerate(self.parameters)}
        if self.weights is not None:
            columns[WEIGHT] = pa.array(self.weights)
        footer = {"kind": self.kind, "parameters": list(self.parameters), "units": list(self.units), "meta": dict(self.meta)}
        write_table(path, pa.table(columns), footer, dictionary=[], floats=list(columns))

    @classmethod
    def read(cls, path: Path) -> Samples:
        """Return the samples stored at `path`."""
        from ._parquet import read_table

        table, footer = read_table(path, cls.kind)
        draws = np.empty((table.num_rows, len(footer["parameters"])))
        for i, name in enumerate(footer["parameters"]):
            draws[:, i] = table[name].to_numpy()
        weights = frozen(np.array(table[WEIGHT].to_numpy())) if WEIGHT in table.column_names else None
        return cls(frozen(draws), tuple(footer["parameters"]), tuple(footer["units"]), weights, footer["meta"])

    def summary(self) -> dict[str, Any]:
        """Return the number of draws, the effective number of independent ones under the weights, and the parameters."""
        effective = float(self.weights.sum() ** 2 / (self.weights**2).sum()) if self.weights is not None else float(len(self.draws))
        return {"draws": len(self.draws), "effective": round(effective, 2), "parameters": list(self.parameters)}
