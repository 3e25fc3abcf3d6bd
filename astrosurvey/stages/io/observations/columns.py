"""Columns of a table by their names, and whether they hold numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from ....catalog.schema import suggestion
from ....products._fits import BadInput, escape
from ..catalog.formats import FileTable


def called(path: Path, table: FileTable, name: str) -> str:
    """Return what the file calls a column, in whatever case."""
    meant = [name] if name in table.names else [other for other in table.names if other.lower() == name.lower()]
    if len(meant) == 1:
        return meant[0]
    raise BadInput(path, f"there is no column {escape(name, 40)!r}{suggestion(name, [escape(n, 40) for n in table.names])}")


def is_number(column: pa.Array) -> bool:
    """Tell whether a column is of numbers."""
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type))


def require_numbers(path: Path, name: str, column: pa.Array, *, wanted: bool) -> None:
    """Refuse a column that is to be numbers and is not, by its first cell that is none.

    One that nobody asked for is left out, if it is of text; where most of it is numbers a cell has gone wrong.
    """
    if is_number(column):
        return
    cells = column.to_pylist()
    strange = [row for row, cell in enumerate(cells) if cell is not None and not _reads_as_number(cell)]
    if not strange or not (wanted or 2 * len(strange) < len(cells)):
        return
    said = escape(str(cells[strange[0]]), 40)
    fix = "correct the cell, or name the columns that are meant in `columns`"
    raise BadInput(path, f"row {strange[0] + 1} holds {said!r} in the column {escape(name, 40)!r}, which is no number", fix=fix)


def _reads_as_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True
