"""Stamps: one object in all bands, integrated over pixels, by one inverse Fourier transform.

A stamp depends on its object and the survey's settings alone, never on the window that asks for it.
Its pixels sum to the object's flux: what the profile holds beyond the stamp wraps around, and stamps
are large enough for that to stay below the noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft2

from .profiles import bulge_transform, disk_transform, moffat_table

SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Stamp sizes, in pixels, whose transforms are fast."""


@dataclass(frozen=True)
class Shape:
    """One object as a stamp sees it.

    Attributes:
        x: column of the centre, in pixels of the sky.
        y: row of the centre.
        size: pixels along a side, of `SIZES`.
        point: (band,) flux without extent.
        bulge: (band,) flux of the de Vaucouleurs part.
        disk: (band,) flux of the exponential part.
        bulge_form: (3,) quadratic form of the bulge's half-light ellipse (pixel^2; see `ellipse_form`).
        disk_form: (3,) that of the disk.
        psf_form: (band, 3) quadratic form of the Moffat profile.
    """

    x: float
    y: float
    size: int
    point: np.ndarray
    bulge: np.ndarray
    disk: np.ndarray
    bulge_form: np.ndarray
    disk_form: np.ndarray
    psf_form: np.ndarray


def corner(x: float, size: int) -> int:
    """Return the first column (or row) of a stamp of `size` pixels centred on `x`."""
    return math.floor(x + 0.5) - size // 2


def oversampling(fwhm: float, beta: float) -> int:
    """Return how many samples a pixel needs for a Moffat profile of this width (pixel) to be free of aliases."""
    table = moffat_table(beta)
    for samples in range(1, 9):
        k = samples * math.pi
        if table(np.array([k * fwhm / (2.0 * math.sqrt(2.0 ** (1.0 / beta) - 1.0))]))[0] < 2e-6:
            return samples
    return 9


def render(shape: Shape, beta: float, samples: int) -> np.ndarray:
    """Return the stamp of an object, (band, y, x) float64, in the unit of its fluxes.

    Args:
        shape: the object.
        beta: the Moffat exponent.
        samples: samples a pixel, along each axis, before the stamp is cut down to pixel centres.
    """
    n = shape.size * samples
    kx, phase_x = _axis(shape.x - corner(shape.x, shape.size), np.arange(n // 2 + 1), n, samples)
    ky, phase_y = _axis(shape.y - corner(shape.y, shape.size), np.fft.fftfreq(n, 1.0 / n), n, samples)

    transform = shape.point[:, None, None]
    if shape.disk.any():
        transform = transform + shape.disk[:, None, None] * disk_transform(_squared(shape.disk_form, kx, ky))
    if shape.bulge.any():
        transform = transform + shape.bulge[:, None, None] * bulge_transform(_squared(shape.bulge_form, kx, ky))
    psf = moffat_table(beta)
    waves = np.empty((len(shape.point), n, n // 2 + 1), dtype=np.complex128)
    phase = phase_y[:, None] * phase_x
    for band, form in enumerate(shape.psf_form):
        np.multiply(transform[band] * psf(np.sqrt(_squared(form, kx, ky))), phase, out=waves[band])
    stamp = irfft2(waves, s=(n, n), overwrite_x=True)
    return np.asarray(stamp[:, ::samples, ::samples] * samples**2)


def _axis(centre: float, frequency: np.ndarray, n: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return wave numbers (rad / pixel) along one axis, and the factor that shifts to `centre` and fills the pixel."""
    k = frequency * (2.0 * math.pi * samples / n)
    return k, np.exp(-1j * k * centre) * np.sinc(k / (2.0 * math.pi))


def _squared(form: np.ndarray, kx: np.ndarray, ky: np.ndarray) -> np.ndarray:
    """Return the quadratic form at every (ky, kx); never negative."""
    a, b, c = form.tolist()
    squared = kx * (a * kx + (2.0 * b * ky)[:, None]) + (c * ky * ky)[:, None]
    return np.maximum(squared, 0.0)
