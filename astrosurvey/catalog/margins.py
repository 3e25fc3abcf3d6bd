"""Rows of several tables, cut into parts of the sky that memory can hold, each with what lies in a margin around it.

Rows are put on disk once there are too many. The parts are HEALPix cells, deeper where rows are dense; rows near the border of a cell are
copied into its neighbours. Near means in one of the eight neighbours of a cell of that order whose cells are wider than the margin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from .healpix import ORDER, healpix_29
from .partitions import DEEPEST, Partition, cut_sky
from .schema import HEALPIX_COLUMN
from .spill import KEY, FileRun, MemoryRun

CORE = "_core"
WIDTH = 3.0
"""Margins that the mean width of a cell holds: cells are not squares, and narrower near the poles."""
CELL = np.sqrt(4 * np.pi / 12)
"""Mean width of a cell of order 0, radian."""
_ODD = 0x5555555555555555

Part = dict[str, tuple[pa.Table, np.ndarray]]
"""By table, rows of one part of the sky and of its margin, with their index in `_healpix_29`; and (n,) which are in the part itself."""


class Spread:
    """Rows of tables, each with a place on the sky, in memory up to a number, then on disk.

    Args:
        tables: their names.
        limit: the most rows of a table in memory, and in a part.
        scratch: a folder for the rest.
    """

    def __init__(self, tables: Sequence[str], limit: int, scratch: Path) -> None:
        self._limit, self._scratch = limit, scratch
        self._held: dict[str, list[pa.Table]] = {name: [] for name in tables}
        self._spilled: dict[str, list[Path]] = {name: [] for name in tables}
        self._cells: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in tables}

    def add(self, table: str, rows: pa.Table) -> None:
        """Put in rows with the columns `ra` and `dec`, deg, finite."""
        key = healpix_29(rows.column("ra").to_numpy(), rows.column("dec").to_numpy()).data
        self._cells[table].append(np.unique(key >> 2 * (ORDER - DEEPEST), return_counts=True))
        self._held[table].append(rows.append_column(HEALPIX_COLUMN, pa.array(key)))
        if sum(len(part) for part in self._held[table]) > self._limit:
            self._flush()

    def _flush(self) -> None:
        for table, held in self._held.items():
            if not held:
                continue
            rows = _joined(held)
            path = self._scratch / f"{table}-{len(self._spilled[table]):06d}.arrow"
            with pa.OSFile(str(path), "wb") as file, ipc.new_file(file, rows.schema) as writer:
                writer.write_table(rows)
            self._spilled[table].append(path)
            held.clear()

    def parts(self, margin: float) -> Iterator[tuple[Partition | None, Part]]:
        """Yield one cell after the other as `cells` does, or all rows at once, without a cell, where nothing is on disk.

        Args:
            margin: in arcsec, how far around its cell rows are wanted at least.
        """
        if any(self._spilled.values()):
            yield from self.cells(margin)
        else:
            yield None, {table: (rows := _joined(held), np.ones(len(rows), bool)) for table, held in self._held.items()}

    def cells(self, margin: float, *, empty: bool = False) -> Iterator[tuple[Partition, Part]]:
        """Yield the largest cells of at most `limit` rows, in the order of the HEALPix index.

        Args:
            margin: in arcsec, how far around its cell rows are wanted at least.
            empty: yield cells without rows of their own, too, as large as there is room between the others.
        """
        self._flush()
        if not any(len(rows) for of_table in self._cells.values() for rows, _ in of_table):
            return
        found = cut_sky(*self._counts(), self._limit)
        cells = sorted([*found, *(between(found) if empty else ())], key=lambda cell: cell.span)
        spans = np.array([cell.span for cell in cells], np.int64).reshape(-1, 2)
        runs = {table: [_sorted(path, spans, margin) for path in paths] for table, paths in self._spilled.items()}
        for cell in cells:
            rows = {table: _joined([run.between(cell.span) for run in of_table]) for table, of_table in runs.items()}
            yield cell, {table: (of_cell.drop_columns([KEY, CORE]), of_cell.column(CORE).to_numpy()) for table, of_cell in rows.items()}

    def _counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (n,) cells of the deepest order that have rows, ascending, and (n, tables) how many of each table."""
        every = [(np.concatenate(a), np.concatenate(b)) for a, b in (zip(*found, strict=True) for found in self._cells.values() if found)]
        cells = np.unique(np.concatenate([index for index, _ in every]))
        counts = [np.bincount(np.searchsorted(cells, index), number, len(cells)) for index, number in every]
        return cells, np.stack(counts, axis=1).astype(np.int64)


