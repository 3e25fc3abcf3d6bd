"""Every source on a sheet of its own: its cut-out with only its part of each pixel, all of them laid on one image.

The kernels then measure all sources at once, none with neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...kernels._pixels import Places, Planes
from .apertures import Shares


@dataclass(frozen=True)
class Sheets:
    """The sheets of n sources.

    Attributes:
        planes: the image they lie on; pixels beyond the original image are of no use.
        shift: (n, 2) int32, what to add to a source's column and row to find it on its sheet.
    """

    planes: Planes
    shift: np.ndarray

    def places(self, places: Places) -> Places:
        """Return the sources on their sheets."""
        return replace(places, pixels=places.pixels + self.shift)


def shelves(sides: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Return where on an image to lay squares, side by side in rows, the largest first.

    Args:
        sides: (n,) int, pixels.

    Returns:
        (n, 2) first column and row of each, and (ny, nx) of the image.
    """
    corners = np.zeros((len(sides), 2), np.int64)
    across = max(int(np.ceil(np.sqrt(np.sum(sides.astype(float) ** 2)))), int(sides.max(initial=1)))
    x = y = tall = 0
    for i in np.argsort(-sides, kind="stable").tolist():
        side = int(sides[i])
        if x + side > across:
            x, y, tall = 0, y + tall, 0
        corners[i] = x, y
        x, tall = x + side, max(tall, side)
    return corners, (max(y + tall, 1), across)


def lay(planes: Planes, shares: Shares, pixels: np.ndarray, reach: np.ndarray, trust: float) -> Sheets:
    """Return the sheets of sources.

    A pixel keeps its variance, to which the error of the neighbours' part of it is added.

    Args:
        planes: the image; its footprints and models are not looked at.
        shares: whose part every pixel is.
        pixels: (n, 2) int32, columns and rows of the sources.
        reach: (n,) how far from there each source will be looked at, pixels.
        trust: relative error of the flux that others have in a pixel.
    """
    bands, ny, nx = planes.data.shape
    reach = np.ceil(reach).astype(np.int64) + 2
    variance = np.where(planes.usable(), planes.variance, np.float32(0))
    corners, shape = shelves(2 * reach + 1)
    data, noise = np.zeros((bands, *shape), np.float32), np.zeros((bands, *shape), np.float32)
    shift = (corners + reach[:, None] - pixels).astype(np.int32)
    low, high = np.maximum(pixels - reach[:, None], 0), np.minimum(pixels + reach[:, None] + 1, [nx, ny])
    for i in np.flatnonzero((low < high).all(1)).tolist():
        (x0, y0), (x1, y1), (dx, dy) = low[i].tolist(), high[i].tolist(), shift[i].tolist()
        here, there = np.s_[:, y0:y1, x0:x1], np.s_[:, y0 + dy : y1 + dy, x0 + dx : x1 + dx]
        flux = planes.data[here]
        own = flux * shares.kept(i + 1, here[1:])
        data[there] = own
        noise[there] = np.where(variance[here] > 0, variance[here] + np.square(trust * (flux - own)), 0)
    return Sheets(Planes(data, noise), shift)
