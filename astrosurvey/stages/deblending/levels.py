"""Which peaks of an island are sources: those that persist in the image, and those that persist once it is sharpened.

A companion on the shoulder of another source makes no peak of its own in a smoothed image. In the
difference of two smoothings, which takes away what varies slowly, it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from ...kernels.flood import KERNEL
from ..detection.filter import choose_bands, detection_image, gaussian

if TYPE_CHECKING:
    from ...products import Image

SURROUNDINGS = 8.0
"""Side of the square, in widths of the PSF, over which the brightness around a peak is taken."""


@dataclass(frozen=True)
class Criteria:
    """What makes a peak a source of its own.

    Attributes:
        significance: its height above the saddle in the image, in standard deviations of the smoothed noise.
        shoulder: its height above the saddle in the sharpened image, in standard deviations of that one's noise.
        relief: its height in either, in units of the mean brightness around it.
        contrast: flux above the saddle, as a fraction of the island's.
        min_pixels: pixels above the saddle.
        smoothing: FWHM of the map's smoothing, in units of the PSF's.
        sharpening: FWHM of the smoothing that is subtracted from it to sharpen; 0 does not sharpen.
    """

    significance: float
    shoulder: float
    relief: float
    contrast: float
    min_pixels: int
    smoothing: float
    sharpening: float


@dataclass(frozen=True)
class Pieces:
    """What an image's islands were split into.

    Attributes:
        labels: (y, x) int32, 0 for sky, pieces 1 to m in the raster order of their peaks.
        parent: (m,) int32, label of the island that each piece is part of.
        shoulder: (m,) bool, whether a piece is parted from another in the sharpened image only.
        sharp: (y, x) float32, the sharpest map they were seen in.
    """

    labels: np.ndarray
    parent: np.ndarray
    shoulder: np.ndarray
    sharp: np.ndarray


def split(
    image: Image,
    bands: tuple[str, ...] | None,
    fwhm: np.ndarray,
    labels: np.ndarray,
    criteria: Criteria,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Pieces:
    """Split the islands of a segmentation, first in the image and then in the sharpened image.

    Args:
        image: with variance.
        bands: those to work in; None for all.
        fwhm: (band,) FWHM of the PSF in pixels, for all bands of the image.
        labels: (y, x) int32, islands 1 to n.
        criteria: when to split.
        device: where to flood.

    References:
        Marr & Hildreth (1980), Proc. R. Soc. B 207, 187; see `astrosurvey.kernels.flood` for flooding.
    """
    flood = KERNEL.on(device)
    fine, coarse = criteria.smoothing * fwhm, criteria.sharpening * fwhm
    smooth = detection_image(image, bands, fine)
    noise = np.full(labels.shape, np.inf, np.float32)
    np.divide(smooth.flux, smooth.snr, out=noise, where=smooth.snr != 0)
    chosen = choose_bands(image, bands)
    side = int(SURROUNDINGS * float(np.mean(fwhm[chosen]))) | 1
    relief = np.maximum(ndimage.uniform_filter(smooth.flux, side, mode="constant"), 0) * np.float32(criteria.relief)
    where = np.flatnonzero(labels)
    total = np.bincount(labels.ravel()[where], np.maximum(smooth.flux.ravel()[where], 0), int(labels.max(initial=0)) + 1)
    floor = (criteria.contrast * total).astype(np.float32)

    height = np.maximum(np.float32(criteria.significance) * noise, relief)
    first, island = flood(labels, smooth.flux, height, floor, criteria.min_pixels)
    share = float(np.mean([_noise_share(fine[b], coarse[b]) for b in chosen]))
    if criteria.sharpening == 0 or share == 0:
        return Pieces(first, island, np.zeros(len(island), bool), smooth.flux)
    sharp = smooth.flux - detection_image(image, bands, coarse).flux
    height = np.maximum(np.float32(criteria.shoulder * share) * noise, relief)
    second, piece = flood(first, sharp, height, np.concatenate([floor[:1], floor[island]]), criteria.min_pixels)
    return Pieces(second, island[piece - 1], np.bincount(piece)[piece] > 1, sharp)


def _noise_share(fine: float, coarse: float) -> float:
    """Return the noise of the difference of two smoothings, in units of that of the finer one."""
    a, b = gaussian(fine), gaussian(coarse)
    reach = (max(a.size, b.size) - 1) // 2
    a, b = (np.pad(kernel, reach - (kernel.size - 1) // 2) for kernel in (a, b))
    aa, ab, bb = (float(np.dot(p, q)) ** 2 for p, q in ((a, a), (a, b), (b, b)))
    return float(np.sqrt(max(aa - 2.0 * ab + bb, 0.0) / aa))
