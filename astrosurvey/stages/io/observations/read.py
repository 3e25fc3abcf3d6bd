"""From files to observations: which format, which columns, what is missing."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ....catalog.ids import object_ids
from ....core.product import ProductError
from ....core.stage import DataError, NoWork
from ....core.tiles import Tile
from ....products import Observations
from ....products._fits import BadInput, FitsFile, escape
from ....products._fits.guard import open_regular
from ....products._npy import forget, map_npy, rows_at_once
from ..catalog.formats import opened
from ..paths import path_of
from .columns import called, is_number, require_numbers
from .parameters import with_parameters

if TYPE_CHECKING:
    from .stage import ReadObservations

    Config = ReadObservations.Config

_NUMPY = b"\x93NUMPY"


def read_observations(config: Config, tile: Tile, log: logging.Logger) -> Observations:
    """Return the observations in a tile's file, and the parameters that made them where settings say which these are.

    Raises:
        DataError: the file cannot be read, lacks a column, or holds what cannot be.
        NoWork: it has no rows.
    """
    found = _read(config, tile)
    return with_parameters(found, config, tile, log) if config.parameters else found


def _read(config: Config, tile: Tile) -> Observations:
    path = Path(path_of(config.path, tile))
    with open_regular(path) as stream:
        start = stream.read(len(_NUMPY))
    if start == _NUMPY:
        if config.parameters and config.parameter_file is None:
            raise BadInput(path, "is an array, which has no columns of parameters", fix="name a table that has them in `parameter_file`")
        return _finished(path, config, tile, _array(path, config), (), None)
    if start.startswith((b"SIMPLE", b"\x1f\x8b")) and not config.columns and (image := _image(path, config)) is not None:
        return _finished(path, config, tile, image[None], (), None)
    with opened(path, config.hdu) as table:
        names = [called(path, table, name) for name in config.columns] if config.columns else None
        own = called(path, table, config.id) if config.id else None
        if not table.rows:
            raise NoWork(f"{escape(path.name)} has no rows")
        said = table.units
        held = table.read(list(dict.fromkeys([*(names or table.names), *([own] if own else [])])), 0, table.rows)
    for name in names if names is not None else [name for name in held if name != own]:
        require_numbers(path, name, held[name], wanted=names is not None)
    if names is None:
        aside = {name.lower() for name in config.parameters} if config.parameter_file is None else set()
        names = [name for name in held if name != own and name.lower() not in aside and is_number(held[name])]
    if wrong := [name for name in names if not is_number(held[name])]:
        raise BadInput(path, f"the column {escape(wrong[0], 40)!r} holds no numbers", fix="leave it out of `columns`")
    if not names:
        raise BadInput(path, "no column holds numbers", fix="check that this is the right file")
    units = tuple(said.get(name, "") for name in names) if said else ()
    data = np.stack([np.asarray(held[name].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)) for name in names], axis=1)
    return _finished(path, config, tile, data, tuple(names), _whole(path, own, held[own]) if own else None, units)


def _array(path: Path, config: Config) -> np.ndarray:
    """Return the array in a .npy file; one of a single axis, and one that is of a tile, is one observation."""
    if config.columns or config.id:
        raise BadInput(path, "is an array, which has no columns", fix="leave out `columns` and `id`")
    try:
        array = map_npy(path)
    except ProductError as error:
        raise DataError(str(error)) from error
    if not array.ndim:
        raise BadInput(path, "holds a single number", fix="save an array with a row for each observation")
    return array[None] if array.ndim == 1 or config.about == "tile" else array


def _image(path: Path, config: Config) -> np.ndarray | None:
    """Return the image that a FITS file holds; None when it is a table that is meant."""
    with FitsFile(path) as file:
        if config.hdu is not None:
            hdu = file.find(config.hdu)
            return file.read(hdu) if hdu.is_image else None
        images = [hdu for hdu in file.hdus if hdu.is_image and len(hdu.shape) >= 2]
        return file.read(file.image()) if images or not any(hdu.kind == "table" for hdu in file.hdus) else None


def _whole(path: Path, name: str, column: pa.Array) -> np.ndarray:
    """Return a column of ids as int64."""
    if not pa.types.is_integer(column.type) or column.null_count:
        raise BadInput(path, f"the column {escape(name, 40)!r} must hold a whole number in each row", fix="correct `id`")
    return np.array(column.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _finished(
    path: Path,
    config: Config,
    tile: Tile,
    data: np.ndarray,
    names: tuple[str, ...],
    ids: np.ndarray | None,
    units: tuple[str, ...] = (),
) -> Observations:
    """Return the product: float32, NaN where a value is missing, ids of the file or of the tile."""
    if data.ndim > 1 and config.about == "tile":
        if len(data) != 1:
            raise BadInput(path, f"has {len(data)} rows, and a tile is one observation", fix="set `about` to what the rows are")
        ids = np.array([tile.number])
    elif ids is None:
        ids = object_ids(tile.number, len(data))
    # An array that is right as it is stays on the disk.
    right = data.dtype == np.float32 and data.flags.c_contiguous and not config.missing
    values = data if right else np.array(data, np.float32, order="C")
    for marker in config.missing:
        values[np.asarray(data) == marker] = np.nan
    if _any_infinite(values):
        raise BadInput(path, "holds values that are infinite, or beyond single precision", fix="name in `missing` what they stand for")
    if len(np.unique(ids)) != len(ids):
        raise BadInput(path, f"the column {escape(config.id, 40)!r} repeats a number", fix="give each observation an id of its own")
    return Observations(values, ids, config.about, names, units=units)


def _any_infinite(values: np.ndarray) -> bool:
    """Tell whether a value is infinite, block by block."""
    step = rows_at_once(values)
    for first in range(0, len(values), step):
        if np.isinf(values[first : first + step]).any():
            return True
        forget(values)
    return False
