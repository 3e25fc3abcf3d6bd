"""What sep is given: writable planes without NaN, and which of their pixels count."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from astrosurvey import DataError, Image


class Plane(NamedTuple):
    """One plane of pixels as sep wants it: 0 where masked."""

    data: np.ndarray
    error: np.ndarray
    masked: np.ndarray


def plane(image: Image, good: np.ndarray, band: int) -> Plane:
    """Return one band for sep.

    Raises:
        DataError: the image has no variance.
    """
    ok = good[band]
    variance = require_variance(image)[band]
    error = np.sqrt(np.where(ok, variance, 0), dtype=np.float32)
    return Plane(np.where(ok, image.data[band], np.float32(0)), error, ~ok)


def combined(image: Image, good: np.ndarray) -> Plane:
    """Return the mean of all bands, weighted by inverse variance; masked where no band has a usable pixel.

    Raises:
        DataError: the image has no variance.
    """
    variance = require_variance(image)
    with np.errstate(divide="ignore"):
        weight = np.where(good, 1 / variance.astype(np.float64), 0)
    total = weight.sum(axis=0)
    masked = total == 0
    safe = np.where(masked, 1, total)
    data = (np.where(good, image.data, 0) * weight).sum(axis=0) / safe
    return Plane(data.astype(np.float32), np.where(masked, 0, 1 / np.sqrt(safe)).astype(np.float32), masked)


def require_variance(image: Image) -> np.ndarray:
    """Return the image's variance.

    Raises:
        DataError: it has none.
    """
    if image.variance is None:
        raise DataError("the image has no variance, so there is no noise to detect against; put sep.background before, which measures it")
    return image.variance
