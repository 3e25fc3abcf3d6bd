"""How well groups of points agree with true structures; for stages and benchmarks alike.

Labels are (n,) integers, negative for points in nothing. Groups are index arrays, which may lie inside each other, so that
hierarchies can be judged as they are.

References:
    Hubert & Arabie (1985), J. Classification 2, 193 (adjusted Rand index); Jaccard (1912), New Phytologist 11, 37;
    Naeini, Cooper & Hauskrecht (2015), AAAI, 2901 (expected calibration error).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..spectra import calibration

RECOVERED = 0.5
"""Jaccard index above which a structure is found; no two structures that do not overlap can both have it with one group."""
FEW = 50
"""Members that a bin of probability must have before its distance from the truth counts as its worst."""


@dataclass(frozen=True, eq=False)
class Matches:
    """The group that agrees best with each of s true structures.

    Attributes:
        group: (s,) its index; -1 if no group shares a point with the structure.
        jaccard: (s,) points in both over points in either.
        purity: (s,) part of the group's points that are of the structure; NaN without a group.
        completeness: (s,) part of the structure's points that are in the group; 0 without one.
        size: (s,) points of the structure.
        false: (g,) which groups have more points of the background than of structures.
    """

    group: np.ndarray
    jaccard: np.ndarray
    purity: np.ndarray
    completeness: np.ndarray
    size: np.ndarray
    false: np.ndarray

    @property
    def recovered(self) -> np.ndarray:
        """(s,) whether the structure is found."""
        return self.jaccard > RECOVERED


def groups_of(labels: np.ndarray) -> list[np.ndarray]:
    """Return the groups that flat labels make, in the order of the labels."""
    labels = np.asarray(labels)
    order = np.argsort(labels, kind="stable")
    values, first = np.unique(labels[order], return_index=True)
    return [part for value, part in zip(values, np.split(order, first[1:]), strict=True) if value >= 0] if len(labels) else []


def smallest_of(groups: Sequence[np.ndarray], n: int) -> np.ndarray:
    """Return (n,) the index of the smallest group that each point is in, -1 for none: a hierarchy made flat."""
    labels = np.full(n, -1)
    for index in sorted(range(len(groups)), key=lambda i: -len(groups[i])):
        labels[groups[index]] = index
    return labels


def adjusted_rand(truth: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Return the adjusted Rand index over all points, those in nothing being one class, and over members of structures alone."""
    truth, found = np.maximum(truth, -1), np.maximum(found, -1)
    member = truth >= 0
    return _adjusted_rand(truth, found), _adjusted_rand(truth[member], found[member])


def _adjusted_rand(first: np.ndarray, second: np.ndarray) -> float:
    n = len(first)
    if n == 0:
        return float("nan")
    a, b = (np.unique(labels, return_inverse=True)[1] for labels in (first, second))
    together = np.unique(a * np.int64(n) + b, return_counts=True)[1]
    pairs, pairs_a, pairs_b = (_pairs(counts) for counts in (together, np.bincount(a), np.bincount(b)))
    if pairs_a == pairs_b == pairs:
        return 1.0  # the same partition, which may be one without pairs
    chance = pairs_a * pairs_b / (n * (n - 1) / 2)
    return (pairs - chance) / ((pairs_a + pairs_b) / 2 - chance)


def _pairs(counts: np.ndarray) -> float:
    """Return how many pairs of points share a class."""
    return float((counts.astype(np.float64) * (counts - 1)).sum() / 2)


def match(truth: np.ndarray, groups: Sequence[np.ndarray]) -> Matches:
    """Return the best group of each structure, and the groups that are of none.

    Args:
        truth: (n,) labels; the structures are 0, 1, … up to the greatest.
        groups: index arrays, each point at most once in each.
    """
    s = int(truth.max(initial=-1)) + 1
    size = np.bincount(truth[truth >= 0], minlength=s)
    best, jaccard, shared = np.full(s, -1), np.zeros(s), np.zeros(s, np.int64)
    false = np.zeros(len(groups), bool)
    for index, group in enumerate(groups):
        inside = truth[group]
        counts = np.bincount(inside[inside >= 0], minlength=s)
        false[index] = counts.sum() * 2 < len(group)
        index_of = counts / np.maximum(size + len(group) - counts, 1)
        better = index_of > jaccard
        best[better], jaccard[better], shared[better] = index, index_of[better], counts[better]
    in_group = np.array([len(groups[index]) if index >= 0 else 0 for index in best])
    with np.errstate(invalid="ignore", divide="ignore"):
        return Matches(best, jaccard, shared / in_group, np.where(size > 0, shared / np.maximum(size, 1), np.nan), size, false)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Whether memberships mean what they say.

    Attributes:
        ece: mean distance of stated and true membership, over bins by their numbers; NaN without members.
        worst: greatest distance in a bin with enough members.
        curve: by bin of probability: its edges, the part that are members in truth, the mean probability, and how many there are.
    """

    ece: float
    worst: float
    curve: dict[str, list[float | None]]


def reliability(
    truth: np.ndarray, groups: Sequence[np.ndarray], probability: Sequence[np.ndarray], matches: Matches | None = None
) -> Reliability:
    """Return how far the stated memberships of recovered structures are from the truth.

    Args:
        truth: (n,) labels.
        groups: index arrays.
        probability: of membership, of each point of each group.
        matches: what `match` returned for these, where that is known.
    """
    matches = match(truth, groups) if matches is None else matches
    found = np.flatnonzero(matches.recovered)
    stated = [np.asarray(probability[matches.group[k]], np.float64) for k in found]
    right = [truth[groups[matches.group[k]]] == k for k in found]
    confidence = np.concatenate(stated) if stated else np.zeros(0)
    is_member = np.concatenate(right) if right else np.zeros(0, bool)
    curve = calibration.reliability(confidence, is_member)
    gaps = [
        abs(float(true or 0) - float(said or 0))
        for true, said, n in zip(curve["accuracy"], curve["confidence"], curve["n"], strict=True)
        if (n or 0) >= FEW
    ]
    return Reliability(calibration.calibration_error(confidence, is_member), max(gaps, default=np.nan), curve)


def confusion(names: Sequence[str], truth: np.ndarray, found: np.ndarray, matches: Matches) -> dict[str, object]:
    """Return the confusion matrix: points by true structure, in rows, and by the structure whose best cluster they are put into.

    Args:
        names: of the s structures.
        truth: (n,) labels.
        found: (n,) index of the group that each point is put into; negative for none.
        matches: what `match` returned.
    """
    s = len(names)
    background, other = s, s + 1
    answer_of = np.full(len(matches.false) + 1, other)
    answer_of[-1] = background  # of the index -1, no group
    owned = np.flatnonzero(matches.recovered)
    answer_of[matches.group[owned]] = owned
    rows, answers = np.where(truth < 0, background, truth), answer_of[np.maximum(found, -1)]
    counts = np.bincount(rows * (s + 2) + answers, minlength=(s + 2) ** 2).reshape(s + 2, s + 2)
    return {"labels": [*names, "background", "other cluster"], "counts": counts.tolist()}
