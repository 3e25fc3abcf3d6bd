"""Groups of clusters that are one thing seen by many clusterings: fuzzy clusters.

Clusters are joined from the greatest Jaccard index down, as single linkage joins them, with one exception. Two groups that
occur side by side in the same clusterings are two things, however alike they are: a cluster and the smaller one inside it. They
are not joined, and so every fuzzy cluster has, but for chance, one cluster of a clustering.

References:
    Oliver & Elahi (2024), arXiv:2411.03229 (FuzzyCat); Wagstaff & Cardie (2000), ICML, 1103 (clusters that must not be joined).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .clusterings import Clusterings
from .similarity import tree

BESIDE = 0.5
"""Part of the clusterings of the rarer of two groups from which on they occur side by side."""
FIRM = 0.1
"""Part of the clusterings that a fuzzy cluster needs, below which a group may be chance and does not resist being joined."""


@dataclass(frozen=True, eq=False)
class FuzzyGroup:
    """Clusters of different clusterings that are one thing.

    Attributes:
        clusters: their indices, ascending.
        clusterings: of which clusterings they are, ascending and distinct.
    """

    clusters: np.ndarray
    clusterings: np.ndarray


def groups_of(clusterings: Clusterings, least: int, min_jaccard: float = 0.5, window: int = 0) -> list[FuzzyGroup]:
    """Return the groups that at least `least` clusterings have a cluster in, in the order of their first clusters.

    Args:
        clusterings: of the same points.
        least: clusterings that a fuzzy cluster needs.
        min_jaccard: Jaccard index from which on clusters of two clusterings are joined.
        window: clusterings less than this far apart in their order are compared; 0 for all.
    """
    ends, _ = tree(clusterings, min_jaccard, window)
    c = len(clusterings)
    root = list(range(c))
    held = [1 << int(k) for k in clusterings.clustering]  # in which clusterings a group occurs, as bits
    firm = max(2, round(FIRM * least))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = i = root[root[i]]
        return i

    for i, j in ends.tolist():
        a, b = sorted((find(i), find(j)))
        rarer = min(held[a].bit_count(), held[b].bit_count())
        if rarer >= firm and (held[a] & held[b]).bit_count() >= BESIDE * rarer:
            continue
        root[b] = a
        held[a] |= held[b]
    of = np.array([find(i) for i in range(c)], np.int64)
    order = np.argsort(of, kind="stable")
    heads, starts = np.unique(of[order], return_index=True)
    parts = zip(heads.tolist(), np.split(order, starts[1:]), strict=True) if c else []
    return [FuzzyGroup(members, np.unique(clusterings.clustering[members])) for head, members in parts if held[head].bit_count() >= least]