def _joined(parts: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all parts; columns that a part lacks are null there."""
    return pa.concat_tables(parts, promote_options="default")


def between(cells: Sequence[Partition]) -> list[Partition]:
    """Return the largest cells that lie between some, which are in the order of the index; together they cover the sky once."""
    found, place = [], 0
    for first, last in (*(cell.span for cell in cells), (12 << 2 * ORDER,) * 2):
        while place < first:
            order = next(k for k in range(ORDER + 1) if place % (size := 1 << 2 * (ORDER - k)) == 0 and place + size <= first)
            found.append(Partition(order, place >> 2 * (ORDER - order)))
            place += size
        place = last
    return found


def _sorted(path: Path, spans: np.ndarray, margin: float) -> FileRun | MemoryRun:
    """Return the rows of a file, sorted, with copies of those near a border under the keys of the cells beyond it."""
    with pa.OSFile(str(path), "rb") as file:
        rows = ipc.open_file(file).read_all()
    path.unlink()
    key = rows.column(HEALPIX_COLUMN).to_numpy()
    row, cell = beyond(key, spans, margin)
    every, keys = np.append(np.arange(len(key)), row), np.append(key, spans[cell, 0])
    order = np.argsort(keys, kind="stable")
    rows = rows.take(pa.array(every[order]))
    rows = rows.append_column(CORE, pa.array(order < len(key))).append_column(KEY, pa.array(keys[order]))
    return FileRun(path.with_suffix(".sorted"), rows) if len(rows) else MemoryRun(rows)


def beyond(key: np.ndarray, spans: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of a row and a cell, not its own, from which it is no farther than a margin; and some that are somewhat farther.

    Args:
        key: (n,) nested HEALPix indices of order 29, each in one of the cells.
        spans: (m, 2) cells, in the order of the index, as the first index in each and the first one behind it.
        margin: arcsec, at most 19 degrees.

    Returns:
        (pair,) rows and (pair,) cells.
    """
    from astropy_healpix import neighbours

    if not margin:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = int(np.clip(np.floor(np.log2(CELL / (WIDTH * np.radians(margin / 3600)))), 0, ORDER))
    low, high = spans.T
    own = np.searchsorted(low, key, side="right") - 1
    fine = key >> 2 * (ORDER - order)
    rows = np.flatnonzero(_on_border(fine, (high - low)[own] >> 2 * (ORDER - order)))
    cells, which = np.unique(fine[rows], return_inverse=True)
    with np.errstate(invalid="ignore"):  # at eight corners only three cells meet, and there is no eighth neighbour: -1
        around = np.concatenate([cells[None], neighbours(cells, 2**order, order="nested")]) if len(cells) else np.zeros((9, 0), np.int64)
    first = np.searchsorted(high, around << 2 * (ORDER - order), side="right")
    number = np.where(around >= 0, np.searchsorted(low, (around + 1) << 2 * (ORDER - order)) - first, 0)
    # From pairs of a fine cell and a cell near it to those of its rows, each once.
    fine_of = np.repeat(np.tile(np.arange(len(cells)), 9), number.ravel())
    cell_of = np.repeat(first.ravel(), number.ravel()) + _counting(number.ravel())
    fine_of, cell_of = np.unique(np.stack([fine_of, cell_of]), axis=1)
    by_fine = np.argsort(which, kind="stable")
    begin, many = np.searchsorted(which[by_fine], fine_of), np.bincount(which, minlength=len(cells))[fine_of]
    row = rows[by_fine[np.repeat(begin, many) + _counting(many)]]
    cell = np.repeat(cell_of, many)
    outside = own[row] != cell
    return row[outside], cell[outside]


def _on_border(fine: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return which fine cells are at the border of cells that hold `size` of them; all where a cell holds at most one.

    Every other bit of a nested index counts along one side of a cell, the rest along the other.
    """
    inside = np.maximum(size, 1) - 1
    across, up = fine & inside & _ODD, fine & inside & ~_ODD
    return (across == 0) | (across == (inside & _ODD)) | (up == 0) | (up == (inside & ~_ODD))


def _counting(number: np.ndarray) -> np.ndarray:
    """Return 0, 1, … up to before each number, one after the other."""
    return np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
