"""Flooding islands by descending brightness: both sides of a saddle become pieces if each of them persists.

Pixels are flooded from the brightest down. One without a brighter neighbour is a peak and starts a branch;
one between branches is the saddle at which they meet. A branch that stands out too little from the saddle
was a bump: its pixels join the piece across the saddle. Every brightness is a threshold of its own, as if
the image were labelled anew at each; cost and memory are nearly linear in pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _basins as basins
from . import _islands as islands
from ._numba import cuda, download, empty, helper, launch, upload
from .spec import KernelSpec, Launch

THREADS = 64


def reference(labels: np.ndarray, brightness: np.ndarray, height: np.ndarray, min_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Split islands at the saddles whose two sides both stand out.

    Two branches meet at their saddle. Each of them stands if it was split before, or if its peak rises above
    the saddle by the `height` at the peak and it has `min_pixels` pixels above it. Both remain if both stand.
    Saddles below zero count as zero: there, nothing but noise joins the branches.

    Args:
        labels: (y, x) int, 0 for sky. Pixels of different islands are not connected; those of one are where
            they touch at an edge or a corner.
        brightness: (y, x), from the highest of which flooding starts; what is not finite counts as 0.
        height: (y, x) by how much a peak at this pixel has to rise above a saddle; NaN is never reached.
        min_pixels: pixels that it needs.

    Returns:
        (y, x) int32, 0 for sky, pieces 1 to m in the raster order of their peaks; an island that was not
        split is one piece.
        (m,) int32, the label of the island that each piece is part of.

    Raises:
        ValueError: the shapes differ, or the image has 2**31 pixels or more.

    References:
        Bertin & Arnouts (1996), A&AS 117, 393; Meyer (1994), Signal Processing 38, 113;
        Edelsbrunner, Letscher & Zomorodian (2002), Discrete Comput. Geom. 28, 511.
    """
    _check(labels, brightness, height)
    ny, nx = labels.shape
    bright = islands.finite(brightness)
    tree: dict[Any, Any] = {}
    piece: dict[Any, Any] = {}
    pixels: dict[Any, int] = {}
    split: dict[Any, bool] = {}

    def root(forest: dict[Any, Any], at: Any) -> Any:
        while forest[at] != at:
            at = forest[at]
        return at

    def stands(branch: Any, saddle: np.float32) -> bool:
        return split[branch] or bool(bright[branch] - saddle >= np.float32(height[branch]) and pixels[branch] >= min_pixels)

    place = {at: i for i, at in enumerate(sorted(zip(*np.nonzero(labels), strict=True), key=lambda at: (-bright[at], at)))}
    for y, x in place:
        at, k = (y, x), int(labels[y, x])
        near = [(v, u) for v in range(max(y - 1, 0), min(y + 2, ny)) for u in range(max(x - 1, 0), min(x + 2, nx))]
        near = sorted((other for other in near if other in tree and labels[other] == k), key=place.__getitem__)
        tree[at], piece[at] = (root(tree, near[0]), near[0]) if near else (at, at)
        pixels.setdefault(at, 0)
        split.setdefault(at, False)
        for other in near[1:]:
            a, b = root(tree, at), root(tree, other)
            if a == b:
                continue
            both = all(stands(branch, max(bright[at], np.float32(0))) for branch in (a, b))
            if not both:
                p, q = sorted((root(piece, at), root(piece, other)), key=place.__getitem__)
                piece[q] = p
            a, b = sorted((a, b), key=place.__getitem__)
            tree[b] = a
            pixels[a] += pixels[b]
            split[a] = split[a] or split[b] or both
        if bright[at] > 0:
            pixels[root(tree, at)] += 1
    peaks = sorted({root(piece, at) for at in place})
    number = {at: i + 1 for i, at in enumerate(peaks)}
    pieces = np.zeros(labels.shape, np.int32)
    for at in place:
        pieces[at] = number[root(piece, at)]
    return pieces, np.array([labels[at] for at in peaks], np.int32)


def _check(labels: np.ndarray, brightness: np.ndarray, height: np.ndarray) -> None:
    islands.check(labels, brightness)
    if height.shape != labels.shape:
        raise ValueError(f"height {height.shape} and labels {labels.shape} must be images of one shape")


