"""What makes the sky one sky: randomness that belongs to a place and not to a tile.

Every random number is drawn from a counter-based generator keyed by the sky's seed, a purpose and a
place: a cell of the sky's pixel grid, or a node of a coarse lattice. A window therefore knows exactly
what falls into it, whoever asks, in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np

from ...core.tiles import Box


class Purpose(IntEnum):
    """What random numbers are drawn for; a number, once given, is kept, so that skies stay as they are."""

    BRIGHT = 0
    FAINT = 1
    NOISE = 2
    COSMIC_RAY = 3
    BAD_COLUMN = 4
    SKY_LEVEL = 5
    PSF_FWHM = 6
    PSF_E1 = 7
    PSF_E2 = 8


def generator(seed: int, purpose: Purpose, *where: int) -> np.random.Generator:
    """Return the random numbers of one purpose at one place, given by a few integers of either sign."""
    key = (int(purpose), *(w & 0xFFFFFFFF for w in where))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


def cells(window: Box, size: int, margin: int = 0) -> Iterator[tuple[int, int, Box]]:
    """Yield (column, row, box) of every cell of `size` pixels that the window, grown by `margin`, touches.

    Rows come first, so that cells shared by two windows come in the same order.
    """
    for row in range((window.y0 - margin) // size, (window.y1 + margin - 1) // size + 1):
        for column in range((window.x0 - margin) // size, (window.x1 + margin - 1) // size + 1):
            yield column, row, Box(column * size, row * size, (column + 1) * size, (row + 1) * size)


def overlap(window: Box, box: Box) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Return the (y, x) slices of what two boxes share, in the window and in the box; None where they share nothing."""
    x0, x1 = max(window.x0, box.x0), min(window.x1, box.x1)
    y0, y1 = max(window.y0, box.y0), min(window.y1, box.y1)
    if x0 >= x1 or y0 >= y1:
        return None
    return (
        (slice(y0 - window.y0, y1 - window.y0), slice(x0 - window.x0, x1 - window.x0)),
        (slice(y0 - box.y0, y1 - box.y0), slice(x0 - box.x0, x1 - box.x0)),
    )


class SmoothField:
    """A smooth random function of position with zero mean and roughly unit scatter.

    Cubic B-splines over a lattice of normal deviates. It has no period and no edge, and is evaluated
    by sums and products in a fixed order alone, so that the same pixel gets the same bits in any window.

    Args:
        seed: the sky's seed.
        purpose: what the field is for.
        channel: which of several independent fields, such as the number of a band.
        scale: distance of the lattice's nodes (pixel).
    """

    GAIN = 2.08
    """1 / the scatter of the spline of unit deviates, averaged over position."""

    def __init__(self, seed: int, purpose: Purpose, channel: int, scale: float) -> None:
        self._key = (seed, purpose, channel)
        self._scale = scale
        self._drawn: dict[tuple[int, int], float] = {}

    def _nodes(self, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, int, int]:
        """Return the deviates of all nodes that points need whose first nodes these are, and the array's own first column and row."""
        c0, r0 = int(columns.min()), int(rows.min())
        nodes = np.empty((int(rows.max()) - r0 + 4, int(columns.max()) - c0 + 4))
        for row, column in np.ndindex(nodes.shape):
            nodes[row, column] = self._node(c0 + column, r0 + row)
        return nodes, c0, r0

    def _node(self, column: int, row: int) -> float:
        if (column, row) not in self._drawn:
            seed, purpose, channel = self._key
            self._drawn[column, row] = self.GAIN * float(generator(seed, purpose, channel, column, row).standard_normal())
        return self._drawn[column, row]

    def _weights(self, position: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return each position's first node and its four spline weights."""
        place = position / self._scale
        first = np.floor(place)
        t = place - first
        u = 1.0 - t
        weights = [u * u * u / 6.0, (4.0 - t * t * (6.0 - 3.0 * t)) / 6.0, (4.0 - u * u * (6.0 - 3.0 * u)) / 6.0, t * t * t / 6.0]
        return first.astype(np.int64) - 1, weights

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the field at points (n,), in pixels of the sky."""
        column, wx = self._weights(x)
        row, wy = self._weights(y)
        value = np.zeros(len(x))
        if not len(x):
            return value
        nodes, c0, r0 = self._nodes(column, row)
        for j in range(4):
            for i in range(4):
                value += wy[j] * (wx[i] * nodes[row - r0 + j, column - c0 + i])
        return value

    def over(self, window: Box) -> np.ndarray:
        """Return the field at every pixel of a window, (y, x)."""
        column, wx = self._weights(np.arange(window.x0, window.x1, dtype=np.float64))
        row, wy = self._weights(np.arange(window.y0, window.y1, dtype=np.float64))
        nodes, c0, r0 = self._nodes(column, row)
        along_x = np.zeros((len(nodes), len(column)))
        for i in range(4):
            along_x += wx[i] * nodes[:, column - c0 + i]
        value = np.zeros(window.shape)
        for j in range(4):
            value += wy[j][:, None] * along_x[row - r0 + j]
        return value
