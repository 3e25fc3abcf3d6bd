"""How alike clusters of different clusterings are, and the tree of the greatest likenesses.

The Jaccard index of two clusters is what they share over what they hold together, sum min(a, b) / sum max(a, b). Of all pairs'
indices only a maximum spanning tree is kept: the groups that single linkage makes at any threshold are the tree's. It is grown by
Prim's method, a cluster at a time, so no list of pairs is ever made: memory goes with the members, not with pairs.

Members are held as bits, 64 points a word, with points that stay together side by side, the fullest words first. Comparing two
clusters then reads a few words, and stops where what is left cannot lift the index above the best so far; pairs that cannot
matter are passed over by their sizes alone, for the index is at most the smaller size over the larger.

References:
    Jaccard (1912), New Phytologist 11, 37; Prim (1957), Bell Syst. Tech. J. 36, 1389;
    Gower & Ross (1969), Appl. Stat. 18, 54 (single linkage is the minimum spanning tree).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....kernels._numba import helper, serial
from .clusterings import Clusterings

GUIDES = 4
"""Clusterings whose clusters are looked at to bring points that stay together side by side."""


def tree(clusterings: Clusterings, floor: float = 0.0, window: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a maximum spanning forest of the clusters under their Jaccard index.

    Two clusters of one clustering are never compared: they are two things. Where a clustering did not see all
    points, two clusters are compared by the points that both clusterings saw.

    Args:
        clusterings: of c clusters.
        floor: clusters are connected from this index on.
        window: clusterings less than this far apart in their order are compared; 0 for all.

    Returns:
        (edge, 2) int32, clusters that are connected.
        (edge,) float64, their Jaccard index, above 0; edges from the greatest index down.
    """
    c = len(clusterings)
    ends, index = np.zeros((max(c - 1, 0), 2), np.int32), np.zeros(max(c - 1, 0))
    if c < 2:
        return ends, index
    reach = window if window > 0 else clusterings.n_clusterings
    seen, varying = _seen(clusterings, reach)
    place = _together(clusterings)
    sketch = _sketch(clusterings, place)
    # Only what is above the best so far counts, so the best starts just below the floor.
    best = np.full(c, np.nextafter(floor, 0.0))
    if clusterings.weight is None:
        members = (*_packed(clusterings, place), np.zeros(_words(clusterings), np.uint64))
    else:
        members = clusterings.first, clusterings.point, clusterings.weight, np.zeros(0, np.int32), np.zeros(clusterings.n_points, np.uint16)
    edges = _grow(*members, seen, varying, sketch, clusterings.clustering, reach, best, ends, index)
    order = np.lexsort((ends[:edges, 1], ends[:edges, 0], -index[:edges]))
    return ends[:edges][order], index[:edges][order]


def _seen(clusterings: Clusterings, reach: int) -> tuple[np.ndarray, bool]:
    """Return (c, clustering) the weight of each cluster's members that each clustering in reach saw; (c, 1) where all saw all."""
    weight = np.ones(len(clusterings.point), np.int64) if clusterings.weight is None else clusterings.weight.astype(np.int64)
    if clusterings.present is None:
        return np.add.reduceat(weight, clusterings.first[:-1])[:, None], False
    # Clusterings that saw the same are many where they were given, and are counted once.
    patterns, which = np.unique(np.packbits(clusterings.present, axis=1), axis=0, return_inverse=True)
    seen = np.zeros((len(clusterings), clusterings.n_clusterings), np.int64)
    order = np.argsort(clusterings.clustering, kind="stable")
    size = np.diff(clusterings.first)[order]
    first = np.concatenate([[0], np.cumsum(size)])
    take = np.repeat(clusterings.first[:-1][order] - first[:-1], size) + np.arange(first[-1])
    point, weight = clusterings.point[take], weight[take]
    for number, packed in enumerate(patterns):
        those = np.flatnonzero(which.ravel() == number)
        begin, end = np.searchsorted(clusterings.clustering[order], [those[0] - reach + 1, those[-1] + reach])
        if begin == end:
            continue
        members = slice(first[begin], first[end])
        there = np.unpackbits(packed, count=clusterings.n_points)[point[members]]
        sums = np.add.reduceat(weight[members] * there, first[begin:end] - first[begin])
        seen[order[begin:end, None], those] = sums[:, None]
    return seen, True


def _words(clusterings: Clusterings) -> int:
    return (clusterings.n_points + 63) // 64


def _together(clusterings: Clusterings) -> np.ndarray:
    """Return (point,) a place for each point, near to those of points that share its clusters; only speed hangs on it."""
    keys: list[np.ndarray] = []
    for guide in np.linspace(0, clusterings.n_clusterings - 1, GUIDES).astype(int):
        label = np.full(clusterings.n_points, -1, np.int32)
        for cluster in np.flatnonzero(clusterings.clustering == guide):  # the largest first, so the smallest has the last word
            label[clusterings.members(cluster)] = cluster
        keys.append(label)
    place = np.empty(clusterings.n_points, np.int64)
    place[np.lexsort(np.stack(keys))] = np.arange(clusterings.n_points)
    return place


