"""Spectra and their redshifts, a number at a time, through the measurements and into tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np

from ....catalog.flags import CLASSIFICATION
from ....core.stage import Context, DataError
from ....products import Catalog, Spectra
from ..resample.rows import edges_of
from . import bpt
from .continuum import smooth_continuum
from .indexlist import INDEX_BY_KEY
from .indices import Measured, Rest, measure_indices
from .linelist import BY_KEY, EMISSION
from .measure import Batch, Lines, measure_lines
from .pixels import Sampled
from .stars import Populations, starlight

ROWS = 128
"""Spectra that are measured at a time."""
CLASSIFIER = "bpt"
NAMED = 5


class Chosen(NamedTuple):
    """The spectra that have a redshift.

    Attributes:
        rows: (n,) where they are.
        ids: (n,) their spectrum_id.
        z: (n,) redshifts.
        label: (n,) their class.
        resolution: (n,) resolving powers; NaN where unknown.
    """

    rows: np.ndarray
    ids: np.ndarray
    z: np.ndarray
    label: np.ndarray
    resolution: np.ndarray

    def take(self, which: Any) -> Chosen:
        """Return some of them."""
        return Chosen(*(column[which] for column in self))


class Options(NamedTuple):
    """How to measure.

    Attributes:
        resolution: resolving power of all spectra; None for the catalogue's.
        broad: whether Balmer lines may get broad components.
        populations: of the stars of galaxies; None for smooth continua.
    """

    resolution: float | None
    broad: bool
    populations: Populations | None


def measured(ctx: Context, spectra: Spectra, redshifts: Catalog, catalog: Catalog | None, options: Options) -> dict[str, Catalog]:
    """Return the tables of the stage's outputs.

    Args:
        ctx: of the task.
        spectra: whose ids are `spectrum_id`s.
        redshifts: of which those of rank 0 count.
        catalog: of the spectra, for their resolution.
        options: how to measure.
    """
    chosen = _chosen(ctx, spectra, redshifts, catalog, options.resolution)
    shared = edges_of(spectra, slice(None)) if spectra.shared else None
    lines: dict[str, list[Lines]] = {}
    indices: dict[str, list[Measured]] = {}
    count = max(1, int(ROWS * ctx.batch))
    for begin in range(0, len(chosen.rows), count):
        part = chosen.take(slice(begin, begin + count))
        for key, line in _lines(ctx, spectra, part, shared, indices, options).items():
            lines.setdefault(key, []).append(line)
        ctx.progress(min(begin + count, len(chosen.rows)), len(chosen.rows))
    together = {key: Lines(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Lines))) for key, parts in lines.items()}
    all_indices = {key: Measured(*(np.concatenate(column) for column in zip(*parts, strict=True))) for key, parts in indices.items()}
    return {
        "lines": _line_table(chosen, together),
        "indices": _index_table(chosen, all_indices),
        "classes": _class_table(ctx, chosen, together),
    }


def _chosen(ctx: Context, spectra: Spectra, redshifts: Catalog, catalog: Catalog | None, resolution: float | None) -> Chosen:
    if spectra.ids.dtype.kind != "i":
        raise DataError(
            "the spectra have names and no spectrum_id as their ids, so nothing can be looked up or told of them; use those of io.spectra"
        )
    best = (redshifts.column("rank") == 0) & np.isfinite(redshifts.column("z"))
    where = {int(key): row for row, key in enumerate(redshifts.column("spectrum_id").tolist()) if best[row]}
    rows = np.array([row for row, key in enumerate(spectra.ids.tolist()) if key in where], np.int64)
    if len(rows) < len(spectra.ids):
        missing = [str(key) for key in spectra.ids.tolist() if key not in where]
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        ctx.log.warning(
            "%d of %d spectra have no redshift, and so no lines: %s%s", len(missing), len(spectra.ids), ", ".join(missing[:NAMED]), more
        )
    ids = spectra.ids[rows]
    at = np.array([where[key] for key in ids.tolist()], np.int64)
    power = np.full(len(rows), np.nan if resolution is None else resolution)
    if resolution is None and catalog is not None:
        known = dict(zip(catalog.column("spectrum_id").tolist(), catalog.column("resolution").tolist(), strict=True))
        power = np.array([known.get(key, np.nan) for key in ids.tolist()], np.float64)
    label = np.char.lower(redshifts.column("spectral_class").astype("U32")[at])
    return Chosen(rows, ids, redshifts.column("z")[at].astype(np.float64), label, power)


def _lines(
    ctx: Context, spectra: Spectra, part: Chosen, shared: np.ndarray | None, indices: dict[str, list[Measured]], options: Options
) -> dict[str, Lines]:
    """Return the lines of some spectra, and add their indices."""
    some = spectra.take(part.rows)
    good = some.usable()
    edges = np.broadcast_to(shared, (len(good), shared.shape[1])) if shared is not None else edges_of(some, slice(None))
    flux = np.where(good, some.flux, 0).astype(np.float64)
    weight = np.where(good, some.ivar, 0).astype(np.float64)
    shift = np.log1p(part.z)
    quasar = np.isin(part.label, ("quasar", "qso"))
    rest = edges / (1 + part.z)[:, None]
    with np.errstate(divide="ignore"):
        variance = 1 / weight
    for key, found in measure_indices(Rest(rest[:, :-1], rest[:, 1:], flux, variance, good)).items():
        indices.setdefault(key, []).append(found)
    log_wave, log_edges = np.log(some.wave), np.log(rest)
    scale = np.array([1 / np.sqrt(np.median(w[g])) if g.any() else 1.0 for w, g in zip(weight, good, strict=True)])

    def batch(rows: Any, wide: np.ndarray) -> Batch:
        unit = scale[rows, None]
        where = log_wave if some.shared else log_wave[rows]
        smooth = smooth_continuum(flux[rows], good[rows], where, shift[rows], wide)
        continuum = smooth.copy()
        stars = np.flatnonzero(part.label[rows] == "galaxy")
        if options.populations is not None and len(stars):
            light = (flux[rows][stars], weight[rows][stars], where if some.shared else where[stars], shift[rows][stars], smooth[stars])
            continuum[stars] = starlight(options.populations, *light)
        edge = log_edges[rows]
        planes = (edge[:, :-1], edge[:, 1:], np.diff(edges, axis=1)[rows], (flux[rows] - continuum) / unit, weight[rows] * unit**2)
        # An equivalent width refers to the light beside the line, not to what the stars have left of it there.
        return Batch(Sampled(*planes, scale[rows]), smooth / unit, part.z[rows], part.resolution[rows])

    candidate = ~np.isin(part.label, ("star", "sky")) & options.broad
    return measure_lines(batch(slice(None), quasar), lambda rows: batch(rows, np.ones(len(rows), bool)), quasar, candidate, ctx.device)


def _line_table(chosen: Chosen, lines: Mapping[str, Lines]) -> Catalog:
    """Return a row for each line of each spectrum, and one for each broad component there is."""
    keys = [line.key for line in EMISSION] + [key for key in lines if key.endswith("_broad")]
    if not lines:
        return Catalog.empty("spectral_line")
    told = {f.name: np.stack([getattr(lines[key], f.name) for key in keys], axis=1).ravel() for f in fields(Lines)}
    shape = (len(chosen.rows), len(keys))
    names = np.broadcast_to(np.array(keys), shape).ravel()
    keep = np.isfinite(told["flux"]) | ~np.char.endswith(names, "_broad")
    told["line_flux"], told["line_flux_err"] = told.pop("flux"), told.pop("flux_err")
    with np.errstate(divide="ignore", invalid="ignore"):
        told["snr"] = told["line_flux"] / told["line_flux_err"]
    columns = {
        "spectrum_id": np.repeat(chosen.ids, len(keys)),
        "line": names,
        "wave": np.broadcast_to([BY_KEY[key.removesuffix("_broad")].wave for key in keys], shape).ravel(),
        "z": np.repeat(chosen.z, len(keys)),
        **told,
    }
    return Catalog.from_columns("spectral_line", {name: values[keep] for name, values in columns.items()})


def _index_table(chosen: Chosen, indices: Mapping[str, Measured]) -> Catalog:
    if not indices:
        return Catalog.empty("spectral_index")
    keys = list(indices)
    columns = {
        "spectrum_id": np.repeat(chosen.ids, len(keys)),
        "name": np.tile(keys, len(chosen.ids)),
        "strength": np.stack([indices[key].strength for key in keys], axis=1).ravel(),
        "strength_err": np.stack([indices[key].error for key in keys], axis=1).ravel(),
        "unit": np.tile([INDEX_BY_KEY[key].unit for key in keys], len(chosen.ids)),
        "flags": np.stack([indices[key].flags for key in keys], axis=1).ravel(),
    }
    return Catalog.from_columns("spectral_index", columns)


def _class_table(ctx: Context, chosen: Chosen, lines: Mapping[str, Lines]) -> Catalog:
    """Return the probabilities of the BPT classes of all but stars and sky that have the four lines."""
    if not lines:
        return Catalog.empty("classification")
    flux = np.stack([lines[key].flux for key in bpt.LINES], axis=1)
    error = np.stack([lines[key].flux_err for key in bpt.LINES], axis=1)
    rows = np.flatnonzero(np.isfinite(flux).all(axis=1) & ~np.isin(chosen.label, ("star", "sky")))
    if not len(rows):
        return Catalog.empty("classification")
    found = bpt.probabilities(flux[rows], error[rows], ctx.rng)
    faint = (flux[rows] < bpt.SURE * error[rows]).any(axis=1)
    columns = {
        "object_table": "spectrum",
        "object_id": np.repeat(chosen.ids[rows], len(bpt.LABELS)),
        "classifier": CLASSIFIER,
        "label": np.tile(bpt.LABELS, len(rows)),
        "probability": found.ravel(),
        "flags": np.repeat(np.where(faint, CLASSIFICATION["FAINT_LINES"], 0), len(bpt.LABELS)),
    }
    return Catalog.from_columns("classification", columns)
