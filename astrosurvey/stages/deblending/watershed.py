"""Multi-threshold deblending on a watershed: split where both sides of a saddle stand out enough.

Every pixel of an island belongs to the basin of the peak that steepest ascent leads to. Basins are then
joined across their saddles, highest saddle first. Where two branches meet, both are real sources if
each of them, above the lowest threshold at which they are still apart, has enough flux, enough pixels
and enough height; otherwise the lesser one was a bump on the other. That is the multi-threshold tree of
Bertin & Arnouts without labelling the image once per threshold: cost and memory are linear in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Mode = Literal["exponential", "linear", "sinh"]
SINH_SCALE = 0.25


@dataclass(frozen=True)
class Criteria:
    """What makes a branch a source of its own.

    Attributes:
        contrast: fraction of the island's flux that the branch must hold above the threshold, or
        dip: the saddle must lie at or below this fraction of the peak, so that a faint source beside a
            bright one counts although it is a small part of the island; 0 leaves contrast to decide alone.
        prominence: height of its peak above the saddle, in standard deviations of the smoothed noise.
        min_pixels: pixels the branch must have above the threshold.
        levels: number of thresholds between the island's least and greatest value.
        mode: how they are spaced.
    """

    contrast: float
    dip: float
    prominence: float
    min_pixels: int
    levels: int
    mode: Mode


def deblend(labels: np.ndarray, flux: np.ndarray, noise: np.ndarray, criteria: Criteria) -> tuple[np.ndarray, np.ndarray]:
    """Split the islands of a segmentation.

    Args:
        labels: (y, x) int, 0 for sky; islands 1 to n.
        flux: (y, x) smoothed flux per pixel.
        noise: (y, x) standard deviation of the smoothed flux.
        criteria: when to split.

    Returns:
        pieces: (y, x) int32, 0 for sky, pieces 1 to m in the raster order of their peaks; an island that was not split is one piece.
        parent: (m,) int, the island each piece came from.

    References:
        Bertin & Arnouts (1996), A&AS 117, 393; Meyer (1994), Signal Processing 38, 113.
    """
    where = np.flatnonzero(labels)
    if where.size == 0:
        return np.zeros(labels.shape, np.int32), np.zeros(0, np.int64)
    island = labels.ravel()[where].astype(np.int64) - 1
    n = int(island.max()) + 1
    values = flux.ravel()[where].astype(float)
    basin, peaks, edges = _basins(labels, where, values)
    sigma = noise.ravel()[where].astype(float)
    thresholds = _thresholds(values, sigma, island, n, criteria)
    tree = _Branches(basin, island, values, peaks, thresholds)
    floor = criteria.contrast * np.maximum(np.bincount(island, np.maximum(values, 0), n), 0)
    height = criteria.prominence * sigma[peaks]
    owner = _join(tree, edges, island[peaks], floor, height, criteria)
    roots, piece = np.unique(owner, return_inverse=True)
    pieces = np.zeros(labels.size, np.int32)
    pieces[where] = piece[basin] + 1
    return pieces.reshape(labels.shape), island[peaks][roots] + 1


def _basins(labels: np.ndarray, where: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[tuple[float, int, int]]]:
    """Return each pixel's basin, each basin's peak pixel, and (saddle, basin, basin) from the highest saddle down."""
    ny, nx = labels.shape
    rank = np.full((ny + 2) * (nx + 2), -1, np.int64)
    group = np.zeros(rank.size, labels.dtype)
    y, x = np.divmod(where, nx)
    padded = (y + 1) * (nx + 2) + x + 1
    order = np.argsort(values, kind="stable")
    ranks = np.empty(where.size, np.int64)
    ranks[order] = np.arange(where.size)  # a strict order: plateaus have no ties
    rank[padded] = ranks
    group[padded] = labels.ravel()[where]

    best = ranks.copy()
    forward = (1, nx + 1, nx + 2, nx + 3)  # to the east, south-west, south and south-east
    for step in forward:
        for near in (padded + step, padded - step):
            np.maximum(best, np.where(group[near] == group[padded], rank[near], -1), out=best)
    up = order[best]
    while True:  # pointer doubling: each round doubles the length of the path
        further = up[up]
        if np.array_equal(further, up):
            break
        up = further
    peaks, basin = np.unique(up, return_inverse=True)

    highest: dict[tuple[int, int], float] = {}
    for step in forward:
        near = padded + step
        first = np.flatnonzero(group[near] == group[padded])
        second = order[rank[near[first]]]
        across = basin[first] != basin[second]
        first, second = first[across], second[across]
        low, high = np.minimum(basin[first], basin[second]), np.maximum(basin[first], basin[second])
        for saddle, i, j in zip(np.minimum(values[first], values[second]).tolist(), low.tolist(), high.tolist(), strict=True):
            if saddle > highest.get((i, j), -np.inf):
                highest[i, j] = saddle
    edges = [(saddle, i, j) for (i, j), saddle in highest.items()]
    return basin, peaks, sorted(edges, key=lambda edge: (-edge[0], edge[1], edge[2]))


def _thresholds(values: np.ndarray, sigma: np.ndarray, island: np.ndarray, n: int, criteria: Criteria) -> np.ndarray:
    """Return the (island, level) thresholds, rising, from the island's noise or least value, if that is more, to its greatest value."""
    least, quietest, greatest = np.full(n, np.inf), np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(least, island, values)
    np.minimum.at(quietest, island, sigma)
    np.maximum.at(greatest, island, values)
    # Smoothed less than for the detection, islands hold pixels at or below zero, from which no ratio can be taken.
    least = np.where(quietest < greatest, np.maximum(least, quietest), least)
    least, greatest = np.where(np.isfinite(least), least, 0), np.where(np.isfinite(greatest), greatest, 0)
    step = np.arange(1, criteria.levels + 1) / (criteria.levels + 1)
    span = (greatest - least)[:, None]
    linear = least[:, None] + span * step
    if criteria.mode == "sinh":
        return least[:, None] + span * np.sinh(step / SINH_SCALE) / np.sinh(1 / SINH_SCALE)
    if criteria.mode == "exponential":
        positive = least > 0
        start = np.where(positive, least, 1.0)
        ratio = np.where(positive, greatest, 1.0) / start
        return np.where(positive[:, None], start[:, None] * ratio[:, None] ** step, linear)
    return linear


