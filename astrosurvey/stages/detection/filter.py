"""The detection image: bands matched-filtered and combined into one map of flux and one of significance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage, special

from ...catalog.flags import PIXEL, UNUSABLE
from ...core.stage import DataError
from ..sky import pixel_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...products import Image

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
UNKNOWN_FWHM = 2.5
"""Smoothing in pixels for an image that says nothing of its seeing: a well-sampled star's."""
MIN_COVERAGE = 0.5
"""Masked pixels count as part of a source where the filter sees more usable than masked sky: over bad columns, not outside the field."""


@dataclass(frozen=True)
class DetectionImage:
    """What detection, deblending and shapes work on; every array is (y, x).

    Attributes:
        flux: float32, smoothed flux per pixel, a mean over the bands; 0 where nothing is known.
        snr: float32, its significance in standard deviations of the smoothed noise; 0 where nothing is known.
        variance: float32, variance per pixel of the unsmoothed mean over the bands; inf where no band is usable.
        bits: int32, the mask bits that any of the bands has set.
    """

    flux: np.ndarray
    snr: np.ndarray
    variance: np.ndarray
    bits: np.ndarray


def effective_fwhm(psf: np.ndarray) -> float:
    """Return the FWHM in pixels of the Gaussian with the noise-equivalent area of a PSF stamp.

    Args:
        psf: (y, x), any normalisation.

    Returns:
        FWHM in pixels; the noise-equivalent area is (sum p)^2 / sum p^2 = 4 pi sigma^2 for a Gaussian.

    References:
        King (1983), PASP 95, 163.
    """
    area = float(psf.sum(dtype=float) ** 2 / np.square(psf, dtype=float).sum())
    return float(FWHM_PER_SIGMA * np.sqrt(area / (4.0 * np.pi)))


def smoothing(image: Image, fwhm: float | None) -> tuple[np.ndarray, str]:
    """Return the FWHM in pixels of each band's filter and where it comes from.

    Args:
        image: whose PSF, or else whose `seeing` (arcsec) and WCS, tell the FWHM.
        fwhm: the same for all bands, in pixels; None asks the image.

    Returns:
        (band,) float64, and one of "settings", "psf", "seeing", "unknown".
    """
    n = len(image.bands)
    if fwhm is not None:
        return np.full(n, float(fwhm)), "settings"
    if image.psf is not None:
        return np.array([effective_fwhm(stamp) for stamp in image.psf]), "psf"
    seeing = image.meta.get("seeing")
    if seeing is not None and image.wcs is not None:
        by_band = [seeing[band] for band in image.bands] if isinstance(seeing, dict) else np.broadcast_to(seeing, n)
        return np.asarray(by_band, float) / pixel_scale(image.wcs), "seeing"
    return np.full(n, UNKNOWN_FWHM), "unknown"


def choose_bands(image: Image, bands: Sequence[str] | None) -> list[int]:
    """Return the places of the named bands in the image, or of all bands for None.

    Raises:
        DataError: the image has no band of that name.
    """
    for band in bands or ():
        if band not in image.bands:
            raise DataError(f"the image has no band {band!r}: it has {', '.join(image.bands)}; name one of these in `bands`")
    return [image.bands.index(band) for band in bands or image.bands]


