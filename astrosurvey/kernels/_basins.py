"""The CPU's way to flood islands: basins of steepest ascent, joined at the pixels where they meet.

A pixel joins the branch of its brightest neighbour, so all pixels above which there is one peak, its basin,
stay together; only where basins meet can anything happen. Instead of all pixels, the meetings are sorted,
of which there is one for every two basins that touch. What a branch holds above a saddle is counted when it is asked.
"""

from __future__ import annotations

import numpy as np

from ._islands import falling, root
from ._numba import helper, parallel, prange, serial


@parallel
def ascend(labels: np.ndarray, bright: np.ndarray, up: np.ndarray, peaks: np.ndarray) -> None:
    """Find the brightest neighbour of each pixel among those brighter than itself, of equals the first.

    Args:
        labels: (y, x) int32, 0 for sky.
        bright: (y, x) float32, finite.
        up: (y, x) int32, receives the neighbour's flat index, or the pixel's own for a peak; what it receives in the sky means nothing.
        peaks: (y,) int32, receives the number of peaks in each row.
    """
    ny, nx = labels.shape
    for y in prange(ny):
        best, at = bright[y].copy(), up[y]
        for x in range(nx):
            at[x] = np.int32(y * nx + x)
        for v in range(max(y - 1, 0), min(y + 2, ny)):
            for shift in range(-1, 2):
                to, there = slice(max(-shift, 0), nx - max(shift, 0)), slice(max(shift, 0), nx - max(-shift, 0))
                _look(labels[y, to], labels[v, there], bright[v, there], np.int32(v * nx + there.start), best[to], at[to])
        n = 0
        for x in range(nx):
            n += (labels[y, x] > 0) & (at[x] == y * nx + x)
        peaks[y] = n


@helper
def _look(mine, theirs, bright, first, best, at):  # type: ignore[no-untyped-def]
    """Take what is brighter than the best so far from pixels that begin at index `first`; a loop that a compiler can vectorise."""
    for j in range(best.size):
        there = np.int32(first + j)
        taken = (theirs[j] == mine[j]) & ((bright[j] > best[j]) | ((bright[j] == best[j]) & (there < at[j])))
        best[j] = bright[j] if taken else best[j]
        at[j] = there if taken else at[j]


@parallel
def list_peaks(labels: np.ndarray, up: np.ndarray, start: np.ndarray, peak: np.ndarray) -> None:
    """List the flat indices of the peaks, which begin at start[y] for row y, in raster order."""
    ny, nx = labels.shape
    for y in prange(ny):
        at = start[y]
        for x in range(nx if start[y + 1] > start[y] else 0):
            if labels[y, x] > 0 and up[y, x] == y * nx + x:
                peak[at] = y * nx + x
                at += 1


