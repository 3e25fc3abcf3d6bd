"""One clustering of points by one of the methods, as a list of clusters."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..features import Points
from ..graph import build
from .clusterings import Cluster

Device = Literal["cpu", "cuda"]


def log_density(points: Points, neighbours: int, device: Device) -> np.ndarray:
    """Return (n,) the natural logarithm of the density at each point."""
    graph = build(points, neighbours, device=device)
    return np.asarray(graph.log_density[graph.node])


def astrolink(points: Points, neighbours: int, false_positive_rate: float, device: Device) -> list[Cluster]:
    """Return the significant clusters of AstroLink's hierarchy."""
    from ..astrolink.groups import significant
    from ..astrolink.joins import joins_of
    from ..astrolink.membership import memberships
    from ..astrolink.null import tabulated

    graph = build(points, neighbours, device=device)
    if len(graph) <= neighbours:
        return []
    joins, null = joins_of(graph), tabulated(points.dimension, neighbours)
    groups, _, _ = memberships(graph, joins, null, significant(joins, null, false_positive_rate))
    return [Cluster(group.members.astype(np.int32), None, group.parent, group.significance) for group in groups]


def hdbscan(points: Points, neighbours: int, min_cluster_size: int | None, device: Device) -> list[Cluster]:
    """Return the clusters of HDBSCAN's that have the largest excess of mass."""
    from ..hdbscan.select import select
    from ..hdbscan.tree import grow, smallest_cluster

    hierarchy = grow(points, neighbours, min_cluster_size or smallest_cluster(len(points), points.dimension), device)
    if hierarchy.tree is None:
        return []
    found = select(hierarchy.tree, "eom", 0.0, single=False)
    return [Cluster(hierarchy.order[found.label == label].astype(np.int32)) for label in range(len(found.clusters))]
