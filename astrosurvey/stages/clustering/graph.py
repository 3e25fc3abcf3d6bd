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
from ...kernels import edges, morton, neighbours

if TYPE_CHECKING:
    from .features import Points


@dataclass(frozen=True, eq=False)
class Graph:
    """Nearest neighbours of m distinct points and the density that follows from them.

    Attributes:
        node: (point,) int64, which node each point is at.
        values: (m, d) float64, coordinates, in canonical order.
        count: (m,) int64, points at each node.
        weights: (m,) float64, their weight; the count if points have none.
        indices: (m, k) int32, nearest nodes, the node itself first; by distance, ties by index. k is at most m.
        squared: (m, k) float64, their squared distances.
        dimension: intrinsic dimension of the space.
        link: how many of the nearest nodes, itself included, each is connected with.
        log_density: (m,) float64, log of weight in a unit of volume.
        descending: (m,) int32, nodes from the densest down; the place in it is the rank.
        start: (m + 1,) int32, where the edges of each rank start.
        denser: (edge,) int32, rank of the denser end of each edge, ascending for each rank.
    """

    node: np.ndarray
    values: np.ndarray
    count: np.ndarray
    weights: np.ndarray
    indices: np.ndarray
    squared: np.ndarray
    dimension: int
    link: int
    log_density: np.ndarray
    descending: np.ndarray
    start: np.ndarray
    denser: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def k(self) -> int:
        """Neighbours of each node, itself included."""
        return self.indices.shape[1]


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
        DataError: there are too many columns.
    """
    require_few_columns(points)
    order, first = distinct(points.values, device)
    node = np.empty(len(order), np.int64)
    count = np.diff(np.append(first, len(order)))
    node[order] = np.repeat(np.arange(len(first)), count)
    values = np.ascontiguousarray(points.values[order[first]])
    indices, squared = neighbours.KERNEL.on(device)(values, k, points.box)
    weight = count.astype(np.float64) if weights is None else _summed(weights, node, first)
    connected = min(linked(points.dimension, k) if link is None else link, max(indices.shape[1], 1))
    log_density, *graph = edges.KERNEL.on(device)(indices, squared, weight, points.dimension, connected)
    log_density -= _log_volume(points.dimension)
    return Graph(node, values, count, weight, indices, squared, points.dimension, connected, log_density, *graph)


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
