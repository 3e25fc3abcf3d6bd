"""The detection image: bands matched-filtered and combined into one map of flux and one of significance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from ...catalog.flags import PIXEL, UNUSABLE
from ...core.stage import DataError
from ..sky import pixel_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...products import Image

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
UNKNOWN_FWHM = 2.5
"""Smoothing in pixels for an image that says nothing of its seeing: a well-sampled star's."""
REACH = 3.0
"""Filters end at so many standard deviations: what lies beyond holds less than 0.1 per cent of a star's S/N."""
ROWS = 64
"""Rows that are looked at together where whole planes in between would fill the memory."""
SAMPLE = 1_000_000
"""The variance that is typical of a band is the median of about so many of its pixels."""


@dataclass(frozen=True)
class DetectionImage:
    """What detection, deblending and shapes work on; every map is (y, x).

    Attributes:
        flux: float32, smoothed flux per pixel, a mean over the bands; 0 where nothing is known.
        snr: float32, its significance in standard deviations of the smoothed noise; 0 where nothing is known.
        image: what it was made of.
        chosen: the places of the bands it was made of.
        typical: (band,) float32, the variance of saturated pixels of these bands whose own is not known.
        sigma: standard deviation in pixels of the filter that made `flux`, a mean over the bands.
    """

    flux: np.ndarray
    snr: np.ndarray
    image: Image
    chosen: Sequence[int]
    typical: np.ndarray
    sigma: float

    @cached_property
    def variance(self) -> np.ndarray:
        """The variance per pixel of the unsmoothed mean over the bands, float32; inf where no band is usable."""
        result = np.empty(self.flux.shape, np.float32)
        for start in range(0, len(result), ROWS):
            rows = slice(start, start + ROWS)
            result[rows] = self._variance(rows)
        return result

    def _variance(self, rows: slice) -> np.ndarray:
        image, inverse = self.image, np.zeros(self.flux[rows].shape, np.float32)
        assert image.variance is not None
        for b, typical in zip(self.chosen, self.typical, strict=True):
            data, variance = image.data[b, rows], image.variance[b, rows]
            mask = image.mask[b, rows] if image.mask is not None else np.int32(0)
            saturated = (mask & UNUSABLE) == PIXEL["SAT"]
            known = np.isfinite(variance) & (variance > 0)
            used = np.where(known, variance, np.where(saturated & (typical > 0), typical, np.inf))
            inverse += np.where(np.isfinite(data) & (((mask & UNUSABLE) == 0) | saturated), np.float32(1) / used, np.float32(0))
        return np.divide(np.float32(1), inverse, out=np.full(inverse.shape, np.inf, np.float32), where=inverse > 0)


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


def warn_if_unknown(origin: str, warn: Callable[[str], None]) -> None:
    """Warn where nothing tells the width of the PSF, with `origin` as `smoothing` returns it: in the same words in every stage."""
    if origin == "unknown":
        warn(
            f"the image has neither PSF nor seeing: taking a FWHM of {UNKNOWN_FWHM:g} px; put a psf.measure stage before, "
            "or set `fwhm` in the stages that have it"
        )


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
    image: Image,
    bands: Sequence[str] | None,
    fwhm: np.ndarray,
    combine: Literal["mean", "chi"] = "mean",
    device: Literal["cpu", "cuda"] = "cpu",
) -> DetectionImage:
    """Return the bands filtered with their PSFs and combined; `detection_images` with one filter."""
    return detection_images(image, bands, [[fwhm]], combine, device)[0]


