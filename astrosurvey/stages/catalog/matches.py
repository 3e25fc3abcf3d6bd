"""The matches, as one catalogue in memory or as a folder of partitions."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from ...catalog.arrow import described_as
from ...catalog.partitions import NOWHERE_ORDER, Partition
from ...products import Catalog
from ...products.partitions import PartitionWriter

TABLE = "crossmatch"


class Matches:
    """Collects the matches of one cell of the sky after the other.

    Args:
        folder: where partitions are written, once there are more rows than in one.
        limit: the most rows in memory.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._held: list[tuple[Partition | None, Catalog]] = []
        self._writer: PartitionWriter | None = None
        self._like = Catalog.empty(TABLE)

    def add(self, cell: Partition | None, rows: pa.Table) -> None:
        """Put in the matches of a cell, or of the whole sky."""
        made = Catalog.from_columns(TABLE, {name: rows.column(name) for name in rows.column_names})
        made = Catalog(TABLE, described_as(made.rows, rows, [name for name in rows.column_names if name.startswith("x_")]))
        self._like = Catalog(TABLE, made.rows.slice(0, 0))
        self._hold(cell, made)

    def close(self, nowhere: pa.Table) -> Catalog:
        """Put in the rows of sources without a place on the sky, and return all matches."""
        rows = Catalog.from_columns(TABLE, {name: nowhere.column(name) for name in nowhere.column_names})
        for number, first in enumerate(range(0, len(rows), self._limit)):
            part = Catalog.concatenate([self._like, Catalog(TABLE, rows.rows.slice(first, self._limit))])
            self._hold(Partition(NOWHERE_ORDER, number), part)
        if self._writer is None:
            return Catalog.concatenate([self._like, *(part for _, part in self._held)])
        return self._writer.close()

    def _hold(self, cell: Partition | None, part: Catalog) -> None:
        if not len(part):
            return
        self._held.append((cell, part))
        total = sum(len(held) for _, held in self._held)
        if self._writer is None and (total <= self._limit or any(where is None for where, _ in self._held)):
            return
        self._writer = self._writer or PartitionWriter(self._folder, TABLE)
        for where, held in self._held:
            if where is not None:
                self._writer.add(where, held.rows)
        self._held.clear()
