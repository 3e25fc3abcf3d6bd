"""Finding a run's catalogues, and streaming a few of their columns as NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.store import Store
from ..core.tiling import SURVEY
from ..products.partitions import parquet_files
from .gather import Run

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 250_000
"""Rows read at a time, so that a survey's catalogue of any length fits into memory."""


class Readable(Mapping[str, Path]):
    """Where the products of tiles can be read; of a packed run each is got out of its pack when it is asked for."""

    def __init__(self, store: Store, paths: dict[str, Path]) -> None:
        self._store, self._paths = store, paths

    def __getitem__(self, tile: str) -> Path:
        return self._store.get(self._paths[tile])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, tile: object) -> bool:
        return tile in self._paths


@dataclass(frozen=True)
class Found:
    """The catalogues of one table that a stage has made: one of the survey, or one a tile.

    Attributes:
        paths: by tile name, or by "survey".
    """

    stage: str
    paths: Mapping[str, Path]

    @property
    def merged(self) -> bool:
        """Whether it is the survey's one catalogue."""
        return SURVEY in self.paths


@dataclass(frozen=True)
class Text:
    """A column of strings in few words: `names[codes]`, -1 for null."""

    codes: np.ndarray
    names: list[str]


Column = np.ndarray | Text


def find(run: Run, table: str, *, merged: bool | None = None) -> Found | None:
    """Return the last stage's catalogues of a table: the survey's if there is one, else the tiles'.

    Args:
        run: the run.
        table: a table of the schema.
        merged: ask for the survey's (True) or for the tiles' (False) alone.
    """
    best: Found | None = None
    for stage in run.stages:
        paths = {}
        for tile, _, stored, path in run.products(stage):
            if stored.kind == "catalog" and isinstance(stored.summary, dict) and stored.summary.get("table") == table:
                paths[tile] = path
        found = Found(stage, Readable(run.store, paths))
        if paths and (merged is None or merged == found.merged) and (best is None or found.merged or not best.merged):
            best = found
    return best


def batches(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Column]]:
    """Yield the columns of a stored catalogue batch by batch; a column that it does not have is left out.

    Floats and integers with nulls become float with NaN; strings become `Text`.
    """
    import pyarrow.parquet as pq

    for part in parquet_files(path):
        with pq.ParquetFile(part) as file:
            wanted = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=BATCH, columns=wanted):
                yield {name: _column(batch.column(name)) for name in wanted}


def _column(array: pa.Array) -> Column:
    import pyarrow as pa

    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_dictionary(array.type):
        coded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return Text(codes.astype(np.int32), [str(name) for name in coded.dictionary.to_pylist()])
    if pa.types.is_boolean(array.type):
        return np.asarray(array.fill_null(False).to_numpy(zero_copy_only=False), bool)
    return np.asarray(array.to_numpy(zero_copy_only=False))


def numbers(batch: dict[str, Column], name: str, rows: int | None = None) -> np.ndarray:
    """Return a numeric column of a batch as float64; NaN in all rows where the batch has none."""
    column = batch.get(name)
    if isinstance(column, np.ndarray):
        return column.astype(np.float64)
    return np.full(length(batch) if rows is None else rows, np.nan)


def length(batch: dict[str, Column]) -> int:
    """Return the number of rows of a batch."""
    for column in batch.values():
        return len(column.codes) if isinstance(column, Text) else len(column)
    return 0
