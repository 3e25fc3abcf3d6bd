"""Rendering many objects fast: stamps of one size at a time, a batch per Fourier transform.

This is what fields for benchmarks and for training are made with (`astrosurvey.stages.simulate.field`): one
point-spread function for the whole image, Sérsic profiles of any index, and a stamp of its own for each object, without noise
and without its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from scipy.fft import irfft2
from scipy.ndimage import gaussian_filter

from .profiles import moffat_alpha, moffat_brightness, moffat_table
from .psf import ellipse_form
from .real import Templates
from .sersic import START, STEP, sersic_level, sersic_outside, sersic_rows
from .stamps import SIZES

EDGE = 0.02
"""At the edge of its stamp an object has faded to this part of a pixel's noise."""

WRAPPED, WRAPPED_ERROR = 0.005, 0.25
"""What lies beyond the edge, and wraps around, is less than this part of the flux, or of the flux's error if that is more."""

ALIASED = 3e-4
"""A point source is sampled so finely that no more than this amplitude lies beyond the finest wave."""

BATCH = 1_500_000
"""Waves that are worked on at a time; bounds the memory and changes no result."""


@dataclass(frozen=True)
class Bodies:
    """What is to be rendered; arrays over n objects.

    Attributes:
        x, y: centres in pixels of the image.
        flux: (n, band) total flux.
        half_light: circularised half-light radius before seeing (pixel); 0 for a point source.
        index: Sérsic index.
        ratio: minor over major axis.
        theta: rad, of the major axis from +x to +y; by which a real galaxy is turned.
        template: number of the real galaxy that it looks like, -1 for a Sérsic profile. None: all are profiles.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    half_light: np.ndarray
    index: np.ndarray
    ratio: np.ndarray
    theta: np.ndarray
    template: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, which: np.ndarray) -> Bodies:
        """Return some of the objects, by index or mask."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return Bodies(**{name: column[which] for name, column in columns.items() if column is not None})


@dataclass(frozen=True)
class Moffat:
    """The point-spread function of an image: an elliptical Moffat profile for each band.

    Attributes:
        beta: its exponent.
        fwhm: (band,) full width at half maximum, the geometric mean of both axes (pixel), before integration over the pixel.
        ellipticity: (band,) (a - b) / (a + b).
        theta: (band,) rad, of the major axis from +x to +y.
    """

    beta: float
    fwhm: np.ndarray
    ellipticity: np.ndarray
    theta: np.ndarray

    def forms(self) -> np.ndarray:
        """Return (band, 3) quadratic forms that turn a wave vector into (k alpha)^2."""
        alpha = moffat_alpha(1.0, self.beta) * self.fwhm
        stretch = np.sqrt((1.0 + self.ellipticity) / (1.0 - self.ellipticity))
        return ellipse_form(alpha * stretch, alpha / stretch, self.theta)

    def samples(self) -> int:
        """Return the samples that a pixel needs along each axis."""
        narrowest = moffat_alpha(1.0, self.beta) * float(np.min(self.fwhm * np.sqrt((1.0 - self.ellipticity) / (1.0 + self.ellipticity))))
        table = moffat_table(self.beta)
        return next(n for n in range(1, 10) if n == 9 or table(np.array([n * math.pi * narrowest]))[0] < ALIASED)

    def stamp(self) -> np.ndarray:
        """Return (band, y, x) float32: the profile as pixels see it, odd-sized, to six widths, each band summing to one."""
        half = math.ceil(6.0 * float(np.max(self.fwhm)))
        size = next((s for s in SIZES if s >= 4 * half), SIZES[-1])
        one = np.ones(1)
        point = Bodies(0 * one, 0 * one, np.ones((1, len(self.fwhm))), 0 * one, one, one, 0 * one)
        middle = size // 2
        cut = stamps(point, self, size)[0, :, middle - half : middle + half + 1, middle - half : middle + half + 1].astype(np.float64)
        return (cut / cut.sum(axis=(1, 2), keepdims=True)).astype(np.float32)


