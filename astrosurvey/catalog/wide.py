"""The wide view: one row a source, with a column for every flux and every number of a posterior, for exports and for people."""

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


def with_posteriors(sources: pa.Table, posterior: pa.Table) -> pa.Table:
    """Return the sources with the numbers of their posteriors beside them, in columns such as `sbi_mass_mean` and `sbi_mass_q05`.

    Args:
        sources: rows of the table `source`, perhaps with more columns.
        posterior: rows of the table `posterior`, one a source; those of other things than sources are passed over.

    Raises:
        SchemaError: a source has two posteriors, or they are not all of the same parameters at the same levels.
    """
    posterior = posterior.filter(posterior.column("source_id").is_valid())
    if not len(posterior):
        return sources
    ids = to_numpy(posterior, "source_id")
    if len(np.unique(ids)) != len(ids):
        raise SchemaError("the wide view has room for one posterior a source, and there are several; set `layout: tables`")
    taken = _rows_of(to_numpy(sources, "source_id"), ids)
    about = [posterior.column(name).to_pylist() for name in ("parameter_names", "parameter_units", "quantile_levels")]
    if any(one != column[0] for column in about for one in column):
        raise SchemaError("the wide view has room for posteriors of the same parameters and quantiles; set `layout: tables`")
    names, units, levels = about[0][0].split(","), about[1][0].split(","), about[2][0]
    found = {name: np.array(posterior.column(name).to_pylist(), float) for name in ("mean", "std", "quantiles")}
    quantiles = found["quantiles"].reshape(len(posterior), len(names), len(levels))
    result = sources
    for k, (parameter, unit) in enumerate(zip(names, units, strict=True)):
        columns = {"mean": found["mean"][:, k], "std": found["std"][:, k]}
        columns |= {f"q{100 * level:02.0f}": quantiles[:, k, j] for j, level in enumerate(levels)}
        for name, values in columns.items():
            metadata = {"unit": unit, "ucd": "stat.fit.param", "description": f"{name} of the posterior of {parameter}"}
            field = pa.field(re.sub(r"\W", "_", f"sbi_{parameter}_{name}"), pa.float64(), metadata=metadata)
            result = result.append_column(field, pa.array(values).take(taken))
    for name, column in (("sbi_logq", "log_density"), ("sbi_ood_p", "ood_p"), ("sbi_flag", "flags")):
        field = posterior.schema.field(column)
        result = result.append_column(
            pa.field(name, field.type, metadata=field.metadata), posterior.column(column).combine_chunks().take(taken)
        )
    return result


def _rows_of(ids: np.ndarray, owner: np.ndarray) -> pa.Array:
    """Return, for each id, the index of the row that it owns; null where there is none."""
    order = np.argsort(owner, kind="stable")
    place = np.searchsorted(owner[order], ids).clip(max=len(owner) - 1)
    return pa.array(order[place], mask=owner[order][place] != ids)
