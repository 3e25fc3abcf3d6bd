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
    from scipy.spatial import cKDTree

    kept = []
    for members, probability in found:
        outside = np.ones(len(values), bool)
        outside[members[probability >= INSIDE]] = False
        near = np.flatnonzero(outside)
        if len(near) == 0:
            kept.append(Membership(members, probability))
            continue
        around = np.arange(1, min(AROUND, len(near)) + 1)
        _, index = cKDTree(values[near], boxsize=box if box.any() else None).query(values[members], around)
        field = np.median(log_density[near][index], axis=1)
        real = probability * -np.expm1(np.minimum(field - log_density[members], 0.0))
        kept.append(Membership(members[real > 0], real[real > 0]))
    return kept
