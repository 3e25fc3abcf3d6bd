"""The two sides of a cross-match: of each catalogue the places with their errors, and of the other one what is kept beside a match."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ...catalog.ownership import unit_vectors
from ...core.product import Tiles
from ...core.stage import DataError, NoWork
from ...core.tiles import Tile
from ...products import Catalog
from ..clustering.features import numbers, resolved
from ..io.catalog.read import kept_name, plain_name

if TYPE_CHECKING:
    from .crossmatch import CrossMatch, OtherFile

BLOCK = 1_000_000
"""Rows of a file that are read at a time."""
MAS = 1e-3

Scales = Mapping[int, float]
"""By tile id, the size of a pixel in arcsec."""


@dataclass(frozen=True)
class Motion:
    """Where a catalogue says how its objects move, and to which time they are moved.

    Attributes:
        columns: of the proper motions, along right ascension (on the sky) and declination.
        of: the column with the epoch of each position, or the epoch of all, Julian year.
        to: the epoch of the match, Julian year.
    """

    columns: tuple[str, str]
    of: str | float
    to: float


def pixel_scales(tiles: Tiles[Catalog] | None) -> dict[int, float]:
    """Return the size of a pixel of each tile, in arcsec, where the table `tile` has it."""
    found: dict[int, float] = {}
    for _, catalog in tiles.items() if tiles is not None else ():
        found |= dict(zip(catalog.column("tile_id").tolist(), catalog.column("pixel_scale").tolist(), strict=True))
    return found


def places(catalog: Catalog, columns: Sequence[str] | None, error: float, scales: Scales) -> dict[str, np.ndarray]:
    """Return `ra` and `dec`, deg, and the `variance` of the place along one axis, arcsec^2; NaN where it is not known.

    Args:
        catalog: sources, n rows.
        columns: of the standard errors along both axes; None for the covariance in pixels, where the scale is known.
        error: arcsec, added in quadrature.
        scales: by tile id, arcsec.
    """
    if columns is not None:
        known = sum(_in_unit(catalog, name, "arcsec") ** 2 for name in columns) / 2
    else:
        scale = (catalog.meta.get("tile") or {}).get("pixel_scale")
        of_tile, each = np.unique(catalog.column("tile_id"), return_inverse=True)
        size = np.array([scales.get(tile, scale or np.nan) for tile in of_tile.tolist()], float)
        known = (catalog.column("x_var").astype(float) + catalog.column("y_var")) / 2 * (size[each] if len(size) else 1.0) ** 2
    variance = np.where(np.isfinite(known), known, 0.0 if error else np.nan) + error**2
    return {"ra": np.array(catalog.column("ra"), float), "dec": np.array(catalog.column("dec"), float), "variance": variance}


def _in_unit(catalog: Catalog, name: str, unit: str) -> np.ndarray:
    """Return a column in a unit; (n,) float64, NaN for null.

    Raises:
        DataError: there is no such column of numbers, or its unit is none, or another kind of.
    """
    from astropy.units import Unit, UnitConversionError

    column = _column(catalog, name)
    own = (catalog.rows.schema.field(column).metadata or {}).get(b"unit", b"").decode()
    try:
        return np.asarray(Unit(own).to(unit, numbers(catalog.rows, column)), float)
    except UnitConversionError as error:
        said = f"in {own!r}" if own else "without a unit"
        raise DataError(f"column {name!r} is {said}, and is wanted in {unit}; say its unit in `units` where it is read") from error


def _column(catalog: Catalog, name: str) -> str:
    """Return the column that a setting means, by its own name or by the one that its file has for it."""
    return resolved(plain_name(name), catalog.rows.column_names)


def source_rows(tiles: Tiles[Catalog], config: CrossMatch.Config, scales: Scales) -> Iterator[pa.Table]:
    """Yield the primary sources of one catalogue after the other: `source_id`, `ra`, `dec`, `variance`."""
    for catalog in _each(tiles):
        columns = places(catalog, config.errors, config.error, scales)
        yield pa.table({"source_id": catalog.column("source_id"), **columns}).filter(pa.array(catalog.column("primary")))


def aside(rows: pa.Table, by: float) -> pa.Table:
    """Return places that are moved towards the equator by so many arcsec, across it where it is nearer."""
    dec = rows.column("dec").to_numpy()
    moved = pa.array(dec + np.where(dec > 0, -by, by) / 3600)
    return pa.table({"ra": rows.column("ra"), "dec": moved, "variance": rows.column("variance")})


def other_rows(tiles: Tiles[Catalog], config: CrossMatch.Config, scales: Scales) -> Iterator[pa.Table]:
    """Yield the primary sources of the other catalogue: `id`, `ra`, `dec`, `variance`, `moved`, and what is kept."""
    for catalog in _each(tiles):
        yield _others(catalog, {"id": pa.array(catalog.column("source_id"))}, config, scales).filter(pa.array(catalog.column("primary")))


def file_rows(file: OtherFile, config: CrossMatch.Config, log: logging.Logger) -> Iterator[pa.Table]:
    """Yield the rows of a file, in blocks, as `other_rows` does; `name` is there as well if ids are texts.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    from ..io.catalog.formats import count
    from ..io.catalog.read import read_catalog
    from ..io.catalog.stage import ReadCatalog

    wanted = [*(config.other_errors or ()), *(config.other_motion or ()), *config.extra, *([file.id] if file.id else [])]
    if isinstance(config.other_epoch, str):
        wanted.append(config.other_epoch)
    reading = ReadCatalog.Config(**file.model_dump(exclude={"id"}), extra=list(dict.fromkeys(wanted)))
    rows = count(file.path, file.hdu)
    for first in range(0, rows, BLOCK) if rows is not None else (0,):
        block = None if rows is None else (first, min(first + BLOCK, rows))
        try:
            catalog = read_catalog(reading, Tile(Path(file.path).stem, 0, 0, rows=block), log)
        except NoWork:
            continue
        yield _others(catalog, _identifiers(catalog, file, first), config, {})


