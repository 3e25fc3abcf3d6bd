"""Tables of labels, and which of their rows belongs to which spectrum."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....core.stage import Context, DataError
from ....core.tiles import fill
from ....products import Catalog
from ..classes import COARSE
from ..readers import SpectrumFile

if TYPE_CHECKING:
    from .stage import LabelSpectra

CALLED = {"qso": "quasar"}
"""What tables call a coarse class, in lower case, where that is another name."""
SHOWN = 20


def labelled(ctx: Context, catalog: Catalog, config: LabelSpectra.Config) -> Catalog:
    """Return the truth of the spectra of a catalogue.

    Raises:
        DataError: a file cannot be read, lacks a column, or has another number of rows than there are spectra.
    """
    path = Path(fill(config.path, ctx.tile))
    wanted = [name for name in (config.spectral_class, config.subclass, config.z, config.name) if name]
    columns = table_of(path, wanted)
    rows = _rows(ctx, catalog, config, columns, path)
    has = rows >= 0
    if config.split is not None:
        has &= np.isin(rows, _side(Path(fill(config.split, ctx.tile)), config.side))
    if not has.all():
        ctx.log.info("%d of %d spectra have no label", int((~has).sum()), len(has))
    rows = rows[has]
    label = np.char.lower(np.char.strip(columns[config.spectral_class][rows].astype("U32")))
    known = [CALLED.get(name, name) for name in label.tolist()]
    empty = np.full(len(rows), "")
    return Catalog.from_columns(
        "spectrum_truth",
        {
            "spectrum_id": catalog.column("spectrum_id")[has],
            "tile_id": catalog.column("tile_id")[has],
            "spectral_class": [name if name in COARSE else "unknown" for name in known],
            "subclass": np.char.strip(columns[config.subclass][rows].astype("U32")) if config.subclass else empty,
            "z": columns[config.z][rows].astype(np.float64) if config.z else np.full(len(rows), np.nan),
            "snr": catalog.column("snr")[has],
        },
    )


def table_of(path: Path, wanted: list[str]) -> dict[str, np.ndarray]:
    """Return columns of a FITS table or of a CSV file by the names asked for, in any case.

    Raises:
        DataError: it cannot be read, or has no such columns.
    """
    with SpectrumFile(path) as file:
        if file.fits is not None:
            tables = [table for table in file.tables() if all(name.upper() in table for name in wanted)]
            if not tables:
                raise _lacking(path, wanted, [name for table in file.tables() for name in table.columns])
            read = tables[0].read([name.upper() for name in wanted])
            return {name: np.asarray(read[name.upper()]) for name in wanted}
    return _csv(path, wanted)


def _csv(path: Path, wanted: list[str]) -> dict[str, np.ndarray]:
    import pyarrow as pa
    import pyarrow.csv

    try:
        table = pyarrow.csv.read_csv(path)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is neither a FITS table nor CSV: {str(error).splitlines()[0]}; convert it to one of these") from error
    names = {name.upper(): name for name in table.column_names}
    if any(name.upper() not in names for name in wanted):
        raise _lacking(path, wanted, table.column_names)
    found = {}
    for name in wanted:
        column = table.column(names[name.upper()])
        text = pa.types.is_string(column.type) or pa.types.is_null(column.type)
        found[name] = np.array([value or "" for value in column.to_pylist()]) if text else column.to_numpy()
    return found


def _lacking(path: Path, wanted: list[str], there: list[str]) -> DataError:
    shown = ", ".join(there[:SHOWN]) + (", …" if len(there) > SHOWN else "")
    missing = [name for name in wanted if name.upper() not in {name.upper() for name in there}] or wanted
    return DataError(f"{path} has no table with the column {', '.join(missing)}: there are {shown or 'none'}; name yours in the settings")


def _rows(ctx: Context, catalog: Catalog, config: LabelSpectra.Config, columns: dict[str, np.ndarray], path: Path) -> np.ndarray:
    """Return (n,) the row of each spectrum; -1 for none."""
    count = len(columns[config.spectral_class])
    if config.name is not None:
        place = {str(name).strip(): row for row, name in enumerate(columns[config.name].tolist())}
        return np.array([place.get(str(name).strip(), -1) for name in catalog.column("name").tolist()], np.int64)
    first = ctx.tile.rows[0] if ctx.tile is not None and ctx.tile.rows is not None else 0
    rows = first + np.arange(len(catalog))
    whole = ctx.tile is None or ctx.tile.rows is None
    if len(rows) and ((whole and count != len(rows)) or rows[-1] >= count):
        raise DataError(f"{path} has {count} rows, and there are {len(catalog)} spectra from row {first} on; set `name` to match by names")
    return rows


def _side(path: Path, side: str) -> np.ndarray:
    columns = _csv(path, ["row", "side"])
    return columns["row"][columns["side"] == side].astype(np.int64)
