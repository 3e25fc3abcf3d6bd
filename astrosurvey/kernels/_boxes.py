"""Cut-outs of sources: what the CPU twins of the measuring kernels look at, copied plane by plane.

What a twin of these kernels waits for is memory. So a source's pixels are copied in loops that do nothing else, of
which the processor runs many rows ahead, and that index without a sign, as slices and negative indices cost more
than the pixel; the arithmetic then finds all of it at hand. On a GPU there are other threads to run meanwhile.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._numba import helper
from ._pixels import node, worth


@helper
def place_box(form: Any, i: Any, core2: Any, x0: Any, y0: Any, ox: Any, oy: Any, place: Any) -> None:
    """Write the places among source i's nodes of the pixels of a box.

    Args:
        form: (n, 3) and core2: `Places`.
        x0, y0: the box's first column and row, from the source's pixel.
        ox, oy: offsets of the source in its pixel.
        place: (y, x) float32, to be written.
    """
    xx = form[i, 0]
    xy = np.float32(2) * form[i, 1]
    yy = form[i, 2]
    for r in range(place.shape[0]):
        dy = np.float32(y0 + r) - oy
        for k in range(place.shape[1]):
            dx = np.float32(x0 + k) - ox
            place[r, k] = node(xx * dx * dx + xy * dx * dy + yy * dy * dy, core2)


@helper
def seen_box(
    data: Any, variance: Any, mask: Any, unusable: Any, labels: Any, model: Any, models: Any, i: Any, b: Any, x0: Any, y0: Any,
    place: Any, trust: Any, flux: Any, spread: Any,
) -> None:  # fmt: skip
    """Write flux and variance of the pixels of a box as source i has them, its neighbours removed.

    Args:
        data, variance, mask, unusable, labels, model: `Planes`.
        models: `Places`.
        b, x0, y0: band, and the box's first column and row, which may lie outside the image.
        place: (y, x) from `place_box`; not looked at where there is no model image.
        trust: relative error of neighbours' models, which adds to the variance.
        flux, spread: (y, x) float32, to be written; both 0 where a pixel is of no use.
    """
    first = np.int64(max(-x0, 0))
    last = np.int64(min(flux.shape[1], data.shape[2] - x0))
    top = np.int64(max(-y0, 0))
    bottom = np.int64(min(flux.shape[0], data.shape[1] - y0))
    if first > 0 or top > 0 or last < flux.shape[1] or bottom < flux.shape[0]:
        flux[:] = np.float32(0)
        spread[:] = np.float32(0)
    for r in range(top, bottom):
        y = np.uint64(y0 + r)
        for k in range(first, last):
            flux[np.uint64(r), np.uint64(k)] = data[b, y, np.uint64(x0 + k)]
    for r in range(top, bottom):
        y = np.uint64(y0 + r)
        for k in range(first, last):
            spread[np.uint64(r), np.uint64(k)] = variance[b, y, np.uint64(x0 + k)]
    if labels.shape[0] > 0:
        for r in range(top, bottom):
            y = np.uint64(y0 + r)
            for k in range(first, last):
                whose = labels[y, np.uint64(x0 + k)]
                v = spread[np.uint64(r), np.uint64(k)]
                spread[np.uint64(r), np.uint64(k)] = v if (whose == 0) | (whose == i + 1) else np.float32(0)
    if mask.shape[0] > 0:
        for r in range(top, bottom):
            y = np.uint64(y0 + r)
            for k in range(first, last):
                v = spread[np.uint64(r), np.uint64(k)]
                spread[np.uint64(r), np.uint64(k)] = v if (mask[b, y, np.uint64(x0 + k)] & unusable) == 0 else np.float32(0)
    for r in range(flux.shape[0]):
        for k in range(flux.shape[1]):
            v = worth(flux[r, k], spread[r, k])
            spread[r, k] = v
            flux[r, k] = flux[r, k] if v > np.float32(0) else np.float32(0)
    if model.shape[0] > 0:
        end = models.shape[2] - 1
        for r in range(top, bottom):
            y = np.uint64(y0 + r)
            for k in range(first, last):
                others = model[b, y, np.uint64(x0 + k)]
                here = place[np.uint64(r), np.uint64(k)]
                low = np.int32(here)
                if low < end:
                    inner = models[i, b, np.uint64(low)]
                    others -= inner + (here - np.float32(low)) * (models[i, b, np.uint64(low + 1)] - inner)
                v = spread[np.uint64(r), np.uint64(k)]
                if v > np.float32(0):
                    flux[np.uint64(r), np.uint64(k)] -= others
                    spread[np.uint64(r), np.uint64(k)] = v + trust * trust * others * others
