"""Tables of the schema as Arrow: types, and the conversion of what stages hold in their hands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .schema import Column, SchemaError, Table, suggestion

if TYPE_CHECKING:
    from astropy.table import Table as AstropyTable

_TYPES = {
    "boolean": pa.bool_(),
    "short": pa.int16(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "text": pa.string(),
}
_PLUGIN_COLUMN = re.compile(r"x_[a-z][a-z0-9]*_\w+")


def is_plugin_column(name: str) -> bool:
    """Return whether a column that the schema does not know may be a plugin's: x_<plugin>_<column>."""
    return _PLUGIN_COLUMN.fullmatch(name) is not None


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type of a column; that of a variable-length list for an array of any length."""
    element = _TYPES[column.type]
    if column.arraysize is None:
        return element
    return list_type(element, -1 if column.arraysize == "*" else int(column.arraysize))


def column_type(kind: pa.DataType) -> str:
    """Return the schema's word for an Arrow type that it uses."""
    return next(name for name, known in _TYPES.items() if known == kind)


def list_type(element: pa.DataType, size: int = -1) -> pa.DataType:
    """Return the type of lists of any length (-1) or of a fixed one, named inside as Parquet names it."""
    return pa.list_(pa.field("element", element), size)


def stored_type(kind: pa.DataType) -> pa.DataType:
    """Return a type as files hold it: with the same names inside of lists, whoever made them."""
    if pa.types.is_fixed_size_list(kind):
        return list_type(kind.value_type, kind.list_size)
    return list_type(kind.value_type) if pa.types.is_list(kind) else kind


def fits_type(column: Column, offered: pa.DataType) -> bool:
    """Return whether rows may hold a column as type `offered`.

    An array of any length may also be held as one of fixed length, such as an embedding's vector.
    """
    wanted = arrow_type(column)
    if column.arraysize == "*" and pa.types.is_fixed_size_list(offered):
        return bool(offered.value_type == wanted.value_type)
    return bool(offered == wanted)


def arrow_field(column: Column, held: pa.DataType | None = None) -> pa.Field:
    """Return the column as an Arrow field that carries unit, UCD and description.

    Args:
        column: the column.
        held: the type it is held in, where the schema leaves a choice.
    """
    metadata = {"unit": column.unit, "ucd": column.ucd, "description": column.description}
    return pa.field(column.name, held or arrow_type(column), nullable=column.nullable, metadata=metadata)


def arrow_schema(table: Table) -> pa.Schema:
    """Return the Arrow schema of a table's core columns."""
    return pa.schema([arrow_field(column) for column in table.columns])


def build_rows(table: Table, columns: Mapping[str, Any]) -> pa.Table:
    """Return rows of a table, in the schema's order and types.

    Args:
        table: the table.
        columns: arrays (n,), lists, masked arrays, Arrow arrays or quantities, which are converted to
            the schema's unit; a scalar stands for n equal values. Nullable columns may be left out.

    Raises:
        SchemaError: a column is missing, unknown, of another length, or does not fit its type.
    """
    for name in columns:
        if name not in table and not is_plugin_column(name):
            raise SchemaError(f"table {table.name} has no column {name!r}{suggestion(name, table.by_name)}")
    for column in table.columns:
        if columns.get(column.name) is None and not column.nullable:
            raise SchemaError(f"column {column.name!r} of table {table.name} is missing, and it cannot be null")
    n = _row_count(table, columns)
    fields, arrays = [], []
    for column in table.columns:
        array = to_arrow(column, columns.get(column.name), n, table.name)
        arrays.append(array)
        fields.append(arrow_field(column, array.type))
    for name in columns:
        if name in table and table[name] in table.extras:
            array = to_arrow(table[name], columns[name], n, table.name)
            fields.append(arrow_field(table[name], array.type))
            arrays.append(array)
        elif name not in table:
            array = portable(name, _plain(columns[name], n))
            fields.append(pa.field(name, array.type))
            arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def described_as(rows: pa.Table, like: pa.Table, names: list[str]) -> pa.Table:
    """Return rows whose plugins' columns of these names have the units and descriptions that they have in other rows."""
    fields = [
        field.with_metadata(like.schema.field(field.name).metadata) if field.name in names and is_plugin_column(field.name) else field
        for field in rows.schema
    ]
    return rows.cast(pa.schema(fields))


