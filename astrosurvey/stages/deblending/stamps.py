"""Square stamps around sources: cut from planes and put back, many at a time, in groups that do not overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

SIZES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536, 2048)
"""Sides of stamps in pixels; a source gets the least that holds it."""
BATCH = 96
"""Stamps of 48 pixels worked on at once; fewer of larger ones."""


@dataclass(frozen=True)
class Batch:
    """Stamps of one size, no two of which overlap.

    Attributes:
        rows: (b,) int64, which sources.
        size: the stamps' side, pixels.
        top, left: (b,) int64, the first row and column of each stamp in a padded plane.
    """

    rows: torch.Tensor
    size: int
    top: torch.Tensor
    left: torch.Tensor

    def __getitem__(self, which: torch.Tensor) -> Batch:
        """Return some of the stamps."""
        return Batch(self.rows[which], self.size, self.top[which], self.left[which])

    def cut(self, plane: torch.Tensor) -> torch.Tensor:
        """Return the stamps of a padded plane, (b, size * size)."""
        return self._windows(plane)[self.top, self.left].flatten(1)

    def put(self, plane: torch.Tensor, stamps: torch.Tensor) -> None:
        """Write (b, size * size) stamps into a padded plane."""
        self._windows(plane)[self.top, self.left] = stamps.view(-1, self.size, self.size)

    def add(self, plane: torch.Tensor, stamps: torch.Tensor) -> None:
        """Add (b, size * size) stamps to a padded plane."""
        self.put(plane, self.cut(plane) + stamps)

    def _windows(self, plane: torch.Tensor) -> torch.Tensor:
        # All windows of a plane as a view: rows of pixels are copied as a whole, which one index a pixel would not allow.
        return plane.unfold(0, self.size, 1).unfold(1, self.size, 1)


class Layout:
    """Where the stamps of all sources lie, and in which order they are worked on.

    Planes are padded on all sides, so that every stamp is whole. Sources get colours, brightest first, such that
    stamps of one colour do not overlap: stamps of a colour can then be changed at once, in any order, on any device.

    Args:
        shape: (ny, nx) of the image.
        x, y: (n,) positions, pixels.
        reach: (n,) pixels that a stamp must reach from the position on either side.
        bright: (n,) brightness, which ranks sources.
        device: where the tensors live.
    """

    def __init__(self, shape: tuple[int, int], x: np.ndarray, y: np.ndarray, reach: np.ndarray, bright: np.ndarray, device: str) -> None:
        self.shape, self.device = shape, torch.device(device)
        largest = next((s for s in SIZES if s >= 2 * max(shape)), SIZES[-1])
        sizes = np.array([s for s in SIZES if s <= largest])
        self.size = sizes[np.minimum(np.searchsorted(sizes, 2 * np.ceil(reach) + 1), len(sizes) - 1)]
        self.cut_short = self.size < 2 * np.ceil(reach) + 1
        # What lies farther out than its stamp reaches is held at the edge: no pixel of the image is in its stamp either way.
        half = self.size // 2
        self.x0, self.y0 = (np.rint(np.clip(v, -half, side + half)).astype(np.int64) for v, side in ((x, shape[1]), (y, shape[0])))
        self.pad = int(self.size.max(initial=SIZES[0]))
        self.colour = colours(self.x0, self.y0, self.size, bright)

    def plane(self, values: np.ndarray) -> torch.Tensor:
        """Return a (y, x) plane padded with zeros, float32, on the device."""
        return torch.from_numpy(np.pad(values.astype(np.float32, copy=False), self.pad)).to(self.device)

    def storage(self) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
        """Return for each size of stamp a zero tensor (sources, size * size), and (n,) where in it each source is."""
        place = np.zeros(len(self.size), np.int64)
        store = {}
        for size in np.unique(self.size).tolist():
            rows = np.flatnonzero(self.size == size)
            place[rows] = np.arange(len(rows))
            store[size] = torch.zeros(len(rows), size**2, device=self.device)
        return store, torch.from_numpy(place).to(self.device)

    def image(self, plane: torch.Tensor) -> np.ndarray:
        """Return what `plane` made back as a (y, x) array."""
        ny, nx = self.shape
        array = plane[self.pad : self.pad + ny, self.pad : self.pad + nx]
        return np.ascontiguousarray(array.cpu().numpy())

    def batches(self) -> Iterator[Batch]:
        """Yield all stamps, colour by colour, sizes rising within a colour."""
        order = np.lexsort((np.arange(len(self.size)), self.size, self.colour))
        key = self.colour[order] * (len(SIZES) * SIZES[-1]) + self.size[order]
        for run in np.split(order, np.flatnonzero(np.diff(key)) + 1) if len(order) else []:
            size = int(self.size[run[0]])
            step = max(int(BATCH * (48 / size) ** 2), 1)
            for first in range(0, len(run), step):
                yield self._batch(run[first : first + step], size)

    def _batch(self, rows: np.ndarray, size: int) -> Batch:
        top, left = (torch.from_numpy(v[rows] - size // 2 + self.pad).to(self.device) for v in (self.y0, self.x0))
        return Batch(torch.from_numpy(rows).to(self.device), size, top, left)


def neighbours(x0: np.ndarray, y0: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
    """Return which other stamps each stamp overlaps, in rising order.

    Args:
        x0, y0: (n,) int, centres: a stamp reaches from x0 - size // 2 to x0 + size // 2, half-open.
        size: (n,) even sides.
    """
    n = len(x0)
    found: list[list[np.ndarray]] = [[] for _ in range(n)]
    kinds = np.unique(size)
    for large in kinds:  # for each size of stamp, the centres of others in reach are found on a grid of cells
        for small in kinds[kinds <= large]:
            reach = (int(large) + int(small)) // 2
            ours, theirs = np.flatnonzero(size == large), np.flatnonzero(size == small)
            for i, j in _close(x0, y0, ours, theirs, reach):
                found[i].append(j)
                if small != large:
                    for k in j.tolist():
                        found[k].append(np.array([i]))
    return [np.sort(np.concatenate(j)) if j else np.zeros(0, np.int64) for j in found]


def _close(x0: np.ndarray, y0: np.ndarray, ours: np.ndarray, theirs: np.ndarray, reach: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield, for each of `ours`, those of `theirs` less than `reach` away along both axes, itself left out."""
    from scipy.spatial import cKDTree

    tree = cKDTree(np.column_stack([x0[theirs], y0[theirs]]))
    near = tree.query_ball_point(np.column_stack([x0[ours], y0[ours]]), reach - 0.5, p=np.inf)
    for i, found in zip(ours.tolist(), near, strict=True):
        j = theirs[np.asarray(found, np.int64)]
        yield i, j[j != i]


def colours(x0: np.ndarray, y0: np.ndarray, size: np.ndarray, bright: np.ndarray) -> np.ndarray:
    """Return a colour for each stamp such that no two overlapping ones share it; the brightest choose first.

    Args:
        x0, y0, size: the stamps, as in `neighbours`.
        bright: (n,) brightness.

    References:
        Welsh & Powell (1967), Comput. J. 10, 85.
    """
    near = neighbours(x0, y0, size)
    colour = np.full(len(x0), -1, np.int64)
    for i in np.lexsort((np.arange(len(x0)), -bright)).tolist():
        taken = set(colour[near[i]].tolist())
        choice = 0
        while choice in taken:
            choice += 1
        colour[i] = choice
    return colour
