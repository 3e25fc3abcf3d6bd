"""What the kernels that flood islands share: an island's pixels from the brightest down, and trees of pixels.

The pixels of all islands lie in one list of slots, island by island; island k has slots first[k] to
first[k + 1]. Equally bright pixels are ordered by index, so the order is strict and there are no plateaus.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._numba import helper, parallel, prange, serial

MAX_PIXELS = 2**31 - 1


class Islands(NamedTuple):
    """The pixels of a segmentation's islands, ready for flooding.

    Attributes:
        first: (n + 2,) int32, where each label's slots begin; label 0 has none.
        pixel: (slot,) int32, flat index of the slot's pixel; each island's from the brightest down.
        slot: (y, x) int32, slot of a pixel plus one; 0 for pixels of no island.
    """

    first: np.ndarray
    pixel: np.ndarray
    slot: np.ndarray


def check(labels: np.ndarray, brightness: np.ndarray) -> None:
    """Raise ValueError unless the arrays belong together and 32-bit indices reach all of their pixels."""
    if labels.ndim != 2 or labels.shape != brightness.shape:
        raise ValueError(f"labels {labels.shape} and brightness {brightness.shape} must be images of one shape")
    if labels.size > MAX_PIXELS:
        raise ValueError(f"an image of {labels.size} pixels is too large for 32-bit indices; cut it into tiles of fewer than 2**31 pixels")


def finite(values: np.ndarray) -> np.ndarray:
    """Return a contiguous float32 array in which what is not finite is 0, and -0 too."""
    values = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(values.sum(dtype=np.float64)):
        values = np.where(np.isfinite(values), values, np.float32(0))
    return values + np.float32(0)


def gather(labels: np.ndarray, brightness: np.ndarray, wanted: np.ndarray) -> Islands:
    """List and sort the pixels of the wanted islands.

    Args:
        labels: (y, x) int32, contiguous, 0 for sky.
        brightness: (y, x) float32, contiguous and finite.
        wanted: (n + 1,) bool, which islands to list, by label; False for 0.
    """
    first, pixel = listed(labels, wanted)
    slot = np.zeros(labels.shape, np.int32)
    _sort(first, *deal(np.diff(first)), brightness.reshape(-1), pixel, slot.reshape(-1))
    return Islands(first, pixel, slot)


def listed(labels: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List the pixels of the wanted islands.

    Returns:
        `first` and `pixel` as of `Islands`, but each island's pixels in raster order.
    """
    counts = np.zeros(len(labels) + 1, np.int32)
    _count(labels, wanted, counts[1:])
    where = np.empty(np.cumsum(counts, out=counts)[-1], np.int32)
    _list(labels, wanted, counts, where)
    first = np.zeros(len(wanted) + 1, np.int32)
    pixel = np.empty_like(where)
    _by_island(labels.reshape(-1), where, first, pixel)
    return first, pixel


