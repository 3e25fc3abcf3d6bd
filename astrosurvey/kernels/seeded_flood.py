"""Flooding from seeds: each pixel of an island goes to one of the seeds in it.

Pixels are flooded from the brightest down. Each joins the trees of its brighter neighbours, the brightest
neighbour's first, unless that would join two seeds: what results is a maximum spanning forest with one
seed in each tree. A seed need not be a peak: one on the shoulder of another keeps what lies below it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _islands as islands
from ._numba import cuda, download, empty, helper, launch, parallel, prange, upload
from .spec import KernelSpec, Launch

THREADS = 64


def reference(labels: np.ndarray, brightness: np.ndarray, seeds_y: np.ndarray, seeds_x: np.ndarray) -> np.ndarray:
    """Divide the islands of a segmentation among seeds.

    Args:
        labels: (y, x) int, 0 for sky, or bool. Pixels of different islands are not connected; those of a
            mask, or of one label, are where they touch at an edge or a corner.
        brightness: (y, x), from the highest of which flooding starts; what is not finite counts as 0.
        seeds_y: (seed,) int, row of each seed's pixel.
        seeds_x: (seed,) int, column.

    Returns:
        (y, x) int32: i for the pixels of the i-th seed, counted from 1; 0 for sky and for pixels that no
        seed is connected with. A seed outside all islands, or on the pixel of an earlier one, has none.

    Raises:
        ValueError: the shapes differ, or the image has 2**31 pixels or more.

    References:
        Meyer (1994), Signal Processing 38, 113; Cousty et al. (2009), IEEE TPAMI 31, 1362.
    """
    islands.check(labels, brightness)
    labels = labels.astype(np.int32)
    seeds = _seeds(labels, seeds_y, seeds_x)
    where = np.flatnonzero(labels)
    rank = np.full(labels.size, -1)
    order = where[np.argsort(-islands.finite(brightness).ravel()[where], kind="stable")]
    rank[order] = np.arange(order.size)
    rank = np.pad(rank.reshape(labels.shape), 1, constant_values=-1)
    group = np.pad(labels, 1)
    edges: list[tuple[int, int]] = []
    for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
        y, x = np.nonzero((group == np.roll(group, (-dy, -dx), (0, 1))) & (group > 0))
        a, b = rank[y, x], rank[y + dy, x + dx]
        edges += zip(np.maximum(a, b).tolist(), np.minimum(a, b).tolist(), strict=True)
    parent = list(range(order.size))
    seed = seeds.ravel()[order].tolist()

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for fainter, brighter in sorted(edges):
        i, j = root(fainter), root(brighter)
        if i != j and not (seed[i] and seed[j]):
            parent[i] = j
            seed[j] = seed[i] or seed[j]
    result = np.zeros(labels.size, np.int32)
    result[order] = [seed[root(i)] for i in range(order.size)]
    return result.reshape(labels.shape)


def _seeds(labels: np.ndarray, seeds_y: np.ndarray, seeds_x: np.ndarray) -> np.ndarray:
    """Return (y, x) int32 with each seed's number on its pixel."""
    seeds = np.zeros(labels.shape, np.int32)
    y, x, number = _inside(labels, seeds_y, seeds_x)
    seeds[y, x] = number
    return seeds


