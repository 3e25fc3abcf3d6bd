"""How alike clusters of different clusterings are, and the tree of the greatest likenesses.

The Jaccard index of two clusters is what they share over what they hold together, sum min(a, b) / sum max(a, b). Of all pairs'
indices only a maximum spanning tree is kept: the groups that single linkage makes at any threshold are the tree's. It is grown by
Prim's method, a cluster at a time, so no list of pairs is ever made: memory goes with the members, not with pairs.

Members are held as bits, 64 points a word, with points that stay together side by side. Comparing two
clusters then reads a few words; and pairs that cannot matter are passed over by their sizes alone, for
the index is at most the smaller size over the larger.

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


def tree(clusterings: Clusterings, window: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a maximum spanning forest of the clusters under their Jaccard index.

    Two clusters of one clustering are never compared: they are two things. Where a clustering did not see all
    points, two clusters are compared by the points that both clusterings saw.

    Args:
        clusterings: of c clusters.
        window: clusterings less than this far apart in their order are compared; 0 for all.

    Returns:
        (edge, 2) int32, clusters that are connected.
        (edge,) float64, their Jaccard index, above 0; edges from the greatest index down.
    """
    c = len(clusterings)
    ends, index = np.zeros((max(c - 1, 0), 2), np.int32), np.zeros(max(c - 1, 0))
    if c < 2:
        return ends, index
    seen, varying = _seen(clusterings)
    reach = window if window > 0 else clusterings.n_clusterings
    if clusterings.weight is None:
        first, word, bits, sketch = _packed(clusterings)
        edges = _grow_bits(first, word, bits, sketch, _words(clusterings), seen, varying, clusterings.clustering, reach, ends, index)
    else:
        place = np.asarray(_together(clusterings), np.int32)
        weights = (clusterings.first, clusterings.point, clusterings.weight)
        edges = _grow_weights(*weights, _sketch(clusterings, place), clusterings.n_points, seen, varying, clusterings.clustering, reach, ends, index)
    order = np.lexsort([ends[:edges, 1], ends[:edges, 0], -index[:edges]])
    return ends[:edges][order], index[:edges][order]


def _seen(clusterings: Clusterings) -> tuple[np.ndarray, bool]:
    """Return (c, clustering) the weight of each cluster's members that each clustering saw; (c, 1) where all saw all."""
    weight = np.ones(len(clusterings.point), np.int64) if clusterings.weight is None else clusterings.weight.astype(np.int64)
    if clusterings.present is None:
        return np.add.reduceat(weight, clusterings.first[:-1])[:, None], False
    seen = np.empty((len(clusterings), clusterings.n_clusterings), np.int64)
    for other in range(clusterings.n_clusterings):
        seen[:, other] = np.add.reduceat(weight * clusterings.present[other][clusterings.point], clusterings.first[:-1])
    return seen, True


def _words(clusterings: Clusterings) -> int:
    return (clusterings.n_points + 63) // 64


def _together(clusterings: Clusterings) -> np.ndarray:
    """Return (point,) a place for each point, near to those of points that share its clusters; only speed hangs on it."""
    keys = []
    for guide in np.linspace(0, clusterings.n_clusterings - 1, GUIDES).astype(int):
        label = np.full(clusterings.n_points, -1, np.int32)
        for cluster in np.flatnonzero(clusterings.clustering == guide):  # the largest first, so the smallest has the last word
            label[clusterings.members(cluster)] = cluster
        keys.append(label)
    place = np.empty(clusterings.n_points, np.int64)
    place[np.lexsort(keys)] = np.arange(clusterings.n_points)
    return place


def _packed(clusterings: Clusterings) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the members of all clusters as words of bits: where each cluster's begin, their numbers, their bits, and a sketch of each."""
    place = _together(clusterings)
    first = np.zeros(len(clusterings) + 1, np.int64)
    dense = np.zeros(_words(clusterings), np.uint64)
    nothing = np.zeros(0, np.int32), np.zeros(0, np.uint64)
    _pack(clusterings.first, clusterings.point, place, dense, first, *nothing)
    word, bits = np.empty(first[-1], np.int32), np.empty(first[-1], np.uint64)
    _pack(clusterings.first, clusterings.point, place, dense, first, word, bits)
    return first, word, bits, _sketch(clusterings, place)


