"""Spectral indices and their errors: exact integrals over the bands, in which a pixel counts as far as it lies inside.

An index is a function of the pixels' fluxes; its error is their noise times its derivative, so that pixels which a band
shares with its neighbour are counted once.

References:
    Worthey et al. (1994), ApJS 94, 687, eqs. 2 and 3; Cardiel et al. (1998), A&AS 127, 597, for errors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....catalog.flags import SPECTRAL_LINE
from .indexlist import INDICES, Index, Span

COVERED = 0.8
"""A band of which usable pixels cover less is masked."""
WHOLE = 0.999
CONTINUUM_SNR = 3.0
"""The mean flux beside an index must be this many of its errors above zero."""


class Rest(NamedTuple):
    """Spectra in their rest frames; arrays (n, pixel).

    Attributes:
        low, high: Å, edges of the pixels.
        flux: flux density per wavelength.
        variance: of it.
        good: whether the pixel is usable.
    """

    low: np.ndarray
    high: np.ndarray
    flux: np.ndarray
    variance: np.ndarray
    good: np.ndarray


class Measured(NamedTuple):
    """An index of n spectra: strength, its error, and the bits of `SPECTRAL_LINE`; NaN where there is none."""

    strength: np.ndarray
    error: np.ndarray
    flags: np.ndarray


def measure_indices(rest: Rest) -> dict[str, Measured]:
    """Return all indices by key."""
    return {index.key: measure_index(index, rest) for index in INDICES}


def measure_index(index: Index, rest: Rest) -> Measured:
    """Return one index of each spectrum."""
    spans = [index.blue, index.red, *([index.band] if index.band is not None else [])]
    cut = _cut(rest, min(low for low, _ in spans), max(high for _, high in spans))
    overlaps = [_overlap(span, cut) for span in spans]
    covered = np.min([overlap.sum(axis=1) / (high - low) for overlap, (low, high) in zip(overlaps, spans, strict=True)], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        strength, slope, sure = (_break if index.band is None else _strength)(index, cut, overlaps)
        error = np.sqrt(_sum(slope**2, np.where(cut.good, cut.variance, 0)))
    outside = (rest.low[:, 0] > np.min(spans)) | (rest.high[:, -1] < np.max(spans))
    flags = np.where(outside, SPECTRAL_LINE["OUTSIDE"], 0)
    flags |= np.where(~outside & (covered < COVERED), SPECTRAL_LINE["MASKED"], 0)
    flags |= np.where(~outside & (covered >= COVERED) & (covered < WHOLE), SPECTRAL_LINE["PARTLY_MASKED"], 0)
    fine = ~outside & (covered >= COVERED)
    flags |= np.where(fine & ~(sure & np.isfinite(strength)), SPECTRAL_LINE["NO_CONTINUUM"], 0)
    fine &= sure & np.isfinite(strength)
    return Measured(np.where(fine, strength, np.nan), np.where(fine, error, np.nan), flags.astype(np.int32))


def _cut(rest: Rest, low: float, high: float) -> Rest:
    """Return each spectrum's pixels from `low` to `high`, Å; behind the last of them there are others, which are not usable."""
    first = (rest.high <= low).sum(axis=1)
    count = (rest.low < high).sum(axis=1) - first
    place = first[:, None] + np.arange(max(int(count.max(initial=0)), 1))
    inside = place < (first + count)[:, None]
    place = np.minimum(place, rest.flux.shape[1] - 1)
    cut = Rest(*(np.take_along_axis(plane, place, axis=1) for plane in rest))
    return cut._replace(good=cut.good & inside)


def _overlap(span: Span, cut: Rest) -> np.ndarray:
    """Return the part of each usable pixel inside a band, Å."""
    inside = np.clip(np.minimum(cut.high, span[1]) - np.maximum(cut.low, span[0]), 0, None)
    return np.asarray(inside * cut.good)


def _sum(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return (n,) sums over pixels, in an order that does not change when pixels without weight are appended."""
    return np.asarray(np.einsum("np,np->n", left, right))


def _mean(weights: np.ndarray, cut: Rest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean flux under weights, its derivative with the pixels, and whether it is well above zero."""
    part = weights / _sum(weights, np.ones_like(weights))[:, None]
    mean = _sum(part, np.where(cut.good, cut.flux, 0))
    noise = np.sqrt(_sum(part**2, np.where(cut.good, cut.variance, 0)))
    return mean, part, mean > CONTINUUM_SNR * noise


def _strength(index: Index, cut: Rest, overlaps: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an equivalent width or magnitude, its derivative with the pixels' fluxes, and whether there is a continuum."""
    assert index.band is not None
    (blue, by_blue, sure_blue), (red, by_red, sure_red) = _mean(overlaps[0], cut), _mean(overlaps[1], cut)
    left, right = sum(index.blue) / 2, sum(index.red) / 2
    along = ((cut.low + cut.high) / 2 - left) / (right - left)
    line = blue[:, None] * (1 - along) + red[:, None] * along
    width = index.band[1] - index.band[0]
    # Pixels that are missing inside the band are taken to be like those that are there.
    part = overlaps[2] / _sum(overlaps[2], np.ones_like(along))[:, None]
    flux = np.where(cut.good, cut.flux, 0)
    ratio = _sum(part, flux / line)
    pull = part * flux / line**2
    slope = part / line - _sum(pull, 1 - along)[:, None] * by_blue - _sum(pull, along)[:, None] * by_red
    sure = sure_blue & sure_red
    if index.unit == "mag":
        return -2.5 * np.log10(ratio), -2.5 / np.log(10) * slope / ratio[:, None], sure & (ratio > 0)
    return width * (1 - ratio), -width * slope, sure


def _break(index: Index, cut: Rest, overlaps: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ratio of the mean flux densities per frequency, which are those per wavelength times its square."""
    square = ((cut.low + cut.high) / 2) ** 2
    per_frequency = Rest(cut.low, cut.high, cut.flux * square, cut.variance * square**2, cut.good)
    (blue, by_blue, sure_blue), (red, by_red, sure_red) = _mean(overlaps[0], per_frequency), _mean(overlaps[1], per_frequency)
    ratio = red / blue
    slope = (by_red / blue[:, None] - (ratio / blue)[:, None] * by_blue) * square
    return ratio, slope, sure_blue & sure_red
