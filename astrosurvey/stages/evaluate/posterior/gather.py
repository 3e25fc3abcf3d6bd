"""Posteriors of all tiles as arrays, the parameters that are known of them, and their draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ....catalog.schema import current
from ....core.product import Tiles
from ....core.stage import DataError, NoWork
from ....products import Catalog, Observations
from ...sbi.priors import same_unit
from ...sbi.tables import KEYS
from .. import gather
from ..match import one_to_one


@dataclass(frozen=True, eq=False)
class Answers:
    """Posteriors of p parameters; arrays (n,).

    Attributes:
        names, units: of the parameters.
        columns: their places in the array columns of the tables.
        tiles: names of all tiles.
        tile: number of each posterior's tile, ascending.
        row: place in the tile's table.
        ids: posterior_id.
        about: ids of what they are about, by kind; -1 where a posterior is of something else.
        flags: bits of `catalog.flags.SBI`.
        weighed: whether the draws were weighed by a likelihood.
        mean, best: (n, p); of whoever gives no most probable draw, it is NaN.
        log_density: at the mean; see `Prior.centre`.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    columns: tuple[int, ...]
    tiles: tuple[str, ...]
    tile: np.ndarray
    row: np.ndarray
    ids: np.ndarray
    about: dict[str, np.ndarray]
    flags: np.ndarray
    weighed: np.ndarray
    mean: np.ndarray
    best: np.ndarray
    log_density: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Answers:
        """Return some of the posteriors."""
        arrays = {name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays, about={kind: ids[rows] for kind, ids in self.about.items()})

    def of(self, parameters: list[int]) -> Answers:
        """Return the same of some of the parameters."""
        names, units = (tuple(every[k] for k in parameters) for every in (self.names, self.units))
        return replace(
            self, names=names, units=units, columns=tuple(parameters), mean=self.mean[:, parameters], best=self.best[:, parameters]
        )

    def by_tile(self) -> Iterator[tuple[str, slice]]:
        """Yield the name of each tile that has posteriors, and where they are."""
        numbers, starts = np.unique(self.tile, return_index=True)
        for number, start, stop in zip(numbers.tolist(), starts.tolist(), [*starts.tolist()[1:], len(self)], strict=True):
            yield self.tiles[number], slice(start, stop)


def posteriors(tiles: Tiles[Catalog]) -> Answers:
    """Return the posteriors of all tiles.

    Raises:
        DataError: they are not all of the same parameters.
        NoWork: there are none.
    """
    parts: dict[str, list[Any]] = {}
    known: tuple[str, str] | None = None
    for number, (name, catalog) in enumerate(tiles.items()):
        if not len(catalog):
            continue
        found = {(catalog.column("parameter_names")[k], catalog.column("parameter_units")[k]) for k in range(len(catalog))}
        known = known or next(iter(found))
        if found != {known}:
            raise DataError(f"tile {name} has posteriors of other parameters or units than {known[0]}: evaluate them apart")
        rows = catalog.rows
        columns = {
            "tile": np.full(len(catalog), number),
            "row": np.arange(len(catalog)),
            "ids": catalog.column("posterior_id"),
            "flags": catalog.column("flags"),
            "weighed": rows.column("n_effective").is_valid().to_numpy(),
            "mean": (mean := np.array(rows.column("mean").to_pylist(), np.float64)),
            "best": np.full_like(mean, np.nan) if (best := rows.column("map")).null_count else np.array(best.to_pylist(), np.float64),
            "log_density": rows.column("log_density").to_numpy(zero_copy_only=False).astype(np.float64),
        }
        columns |= {key: rows.column(key).fill_null(-1).to_numpy() for kind, key in KEYS.items()}
        for column, values in columns.items():
            parts.setdefault(column, []).append(values)
    if known is None:
        raise NoWork("there are no posteriors")
    arrays = {name: np.concatenate(values) for name, values in parts.items()}
    about = {kind: arrays.pop(key) for kind, key in KEYS.items()}
    names, units = (tuple(text.split(",")) for text in known)
    return Answers(names, units, tuple(range(len(names))), tiles.names, about=about, **arrays)


def simulations_of(answers: Answers, observations: Tiles[Observations]) -> Iterator[tuple[slice, Observations, np.ndarray]]:
    """Yield, tile by tile, which posteriors there are, the observations, and in which of their rows the data of each stand.

    Raises:
        DataError: a posterior's observation is not there.
    """
    for tile, here in answers.by_tile():
        if tile not in observations.names:
            raise DataError(f"tile {tile} has posteriors and no observations: wire the observations that `sbi.posterior` was asked for")
        found = observations[observations.names.index(tile)]
        rows = answers.row[here]
        if found.about:
            ids = answers.about[found.about][here]
            order = np.argsort(found.ids)
            rows = order[np.searchsorted(found.ids[order], ids).clip(max=len(order) - 1)]
            there = found.ids[rows] == ids
        else:  # the table is in their order
            there = rows < len(found)
        if not np.all(there):
            raise DataError(f"tile {tile}: the posteriors are not of these observations; wire those that `sbi.posterior` was asked for")
        yield here, found, rows


