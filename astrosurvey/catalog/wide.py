"""The wide view: one row a source, with a column for every flux, for exports and for people."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from .arrow import to_numpy
from .schema import SchemaError, current

_KEY = ("source_id", "band", "method", "tile_id")


def wide_view(sources: pa.Table, photometry: pa.Table) -> pa.Table:
    """Return the sources with their photometry beside them, in columns such as `r_kron_flux`.

    Of each band and method the columns that hold anything are there, and `flags` always. A source without a
    row for a band and method has nulls there.

    Args:
        sources: rows of the table `source`.
        photometry: rows of the table `photometry`, each (source, band, method) at most once.

    Returns:
        The rows of `sources`, in their order; every column carries unit, UCD and description.

    Raises:
        SchemaError: two names come out the same once what is not a letter, digit or underscore is replaced.
    """
    table = current()["photometry"]
    ids = to_numpy(sources, "source_id")
    band, method = to_numpy(photometry, "band"), to_numpy(photometry, "method")
    result = sources
    for name_of_band, name_of_method in dict.fromkeys(zip(band.tolist(), method.tolist(), strict=True)):
        rows = photometry.filter(pa.array((band == name_of_band) & (method == name_of_method)))
        taken = _rows_of(ids, to_numpy(rows, "source_id"))
        for field in rows.schema:
            if field.name in _KEY or (field.name != "flags" and rows.column(field.name).null_count == len(rows)):
                continue
            name = re.sub(r"\W", "_", f"{name_of_band}_{name_of_method}_{field.name}")
            if name in result.column_names:
                raise SchemaError(f"two columns of the wide view would be called {name!r}; rename band {name_of_band!r} or a method")
            metadata = dict(field.metadata or {})
            if field.name in table:
                metadata[b"description"] = f"{table[field.name].description} ({name_of_band}, {name_of_method})".encode()
            values = rows.column(field.name).combine_chunks().take(taken)
            result = result.append_column(pa.field(name, field.type, nullable=True, metadata=metadata), values)
    return result


def _rows_of(ids: np.ndarray, owner: np.ndarray) -> pa.Array:
    """Return, for each id, the index of the row that it owns; null where there is none."""
    order = np.argsort(owner, kind="stable")
    place = np.searchsorted(owner[order], ids).clip(max=len(owner) - 1)
    return pa.array(order[place], mask=owner[order][place] != ids)
