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


def hdbscan(points: Points, neighbours: int, min_cluster_size: int | None, device: Device) -> list[Cluster]:
    """Return the clusters of HDBSCAN's that have the largest excess of mass."""
    from ..hdbscan.select import select
    from ..hdbscan.tree import grow, smallest_cluster

    hierarchy = grow(points, neighbours, min_cluster_size or smallest_cluster(len(points), points.dimension), device)
    if hierarchy.tree is None:
        return []
    found = select(hierarchy.tree, "eom", 0.0, single=False)
    return [Cluster(hierarchy.order[found.label == label].astype(np.int32)) for label in range(len(found.clusters))]