def _inside(labels: np.ndarray, seeds_y: np.ndarray, seeds_x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the position and number of the seeds that lie in islands, the last first, so that the first is written last."""
    y, x = np.asarray(seeds_y, np.int64)[::-1], np.asarray(seeds_x, np.int64)[::-1]
    number = np.arange(y.size, 0, -1)
    keep = (y >= 0) & (x >= 0) & (y < labels.shape[0]) & (x < labels.shape[1])
    keep[keep] = labels[y[keep], x[keep]] > 0
    return y[keep], x[keep], number[keep]


def cpu(labels: np.ndarray, brightness: np.ndarray, seeds_y: np.ndarray, seeds_x: np.ndarray) -> np.ndarray:
    """Divide the islands of a segmentation among seeds; see `reference`. Threaded over islands."""
    found, seed = _prepare(labels, brightness, seeds_y, seeds_x)
    _flood_all(found.first, *islands.deal(np.diff(found.first)), found.pixel, found.slot, seed)
    result = np.empty(labels.shape, np.int32)
    islands.paint(result, found.slot, seed)
    return result


def _prepare(labels: np.ndarray, brightness: np.ndarray, seeds_y: np.ndarray, seeds_x: np.ndarray) -> tuple[islands.Islands, np.ndarray]:
    """Return the pixels of the islands that have seeds, and the number of the seed in each slot."""
    islands.check(labels, brightness)
    if labels.dtype == bool:  # smaller islands flood in parallel
        from .components import cpu as components

        labels, _ = components(labels, 1)
    labels = np.ascontiguousarray(labels, np.int32)
    y, x, number = _inside(labels, seeds_y, seeds_x)
    wanted = np.zeros(int(labels.max(initial=0)) + 1, bool)
    wanted[labels[y, x]] = True
    found = islands.gather(labels, islands.finite(brightness), wanted)
    seed = np.zeros(found.pixel.size, np.int32)
    seed[found.slot[y, x] - 1] = number
    return found, seed


@parallel
def _flood_all(first: np.ndarray, island: np.ndarray, lanes: np.ndarray, pixel: np.ndarray, slot: np.ndarray, seed: np.ndarray) -> None:
    tree = np.empty_like(pixel)
    for lane in prange(lanes.size - 1):
        roots, near = np.empty(8, np.int32), np.empty(8, np.int32)
        for k in island[lanes[lane] : lanes[lane + 1]]:
            _flood(first[k], first[k + 1], pixel, slot, seed, tree, roots, near)


@helper
def _flood(
    first: int, last: int, pixel: np.ndarray, slot: np.ndarray, seed: np.ndarray, tree: np.ndarray, roots: np.ndarray, near: np.ndarray
) -> None:
    """Flood one island; `seed` then holds the number of each pixel's seed."""
    for i in range(first, last):
        n = islands.trees_around(i, first, pixel, slot, tree, roots, near)
        tree[i] = i
        a = i
        for k in range(n):
            b = roots[k]
            if seed[a] and seed[b]:
                continue
            seed[b] = max(seed[a], seed[b])
            tree[a] = b
            a = b
    for i in range(first, last):
        seed[i] = seed[islands.root(tree, i)]


def on_cuda(labels: np.ndarray, brightness: np.ndarray, seeds_y: np.ndarray, seeds_x: np.ndarray) -> np.ndarray:
    """Divide the islands of a segmentation among seeds on the GPU, an island a thread; see `reference`."""
    found, numbers = _prepare(labels, brightness, seeds_y, seeds_x)
    if numbers.size == 0:
        return np.zeros(labels.shape, np.int32)
    first, pixel, slot, seed = (upload(array) for array in (*found, numbers))
    launch(_flood_island, -(-(found.first.size - 1) // THREADS), THREADS, first, pixel, slot, seed, empty(numbers.size, np.int32))
    result = np.empty(labels.shape, np.int32)
    islands.paint(result, found.slot, download(seed))
    return result


def _flood_island(first, pixel, slot, seed, tree):  # type: ignore[no-untyped-def]
    k = cuda.grid(1)
    roots = cuda.local.array(8, np.int32)
    near = cuda.local.array(8, np.int32)
    if k < first.size - 1:
        _flood(first[k], first[k + 1], pixel, slot, seed, tree, roots, near)


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    from scipy import ndimage

    bright = ndimage.gaussian_filter(rng.normal(size=(48, 53)), 1.5).astype(np.float32)
    labels = ndimage.label(bright > -0.02, np.ones((3, 3)))[0].astype(np.int32)
    y, x = rng.integers(-2, 50, (2, 40))
    plateaus = np.round(bright * 10).astype(np.float32)
    dirty = bright.copy()
    dirty[5:15, 10:20] = np.nan
    dirty[30, 30] = np.inf
    touching = (np.arange(53) // 10 + 1 + np.zeros((48, 1))).astype(np.int32)
    row = np.ones((1, 31), np.int32)
    nothing = np.zeros(0, int)
    return [
        (labels, bright, y, x), (labels, plateaus, y, x), (labels, dirty, y, x), (labels > 0, bright, y, x), (touching, plateaus, y, x),
        (row, rng.random((1, 31)).astype(np.float32), np.zeros(3, int), np.array([4, 4, 20])), (row.T, np.ones((31, 1), np.float32), y, x),
        (labels, bright, nothing, nothing), (np.zeros((6, 7), np.int32), bright[:6, :7], y, x),
        (np.ones((6, 7), bool), bright[:6, :7] * 0, y, x),
    ]  # fmt: skip


KERNEL = KernelSpec(
    name="seeded_flood",
    summary="Divide islands among given seeds by flooding from the brightest pixel down.",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(Launch(_flood_island, "void(int32[::1], int32[::1], int32[:,::1], int32[::1], int32[::1])", THREADS),),
    example=_example,
    rtol=0.0,
)