@serial
def _pack(
    begins: np.ndarray, point: np.ndarray, place: np.ndarray, dense: np.ndarray, first: np.ndarray, word: np.ndarray, bits: np.ndarray
) -> None:
    """Write each cluster's words that have a bit set; only where they begin if there is no room for them. `dense` is zero, and left so."""
    n = 0
    for cluster in range(begins.size - 1):
        for k in range(begins[cluster], begins[cluster + 1]):
            at = place[point[k]]
            dense[at >> 6] |= np.uint64(1) << np.uint64(at & 63)
        for k in range(begins[cluster], begins[cluster + 1]):
            number = place[point[k]] >> 6
            if dense[number]:
                if word.size:
                    word[n], bits[n] = number, dense[number]
                dense[number] = np.uint64(0)
                n += 1
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
def _take(left: np.ndarray, n: int, best: np.ndarray, link: np.ndarray, ends: np.ndarray, index: np.ndarray, m: int) -> tuple[int, int]:
    """Take the cluster most like one in the tree out of those left, the first of equals, write its edge, and return it and the edges."""
    at = 0
    for k in range(1, n):
        if best[left[k]] > best[left[at]] or (best[left[k]] == best[left[at]] and left[k] < left[at]):
            at = k
    taken = left[at]
    left[at] = left[n - 1]
    if best[taken] > 0.0:
        ends[m, 0], ends[m, 1] = min(taken, link[taken]), max(taken, link[taken])
        index[m] = best[taken]
        m += 1
    return taken, m


@serial
def _grow_bits(
    first: np.ndarray,
    word: np.ndarray,
    bits: np.ndarray,
    sketch: np.ndarray,
    words: int,
    seen: np.ndarray,
    varying: bool,
    clustering: np.ndarray,
    reach: int,
    ends: np.ndarray,
    index: np.ndarray,
) -> int:
    c = clustering.size
    best, link, left = np.zeros(c), np.zeros(c, np.int32), np.arange(1, c + 1)
    dense = np.zeros(words, np.uint64)
    i, m = 0, 0
    for n in range(c - 1, 0, -1):
        for w in range(first[i], first[i + 1]):
            dense[word[w]] = bits[w]
        for k in range(n):
            j = left[k]
            a = seen[i, clustering[j] if varying else 0]
            b = seen[j, clustering[i] if varying else 0]
            if _may_matter(i, j, best[j], sketch, a, b, clustering, reach):
                shared = np.uint64(0)
                for w in range(first[j], first[j + 1]):
                    shared += _ones(dense[word[w]] & bits[w])
                value = _index(np.int64(shared), a, b)
                if value > best[j]:
                    best[j], link[j] = value, i
        for w in range(first[i], first[i + 1]):
            dense[word[w]] = np.uint64(0)
        i, m = _take(left, n, best, link, ends, index, m)
    return m


@serial
def _grow_weights(
    first: np.ndarray,
    point: np.ndarray,
    weight: np.ndarray,
    sketch: np.ndarray,
    points: int,
    seen: np.ndarray,
    varying: bool,
    clustering: np.ndarray,
    reach: int,
    ends: np.ndarray,
    index: np.ndarray,
) -> int:
    c = clustering.size
    best, link, left = np.zeros(c), np.zeros(c, np.int32), np.arange(1, c + 1)
    dense = np.zeros(points, np.uint16)
    i, m = 0, 0
    for n in range(c - 1, 0, -1):
        for w in range(first[i], first[i + 1]):
            dense[point[w]] = weight[w]
        for k in range(n):
            j = left[k]
            a = seen[i, clustering[j] if varying else 0]
            b = seen[j, clustering[i] if varying else 0]
            if _may_matter(i, j, best[j], sketch, a, b, clustering, reach):
                shared = 0
                for w in range(first[j], first[j + 1]):
                    shared += min(dense[point[w]], weight[w])
                value = _index(shared, a, b)
                if value > best[j]:
                    best[j], link[j] = value, i
        for w in range(first[i], first[i + 1]):
            dense[point[w]] = np.uint16(0)
        i, m = _take(left, n, best, link, ends, index, m)
    return m
