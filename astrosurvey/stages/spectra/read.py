"""The flow of io.spectra: open, recognise, read a part at a time, bring everything to one convention, describe each spectrum."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...catalog.flags import SPECTRUM
from ...catalog.ids import object_ids
from ...core.product import ProductError
from ...core.stage import DataError, NoWork
from ...core.tiles import Tile, fill
from ...products import Catalog, Spectra
from ...products._fits import escape
from .fluxes import FluxError, to_angstrom
from .grids import Gridded, on_grids
from .planes import describe, finished
from .readers import Block, Format, SpectrumFile, format_of
from .vacuum import to_vacuum

if TYPE_CHECKING:
    from .stage import ReadSpectra

PART = 1 << 21
"""Values of one plane that are in memory as float64 at a time."""


def files_of(template: str, tile: Tile | None) -> list[str]:
    """Return the files of a tile: the path itself, or what it matches as a pattern when there is no such file.

    Raises:
        KeyError: the template names something unknown.
    """
    path = Path(fill(template, tile))
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [str(path)]
    folder = next(parent for parent in path.parents if parent.is_dir())  # a folder that exists is a name, whatever is in it
    return sorted(glob.glob(f"{glob.escape(str(folder))}/{path.relative_to(folder)}")) or [str(path)]


def opened(config: ReadSpectra.Config, path: str) -> SpectrumFile:
    """Return an open file, with what the settings say about its columns and its mask."""
    _, _, loader = config.format.partition(":")
    return SpectrumFile(path, dict(config.columns), config.mask, loader or None, checksum=config.checksum)


@dataclass
class _Taken:
    """What has been read so far."""

    parts: list[Spectra] = field(default_factory=list)
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)


def read_spectra(config: ReadSpectra.Config, tile: Tile | None, log: logging.Logger) -> tuple[Spectra, Catalog]:
    """Return the tile's spectra and their rows of the table `spectrum`.

    Args:
        config: the stage's settings.
        tile: fills the path's template; with rows, only those of the file are read.
        log: gets a warning for each repair.

    Raises:
        DataError: a file cannot be used, or leaves something open that only a setting can say.
        NoWork: there are no spectra.
    """
    try:
        paths = files_of(config.path, tile)
    except KeyError as error:
        raise DataError(f"{error.args[0]}; try: correct the setting `path`") from error
    window = tile.rows if tile is not None else None
    if window is not None and len(paths) != 1:
        raise DataError(f"{config.path!r} matches {len(paths)} files, but only one file can be cut into blocks; try: give one path")
    taken = _Taken()
    for path in paths:
        with opened(config, path) as file:
            _read_file(config, file, window, taken)
    if not taken.parts:
        raise NoWork("there are no spectra in this part of the file" if window else "the files hold no spectra")
    for note in taken.repairs:
        log.warning("%s", note)
    return _collected(taken, tile.number if tile is not None else 0)


def _read_file(config: ReadSpectra.Config, file: SpectrumFile, window: tuple[int, int] | None, taken: _Taken) -> None:
    entry = format_of(file, config.format.partition(":")[0])
    total = entry.count(file)
    first, last = (min(window[0], total), min(window[1], total)) if window else (0, total)
    said: dict[str, Any] = {}
    step = 0
    while first < last:
        block = entry.read(file, first, min(first + (step or 1), last))
        said = said or _origin(config, file, entry, block)
        part, rows = _one_convention(config, file, block, said, first if total > 1 else None)
        taken.parts.append(part)
        taken.rows.append(rows)
        first += len(part)
        step = max(1, PART // block.flux.shape[1])
    if said:
        taken.files.append(said)
    if file.fits is not None:
        taken.repairs += [f"{escape(file.path.name)}: {note}" for note in dict.fromkeys(file.fits.repairs)]


def _origin(config: ReadSpectra.Config, file: SpectrumFile, entry: Format, block: Block) -> dict[str, Any]:
    """Return what is known about a file after the settings have had their say; JSON values.

    Raises:
        BadInput: neither the file nor a setting says what must be known.
    """
    said = {
        "wave_unit": config.wave_unit or block.wave_unit,
        "medium": config.medium or block.medium,
        "unit": config.unit or block.unit,
        "errors": block.noise_kind if block.noise is not None else "measured" if config.errors == "measured" else None,
    }
    missing = [name for name, value in said.items() if value is None]
    if missing:
        reasons, fixes = zip(*(_MISSING[name] for name in missing), strict=True)
        raise file.bad(f"does not say {', '.join(reasons)}", f"set {', '.join(fixes)}")
    return {"file": escape(file.path.name), "format": entry.name, **said, "frame": config.frame or block.frame or "unknown"}


_MISSING = {
    "wave_unit": ("the unit of its wavelengths", "`wave_unit`, such as Angstrom, nm or log10(Angstrom)"),
    "medium": ("whether they are in air or in vacuum", "`medium: air` or `medium: vacuum`"),
    "unit": ("the unit of its fluxes", "`unit`, such as `1e-17 erg/s/cm2/Angstrom`, or `unit: relative`"),
    "errors": ("the errors of its fluxes", "`columns` if they have an unusual name, or `errors: measured`"),
}


def _one_convention(
    config: ReadSpectra.Config, file: SpectrumFile, block: Block, said: dict[str, Any], row: int | None
) -> tuple[Spectra, Mapping[str, Any]]:
    """Return a block in the product's units and conventions, and its rows of the catalogue without ids."""
    n = len(block.flux)
    try:
        wave = to_angstrom(block.wave, said["wave_unit"])
    except FluxError as error:
        raise file.bad(escape(error), "set `wave_unit`") from error
    frame = said["frame"]
    columns = {name: np.asarray(values, np.float64) for name, values in block.columns.items()}
    grids = on_grids(file, Gridded(wave, block.flux, block.noise, block.mask))
    wave = to_vacuum(grids.wave) if said["medium"] == "air" else grids.wave
    if config.correct is not None:
        wave, frame = _at_rest(config.correct, file, wave, n, frame, columns, block.site)
    planes = finished(file, Gridded(wave, grids.flux, grids.noise, grids.mask), said, in_sky_frame=frame != "source")
    flags = np.asarray(block.flags, np.int64) | grids.flags | np.zeros(n, np.int64)
    flags |= SPECTRUM["RELATIVE_FLUX"] * (planes.unit == "") | SPECTRUM["MEASURED_ERRORS"] * (block.noise is None)
    names = block.names or ([file.stem] if row is None and n == 1 else [f"{file.stem}:{(row or 0) + k}" for k in range(n)])
    spectra = Spectra(planes.flux, planes.ivar, planes.mask, wave, np.arange(n), planes.unit)
    rows = describe(spectra, grids.n_pixel, [escape(name, 255) for name in names], frame, columns, flags)
    return spectra, {**rows, "path": [escape(file.path.name)] * n}


