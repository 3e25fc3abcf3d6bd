"""VOTable documents with units and UCDs, in BINARY2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io.votable import from_table
from astropy.io.votable.tree import TableElement, VOTableFile
from astropy.table import Column, MaskedColumn, Table

from .tables import OutColumn, OutTable


def write_votable(path: Path, tables: list[OutTable]) -> None:
    """Write tables into one VOTable document; the same tables give the same bytes.

    References:
        Ochsenbein et al. (2019), VOTable 1.4, IVOA Recommendation.
    """
    document: VOTableFile | None = None
    for table in tables:
        made = from_table(Table([_column(column) for column in table.columns]), table_id=table.name)
        element: TableElement = made.get_first_table()
        element.name = table.name
        element.format = "binary2"
        for column in table.columns:
            if column.ucd:
                element.get_field_by_id_or_name(column.name).ucd = column.ucd
        if document is None:
            document = made
        else:
            document.resources[0].tables.append(element)
    assert document is not None
    document.to_xml(str(path), tabledata_format="binary2")


def _column(column: OutColumn) -> Column:
    values = column.values
    if values.dtype.kind in "iu" and values.dtype.itemsize == 1:
        values = values.astype(np.int16)
    if values.dtype.kind == "U":
        # Control characters have no place in XML; a zero-length type has none in BINARY2.
        cleaned = ["".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text) for text in values.tolist()]
        values = np.array(cleaned, dtype=f"U{max([1, *map(len, cleaned)])}")
    described = {"name": column.name, "unit": column.unit or None, "description": column.description or None}
    if column.mask is not None:
        return MaskedColumn(values, mask=column.mask, **described)
    return Column(values, **described)
