"""Clusterings that other stages, or other programs, have made of the same sources."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....core.product import Tiles
from ....products import Catalog
from .clusterings import Cluster


def clusterings_in(members: Tiles[Catalog], clusters: Tiles[Catalog] | None, source_ids: np.ndarray) -> tuple[list[list[Cluster]], int]:
    """Return the clusterings that catalogues of members hold, and how many members are no point.

    Each tile is a clustering, or one for each method that its clusters name.

    Args:
        members: rows of the table cluster_member.
        clusters: rows of the table cluster, which say of method, parent and significance; None for neither.
        source_ids: (point,) ascending, of the points. Members that are none of these are left out.
    """
    told = dict(zip(clusters.names, range(len(clusters)), strict=True)) if clusters is not None else {}
    found, strangers = [], 0
    for name, catalog in members.items():
        known = clusters[told[name]] if clusters is not None and name in told else None
        for ids, parents, significances in _by_method(catalog, known):
            owner, source = catalog.column("cluster_id"), catalog.column("source_id")
            probability = catalog.column("probability").astype(np.float64)
            probability = np.where(np.isnan(probability), 1.0, probability)
            place = np.searchsorted(source_ids, source).clip(max=max(len(source_ids) - 1, 0))
            there = source_ids[place] == source if len(source_ids) else np.zeros(len(source), bool)
            number = {cluster: index for index, cluster in enumerate(ids)}
            rows_of = _rows_by(owner)
            clustering = []
            for cluster, parent, significance in zip(ids, parents, significances, strict=True):
                rows = rows_of.get(cluster, np.zeros(0, np.int64))
                strangers += int((~there[rows]).sum())
                rows = rows[there[rows]]
                certain = bool((probability[rows] == 1).all())
                clustering.append(Cluster(place[rows], None if certain else probability[rows], number.get(parent, -1), significance))
            found.append(clustering)
    return found, strangers


def _by_method(members: Catalog, clusters: Catalog | None) -> Iterator[tuple[list[int], list[int], list[float]]]:
    """Yield the ids, parents' ids (-1 for none) and significances of each clustering's clusters."""
    if clusters is None:
        ids = np.unique(members.column("cluster_id")).tolist()
        yield ids, [-1] * len(ids), [np.nan] * len(ids)
        return
    method = clusters.column("method")
    parent = clusters.rows.column("parent_cluster_id").fill_null(-1).to_numpy()
    for name in sorted(set(method.tolist())):
        here = method == name
        yield clusters.column("cluster_id")[here].tolist(), parent[here].tolist(), clusters.column("significance")[here].tolist()


def _rows_by(owner: np.ndarray) -> dict[int, np.ndarray]:
    """Return the rows of each cluster."""
    order = np.argsort(owner, kind="stable")
    ids, starts = np.unique(owner[order], return_index=True)
    return dict(zip(ids.tolist(), np.split(order, starts[1:]), strict=True)) if len(ids) else {}