def stamp_sizes(bodies: Bodies, psf: Moffat, noise: np.ndarray) -> np.ndarray:
    """Return (n,) how many pixels a side each object's stamp needs; of `SIZES`.

    Args:
        bodies: the objects.
        psf: the point-spread function.
        noise: (band,) standard deviation of a pixel.
    """
    r = 0.5 * np.array(SIZES, float)
    major = np.maximum(bodies.half_light / np.sqrt(bodies.ratio), 1e-3)[:, None]
    index = np.maximum(bodies.index, 0.5)[:, None]
    width = float(np.max(psf.fwhm))
    alpha = moffat_alpha(width, psf.beta)
    extended = bodies.half_light[:, None] > 0.0
    outside = (1.0 + (r / alpha) ** 2) ** (1.0 - psf.beta) + np.where(extended, sersic_outside(r / major, index), 0.0)
    level = moffat_brightness(r / alpha, psf.beta) / alpha**2
    level = level + np.where(extended, sersic_level(r / major, index) / (bodies.half_light[:, None] ** 2 + 1e-9), 0.0)
    strength = np.max(bodies.flux / noise, axis=1)[:, None]
    error = np.sqrt(4.0 * math.pi * (bodies.half_light**2 + (width / 2.0) ** 2))[:, None] / np.maximum(strength, 1e-9)
    enough = (level * strength < EDGE) & (outside < np.maximum(WRAPPED, WRAPPED_ERROR * error))
    enough[:, -1] = True
    return np.array(SIZES)[np.argmax(enough, axis=1)]


def corners(x: np.ndarray, size: int) -> np.ndarray:
    """Return the first column (or row) of stamps of `size` pixels centred on (m,) `x`."""
    return np.floor(x + 0.5).astype(np.int64) - size // 2


