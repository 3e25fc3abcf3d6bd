"""Which fuzzy clusters are one thing that grew or shrank at a stroke: main branches, as in merger trees.

Where two clusters of like size become one, that is like neither of them, and so a group of its own. It is no new thing: the larger of
the two goes on as it, and only the other one has ended. Backwards in time this holds for a cluster that falls apart.

References:
    Srisawat et al. (2013), MNRAS 436, 150 (merger trees: main progenitors and descendants).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .clusterings import Clusterings
from .events import MOST, Seen, held, seen_at
from .groups import FuzzyGroup
from .snapshots import seen


def branches(clusterings: Clusterings, groups: Sequence[FuzzyGroup], present: np.ndarray) -> list[FuzzyGroup]:
    """Return the groups, those that go on as another one joined with it, in the order of their first clusters.

    Args:
        clusterings: of snapshots, in the order of time.
        groups: of their clusters.
        present: (snapshot, tracer) bool, which tracers each snapshot has; those without any are passed over.
    """
    looked = np.flatnonzero(present.any(axis=1))
    place = {int(snapshot): k for k, snapshot in enumerate(looked)}
    lives = [{place[snapshot]: members for snapshot, members in one.items()} for one in seen(clusterings, groups)]
    turned = [{len(looked) - 1 - k: members for k, members in one.items()} for one in lives]
    links = {(likeness, a, b) for likeness, a, b in _successors(lives, present[looked])}
    links |= {(likeness, a, b) for likeness, b, a in _successors(turned, present[looked[::-1]])}
    before, after = {}, {}
    for _, a, b in sorted(links, key=lambda link: (-link[0], link[1:])):
        if a not in after and b not in before:
            before[b], after[a] = a, b
    joined = []
    for first in range(len(groups)):
        if first not in before:
            chain = [first]
            while chain[-1] in after:
                chain.append(after[chain[-1]])
            joined.append(np.sort(np.concatenate([groups[number].clusters for number in chain])))
    return [FuzzyGroup(clusters, np.unique(clusterings.clustering[clusters])) for clusters in sorted(joined, key=lambda c: int(c[0]))]


def _successors(lives: Sequence[Seen], present: np.ndarray) -> list[tuple[float, int, int]]:
    """Return which cluster goes on as which, and before both how alike they are.

    A cluster that ends may have parts that go on. If they make up most of it, and the largest of them began as a part
    of this cluster, it goes on as that one. Backwards in time: if what a cluster came from makes up most of it, and the largest of
    that ended in it, it is that one's continuation.
    """
    found = []
    for number, own in enumerate(lives):
        last = max(own)
        if last == len(present) - 1:
            continue
        members = own[last][present[last + 1][own[last]]]
        parts = []
        for other, theirs in enumerate(lives):
            then = seen_at(theirs, last + 1, before=False) if other != number else None
            if then is not None and held(then[present[last][then]], members) >= MOST:
                shared = np.intersect1d(then, members, assume_unique=True)
                parts.append((len(shared), -other, shared, then))
        if not parts or len(np.unique(np.concatenate([part[2] for part in parts]))) < MOST * len(members):
            continue
        size, negative, _, then = max(parts, key=lambda part: part[:2])
        theirs = lives[-negative]
        origin = seen_at(own, min(theirs) - 1, before=True)
        begun = theirs[min(theirs)]
        if origin is not None and held(begun[present[min(theirs) - 1][begun]], origin) >= MOST:
            found.append((size / (len(members) + len(then) - size), number, -negative))
    return found
