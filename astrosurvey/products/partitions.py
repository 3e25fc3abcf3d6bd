"""A catalogue too large for one file, or for memory: a folder of partitions, each read when it is asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..catalog.partitions import Partition
from ..catalog.schema import current, suggestion
from ..core.product import ProductError
from ._stored import read_card, write_card
from .catalog import Catalog, as_product_error

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

CARD = "_catalog.json"
"""What the partitions are. Programs that read Parquet from folders pass over names that begin so."""


class PartitionedCatalog(Catalog):
    """A catalogue in a folder of Parquet files, one a partition, laid out as HATS has them.

    It is used like any other catalogue: `len` and `summary` read no rows, `column` reads one column, `partitions`
    one file at a time, and `rows` everything.

    Attributes:
        folder: where the files are.
        cells: the partitions with their numbers of rows, in the order of the rows.
    """

    folder: Path
    cells: Mapping[Partition, int]
    _nulls: Mapping[str, int]
    _rows: pa.Table | None

    def __init__(self, folder: Path) -> None:
        if not (folder / CARD).is_file():
            raise ProductError(f"{folder} is a folder but no catalogue in partitions: it has no {CARD}")
        card = read_card(folder / CARD, self.kind, "table", "meta", "columns", "partitions")
        try:
            cells = {Partition(int(part["order"]), int(part["pixel"])): int(part["rows"]) for part in card["partitions"]}
            nulls = {str(name): int(number) for name, number in card["columns"].items()}
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ProductError(f"{folder / CARD} is damaged: {error!r}; run the stage that wrote it again") from error
        if missing := [str(part.path) for part in cells if not (folder / part.path).is_file()]:
            raise ProductError(f"{folder} lacks {missing[0]}; run the stage that wrote it again")
        with as_product_error():
            table = current()[str(card["table"])]
        # As files of other versions of the schema are read: what they lack is null, what is unknown is left out.
        nulls = {column.name: nulls.get(column.name, sum(cells.values())) for column in table.columns} | {
            name: number for name, number in nulls.items() if name in table or name.startswith("x_")
        }
        held = {"table": table.name, "meta": card["meta"], "folder": folder, "cells": cells, "_nulls": nulls, "_rows": None}
        for name, value in held.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"<Catalog of {len(self)} rows of {self.table} in {len(self.cells)} partitions: {self.folder}>"

    def __len__(self) -> int:
        return sum(self.cells.values())

    @property
    def files(self) -> list[Path]:
        """The partitions' files, in the order of the rows."""
        return [self.folder / part.path for part in self.cells]

    @property
    def rows(self) -> pa.Table:
        """All rows; they stay in memory."""
        if self._rows is None:
            object.__setattr__(self, "_rows", Catalog.concatenate(list(self.partitions())).rows)
        return self._rows

    def partitions(self) -> Iterator[Catalog]:
        """Yield the catalogues of the partitions, reading one at a time."""
        for path, number in zip(self.files, self.cells.values(), strict=True):
            part = Catalog.read(path)
            if part.table != self.table or len(part) != number:
                raise ProductError(f"{path} does not hold the rows that {self.folder / CARD} says; run the stage that wrote it again")
            yield part

    def column(self, name: str) -> np.ndarray:
        """Return a column as a read-only array, without reading the others; see `Catalog.column`."""
        if self._rows is not None:
            return super().column(name)
        if name not in self._nulls:
            raise ProductError(f"there is no column {name!r}{suggestion(name, self._nulls)}")
        import pyarrow as pa

        from ..catalog.arrow import to_numpy
        from ..catalog.parquet import read_rows

        with as_product_error():
            return to_numpy(pa.concat_tables([read_rows(path, current(), [name])[1] for path in self.files]), name)

    def check(self) -> None:
        """Raise `ProductError` unless the rows of each partition keep the rules, and no object is in two of them."""
        import numpy as np

        first = self.schema.key[0]
        seen = []
        for path, part in zip(self.files, self.partitions(), strict=True):
            try:
                part.check()
            except ProductError as error:
                raise ProductError(f"{path.relative_to(self.folder)}: {error}") from None
            values = np.sort(part.column(first))
            seen.append(values[np.append(values[1:] != values[:-1], True)[: len(values)]])
        values = np.sort(np.concatenate(seen))
        if (twice := values[1:][values[1:] == values[:-1]]).size:
            raise ProductError(f"table {self.table}: {first}={twice[0]} is in two partitions")

    def summary(self) -> dict[str, Any]:
        """Return the table's name, the number of rows and columns, the columns that are all null, and the number of partitions."""
        empty = [name for name, number in self._nulls.items() if number == len(self)]
        return {
            "table": self.table, "rows": len(self), "columns": len(self._nulls), "not_filled": empty, "partitions": len(self.cells)
        }  # fmt: skip

    def write(self, path: Path) -> None:
        """Store the catalogue as a folder; its files are linked where the file system can, else copied."""
        path.mkdir()
        for file in [*(part.path for part in self.cells), Path(CARD)]:
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(self.folder / file, path / file)
            except OSError:  # another file system, or one without links
                shutil.copyfile(self.folder / file, path / file)


class PartitionWriter:
    """Writes a partitioned catalogue into a new folder, one partition after the other in the order of their rows.

    Args:
        folder: the folder to make.
        table: a table of the schema.
    """

    def __init__(self, folder: Path, table: str) -> None:
        self._folder, self._table = folder, table
        self._cells: dict[Partition, int] = {}
        self._nulls: dict[str, int] = {}
        folder.mkdir()

    def add(self, partition: Partition, rows: pa.Table) -> None:
        """Write the rows of a partition; all have the same columns."""
        path = self._folder / partition.path
        path.parent.mkdir(parents=True, exist_ok=True)
        Catalog(self._table, rows).write(path)
        self._cells[partition] = rows.num_rows
        for name in rows.column_names:
            self._nulls[name] = self._nulls.get(name, 0) + rows.column(name).null_count

    def close(self) -> PartitionedCatalog:
        """Write what the partitions are, and return the catalogue."""
        cells = [{"order": part.order, "pixel": part.pixel, "rows": number} for part, number in self._cells.items()]
        card = {"kind": Catalog.kind, "table": self._table, "meta": {}, "columns": self._nulls, "partitions": cells}
        write_card(self._folder / CARD, card)
        return PartitionedCatalog(self._folder)


def parquet_files(path: Path) -> list[Path]:
    """Return the Parquet files of a stored catalogue, in the order of the rows: itself, or its partitions."""
    return PartitionedCatalog(path).files if path.is_dir() else [path]