def true_by_simulation(answers: Answers, observations: Tiles[Observations]) -> np.ndarray:
    """Return (n, p) the parameters that made the data.

    Raises:
        DataError: nobody knows them, or they have another name or unit.
    """
    known = np.full(answers.mean.shape, np.nan)
    for here, found, rows in simulations_of(answers, observations):
        if found.parameters is None:
            raise DataError("nobody knows the parameters of these observations: wire those of a simulator, or `sources` and `truth`")
        units = dict(zip(found.parameters.parameters, found.parameters.units, strict=True))
        for name, unit in zip(answers.names, answers.units, strict=True):
            if name not in units or not same_unit(units[name], unit):
                raise DataError(f"the posteriors are of {name!r} in {unit or 'no unit'!r}, and the truth has no such parameter")
        order = [found.parameters.parameters.index(name) for name in answers.names]
        known[here] = found.parameters.draws[rows][:, order]
    return known


def true_by_place(
    answers: Answers, sources: Tiles[Catalog], truth: Tiles[Catalog], radius: float, unit: Literal["arcsec", "pixel"]
) -> tuple[Answers, np.ndarray]:
    """Return the posteriors of those of the p parameters that a catalogue of true objects has, and (n, p) what they are there.

    Raises:
        DataError: it has none of them.
    """
    columns = {column.name: column.unit for column in current()["truth"].columns}
    own = enumerate(zip(answers.names, answers.units, strict=True))
    shared = [k for k, (name, unit) in own if name in columns and same_unit(columns[name], unit)]
    if not shared:
        raise DataError(f"the truth has no column of {', '.join(answers.names)} in the posteriors' units")
    answers = answers.of(shared)
    objects, found = gather.truth_of(truth)[0], gather.sources_of(sources)
    space = gather.space_of(objects, found, radius, unit, aside=30.0)
    match = one_to_one(space.truth, space.found, objects.rank, space.radius)
    known = np.full(answers.mean.shape, np.nan)
    matched = np.flatnonzero(match >= 0)
    owner = np.argsort(answers.about["source"], kind="stable")
    ids = answers.about["source"][owner]
    place = np.searchsorted(ids, found.ids[match[matched]])
    there = (place < len(ids)) & (ids[place.clip(max=len(ids) - 1)] == found.ids[match[matched]])
    for k, name in enumerate(answers.names):
        known[owner[place[there]], k] = _true_column(truth, objects.ids, name)[matched[there]]
    return answers, known


def _true_column(truth: Tiles[Catalog], ids: np.ndarray, name: str) -> np.ndarray:
    """Return a column of true objects, (n,) in the order of their ids, NaN where it is null."""
    values = np.full(len(ids), np.nan)
    for _, catalog in truth.items():
        keep = catalog.column("primary")
        values[np.searchsorted(ids, catalog.column("truth_id")[keep])] = catalog.column(name)[keep]
    return values


def chosen(known: np.ndarray, trusted: np.ndarray, most: int) -> np.ndarray:
    """Return (k,) rows whose truth is known and that are trusted, at most so many, evenly chosen."""
    rows = np.flatnonzero(np.isfinite(known).all(axis=1) & trusted)
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64))]


def draws_of(answers: Answers, samples: Tiles[Catalog]) -> np.ndarray:
    """Return (n, draw, p) draws, NaN where there are fewer.

    Raises:
        DataError: there are none at all.
    """
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for tile, here in answers.by_tile():
        if tile not in samples.names:
            continue
        catalog = samples[samples.names.index(tile)]
        order = np.argsort(answers.ids[here])
        ids = answers.ids[here][order]
        owner = catalog.column("posterior_id")
        place = np.searchsorted(ids, owner).clip(max=len(ids) - 1)
        mine = np.flatnonzero(ids[place] == owner)
        flat = catalog.rows.column("parameters").combine_chunks().flatten().to_numpy().reshape(len(owner), -1)
        parts.append((here.start + order[place[mine]], catalog.column("draw")[mine], flat[mine][:, list(answers.columns)]))
    if len(answers) and not any(len(rows) for rows, _, _ in parts):
        raise DataError("there are no draws: set `keep` of sbi.posterior to a hundred or more")
    longest = max((int(number.max()) + 1 for _, number, _ in parts if len(number)), default=0)
    draws = np.full((len(answers), longest, len(answers.names)), np.nan)
    for rows, number, values in parts:
        draws[rows, number] = values
    return draws
