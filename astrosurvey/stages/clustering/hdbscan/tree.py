"""From points to their condensed tree: neighbours, mutual reachability, single linkage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ....kernels import linkage, morton, neighbours
from ....kernels._condensed import CondensedTree, condense
from ..features import Points
from ..graph import require_few_columns
from ..room import require_room


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Points in canonical order, and how they hang together.

    Attributes:
        order: (n,) int64, which point stands at each place; everything below is in this order.
        values: (n, d) float64, coordinates.
        tree: the condensed tree; None where there are fewer points than make a cluster, or a density.
    """

    order: np.ndarray
    values: np.ndarray
    tree: CondensedTree | None


def smallest_cluster(n: int, dimension: int) -> int:
    """Return how many points a cluster has at least by default: fewer in more dimensions, in which chance makes smaller ones.

    In small catalogues that is a fixed part of all points; in large ones it grows as their square root, for open clusters do not
    become richer with the field around them.
    """
    pairs = dimension * (dimension - 1) // 2
    part = n // (250 * dimension)
    return max(20, min(part, math.isqrt(n) // pairs) if pairs else part)


def bytes_a_row(columns: int, min_samples: int) -> int:
    """Return how many bytes `grow` takes for each point when components are joined: points, neighbours, boxes, edges."""
    return 20 * columns + 4 * min_samples + 110


def grow(points: Points, min_samples: int, min_cluster_size: int, device: Literal["cpu", "cuda"]) -> Hierarchy:
    """Return the hierarchy of points.

    Args:
        points: n of them.
        min_samples: a point's core distance is that to the nearest point of this rank, itself counted.
        min_cluster_size: points that a cluster has at least.
        device: where neighbours are looked for and joined.

    Raises:
        DataError: there are too many columns, or there is too little memory.
    """
    require_few_columns(points)
    require_room(len(points), bytes_a_row(points.values.shape[1], min_samples))
    order = morton.KERNEL.on(device)(points.values)
    values = np.ascontiguousarray(points.values[order])
    if len(values) < max(min_cluster_size, min_samples):
        return Hierarchy(order, values, None)
    near, core = np.empty((len(values), min_samples), np.int32), np.empty(len(values))
    for rows, indices, squared in neighbours.blocks(values, min_samples, points.box, device):
        near[rows], core[rows] = indices, squared[:, -1]
    point, into, height = linkage.KERNEL.on(device)(values, core, near, points.box)
    del near, core
    return Hierarchy(order, values, condense(point, into, height, min_cluster_size))
