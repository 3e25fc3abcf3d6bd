"""What every clustering stage hands on: clusters, their members, and every source as a point."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...catalog.flags import CLUSTERING
from ...catalog.ids import TILE_BITS, object_ids
from ...products import Catalog
from .features import Points

if TYPE_CHECKING:
    import pyarrow as pa

OUTPUTS: Mapping[str, Any] = {
    "clusters": Catalog.of("cluster"),
    "members": Catalog.of("cluster_member", fills=["probability"]),
    "points": Catalog.of("cluster_point"),
}
"""Output ports of every clustering stage."""


@dataclass(frozen=True, eq=False)
class Group:
    """One cluster that a method has found.

    Attributes:
        members: (m,) int64, m >= 1, each once, in any order: indices into the points, not rows of the catalogue.
        probability: (m,) of membership.
        parent: index, in the list of groups, of the smallest group that holds this one; -1 for none.
        significance: excess over the background in standard deviations; NaN where the method gives none.
        stability: how long it lasts as the density threshold moves; NaN where the method gives none.
        outlier_score: (m,) how far each member lies outside the body; None where the method gives none.
    """

    members: np.ndarray
    probability: np.ndarray
    parent: int = -1
    significance: float = np.nan
    stability: float = np.nan
    outlier_score: np.ndarray | None = None


def write_tables(
    catalog: Catalog,
    points: Points,
    groups: Sequence[Group],
    method: str,
    *,
    log_density: np.ndarray | None = None,
    position: np.ndarray | None = None,
    assigned: np.ndarray | None = None,
    outlier_score: np.ndarray | None = None,
) -> dict[str, Catalog]:
    """Return the products `clusters`, `members` and `points` of a clustering stage.

    Clusters are numbered by decreasing size and then by their first member, a parent before its children, so ids
    depend on neither the order of the rows nor that of the groups. Members are listed by cluster, and then by source.

    Args:
        catalog: what the points were made of.
        points: n of its rows.
        groups: clusters, in any order.
        method: the stage's name; ids of its clusters begin with a number made of it.
        log_density: (n,) natural logarithm of the density at each point.
        position: (n,) integer place of each point in the ordered-density plot.
        assigned: (n,) which group a point is put into, -1 for none; left out: the smallest group that it is in.
        outlier_score: (n,) of each point; left out: that of its group.
    """
    of_point = catalog.column("source_id")[points.rows]
    order, level = _ordered(groups, of_point)
    ids = cluster_ids(catalog, points, groups, method)
    if assigned is None:
        assigned = _smallest(groups, level, len(points))
    return {
        "clusters": _clusters(catalog, points, groups, method, order, level, ids),
        "members": _members(groups, order, ids, of_point),
        "points": _points(catalog, points, groups, method, ids, np.asarray(assigned), log_density, position, outlier_score),
    }


def cluster_ids(catalog: Catalog, points: Points, groups: Sequence[Group], method: str) -> np.ndarray:
    """Return (group,) the ids that `write_tables` gives the clusters."""
    order, _ = _ordered(groups, catalog.column("source_id")[points.rows])
    number = int.from_bytes(hashlib.sha256(method.encode()).digest()[:8], "big") >> (64 - TILE_BITS)
    ids = np.empty(len(groups), np.int64)
    ids[order] = object_ids(number, len(groups))
    return ids


def _ordered(groups: Sequence[Group], of_point: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the groups' canonical order, and the depth of each in the hierarchy."""
    level: list[int] = []
    for group in groups:
        depth, parent = 0, group.parent
        while parent >= 0:
            depth, parent = depth + 1, groups[parent].parent
        level.append(depth)
    sources = [np.sort(of_point[group.members]) for group in groups]
    keys = [(-len(s), int(s[0]), depth, hashlib.sha256(s.tobytes()).digest()) for s, depth in zip(sources, level, strict=True)]
    return sorted(range(len(groups)), key=keys.__getitem__), level


def _smallest(groups: Sequence[Group], level: Sequence[int], n: int) -> np.ndarray:
    """Return (n,) the smallest group that each point is in, the deepest of equals; -1 for none."""
    assigned = np.full(n, -1, np.int64)
    for index in sorted(range(len(groups)), key=lambda i: (-len(groups[i].members), level[i])):
        assigned[groups[index].members] = index
    return assigned


def _clusters(
    catalog: Catalog,
    points: Points,
    groups: Sequence[Group],
    method: str,
    order: Sequence[int],
    level: Sequence[int],
    ids: np.ndarray,
) -> Catalog:
    if not groups:
        return Catalog.empty("cluster")
    listed = [groups[index] for index in order]
    parent = np.array([ids[group.parent] if group.parent >= 0 else 0 for group in listed])
    ra, dec = _mean_directions(catalog, points, listed)
    columns = {
        "cluster_id": ids[list(order)],
        "parent_cluster_id": np.ma.MaskedArray(parent, [group.parent < 0 for group in listed]),
        "method": method,
        "level": [level[index] for index in order],
        "n_member": [len(group.members) for group in listed],
        "ra": ra,
        "dec": dec,
        "significance": _or_null([group.significance for group in listed]),
        "stability": _or_null([group.stability for group in listed]),
    }
    return Catalog.from_columns("cluster", columns)


