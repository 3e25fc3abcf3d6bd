"""Tables as VOTable metadata: what any Virtual Observatory reader takes units and UCDs from.

The document for one table stands in the footer of every Parquet file (VOParquet), that for all of them in
`schemas/generated/`. It is written here as text, which is a hundred times faster than through astropy and
needs no import; astropy reads it back in a test.

References:
    VOTable 1.4, Ochsenbein et al. (2019), IVOA Recommendation
    VOParquet, Taylor et al. (2025), IVOA Note
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

from .schema import HEALPIX_COLUMN, Column, Schema, Table

HEALPIX = Column(
    HEALPIX_COLUMN, "long", "pos.healpix", "nested HEALPix index of order 29 of ra and dec; null where there is no position", nullable=True
)
"""The column that the writer adds; see `healpix.py`."""

_DATATYPES = {"string": "unicodeChar", "text": "unicodeChar"}


def document(schema: Schema, tables: Iterable[tuple[Table, Iterable[Column]]]) -> str:
    """Return a VOTable document without data.

    Args:
        schema: the schema that the tables are of.
        tables: pairs of a table and the columns to list for it, in their order.
    """
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">', "<RESOURCE>"]
    for table, columns in tables:
        lines.append(f"<TABLE name={quoteattr(table.name)}>")
        lines.append(f"<DESCRIPTION>{escape(table.description)}</DESCRIPTION>")
        lines.append(f'<PARAM name="schema" datatype="char" arraysize="*" value={quoteattr(f"{schema.name} {schema.version.current}")}/>')
        lines += [_field(column) for column in columns]
        lines.append("</TABLE>")
    return "\n".join([*lines, "</RESOURCE>", "</VOTABLE>", ""])


def _field(column: Column) -> str:
    attributes = {"name": column.name, "datatype": _DATATYPES.get(column.type, column.type)}
    if column.is_text:
        attributes["arraysize"] = f"{column.length}*" if column.length else "*"
    elif column.arraysize:
        attributes["arraysize"] = column.arraysize
    if column.unit:
        attributes["unit"] = column.unit
    if column.ucd:
        attributes["ucd"] = column.ucd
    text = " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<FIELD {text}><DESCRIPTION>{escape(column.description)}</DESCRIPTION></FIELD>"
