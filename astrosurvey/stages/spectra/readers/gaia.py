"""Gaia: CSV files as GaiaXPy and the SPSS library write them, a spectrum in each line and its arrays as "(1.0,2.0,…)"."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ....products._fits import escape
from ....products._fits.guard import open_regular
from .base import Block, Format, SpectrumFile

_CELL = 8 << 20


def sniff(file: SpectrumFile) -> bool:
    """Return whether the header line names a source and fluxes, and arrays follow."""
    head, _, rest = file.start.partition(b"\n")
    return {b"source_id", b"flux"} <= {word.strip() for word in head.split(b",")} and b'"(' in rest.replace(b"[", b"(")


@contextmanager
def _lines(file: SpectrumFile) -> Iterator[Iterator[dict[str, str]]]:
    with open_regular(file.path) as raw:
        stream = gzip.GzipFile(fileobj=raw) if file.gzipped else raw
        limit = csv.field_size_limit(_CELL)
        try:
            yield csv.DictReader(io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8-sig"))
        except (csv.Error, UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise file.bad(f"is damaged or cut short ({escape(error, 120)})", "copy or download the file again") from error
        finally:
            csv.field_size_limit(limit)


def count(file: SpectrumFile) -> int:
    """Return the number of lines; the whole file is read for this, a line at a time."""
    with _lines(file) as lines:
        total = sum(1 for _ in lines)
    if total == 0:
        raise file.bad("holds no lines", "leave out `format: gaia`")
    return total


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return some of the spectra.

    GaiaXPy gives wavelengths in nm and fluxes in W m-2 nm-1, and says so nowhere in the file.
    """
    with _lines(file) as lines:
        rows = list(itertools.islice(lines, first, last))
    missing = {"source_id", "flux", "flux_error"} - set(rows[0])
    wave = next((name for name in ("wl", "wavelength", "sampling") if name in rows[0]), None)
    if missing or wave is None:
        lacking = sorted(missing) + (["wl"] if wave is None else [])
        raise file.bad(f"lacks the columns {', '.join(lacking)}", "write it with its sampling")
    return Block(
        wave=_arrays(file, [row[wave] for row in rows]),
        flux=_arrays(file, [row["flux"] for row in rows]),
        noise=_arrays(file, [row["flux_error"] for row in rows]),
        noise_kind="error",
        names=[row["source_id"] for row in rows],
        unit="W m-2 nm-1",
        wave_unit="nm",
    )


def _arrays(file: SpectrumFile, cells: list[str]) -> np.ndarray:
    """Return (n, pixel) of the arrays in these cells."""
    try:
        rows = [np.array(cell.strip("()[] ").split(","), np.float64) for cell in cells]
        return np.stack(rows)
    except ValueError as error:
        raise file.bad(f"has arrays that are no numbers, or of different lengths ({escape(error, 80)})", "copy it again") from error


FORMAT = Format("gaia", "Gaia CSV of GaiaXPy and the SPSS library, a spectrum in each line", sniff, count, read)
