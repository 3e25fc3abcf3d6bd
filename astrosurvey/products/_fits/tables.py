"""Columns out of the binary tables of a checked file: the rows that are asked for, in native arrays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .cards import CardError
from .guard import AGAIN, escape
from .header import Column, Hdu, columns
from .read import FitsFile

MAX_FIELDS = 999
_DTYPES = {"L": "S1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_CHUNK = 4 << 20
_UNSIGNED = {"I": 2**15, "J": 2**31}


class BinaryTable:
    """One binary table of a FITS file.

    Args:
        file: the open file.
        hdu: its table.

    Attributes:
        rows: how many there are.
        columns: by name in capitals; of several columns of one name, the first.

    Raises:
        BadInput: the header does not describe a table of this width.
    """

    def __init__(self, file: FitsFile, hdu: Hdu) -> None:
        self.file, self.hdu = file, hdu
        if hdu.kind != "table":
            raise file.bad(f"holds no binary table: it is of kind {hdu.kind}", hdu)
        self.rows, self._width = hdu.shape
        with file.cards(hdu, AGAIN):
            found = columns(hdu.cards, MAX_FIELDS)
            if sum(column.width for column in found) != self._width:
                raise CardError("NAXIS1", f"is {self._width}, but the columns are {sum(c.width for c in found)} bytes wide")
        self.columns: dict[str, Column] = {}
        for column in found:
            self.columns.setdefault(column.name, column)

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def unit(self, name: str) -> str:
        """Return a column's TUNIT; "" when it has none."""
        return self.hdu.cards.text(f"TUNIT{self.columns[name].number}").strip()

    def length(self, name: str) -> int:
        """Return how many values a row of this column holds."""
        return self.columns[name].repeat

    def read(self, names: Iterable[str], first: int = 0, last: int | None = None) -> dict[str, np.ndarray]:
        """Return columns, each once, of the rows first <= row < last.

        Integers with TZERO and TSCAL come scaled: as int64 when that is what they are, else as float64; TNULL
        becomes NaN and makes float64, too.

        Args:
            names: in capitals.
            first: the first row.
            last: the row behind the last one; None for all.

        Returns:
            (n,) or (n, length) arrays in native byte order; texts as (n,) of `str` without trailing blanks.

        Raises:
            BadInput: there is no such column, or it holds what cannot be read here.
        """
        wanted = {name: self._column(name) for name in names}
        last = self.rows if last is None else last
        if not 0 <= first <= last <= self.rows:
            raise self.file.bad(f"has {self.rows} rows, so there are no rows {first} to {last}", self.hdu, "NAXIS2")
        if (first, last) == (0, self.rows):
            self.file.verify(self.hdu)
        raw = {
            name: np.empty((last - first, column.repeat) if column.form != "A" else last - first, _dtype(column))
            for name, column in wanted.items()
        }
        step = max(1, _CHUNK // max(self._width, 1))
        buffer = np.empty((min(step, max(last - first, 1)), self._width), np.uint8)
        for row in range(first, last, len(buffer)):
            part = buffer[: min(len(buffer), last - row)]
            self.file.source.read_into(self.hdu.data + row * self._width, part.reshape(-1).data)
            for name, column in wanted.items():
                cells = np.ascontiguousarray(part[:, column.offset : column.offset + column.width])
                raw[name][row - first : row - first + len(part)] = cells.view(_dtype(column)).reshape(raw[name][: len(part)].shape)
        return {name: self._native(wanted[name], values) for name, values in raw.items()}

    def _column(self, name: str) -> Column:
        if name not in self.columns:
            there = ", ".join(escape(known, 40) for known in list(self.columns)[:20])
            raise self.file.bad(f"there is no column {escape(name)}; there are {there}", self.hdu)
        column = self.columns[name]
        if column.form not in (*_DTYPES, "A") or column.repeat == 0:
            raise self.file.bad(
                f"the column {escape(name)} is of the format {column.repeat}{column.form}, which is not read here", self.hdu
            )
        return column

    def _native(self, column: Column, values: np.ndarray) -> np.ndarray:
        if column.form == "A":
            return np.array([cell.split(b"\0")[0].decode("ascii", "replace").rstrip() for cell in values.tolist()], dtype=str)
        values = values[:, 0] if column.repeat == 1 else values
        if column.form == "L":
            return np.asarray(values == b"T")
        with self.file.cards(self.hdu):
            zero, scale = (self.hdu.cards.number(f"{key}{column.number}", default) for key, default in (("TZERO", 0.0), ("TSCAL", 1.0)))
            null = self.hdu.cards.get(f"TNULL{column.number}")
        if column.form in "ED" and (zero, scale) == (0, 1):
            return np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        empty = values == null if column.form not in "ED" and type(null) is int else np.False_
        if scale == 1 and not np.any(empty) and (zero == 0 or zero == _UNSIGNED.get(column.form)):
            return values.astype(np.int64) + int(zero)
        return np.where(empty, np.nan, values.astype(np.float64) * scale + zero)


def _dtype(column: Column) -> np.dtype:
    return np.dtype(f"S{column.repeat}") if column.form == "A" else np.dtype(_DTYPES[column.form])
