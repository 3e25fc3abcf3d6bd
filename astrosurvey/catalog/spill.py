"""Sorting more rows than memory holds: sorted runs on disk, of which one range of keys at a time is read back.

Sources are sorted by their HEALPix index of order 29, those without a place on the sky by tile behind them; photometry follows its sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from .arrow import concatenate, to_numpy
from .healpix import ORDER, healpix_29
from .partitions import DEEPEST, NOWHERE_ORDER, Partition, cut_list, cut_sky
from .schema import Table

KEY = "_key"
NOWHERE = 12 << 2 * ORDER
"""Keys of rows without a place on the sky are this and the tile's id, behind all places."""
_BATCH = 2**15
"""Rows of a run that are read at once."""

Span = tuple[int, int]
EVERYTHING: Span = (0, 2**63 - 1)


class Pile:
    """Sources and their photometry: in memory up to a number of rows, then in sorted runs on disk.

    Args:
        tables: the schema's tables, among them `source` and `photometry`.
        limit: the most rows of a table in memory, and in a partition.
        scratch: a folder for the runs.
    """

    def __init__(self, tables: Mapping[str, Table], limit: int, scratch: Path) -> None:
        self._limit, self._scratch = limit, scratch
        self._kinds = {name: _Kind(tables[name]) for name in ("source", "photometry")}
        self._ids: list[np.ndarray] = []

    def add(self, tile: int, sources: pa.Table, photometry: pa.Table | None) -> None:
        """Put in sources of a tile and their photometry, of which the rows of other sources are left out."""
        ids, key = to_numpy(sources, "source_id"), _keys(sources)
        self._ids.append(ids)
        self._kinds["source"].hold(tile, sources, key)
        if photometry is not None:
            place = find(ids, to_numpy(photometry, "source_id"))
            mine = place >= 0
            self._kinds["photometry"].hold(tile, photometry.filter(pa.array(mine)), key[place[mine]])
        if max(kind.n_held for kind in self._kinds.values()) > self._limit:
            self._flush()

    def _flush(self) -> None:
        for name, kind in self._kinds.items():
            if rows := kind.take():
                kind.runs.append(FileRun(self._scratch / f"{name}-{len(kind.runs):06d}.arrow", rows))

    def close(self) -> None:
        """Have all rows sorted; nothing can be put in after this."""
        if any(kind.runs for kind in self._kinds.values()):
            self._flush()
        for kind in self._kinds.values():
            if rows := kind.take():
                kind.runs.append(MemoryRun(rows))

    @property
    def has_photometry(self) -> bool:
        """Whether a tile had photometry, be it without rows."""
        return bool(self._kinds["photometry"].schemas)

    def __len__(self) -> int:
        return sum(len(ids) for ids in self._ids)

    @cached_property
    def ids(self) -> np.ndarray:
        """Ids of all sources, ascending."""
        self._ids = [np.sort(np.concatenate([np.empty(0, np.int64), *self._ids]))]
        return self._ids[0]

    def cut(self) -> list[tuple[Partition | None, Span]]:
        """Return the partitions with their ranges of keys; one that is None where all rows fit into one file."""
        sky, nowhere = (
            _counts([[getattr(run, part) for run in kind.runs] for kind in self._kinds.values()]) for part in ("sky", "nowhere")
        )
        if (sky[1].sum(axis=0) + nowhere[1].sum(axis=0)).max() <= self._limit:
            return [(None, EVERYTHING)]
        found: list[tuple[Partition | None, Span]] = [(partition, partition.span) for partition in cut_sky(*sky, self._limit)]
        for number, (first, last) in enumerate(cut_list(nowhere[1], self._limit)):
            low, high = nowhere[0][[first, last - 1]].tolist()
            found.append((Partition(NOWHERE_ORDER, number), (low, high + 1)))
        return found

    def rows(self, span: Span) -> tuple[pa.Table, pa.Table | None]:
        """Return the sources of a range of keys and, in their order, their photometry; None if no tile had any."""
        sources = self._kinds["source"].between(span)
        sources = sources.take(pa.array(_order(sources))).drop_columns(KEY)
        if not self.has_photometry:
            return sources, None
        photometry = self._kinds["photometry"].between(span)
        place = find(to_numpy(sources, "source_id"), to_numpy(photometry, "source_id"))
        return sources, photometry.take(pa.array(np.argsort(place, kind="stable"))).drop_columns(KEY)