class _Branches:
    """Flux and pixels above every threshold, peak height, for each branch while branches are joined."""

    def __init__(self, basin: np.ndarray, island: np.ndarray, values: np.ndarray, peaks: np.ndarray, thresholds: np.ndarray) -> None:
        n, levels = len(peaks), thresholds.shape[1]
        above = np.zeros(values.size, np.int64)  # how many of the island's thresholds a pixel exceeds
        for level in range(levels):
            above += values > thresholds[island, level]
        at = basin * (levels + 1) + above
        shape = (n, levels + 1)
        pixels = np.bincount(at, minlength=n * (levels + 1)).reshape(shape)
        flux = np.bincount(at, values, n * (levels + 1)).reshape(shape)
        self.pixels = np.cumsum(pixels[:, ::-1], axis=1)[:, ::-1][:, 1:].copy()
        self.flux = np.cumsum(flux[:, ::-1], axis=1)[:, ::-1][:, 1:].copy()
        self.peak = values[peaks]
        self.thresholds = thresholds

    def join(self, a: int, b: int) -> None:
        """Add branch b to branch a."""
        self.pixels[a] += self.pixels[b]
        self.flux[a] += self.flux[b]


def _join(
    tree: _Branches, edges: list[tuple[float, int, int]], island: np.ndarray, floor: np.ndarray, height: np.ndarray, criteria: Criteria
) -> np.ndarray:
    """Return the basin that stands for each basin's source, after joining across all saddles."""
    n = len(island)
    branch, source = list(range(n)), list(range(n))
    split = [False] * n
    top = list(range(n))  # the basin with a branch's highest peak
    levels = tree.thresholds.shape[1]

    def real(a: int, level: int, threshold: float, saddle: float, k: int) -> bool:
        peak = tree.peak[top[a]]
        if peak - saddle < height[top[a]] or tree.pixels[a, level] < criteria.min_pixels:
            return False
        if criteria.dip and saddle <= criteria.dip * peak:
            return True
        return bool(tree.flux[a, level] - threshold * tree.pixels[a, level] >= floor[k])

    for saddle, i, j in edges:
        a, b = _root(branch, i), _root(branch, j)
        if a == b:
            continue
        k = int(island[i])
        level = int(np.searchsorted(tree.thresholds[k], saddle, side="left"))
        apart = level < levels
        threshold = float(tree.thresholds[k, level]) if apart else 0.0
        stands = [split[c] or (apart and real(c, level, threshold, saddle, k)) for c in (a, b)]
        if not all(stands):
            p, q = _root(source, i), _root(source, j)
            source[max(p, q)] = min(p, q)
        if tree.peak[top[b]] > tree.peak[top[a]]:
            top[a] = top[b]
        split[a] = split[a] or split[b] or all(stands)
        tree.join(a, b)
        branch[b] = a
    return np.array([_root(source, i) for i in range(n)])


def _root(forest: list[int], i: int) -> int:
    while forest[i] != i:
        forest[i] = forest[forest[i]]
        i = forest[i]
    return i
