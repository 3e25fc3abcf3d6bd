"""Which pieces of a blend stand against the light around them; the others are absorbed by their neighbours.

A knot in a spiral arm rises out of the noise as a companion does. What tells it apart is the galaxy: a source as
bright as the knot would be next to nothing of the light of its piece and of those that touch it, while companions
that can be seen at all are more. The light around is that of neighbours, not of the island, so that the number
of sources in a crowd has no bound; and as pieces are absorbed it grows to that of the whole galaxy.
"""

from __future__ import annotations

import numpy as np

from ...kernels._islands import listed, renumbered, root
from ...kernels._numba import helper, serial

EXTENDED = 10.0
"""How much more flux above its saddle an extended piece needs than a compact one has in a source as high as its peak."""


def standing(
    pieces: np.ndarray, parent: np.ndarray, bright: np.ndarray, light: np.ndarray, area: float, contrast: float
) -> tuple[np.ndarray, np.ndarray]:
    """Absorb what is too little beside the light around it, from the lowest rise upwards, until all that is left stands.

    A piece meets its siblings, the pieces of the same parent, at saddles. It stands if a point source that rises
    as high as its peak above its highest saddle has a flux of at least `contrast` times the light of the
    piece and of the siblings that touch it, or if its own flux above that saddle is `EXTENDED` times as much. If not,
    the sibling across that saddle absorbs it.

    Args:
        pieces: (y, x) int32, 0 for sky, pieces 1 to m.
        parent: (m,) int, what each is a piece of.
        bright: (y, x) float32, finite, the image that they were found in.
        light: (y, x) float32, finite, the flux per pixel.
        area: flux of a point source over its peak, in `bright` (pixels).
        contrast: flux needed, as a fraction of the light around.

    Returns:
        the pieces, numbered anew in the same order, and their parents.

    References:
        Edelsbrunner, Letscher & Zomorodian (2002), Discrete Comput. Geom. 28, 511.
    """
    siblings = np.bincount(parent, minlength=1)[parent] > 1
    if contrast == 0 or not siblings.any():
        return pieces, parent
    first, pixel = listed(pieces, np.concatenate([[False], siblings]))
    first = first[1:]
    flat = bright.reshape(-1)
    top, own = _profiles(first, pixel, flat, light.reshape(-1))
    pair, saddle = _meetings(pixel, pieces, parent, flat)
    order = np.lexsort((-saddle, pair))
    pair, saddle = pair[order], saddle[order]
    highest = np.concatenate([[True], pair[1:] != pair[:-1]])[: pair.size]
    one, two = np.divmod(pair[highest], parent.size)
    tree = np.arange(parent.size)
    _absorb((one, two, saddle[highest]), top, own, (first, pixel), flat, area, contrast, tree)
    left = tree == np.arange(tree.size)
    number = np.concatenate([[0], np.cumsum(left)[tree]]).astype(np.int32)
    return renumbered(pieces, number), parent[left]


