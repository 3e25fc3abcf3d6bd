"""The method: light in concentric circles."""

from __future__ import annotations

import numpy as np

from astrosurvey import Image
from astrosurvey.catalog.flags import UNUSABLE


def usable(image: Image) -> np.ndarray:
    """Return which pixels carry light that may be counted, (band, y, x) bool."""
    good = np.isfinite(image.data)
    if image.mask is not None:
        good &= (image.mask & UNUSABLE) == 0
    return good


def light_ratio(data: np.ndarray, good: np.ndarray, x: np.ndarray, y: np.ndarray, *, inner: float, outer: float) -> np.ndarray:
    """Return the light within `inner` divided by that within `outer` about each position.

    Args:
        data: (y, x) pixels, sky-subtracted.
        good: (y, x) bool, pixels that count.
        x: (n,) columns of the positions.
        y: (n,) rows of the positions.
        inner: radius in pixels.
        outer: radius in pixels.

    Returns:
        (n,) float32; NaN where the outer circle holds a pixel that does not count, reaches beyond the
        image, or holds no light.
    """
    ny, nx = data.shape
    reach = int(np.ceil(outer)) + 1
    ratio = np.full(len(x), np.nan, np.float32)
    for i, (xc, yc) in enumerate(zip(x, y, strict=True)):
        x0, y0 = round(float(xc)) - reach, round(float(yc)) - reach
        x1, y1 = x0 + 2 * reach + 1, y0 + 2 * reach + 1
        if x0 < 0 or y0 < 0 or x1 > nx or y1 > ny:
            continue
        rows, columns = np.mgrid[y0:y1, x0:x1]
        distance = np.hypot(columns - xc, rows - yc)
        # A pixel on the rim counts by about the part of it that lies inside.
        within = [np.clip(radius + 0.5 - distance, 0, 1) for radius in (inner, outer)]
        if not good[y0:y1, x0:x1][within[1] > 0].all():
            continue
        cutout = np.where(within[1] > 0, data[y0:y1, x0:x1], 0).astype(np.float64)
        small, large = ((weight * cutout).sum() for weight in within)
        if large > 0:
            ratio[i] = small / large
    return ratio