def without_rows() -> pa.Table:
    """Return a catalogue without rows, as `other_rows` yields them."""
    kinds = {"id": pa.int64(), **dict.fromkeys(("ra", "dec", "variance"), pa.float64()), "moved": pa.bool_()}
    return pa.schema(kinds.items()).empty_table()


def _each(tiles: Tiles[Catalog]) -> Iterator[Catalog]:
    for _, catalog in tiles.items():
        yield from catalog.partitions()


def _identifiers(catalog: Catalog, file: OtherFile, first: int) -> dict[str, pa.Array]:
    """Return the column `id`, and `name` where the file's ids are texts."""
    number = pa.array(first + np.arange(len(catalog)))
    if file.id is None:
        return {"id": number}
    own = catalog.rows.column(kept_name(file.id)).combine_chunks()
    if pa.types.is_integer(own.type):
        return {"id": own.cast(pa.int64())}
    if pa.types.is_string(own.type):
        return {"id": number, "name": own}
    raise DataError(f"the column {file.id!r} holds {own.type}; ids are whole numbers or texts: name another column in `file.id`")


def _others(catalog: Catalog, ids: Mapping[str, pa.Array], config: CrossMatch.Config, scales: Scales) -> pa.Table:
    columns = places(catalog, config.other_errors, config.other_error, scales)
    columns["moved"] = np.ones(len(catalog), bool)
    if (motion := config.motion()) is not None:
        columns["ra"], columns["dec"], columns["moved"] = _moved(catalog, columns["ra"], columns["dec"], motion)
    rows = pa.table({**ids, **columns})
    for name in config.extra:
        column = _column(catalog, name)
        field = catalog.rows.schema.field(column)
        kept = column if column.startswith("x_") else f"x_other_{column}"
        rows = rows.append_column(field.with_name(kept).with_nullable(True), catalog.rows.column(column))
    return rows


def _moved(catalog: Catalog, ra: np.ndarray, dec: np.ndarray, motion: Motion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places at the epoch of the match, and whose motions are known; the others stay.

    They move in straight lines on their tangent planes.
    """
    along, up = (_in_unit(catalog, name, "mas / yr") * MAS / 3600 for name in motion.columns)
    epoch = numbers(catalog.rows, _column(catalog, motion.of)) if isinstance(motion.of, str) else np.full(len(catalog), motion.of)
    known = np.isfinite(along) & np.isfinite(up) & np.isfinite(epoch)
    step = np.radians(np.where(known, [along, up], 0.0) * np.where(known, motion.to - epoch, 0.0))
    place = unit_vectors(ra, dec)
    east, north = axes(ra, dec)
    place = place + step[0][:, None] * east + step[1][:, None] * north
    to_ra = np.degrees(np.arctan2(place[:, 1], place[:, 0])) % 360
    to_dec = np.degrees(np.arctan2(place[:, 2], np.hypot(place[:, 0], place[:, 1])))
    to_ra[to_ra >= 360] = 0.0
    return np.where(known, to_ra, ra), np.where(known, to_dec, dec), known


def axes(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, 3) unit vectors that point east and north at places in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)], axis=-1)
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)], axis=-1)
    return east, north