@serial
def _profiles(first: np.ndarray, pixel: np.ndarray, bright: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the peak, (m,) float32, and the light, (m,) float64, of each piece whose pixels are listed."""
    m = first.size - 1
    top, own = np.zeros(m, np.float32), np.zeros(m)
    for k in range(m):
        for i in pixel[first[k] : first[k + 1]]:
            top[k] = max(top[k], bright[i])
            own[k] += max(light[i], np.float32(0))
    return top, own


@serial
def _meetings(pixel: np.ndarray, pieces: np.ndarray, parent: np.ndarray, bright: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return wherever two siblings touch: the pair as first * m + second, from 0, and the brightness at which they do, never below 0."""
    ny, nx = pieces.shape
    m, n = parent.size, 0
    pair, saddle = np.empty(4 * pixel.size, np.int64), np.empty(4 * pixel.size, np.float32)
    for i in pixel:
        y, x = i // nx, i % nx
        p = pieces[y, x] - 1
        for k in range(4):  # the neighbours that come after it
            v, u = y + (k > 0), (x + 1 if k == 0 else x + k - 2)
            q = pieces[v, u] - 1 if v < ny and 0 <= u < nx else -1
            if q >= 0 and q != p and parent[q] == parent[p]:
                pair[n] = np.int64(min(p, q)) * m + max(p, q)
                saddle[n] = max(min(bright[i], bright[v * nx + u]), np.float32(0))
                n += 1
    return pair[:n].copy(), saddle[:n].copy()


@serial
def _absorb(
    meetings: tuple[np.ndarray, np.ndarray, np.ndarray],
    top: np.ndarray,
    own: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray],
    bright: np.ndarray,
    area: float,
    contrast: float,
    tree: np.ndarray,
) -> None:
    """Absorb pieces in rounds, in each from the lowest rise upwards; `tree` then leads to the piece that each is part of.

    Args:
        meetings: two pieces and their highest saddle, of every two that touch.
        top: (m,) peaks.
        own: (m,) light.
        parts: where each piece's pixels begin, and the pixels.
        bright: (pixel,).
        area: see `standing`.
        contrast: see `standing`.
        tree: (m,), each its own number.
    """
    one, two, saddle = meetings
    m = top.size
    following, end = np.full(m, -1), np.arange(m)  # the pieces that a piece has absorbed are a chain from it
    rise, across, around = np.empty(m, np.float32), np.empty(m, np.int64), np.empty(m)
    changed = True
    while changed:
        changed = False
        one, two, saddle = _joined(one, two, saddle, tree)
        rise[:], across[:], around[:] = np.float32(np.inf), -1, 0.0
        for e in range(one.size):
            p, q = one[e], two[e]
            around[p] += own[q]
            around[q] += own[p]
            for k, other in ((p, q), (q, p)):
                if across[k] < 0 or top[k] - saddle[e] < rise[k]:
                    rise[k], across[k] = top[k] - saddle[e], other
        grown = np.zeros(m, np.bool_)
        for k in np.argsort(rise, kind="mergesort"):
            if across[k] < 0:
                break
            needed = contrast * (own[k] + around[k])
            if grown[k] or rise[k] * area >= needed or _above(k, top[k] - rise[k], parts, bright, following) >= EXTENDED * needed:
                continue
            into = root(tree, across[k])
            tree[k] = into
            following[end[into]], end[into] = k, end[k]
            own[into] += own[k]
            top[into] = max(top[into], top[k])
            grown[into] = changed = True
    for k in range(m):
        tree[k] = root(tree, k)


@helper
def _joined(one: np.ndarray, two: np.ndarray, saddle: np.ndarray, tree: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the meetings of what pieces are now part of, the highest of every two."""
    m = tree.size
    key = np.empty(one.size, np.int64)
    for e in range(one.size):
        p, q = root(tree, one[e]), root(tree, two[e])
        key[e] = min(p, q) * m + max(p, q)
    order = np.argsort(key, kind="mergesort")
    n = -1
    first, second, high = np.empty_like(one), np.empty_like(two), np.empty_like(saddle)
    last = np.int64(-1)
    for e in order:
        p, q = key[e] // m, key[e] % m
        if p == q:
            continue
        if key[e] != last:
            n += 1
            first[n], second[n], high[n], last = p, q, saddle[e], key[e]
        high[n] = max(high[n], saddle[e])
    return first[: n + 1], second[: n + 1], high[: n + 1]


@helper
def _above(piece: int, saddle: np.float32, parts: tuple[np.ndarray, np.ndarray], bright: np.ndarray, following: np.ndarray) -> float:
    """Return the flux of a piece above a level."""
    first, pixel = parts
    flux = 0.0
    while piece >= 0:
        for i in pixel[first[piece] : first[piece + 1]]:
            flux += max(bright[i] - saddle, np.float32(0))
        piece = following[piece]
    return flux
