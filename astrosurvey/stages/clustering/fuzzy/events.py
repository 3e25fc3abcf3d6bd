"""What happens to fuzzy clusters in time: births, deaths, mergers and splits.

A cluster that is first seen in a later snapshot than the first was born, or, if most of its members were in another cluster
just before, split off from that. One that is last seen in an earlier snapshot than the last died, or, if most of its members are
in another cluster just after, merged into that.

References:
    Srisawat et al. (2013), MNRAS 436, 150 (merger trees); Spiliopoulou et al. (2006), KDD, 706 (MONIC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

MOST = 0.5
"""Part of a cluster's members that must be in another for that to be where it came from, or went."""

Seen = Mapping[int, np.ndarray]
"""Members of a fuzzy cluster, ascending, by the snapshots that have it."""


class Event(NamedTuple):
    """Something that happened to a fuzzy cluster.

    Attributes:
        cluster: its index.
        kind: what happened.
        snapshot: the first snapshot that has the cluster, for a birth or a split; the first without it for a death or a merger.
        other: the cluster that it split off from or merged into; -1 for none.
        fraction: part of its members that are in the other cluster, before or after; 0 for none.
        n_member: members just after a birth or split, or just before a death or merger.
    """

    cluster: int
    kind: Literal["birth", "split", "death", "merger"]
    snapshot: int
    other: int
    fraction: float
    n_member: int


def events_of(seen: Sequence[Seen], present: np.ndarray) -> list[Event]:
    """Return what happened, by snapshot and then by cluster.

    Args:
        seen: for each fuzzy cluster, where its members were.
        present: (snapshot, tracer) bool, which tracers each snapshot has. Snapshots without any are passed over:
            what is not seen there may be there.
    """
    looked = np.flatnonzero(present.any(axis=1))
    found = []
    for cluster, members in enumerate(seen):
        first, last = min(members), max(members)
        before, after = looked[looked < first], looked[looked > last]
        if len(before):
            other, fraction = _shared(cluster, members[first], int(before[-1]), seen, present, backwards=True)
            found.append(Event(cluster, "split" if other >= 0 else "birth", first, other, fraction, len(members[first])))
        if len(after):
            other, fraction = _shared(cluster, members[last], int(after[0]), seen, present, backwards=False)
            found.append(Event(cluster, "merger" if other >= 0 else "death", int(after[0]), other, fraction, len(members[last])))
    return sorted(found, key=lambda event: (event.snapshot, event.cluster, event.kind))


def seen_at(members: Seen, snapshot: int, before: bool) -> np.ndarray | None:
    """Return the members of a cluster at a snapshot, as the last one up to it that has the cluster says, or the first from it on.

    None if the snapshot is not between the first and the last that have it.
    """
    if not min(members) <= snapshot <= max(members):
        return None
    return members[max(t for t in members if t <= snapshot) if before else min(t for t in members if t >= snapshot)]


def held(members: np.ndarray, others: np.ndarray) -> float:
    """Return which part of some members are among others; 0 without any."""
    return len(np.intersect1d(members, others, assume_unique=True)) / max(len(members), 1)


def _shared(
    cluster: int, members: np.ndarray, snapshot: int, seen: Sequence[Seen], present: np.ndarray, backwards: bool
) -> tuple[int, float]:
    """Return the other cluster that most of the members are in at a snapshot, and which part of them; -1 and 0 for none.

    A cluster that is there before and after, but not found in this one snapshot, is taken as it is in the next that has it.
    Of two that hold equally many, one inside the other, the smaller counts.
    """
    there = members[present[snapshot][members]]
    best = (-1, 0.0, 0)
    for other, theirs in enumerate(seen):
        then = seen_at(theirs, snapshot, backwards) if other != cluster else None
        if then is None:
            continue
        part = held(there, then)
        if part >= MOST and (part, -len(then)) > (best[1], -best[2]):
            best = (other, part, len(then))
    return best[0], best[1]
