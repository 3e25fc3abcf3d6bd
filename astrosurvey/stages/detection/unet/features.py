"""What the network sees of an image: significance of the pixels, significance after the PSF's filter, and the conditions.

Everything is in units of the noise as it is, not as the variance plane claims, and the width of the PSF is given or
measured, so one network serves images of any depth, seeing and noise correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..filter import FWHM_PER_SIGMA, DetectionImage, detection_image, smoothing

if TYPE_CHECKING:
    from ....products import Image

Device = Literal["cpu", "cuda"]

CHANNELS = ("significance", "matched significance", "width of the PSF", "correlation of the noise")
"""What the network sees of each group of bands."""
HALF_NORMAL_MEDIAN = 0.6745
CLIP = 4.0
"""Deviations below so many standard deviations are no noise: over-subtracted surroundings, dead pixels."""
TYPICAL_FWHM = 4.0
"""Pixels; the channel that tells the PSF's width is log2(fwhm / this)."""


@dataclass(frozen=True)
class Features:
    """An image as the network sees it: a group of bands that are combined, or several groups side by side.

    Attributes:
        maps: (2 group, y, x) float32, asinh of each group's significance, unsmoothed and filtered; 0 where nothing is known.
        conditions: (2 group,) float32, what is the same in all pixels: log2 of the PSF's width, log of the noise correlation.
        detection: all the groups' bands filtered and combined, its `snr` in units of the measured noise.
        fwhm: of the filter, pixels.
    """

    maps: np.ndarray
    conditions: np.ndarray
    detection: DetectionImage
    fwhm: float

    @property
    def mean_conditions(self) -> np.ndarray:
        """The (2,) conditions, averaged over the groups."""
        return np.asarray(self.conditions.reshape(-1, 2).mean(axis=0), float)

    def window(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the network's input for a part of the image, (4 group, y, x) float32."""
        maps = self.maps[:, rows, columns]
        conditions = np.broadcast_to(self.conditions[:, None, None], (len(self.conditions), *maps.shape[1:]))
        return np.concatenate([maps, conditions]).astype(np.float32, copy=False)


def features(
    image: Image, bands: Sequence[str] | None, fwhm: float | None, *, apart: bool = False, device: Device = "cpu"
) -> tuple[Features, str]:
    """Return an image's features, and where the width of the PSF comes from (see `detection.filter.smoothing`).

    Several bands are combined by inverse variance, or looked at side by side. The noise is measured on the negative
    side of each map, which sources hardly touch: so a wrong variance plane or correlated noise (drizzled, resampled)
    is noticed.

    Args:
        image: sky-subtracted, with variance.
        bands: to use; None for all.
        fwhm: of the PSF in pixels; None asks the image.
        apart: whether each band is a group of its own.
        device: where to filter.
    """
    widths, origin = smoothing(image, fwhm)
    names = list(bands or image.bands)
    groups = [[name] for name in names] if apart else [names]
    parts = [_group(image, group, widths, device) for group in groups]
    detection, noise = parts[0][2:] if len(parts) == 1 else _matched(image, names, widths, device)
    np.divide(detection.snr, noise, out=detection.snr)
    maps = parts[0][0] if len(parts) == 1 else np.concatenate([part[0] for part in parts])
    conditions = np.concatenate([part[1] for part in parts])
    return Features(maps, conditions, detection, _width(image, names, widths)), origin


def _width(image: Image, bands: list[str], widths: np.ndarray) -> float:
    return max(float(np.median([widths[image.bands.index(name)] for name in bands if name in image.bands])), 0.5)


def _matched(image: Image, bands: list[str], widths: np.ndarray, device: Device) -> tuple[DetectionImage, np.float32]:
    detection = detection_image(image, bands, widths, device=device)
    return detection, _noise(detection.snr)


def _group(image: Image, bands: list[str], widths: np.ndarray, device: Device) -> tuple[np.ndarray, np.ndarray, DetectionImage, np.float32]:
    """Return maps and conditions of bands that are combined, and their filtered image with its measured noise."""
    maps = np.empty((2, *image.data.shape[1:]), np.float32)
    sharp = detection_image(image, bands, np.zeros_like(widths), device=device)
    known = np.isfinite(sharp.variance)
    pixel_noise = _noise(sharp.snr[known])
    typical = np.float32(np.sqrt(np.median(sharp.variance[known]))) if known.any() else np.float32(1)
    np.divide(sharp.snr, pixel_noise, out=maps[0])
    del sharp  # two planes that would lie about while the next two are made
    matched, noise = _matched(image, bands, widths, device)
    # Where a pixel is masked, what its neighbours make of it stands in.
    maps[0][~known] = matched.flux[~known] / (typical * pixel_noise)
    np.divide(matched.snr, noise, out=maps[1])
    np.arcsinh(maps, out=maps)
    conditions = np.array([np.log2(_width(image, bands, widths) / TYPICAL_FWHM), np.log(noise / pixel_noise)], np.float32)
    return maps, conditions, matched, noise


def _noise(values: np.ndarray) -> np.float32:
    """Return the standard deviation that the negative half of the values shows; 1 where there are too few."""
    below = values[values < 0]
    if below.size < 100:
        return np.float32(1.0)
    rough = -np.median(below) / HALF_NORMAL_MEDIAN
    below = below[below > -CLIP * rough]
    return np.float32(
        np.sqrt(sum(np.square(part, dtype=np.float64).sum() for part in np.array_split(below, 1 + below.size // 65536)) / below.size)
    )


def noise_equivalent_area(fwhm: float) -> float:
    """Return the noise-equivalent area in pixels of a Gaussian of that FWHM."""
    return float(4.0 * np.pi * (fwhm / FWHM_PER_SIGMA) ** 2)
