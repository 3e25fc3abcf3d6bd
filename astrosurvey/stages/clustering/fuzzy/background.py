"""How many of a cluster's members are field: the density around a cluster against that inside it.

A contour encloses the field that happens to lie there as well as the cluster. A point at density rho, with a field of density
rho_f around the cluster, belongs to the cluster with probability 1 - rho_f / rho. The field inside a cluster cannot be seen;
it is taken to be as dense as at the points nearest to it outside.

References:
    Vasilevskis, Klemola & Preston (1958), AJ 63, 387; Cabrera-Cano & Alfaro (1990), A&A 235, 94 (memberships from densities).
"""

from __future__ import annotations

import numpy as np

from .memberships import Membership

AROUND = 20
"""Points outside a cluster whose median density is that of the field."""
INSIDE = 0.5
"""Points with this membership, or a greater one, are not outside."""


def without_field(found: list[Membership], values: np.ndarray, box: np.ndarray, log_density: np.ndarray) -> list[Membership]:
    """Return memberships times the probability of not being field.

    Args:
        found: members of each fuzzy cluster.
        values: (n, d) positions.
        box: (d,) periods, 0 for none.
        log_density: (n,) natural logarithm of the density at each point.
    """
    kept = []
    for members, probability in found:
        outside = np.ones(len(values), bool)
        outside[members[probability >= INSIDE]] = False
        near = np.flatnonzero(outside)
        if len(near) == 0 or len(members) == 0:
            kept.append(Membership(members, probability))
            continue
        field = np.median(log_density[_nearest(values, box, members, near)], axis=1)
        real = probability * -np.expm1(np.minimum(field - log_density[members], 0.0))
        kept.append(Membership(members[real > 0], real[real > 0]))
    return kept


def _nearest(values: np.ndarray, box: np.ndarray, members: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return (member, AROUND) the points outside a cluster that are nearest to each member; fewer if there are fewer.

    They are looked for in a ball around the cluster, since a tree of all points outside, made anew for each cluster, would be most of
    the work. A member whose neighbours are not all nearer than the ball's surface is looked at again in a ball that is large enough.
    """
    from scipy.spatial import cKDTree

    wanted = min(AROUND, len(outside))
    apart, radius = _from_middle(values, box, members, outside)
    found, waiting, reach = np.empty((len(members), wanted), np.int64), np.arange(len(members)), radius
    while len(waiting):
        inside = apart <= radius + reach
        if inside.sum() < wanted:
            reach = np.partition(apart, wanted - 1)[wanted - 1]
            continue
        here = outside[inside]
        tree = cKDTree(values[here], boxsize=box if box.any() else None)
        distance, index = tree.query(values[members[waiting]], np.arange(1, wanted + 1))
        found[waiting] = here[index]
        again = (distance[:, -1] > reach) & (not inside.all())
        reach = distance[:, -1].max()
        waiting = waiting[again]
    return found


def _from_middle(values: np.ndarray, box: np.ndarray, members: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the distances of the points outside from a place in the middle of a cluster, and the largest of its members'."""
    total, largest = np.zeros(len(outside)), np.zeros(len(members))
    for column, period in zip(values.T, box, strict=True):
        start = column[members[0]]
        own = _wrapped(column[members] - start, period)
        middle = start + (own.min() + own.max()) / 2
        total += _wrapped(column[outside] - middle, period) ** 2
        largest += _wrapped(column[members] - middle, period) ** 2
    return np.sqrt(total), float(np.sqrt(largest.max()))


def _wrapped(difference: np.ndarray, period: float) -> np.ndarray:
    """Return differences of coordinates, the shorter way round where there is a period."""
    return difference - period * np.rint(difference / period) if period else difference