def _at_rest(
    to: str,
    file: SpectrumFile,
    wave: np.ndarray,
    n: int,
    frame: str,
    columns: Mapping[str, np.ndarray],
    site: tuple[float, float, float] | None,
) -> tuple[np.ndarray, str]:
    """Return wavelengths corrected for the Earth's motion, and their rest frame; those that are corrected already stay as they are.

    The centres of the Sun and of the solar system move against each other by 15 m/s at most, which is left alone.
    """
    if frame in ("heliocentric", "barycentric", "source"):
        return wave, frame
    if frame == "unknown":
        raise file.bad("does not say whether its wavelengths are corrected for the Earth's motion", "set `frame`, or leave out `correct`")
    from .velocity import correction

    ra, dec, mjd = (columns.get(name, np.full(n, np.nan)) for name in ("ra", "dec", "mjd"))
    if site is None or not (np.isfinite(site).all() and np.isfinite([ra, dec, mjd]).all()):
        raise file.bad("lacks the place, the time or the observatory that the Earth's motion is computed from", "leave out `correct`")
    factors = correction(ra, dec, mjd, site, to)
    if wave.ndim == 1 and np.ptp(factors) == 0:
        return wave * factors[0], to
    return np.ascontiguousarray(wave * factors[:, None]), to


def _collected(taken: _Taken, number: int) -> tuple[Spectra, Catalog]:
    ids = object_ids(number, sum(map(len, taken.parts)))
    place = 0
    parts = []
    for part in taken.parts:
        parts.append(Spectra(part.flux, part.ivar, part.mask, part.wave, ids[place : place + len(part)], part.unit))
        place += len(part)
    meta: dict[str, Any] = {"files": taken.files}
    if taken.repairs:
        meta["repairs"] = taken.repairs
    try:
        spectra = Spectra.concatenate(parts, meta)
    except ProductError as error:
        reason = f"the files of this tile have fluxes of different kinds: {error}"
        raise DataError(f"{reason}; try: set `unit: relative`, or read them apart") from error
    columns = {name: np.concatenate([np.asarray(rows[name]) for rows in taken.rows]) for name in taken.rows[0]}
    return spectra, Catalog.from_columns("spectrum", {"spectrum_id": ids, "tile_id": number, **columns})
