"""Parquet: a spectrum in each row, as columns of lists, or one spectrum with a row for each pixel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ....products._fits import escape
from ....products._fits.guard import open_regular
from ..masks import translated
from .base import Block, Format, SpectrumFile
from .table import one_spectrum

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_UNIT = b"unit"
_LABELS = ("name", "source_id", "targetid")


def sniff(file: SpectrumFile) -> bool:
    """Return whether the file begins as Parquet does."""
    return file.start.startswith(b"PAR1")


@contextmanager
def _opened(file: SpectrumFile) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_regular(file.path) as stream:
        try:
            yield pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            raise file.bad(f"is no Parquet file that can be read ({escape(error, 120)})", "copy or download the file again") from error


def _is_list(field: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(field.type) or pa.types.is_large_list(field.type) or pa.types.is_fixed_size_list(field.type))


def count(file: SpectrumFile) -> int:
    """Return the number of rows, or one when each is a pixel."""
    with _opened(file) as stored:
        return int(stored.metadata.num_rows) if any(map(_is_list, stored.schema_arrow)) else 1


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return rows; of the others, no more than a batch is ever in memory."""
    with _opened(file) as stored:
        schema = stored.schema_arrow
        units = {field.name: ((field.metadata or {}).get(_UNIT) or b"").decode() for field in schema}
        if not any(map(_is_list, schema)):
            flat = {name: column.to_numpy() for name, column in zip(schema.names, stored.read().columns, strict=True)}
            return one_spectrum(file, flat, units)
        lists = [field.name for field in schema if _is_list(field)]
        names = {what: file.called(what, lists) for what in ("wave", "loglam", "flux", "mask")}
        noise, kind = file.noise(lists)
        wave = names["wave"] or names["loglam"]
        if wave is None or names["flux"] is None:
            there = ", ".join(escape(name, 40) for name in lists[:20])
            raise file.bad(
                f"does not say which of its columns {there} holds wavelengths and fluxes", "set `columns.wave` and `columns.flux`"
            )
        labels = file.called("name", schema.names) or next((name for name in schema.names if name.lower() in _LABELS), None)
        places = {name.lower(): name for name in schema.names if name.lower() in ("ra", "dec", "mjd", "exposure")}
        wanted = [name for name in (wave, names["flux"], noise, names["mask"], labels, *places.values()) if name is not None]
        rows = _rows(stored, list(dict.fromkeys(wanted)), first, last)
    unit, mask = units[wave] or None, names["mask"]
    return Block(
        wave=_padded(rows[wave]),
        flux=_padded(rows[names["flux"]]),
        noise=_padded(rows[noise]) if noise else None,
        noise_kind=kind,
        mask=translated(np.nan_to_num(_padded(rows[mask])).astype(np.int64), file.convention(mask)) if mask else None,
        names=[str(value) for value in rows[labels]] if labels else None,
        unit=units[names["flux"]] or None,
        wave_unit=f"log10({unit or 'Angstrom'})" if wave == names["loglam"] else unit,
        columns={ours: np.array([_number(value) for value in rows[theirs]]) for ours, theirs in places.items()},
    )


def _rows(stored: pq.ParquetFile, names: list[str], first: int, last: int) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {name: [] for name in names}
    groups, row = [], 0
    offset = None
    for group in range(stored.metadata.num_row_groups):
        size = stored.metadata.row_group(group).num_rows
        if row < last and row + size > first:
            groups.append(group)
            offset = row if offset is None else offset
        row += size
    place = offset or 0
    for batch in stored.iter_batches(batch_size=4096, row_groups=groups, columns=names):
        cut = batch.slice(max(first - place, 0), max(min(last - place, len(batch)) - max(first - place, 0), 0))
        for name in names:
            column = cut.column(name)
            rows[name] += [value.values.to_numpy(zero_copy_only=False) if hasattr(value, "values") else value.as_py() for value in column]
        place += len(batch)
    return rows


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _padded(rows: list[np.ndarray | None]) -> np.ndarray:
    """Return (n, pixel) float64 of rows of any length; NaN behind the end of a shorter one."""
    out = np.full((len(rows), max((len(row) for row in rows if row is not None), default=0)), np.nan)
    for k, row in enumerate(rows):
        if row is not None:
            out[k, : len(row)] = row
    return out


FORMAT = Format("parquet", "Parquet with a spectrum in each row, or one spectrum with a row for each pixel", sniff, count, read)