def cpu(labels: np.ndarray, brightness: np.ndarray, height: np.ndarray, min_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Split islands at their saddles; see `reference`. Threaded over islands; those with one high peak cost next to nothing."""
    _check(labels, brightness, height)
    labels, bright = np.ascontiguousarray(labels, np.int32), islands.finite(brightness)
    height = np.ascontiguousarray(height, np.float32).reshape(-1)
    flat = labels.reshape(-1)
    up, peak = basins.find_peaks(labels, bright)
    held = np.empty_like(flat)
    n = int(labels.max(initial=0)) + 1
    top, rivals = np.full(n, -1, np.int32), np.zeros(n, np.int32)
    basins.contested(peak, flat, bright.reshape(-1), height, top, rivals, held)
    wanted = rivals > 1
    if wanted.any():
        first, pixel = islands.listed(labels, wanted)
        basins.join_all(first, *islands.deal(np.diff(first)), pixel, labels, bright, height, min_pixels, up, held)
    number = np.empty_like(peak)
    m = basins.number_pieces(peak, flat, wanted, top, held, number)
    pieces = np.empty_like(labels)
    basins.paint_pieces(labels, wanted, top, up, held, pieces)
    return pieces, flat[number[:m]]


def _numbered(labels: np.ndarray, found: islands.Islands, piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the pieces, so far named by the slots of their peaks, in the raster order of these."""
    peaks = np.flatnonzero(piece == np.arange(piece.size, dtype=np.int32))
    peaks = peaks[np.argsort(found.pixel[peaks])]
    number = np.zeros_like(piece)
    number[peaks] = np.arange(1, peaks.size + 1)
    pieces = np.empty(labels.shape, np.int32)
    islands.paint(pieces, found.slot, number[piece])
    return pieces, labels.reshape(-1)[found.pixel[peaks]].astype(np.int32)


@helper
def _flood(
    first: int,
    last: int,
    pixel: np.ndarray,
    slot: np.ndarray,
    bright: np.ndarray,
    height: np.ndarray,
    min_pixels: int,
    branches: tuple[np.ndarray, np.ndarray, np.ndarray],
    piece: np.ndarray,
    roots: np.ndarray,
    near: np.ndarray,
) -> None:
    """Flood one island; `piece` then holds the slot of the peak of each pixel's piece. A branch's root is its peak."""
    tree, pixels, split = branches
    for i in range(first, last):
        value = bright[pixel[i]]
        saddle = max(value, np.float32(0))
        n = islands.trees_around(i, first, pixel, slot, tree, roots, near)
        a = np.int32(i)
        if n == 0:
            piece[i] = i
            pixels[i] = 0
            split[i] = 0
        else:
            a = roots[0]
            piece[i] = near[0]
        for k in range(1, n):
            b = roots[k]
            both = _stands(a, saddle, pixel, bright, height, min_pixels, branches)
            both = both and _stands(b, saddle, pixel, bright, height, min_pixels, branches)
            if not both:
                p, q = islands.root(piece, near[0]), islands.root(piece, near[k])
                piece[max(p, q)] = min(p, q)
            a, b = min(a, b), max(a, b)
            tree[b] = a
            pixels[a] += pixels[b]
            split[a] = split[a] | split[b] | np.uint8(both)
        tree[i] = a
        if value > 0:
            pixels[a] += 1
    for i in range(first, last):
        piece[i] = islands.root(piece, i)


@helper
def _stands(
    branch: int,
    saddle: np.float32,
    pixel: np.ndarray,
    bright: np.ndarray,
    height: np.ndarray,
    min_pixels: int,
    branches: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> bool:
    _tree, pixels, split = branches
    peak = pixel[branch]
    return bool(split[branch] or (bright[peak] - saddle >= height[peak] and pixels[branch] >= min_pixels))


def on_cuda(labels: np.ndarray, brightness: np.ndarray, height: np.ndarray, min_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Split islands at their saddles on the GPU, an island a thread; see `reference`."""
    _check(labels, brightness, height)
    bright = islands.finite(brightness)
    wanted = np.ones(int(labels.max(initial=0)) + 1, bool)
    wanted[0] = False
    found = islands.gather(np.ascontiguousarray(labels, np.int32), bright, wanted)
    n = found.pixel.size
    if n == 0:
        return np.zeros(labels.shape, np.int32), np.zeros(0, np.int32)
    sent = [upload(array) for array in (*found, bright.reshape(-1), np.ascontiguousarray(height, np.float32).reshape(-1))]
    piece = empty(n, np.int32)
    branches = empty(n, np.int32), empty(n, np.int32), empty(n, np.uint8)
    launch(_flood_island, -(-wanted.size // THREADS), THREADS, *sent, np.int32(min_pixels), *branches, piece)
    return _numbered(labels, found, download(piece))


def _flood_island(first, pixel, slot, bright, height, min_pixels, tree, pixels, split, piece):  # type: ignore[no-untyped-def]
    k = cuda.grid(1)
    roots = cuda.local.array(8, np.int32)
    near = cuda.local.array(8, np.int32)
    if k < first.size - 1:
        _flood(first[k], first[k + 1], pixel, slot, bright, height, min_pixels, (tree, pixels, split), piece, roots, near)


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    from scipy import ndimage

    bright = ndimage.gaussian_filter(rng.normal(size=(48, 53)), 1.5).astype(np.float32)
    labels = ndimage.label(bright > -0.1, np.ones((3, 3)))[0].astype(np.int32)
    touching = (np.arange(53) // 10 + np.zeros((48, 1))).astype(np.int32)
    dirty = bright.copy()
    dirty[5:15, 10:20] = np.nan
    dirty[30, 30] = np.inf
    low = np.full(bright.shape, 0.02, np.float32)
    uneven = low * rng.random(bright.shape, np.float32)
    uneven[10, :] = np.nan
    uneven[:, 5] = np.inf
    row = rng.random((1, 31)).astype(np.float32)
    return [
        (labels, bright, low, 1), (labels, bright, low * 0, 1), (labels, bright, uneven, 3), (touching, bright, low, 2),
        (labels, np.round(bright * 10).astype(np.float32), low, 1), (labels, dirty, low, 1), (labels, bright * 1e-38, low * 0, 1),
        (np.ones((1, 31), np.int32), row, row * 0, 1), (np.ones((31, 1), np.int32), row.T, row.T * 0, 1),
        (labels * 0, bright, low, 1), (touching, bright * 0, low, 1), (touching, bright * np.nan, low * 0, 1),
    ]  # fmt: skip


KERNEL = KernelSpec(
    name="flood",
    summary="Split islands by flooding from the brightest pixel down, where both sides of a saddle persist.",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(
            _flood_island,
            "void(int32[::1], int32[::1], int32[:,::1], float32[::1], float32[::1], int32, int32[::1], int32[::1], uint8[::1], int32[::1])",
            THREADS,
        ),
    ),
    example=_example,
    rtol=0.0,
)
