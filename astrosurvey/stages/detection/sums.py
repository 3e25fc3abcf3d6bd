"""Sums over the pixels of footprints, in compiled passes over their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...catalog.flags import PIXEL, UNUSABLE
from ...kernels._filtering import masked_weight
from ...kernels._numba import helper, read_only, serial

if TYPE_CHECKING:
    from .filter import DetectionImage

NO_DATA, SATURATED, BAD = int(PIXEL["NO_DATA"]), int(PIXEL["SAT"]), int(UNUSABLE)
TINY = float(np.finfo(float).tiny)


class Sums(NamedTuple):
    """What a pass over the pixels of n footprints finds.

    Attributes:
        box: (n, 4) int64, y0, x0, y1, x1, half-open.
        pixels: (n,) int64.
        bits: (n,) int32, the mask bits that any pixel has in any band; NO_DATA where a band says nothing.
        brightest: (n,) int64, flat index of the pixel of the highest S/N, of equals the first.
        flux: (n, 3) float64, sums of the positive flux, and of it times y and x.
        snr: (n, 3) float64, the same of the positive S/N.
    """

    box: np.ndarray
    pixels: np.ndarray
    bits: np.ndarray
    brightest: np.ndarray
    flux: np.ndarray
    snr: np.ndarray


def sums(labels: np.ndarray, n: int, detection: DetectionImage, offset: np.ndarray) -> Sums:
    """Return the sums over each footprint's pixels.

    Args:
        labels: (v, u) int32, 0 for sky, 1 to n.
        n: how many footprints there are.
        detection: its flux and S/N are (v, u).
        offset: (n, 2) int64, what is to be added to (v, u) of a footprint's pixels for their place in the image.
    """
    counts = (np.zeros((n, 4), np.int64), np.zeros(n, np.int64), np.zeros(n, np.int32), np.full(n, -1))
    found = Sums(*counts, np.zeros((n, 3)), np.zeros((n, 3)))
    found.box[:, :2] = labels.shape
    _add(*read_only(labels, detection.flux, detection.snr, offset), *_planes(detection), *found)
    return found


def spreads(labels: np.ndarray, detection: DetectionImage, offset: np.ndarray, centre: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the sums of each pixel's variance times the squares and the product of its distances from a centre.

    Args:
        labels: as of `sums`.
        detection: as of `sums`.
        offset: as of `sums`.
        centre: (n, 2) float64, row and column in `labels`.
        wanted: (n,) bool; the others are zero.

    Returns:
        (n, 3) float64, along y, along x and both; pixels of unknown variance add nothing.
    """
    total = np.zeros((len(centre), 3))
    if wanted.any():
        _spread(*read_only(labels, offset), *_planes(detection), *read_only(detection.typical), centre, wanted, total)
    return total


def _planes(detection: DetectionImage) -> list[np.ndarray]:
    """Return data, variance, mask and which of the bands count."""
    image = detection.image
    assert image.variance is not None
    mask = image.mask if image.mask is not None else np.zeros((len(image.data), 0, 0), np.int32)
    return read_only(image.data, image.variance, mask, np.array(detection.chosen, np.int64))


@serial
def _add(labels, flux, snr, offset, data, variance, mask, chosen, box, pixels, bits, brightest, by_flux, by_snr):  # type: ignore[no-untyped-def]
    rows, columns = labels.shape
    for v in range(rows):
        for u in range(columns):
            if labels[v, u] <= 0:
                continue
            k = labels[v, u] - 1
            box[k, 0], box[k, 1] = min(box[k, 0], v), min(box[k, 1], u)
            box[k, 2], box[k, 3] = max(box[k, 2], v + 1), max(box[k, 3], u + 1)
            pixels[k] += 1
            at = v * columns + u
            if brightest[k] < 0 or snr[v, u] > snr[brightest[k] // columns, brightest[k] % columns]:
                brightest[k] = at
            value = max(flux[v, u], np.float32(0))
            by_flux[k, 0] += value
            by_flux[k, 1] += np.float64(value) * v
            by_flux[k, 2] += np.float64(value) * u
            value_snr = max(np.float64(snr[v, u]), TINY)
            by_snr[k, 0] += value_snr
            by_snr[k, 1] += value_snr * v
            by_snr[k, 2] += value_snr * u
            bits[k] |= _bits(data, variance, mask, chosen, v + offset[k, 0], u + offset[k, 1])


@helper
def _bits(data, variance, mask, chosen, y, x):  # type: ignore[no-untyped-def]
    """Return the mask bits that any of the bands has at a pixel; NO_DATA for one that says nothing and not why."""
    found = np.int32(0)
    for b in chosen:
        here = mask[b, y, x] if mask.shape[1] > 0 else np.int32(0)
        told = np.isfinite(data[b, y, x]) and np.isfinite(variance[b, y, x]) and variance[b, y, x] > 0
        found |= here if told or (here & BAD) != 0 else here | NO_DATA
    return found


@serial
def _spread(labels, offset, data, variance, mask, chosen, typical, centre, wanted, total):  # type: ignore[no-untyped-def]
    for v in range(labels.shape[0]):
        for u in range(labels.shape[1]):
            k = labels[v, u] - 1
            if k < 0 or not wanted[k]:
                continue
            y, x = v + offset[k, 0], u + offset[k, 1]
            inverse = np.float32(0)
            for c in range(chosen.size):
                b = chosen[c]
                bits = mask[b, y, x] if mask.shape[1] > 0 else np.int32(0)
                inverse += masked_weight(data[b, y, x], variance[b, y, x], bits, BAD, SATURATED, typical[c])
            if inverse > 0:
                dy, dx = v - centre[k, 0], u - centre[k, 1]
                of_pixel = np.float64(np.float32(1) / inverse)
                total[k, 0] += of_pixel * dy * dy
                total[k, 1] += of_pixel * dx * dx
                total[k, 2] += of_pixel * dy * dx