def to_arrow(column: Column, values: Any, n: int, table: str) -> pa.Array:
    """Return the values of one column as an Arrow array of its type.

    Raises:
        SchemaError: they do not fit: text for a number, a fraction or NaN for an integer, an overflow.
    """
    if values is None:
        return pa.nulls(n, arrow_type(column))
    if hasattr(values, "unit") and hasattr(values, "to_value"):
        values = _in_unit(column, values, table)
    wanted = arrow_type(column)
    try:
        array = _plain(values, n)
        if column.arraysize == "*" and pa.types.is_fixed_size_list(array.type):
            wanted = list_type(wanted.value_type, array.type.list_size)
        if not _may_cast(array.type, wanted):
            raise SchemaError(f"column {column.name!r} of table {table} is {_shown(column)}, not {array.type}")
        array = array.cast(wanted)
    except (pa.ArrowException, TypeError, UnicodeDecodeError) as error:
        raise SchemaError(f"column {column.name!r} of table {table} does not hold {_shown(column)} values: {error}") from error
    return _canonical(array) if pa.types.is_floating(array.type) else array


def _shown(column: Column) -> str:
    return f"an array of {column.type}" if column.arraysize else column.type


def _may_cast(offered: pa.DataType, wanted: pa.DataType) -> bool:
    """Return whether values of one type may become another; Arrow then refuses those that would change."""
    if pa.types.is_null(offered):
        return True
    if pa.types.is_nested(offered) and pa.types.is_nested(wanted):
        return _may_cast(offered.value_type, wanted.value_type)
    kinds = _kind(offered), _kind(wanted)
    return kinds[0] == kinds[1] or kinds in (("float", "int"), ("int", "float"))


def _kind(data_type: pa.DataType) -> str:
    if pa.types.is_floating(data_type):
        return "float"
    if pa.types.is_integer(data_type):
        return "int"
    if pa.types.is_boolean(data_type):
        return "bool"
    if pa.types.is_string(data_type) or pa.types.is_large_string(data_type) or pa.types.is_dictionary(data_type):
        return "text"
    return str(data_type)


def _row_count(table: Table, columns: Mapping[str, Any]) -> int:
    lengths = {name: len(values) for name, values in columns.items() if values is not None and not _is_scalar(values)}
    if not lengths:
        raise SchemaError(f"rows of table {table.name} need at least one column that is not a scalar, to say how many there are")
    n = max(lengths.values())
    wrong = [f"{name!r} has {length}" for name, length in lengths.items() if length != n]
    if wrong:
        raise SchemaError(f"columns of table {table.name} differ in length: most have {n}, {', '.join(wrong)}")
    return n


def _is_scalar(values: Any) -> bool:
    return isinstance(values, (str, bool, int, float, np.generic))


