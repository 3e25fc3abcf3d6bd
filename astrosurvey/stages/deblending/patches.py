"""Islands cut out of an image with some sky around them and packed side by side, so that work is done where islands are.

All kernels see a packed image as one like any other. Islands come in batches of about BATCH pixels, which
stay in the cache; where boxes overlap so much that the image is less than all of them, it is taken as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...kernels._numba import parallel, prange, serial

BATCH = 1 << 20
WIDTH = 1024
"""Pixels in a batch and in a line of it, more if an island needs them."""


@dataclass(frozen=True)
class Batch:
    """Islands side by side.

    Attributes:
        data: (band, v, u) float32; NaN beyond the image's edge.
        variance: (band, v, u) float32.
        mask: (band, v, u) int32, or None.
        labels: (v, u) int32, 0 for what does not belong to the islands; they are 1 to n.
        island: (n + 1,) int32, the labels they have in the segmentation; 0 for 0.
        offset: (n + 1, 2) int32, what is to be added to (v, u) for (y, x).
    """

    data: np.ndarray
    variance: np.ndarray
    mask: np.ndarray | None
    labels: np.ndarray
    island: np.ndarray
    offset: np.ndarray

    def places(self, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns in the image of pixels of islands by their flat indices here."""
        v, u = np.divmod(where, self.labels.shape[1])
        offset = self.offset[self.labels.reshape(-1)[where]]
        return v + offset[:, 0], u + offset[:, 1]


def batches(
    data: np.ndarray, variance: np.ndarray, mask: np.ndarray | None, labels: np.ndarray, wanted: np.ndarray, box: np.ndarray, margin: int
) -> Iterator[Batch]:
    """Yield the wanted islands in batches, the tallest first.

    Args:
        data: (band, y, x) float32.
        variance: (band, y, x) float32.
        mask: (band, y, x) int32, or None.
        labels: (y, x) int32, 0 for sky.
        wanted: labels of islands, ascending.
        box: (label, 4) int32, y0, x0, y1, x1 of each island, half-open.
        margin: sky on each side of an island's box, in pixels.
    """
    ny, nx = labels.shape
    height, width = (box[wanted, 2 + axis] - box[wanted, axis] + 2 * margin for axis in (0, 1))
    if float((height.astype(float) * width).sum()) > ny * nx:
        edges = np.array([[0, 0, ny, nx]], np.int32)
        shape, place, chosen = (ny + 2 * margin, nx + 2 * margin), np.zeros((1, 2), np.int32), np.zeros(labels.max() + 1, np.int32)
        chosen[wanted] = np.arange(1, len(wanted) + 1)
        offset = np.full((len(wanted) + 1, 2), -margin, np.int32)
        cut = _cut(data, variance, mask, labels, chosen, np.zeros(1, np.int32), edges, place, margin, shape)
        yield Batch(*cut, np.concatenate([np.zeros(1, np.int32), wanted]).astype(np.int32), offset)
        return
    order = np.argsort(-height, kind="stable")
    line = max(WIDTH, int(width.max(initial=0)))
    number, place, rows = _pack(height[order], width[order], line, BATCH)
    for batch in range(len(rows)):
        members = np.flatnonzero(number == batch)
        island, at = wanted[order[members]], place[members]
        chosen = np.zeros(0, np.int32)
        cut = _cut(data, variance, mask, labels, chosen, island.astype(np.int32), box[island], at, margin, (rows[batch], line))
        offset = np.concatenate([np.zeros((1, 2), np.int32), box[island, :2] - margin - at])
        yield Batch(*cut, np.concatenate([np.zeros(1, np.int32), island]).astype(np.int32), offset.astype(np.int32))


@serial
def _pack(height: np.ndarray, width: np.ndarray, line: int, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put boxes, of falling height, side by side in lines; return each one's batch and place, and the rows of each batch."""
    n = height.size
    number, place = np.zeros(n, np.int32), np.zeros((n, 2), np.int32)
    rows = np.zeros(n, np.int64)
    at, v, u, tall = 0, 0, 0, 0
    for i in range(n):
        if u + width[i] > line:
            v, u, tall = v + tall, 0, 0
            if v * line >= batch:
                at, v = at + 1, 0
        tall = max(tall, height[i])
        number[i] = at
        place[i, 0], place[i, 1] = v, u
        u += width[i]
        rows[at] = v + tall
    return number, place, rows[: at + 1 if n else 0]


def _cut(
    data: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray | None,
    labels: np.ndarray,
    chosen: np.ndarray,
    island: np.ndarray,
    box: np.ndarray,
    place: np.ndarray,
    margin: int,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    here = [np.full((len(data), *shape), value, np.float32) for value in (np.nan, np.inf)]
    bits = np.zeros((len(data), *shape) if mask is not None else (len(data), 0, 0), np.int32)
    numbers = np.zeros(shape, np.int32)
    planes = [plane.view() for plane in (data, variance, np.zeros_like(bits) if mask is None else mask, labels)]
    for plane in planes:  # whatever the caller's are, one compiled function serves
        plane.setflags(write=False)
    _copy(*planes, chosen, island, box, place, margin, *here, bits, numbers)
    return here[0], here[1], None if mask is None else bits, numbers


@parallel
def _copy(data, variance, mask, labels, chosen, island, box, place, margin, data_out, variance_out, mask_out, numbers):  # type: ignore[no-untyped-def]
    ny, nx = labels.shape
    for i in prange(island.size):
        dy, dx = place[i, 0] + margin - box[i, 0], place[i, 1] + margin - box[i, 1]
        x0, x1 = max(box[i, 1] - margin, 0), min(box[i, 3] + margin, nx)
        for y in range(max(box[i, 0] - margin, 0), min(box[i, 2] + margin, ny)):
            for b in range(data.shape[0]):
                data_out[b, y + dy, x0 + dx : x1 + dx] = data[b, y, x0:x1]
                variance_out[b, y + dy, x0 + dx : x1 + dx] = variance[b, y, x0:x1]
                if mask.shape[1] > 0:
                    mask_out[b, y + dy, x0 + dx : x1 + dx] = mask[b, y, x0:x1]
            for x in range(x0, x1):
                if chosen.size > 0:
                    numbers[y + dy, x + dx] = chosen[labels[y, x]]
                elif labels[y, x] == island[i]:
                    numbers[y + dy, x + dx] = i + 1


@serial
def extents(labels: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the box, y0, x0, y1, x1, half-open, and the number of pixels of each label 0 to n, int32; nothing of the sky."""
    ny, nx = labels.shape
    box, pixels = np.zeros((n + 1, 4), np.int32), np.zeros(n + 1, np.int32)
    box[:, 0], box[:, 1] = ny, nx
    for y in range(ny):
        x = 0
        while x < nx:
            k = labels[y, x]
            begin = x
            x += 1
            if k <= 0:
                continue
            while x < nx and labels[y, x] == k:
                x += 1
            box[k, 0], box[k, 1] = min(box[k, 0], y), min(box[k, 1], begin)
            box[k, 2], box[k, 3] = max(box[k, 2], y + 1), max(box[k, 3], x)
            pixels[k] += x - begin
    return box, pixels
