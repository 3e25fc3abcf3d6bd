"""Catalogues as Parquet files that every reader understands, with units, and in which damage is found.

The footer says the same three times, because readers differ: as Arrow field metadata (pyarrow), as the
YAML that astropy's own Parquet writer leaves (`Table.read(path)`), and as a VOTable document (VOParquet:
`Table.read(path, format="parquet.votable")`, TOPCAT). DuckDB and others read the values and may look at the
keys. Equal rows give equal bytes under one version of pyarrow.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from . import votable
from .arrow import arrow_field, arrow_type, column_type, fits_type, is_plugin_column, stored_type, to_numpy
from .healpix import healpix_29
from .schema import HEALPIX_COLUMN, Column, Schema, SchemaError, Table

log = logging.getLogger(__name__)

VERSION_KEY = "astrosurvey.schema.version"
TABLE_KEY = "astrosurvey.schema.table"
DIGEST_KEY = "astrosurvey.schema.sha256"
META_KEY = "astrosurvey.meta"
ROW_GROUP = 2**17
"""Rows in a row group: the least that a reader has to read and decompress."""


def write_rows(path: Path, schema: Schema, table: Table, rows: pa.Table, meta: Mapping[str, Any]) -> None:
    """Write rows of a table to a new Parquet file.

    Args:
        path: the file to write.
        schema: the schema in force.
        table: the table that `rows` follow.
        rows: the rows; the HEALPix column is added here.
        meta: JSON values for the footer.

    Raises:
        SchemaError: `meta` holds something that is not JSON.
    """
    text = canonical_json(meta)
    if table.has_sky_position:
        index = healpix_29(to_numpy(rows, "ra"), to_numpy(rows, "dec"))
        rows = rows.append_column(arrow_field(votable.HEALPIX), pa.array(index.data, mask=index.mask))
    # Pages end where chunks end, so the same rows in other chunks would be other bytes.
    rows = rows.combine_chunks()
    columns = [_as_held(_described(table, field), rows) for field in rows.schema]
    fields = [arrow_field(column, stored_type(field.type)) for column, field in zip(columns, rows.schema, strict=True)]
    rows = rows.cast(pa.schema(fields, _astropy_keys(table, columns)))
    dictionary, encodings = _encodings(columns, rows.schema)
    # What is in the Arrow schema is stored twice, so only that goes there which its reader seeks there.
    with pq.ParquetWriter(
        path, rows.schema, compression="zstd", use_dictionary=dictionary, column_encoding=encodings, write_page_checksum=True
    ) as writer:
        writer.write_table(rows, row_group_size=ROW_GROUP)
        writer.add_key_value_metadata(
            {
                VERSION_KEY: schema.version.current,
                TABLE_KEY: table.name,
                DIGEST_KEY: schema.digest,
                META_KEY: text,
                "IVOA.VOTable-Parquet.version": "1.0",
                "IVOA.VOTable-Parquet.content": votable.document(schema, [(table, columns)]),
            }
        )


def _described(table: Table, field: pa.Field) -> Column:
    """Return a field's column, made up from its type where a plugin's column has no fragment."""
    if field.name == HEALPIX_COLUMN:
        return votable.HEALPIX
    if field.name in table:
        return table[field.name]
    element = field.type.value_type if pa.types.is_nested(field.type) else field.type
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    return Column(
        name=field.name,
        type=column_type(element),
        ucd=metadata.get("ucd", ""),
        description=metadata.get("description", "a plugin's column"),
        unit=metadata.get("unit", ""),
        arraysize="*" if pa.types.is_nested(field.type) else None,
    )


def _encodings(columns: list[Column], schema: pa.Schema) -> tuple[list[str], dict[str, str]]:
    """Return the columns to encode by dictionary, and the encodings of the others.

    A dictionary pays for words and codes, of which there are few; the bytes of floats compress once they
    stand in streams of their own; ids and pixel counts are close to their neighbours.
    """
    dictionary, encodings = [], {}
    for column, field in zip(columns, schema, strict=True):
        path = field.name + (".list.element" if pa.types.is_nested(field.type) else "")
        element = field.type.value_type if pa.types.is_nested(field.type) else field.type
        if pa.types.is_floating(element):
            encodings[path] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_integer(element) and not column.ucd.startswith("meta.code"):
            encodings[path] = "DELTA_BINARY_PACKED"
        elif not pa.types.is_boolean(element):
            dictionary.append(path)
    return dictionary, encodings


def _as_held(column: Column, rows: pa.Table) -> Column:
    """Return a column with the sizes that its values have, which astropy must know to read them into arrays."""
    kind = rows.schema.field(column.name).type
    if pa.types.is_string(kind):
        return replace(column, length=max(pc.max(pc.utf8_length(rows.column(column.name))).as_py() or 0, 1))
    return replace(column, arraysize=str(kind.list_size)) if pa.types.is_fixed_size_list(kind) else column


def canonical_json(meta: Mapping[str, Any]) -> str:
    """Return JSON text that is equal for equal values.

    Raises:
        SchemaError: a value is not JSON; NaN is not, null is.
    """
    try:
        return json.dumps(dict(meta), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"the meta values of a catalogue must be JSON: {error}") from error


_ASTROPY_TYPES = {"boolean": "bool", "short": "int16", "int": "int32", "long": "int64", "float": "float32", "double": "float64"}


def _astropy_keys(table: Table, columns: list[Column]) -> dict[bytes, bytes]:
    """Return what astropy's Parquet reader looks for: the longest text of each column, and a YAML header.

    In the header stand units and descriptions; each line's value is JSON, which is YAML too.
    """
    keys = {f"table::len::{column.name}": str(column.length) for column in columns if column.is_text}
    lines = ["datatype:"]
    for column in columns:
        entry: dict[str, Any] = {"name": column.name, "datatype": _ASTROPY_TYPES.get(column.type, "string")}
        if column.unit:
            entry["unit"] = column.unit
        entry |= {"description": column.description, "meta": {"ucd": column.ucd}}
        lines.append(f"- {json.dumps(entry, ensure_ascii=False)}")
    keys["table_meta_yaml"] = "\n".join([*lines, f'meta: {{"table": "{table.name}"}}'])
    return {key.encode(): value.encode() for key, value in keys.items()}


def read_rows(path: Path, schema: Schema, names: Sequence[str] | None = None) -> tuple[Table, pa.Table, dict[str, Any]]:
    """Return the table, the rows and the meta values of a Parquet file that `write_rows` wrote.

    Columns that an older version of the schema did not have are null.

    Args:
        path: the file.
        schema: the schema in force.
        names: the columns to read; all by default.

    Raises:
        SchemaError: the file is damaged, is no catalogue, or follows a version that cannot be read.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            footer = {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}
            table = _table_of(path, schema, footer)
            rows = file.read(None if names is None else [name for name in names if name in file.schema_arrow.names])
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise SchemaError(f"{path} is damaged or not a Parquet file ({error}); remove it and run again") from error
    meta = json.loads(footer.get(META_KEY, "{}"))
    return table, _conform(path, table, rows, names), meta