def detection_images(
    image: Image,
    bands: Sequence[str] | None,
    banks: Sequence[Sequence[np.ndarray]],
    combine: Literal["mean", "chi"] = "mean",
    device: Literal["cpu", "cuda"] = "cpu",
) -> list[DetectionImage]:
    """Return the bands filtered and combined, for several banks of filters in one pass over the image.

    A band's filter is a Gaussian of the PSF's width under inverse-variance weights, for a Moffat PSF of
    beta = 3.5 within one per cent of the optimum for a star; its signal-to-noise ratio follows from the
    variance, pixel by pixel, so that depth may vary and pixels be missing. "mean" adds the bands with
    inverse-variance weights; "chi" adds the squares of their positive signal-to-noise ratios, which loses
    nothing on objects of unusual colour, and turns the sum into the Gaussian standard deviations of the
    same chance. Saturated pixels are used as they are: they are lower limits, and a star is to have a core.

    Args:
        image: with variance.
        bands: names of the bands to use; None for all.
        banks: for every result the filters of its bank, each the (band,) FWHM in pixels for all bands of
            the image; 0 does not smooth. The flux is that of the first, the S/N the greatest of the bank.
        combine: "mean" or "chi".
        device: where to calculate.

    Raises:
        DataError: the image has no variance, or not the band asked for.

    References:
        Szalay, Connolly & Szokoly (1999), AJ 117, 68; Zackay & Ofek (2017), ApJ 836, 187.
    """
    from ...kernels.matched_filter import KERNEL, KNOTS, Bits

    if image.variance is None:
        raise DataError(
            "the image has no variance, so there is no noise to detect against; put a background.mesh stage before, which measures it"
        )
    chosen = choose_bands(image, bands)
    alike = chosen == list(range(chosen[0], chosen[0] + len(chosen)))
    these = slice(chosen[0], chosen[0] + len(chosen)) if alike else chosen  # a slice copies nothing
    data, variance = image.data[these], image.variance[these]
    mask = image.mask[these] if image.mask is not None else np.zeros((len(chosen), 0, 0), np.int32)
    typical = np.array([_typical_variance(*planes) for planes in zip(data, variance, mask, strict=True)], np.float32)
    filters = [[gaussian(width) for width in fwhm[chosen]] for bank in banks for fwhm in bank]
    longest = max(kernel.size for of_bands in filters for kernel in of_bands)
    taps = np.array([[np.pad(kernel, (longest - kernel.size) // 2) for kernel in of_bands] for of_bands in filters], np.float32)
    reach = np.array([[kernel.size // 2 for kernel in of_bands] for of_bands in filters], np.int64)
    group = np.repeat(np.arange(len(banks)), [len(bank) for bank in banks])
    chi = chi_table(len(chosen)) if combine == "chi" else np.zeros((0, KNOTS), np.float32)
    flux, snr = KERNEL.on(device)(data, variance, mask, typical, Bits(UNUSABLE, PIXEL["SAT"]), taps, reach, group, chi)
    sigmas = [float(np.mean(bank[0][chosen]) / FWHM_PER_SIGMA) for bank in banks]
    return [DetectionImage(f, s, image, chosen, typical, sigma) for f, s, sigma in zip(flux, snr, sigmas, strict=True)]


def typical_variances(image: Image) -> np.ndarray:
    """Return the variance, (band,) float32, that may stand in for that of saturated pixels; 0 where there are none."""
    assert image.variance is not None
    mask = image.mask if image.mask is not None else np.zeros((len(image.data), 0, 0), np.int32)
    return np.array([_typical_variance(*planes) for planes in zip(image.data, image.variance, mask, strict=True)], np.float32)


def _typical_variance(data: np.ndarray, variance: np.ndarray, mask: np.ndarray) -> float:
    """Return the median variance of usable pixels if there are saturated pixels, for which it may stand in; else 0."""
    if not (int(np.bitwise_or.reduce(mask, axis=None)) & PIXEL["SAT"]):
        return 0.0
    step = max(1, data.size // SAMPLE)
    some = variance.reshape(-1)[::step]
    good = np.isfinite(some) & (some > 0) & np.isfinite(data.reshape(-1)[::step]) & ((mask.reshape(-1)[::step] & UNUSABLE) == 0)
    return float(np.median(some[good])) if good.any() else 0.0


def gaussian(fwhm: float) -> np.ndarray:
    """Return a one-dimensional Gaussian of that FWHM in pixels that sums to one, out to REACH sigma."""
    sigma = fwhm / FWHM_PER_SIGMA
    reach = int(np.ceil(REACH * sigma))
    steps = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (steps / sigma) ** 2) if reach else np.ones(1)
    return kernel / kernel.sum()


def chi_table(n_bands: int) -> np.ndarray:
    """Return the Gaussian significance of the root of a sum of squared positive parts of unit normal deviates.

    Without a source, j of n deviates are positive with binomial chance, and then the sum is a chi-square
    of j degrees of freedom; so the sum's chance is known, and the significance is the number of standard
    deviations of the same one-sided chance. For one band that is the band's own S/N.

    Returns:
        (n_bands + 1, KNOTS) float32: a row for every number of deviates, at the kernel's `knots()`.
    """
    from ...kernels.matched_filter import knots

    root = knots()
    rows = [np.zeros_like(root), *(-special.ndtri_exp(_log_chance(root**2, n)) for n in range(1, n_bands + 1))]
    return np.array(rows, np.float32)


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
