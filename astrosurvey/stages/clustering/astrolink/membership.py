"""Which points belong to a group, with what probability, and which group each point is put into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import Graph
from ..tables import Group
from .groups import PURE, Found
from .joins import Joins
from .null import Null

BLUR = 0.3
"""By how much, for each dimension beyond two, the estimated density of what surrounds a cluster is above that of the saddle, for the
neighbours of the points next to a cluster are its members. Chosen for reliable memberships in mocks of 3 to 6 dimensions."""


def positions(graph: Graph, joins: Joins) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the points in the order of aggregation.

    Returns:
        (point,) int64, each point's place; points of one node share one.
        (point,) int64, the points in this order.
        (m + 1,) int64, where the points of each place in the nodes' order start.
    """
    m = len(graph)
    nodes = graph.descending[joins.order]
    first = np.zeros(m + 1, np.int64)
    np.cumsum(graph.count[nodes], out=first[1:])
    place = np.empty(m, np.int64)
    place[nodes] = np.arange(m)
    of_point = place[graph.node]
    return first[of_point], np.argsort(of_point, kind="stable"), first


def memberships(graph: Graph, joins: Joins, null: Null, found: Sequence[Found]) -> tuple[list[Group], np.ndarray, np.ndarray]:
    """Return the groups with their members, which group each point is put into, and each point's place in the ordered-density plot.

    Around a group lies what it stands out from, with the density of the saddle, and a blurred edge. Of the points at density rho the part
    1 - (1 + BLUR (d - 2)) rho_saddle / rho is the group's: so many are members. A point is put into the smallest group of
    which it is a member rather than not. Groups within others that are mostly these others' do not count there.
    """
    position, points, first = positions(graph, joins)
    height = np.repeat(joins.height[joins.order], np.diff(first))
    assigned = np.full(len(points), -1, np.int64)
    blur = 1 + BLUR * max(graph.dimension - 2, 0)
    groups = []
    for index, group in enumerate(found):
        span = slice(first[group.start], first[group.end])
        probability = 1 - np.minimum(blur * np.exp(group.saddle - height[span]), 1.0)
        keep = probability > 0
        keep[np.argmax(height[span])] = True
        members, probability = points[span][keep], probability[keep]
        significance = float(null.significance(group.excess, len(joins)))
        groups.append(Group(members, probability, group.parent, significance, stability=group.purity))
        if group.parent < 0 or group.purity >= PURE:
            assigned[members[probability > 0.5]] = index
    return groups, assigned, position