def detection_image(
    image: Image, bands: Sequence[str] | None, fwhm: np.ndarray, combine: Literal["mean", "chi"] = "mean"
) -> DetectionImage:
    """Return the bands filtered with their PSFs and combined.

    A band's filter is a Gaussian of the PSF's width under inverse-variance weights, the optimum for a
    star; its signal-to-noise ratio follows from the variance, pixel by pixel, so that depth may vary and
    pixels be missing. "mean" adds the bands with inverse-variance weights; "chi" adds the squares of
    their positive signal-to-noise ratios, which loses nothing on objects of unusual colour, and turns
    the sum into the Gaussian standard deviations of the same chance. Saturated pixels are used as they
    are: they are lower limits, and a star is to have a core.

    Args:
        image: with variance.
        bands: names of the bands to use; None for all.
        fwhm: (band,) FWHM of each band's filter in pixels, for all bands of the image; 0 does not smooth.
        combine: "mean" or "chi".

    Raises:
        DataError: the image has no variance, or not the band asked for.

    References:
        Szalay, Connolly & Szokoly (1999), AJ 117, 68; Zackay & Ofek (2017), ApJ 836, 187.
    """
    if image.variance is None:
        raise DataError(
            "the image has no variance, so there is no noise to detect against; put a background.mesh stage before, which measures it"
        )
    chosen = choose_bands(image, bands)
    shape = image.data.shape[1:]
    good = image.usable()
    bits = np.zeros(shape, np.int32)
    signal, weight, noise = (np.zeros(shape, np.float32) for _ in range(3))
    inverse = np.zeros(shape, np.float32)
    covered = np.zeros(shape, bool)
    squares = np.zeros(shape, np.float32)
    seen = np.zeros(shape, np.int16)
    for b in chosen:
        mask = image.mask[b] if image.mask is not None else np.zeros(shape, np.int32)
        bits |= mask
        bits |= np.where(good[b], 0, PIXEL["NO_DATA"] * ((mask & UNUSABLE) == 0)).astype(np.int32)
        ivar = _inverse_variance(image.data[b], image.variance[b], mask, good[b])
        if not ivar.any():
            continue
        kernel = gaussian(fwhm[b])
        flux = np.where(ivar > 0, image.data[b], 0)
        band_signal = _filter(flux * ivar, kernel)
        band_noise = _filter(ivar, kernel**2)
        inside = _filter((ivar > 0).astype(np.float32), kernel) > MIN_COVERAGE
        covered |= inside
        signal += band_signal
        noise += band_noise
        weight += _filter(ivar, kernel)
        inverse += ivar
        if combine == "chi":
            ratio = np.divide(band_signal, np.sqrt(band_noise), out=np.zeros(shape, np.float32), where=inside)
            squares += np.maximum(ratio, 0) ** 2
            seen += inside
    if combine == "chi":
        snr = chi_significance(squares, seen)
    else:
        snr = np.divide(signal, np.sqrt(noise), out=np.zeros(shape, np.float32), where=covered)
    return DetectionImage(
        flux=np.divide(signal, weight, out=np.zeros(shape, np.float32), where=covered & (weight > 0)),
        snr=np.where(covered, snr, np.float32(0)),
        variance=np.divide(np.float32(1), inverse, out=np.full(shape, np.inf, np.float32), where=inverse > 0),
        bits=bits,
    )


def _inverse_variance(data: np.ndarray, variance: np.ndarray, mask: np.ndarray, good: np.ndarray) -> np.ndarray:
    ivar = np.zeros(data.shape, np.float32)
    np.divide(1.0, variance, out=ivar, where=good, casting="unsafe")
    others = UNUSABLE & ~PIXEL["SAT"]
    saturated = ((mask & PIXEL["SAT"]) != 0) & ((mask & others) == 0) & np.isfinite(data)
    if good.any() and saturated.any():
        typical = float(np.median(variance[good]))
        with np.errstate(invalid="ignore"):
            known = np.isfinite(variance) & (variance > 0)
        np.divide(1.0, np.where(known, variance, typical), out=ivar, where=saturated, casting="unsafe")
    return ivar


def gaussian(fwhm: float) -> np.ndarray:
    """Return a one-dimensional Gaussian of that FWHM in pixels that sums to one, out to four sigma."""
    sigma = fwhm / FWHM_PER_SIGMA
    reach = int(np.ceil(4.0 * sigma))
    steps = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (steps / sigma) ** 2) if reach else np.ones(1)
    return kernel / kernel.sum()


def _filter(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    values = values.astype(np.float32, copy=False)
    if kernel.size == 1:
        return values * np.float32(kernel[0] ** 2)
    for axis in (0, 1):
        values = ndimage.correlate1d(values, kernel, axis=axis, mode="constant")
    return values


def chi_significance(squares: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the Gaussian significance of a sum of `n` squared positive parts of unit normal deviates.

    Without a source, j of the n deviates are positive with binomial chance, and then the sum is a
    chi-square of j degrees of freedom; so the sum's chance is known, and the significance is the
    number of standard deviations of the same one-sided chance. For one band that is the band's own S/N.

    Args:
        squares: the sums, of any shape.
        n: how many deviates went into each sum.

    Returns:
        float32, of the same shape; 0 where the sum is no larger than by even chance.
    """
    result = np.zeros(squares.shape, np.float32)
    for count in np.unique(n[n > 0]):
        here = n == count
        root = np.sqrt(squares[here])
        knots = np.linspace(0.0, max(float(root.max()), 1.0), 4096) if root.size else np.zeros(2)
        result[here] = np.maximum(np.interp(root, knots, -special.ndtri_exp(_log_chance(knots**2, int(count)))), 0)
    return result


def _log_chance(squares: np.ndarray, n: int) -> np.ndarray:
    """Return the log of the chance that the sum of n squared positive parts exceeds `squares`."""
    half = np.maximum(squares, 1e-12) / 2.0
    terms = []
    for j in range(1, n + 1):
        a = j / 2.0
        with np.errstate(divide="ignore"):
            exact = np.log(special.gammaincc(a, half))
        far = (a - 1) * np.log(half) - half - special.gammaln(a) + np.log1p((a - 1) / np.maximum(half, 100.0))
        terms.append(np.where(half > 300, far, exact) + np.log(special.binom(n, j)) - n * np.log(2.0))
    return np.logaddexp.reduce(terms, axis=0)