def _members(groups: Sequence[Group], order: Sequence[int], ids: np.ndarray, of_point: np.ndarray) -> Catalog:
    if not groups:
        return Catalog.empty("cluster_member")
    parts: dict[str, list[np.ndarray]] = {"cluster_id": [], "source_id": [], "probability": [], "outlier_score": []}
    for index in order:
        group = groups[index]
        sources = of_point[group.members]
        rows = np.argsort(sources)
        score = np.full(len(rows), np.nan) if group.outlier_score is None else group.outlier_score
        for name, values in zip(parts, (np.full(len(rows), ids[index]), sources, group.probability, score), strict=True):
            parts[name].append(np.asarray(values)[rows])
    columns: dict[str, Any] = {name: np.concatenate(values) for name, values in parts.items()}
    columns["outlier_score"] = _or_null(columns["outlier_score"])
    return Catalog.from_columns("cluster_member", columns)


def _points(
    catalog: Catalog,
    points: Points,
    groups: Sequence[Group],
    method: str,
    ids: np.ndarray,
    assigned: np.ndarray,
    log_density: np.ndarray | None,
    position: np.ndarray | None,
    outlier_score: np.ndarray | None,
) -> Catalog:
    import pyarrow as pa

    if not len(catalog):
        return Catalog.empty("cluster_point")
    probability, score = np.full(len(points), np.nan), np.full(len(points), np.nan)
    for index, group in enumerate(groups):
        here = assigned[group.members] == index
        probability[group.members[here]] = group.probability[here]
        if group.outlier_score is not None:
            score[group.members[here]] = group.outlier_score[here]
    score = score if outlier_score is None else outlier_score
    flags = np.full(len(catalog), 0, np.int32)
    primary = catalog.column("primary")
    missing = np.ones(len(catalog), bool)
    missing[points.rows] = False
    flags[missing & primary] |= CLUSTERING["MISSING_VALUE"]
    flags[~primary] |= CLUSTERING["NOT_PRIMARY"]
    flags[points.rows[coinciding(points.values)]] |= CLUSTERING["DUPLICATE"]

    def spread(values: np.ndarray, known: np.ndarray) -> pa.Array:
        """Return values of the points as a column of the catalogue, null where they are not known."""
        whole, mask = np.zeros(len(catalog), values.dtype), np.ones(len(catalog), bool)
        whole[points.rows], mask[points.rows] = values, ~known
        return pa.array(whole, mask=mask)

    all_points = np.ones(len(points), bool)
    has_cluster = assigned >= 0
    of_point = ids[assigned] if len(groups) else np.zeros(len(points), np.int64)
    columns = {
        "source_id": catalog.column("source_id"),
        "method": method,
        "cluster_id": spread(of_point, has_cluster),
        "probability": spread(probability, has_cluster),
        "outlier_score": spread(np.asarray(score), np.isfinite(score)),
        "log_density": None if log_density is None else spread(np.asarray(log_density, np.float64), all_points),
        "position": None if position is None else spread(np.asarray(position, np.int64), all_points),
        "flags": flags,
    }
    return Catalog.from_columns("cluster_point", columns)


def coinciding(values: np.ndarray) -> np.ndarray:
    """Return (n,) whether a point has the same values, in all of (n, d), as another one."""
    mixed = np.zeros(len(values), np.uint64)
    for column in values.T:
        mixed = (mixed ^ _bits(column)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    order = np.argsort(mixed, kind="stable")
    same = np.flatnonzero(mixed[order[1:]] == mixed[order[:-1]])
    one, other = order[same], order[same + 1]
    for column in values.T:
        equal = _bits(column[one]) == _bits(column[other])
        one, other = one[equal], other[equal]
    found = np.zeros(len(values), bool)
    found[one] = found[other] = True
    return found


def _bits(column: np.ndarray) -> np.ndarray:
    return np.asarray(column + 0.0).view(np.uint64)  # + 0.0: minus zero is zero


def _mean_directions(catalog: Catalog, points: Points, groups: Sequence[Group]) -> tuple[Any, Any]:
    """Return right ascension and declination (deg) of the groups' mean directions; null where the members have no positions."""
    ra, dec = (np.radians(catalog.column(name)[points.rows]) for name in ("ra", "dec"))
    unit = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    mean = np.full((3, len(groups)), np.nan)
    for index, group in enumerate(groups):
        here = unit[:, group.members]
        here = here[:, np.isfinite(here[0])]
        if here.shape[1]:
            mean[:, index] = np.sort(here, axis=1).sum(axis=1)
    lost = np.isnan(mean[0])
    longitude = np.mod(np.degrees(np.arctan2(mean[1], mean[0])), 360.0)
    longitude[longitude >= 360.0] = 0.0
    latitude = np.degrees(np.arctan2(mean[2], np.hypot(mean[0], mean[1])))
    return np.ma.MaskedArray(longitude, lost), np.ma.MaskedArray(latitude, lost)


def _or_null(values: Any) -> np.ma.MaskedArray:
    """Return numbers with NaN, which here says that the method gives none, as null."""
    array = np.asarray(values, np.float64)
    return np.ma.MaskedArray(array, ~np.isfinite(array))