def find_peaks(labels: np.ndarray, bright: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel ascends to, as of `ascend`, and the flat indices of the peaks, in raster order."""
    up, start = np.empty_like(labels), np.zeros(len(labels) + 1, np.int32)
    ascend(labels, bright, up, start[1:])
    peak = np.empty(np.cumsum(start, out=start)[-1], np.int32)
    list_peaks(labels, up, start, peak)
    return up, peak


@serial
def contested(
    peak: np.ndarray, labels: np.ndarray, bright: np.ndarray, height: np.ndarray, top: np.ndarray, rivals: np.ndarray, held: np.ndarray
) -> None:
    """Find each island's brightest pixel, how many peaks might stand out from a saddle, and mark every peak as its own.

    Args:
        peak: (peak,) int32, flat indices, ascending.
        labels: (pixel,) int32.
        bright: (pixel,) float32.
        height: (pixel,) float32.
        top: (n,) int32, -1; receives flat indices.
        rivals: (n,) int32, 0; saddles are never below zero, so of these an island that is split has two.
        held: (pixel,) int32, receives the index of each peak at the peak.
    """
    for p in peak:
        k = labels[p]
        if top[k] < 0 or bright[p] > bright[top[k]]:
            top[k] = p
        rivals[k] += bright[p] >= height[p]
        held[p] = p


@parallel
def join_all(
    first: np.ndarray,
    island: np.ndarray,
    lanes: np.ndarray,
    pixel: np.ndarray,
    labels: np.ndarray,
    bright: np.ndarray,
    height: np.ndarray,
    min_pixels: int,
    up: np.ndarray,
    held: np.ndarray,
) -> None:
    """Join the basins of every listed island; `up` then leads to a pixel's peak, and `held` there to the peak of its piece."""
    for lane in prange(lanes.size - 1):
        for k in island[lanes[lane] : lanes[lane + 1]]:
            if first[k + 1] > first[k]:
                _join(pixel[first[k] : first[k + 1]], k, labels, bright, height, min_pixels, up, held)


@helper
def _join(
    pixel: np.ndarray,
    k: int,
    labels: np.ndarray,
    bright: np.ndarray,
    height: np.ndarray,
    min_pixels: int,
    up: np.ndarray,
    held: np.ndarray,
) -> None:
    flat, flat_up = bright.reshape(-1), up.reshape(-1)
    n = 0
    for p in pixel:
        n += flat_up[p] == p
    peak, parts = np.empty(n, np.int32), (np.zeros(n + 1, np.int32), np.empty(pixel.size, np.int32))
    n = 0
    for p in pixel:
        if flat_up[p] == p:
            peak[n] = p
            held[p] = n
            n += 1
    for p in pixel:
        flat_up[p] = root(flat_up, p)
        parts[0][held[flat_up[p]] + 1] += 1
    _by_basin(pixel, flat_up, held, *parts)

    at, other, one, two = _meetings(pixel, k, labels, bright, up, held, n)
    # A branch is named by the basin with its highest peak, a piece likewise; basins of a branch are a chain from `begin`.
    tree, piece, split = np.arange(n), np.arange(n), np.zeros(n, np.bool_)
    following, end = np.full(n, -1), np.arange(n)
    for e in _in_order(flat, at, other):
        i, a, b = at[e], root(tree, one[e]), root(tree, two[e])
        if a == b:
            continue
        saddle = max(flat[i], np.float32(0))
        both = split[a] or flat[peak[a]] - saddle >= height[peak[a]]
        both = both and (split[b] or flat[peak[b]] - saddle >= height[peak[b]])
        if higher(flat, peak[b], peak[a]):
            a, b = b, a
        both = both and (split[b] or _enough(b, i, flat, min_pixels, parts, following))
        both = both and (split[a] or _enough(a, i, flat, min_pixels, parts, following))
        if not both:
            p, q = root(piece, one[e]), root(piece, two[e])
            if higher(flat, peak[q], peak[p]):
                p, q = q, p
            piece[q] = p
        tree[b] = a
        split[a] = split[a] or split[b] or both
        following[end[a]] = b
        end[a] = end[b]
    for j in range(n):
        held[peak[j]] = peak[root(piece, j)]


@helper
def higher(bright: np.ndarray, i: int, j: int) -> bool:
    """Return whether pixel i comes before pixel j: brighter, or of equals the first."""
    return bright[i] > bright[j] or (bright[i] == bright[j] and i < j)


@helper
def _by_basin(pixel: np.ndarray, up: np.ndarray, held: np.ndarray, first: np.ndarray, part: np.ndarray) -> None:
    """List an island's pixels by basin, given the number of pixels of basin j in first[j + 1]."""
    for j in range(1, first.size):
        first[j] += first[j - 1]
    at = first.copy()
    for p in pixel:
        j = held[up[p]]
        part[at[j]] = p
        at[j] += 1


@helper
def _enough(branch: int, i: int, bright: np.ndarray, min_pixels: int, parts: tuple[np.ndarray, np.ndarray], following: np.ndarray) -> bool:
    """Return whether a branch has the pixels above the saddle i that it needs."""
    first, part = parts
    pixels = 0
    basin = branch
    while basin >= 0 and pixels < min_pixels:
        for p in part[first[basin] : first[basin + 1]]:
            pixels += bright[p] > 0 and higher(bright, p, i)
        basin = following[basin]
    return bool(pixels >= min_pixels)


@helper
def _meetings(
    pixel: np.ndarray, k: int, labels: np.ndarray, bright: np.ndarray, up: np.ndarray, held: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return where any two basins meet first, by descending brightness.

    Returns:
        at: (meeting,) int32, flat index of the pixel, which is in one of the basins.
        other: its brightest neighbour in the other basin.
        one: that basin's number.
        two: the other's.
    """
    ny, nx = labels.shape
    flat, flat_up = bright.reshape(-1), up.reshape(-1)
    size = 16
    while size < 8 * n:
        size *= 2
    key = np.full(size, -1, np.int64)  # a hash table of pairs of basins
    at, other = np.empty(size, np.int32), np.empty(size, np.int32)
    used = 0
    for i in pixel:
        y, x = i // nx, i % nx
        mine = flat_up[i]
        for v in range(max(y - 1, 0), min(y + 2, ny)):
            for u in range(max(x - 1, 0), min(x + 2, nx)):
                j = v * nx + u
                if labels[v, u] != k or flat_up[j] == mine or not higher(flat, j, i):
                    continue
                pair = _pair(held[mine], held[flat_up[j]], n)
                place = _place(key, pair)
                if key[place] < 0:
                    if 2 * used >= key.size:
                        key, at, other = _grown(key, at, other)
                        place = _place(key, pair)
                    key[place], at[place], other[place] = pair, i, j
                    used += 1
                elif higher(flat, i, at[place]) or (i == at[place] and higher(flat, j, other[place])):
                    at[place], other[place] = i, j
    there = np.flatnonzero(key >= 0)
    at, other = at[there], other[there]
    one, two = np.empty(there.size, np.int32), np.empty(there.size, np.int32)
    for e in range(there.size):
        one[e], two[e] = held[flat_up[at[e]]], held[flat_up[other[e]]]
    return at, other, one, two


@helper
def _pair(a: int, b: int, n: int) -> int:
    return int(np.int64(min(a, b)) * np.int64(n) + np.int64(max(a, b)))


@helper
def _place(key: np.ndarray, pair: int) -> int:
    """Return where a pair is in the table, or is to be put."""
    place = np.int64((np.uint64(pair) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & (key.size - 1)
    while key[place] != -1 and key[place] != pair:
        place = (place + 1) & (key.size - 1)
    return int(place)


@helper
def _grown(key: np.ndarray, at: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = 2 * key.size
    wide, at_wide, other_wide = np.full(size, -1, np.int64), np.empty(size, np.int32), np.empty(size, np.int32)
    for e in range(key.size):
        if key[e] >= 0:
            place = _place(wide, key[e])
            wide[place], at_wide[place], other_wide[place] = key[e], at[e], other[e]
    return wide, at_wide, other_wide


@helper
def _in_order(bright: np.ndarray, at: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the order of meetings by their pixel and, at one pixel, by the neighbour: the brightest first, of equals the first."""
    bits = bright.view(np.uint32)
    keys = np.empty(at.size, np.uint64)
    for e in range(at.size):
        keys[e] = np.uint64(falling(bits[at[e]])) << np.uint64(32) | np.uint64(at[e])
    order = np.argsort(keys)
    for e in range(1, order.size):
        i = order[e]
        j = e
        while j > 0 and at[order[j - 1]] == at[i] and higher(bright, other[i], other[order[j - 1]]):
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
    return order


@serial
def number_pieces(peak: np.ndarray, labels: np.ndarray, wanted: np.ndarray, top: np.ndarray, held: np.ndarray, number: np.ndarray) -> int:
    """Number the pieces in the raster order of their peaks.

    Args:
        peak: (peak,) int32, flat indices, ascending.
        labels: (pixel,) int32.
        wanted: (n,) bool, which islands have been joined basin by basin; the others are one piece.
        top: (n,) int32, flat index of each island's brightest pixel; receives the number of an island's only piece.
        held: (pixel,) int32, at each peak the index of its piece's peak; receives the number of its piece there.
        number: (peak,) int32, receives the flat index of the peak of each piece, in order.

    Returns:
        how many there are.
    """
    n = 0
    for p in peak:
        k = labels[p]
        if held[p] == p and (wanted[k] or top[k] == p):
            number[n] = p
            n += 1
    for i in range(peak.size):  # peaks that are no piece's are looked up in those that are
        p = peak[i]
        if wanted[labels[p]]:
            held[p] = np.searchsorted(number[:n], held[p]) + 1
    for i in range(n):
        if not wanted[labels[number[i]]]:
            top[labels[number[i]]] = i + 1
    return n


@parallel
def paint_pieces(labels: np.ndarray, wanted: np.ndarray, only: np.ndarray, up: np.ndarray, held: np.ndarray, pieces: np.ndarray) -> None:
    """Write the number of its piece to each pixel, 0 to the sky."""
    for y in prange(labels.shape[0]):
        for x in range(labels.shape[1]):
            k = labels[y, x]
            if k <= 0:
                pieces[y, x] = 0
            else:
                pieces[y, x] = held[up[y, x]] if wanted[k] else only[k]
