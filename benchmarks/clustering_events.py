"""What `clustering.fuzzy` says of births, deaths and mergers, held against a system in which they are known: for `clustering.py`.

Two clumps that draw nearer are one to every method from the moment on at which there is no saddle of the density between them. That
is when they have merged here, and not when their centres meet. Of two Gaussians it is known exactly.

References:
    Ray & Lindsay (2005), Ann. Stat. 33, 2042 (the maxima of a mixture of two Gaussians lie on one curve between their centres).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))
from clustering_tools import context, mock_catalog, timed

from astrosurvey.stages.simulate.clusters.mock import Structure
from astrosurvey.stages.simulate.clusters.snapshots import System, system

NUMBER, MOMENTS = 4000, 12
CHANGES = {"births": 2, "dissolutions": 2, "mergers": 2}
TOLERANCE = 1
"""Snapshots that an event may be found early or late."""
RIDGE = np.linspace(0, 1, 401)
"""Places on the curve between two centres."""


class Change(NamedTuple):
    """Something that happens to a structure; `other` is the one that it becomes part of, -1 for none."""

    kind: str
    structure: int
    snapshot: int
    other: int = -1


def changes_of(made: System) -> list[Change]:
    """Return all that happens in a system."""
    born, gone, into = made.history.born, made.history.gone, made.history.into
    found = [Change("birth", k, int(born[k])) for k in np.flatnonzero(born > 0).tolist()]
    found += [Change("death", k, int(gone[k])) for k in np.flatnonzero((gone < made.moments) & (into < 0)).tolist()]
    return found + [Change("merger", k, _one_from(made, k, int(into[k])), int(into[k])) for k in np.flatnonzero(into >= 0).tolist()]


def _one_from(made: System, one: int, other: int) -> int:
    """Return the first moment from which on the density of two structures has a single maximum."""
    sizes = np.bincount(made.home[made.home >= 0], minlength=len(made.structures))
    first = int(made.history.gone[one])
    while first > 0:
        values, labels = made.at(first - 1)
        centres = [values[labels == k].mean(axis=0) for k in (one, other)]
        if _maxima(*centres, made.structures[one], made.structures[other], sizes[one] / sizes[other]) > 1:
            break
        first -= 1
    return first


def _maxima(a: np.ndarray, b: np.ndarray, one: Structure, other: Structure, ratio: float) -> int:
    """Return how many maxima the density of two Gaussians has, the first of which has `ratio` times as many points."""
    inverse = [np.linalg.inv(s.axes @ s.axes.T) for s in (one, other)]
    density = []
    for t in RIDGE:
        place = np.linalg.solve((1 - t) * inverse[0] + t * inverse[1], (1 - t) * inverse[0] @ a + t * inverse[1] @ b)
        terms = [np.sqrt(np.linalg.det(i)) * np.exp(-0.5 * (place - c) @ i @ (place - c)) for i, c in zip(inverse, (a, b), strict=True)]
        density.append(ratio * terms[0] + terms[1])
    padded = np.concatenate([[-np.inf], density, [-np.inf]])
    return int(((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:])).sum())


def score(seeds: Sequence[int], method: str) -> dict[str, float]:
    """Follow systems through their snapshots with a method of the stage, and return how well their events are found, all taken together."""
    followed = [_follow(seed, method) for seed in seeds]
    recovered, seconds = (float(np.mean(part)) for part in zip(*(rest for _, _, rest in followed), strict=True))
    return {**_agreement([(true, said) for true, said, _ in followed]), "recovered": recovered, "cpu_s": seconds}


def _follow(seed: int, method: str) -> tuple[list[Change], list[Change], tuple[float, float]]:
    """Return what happens in a system, what is said to happen, and the recovered part of its structures and the CPU seconds."""
    from astrosurvey import Tiles
    from astrosurvey.stages.clustering.fuzzy import flow
    from astrosurvey.stages.clustering.fuzzy.stage import FuzzyClustering
    from astrosurvey.stages.evaluate.clustering.scores import match

    made = system(np.random.default_rng(seed), NUMBER, 3, MOMENTS, **CHANGES)
    values, labels = (np.concatenate(parts) for parts in zip(*(made.at(moment) for moment in range(MOMENTS)), strict=True))
    about = {"tracer": np.tile(np.arange(NUMBER), MOMENTS), "time": np.repeat(np.arange(MOMENTS), NUMBER)}
    catalog = mock_catalog({**{f"p{k + 1}": column for k, column in enumerate(values.T)}, **about})
    config = FuzzyClustering.Config(columns=["p1", "p2", "p3"], tracer="tracer", time="time", method=method)
    tiles = Tiles(["all"], {"all": catalog}.__getitem__)
    seconds, out = timed(lambda: flow.of_snapshots(context(seed), config, catalog, tiles))
    groups = [np.asarray(out.points.rows[group.members]) for group in out.groups]
    of = [_structure(labels[group]) for group in groups]
    said = [Change(e.kind, of[e.cluster], e.snapshot, of[e.other] if e.other >= 0 else -1) for e in out.events]
    return changes_of(made), said, (float(match(labels, groups).recovered.mean()), seconds)


def _structure(labels: np.ndarray) -> int:
    """Return the structure that most members of a cluster belong to; -1 for none."""
    counts = np.bincount(labels[labels >= 0], minlength=1)
    return int(counts.argmax()) if 2 * counts.max() > len(labels) else -1


def _agreement(pairs: list[tuple[list[Change], list[Change]]]) -> dict[str, float]:
    """Return which part of what is said is true and of what is true is said, each event once; and how late that is, on average."""
    late: dict[str, list[int]] = {"birth": [], "death": [], "merger": []}
    for true, said in pairs:
        left = list(said)
        for change in true:
            fitting = [event for event in left if _same(change, event)]
            if fitting:
                nearest = min(fitting, key=lambda event: abs(event.snapshot - change.snapshot))
                left.remove(nearest)
                late[change.kind].append(nearest.snapshot - change.snapshot)
    known = [change.kind for true, _ in pairs for change in true]
    right = [delay for delays in late.values() for delay in delays]
    return {
        "precision": len(right) / max(sum(len(said) for _, said in pairs), 1),
        "recall": len(right) / max(len(known), 1),
        **{f"{kind}s": len(delays) / max(known.count(kind), 1) for kind, delays in late.items()},
        "late": float(np.mean(right or [0])),
    }


def _same(true: Change, said: Change) -> bool:
    """Tell whether an event is the true one; of two that merge either may be the one that ends."""
    return (
        true.kind == said.kind
        and abs(true.snapshot - said.snapshot) <= TOLERANCE
        and {true.structure, true.other} == {said.structure, said.other}
    )
