"""Islands cut out of an image and packed side by side, so that work is done where islands are.

All kernels see a packed image as one like any other. Islands come in batches of about BATCH pixels, which
stay in the cache; where boxes overlap so much that the image is less than all of them, it is taken as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...kernels._islands import renumbered
from ...kernels._numba import parallel, prange, read_only, serial

BATCH = 1 << 20
WIDTH = 1024
"""Pixels in a batch and in a line of it, more if an island needs them."""


@dataclass(frozen=True)
class Batch:
    """Islands side by side.

    Attributes:
        labels: (v, u) int32, 0 for what does not belong to the islands; they are 1 to n.
        island: (n + 1,) int32, the labels they have in the segmentation; 0 for 0.
        offset: (n + 1, 2) int64, what is to be added to (v, u) for (y, x).
        box: (box, 4) int32, y0, x0, y1, x1 in the image of what is shown, half-open.
        place: (box, 2) int32, where (v, u) it is shown.
    """

    labels: np.ndarray
    island: np.ndarray
    offset: np.ndarray
    box: np.ndarray
    place: np.ndarray

    def places(self, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns in the image of pixels of islands by their flat indices here."""
        v, u = np.divmod(where, self.labels.shape[1])
        offset = self.offset[self.labels.reshape(-1)[where]]
        return v + offset[:, 0], u + offset[:, 1]


def batches(labels: np.ndarray, wanted: np.ndarray, box: np.ndarray) -> Iterator[Batch]:
    """Yield the wanted islands in batches, the tallest first.

    Args:
        labels: (y, x) int32, 0 for sky.
        wanted: labels of islands, ascending.
        box: (label, 4) int32, y0, x0, y1, x1 of each island, half-open.
    """
    ny, nx = labels.shape
    height, width = (box[wanted, 2 + axis] - box[wanted, axis] for axis in (0, 1))
    if float((height.astype(float) * width).sum()) > ny * nx:
        number = np.zeros(int(labels.max()) + 1, np.int32)
        number[wanted] = np.arange(1, len(wanted) + 1)
        whole, corner = np.array([[0, 0, ny, nx]], np.int32), np.zeros((1, 2), np.int32)
        yield Batch(renumbered(labels, number), _with_sky(wanted), np.zeros((len(wanted) + 1, 2), np.int64), whole, corner)
        return
    order = np.argsort(-height, kind="stable")
    line = max(WIDTH, int(width.max(initial=0)))
    number, place, rows = _pack(height[order], width[order], line, BATCH)
    for batch in range(len(rows)):
        members = np.flatnonzero(number == batch)
        island, at = wanted[order[members]], place[members]
        packed = np.zeros((rows[batch], line), np.int32)
        _copy(*read_only(labels), island, box[island], at, packed)
        offset = np.concatenate([np.zeros((1, 2), np.int64), box[island, :2] - at])
        yield Batch(packed, _with_sky(island), offset, box[island], at)


def _with_sky(island: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int32), island]).astype(np.int32)


@parallel
def _copy(labels: np.ndarray, island: np.ndarray, box: np.ndarray, place: np.ndarray, packed: np.ndarray) -> None:
    for i in prange(island.size):
        dy, dx = place[i, 0] - box[i, 0], place[i, 1] - box[i, 1]
        for y in range(box[i, 0], box[i, 2]):
            for x in range(box[i, 1], box[i, 3]):
                if labels[y, x] == island[i]:
                    packed[y + dy, x + dx] = i + 1


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