def render(
    bodies: Bodies, psf: Moffat, noise: np.ndarray, templates: Templates | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield every object once, in batches of one stamp size.

    Args:
        bodies: the objects.
        psf: the point-spread function.
        noise: (band,) standard deviation of a pixel, by which stamps are cut.
        templates: the real galaxies that bodies may look like.

    Yields:
        which: (m,) indices of the objects.
        x0, y0: (m,) the pixel of the image that is the stamp's first; it may lie outside.
        stamps: (m, band, size, size) float32.
    """
    sizes = stamp_sizes(bodies, psf, noise)
    samples = psf.samples()
    for size in SIZES:
        same = np.flatnonzero(sizes == size)
        step = max(BATCH // ((size * samples) ** 2 // 2), 1)
        for start in range(0, len(same), step):
            which = same[start : start + step]
            some = bodies.take(which)
            yield which, corners(some.x, size), corners(some.y, size), stamps(some, psf, size, templates)


def stamps(bodies: Bodies, psf: Moffat, size: int, templates: Templates | None = None) -> np.ndarray:
    """Return each object's own image, (m, band, size, size) float32, centred to within a pixel; see `corners`.

    The pixels of a stamp sum to the flux: what lies beyond its edge wraps around.
    """
    samples = psf.samples()
    n = size * samples
    kx = np.arange(n // 2 + 1) * (2.0 * math.pi / size)
    ky = np.fft.fftfreq(n, 1.0 / n) * (2.0 * math.pi / size)
    waves = _shift(kx, bodies.x - corners(bodies.x, size))[:, None, :] * _shift(ky, bodies.y - corners(bodies.y, size))[:, :, None]
    real = np.zeros(len(bodies), bool) if bodies.template is None else bodies.template >= 0
    extended = np.flatnonzero((bodies.half_light > 0.0) & ~real)
    if len(extended):
        waves[extended] *= _sersic(bodies.take(extended), kx, ky)
    for i in np.flatnonzero(real).tolist():
        assert templates is not None
        assert bodies.template is not None
        waves[i] *= templates.transform(int(bodies.template[i]), float(bodies.half_light[i]), float(bodies.theta[i]), kx, ky)
    seen = _moffat(psf, kx, ky) * np.float32(samples**2)
    result = np.empty((len(bodies), len(psf.fwhm), size, size), np.float32)
    for band, flux in enumerate(bodies.flux.T.astype(np.float32)):
        image = irfft2(waves * seen[band], s=(n, n), overwrite_x=True)[:, ::samples, ::samples]
        np.multiply(image, flux[:, None, None], out=result[:, band])
    return result


def _shift(k: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return (m, k) complex64, the factors that move unit points to `centre`."""
    return np.exp(-1j * centre[:, None] * k).astype(np.complex64)


def _moffat(psf: Moffat, kx: np.ndarray, ky: np.ndarray) -> np.ndarray:
    """Return (band, ky, kx) float32, the transform of the point-spread function and the pixel."""
    table = moffat_table(psf.beta)
    pixel = np.sinc(ky / (2.0 * math.pi))[:, None] * np.sinc(kx / (2.0 * math.pi))
    planes = []
    for a, b, c in psf.forms():
        squared = a * kx**2 + 2.0 * b * ky[:, None] * kx + c * ky[:, None] ** 2
        planes.append(pixel * table(np.sqrt(np.maximum(squared, 0.0))))
    return np.stack(planes).astype(np.float32)


def _sersic(bodies: Bodies, kx: np.ndarray, ky: np.ndarray) -> np.ndarray:
    """Return (m, ky, kx) float32, the transforms of the objects before seeing."""
    stretch = 1.0 / np.sqrt(bodies.ratio)
    a, b, c = ellipse_form(bodies.half_light * stretch, bodies.half_light / stretch, bodies.theta).T.astype(np.float32)[:, :, None, None]
    x, y = kx.astype(np.float32), ky.astype(np.float32)[:, None]
    squared = a * (x * x) + c * (y * y)
    squared += (2.0 * b) * (x * y)
    np.maximum(squared, np.float32(math.exp(START)), out=squared)
    place = np.log(squared, out=squared)
    place -= np.float32(START)
    place *= np.float32(1.0 / STEP)
    rows = sersic_rows(bodies.index)
    np.minimum(place, np.float32(rows.shape[1] - 1.001), out=place)
    step = place.astype(np.int32)
    place -= step
    step += (np.arange(len(bodies), dtype=np.int32) * rows.shape[1])[:, None, None]
    low, rise = rows.ravel(), np.diff(rows, axis=1, append=rows[:, -1:]).ravel()
    place *= rise[step]
    place += low[step]
    return place


def matched_norms(stamps: np.ndarray, correlation: float = 0.0) -> np.ndarray:
    """Return (m, band), the signal-to-noise ratio with which each stamp's own shape finds it, for a pixel noise of one.

    Args:
        stamps: (m, band, size, size).
        correlation: the noise is white noise smoothed by a Gaussian of this sigma (pixel), of variance one.
    """
    power = np.einsum("mbyx,mbyx->mb", stamps, stamps, dtype=np.float64)
    if correlation <= 0.0:
        return np.sqrt(power)
    smooth = gaussian_filter(stamps, correlation, axes=(2, 3), mode="constant")
    variance = np.einsum("mbyx,mbyx->mb", smooth, smooth, dtype=np.float64) / smoothing_loss(correlation)
    return power / np.sqrt(np.maximum(variance, 1e-30))


def smoothing_loss(sigma: float) -> float:
    """Return the variance of white noise of variance one after a Gaussian of `sigma` pixels smoothed it."""
    half = math.ceil(4.0 * sigma) + 2
    impulse = np.zeros(2 * half + 1)
    impulse[half] = 1.0
    return float(np.sum(gaussian_filter(impulse, sigma) ** 2) ** 2)
