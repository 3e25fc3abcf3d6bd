"""Points and their nearest neighbours as one graph, from which all methods that follow densities start.

Points with equal coordinates are one node, with a weight: they get equal labels whatever is done, and no density is infinite. Nodes
stand in a canonical order, by position, so that nothing depends on the order of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...core.stage import DataError
from ...kernels import density, edges, morton, neighbours
from .intrinsic import inverse_dimension
from .room import require_room

if TYPE_CHECKING:
    from .features import Points


@dataclass(frozen=True, eq=False)
class Graph:
    """Nearest neighbours of m distinct points and the density that follows from them.

    Of the k neighbours of a node only those that it is connected with are kept: k numbers for each node would be most of the memory.

    Attributes:
        node: (point,) int32, which node each point is at.
        count: (m,) int32, points at each node.
        near: (m, link) int32, nearest nodes, the node itself first; by distance, ties by index. link is at most k, and k at most m.
        inverse_dimension: (m,) float64, one over the dimension that the k neighbours of each node fill.
        dimension: intrinsic dimension of the space.
        log_density: (m,) float64, log of weight in a unit of volume.
        descending: (m,) int32, nodes from the densest down; the place in it is the rank.
        start: (m + 1,) int32, where the edges of each rank start.
        denser: (edge,) int32, rank of the denser end of each edge, ascending for each rank.
    """

    node: np.ndarray
    count: np.ndarray
    near: np.ndarray
    inverse_dimension: np.ndarray
    dimension: int
    log_density: np.ndarray
    descending: np.ndarray
    start: np.ndarray
    denser: np.ndarray

    def __len__(self) -> int:
        return len(self.count)


def linked(dimension: int, k: int) -> int:
    """Return with how many of its k neighbours a point is connected, so that groups hold together and bridges are few.

    References:
        Oliver, Elahi & Lewis (2024), arXiv:2312.14632, eq. 10.
    """
    return min(max(math.ceil(11.97 * dimension**-2.23 - 22.97 * k**-0.57 + 10.03), 7), k)


def build(
    points: Points, k: int, *, weights: np.ndarray | None = None, link: int | None = None, device: Literal["cpu", "cuda"] = "cpu"
) -> Graph:
    """Return the graph of points and their k nearest neighbours.

    Args:
        points: n of them.
        k: neighbours, a point itself included; fewer if there are fewer distinct points.
        weights: (n,) positive.
        link: as many of the nearest are connected; a number that suits dimension and k if None.
        device: where neighbours are looked for.

    Raises:
        DataError: there are too many columns, or there is too little memory.
    """
    require_few_columns(points)
    wanted = linked(points.dimension, k) if link is None else link
    require_room(len(points), bytes_a_row(points.values.shape[1], wanted))
    order, first = distinct(points.values, device)
    count = np.diff(first, append=len(order)).astype(np.int32)
    node = np.empty(len(order), np.int32)
    node[order] = np.repeat(np.arange(len(first), dtype=np.int32), count)
    values = np.ascontiguousarray(points.values[order[first]])
    weight = count.astype(np.float64) if weights is None else _summed(weights, node, first)
    del order, first
    m = len(count)
    connected = min(wanted, max(min(k, m), 1))
    near, inverse, log_density = np.empty((m, connected), np.int32), np.empty(m), np.empty(m)
    for rows, indices, squared in neighbours.blocks(values, k, points.box, device):
        near[rows] = indices[:, :connected]
        inverse[rows] = inverse_dimension(squared)
        log_density[rows] = density.KERNEL.on(device)(indices, squared, weight, points.dimension)
    del values, weight
    graph = edges.KERNEL.on(device)(near, log_density)
    log_density -= _log_volume(points.dimension)
    return Graph(node, count, near, inverse, points.dimension, log_density, *graph)


def bytes_a_row(columns: int, link: int) -> int:
    """Return how many bytes `build` and the joining of groups take for each point: at first those of the search, with its tree, or later
    those of edges and groups."""
    kept = 40 + 4 * link  # node, count, inverse_dimension, log_density; and near
    return kept + max(17 * columns + 12, 4 * link + 56)


def require_few_columns(points: Points) -> None:
    """Raise a DataError if points have more columns than nearest neighbours are found in."""
    most = neighbours.MAX_COLUMNS
    if points.values.shape[1] > most:
        raise DataError(f"neighbours are found in up to {most} columns, not {points.values.shape[1]}; leave some out or project them")


def distinct(values: np.ndarray, device: Literal["cpu", "cuda"]) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) the canonical order of points, and (m,) where in it each group of equal points starts."""
    order = morton.KERNEL.on(device)(values)
    if not len(order):
        return order, np.zeros(0, np.int64)
    fresh = np.zeros(len(order) - 1, bool)
    for column in values.T:
        ordered = column[order]
        fresh |= ordered[1:] != ordered[:-1]
    return order, np.flatnonzero(np.append(True, fresh))


def _summed(weights: np.ndarray, node: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the sum of weights at each node, in an order that is not the rows'."""
    by_weight = np.lexsort([weights, node])
    return np.add.reduceat(np.asarray(weights, np.float64)[by_weight], first) if len(first) else np.zeros(0)


def _log_volume(dimension: int) -> float:
    """Return the log of the integral over 1 - r^2 within the unit ball: pi^(d/2) / Gamma(d/2 + 1) times 2 / (d + 2)."""
    return dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2 + 1) + math.log(2 / (dimension + 2))
