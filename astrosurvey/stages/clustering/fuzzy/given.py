"""Clusterings that other stages, or other programs, have made of the same sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ....catalog.flags import CLUSTERING
from ....core.product import Tiles
from ....core.stage import DataError
from ....products import Catalog
from .clusterings import Cluster, Clusterings, gather

NOT_CLUSTERED = CLUSTERING["MISSING_VALUE"] | CLUSTERING["NOT_PRIMARY"]


@dataclass(frozen=True, eq=False)
class Given:
    """Tables of clusterings that were made before, a tile or several methods of a tile each.

    Attributes:
        members: rows of the table cluster_member.
        clusters: rows of the table cluster, which say of method, parent and significance; None for neither.
        points: rows of the table cluster_point, which say what sources a clustering saw; None where each saw all.
    """

    members: Tiles[Catalog]
    clusters: Tiles[Catalog] | None = None
    points: Tiles[Catalog] | None = None


def clusterings_in(given: Given, source_ids: np.ndarray) -> tuple[Clusterings, int]:
    """Return the clusterings that were given, and how many members are no point.

    Args:
        given: tables of clusterings.
        source_ids: (point,) ascending, of the points. Members that are none of these are left out.

    Raises:
        DataError: tables are not of the same clusterings, or hold what no clustering has.
    """
    clusters, points = (dict(tiles.items()) if tiles is not None else {} for tiles in (given.clusters, given.points))
    found: list[list[Cluster]] = []
    present: list[np.ndarray] = []
    strangers = 0
    for name, catalog in given.members.items():
        if given.points is not None and name not in points:
            raise DataError(f"`given_points` has no tile {name}, as `given_members` has; wire both from the same stage")
        place, there = _places(source_ids, catalog.column("source_id"))
        if len(there) and not there.any():
            raise DataError(f"not one member in tile {name} of `given_members` is one of the sources; wire those that were clustered")
        strangers += int((~there).sum())
        for method, clustering in _clusterings(name, catalog, clusters.get(name), place, there):
            found.append(clustering)
            present.append(_seen(source_ids, points[name], method) if name in points else np.ones(len(source_ids), bool))
            for cluster in clustering:
                present[-1][cluster.members] = True
    # Most clusterings see all; then nothing needs to be kept of what they saw.
    partial = any(not seen.all() for seen in present)
    try:
        return gather(found, len(source_ids), np.stack(present) if partial else None), strangers
    except ValueError as error:
        raise DataError(f"`given_members` is no clustering: {error}") from error


def _places(source_ids: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which point each of some sources is, and whether it is one at all."""
    place = np.searchsorted(source_ids, sources).clip(max=max(len(source_ids) - 1, 0))
    return place, source_ids[place] == sources if len(source_ids) else np.zeros(len(sources), bool)


def _seen(source_ids: np.ndarray, points: Catalog, method: str | None) -> np.ndarray:
    """Return (point,) whether a clustering saw each of the points; where its method is not known, whether any did."""
    place, there = _places(source_ids, points.column("source_id"))
    there &= points.column("flags") & NOT_CLUSTERED == 0
    if method is not None:
        there &= points.column("method") == method
    seen = np.zeros(len(source_ids), bool)
    seen[place[there]] = True
    return seen


def _clusterings(
    name: str, members: Catalog, clusters: Catalog | None, place: np.ndarray, there: np.ndarray
) -> Iterator[tuple[str | None, list[Cluster]]]:
    """Yield the clusterings of a tile and their methods: one, or one for each method that its clusters name."""
    probability = members.column("probability").astype(np.float64)
    probability = np.where(np.isnan(probability), 1.0, probability)
    rows_of = _rows_by(members.column("cluster_id"))
    if clusters is not None and (lost := sorted(set(rows_of) - set(clusters.column("cluster_id").tolist()))):
        raise DataError(f"tile {name} of `given_members` has members of cluster {lost[0]}, which `given_clusters` does not have")
    for method, ids, parents, significances in _by_method(members, clusters):
        number = {cluster: index for index, cluster in enumerate(ids)}
        clustering = []
        for cluster, parent, significance in zip(ids, parents, significances, strict=True):
            rows = rows_of.get(cluster, np.zeros(0, np.int64))
            rows = rows[there[rows]]
            certain = bool((probability[rows] == 1).all())
            clustering.append(Cluster(place[rows], None if certain else probability[rows], number.get(parent, -1), significance))
        yield method, clustering


def _by_method(members: Catalog, clusters: Catalog | None) -> Iterator[tuple[str | None, list[int], list[int], list[float]]]:
    """Yield each clustering's method, and the ids, parents' ids (-1 for none) and significances of its clusters."""
    if clusters is None or len(clusters) == 0:  # a clustering that found nothing is one, too
        ids = np.unique(members.column("cluster_id")).tolist()
        yield None, ids, [-1] * len(ids), [np.nan] * len(ids)
        return
    method = clusters.column("method")
    parent = clusters.rows.column("parent_cluster_id").fill_null(-1).to_numpy()
    for name in sorted(set(method.tolist())):
        here = method == name
        yield name, *(column[here].tolist() for column in (clusters.column("cluster_id"), parent, clusters.column("significance")))


def _rows_by(owner: np.ndarray) -> dict[int, np.ndarray]:
    """Return the rows of each cluster."""
    order = np.argsort(owner, kind="stable")
    ids, starts = np.unique(owner[order], return_index=True)
    return dict(zip(ids.tolist(), np.split(order, starts[1:]), strict=True)) if len(ids) else {}
