"""Observations: data vectors (or images, or cubes) that parameters are inferred from, simulated or real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.product import ProductError
from ._npy import forget, map_npy, rows_at_once, write_npy
from ._stored import check_array, check_folder, check_ids, check_meta, frozen, read_card, write_card
from .samples import Samples

DATA, IDS, PARAMETERS, CARD = "data.npy", "ids.npy", "parameters.parquet", "card.json"
ABOUT = ("", "source", "spectrum", "tile")


@dataclass(frozen=True, eq=False)
class Observations:
    """Data of n objects, fields or simulations, from which parameters are inferred.

    What is read is memory-mapped, so that a stage can go through more data than there is memory.

    Attributes:
        data: (n, …) float32 or float16, one row an observation; NaN: missing, never infinite.
        ids: (n,) int64, each once.
        about: what the ids name: "source", "spectrum", "tile"; "" for simulations.
        names: those of the features when the data are (n, feature), or of the columns when they are sets, (n, row, column); may be empty.
        parameters: of length n, the parameters that made the data, in the same order; None: nobody knows them.
        meta: JSON values that travel along: the simulator with its version and settings, how many simulations failed.
        units: those of the features or columns that have names, as VOUnit; "" where one has none, or nobody says; empty: nobody says.
    """

    data: np.ndarray
    ids: np.ndarray
    about: str = ""
    names: tuple[str, ...] = ()
    parameters: Samples | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    units: tuple[str, ...] = ()

    kind: ClassVar[str] = "observations"
    suffix: ClassVar[str] = ""

    def __len__(self) -> int:
        return len(self.data)

    def check(self) -> None:
        """Raise `ProductError`, naming the attribute, when a shape, type or value breaks the rules above."""
        self._check_shape()
        rows = rows_at_once(self.data)
        for start in range(0, len(self.data), rows):
            if np.isinf(self.data[start : start + rows]).any():
                raise ProductError("Observations.data must not be infinite; NaN says that a value is missing")
            forget(self.data)

    def _check_shape(self) -> None:
        if not isinstance(self.data, np.ndarray) or self.data.ndim < 2:
            raise ProductError("Observations.data must be an array with one row an observation and at least one more axis")
        check_array("Observations.data", self.data, np.float16 if self.data.dtype == np.float16 else np.float32, (None,) * self.data.ndim)
        check_ids("Observations.ids", self.ids, len(self.data))
        if self.ids.dtype != np.int64:
            raise ProductError("Observations.ids must be int64")
        if self.about not in ABOUT:
            raise ProductError(f"Observations.about must be one of {', '.join(map(repr, ABOUT))}, not {self.about!r}")
        named = self.data.ndim in (2, 3) and self.data.shape[-1] == len(self.names)
        if self.names and (not named or len({*self.names}) != len(self.names) or not all(self.names)):
            raise ProductError(f"Observations.names must be a different name for each of the features or columns, not {self.names}")
        if self.units and (len(self.units) != len(self.names) or not all(isinstance(unit, str) for unit in self.units)):
            raise ProductError(f"Observations.units must be one for each of the names, not {self.units}")
        if self.parameters is not None:
            if len(self.parameters.draws) != len(self.data):
                raise ProductError(f"Observations.parameters has {len(self.parameters.draws)} rows for {len(self.data)} observations")
            self.parameters.check()
        check_meta("Observations.meta", self.meta)

    def write(self, path: Path) -> None:
        """Write the folder `path` with data.npy, ids.npy, card.json, and parameters.parquet if the parameters are known."""
        path.mkdir()
        write_npy(path / DATA, self.data)
        write_npy(path / IDS, self.ids)
        if self.parameters is not None:
            self.parameters.write(path / PARAMETERS)
        content = {"kind": self.kind, "about": self.about, "names": list(self.names), "meta": dict(self.meta)}
        if self.units:
            content["units"] = list(self.units)
        write_card(path / CARD, content)

    @classmethod
    def read(cls, path: Path) -> Observations:
        """Return the observations in the folder `path`, which must hold their files and nothing else; data stay on the disk.

        Raises:
            ProductError: a file is missing, too many or damaged.
        """
        there = check_folder(path, CARD, DATA, IDS, perhaps=(PARAMETERS,))
        content = read_card(path / CARD, cls.kind, "about", "names", "meta", perhaps=("units",))
        parameters = Samples.read(path / PARAMETERS) if PARAMETERS in there else None
        ids = frozen(np.array(map_npy(path / IDS)))
        names, units = tuple(content["names"]), tuple(content.get("units", ()))
        found = cls(map_npy(path / DATA), ids, content["about"], names, parameters, content["meta"], units)
        found._check_shape()  # the data themselves are read when somebody wants them
        return found

    def summary(self) -> dict[str, Any]:
        """Return the number of observations, the shape of one, and the parameters that made them."""
        made = {"parameters": list(self.parameters.parameters)} if self.parameters is not None else {}
        return {"observations": len(self), "shape": list(self.data.shape[1:]), **made}
