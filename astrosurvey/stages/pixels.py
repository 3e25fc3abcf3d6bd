"""Which pixels of an image carry flux that may be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..catalog.flags import UNUSABLE

if TYPE_CHECKING:
    from ..products import Image


def usable(image: Image) -> np.ndarray:
    """Return which pixels carry usable flux: finite, without an unusable mask bit, of known positive variance.

    Args:
        image: an image of any number of bands; without a variance plane only data and mask decide.

    Returns:
        (band, y, x) bool.
    """
    good: np.ndarray = np.isfinite(image.data)
    if image.variance is not None:
        with np.errstate(invalid="ignore"):
            good &= np.isfinite(image.variance) & (image.variance > 0)
    if image.mask is not None:
        good &= (image.mask & UNUSABLE) == 0
    return good
