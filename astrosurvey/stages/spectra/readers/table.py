"""A table of one spectrum with a row for each pixel: text in any of astropy's formats (CSV, ECSV, blanks, …) or FITS."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ....products._fits import BinaryTable, escape
from ....products._fits.guard import open_regular
from ..masks import translated
from .base import Block, Format, SpectrumFile
from .planes import frame_of, medium_of

MAX_BYTES = 1 << 30
"""A text of one spectrum is never as long as this, inflated."""

_BY_PLACE = ("wave", "flux", "error")
"""What the columns of a text without a header line are, when there are two or three."""


def _table(file: SpectrumFile) -> BinaryTable | None:
    for table in file.tables():
        flux = next((name for name in (file.columns.get("flux", "").upper(), "FLUX", "FLAM") if name in table), None)
        if flux is not None and table.length(flux) == 1 and table.rows > 1:
            return table
    return None


def sniff(file: SpectrumFile) -> bool:
    """Return whether this is text, or a FITS table with a flux in each row."""
    if file.fits is not None:
        return _table(file) is not None
    return bool(file.start) and not any(byte < 9 or 13 < byte < 32 for byte in file.start) and file.start[:1] not in b"<{"


def count(file: SpectrumFile) -> int:
    """Return one."""
    return 1


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return the spectrum."""
    columns, units = _from_fits(file) if file.fits is not None else _from_text(file)
    return one_spectrum(file, columns, units)


def one_spectrum(file: SpectrumFile, columns: dict[str, np.ndarray], units: dict[str, str]) -> Block:
    """Return the spectrum whose pixels are the rows of these columns.

    Args:
        file: where they are from.
        columns: (pixel,) arrays by name.
        units: of some of them.
    """
    if all(name.lower().startswith("col") for name in columns) and not file.columns and len(columns) in (2, 3):
        columns = dict(zip(_BY_PLACE, columns.values(), strict=False))  # a text without a header line
    flux = file.called("flux", columns)
    logarithmic = file.called("loglam", columns)
    wave = file.called("wave", columns) or logarithmic
    there = ", ".join(escape(name, 40) for name in list(columns)[:20])
    if flux is None or wave is None:
        lacking, setting = ("wavelengths", "wave") if flux else ("fluxes", "flux")
        raise file.bad(f"does not say which of its columns {there} holds the {lacking}", f"set `columns.{setting}`")
    noise, kind = file.noise(columns)
    mask = file.called("mask", columns)
    chosen = {name: _numbers(file, name, columns[name]) for name in (wave, flux, noise, mask) if name is not None}
    unit = units.get(wave) or None
    return Block(
        wave=chosen[wave],
        flux=chosen[flux][None],
        noise=chosen[noise][None] if noise else None,
        noise_kind=kind,
        mask=translated(np.nan_to_num(chosen[mask][None]).astype(np.int64), file.convention(mask)) if mask else None,
        unit=units.get(flux) or None,
        wave_unit=f"log10({unit or 'Angstrom'})" if wave == logarithmic and not (unit or "").startswith(("log", "dex")) else unit,
        medium=medium_of(file) if file.fits else None,
        frame=frame_of(file) if file.fits else None,
    )


def _numbers(file: SpectrumFile, name: str, values: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError):
        raise file.bad(f"has a column {escape(name, 40)!r} that holds no numbers", "set `columns` to others, or mend the file") from None


def _from_fits(file: SpectrumFile) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    table = _table(file)
    if table is None:
        raise file.bad("has no table with a flux in each row", "set `columns.flux` to the column that holds the fluxes")
    names = [name for name, column in table.columns.items() if column.repeat == 1 and column.form in "LBIJKED"]
    wanted = [name for what in ("wave", "loglam", "flux", "ivar", "error", "variance", "mask") if (name := file.called(what, names))]
    return table.read(dict.fromkeys(wanted)), {name: table.unit(name) for name in wanted}


def _from_text(file: SpectrumFile) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    from astropy.io import ascii as text
    from astropy.table import Table

    with open_regular(file.path) as stream:
        raw = stream.read(MAX_BYTES)
    if file.gzipped:
        import zlib

        inflater = zlib.decompressobj(wbits=47)
        try:
            raw = inflater.decompress(raw, MAX_BYTES)
        except zlib.error as error:
            raise file.bad(f"is damaged ({escape(error)})", "copy or download the file again") from error
        if not inflater.eof:
            raise file.bad(f"is cut short, or larger than {MAX_BYTES} bytes", "copy or download the file again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what astropy tries on the way to the right format
            found: Any = text.read(raw.decode("utf-8-sig").splitlines())  # never one string, which may be a file's name
    except Exception as error:  # whatever one of a dozen parsers makes of it
        raise file.bad("is text, but no table of numbers", "give a table with a header line, as CSV or ECSV") from error
    assert isinstance(found, Table)
    return {name: _plain(found[name]) for name in found.colnames}, {
        name: str(found[name].unit) for name in found.colnames if found[name].unit is not None
    }


def _plain(column: Any) -> np.ndarray:
    """Return a column as a plain array: of numbers, with NaN where there is none, or as it is."""
    return np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan) if column.dtype.kind in "iufb" else np.asarray(column)


FORMAT = Format("table", "one spectrum as a table of pixels: CSV, ECSV and other text, or FITS", sniff, count, read)
