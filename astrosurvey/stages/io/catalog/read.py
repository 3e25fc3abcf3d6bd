"""The flow of io.catalog: open, choose columns, bring positions to degrees, find duplicates, make rows of the table `source`."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....catalog.arrow import portable
from ....catalog.flags import SOURCE
from ....catalog.ids import object_ids
from ....catalog.pixelless import pixel_columns, pixelless_footprint
from ....catalog.schema import SchemaError, suggestion
from ....core.stage import NoWork
from ....core.tiles import Tile
from ....products import Catalog
from ....products._fits import BadInput, escape
from ..paths import path_of
from .formats import FileTable, opened
from .positions import USUAL, angles, positions, unknown, usual
from .units import normal_unit

if TYPE_CHECKING:
    from .stage import ReadCatalog

ANGLES = ("ra", "dec", "l", "b")
"""What `columns` may call a position on the sky."""


def read_catalog(config: ReadCatalog.Config, tile: Tile, log: logging.Logger) -> Catalog:
    """Return the sources of a tile.

    Raises:
        DataError: the file cannot be read, lacks a column, or holds what cannot be.
        NoWork: it has no rows.
    """
    path = Path(path_of(config.path, tile))
    words = [word for word in config.missing if isinstance(word, str)]
    with opened(path, config.hdu, _wanted(config), words) as table:
        for note in table.repairs:
            log.warning("%s: %s", escape(path.name), note)
        first, last = _window(path, table, tile)
        if first >= last:
            raise NoWork(f"{escape(path.name)} has no rows here")
        mapped = _mapped(path, table, config)
        held = table.read(_chosen(path, table, config, mapped), first, last)
    columns = {name: _without(array, config.missing) for name, array in held.items()}
    keep = _first_of_each(path, columns[_called(path, table, config.id, "id")], config, log) if config.id else np.arange(last - first)
    return _catalog(path, config, table, mapped, {name: array.take(pa.array(keep)) for name, array in columns.items()}, tile, keep, log)


def _wanted(config: ReadCatalog.Config) -> frozenset[str] | None:
    """Return the columns that are needed, in lower case, positions under all of their usual names; None for all."""
    if config.extra is None:
        return None
    named = [*config.extra, *config.columns.values(), *([config.id] if config.id else []), *config.units]
    return frozenset(name.lower() for name in (*named, *USUAL["ra"], *USUAL["dec"]))


def _window(path: Path, table: FileTable, tile: Tile) -> tuple[int, int]:
    first, last = tile.rows or (0, table.rows)
    return min(first, table.rows), min(last, table.rows)


def _called(path: Path, table: FileTable, name: str, setting: str) -> str:
    """Return what the file calls a column that a setting names, in whatever case."""
    if name in table.names:
        return name
    meant = [other for other in table.names if other.lower() == name.lower()]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise BadInput(path, f"has the columns {', '.join(meant)}", fix=f"say in `{setting}` which of them is meant")
    if name.lower() in [other.lower() for other in table.arrays]:
        raise BadInput(
            path,
            f"the column {escape(name, 40)!r} for `{setting}` holds several values in each row",
            fix="give them as columns of their own",
        )
    known = [escape(other, 40) for other in table.names]
    raise BadInput(path, f"there is no column {escape(name, 40)!r} for `{setting}`{suggestion(name, known)}")


def _mapped(path: Path, table: FileTable, config: ReadCatalog.Config) -> dict[str, str]:
    """Return, by column of the table `source`, what the file calls it."""
    mapped = {name: _called(path, table, called, f"columns.{name}") for name, called in config.columns.items()}
    return mapped if {"ra", "l"} & set(mapped) else mapped | usual(table.names)


def _chosen(path: Path, table: FileTable, config: ReadCatalog.Config, mapped: Mapping[str, str]) -> list[str]:
    """Return the file's columns to read, each once."""
    for name in config.units:
        _called(path, table, name, "units")
    named = [_called(path, table, name, "extra") for name in config.extra] if config.extra is not None else list(table.names)
    own = [_called(path, table, config.id, "id")] if config.id else []
    return list(dict.fromkeys([*mapped.values(), *own, *named]))


def _without(array: pa.Array, missing: Sequence[float | str]) -> pa.Array:
    """Return values in which those that stand for no value, NaN among them, are null."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_decimal(array.type) or pa.types.is_null(array.type):
        array = array.cast(pa.float64())
    if pa.types.is_uint64(array.type):
        fits = (pc.max(array).as_py() or 0) < 2**63
        array = array.cast(pa.int64() if fits else pa.float64(), safe=False)
    text, number = pa.types.is_string(array.type) or pa.types.is_large_string(array.type), _is_number(array.type)
    if text:
        array = pc.utf8_trim_whitespace(array)
        array = pc.if_else(pc.equal(array, ""), pa.scalar(None, array.type), array)
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    for marker in missing:
        if text and isinstance(marker, str):
            array = pc.if_else(pc.equal(array, marker), pa.scalar(None, array.type), array)
        elif number and not isinstance(marker, str) and (same := _as_one_of(marker, array.type)) is not None:
            array = pc.if_else(pc.equal(array, same), pa.scalar(None, array.type), array)
    return array


def _as_one_of(marker: float, kind: pa.DataType) -> pa.Scalar | None:
    """Return a number as one of a column's type; None if no value of that type is it, such as -99 among bytes."""
    if pa.types.is_integer(kind) and not float(marker).is_integer():
        return None
    try:
        return pa.scalar(int(marker) if pa.types.is_integer(kind) else marker, kind)
    except (pa.ArrowInvalid, OverflowError):
        return None


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _first_of_each(path: Path, ids: pa.Array, config: ReadCatalog.Config, log: logging.Logger) -> np.ndarray:
    """Return the rows to keep: the first one of each id, and all that have none.

    Raises:
        BadInput: an id is there twice, and the settings do not say that this is fine.
    """
    codes = ids.dictionary_encode()
    known = np.flatnonzero(codes.is_valid().to_numpy(zero_copy_only=False))
    number = codes.indices.fill_null(0).to_numpy()[known]
    _, first = np.unique(number, return_index=True)
    repeated = np.delete(known, first)
    if not len(repeated):
        return np.arange(len(ids))
    if config.duplicates == "error":
        value = escape(ids[int(repeated[0])].as_py(), 40)
        raise BadInput(
            path, f"has {len(repeated)} rows whose `{config.id}` was there before, such as {value}", fix="set `duplicates: first`"
        )
    log.warning("%s: %d rows whose %s was there before are left out", escape(path.name), len(repeated), config.id)
    return np.delete(np.arange(len(ids)), repeated)


