"""FITS binary tables with units and UCDs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from ...core.stage import DataError
from .tables import OutColumn, OutTable

MOST_COLUMNS = 999
NULL = {"B": 255, "I": -(2**15), "J": -(2**31), "K": -(2**63)}


def write_fits(path: Path, tables: list[OutTable]) -> None:
    """Write tables as the extensions of one FITS file, named after them; the same tables give the same bytes.

    Integers without a value hold the column's TNULL, floats NaN, text nothing. Text that is not
    printable ASCII, which FITS cannot hold, is escaped.

    Raises:
        DataError: a table has more columns than FITS allows.
    """
    hdus: list[fits.PrimaryHDU | fits.BinTableHDU] = [fits.PrimaryHDU()]
    for table in tables:
        if len(table.columns) > MOST_COLUMNS:
            raise DataError(f"table {table.name} has {len(table.columns)} columns, FITS allows {MOST_COLUMNS}: set `layout: tables`")
        hdu = fits.BinTableHDU.from_columns([_column(column) for column in table.columns], name=table.name.upper())
        hdu.header["LONGSTRN"] = ("OGIP 1.0", "descriptions may continue over several cards")
        for number, column in enumerate(table.columns, 1):
            for key, text in (("TUCD", column.ucd), ("TCOMM", _ascii(column.description))):
                if text:
                    hdu.header[f"{key}{number}"] = text
        hdus.append(hdu)
    for hdu in hdus:
        hdu.add_checksum(when="checksum")  # astropy would put the time of day here
    fits.HDUList(hdus).writeto(path)


def _column(column: OutColumn) -> fits.Column:
    values, null = column.values, None
    kind = values.dtype.kind
    shape = f"{values.shape[1]}" if values.ndim == 2 else "1"
    if kind == "U":
        coded = np.array([_ascii(text).encode("ascii") for text in values.tolist()] or [b""], dtype="S")[: len(values)]
        letter, shape, values = "A", str(max(1, coded.dtype.itemsize)), coded
    elif kind == "b":
        letter = "L"
    elif kind == "f":
        letter = "E" if values.dtype.itemsize <= 4 else "D"
        if column.mask is not None:
            values = np.where(column.mask.reshape((-1,) + (1,) * (values.ndim - 1)), np.nan, values)
    else:
        letter = "I" if values.dtype.itemsize <= 1 or values.dtype == np.int16 else "J" if values.dtype in (np.int32, np.uint16) else "K"
        if column.mask is not None:
            null = NULL[letter]
            values = np.where(column.mask.reshape((-1,) + (1,) * (values.ndim - 1)), null, values.astype(np.int64))
    return fits.Column(column.name, f"{shape}{letter}", array=values, unit=column.unit or None, null=null)


def _ascii(text: str) -> str:
    """Return text with whatever is not printable ASCII escaped."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode("ascii") for c in text)
