"""The formats of catalogues, told apart by their first bytes, behind one face: columns with units, read by rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ....products._fits import BadInput, BinaryTable, FitsFile, escape
from ....products._fits.guard import open_regular
from .text import read_text, read_votable

Reader = Callable[[Sequence[str], int, int], Mapping[str, pa.Array]]


@dataclass(frozen=True)
class FileTable:
    """A table in a file.

    Attributes:
        names: of its columns, as the file has them.
        rows: how many it has.
        read: returns columns by name, of the rows first <= row < last, as Arrow arrays.
        units: of some columns, as the file writes them.
        descriptions: of some columns.
        repairs: what was wrong with the file and is repaired.
        arrays: names of columns that hold several values in each row, and are not read.
    """

    names: Sequence[str]
    rows: int
    read: Reader
    units: Mapping[str, str] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)
    repairs: Sequence[str] = ()
    arrays: Sequence[str] = ()


@contextmanager
def opened(
    path: str | Path, hdu: int | str | None = None, wanted: frozenset[str] | None = None, missing: Sequence[str] = ()
) -> Iterator[FileTable]:
    """Open the table of a file.

    Args:
        path: a literal path of a regular file.
        hdu: which table of a FITS file; None for the first.
        wanted: names, in lower case, of the columns that will be asked for, so that a large text need not be held whole; None for all.
        missing: words of a text that stand for no value.

    Raises:
        BadInput: the file cannot be read, or holds no table.
    """
    kind = _kind(path)
    if kind == "fits":
        with FitsFile(path) as file:
            yield _fits(file, hdu)
    elif kind == "parquet":
        with open_regular(path) as stream, _parquet(path, stream) as table:
            yield table
    else:
        read = read_votable if kind == "votable" else read_text
        columns, units, descriptions, arrays = read(Path(path), wanted, missing)
        rows = len(next(iter(columns.values()))) if columns else 0
        yield FileTable(
            list(columns), rows, lambda names, first, last: {n: columns[n][first:last] for n in names}, units, descriptions, arrays=arrays
        )


def count(path: str | Path, hdu: int | str | None) -> int | None:
    """Return how many rows a file has that can be read in part; None for others."""
    if _kind(path) not in ("fits", "parquet"):
        return None
    with opened(path, hdu) as table:
        return table.rows


def _kind(path: str | Path) -> str:
    """Return which of the formats a file has: fits, parquet, votable or text."""
    with open_regular(path) as stream:
        start = stream.read(4096)
    if start.startswith(b"\x1f\x8b"):
        import zlib

        try:
            start = zlib.decompressobj(wbits=47).decompress(start, 4096)
        except zlib.error as error:
            raise BadInput(path, f"is damaged ({escape(error)})", fix="copy or download the file again") from error
    if start.startswith(b"SIMPLE"):
        return "fits"
    if start.startswith(b"PAR1"):
        return "parquet"
    begin = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin.startswith(b"<") and b"VOTABLE" in start.upper():
        return "votable"
    if begin.startswith(b"<") or b"\0" in start:
        what = "an HTML page or another XML" if begin.startswith(b"<") else "binary, but neither FITS nor Parquet"
        raise BadInput(path, f"is {what}", fix="give CSV, ECSV or other text, FITS, VOTable or Parquet")
    return "text"


def _fits(file: FitsFile, which: int | str | None) -> FileTable:
    if which is None:
        hdu = next((hdu for hdu in file.hdus if hdu.kind == "table"), None)
        if hdu is None:
            raise file.bad("holds no binary table", fix="give the file with the catalogue")
    else:
        hdu = file.find(which)
    table = BinaryTable(file, hdu)
    names = [name for name, column in table.columns.items() if column.form in "LBIJKEDA" and (column.repeat == 1 or column.form == "A")]
    names = [name for name in names if table.columns[name].repeat]

    def read(wanted: Sequence[str], first: int, last: int) -> dict[str, pa.Array]:
        return {name: pa.array(values) for name, values in table.read(wanted, first, last).items()}

    units = {name: table.unit(name) for name in names if table.unit(name)}
    texts = {name: hdu.cards.text(f"TCOMM{table.columns[name].number}").strip() for name in names}
    arrays = [name for name in table.columns if name not in names]
    return FileTable(names, table.rows, read, units, {name: text for name, text in texts.items() if text}, file.repairs, arrays)


@contextmanager
def _parquet(path: str | Path, stream: Any) -> Iterator[FileTable]:
    try:
        with pq.ParquetFile(stream, page_checksum_verification=True) as file:
            fields = {f.name: {k.decode(): v.decode() for k, v in (f.metadata or {}).items()} for f in file.schema_arrow}

            def read(names: Sequence[str], first: int, last: int) -> dict[str, pa.Array]:
                return _row_groups(file, list(names), first, last)

            units = {name: said["unit"] for name, said in fields.items() if said.get("unit")}
            texts = {name: said["description"] for name, said in fields.items() if said.get("description")}
            arrays = [f.name for f in file.schema_arrow if pa.types.is_nested(f.type)]
            names = [name for name in fields if name not in arrays]
            yield FileTable(names, file.metadata.num_rows, read, units, texts, arrays=arrays)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(path, f"is no sound Parquet file ({escape(error)})", fix="copy or download the file again") from error


def _row_groups(file: pq.ParquetFile, names: list[str], first: int, last: int) -> dict[str, pa.Array]:
    """Return columns of some rows; only the row groups that hold them are read."""
    edges = np.concatenate([[0], np.cumsum([file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)])])
    groups = [k for k in range(file.num_row_groups) if edges[k] < last and edges[k + 1] > first]
    if not groups or not names:
        return {name: pa.nulls(0, file.schema_arrow.field(name).type) for name in names}
    rows = file.read_row_groups(groups, columns=names).slice(first - int(edges[groups[0]]), last - first)
    return {name: rows.column(name).combine_chunks() for name in names}
