"""Snapshots of the same objects: which row is which object when, and who belongs to what in the course of time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....core.product import Tiles
from ....core.stage import DataError
from ....products import Catalog
from ..features import numbers, resolved
from .clusterings import FULL, Clusterings
from .groups import FuzzyGroup
from .memberships import Membership, unions


@dataclass(frozen=True, eq=False)
class Snapshots:
    """Rows of objects at several times.

    Attributes:
        time: (t,) float64, ascending and distinct.
        snapshot: (n,) int64, of which snapshot each row is; -1 for rows that are not looked at.
        n_tracers: how many objects there are.
        row: (t, n_tracers) int64, the row of each object in each snapshot; -1 where it is not there.
    """

    time: np.ndarray
    snapshot: np.ndarray
    n_tracers: int
    row: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """(t, n_tracers) bool, which objects each snapshot has."""
        return self.row >= 0


def times_of(catalog: Catalog, column: str | None, tiles: Tiles[Catalog]) -> np.ndarray:
    """Return (n,) the time of each row of a catalogue: a column of it, or the number that ends its tile's name.

    Raises:
        DataError: there is no such column, or a name that ends in no number.
    """
    if column is not None:
        return numbers(catalog.rows, resolved(column, catalog.rows.column_names))
    of_tile: dict[int, float] = {}
    for name, part in tiles.items():
        found = re.search(r"\d+$", name)
        if not found:
            raise DataError(f"tile {name} is a snapshot of no known time: no number ends its name; name a column in `time`")
        of_tile.update(dict.fromkeys(np.unique(part.column("tile_id")).tolist(), float(found[0])))
    return np.array([of_tile[tile] for tile in catalog.column("tile_id").tolist()], np.float64)


def tracers_of(catalog: Catalog, column: str) -> np.ndarray:
    """Return (n,) int64 the number of the object that each row of a catalogue is of.

    Raises:
        DataError: there is no such column, or it does not hold a whole number in each row.
    """
    import pyarrow as pa

    found = catalog.rows.column(resolved(column, catalog.rows.column_names))
    if not pa.types.is_integer(found.type) or found.null_count:
        raise DataError(f"`tracer` names {column!r}, which must hold a whole number in every row")
    return np.asarray(found.to_numpy(), np.int64)


def snapshots_of(time: np.ndarray, tracer: np.ndarray, usable: np.ndarray, counts: np.ndarray) -> Snapshots:
    """Return n rows by snapshot and object; rows may stand in any order.

    Args:
        time: (n,) time of each row, or any number that rises with it; rows of equal times are one snapshot.
        tracer: (n,) int64, number of the object that each row is of.
        usable: (n,) bool, rows that can be clustered. Others count as not seen, but their times as looked at.
        counts: (n,) bool, rows that are to be looked at at all.

    Raises:
        DataError: a row has no time, or an object is twice in one snapshot.
    """
    looked = np.flatnonzero(counts)
    if lost := int((~np.isfinite(time[looked])).sum()):
        raise DataError(f"{lost} of {len(looked)} rows have no `time`; every row of a snapshot needs one")
    times, when = np.unique(time[looked], return_inverse=True)
    names, which = np.unique(tracer[looked], return_inverse=True)
    key = np.sort(when * np.int64(len(names)) + which)
    if len(twice := key[1:][key[1:] == key[:-1]]):
        at, number = divmod(int(twice[0]), len(names))
        raise DataError(
            f"object {names[number]} is twice in the snapshot of time {times[at]:g}, and {len(twice) - 1} others are; "
            "`tracer` must name a column in which each object of a snapshot has a number of its own"
        )
    snapshot, row = np.full(len(time), -1, np.int64), np.full((len(times), len(names)), -1, np.int64)
    snapshot[looked] = when
    there = usable[looked]
    row[when[there], which[there]] = looked[there]
    return Snapshots(times, snapshot, len(names), row)


def lasting(
    groups: Sequence[FuzzyGroup], clustering: np.ndarray, present: np.ndarray, min_stability: float, least: int
) -> tuple[list[FuzzyGroup], list[float]]:
    """Return the groups that were found in enough of the snapshots between their first and last one, and in what part of them.

    A group that was not is cut where it was missed for longest, and its parts are looked at in its place.

    Args:
        groups: of clusters.
        clustering: (c,) which snapshot each cluster is of.
        present: (snapshot, tracer) bool, which tracers each snapshot has; those without any are passed over.
        min_stability: part of the snapshots that are enough.
        least: snapshots that a group or a part of one must have.
    """
    order = np.cumsum(present.any(axis=1))
    kept, stability, waiting = [], [], list(groups)[::-1]
    while waiting:
        group = waiting.pop()
        if len(group.clusterings) < least:
            continue
        at = order[group.clusterings]
        part = len(at) / int(at[-1] - at[0] + 1)
        if part >= min_stability:
            kept.append(group)
            stability.append(part)
            continue
        cut = int(np.argmax(np.diff(at))) + 1
        early = np.isin(clustering[group.clusters], group.clusterings[:cut])
        waiting += [
            FuzzyGroup(group.clusters[~early], group.clusterings[cut:]),
            FuzzyGroup(group.clusters[early], group.clusterings[:cut]),
        ]
    return kept, stability


def seen(clusterings: Clusterings, groups: Sequence[FuzzyGroup]) -> list[Mapping[int, np.ndarray]]:
    """Return the members of each fuzzy cluster in each snapshot that has it."""
    return [{int(t): members for t, (members, _) in zip(group.clusterings, unions(clusterings, group), strict=True)} for group in groups]


def memberships_in_time(clusterings: Clusterings, groups: Sequence[FuzzyGroup], snapshots: Snapshots, average: int) -> list[Membership]:
    """Return the rows that belong to each fuzzy cluster.

    An object's membership at a time is the mean over the snapshots at most `average // 2` away that have the cluster and the object.
    A cluster that is not found in a snapshot between others has members there all the same, as its neighbours in time say.
    """
    present, found = snapshots.present, []
    for group in groups:
        at = unions(clusterings, group)
        whole = np.unique(np.concatenate([members for members, _ in at]))
        weight = np.zeros((len(at), len(whole)), np.int64)
        for k, (members, weights) in enumerate(at):
            weight[k, np.searchsorted(whole, members)] = weights
        there = present[group.clusterings][:, whole]
        rows, probabilities = [], []
        for t in range(group.clusterings[0], group.clusterings[-1] + 1):
            near = slice(*np.searchsorted(group.clusterings, [t - average // 2, t + average // 2 + 1]))
            total, times = weight[near].sum(axis=0), there[near].sum(axis=0)
            here = (snapshots.row[t, whole] >= 0) & (total > 0)
            rows.append(snapshots.row[t, whole[here]])
            probabilities.append(total[here] / (FULL * times[here]))
        members = np.concatenate(rows)
        order = np.argsort(members)
        found.append(Membership(members[order], np.concatenate(probabilities)[order]))
    return found