def deal(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Deal islands to as many lanes as there are threads, evenly by their pixels, the largest first.

    Returns:
        islands in the order of their lanes, and where in them each lane begins.
    """
    from numba import get_num_threads

    sizes = sizes.astype(np.int64)
    lane = _deal(np.argsort(-sizes, kind="stable"), sizes, get_num_threads())
    return np.argsort(lane, kind="stable"), np.searchsorted(np.sort(lane), np.arange(get_num_threads() + 1))


@serial
def _deal(order: np.ndarray, sizes: np.ndarray, lanes: int) -> np.ndarray:
    load = np.zeros(lanes, np.int64)
    lane = np.empty(sizes.size, np.int64)
    for k in order:
        lane[k] = np.argmin(load)
        load[lane[k]] += sizes[k]
    return lane


@parallel
def _count(labels: np.ndarray, wanted: np.ndarray, counts: np.ndarray) -> None:
    for y in prange(labels.shape[0]):
        n = 0
        for x in range(labels.shape[1]):
            if labels[y, x] > 0 and wanted[labels[y, x]]:
                n += 1
        counts[y] = n


@parallel
def _list(labels: np.ndarray, wanted: np.ndarray, start: np.ndarray, where: np.ndarray) -> None:
    ny, nx = labels.shape
    for y in prange(ny):
        at = start[y]
        for x in range(nx):
            if labels[y, x] > 0 and wanted[labels[y, x]]:
                where[at] = y * nx + x
                at += 1


@serial
def _by_island(labels: np.ndarray, where: np.ndarray, first: np.ndarray, pixel: np.ndarray) -> None:
    """Sort pixels by island, by counting; pixels of an island stay in raster order."""
    for i in where:
        first[labels[i] + 1] += 1
    for k in range(1, first.size):
        first[k] += first[k - 1]
    at = first.copy()
    for i in where:
        pixel[at[labels[i]]] = i
        at[labels[i]] += 1


@parallel
def _sort(first: np.ndarray, island: np.ndarray, lanes: np.ndarray, brightness: np.ndarray, pixel: np.ndarray, slot: np.ndarray) -> None:
    bits = brightness.view(np.uint32)
    for lane in prange(lanes.size - 1):
        for k in island[lanes[lane] : lanes[lane + 1]]:
            keys = np.empty(first[k + 1] - first[k], np.uint64)
            for i in range(keys.size):
                at = pixel[first[k] + i]
                keys[i] = np.uint64(falling(bits[at])) << np.uint64(32) | np.uint64(at)
            keys.sort()
            for i in range(keys.size):
                at = np.int32(keys[i] & np.uint64(0x7FFFFFFF))
                pixel[first[k] + i] = at
                slot[at] = first[k] + i + 1


@helper
def falling(bits: np.uint32) -> np.uint32:
    """Return an unsigned integer that falls as the float32 with these bits rises."""
    return np.uint32(bits) if bits & np.uint32(0x80000000) else np.uint32(0x7FFFFFFF) - np.uint32(bits)


@helper
def root(parent: np.ndarray, i: int) -> int:
    """Return the root of a slot's tree; paths are halved on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@helper
def trees_around(i: int, first: int, pixel: np.ndarray, slot: np.ndarray, tree: np.ndarray, roots: np.ndarray, near: np.ndarray) -> int:
    """Find the trees among the brighter neighbours of a pixel.

    Args:
        i: slot of the pixel.
        first: first slot of its island.
        pixel: see `Islands`.
        slot: see `Islands`.
        tree: (slot,) parents.
        roots: (8,) receives the root of each tree.
        near: (8,) receives the brightest neighbour in each tree.

    Returns:
        the number of trees; they are in order of their brightest neighbours, the brightest first.
    """
    ny, nx = slot.shape
    y, x = pixel[i] // nx, pixel[i] % nx
    n = 0
    for v in range(max(y - 1, 0), min(y + 2, ny)):
        for u in range(max(x - 1, 0), min(x + 2, nx)):
            j = slot[v, u] - 1
            if j < first or j >= i:
                continue
            r = root(tree, j)
            at = n
            for k in range(n):
                if roots[k] == r:
                    at = k
            if at == n:
                n += 1
            elif near[at] < j:
                continue
            while at > 0 and near[at - 1] > j:
                roots[at] = roots[at - 1]
                near[at] = near[at - 1]
                at -= 1
            roots[at] = r
            near[at] = j
    return n


@parallel
def paint(labels: np.ndarray, slot: np.ndarray, value: np.ndarray) -> None:
    """Write each slot's value to its pixel, and 0 elsewhere."""
    for y in prange(slot.shape[0]):
        for x in range(slot.shape[1]):
            labels[y, x] = value[slot[y, x] - 1] if slot[y, x] else 0


def renumbered(labels: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return number[labels], int32, of an image of labels of which most are 0; number[0] is 0."""
    out, labels = np.empty(labels.shape, np.int32), labels.view()
    labels.setflags(write=False)
    _renumber(labels, number, out)
    return out


@parallel
def _renumber(labels: np.ndarray, number: np.ndarray, out: np.ndarray) -> None:
    for y in prange(labels.shape[0]):
        for x in range(labels.shape[1]):
            out[y, x] = number[labels[y, x]] if labels[y, x] != 0 else 0


@parallel
def renumber(labels: np.ndarray, number: np.ndarray) -> None:
    """Do the same in place, where no new memory need be touched."""
    for y in prange(labels.shape[0]):
        for x in range(labels.shape[1]):
            if labels[y, x] != 0:
                labels[y, x] = number[labels[y, x]]
