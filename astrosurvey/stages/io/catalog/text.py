"""Catalogues as text: CSV and its kin through Arrow, which is quick; every other format that astropy knows through astropy."""

from __future__ import annotations

import csv
import io
import re
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ....products._fits import BadInput, escape
from ....products._fits.guard import open_regular

MAX_DELIMITED = 8 << 30
"""Bytes that a delimited text may hold, inflated."""
MAX_BYTES = 1 << 30
"""Bytes that a text or VOTable that is parsed line by line may hold, inflated."""
DELIMITERS = ",\t;|"

Table = tuple[dict[str, pa.Array], dict[str, str], dict[str, str], list[str]]
"""Columns, the units and descriptions of some of them, and names of further ones that hold several values in each row."""


def read_text(path: Path, wanted: frozenset[str] | None, missing: Sequence[str]) -> Table:
    """Return the table that a text holds: delimited, ECSV, or in columns divided by blanks.

    Args:
        path: the file.
        wanted: names, in lower case, of the columns to keep; None for all.
        missing: words that stand for no value.

    Raises:
        BadInput: the text is too long, or no table.
    """
    raw = _content(path)
    lines = raw[: 1 << 20].decode("utf-8-sig", "replace").splitlines()
    first = next((k for k, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if first is None or raw.startswith(b"# %ECSV"):
        return _with_astropy(path, raw, wanted, missing)
    delimiter = next((d for d in DELIMITERS if d in lines[first]), None)
    if delimiter is None:
        return _with_astropy(path, raw, wanted, missing)
    names = _cells(lines[first], delimiter)
    if all(_is_number(name) for name in names):
        if first:  # the names may stand in the comment above
            return _with_astropy(path, raw, wanted, missing)
        raise BadInput(path, "has no line with the names of its columns", fix="put one at its top")
    columns, units = _delimited(path, raw, delimiter, names, _units(lines[first + 1 : first + 3], delimiter), first + 1, wanted, missing)
    return columns, units, {}, []


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


def _units(lines: Sequence[str], delimiter: str) -> list[str]:
    """Return the units below the names, where a line of dashes follows, as VizieR writes it; none elsewhere."""
    if len(lines) < 2 or not re.fullmatch(rf"[-{re.escape(delimiter)} ]*-[-{re.escape(delimiter)} ]*", lines[1]):
        return []
    return _cells(lines[0], delimiter)


def _content(path: Path) -> bytes:
    with open_regular(path) as stream:
        raw = stream.read(MAX_DELIMITED + 1)
    if raw.startswith(b"\x1f\x8b"):
        inflater = zlib.decompressobj(wbits=47)
        try:
            raw = inflater.decompress(raw, MAX_DELIMITED + 1)
        except zlib.error as error:
            raise BadInput(path, f"is damaged ({escape(error)})", fix="copy or download the file again") from error
        if len(raw) <= MAX_DELIMITED and not inflater.eof:
            raise BadInput(path, "is cut short", fix="copy or download the file again")
    _require_short(path, raw, MAX_DELIMITED)
    return raw


def _require_short(path: Path, raw: bytes, limit: int) -> None:
    if len(raw) > limit:
        raise BadInput(path, f"is a text of more than {limit >> 30} GiB", fix="convert it to Parquet or FITS, which are read in blocks")


def _delimited(
    path: Path,
    raw: bytes,
    delimiter: str,
    names: list[str],
    units: list[str],
    skipped: int,
    wanted: frozenset[str] | None,
    missing: Sequence[str],
) -> tuple[dict[str, pa.Array], dict[str, str]]:
    """Return the columns below the line with their names, and their units; `skipped` lines are above the first row."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadInput(path, f"has two columns {escape(twice[0], 40)!r}", fix="rename one of them in the file")
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=True)
    options.null_values = [*options.null_values, *missing, "--", "null", "nan ", " "]
    options.include_columns = [name for name in names if wanted is None or name.lower() in wanted]
    try:
        rows = pyarrow.csv.read_csv(
            io.BytesIO(raw),
            read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=skipped + (2 if units else 0), use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=True),
            convert_options=options,
        )
    except pa.ArrowException as error:
        raise BadInput(
            path, f"is no sound table ({escape(str(error).splitlines()[0])})", fix="mend the line, or convert the file"
        ) from error
    return {name: rows.column(name).combine_chunks() for name in rows.column_names}, dict(zip(names, units, strict=False))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_astropy(path: Path, raw: bytes, wanted: frozenset[str] | None, missing: Sequence[str]) -> Table:
    from astropy.io import ascii as text

    _require_short(path, raw, MAX_BYTES)
    options: dict[str, Any] = {"fill_values": [("", "0"), *((word, "0") for word in ("nan", "NaN", *missing))]} if missing else {}
    if raw.startswith(b"# %ECSV"):
        options = {"format": "ecsv"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what astropy tries on the way to the right format
            found = text.read(raw.decode("utf-8-sig").splitlines(), **options)  # never one string, which may be a file's name
    except Exception as error:  # whatever one of a dozen parsers makes of it
        raise BadInput(path, "is text, but no table", fix="give a table with a header line, as CSV or ECSV") from error
    return _from_astropy(found, wanted)


def read_votable(path: Path, wanted: frozenset[str] | None, missing: Sequence[str]) -> Table:
    """Return the first table of a VOTable; see `read_text`."""
    from astropy.io import votable

    raw = _content(path)
    _require_short(path, raw, MAX_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # departures from the standard that do no harm
            found = votable.parse_single_table(io.BytesIO(raw)).to_table(use_names_over_ids=True)
    except Exception as error:  # whatever a parser of XML makes of it
        raise BadInput(path, f"is no sound VOTable ({escape(error)})", fix="download the file again, or ask for FITS or CSV") from error
    return _from_astropy(found, wanted)


def _from_astropy(found: Any, wanted: frozenset[str] | None) -> Table:
    columns, units, descriptions, arrays = {}, {}, {}, []
    for name in found.colnames:
        if wanted is not None and name.lower() not in wanted:
            continue
        column = found[name]
        values = getattr(column, "value", column)  # of a quantity
        if np.ndim(values) != 1 or _holds_arrays(values):
            arrays.append(name)
            continue
        columns[name] = _arrow(values)
        if getattr(column, "unit", None) is not None:
            units[name] = str(column.unit)
        if getattr(column.info, "description", None):
            descriptions[name] = str(column.info.description)
    return columns, units, descriptions, arrays


def _holds_arrays(values: Any) -> bool:
    """Tell whether a column of objects holds arrays, as those of varying length do."""
    return bool(np.asarray(values).dtype.kind == "O" and any(np.ndim(value) for value in np.asarray(values).flat))


def _arrow(values: Any) -> pa.Array:
    """Return a column of astropy's as an Arrow array; masked values are null."""
    mask = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None
    array = np.asarray(values)
    if array.dtype.kind in "OUS":
        texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in array.tolist()]
        return pa.array(texts, pa.string(), mask=mask)
    array = array.astype(array.dtype.newbyteorder("="))
    return pa.array(np.ascontiguousarray(array), mask=mask)
