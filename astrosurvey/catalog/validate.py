"""Whether rows keep the rules of their table; messages name the column and the row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .arrow import arrow_type, fits_type, is_plugin_column, is_portable, to_numpy
from .rules import parse_rule
from .schema import Column, Table, suggestion


def problems(table: Table, rows: pa.Table) -> list[str]:
    """Return what is wrong with rows of a table, one message a broken rule, naming the first row that breaks it."""
    found = _structure(table, rows)
    if found or rows.num_rows == 0:
        return found
    for column in table.columns:
        found += _values(column, rows, table)
    found += _rules(table, rows)
    return found + ([] if found else _key(table, rows))


def _structure(table: Table, rows: pa.Table) -> list[str]:
    found = []
    names = rows.column_names
    for name in names:
        if names.count(name) > 1:
            return [f"column {name!r} is there twice"]
        if name not in table:
            if not is_plugin_column(name):
                found.append(f"there is no column {name!r} in the schema{suggestion(name, table.by_name)}")
            elif not is_portable(rows.schema.field(name).type):
                found.append(f"column {name!r} is {rows.schema.field(name).type}, which catalogues cannot store")
            continue
        column, field = table[name], rows.schema.field(name)
        if not fits_type(column, field.type):
            found.append(f"column {name!r} is {field.type}, the schema says {arrow_type(column)}")
        unit = (field.metadata or {}).get(b"unit", column.unit.encode()).decode()
        if unit != column.unit:
            found.append(f"column {name!r} is in {unit!r}, the schema says {column.unit!r}")
    return found + [f"column {c.name!r} is missing" for c in table.columns if c.name not in names]


def _values(column: Column, rows: pa.Table, table: Table) -> list[str]:
    values = rows.column(column.name)
    if values.null_count and not column.nullable:
        return [f"column {column.name!r}, {_row(rows, table, pc.is_null(values))}: null in a column that cannot be null"]
    if column.arraysize is not None:
        return []
    if column.is_float:
        number = values.to_numpy()
        if not column.nullable and not (finite := np.isfinite(number)).all():
            return [f"column {column.name!r}, {_row(rows, table, ~finite)}: not a finite number"]
        if column.ucd.startswith("pos.") and (infinite := np.isinf(number)).any():
            return [f"column {column.name!r}, {_row(rows, table, infinite)}: an infinite position"]
    if column.length and pc.any(too_long := pc.greater(pc.utf8_length(values), column.length)).as_py():
        return [f"column {column.name!r}, {_row(rows, table, pc.fill_null(too_long, False))}: longer than {column.length} characters"]
    return []


def _rules(table: Table, rows: pa.Table) -> list[str]:
    def values(name: str) -> np.ndarray:
        return np.asarray(rows.column(name).to_numpy())

    found = []
    for check in table.checks:
        for term in parse_rule(check.expression):
            broken = term.violations(values)
            if broken.any():
                value = rows.column(term.column)[int(np.argmax(broken))].as_py()
                found.append(f"column {term.column!r}, {_row(rows, table, broken)}: {value!r} breaks the rule that {check.description}")
                break
    return found


def _key(table: Table, rows: pa.Table) -> list[str]:
    numbers = [to_numpy(rows, name) for name in table.key if pa.types.is_integer(rows.schema.field(name).type)]
    if numbers and _rising(numbers):  # as tables are written; then nothing need be sorted, and ten million rows are checked at once
        return []
    if len(table.key) == 1 and pa.types.is_integer(rows.schema.field(table.key[0]).type):
        ids = to_numpy(rows, table.key[0])
        order = np.argsort(ids, kind="stable")
        repeated = np.zeros(len(ids), bool)
        repeated[order[1:]] = ids[order[1:]] == ids[order[:-1]]
        if not repeated.any():
            return []
    else:
        numbered = rows.select(table.key).append_column("row", pa.array(np.arange(rows.num_rows)))
        first = numbered.group_by(list(table.key)).aggregate([("row", "min")]).column("row_min").to_numpy()
        if len(first) == rows.num_rows:
            return []
        repeated = np.ones(rows.num_rows, bool)
        repeated[first] = False
    return [f"key {', '.join(table.key)}, {_row(rows, table, repeated)}: there is an earlier row with the same key"]


def _rising(columns: list[np.ndarray]) -> bool:
    """Return whether each row is above the one before it, columns counting in their order; then no two are equal."""
    above = np.zeros(max(len(columns[0]) - 1, 0), bool)
    for values in reversed(columns):
        above = (values[1:] > values[:-1]) | ((values[1:] == values[:-1]) & above)
    return bool(above.all())


def _row(rows: pa.Table, table: Table, broken: np.ndarray | pa.ChunkedArray) -> str:
    """Say which row is the first broken one, and how many there are."""
    flags = np.asarray(broken if isinstance(broken, np.ndarray) else broken.to_numpy(), dtype=bool)
    index = int(np.argmax(flags))
    key = ", ".join(f"{name}={rows.column(name)[index].as_py()!r}" for name in table.key)
    more = f" and {flags.sum() - 1} more" if flags.sum() > 1 else ""
    return f"row {index} ({key}){more}"
