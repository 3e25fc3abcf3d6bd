"""Connected components: pixels of a mask that touch at an edge or a corner, numbered in raster order.

The CPU twin unites runs of pixels along the lines of the mask rather than single pixels. The CUDA twin
unites pixels by atomic minima. In both, a component's root is its first pixel in raster order, so neither
threads nor blocks can change the numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._numba import cuda, download, empty, helper, launch, parallel, prange, serial, upload
from .spec import KernelSpec, Launch

MAX_PIXELS = 2**31 - 1
BLOCKS = 64
"""Parts of the mask that are united on their own before they are joined; any number gives the same labels."""
THREADS = 128


def reference(mask: np.ndarray, min_pixels: int) -> tuple[np.ndarray, int]:
    """Label the components of a mask.

    Args:
        mask: (y, x) or (z, y, x) bool; pixels with a common edge, face or corner are connected.
        min_pixels: components of fewer pixels are dropped.

    Returns:
        int32 of the mask's shape, 0 outside, components 1 to n in the raster order of their first pixels;
        and n.

    Raises:
        ValueError: the mask has neither 2 nor 3 dimensions, or 2**31 pixels or more.

    References:
        Rosenfeld & Pfaltz (1966), J. ACM 13, 471.
    """
    from scipy import ndimage

    _check(mask)
    labels, n = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    keep = np.bincount(labels.ravel(), minlength=n + 1) >= min_pixels
    keep[0] = False
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return number[labels], int(keep.sum())


def _check(mask: np.ndarray) -> None:
    if mask.ndim not in {2, 3}:
        raise ValueError(f"a mask has 2 or 3 dimensions, not {mask.ndim}; label its planes one by one")
    if mask.size > MAX_PIXELS:
        raise ValueError(f"a mask of {mask.size} pixels is too large for 32-bit labels; cut it into tiles of fewer than 2**31 pixels")


def cpu(mask: np.ndarray, min_pixels: int) -> tuple[np.ndarray, int]:
    """Label the components of a mask; see `reference`. Threaded over blocks of lines."""
    _check(mask)
    labels = np.zeros(mask.shape, np.int32)
    if mask.size == 0:
        return labels, 0
    ny, nx = mask.shape[-2:]
    lines = np.ascontiguousarray(mask, dtype=bool).reshape(-1, nx).view(np.uint8)
    first = np.zeros(len(lines) + 1, np.int32)
    _count_runs(lines, first[1:])
    np.cumsum(first, out=first)
    runs = np.empty((first[-1], 2), np.int32)
    parent = np.empty(first[-1], np.int32)
    block = max(-(-len(lines) // BLOCKS), 1)
    if mask.ndim == 3:
        block = -(-block // ny) * ny
    _unite_blocks(lines, first, runs, parent, ny, block)
    _unite_seams(first, runs, parent, ny, block)
    n = _number(runs, parent, min_pixels)
    _paint(first, runs, parent, labels.reshape(-1, nx))
    return labels, n


@parallel
def _count_runs(lines: np.ndarray, counts: np.ndarray) -> None:
    for i in prange(lines.shape[0]):
        line = lines[i]
        n = np.int32(line[0])
        for x in range(1, line.size):
            n += np.int32(line[x] & (line[x - 1] ^ 1))
        counts[i] = n


@helper
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@helper
def _unite_lines(first: np.ndarray, runs: np.ndarray, parent: np.ndarray, above: int, below: int) -> None:
    """Unite the runs of two neighbouring lines where they touch, corners included."""
    i, j = first[above], first[below]
    while i < first[above + 1] and j < first[below + 1]:
        if runs[i, 0] <= runs[j, 1] and runs[j, 0] <= runs[i, 1]:
            a, b = _root(parent, i), _root(parent, j)
            parent[max(a, b)] = min(a, b)
        if runs[i, 1] < runs[j, 1]:
            i += 1
        else:
            j += 1


@helper
def _earlier(step: int, line: int, ny: int) -> int:
    """Return one of the up to four neighbouring lines before a line, or -1 where there is none; a 2-d mask is one plane."""
    y = line % ny
    if step == 0:
        return line - 1 if y > 0 else -1
    near = line - ny + step - 2
    return near if near >= 0 and 0 <= y + step - 2 < ny else -1


@parallel
def _unite_blocks(lines: np.ndarray, first: np.ndarray, runs: np.ndarray, parent: np.ndarray, ny: int, block: int) -> None:
    n = lines.shape[0]
    for b in prange((n + block - 1) // block):
        for i in range(b * block, min(n, (b + 1) * block)):
            line = lines[i]
            at, before = first[i], np.uint8(0)
            for x in range(line.size):
                if line[x] != before:
                    before = line[x]
                    if before:
                        runs[at, 0] = x
                    else:
                        runs[at, 1] = x
                        at += 1
            if before:
                runs[at, 1] = line.size
            for j in range(first[i], first[i + 1]):
                parent[j] = j
            for step in range(4):
                near = _earlier(step, i, ny)
                if near >= b * block:
                    _unite_lines(first, runs, parent, near, i)


@serial
def _unite_seams(first: np.ndarray, runs: np.ndarray, parent: np.ndarray, ny: int, block: int) -> None:
    n = first.size - 1
    for start in range(block, n, block):
        for i in range(start, min(n, start + ny)):
            for step in range(4):
                near = _earlier(step, i, ny)
                if 0 <= near < start:
                    _unite_lines(first, runs, parent, near, i)
            if ny == n:  # one plane: only the line before can be in another block
                break


@serial
def _number(runs: np.ndarray, parent: np.ndarray, min_pixels: int) -> int:
    """Turn the parents, which never point forwards, into labels."""
    pixels = np.zeros(parent.size, np.int64)
    for i in range(parent.size):
        parent[i] = parent[parent[i]]
        pixels[parent[i]] += runs[i, 1] - runs[i, 0]
    n = 0
    for i in range(parent.size):
        if parent[i] == i:
            kept = pixels[i] >= min_pixels
            n += kept
            parent[i] = n if kept else 0
        else:
            parent[i] = parent[parent[i]]
    return n


@parallel
def _paint(first: np.ndarray, runs: np.ndarray, label: np.ndarray, labels: np.ndarray) -> None:
    for i in prange(labels.shape[0]):
        for j in range(first[i], first[i + 1]):
            if label[j]:
                labels[i, runs[j, 0] : runs[j, 1]] = label[j]


def on_cuda(mask: np.ndarray, min_pixels: int) -> tuple[np.ndarray, int]:
    """Label the components of a mask on the GPU; see `reference`."""
    _check(mask)
    if mask.size == 0:
        return np.zeros(mask.shape, np.int32), 0
    ny, nx = mask.shape[-2:]
    n_lines = mask.size // nx
    inside = upload(np.ascontiguousarray(mask, dtype=bool).reshape(-1).view(np.uint8))
    parent, pixels, counts = empty(mask.size, np.int32), empty(mask.size, np.int32), empty(n_lines, np.int32)
    blocks, by_line = -(-mask.size // THREADS), -(-n_lines // THREADS)
    launch(_start, blocks, THREADS, inside, parent, pixels)
    launch(_unite, blocks, THREADS, parent, np.int32(ny if mask.ndim == 3 else n_lines), np.int32(nx))
    launch(_flatten, blocks, THREADS, parent, pixels)
    launch(_count_roots, by_line, THREADS, parent, pixels, np.int32(min_pixels), np.int32(nx), counts)
    last = np.cumsum(download(counts), dtype=np.int32)
    first = upload(np.concatenate([np.zeros(1, np.int32), last[:-1]]))
    launch(_number_roots, by_line, THREADS, parent, pixels, np.int32(min_pixels), np.int32(nx), first)
    launch(_label, blocks, THREADS, parent, pixels)
    return download(parent).reshape(mask.shape), int(last[-1])


def _start(inside, parent, pixels):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i < parent.size:
        parent[i] = np.int32(i) if inside[i] else np.int32(-1)
        pixels[i] = np.int32(0)


def _unite(parent, ny, nx):  # type: ignore[no-untyped-def]
    """Unite each pixel with those of its neighbours that come earlier in raster order."""
    i = cuda.grid(1)
    if i >= parent.size or parent[i] < 0:
        return
    line = i // nx
    x, y, plane = i - line * nx, line % ny, line // ny
    for step in range(5):
        # The line before in the plane, the three around it in the plane before, and the pixel's own.
        dz, dy = (0, -1) if step == 0 else (-1, step - 2) if step < 4 else (0, 0)
        if plane + dz < 0 or y + dy < 0 or y + dy >= ny:
            continue
        middle = i + (dz * ny + dy) * nx
        for place in range(3):
            # The middle one of three neighbours, where set, joins the outer two by itself; of the own line only the left one is earlier.
            dx = (0, -1, 1)[place]
            if x + dx < 0 or x + dx >= nx or ((dx != -1) if step == 4 else (dx != 0 and parent[middle] >= 0)):
                continue
            b = parent[middle + dx]
            if b < 0:
                continue
            a = parent[i]
            while True:
                while parent[a] != a:
                    a = parent[a]
                while parent[b] != b:
                    b = parent[b]
                if a == b:
                    break
                if a < b:
                    a, b = b, a
                before = cuda.atomic.min(parent, a, b)
                if before == a:
                    break
                a = before


def _flatten(parent, pixels):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i >= parent.size or parent[i] < 0:
        return
    root = parent[i]
    while parent[root] != root:
        root = parent[root]
    parent[i] = root
    cuda.atomic.add(pixels, root, np.int32(1))


def _count_roots(parent, pixels, min_pixels, nx, counts):  # type: ignore[no-untyped-def]
    line = cuda.grid(1)
    if line < counts.size:
        n = np.int32(0)
        for i in range(line * nx, (line + 1) * nx):
            if parent[i] == i and pixels[i] >= min_pixels:
                n += np.int32(1)
        counts[line] = n


def _number_roots(parent, pixels, min_pixels, nx, first):  # type: ignore[no-untyped-def]
    line = cuda.grid(1)
    if line < first.size:
        n = first[line]
        for i in range(line * nx, (line + 1) * nx):
            if parent[i] == i:
                kept = pixels[i] >= min_pixels
                if kept:
                    n += np.int32(1)
                pixels[i] = n if kept else np.int32(0)


def _label(parent, pixels):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i < parent.size:
        parent[i] = pixels[parent[i]] if parent[i] >= 0 else np.int32(0)


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    plane = rng.random((64, 61)) < 0.4
    cube = rng.random((7, 12, 19)) < 0.15
    spiral = np.zeros((33, 33), bool)
    spiral[::2] = True
    spiral[1::4, -1] = True
    spiral[3::4, 0] = True
    return [
        (plane, 1), (plane, 5), (cube, 1), (cube, 4), (spiral, 1), (rng.random((1, 50)) < 0.5, 2), (rng.random((50, 1)) < 0.5, 1),
        (np.zeros((9, 8), bool), 1), (np.ones((9, 8), bool), 1), (np.zeros((0, 5), bool), 1), (np.ones((2, 3, 1), bool), 7),
    ]  # fmt: skip


KERNEL = KernelSpec(
    name="components",
    summary="Connected components of a mask, 8-connected in an image and 26-connected in a cube, in raster order.",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(_start, "void(uint8[::1], int32[::1], int32[::1])", THREADS),
        Launch(_unite, "void(int32[::1], int32, int32)", THREADS),
        Launch(_flatten, "void(int32[::1], int32[::1])", THREADS),
        Launch(_count_roots, "void(int32[::1], int32[::1], int32, int32, int32[::1])", THREADS),
        Launch(_number_roots, "void(int32[::1], int32[::1], int32, int32, int32[::1])", THREADS),
        Launch(_label, "void(int32[::1], int32[::1])", THREADS),
    ),
    example=_example,
    rtol=0.0,
)
