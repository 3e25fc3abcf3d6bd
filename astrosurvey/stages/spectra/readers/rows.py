"""Binary tables with a spectrum in each row: columns FLUX, IVAR (or an error), a mask, and WAVE or a grid in the header."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ....products._fits import BinaryTable
from ..masks import translated
from .base import Block, Format, SpectrumFile
from .planes import frame_of, medium_of

_GRIDS = (("LOGLAM0", "DLOGLAM"), ("COEFF0", "COEFF1"))
_PLACES = {
    "ra": ("RA", "TARGET_RA", "PLUG_RA", "RA_TARG"),
    "dec": ("DEC", "TARGET_DEC", "PLUG_DEC", "DEC_TARG"),
    "mjd": ("MJD",),
    "exposure": ("EXPTIME",),
}
_NAMES = ("NAME", "OBJECT", "OBJ_NME", "TARGETID", "SOURCE_ID", "DESIG")


HINT = "set `columns.flux` to the column that holds the fluxes"


def spectra_table(file: SpectrumFile) -> BinaryTable | None:
    """Return the first table with a spectrum in each row; None when there is none."""
    for table in file.tables():
        flux = next((name for name in (file.columns.get("flux", "").upper(), "FLUX", "FLAM") if name in table), None)
        if flux is not None and table.length(flux) > 1:
            return table
    return None


def needed_table(file: SpectrumFile, hint: str) -> BinaryTable:
    """Return that table; the error of a file without one ends with a hint."""
    table = spectra_table(file)
    if table is None:
        raise file.bad("has no table with a spectrum in each row", hint)
    return table


def sniff(file: SpectrumFile) -> bool:
    """Return whether there is such a table, and something that says its wavelengths."""
    table = spectra_table(file)
    return table is not None and (_grid(table, 1) is not None or _wave_column(file, table) is not None)


def _wave_column(file: SpectrumFile, table: BinaryTable) -> str | None:
    return file.called("wave", table.columns) or file.called("loglam", table.columns)


def _grid(table: BinaryTable, pixels: int) -> np.ndarray | None:
    for start, step in _GRIDS:
        if start in table.hdu.cards and step in table.hdu.cards:
            with table.file.cards(table.hdu):
                return table.hdu.cards.number(start) + table.hdu.cards.number(step) * np.arange(pixels)
    return None


def count(file: SpectrumFile) -> int:
    """Return the number of rows."""
    return needed_table(file, HINT).rows


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return rows of the table."""
    return read_rows(file, needed_table(file, HINT), first, last)


def read_rows(file: SpectrumFile, table: BinaryTable, first: int, last: int) -> Block:
    """Return rows of a table as a block; what its columns and headers do not say stays open."""
    flux = file.called("flux", table.columns)
    noise, kind = file.noise(table.columns)
    mask, wave = file.called("mask", table.columns), _wave_column(file, table)
    names = file.called("name", table.columns) or _first(_NAMES, table.columns)
    places = {ours: name for ours, theirs in _PLACES.items() if (name := _first(theirs, table.columns))}
    if flux is None:
        raise file.bad("has no column of fluxes", "set `columns.flux`", table.hdu)
    grid = _grid(table, table.length(flux))
    if wave is None and grid is None:
        raise file.bad("has neither a column of wavelengths nor LOGLAM0 and DLOGLAM in its header", "set `columns.wave`", table.hdu)
    wanted = [name for name in (flux, noise, mask, wave, names, *places.values()) if name is not None]
    values = table.read(dict.fromkeys(wanted), first, last)
    unit = table.unit(wave) if wave else ""
    logarithmic = wave is None or wave == file.called("loglam", table.columns)
    cards = table.hdu.cards
    said = cards.text("WAVE").lower() or cards.text("AIRORVAC").lower()
    return Block(
        wave=np.asarray(values[wave], np.float64) if wave else grid if grid is not None else np.empty(0),
        flux=np.atleast_2d(values[flux]),
        noise=np.atleast_2d(values[noise]) if noise else None,
        noise_kind=kind,
        mask=translated(np.nan_to_num(np.atleast_2d(values[mask])).astype(np.int64), file.convention(mask)) if mask else None,
        names=[str(name).strip() for name in values[names]] if names else None,
        unit=table.unit(flux) or cards.text("BUNIT") or file.text("BUNIT") or None,
        wave_unit="log10(Angstrom)" if logarithmic and not unit else unit or None,
        medium="vacuum" if said.startswith("vac") else "air" if said.startswith("air") else medium_of(file),
        frame=frame_of(file),
        columns={ours: values[name] for ours, name in places.items()},
    )


def _first(names: Iterable[str], there: Iterable[str]) -> str | None:
    there = set(there)
    return next((name for name in names if name in there), None)


FORMAT = Format("rows", "binary tables with a spectrum in each row, on a grid of the header or a column WAVE", sniff, count, read)