def _packed(clusterings: Clusterings, place: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the members of all clusters as words of bits.

    Returns:
        (c + 1,) int64, where each cluster's words begin; the fullest first.
        (word,) int32, their numbers; uint64, their bits; and int32, how many bits this word and those after it have.
    """
    dense = np.zeros(_words(clusterings), np.uint64)
    first = np.zeros(len(clusterings) + 1, np.int64)
    empty = np.zeros(0, np.int32), np.zeros(0, np.uint64), np.zeros(0, np.int32)
    _pack(clusterings.first, clusterings.point, place, dense, first, *empty)
    packed = np.empty(first[-1], np.int32), np.empty(first[-1], np.uint64), np.empty(first[-1], np.int32)
    _pack(clusterings.first, clusterings.point, place, dense, first, *packed)
    return first, *packed


@serial
def _pack(
    begins: np.ndarray,
    point: np.ndarray,
    place: np.ndarray,
    dense: np.ndarray,
    first: np.ndarray,
    word: np.ndarray,
    bits: np.ndarray,
    rest: np.ndarray,
) -> None:
    """Write each cluster's words that have a bit set; only where they begin if there is no room for them. `dense` is zero, and left so."""
    touched, count = np.empty(dense.size, np.int32), np.empty(dense.size, np.int64)
    n = 0
    for cluster in range(begins.size - 1):
        for k in range(begins[cluster], begins[cluster + 1]):
            at = place[point[k]]
            dense[at >> 6] |= np.uint64(1) << np.uint64(at & 63)
        m = 0
        for k in range(begins[cluster], begins[cluster + 1]):
            number = place[point[k]] >> 6
            if dense[number]:
                touched[m], count[m] = number, _ones(dense[number])
                if word.size:
                    word[n + m], bits[n + m] = number, dense[number]
                dense[number] = np.uint64(0)
                m += 1
        if word.size:
            order = np.argsort(-count[:m], kind="mergesort")
            word[n : n + m], bits[n : n + m] = touched[:m][order], bits[n : n + m][order]
            left = 0
            for k in range(m - 1, -1, -1):
                left += count[order[k]]
                rest[n + k] = left
        n += m
        first[cluster + 1] = n


def _sketch(clusterings: Clusterings, place: np.ndarray) -> np.ndarray:
    """Return (c,) 64 bits, for every 64th part of the places whether a cluster has a member there."""
    part = place[clusterings.point].astype(np.int64) * 64 // clusterings.n_points
    return np.asarray(np.bitwise_or.reduceat(np.left_shift(np.uint64(1), part.astype(np.uint64)), clusterings.first[:-1]))


@helper
def _ones(x: Any) -> Any:
    """Return how many bits of a 64-bit word are set; compilers know this form and make it one instruction."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@helper
def _index(shared: int, one: int, other: int) -> float:
    together = one + other - shared
    return shared / together if together > 0 else 0.0


@helper
def _may_matter(i: int, j: int, best: float, sketch: np.ndarray, a: int, b: int, clustering: np.ndarray, reach: int) -> bool:
    """Tell whether the index of two clusters, of which a and b can be compared, may exceed the best so far."""
    if (sketch[i] & sketch[j]) == 0 or min(a, b) <= best * max(a, b):
        return False
    apart = abs(clustering[i] - clustering[j])
    return 0 < apart < reach


@helper
def _needed(best: float, a: int, b: int) -> float:
    """Return what two clusters must share more than for their index to exceed the best so far."""
    return best * (a + b) / (1.0 + best)


@helper
def _take(left: np.ndarray, n: int, best: np.ndarray, link: np.ndarray, ends: np.ndarray, index: np.ndarray, m: int) -> tuple[int, int]:
    """Take the cluster most like one in the tree out of those left, the first of equals, write its edge, and return it and the edges."""
    at = 0
    for k in range(1, n):
        if link[left[k]] >= 0:
            better = link[left[at]] < 0 or best[left[k]] > best[left[at]]
            if better or (best[left[k]] == best[left[at]] and left[k] < left[at]):
                at = k
        elif link[left[at]] < 0 and left[k] < left[at]:
            at = k
    taken = left[at]
    left[at] = left[n - 1]
    if link[taken] >= 0:
        ends[m, 0], ends[m, 1] = min(taken, link[taken]), max(taken, link[taken])
        index[m] = best[taken]
        m += 1
    return taken, m


@serial
def _grow(
    first: np.ndarray,
    place: np.ndarray,
    content: np.ndarray,
    rest: np.ndarray,
    dense: np.ndarray,
    seen: np.ndarray,
    varying: bool,
    sketch: np.ndarray,
    clustering: np.ndarray,
    reach: int,
    best: np.ndarray,
    ends: np.ndarray,
    index: np.ndarray,
) -> int:
    """Write the edges of the forest, and return how many they are.

    A cluster's members are at some places, in its own order: bits of words and how many of them are left from there on, or weights
    of points, with nothing in `rest`. `dense` is zero at every place, and left so.
    """
    c = clustering.size
    as_bits = rest.size > 0
    link, left = np.full(c, -1, np.int32), np.arange(1, c + 1)
    i, m = 0, 0
    for n in range(c - 1, 0, -1):
        for w in range(first[i], first[i + 1]):
            dense[place[w]] = content[w]
        for k in range(n):
            j = left[k]
            a = seen[i, clustering[j] if varying else 0]
            b = seen[j, clustering[i] if varying else 0]
            if _may_matter(i, j, best[j], sketch, a, b, clustering, reach):
                needed = _needed(best[j], a, b)
                shared = 0
                for w in range(first[j], first[j + 1]):
                    if as_bits:
                        if shared + rest[w] <= needed:
                            break
                        shared += np.int64(_ones(np.uint64(dense[place[w]] & content[w])))  # type: ignore[assignment]
                    else:
                        shared += np.int64(min(dense[place[w]], content[w]))  # type: ignore[assignment]
                value = _index(shared, a, b)
                if value > best[j]:
                    best[j], link[j] = value, i
        for w in range(first[i], first[i + 1]):
            dense[place[w]] = 0
        i, m = _take(left, n, best, link, ends, index, m)
    return m