def _catalog(
    path: Path,
    config: ReadCatalog.Config,
    table: FileTable,
    mapped: Mapping[str, str],
    held: Mapping[str, pa.Array],
    tile: Tile,
    keep: np.ndarray,
    log: logging.Logger,
) -> Catalog:
    units = {**table.units, **{_called(path, table, name, "units"): unit for name, unit in config.units.items()}}
    columns: dict[str, Any] = {"source_id": object_ids(tile.number, int(keep[-1]) + 1)[keep], "tile_id": tile.number, **pixel_columns(keep)}
    columns["flags"] = np.zeros(len(keep), np.int32)
    sky = {name: called for name, called in mapped.items() if name in ANGLES}
    for name, called in mapped.items():
        if name in sky:
            continue
        if not _is_number(held[called].type):
            raise BadInput(path, f"the column {escape(called, 40)!r} for `{name}` holds {held[called].type}", fix="give numbers")
        columns[name] = np.asarray(held[called].cast(pa.float64(), safe=False).fill_null(np.nan))
    if sky:
        degrees = {name: angles(path, called, held[called], units.get(called, "")) for name, called in sky.items()}
        columns["ra"], columns["dec"] = positions(path, sky, degrees, keep + (tile.rows[0] if tile.rows else 0))
        lost = np.isnan(columns["ra"])
        if lost.any():
            log.warning("%s: %d of %d rows have no position", escape(path.name), lost.sum(), len(lost))
        columns["flags"][lost] |= SOURCE["NO_SKY_POSITION"]
    else:
        log.warning("%s: no columns for a position on the sky are known; %s", escape(path.name), unknown(table.names))
        columns["flags"] |= SOURCE["NO_SKY_POSITION"]
    if "x" in mapped:
        columns |= _boxes(path, columns["x"], columns["y"])
    meta = {"tile": pixelless_footprint(tile.name, tile.number, int(keep[-1]) + 1)}
    return _with_extra(path, config, table, mapped, held, units, Catalog.from_columns("source", columns, meta))


def plain_name(called: str) -> str:
    """Return a column's name in lower case, with what is no letter or digit as `_`, so that every format gives the same one."""
    return re.sub(r"\W", "_", called.lower())


def kept_name(called: str) -> str:
    """Return the name under which a column of a file is kept."""
    return "x_catalog_" + plain_name(called)


def _boxes(path: Path, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Return the pixel around each place, as its bounding box."""
    if not (np.isfinite(x) & np.isfinite(y)).all():
        raise BadInput(path, "has rows without `x` or `y`, which every source has", fix="leave `x` and `y` out of `columns`")
    corners = {"x_min": np.floor(x + 0.5), "y_min": np.floor(y + 0.5)}
    return corners | {"x_max": corners["x_min"] + 1, "y_max": corners["y_min"] + 1}


def _with_extra(
    path: Path,
    config: ReadCatalog.Config,
    table: FileTable,
    mapped: Mapping[str, str],
    held: Mapping[str, pa.Array],
    units: Mapping[str, str],
    catalog: Catalog,
) -> Catalog:
    """Return the catalogue with the file's other columns as `x_catalog_<name>`, with units and descriptions."""
    own = _called(path, table, config.id, "id") if config.id else None
    rows, taken = catalog.rows, dict.fromkeys(mapped.values(), "")
    for called, array in held.items():
        is_listed = config.extra is not None or called == own
        if called in taken or (not is_listed and not (_is_number(array.type) or pa.types.is_boolean(array.type))):
            continue
        name = kept_name(called)
        if name in rows.column_names:
            raise BadInput(path, f"has two columns that would be called {name}", fix="leave one of them out through `extra`")
        if pa.types.is_temporal(array.type):
            raise BadInput(
                path,
                f"the column {escape(called, 40)!r} holds dates or times",
                fix="give the MJD, or leave it out of `extra`",
            )
        try:
            values = portable(name, array)
        except SchemaError as error:
            raise BadInput(path, str(error), fix="leave it out of `extra`") from error
        unit = normal_unit(path, called, units.get(called, ""), strict=called.lower() in {other.lower() for other in config.units})
        metadata = {"unit": unit, "description": table.descriptions.get(called, f"column {called} of the catalogue that was read")}
        rows = rows.append_column(pa.field(name, values.type, metadata=metadata), values)
    return Catalog("source", rows, catalog.meta)