def _plain(values: Any, n: int) -> pa.Array:
    """Return array-like values as an Arrow array of whatever type they have."""
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    if isinstance(values, pa.Array):
        return values
    if _is_scalar(values):
        return pa.repeat(pa.scalar(values.item() if isinstance(values, np.generic) else values), n)
    if isinstance(values, (list, tuple)):
        return pa.array(values)
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    array = np.asarray(values)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.ndim == 2:
        flat = pa.array(np.ascontiguousarray(array).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    return pa.array(np.ascontiguousarray(array), mask=mask)


_WIDER = {
    pa.int8(): pa.int16(),
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.null(): pa.float64(),
}
"""Types that the schema does not use, and the one that holds all their values."""


def is_portable(kind: pa.DataType) -> bool:
    """Return whether a plugin's column of a type can be stored: one of the schema's types, or an array of numbers of one."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return kind.value_type in _TYPES.values() and not pa.types.is_string(kind.value_type)
    return kind in _TYPES.values()


def portable(name: str, array: pa.Array) -> pa.Array:
    """Return a plugin's column in a type that every reader knows."""
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    kind = _WIDER.get(kind, kind)
    if not is_portable(kind):
        stored = ", ".join(_TYPES)
        raise SchemaError(f"column {name!r} holds {kind}, which catalogues cannot store; they store {stored} and arrays of numbers")
    return array.cast(kind)


def _in_unit(column: Column, values: Any, table: str) -> Any:
    from astropy.units import UnitConversionError

    try:
        return values.to_value(column.unit)
    except UnitConversionError as error:
        raise SchemaError(f"column {column.name!r} of table {table} is in {column.unit or 'no unit'}: {error}") from error


def _canonical(array: pa.Array) -> pa.Array:
    """Give every NaN the same bits, because processors differ in those that 0/0 has."""
    nan = pc.is_nan(array)
    return pc.if_else(pc.fill_null(nan, False), pa.scalar(float("nan"), array.type), array) if pc.any(nan).as_py() else array


def to_numpy(rows: pa.Table, name: str) -> np.ndarray:
    """Return a column as a read-only array: (n,), or (n, length) for arrays of equal length.

    Null becomes NaN in a column of floats and "" in one of text.

    Raises:
        SchemaError: there is no such column, or an integer or boolean column has nulls.
    """
    if name not in rows.column_names:
        raise SchemaError(f"there is no column {name!r}{suggestion(name, rows.column_names)}")
    column = rows.column(name)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        array = column.fill_null("").to_numpy().astype(np.str_) if len(column) else np.empty(0, "U1")
    elif pa.types.is_fixed_size_list(kind):
        values = column.combine_chunks()
        if values.null_count:
            raise SchemaError(f"column {name!r} has {values.null_count} nulls and so is no array; drop those rows first")
        array = values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), kind.list_size)
    elif column.null_count and not pa.types.is_floating(kind) and not pa.types.is_list(kind):
        raise SchemaError(f"column {name!r} has {column.null_count} nulls, which {kind} arrays cannot hold; fill or drop those rows first")
    else:
        array = column.to_numpy()
    array.flags.writeable = False
    return array


def concatenate(table: Table, parts: list[pa.Table]) -> pa.Table:
    """Return the rows of all parts, in the schema's order; plugins' columns that a part lacks are null there.

    Raises:
        SchemaError: a plugin's column has different types in different parts.
    """
    names = list(dict.fromkeys([*(column.name for column in table.columns), *(name for part in parts for name in part.column_names)]))
    fields, columns = [], []
    for name in names:
        held = [part.schema.field(name).type for part in parts if name in part.column_names]
        kind = held[0]
        if any(other != kind for other in held):
            if not (name in table and pa.types.is_nested(kind)):
                raise SchemaError(f"column {name!r} is {kind} in one catalogue and {next(h for h in held if h != kind)} in another")
            kind = arrow_type(table[name])  # vectors of different lengths
        chunks = [
            chunk.cast(kind)
            for part in parts
            for chunk in (part.column(name).chunks if name in part.column_names else [pa.nulls(part.num_rows, kind)])
        ]
        first = next(part.schema.field(name) for part in parts if name in part.column_names)
        fields.append(arrow_field(table[name], kind) if name in table else first)
        columns.append(pa.chunked_array(chunks, kind))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def to_astropy(rows: pa.Table, meta: Mapping[str, Any]) -> AstropyTable:
    """Return rows as an astropy Table with units, descriptions and UCDs; nulls are masked."""
    from astropy.table import Column as AstropyColumn
    from astropy.table import MaskedColumn
    from astropy.table import Table as AstropyTable

    columns = []
    for field in rows.schema:
        column = rows.column(field.name)
        nested = pa.types.is_nested(field.type)
        filled = column if nested or not column.null_count else column.fill_null(_FILL.get(_kind(field.type), 0))
        metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        described = {
            "name": field.name,
            "unit": metadata.get("unit") or None,
            "description": metadata.get("description"),
            "meta": {"ucd": metadata["ucd"]} if metadata.get("ucd") else {},
        }
        values = to_numpy(rows.select([]).append_column(field.name, filled), field.name)
        if column.null_count and not nested:
            columns.append(MaskedColumn(values, mask=pc.is_null(column).to_numpy(), **described))
        else:
            columns.append(AstropyColumn(values, **described))
    return AstropyTable(columns, meta=dict(meta))


_FILL = {"text": "", "float": float("nan"), "bool": False}
