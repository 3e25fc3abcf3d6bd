"""Which peaks of an island are sources: those that persist in the image, smoothed little and more, and once it is sharpened.

Little smoothing parts close companions; more of it, faint ones farther away. A companion on the shoulder of
another source makes no peak of its own in a smoothed image. In the difference of two smoothings, which
takes away what varies slowly, it does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...catalog.flags import PIXEL, SOURCE, UNUSABLE
from ...core.stage import DataError
from ...kernels import _basins
from ...kernels.flood import KERNEL as FLOOD
from ...kernels.matched_filter import Bits
from ...kernels.surroundings import KERNEL as SURROUNDINGS_OF
from ...products import Image
from ..detection import footprints
from ..detection.filter import choose_bands, detection_images, gaussian, typical_variances
from .children import Children
from .patches import Batch, batches, extents

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
    box, pixels = extents(labels, int(labels.max(initial=0)))
    # Two pieces and the saddle between them need so many.
    wanted = np.flatnonzero(pixels[1:] > 2 * criteria.min_pixels) + 1
    found = [work.split(batch) for batch in batches(data, variance, mask, labels, wanted, box, work.margin)]
    return Children.concatenate(found, labels.shape)


class _Work:
    """What is the same for all batches of an image."""

    def __init__(self, image: Image, fwhm: np.ndarray, criteria: Criteria, device: Literal["cpu", "cuda"]) -> None:
        self.image, self.fwhm, self.criteria, self.device = image, fwhm, criteria, device
        self.typical = typical_variances(image)
        widths = [criteria.smoothing * fwhm, fwhm, criteria.sharpening * fwhm]
        self.share = float(np.mean([_noise_share(fine, coarse) for fine, coarse in zip(widths[0], widths[2], strict=True)]))
        self.sharpens = criteria.sharpening > 0 and self.share > 0
        self.banks = [[width] for width in (widths if self.sharpens else widths[:2])]
        self.margin = max(1, *(gaussian(width).size // 2 for bank in self.banks for width in bank[0]))
        self.half = int(SURROUNDINGS * float(np.mean(fwhm))) // 2

    def split(self, batch: Batch) -> Children:
        """Return the pieces of the islands of a batch."""
        criteria, flood = self.criteria, FLOOD.on(self.device)
        image = Image(batch.data, self.image.bands, variance=batch.variance, mask=batch.mask)
        fine, whole, *coarse = detection_images(image, None, self.banks, device=self.device, typical=self.typical)
        where = np.flatnonzero(batch.labels)
        total = np.bincount(batch.labels.reshape(-1)[where], np.maximum(fine.flux.reshape(-1)[where], 0), len(batch.island))
        floor = (criteria.contrast * total).astype(np.float32)

        pieces, parent = batch.labels, np.arange(1, len(batch.island))
        sharp, noise = fine.flux, _noise(fine.flux, fine.snr)
        steps = [(fine.flux, criteria.significance * noise), (whole.flux, criteria.significance * _noise(whole.flux, whole.snr))]
        if coarse:
            sharp = fine.flux - coarse[0].flux
            steps.append((sharp, criteria.shoulder * self.share * noise))
        for bright, rise in steps:
            height = self._heights(batch, pieces, bright, rise.astype(np.float32))
            pieces, piece = flood(pieces, bright, height, floor[np.concatenate([[0], parent])], criteria.min_pixels)
            shoulder = np.bincount(piece)[piece] > 1
            parent = parent[piece - 1]
        flags = SOURCE["SHOULDER"] * shoulder if coarse else 0

        child = np.bincount(parent, minlength=len(batch.island))[parent] > 1
        number = np.zeros(len(parent) + 1, np.int32)
        number[1:][child] = np.arange(1, child.sum() + 1)
        labels = number[pieces]
        measured = footprints.measure(labels, replace(whole, flux=sharp))
        measured["flags"] |= np.broadcast_to(flags, len(parent))[child]
        where = np.flatnonzero(labels)
        y, x = batch.places(where)
        parent = parent[child]
        offset = batch.offset[parent]
        for axis, name in enumerate("yx"):
            for column in (name, f"{name}_min", f"{name}_max"):
                measured[column] = measured[column] + offset[:, axis]
        at = y.astype(np.int64) * self.image.data.shape[2] + x
        return Children(at, labels.reshape(-1)[where], batch.island[parent], measured)

    def _heights(self, batch: Batch, labels: np.ndarray, bright: np.ndarray, height: np.ndarray) -> np.ndarray:
        """Return by how much peaks have to rise, given what the noise asks for, (v, u) float32."""
        image = self.image
        peaks = _basins.peaks(labels, bright, height)
        rivals = np.bincount(labels.reshape(-1)[peaks], minlength=1)
        peaks = peaks[rivals[labels.reshape(-1)[peaks]] > 1]  # where there is but one nothing can be split
        mask = image.mask if image.mask is not None else np.zeros((len(image.data), 0, 0), np.int32)
        planes = (image.data, image.variance, mask, self.typical, Bits(UNUSABLE, PIXEL["SAT"]))
        around = SURROUNDINGS_OF.on(self.device)(*planes, *batch.places(peaks), self.half)
        flat = height.reshape(-1)
        flat[peaks] = np.maximum(flat[peaks], np.float32(self.criteria.relief) * around)
        return height


def _noise(flux: np.ndarray, snr: np.ndarray) -> np.ndarray:
    """Return the standard deviation of a smoothed map; inf where nothing is known."""
    return np.divide(flux, snr, out=np.full(flux.shape, np.inf, np.float32), where=snr != 0)


def _noise_share(fine: float, coarse: float) -> float:
    """Return the noise of the difference of two smoothings, in units of that of the finer one."""
    a, b = gaussian(fine), gaussian(coarse)
    reach = (max(a.size, b.size) - 1) // 2
    a, b = (np.pad(kernel, reach - (kernel.size - 1) // 2) for kernel in (a, b))
    aa, ab, bb = (float(np.dot(p, q)) ** 2 for p, q in ((a, a), (a, b), (b, b)))
    return float(np.sqrt(max(aa - 2.0 * ab + bb, 0.0) / aa))