class _Kind:
    """The rows of one table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.held: list[pa.Table] = []
        self.n_held = 0
        self.runs: list[_Run] = []
        self.schemas: dict[int, pa.Schema] = {}

    def hold(self, tile: int, rows: pa.Table, key: np.ndarray) -> None:
        """Put in rows of a tile."""
        self.schemas.setdefault(tile, rows.schema)
        if len(rows):
            self.held.append(rows.append_column(KEY, pa.array(key)))
            self.n_held += len(rows)

    def take(self) -> pa.Table | None:
        """Take out the rows that are held, sorted by key; None if there are none."""
        if not self.held:
            return None
        rows = concatenate(self.table, self.held)
        self.held, self.n_held = [], 0
        return rows.take(pa.array(np.argsort(to_numpy(rows, KEY), kind="stable")))

    def between(self, span: Span) -> pa.Table:
        """Return the rows of a range of keys, unsorted, with all columns that a tile had."""
        return concatenate(self.table, [self._without_rows, *(run.between(span) for run in self.runs)])

    @cached_property
    def _without_rows(self) -> pa.Table:
        """A table without rows that has the columns of all tiles, those of the smallest tile id first."""
        distinct: list[pa.Schema] = []
        for _, schema in sorted(self.schemas.items()):
            if not distinct or not schema.equals(distinct[-1], check_metadata=True):
                distinct.append(schema)
        every = concatenate(self.table, [schema.empty_table() for schema in distinct])
        return every.append_column(KEY, pa.array([], pa.int64()))


class _Run(Protocol):
    """Rows sorted by key; `sky` and `nowhere` are cells of the deepest order, or keys, and their numbers of rows."""

    sky: tuple[np.ndarray, np.ndarray]
    nowhere: tuple[np.ndarray, np.ndarray]

    def between(self, span: Span) -> pa.Table:
        """Return the rows of a range of keys."""


class MemoryRun:
    """A run in memory."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        key = to_numpy(rows, KEY)
        placed = np.searchsorted(key, NOWHERE)
        self.sky, self.nowhere = _counted(key[:placed] >> 2 * (ORDER - DEEPEST)), _counted(key[placed:])

    def between(self, span: Span) -> pa.Table:
        """Return the rows of a range of keys."""
        first, last = np.searchsorted(to_numpy(self._rows, KEY), span)
        return self._rows.slice(first, last - first)


class FileRun:
    """A run on disk, of which only those batches are read that are asked for."""

    def __init__(self, path: Path, rows: pa.Table) -> None:
        held = MemoryRun(rows)
        self.sky, self.nowhere = held.sky, held.nowhere
        self._path = path
        batches = rows.to_batches(max_chunksize=_BATCH)
        ends = [(batch.column(KEY)[0].as_py(), batch.column(KEY)[-1].as_py()) for batch in batches]
        self._first, self._last = np.array(ends).T
        options = ipc.IpcWriteOptions(compression="lz4")
        with pa.OSFile(str(path), "wb") as file, ipc.new_file(file, rows.schema, options=options) as writer:
            for batch in batches:
                writer.write_batch(batch)

    def between(self, span: Span) -> pa.Table:
        """Return the rows of a range of keys."""
        first, last = np.searchsorted(self._last, span[0]), np.searchsorted(self._first, span[1])
        with pa.OSFile(str(self._path), "rb") as file:
            stored = ipc.open_file(file)
            rows = pa.Table.from_batches([stored.get_batch(i) for i in range(first, last)], stored.schema)
        first, last = np.searchsorted(to_numpy(rows, KEY), span)
        return rows.slice(first, last - first)


def find(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return (n,) the index in `ids` of each of the ids `wanted` (n,); -1 where it is not there."""
    if not len(ids):
        return np.full(len(wanted), -1)
    order = np.argsort(ids, kind="stable")
    place = order[np.searchsorted(ids, wanted, sorter=order).clip(max=len(ids) - 1)]
    return np.where(ids[place] == wanted, place, -1)


def _keys(sources: pa.Table) -> np.ndarray:
    index = healpix_29(to_numpy(sources, "ra"), to_numpy(sources, "dec"))
    return np.where(index.mask, NOWHERE + to_numpy(sources, "tile_id"), index.data)


def _order(sources: pa.Table) -> np.ndarray:
    """Return the order of sources by key and id, where there is no place on the sky by key, y, x and id."""
    key, ids = to_numpy(sources, KEY), to_numpy(sources, "source_id")
    nowhere = key >= NOWHERE
    in_tile = [np.where(nowhere, to_numpy(sources, name), 0) for name in ("x", "y")] if nowhere.any() else []
    return np.lexsort([ids, *in_tile, key])


def _counted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different ones of ascending values, and how often each is there."""
    first = np.flatnonzero(np.diff(values, prepend=-1))
    return values[first], np.diff(first, append=len(values))


def _counts(runs_of: list[list[tuple[np.ndarray, np.ndarray]]]) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) all different values of several tables' runs, ascending, and (n, tables) how often each table has them."""
    every = [np.concatenate([np.empty(0, np.int64), *(values for values, _ in runs)]) for runs in runs_of]
    distinct, _ = _counted(np.sort(np.concatenate(every)))
    counts = np.zeros((len(distinct), len(runs_of)), np.int64)
    for table, (values, runs) in enumerate(zip(every, runs_of, strict=True)):
        np.add.at(counts[:, table], np.searchsorted(distinct, values), np.concatenate([np.empty(0, np.int64), *(n for _, n in runs)]))
    return distinct, counts