def _table_of(path: Path, schema: Schema, footer: Mapping[str, str]) -> Table:
    if VERSION_KEY not in footer or TABLE_KEY not in footer:
        raise SchemaError(f"{path} is a Parquet file, but no astrosurvey catalogue: its footer names no schema")
    if refused := schema.version.refuses(footer[VERSION_KEY]):
        raise SchemaError(f"{path}: {refused}")
    name = footer[TABLE_KEY]
    if name not in schema:
        raise SchemaError(f"{path} holds table {name!r}, which is not in the schema; install the plugin that wrote it")
    return schema[name]


def _conform(path: Path, table: Table, rows: pa.Table, names: Sequence[str] | None) -> pa.Table:
    """Return rows in the order of the schema, with what an older version lacks and without what a newer one added."""
    fields, arrays = [], []
    for column in table.columns:
        if names is not None and column.name not in names:
            continue
        if column.name in rows.column_names:
            held = rows.schema.field(column.name).type
            if not fits_type(column, held):
                raise SchemaError(f"{path}: column {column.name!r} holds {held}, not {arrow_type(column)}")
            arrays.append(rows.column(column.name))
        elif column.nullable:
            held = arrow_type(column)
            arrays.append(pa.chunked_array([pa.nulls(rows.num_rows, held)]))
        else:
            raise SchemaError(f"{path}: column {column.name!r} of table {table.name} is missing")
        fields.append(arrow_field(column, held))
    for field in rows.schema:
        if field.name in table and table[field.name] in table.columns:
            continue
        if field.name in table or is_plugin_column(field.name):
            fields.append(field)
            arrays.append(rows.column(field.name))
        elif field.name != HEALPIX_COLUMN:
            log.warning("%s: column %r of table %s is of a newer schema than this one and is left out", path, field.name, table.name)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
