"""By how much each group of points stands out from where it joins another, in units of the field's own noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....kernels.aggregate import KERNEL
from ..graph import Graph

QUANTILE = 0.75
"""Of all prominences: their noise's scale."""
MOST = 1.1
"""A field's scale is at most so many times a uniform one's, for the scatter of a quantile: above that, more than a quarter of the joins
are those of structures."""
PRIOR = 10
"""Joins that a uniform field's scale counts for: where there are few, their quantile says little."""
LAG = 0.75
"""Where gradients make a field's scale smaller than a uniform one's, they do so unevenly, and its largest excesses, which come from its
flattest parts, lag behind by this power. With it, uniform and Gaussian fields have one tail."""
THINNING = 2.0
"""Power of the local dimension, in units of the field's, with which excesses shrink along streams and sheets. There a density of
the field's dimension scatters more: as 1 over the local dimension, and prominences of fewer dimensions are larger by as much again."""


@dataclass(frozen=True, eq=False)
class Joins:
    """The aggregation of a graph's nodes, with what is known at each join of the smaller [0] and the larger group [1].

    Attributes:
        order: (m,) ranks in the order of aggregation, in which each group is a span.
        height: (m,) log density by rank, descending.
        start: (join, 2) where each group starts in the order.
        size: (join, 2) its nodes.
        saddle: (join,) log density at which the two join.
        clear: (join, 2) prominence, in log density, less the noise of the group's own.
        measured: quantile of the prominences of the smaller groups; 0 without joins.
        dimension: (join,) that the surroundings of the saddle fill, in units of the field's; at most 1.
    """

    order: np.ndarray
    height: np.ndarray
    start: np.ndarray
    size: np.ndarray
    saddle: np.ndarray
    clear: np.ndarray
    measured: float
    dimension: np.ndarray

    def __len__(self) -> int:
        return len(self.saddle)

    def unit(self, scale: float) -> np.ndarray:
        """Return (join,) what counts as one unit of excess, in log density.

        Prominences of a featureless field's groups have a distribution whose shape depends on the dimension and on k, but whose scale
        depends on the field: gradients make it smaller. So the scale is the field's own, nearly; see `LAG`.

        Args:
            scale: quantile of prominences in a uniform field; see `PRIOR`.
        """
        n = len(self)
        own = min(self.measured, MOST * scale)
        own *= max(1.0, scale / max(own, np.finfo(float).tiny)) ** LAG
        own = np.sqrt((n * own**2 + PRIOR * scale**2) / (n + PRIOR))
        return np.asarray(own / self.dimension**THINNING)


def joins_of(graph: Graph) -> Joins:
    """Return the joins of a graph's nodes."""
    height = graph.log_density[graph.descending]
    order, small, large, saddle, noise = KERNEL.cpu(height, graph.start, graph.denser)
    start, size, peak = (np.stack([small[:, i], large[:, i]], axis=1).astype(np.int64) for i in range(3))
    level = height[saddle]
    prominence = height[peak] - level[:, None]
    measured = float(np.quantile(prominence[:, 0], QUANTILE)) if len(level) else 0.0
    dimension = np.minimum(1.0, _relative_dimension(graph, graph.descending[saddle]))
    return Joins(order, height, start, size, level, prominence - noise, measured, dimension)


def _relative_dimension(graph: Graph, nodes: np.ndarray) -> np.ndarray:
    """Return (node,) the dimension that the surroundings of nodes fill, in units of its median."""
    if not len(nodes):
        return np.zeros(0)
    inverse = np.zeros(len(nodes))
    for column in graph.near[nodes].T:
        inverse += graph.inverse_dimension[column]
    dimension = 1 / np.maximum(inverse, np.finfo(float).tiny)
    return np.asarray(dimension / np.median(dimension))
