"""Which peaks of an island are sources: those that persist in the image, smoothed little and more, and once it is sharpened.

Little smoothing parts close companions; more of it, faint ones farther away. A companion on the shoulder of
another source makes no peak of its own in a smoothed image. In the difference of two smoothings, which
takes away what varies slowly, it does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...catalog.flags import PIXEL, SOURCE, UNUSABLE
from ...core.stage import DataError
from ...kernels._islands import renumbered
from ...kernels._numba import read_only
from ...kernels.cutouts import KERNEL as CUTOUTS
from ...kernels.flood import KERNEL as FLOOD
from ...kernels.matched_filter import Bits
from ...products import Image
from ..detection import footprints
from ..detection.filter import FWHM_PER_SIGMA, DetectionImage, choose_bands, gaussian, typical_variances
from .children import Children
from .patches import Batch, batches, extents
from .weighing import standing

AREA = math.pi / (4.0 * math.log(2.0))
"""Flux of a Gaussian over its peak, in units of the square of its FWHM."""

LARGE = 6.0
"""Areas of smoothed point sources in a piece from which on its shoulders need more significance, as noise has more chances there."""


@dataclass(frozen=True)
class Criteria:
    """What makes a peak a source of its own.

    Attributes:
        significance: its height above the saddle in the image, in standard deviations of the smoothed noise.
        shoulder: its height above the saddle in the sharpened image, in standard deviations of that one's noise; more in large pieces.
        contrast: flux of a point source as high, as a fraction of the light of its piece and of those that touch it.
        min_pixels: pixels above the saddle.
        smoothing: FWHM of the map's smoothing, in units of the PSF's.
        sharpening: FWHM of the smoothing that is subtracted from it to sharpen; 0 does not sharpen.
    """

    significance: float
    shoulder: float
    contrast: float
    min_pixels: int
    smoothing: float
    sharpening: float


def split(
    image: Image,
    bands: tuple[str, ...] | None,
    fwhm: np.ndarray,
    labels: np.ndarray,
    criteria: Criteria,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Children:
    """Split the islands of a segmentation, first in the image and then in the sharpened image.

    Args:
        image: with variance.
        bands: those to work in; None for all.
        fwhm: (band,) FWHM of the PSF in pixels, for all bands of the image.
        labels: (y, x) int32, islands 1 to n.
        criteria: when to split.
        device: where to flood.

    Returns:
        the pieces of the islands that were split, measured in the sharpest map they were seen in: placed in the
        sharpened image, a piece is drawn less towards its neighbour.

    References:
        Marr & Hildreth (1980), Proc. R. Soc. B 207, 187; see `astrosurvey.kernels.flood` for flooding.
    """
    if image.variance is None:
        raise DataError("the image has no variance, so there is no noise to split against; put a background.mesh stage before")
    chosen = choose_bands(image, bands)
    if chosen == list(range(len(image.bands))):
        data, variance, mask = image.data, image.variance, image.mask
    else:
        data, variance, mask = image.data[chosen], image.variance[chosen], None if image.mask is None else image.mask[chosen]
    work = _Work(Image(data, tuple(image.bands[b] for b in chosen), variance=variance, mask=mask), fwhm[chosen], criteria, device)
    box, pixels = extents(*read_only(labels), int(labels.max(initial=0)))
    # Two pieces and the saddle between them need so many.
    wanted = np.flatnonzero(pixels[1:] > 2 * criteria.min_pixels) + 1
    found = [work.split(batch) for batch in batches(labels, wanted, box)]
    return Children.concatenate(found)


class _Work:
    """What is the same for all batches of an image."""

    def __init__(self, image: Image, fwhm: np.ndarray, criteria: Criteria, device: Literal["cpu", "cuda"]) -> None:
        self.image, self.criteria, self.device = image, criteria, device
        assert image.variance is not None
        mask = image.mask if image.mask is not None else np.zeros((len(image.data), 0, 0), np.int32)
        self.typical = typical_variances(image)
        self.planes = (image.data, image.variance, mask, self.typical, Bits(UNUSABLE, PIXEL["SAT"]))
        widths = [criteria.smoothing * fwhm, fwhm, criteria.sharpening * fwhm]
        self.share = float(np.mean([_noise_share(fine, coarse) for fine, coarse in zip(widths[0], widths[2], strict=True)]))
        self.sharpens = criteria.sharpening > criteria.smoothing and self.share > 0
        filters = [[gaussian(width) for width in of_bands] for of_bands in (widths if self.sharpens else widths[:2])]
        self.reach = np.array([[kernel.size // 2 for kernel in of_bands] for of_bands in filters], np.int64)
        most = int(self.reach.max())
        self.taps = np.array([[np.pad(kernel, most - kernel.size // 2) for kernel in of_bands] for of_bands in filters], np.float32)
        self.sigma = float(np.mean(fwhm) / FWHM_PER_SIGMA)
        fine, middle, coarse = (float(np.mean(np.square(fwhm) + np.square(width))) * AREA for width in widths)
        # In a difference of two smoothings a point source is as high as in the first, less what it has in the second.
        areas = [fine, middle, *([1.0 / (1.0 / fine - 1.0 / coarse)] if self.sharpens else [])]
        self.areas = [max(area, 1.0) for area in areas]

    def split(self, batch: Batch) -> Children:
        """Return the pieces of the islands of a batch."""
        criteria, flood = self.criteria, FLOOD.on(self.device)
        flux, noise = CUTOUTS.on(self.device)(*self.planes, self.taps, self.reach, batch.box, batch.place, batch.labels.shape)

        pieces, parent = batch.labels, np.arange(1, len(batch.island))
        sharp = flux[0] - flux[2] if self.sharpens else flux[0]
        steps = [flux[0], flux[1], *([sharp] if self.sharpens else [])]
        for step, (bright, area) in enumerate(zip(steps, self.areas, strict=True)):
            height = np.float32(criteria.significance) * noise[step] if step < 2 else self._shoulder(pieces) * noise[0]
            pieces, piece = flood(pieces, bright, height, criteria.min_pixels)
            pieces, piece = standing(pieces, piece, bright, flux[0], area, criteria.contrast)
            shoulder = np.bincount(piece)[piece] > 1
            parent = parent[piece - 1]
        flags = SOURCE["SHOULDER"] * shoulder if self.sharpens else 0

        child = np.bincount(parent, minlength=len(batch.island))[parent] > 1
        number = np.zeros(len(parent) + 1, np.int32)
        number[1:][child] = np.arange(1, child.sum() + 1)
        labels = renumbered(pieces, number)
        parent = parent[child]
        snr = flux[1] / noise[1]
        maps = DetectionImage(sharp, snr, self.image, range(len(self.image.bands)), self.typical, self.sigma)
        measured = footprints.measure(labels, maps, offset=batch.offset[parent])
        measured["flags"] |= np.broadcast_to(flags, len(child))[child]
        where = np.flatnonzero(labels)
        number = labels.reshape(-1)[where]
        y, x = batch.places(where)
        return Children(y * self.image.data.shape[2] + x, number, batch.island[parent], measured)

    def _shoulder(self, pieces: np.ndarray) -> np.ndarray:
        """Return the height that a peak in the sharpened image needs, (v, u) float32, in units of the noise of the image."""
        chances = np.bincount(pieces.reshape(-1)) / (LARGE * self.areas[0])
        # So many standard deviations that noise has as little chance in a large piece as in a small one.
        rise = np.sqrt(self.criteria.shoulder**2 + 2.0 * np.log(np.maximum(chances, 1.0)))
        return np.asarray((self.share * rise).astype(np.float32)[pieces])


def _noise_share(fine: float, coarse: float) -> float:
    """Return the noise of the difference of two smoothings, in units of that of the finer one."""
    a, b = gaussian(fine), gaussian(coarse)
    reach = (max(a.size, b.size) - 1) // 2
    a, b = (np.pad(kernel, reach - (kernel.size - 1) // 2) for kernel in (a, b))
    aa, ab, bb = (float(np.dot(p, q)) ** 2 for p, q in ((a, a), (a, b), (b, b)))
    return float(np.sqrt(max(aa - 2.0 * ab + bb, 0.0) / aa))
