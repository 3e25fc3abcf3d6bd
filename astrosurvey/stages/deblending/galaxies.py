"""Objects to make blends of: simulated galaxies and stars behind many PSFs, and stamps of real galaxies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .profiles import Basis, centred, sersic_coefficients

SIDE = 97
"""Side of an object's stamp in pixels; the middle pixel is SIDE // 2."""
HELD_OUT = 7
"""Of every so many real stamps, the last two are never trained on."""


@dataclass(frozen=True)
class Group:
    """Objects seen through one PSF.

    Attributes:
        psf: (k, k) float32, sums to one.
        stamps: (n, SIDE, SIDE) float16 light of each object, without noise where it is simulated, summing to one.
        x, y: (n,) positions relative to the middle pixel.
    """

    psf: np.ndarray
    stamps: np.ndarray
    x: np.ndarray
    y: np.ndarray


def simulated(rng: np.random.Generator, count: int, fwhm: tuple[float, float], star_fraction: float) -> Group:
    """Return galaxies and stars behind a Moffat PSF of random width, elongation and wings.

    Galaxies are a Sérsic profile or a bulge in a disc, and every third has knots; sizes are spread over those that stamps hold.

    Args:
        rng: draws everything.
        count: number of objects.
        fwhm: least and greatest width of the PSF, pixels.
        star_fraction: part of the objects without extent.
    """
    width = float(rng.uniform(*fwhm))
    psf = moffat(width, float(rng.uniform(2.5, 4.5)), float(rng.uniform(0, 0.1)), float(rng.uniform(0, np.pi)))
    sigma = width / 2.355
    basis = Basis(psf, sigma, SIDE - 1, torch.device("cpu"))
    stamps = np.zeros((count, SIDE, SIDE), np.float32)
    x, y = rng.uniform(-0.5, 0.5, (2, count))
    star = rng.random(count) < star_fraction
    size = np.exp(rng.normal(np.log(1.3 * sigma), 0.7, count)).clip(0.25 * sigma, 9.0)
    angle = rng.uniform(0, np.pi, count)

    def add(
        where: np.ndarray, part: np.ndarray, index: np.ndarray, radius: np.ndarray, ratio: np.ndarray, dx: np.ndarray, dy: np.ndarray
    ) -> None:
        shape = ellipse(ratio, angle[where])
        mixture = np.stack([sersic_coefficients(n, r / sigma, basis.count) for n, r in zip(index, radius, strict=True)])
        for first in range(0, len(where), 64):
            some = slice(first, first + 64)
            tensors = (torch.tensor(v[some], dtype=torch.float32) for v in (dx, dy, shape, mixture * part[:, None]))
            light = basis.mix(*tensors).reshape(-1, SIDE - 1, SIDE - 1).numpy()
            stamps[where[some], : SIDE - 1, : SIDE - 1] += light

    everyone = np.arange(count)
    galaxies = everyone[~star]
    n = len(galaxies)
    bulge = np.where(rng.random(n) < 0.4, rng.uniform(0.1, 0.6, n), 0.0)
    knots = np.where(rng.random(n) < 0.33, rng.uniform(0.03, 0.25, n), 0.0)
    index = np.where(bulge > 0, 1.0, np.exp(rng.normal(np.log(1.3), 0.5, n)).clip(0.5, 4.0))
    gx, gy, gr = x[galaxies], y[galaxies], size[galaxies]
    ratio = rng.uniform(0.25, 1.0, n)
    add(galaxies, 1 - bulge - knots, index, gr, ratio, gx, gy)
    with_bulge = bulge > 0
    add(galaxies[with_bulge], bulge[with_bulge], np.full(with_bulge.sum(), 3.0), gr[with_bulge] * 0.4, np.sqrt(ratio[with_bulge]),
        gx[with_bulge], gy[with_bulge])  # fmt: skip
    for _ in range(3):
        some = knots > 0
        off = rng.normal(0, 0.7, (2, n)) * gr
        add(
            galaxies[some],
            knots[some] / 3,
            np.full(some.sum(), 1.0),
            gr[some] * 0.2,
            np.ones(some.sum()),
            (gx + off[0])[some],
            (gy + off[1])[some],
        )
    if star.any():
        stars = everyone[star]
        add(stars, np.ones(len(stars)), np.ones(len(stars)), np.zeros(len(stars)), np.ones(len(stars)), x[stars], y[stars])
    stamps = stamps.clip(0)
    return Group(psf, (stamps / stamps.sum((1, 2), keepdims=True)).astype(np.float16), x, y)


def moffat(fwhm: float, beta: float, ellipticity: float, angle: float, half: int = 16) -> np.ndarray:
    """Return a pixel-integrated Moffat PSF, (2 half + 1) squared, summing to one."""
    fine = 5
    side = (np.arange((2 * half + 1) * fine) - (fine - 1) / 2) / fine - half
    shape = np.linalg.inv(_matrix(ellipse(np.array([(1 - ellipticity) / (1 + ellipticity)]), np.array([angle]))[0]))
    x, y = side[None], side[:, None]
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    values = (1 + (shape[0, 0] * x**2 + 2 * shape[0, 1] * x * y + shape[1, 1] * y**2) / alpha**2) ** -beta
    psf = values.reshape(2 * half + 1, fine, 2 * half + 1, fine).mean((1, 3))
    return (psf / psf.sum()).astype(np.float32)


def ellipse(ratio: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Return (n, 3) xx, xy, yy of covariances of unit determinant with these axis ratios and angles (rad)."""
    long, short = 1 / ratio, ratio
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([long * c**2 + short * s**2, (long - short) * c * s, long * s**2 + short * c**2], 1)


def _matrix(shape: np.ndarray) -> np.ndarray:
    return np.array([[shape[0], shape[1]], [shape[1], shape[2]]])


def real(images: Path, psfs: Path, held_out: bool) -> Group:
    """Return real galaxies, their footprints cut out of the noise, and a PSF that is typical of them.

    Args:
        images: a FITS file with a galaxy in each HDU.
        psfs: a FITS file with the PSF of each in the same HDU.
        held_out: the stamps kept for evaluation, or the others.
    """
    from astropy.io import fits

    stamps, x, y, kernels = [], [], [], []
    with fits.open(images, memmap=False) as galaxies, fits.open(psfs, memmap=False) as stars:
        for i, (hdu, star) in enumerate(zip(galaxies, stars, strict=True)):
            if hdu.data is None or (i % HELD_OUT >= HELD_OUT - 2) != held_out:
                continue
            light = footprint(np.asarray(hdu.data, np.float32))
            ny, nx = light.shape
            weight = np.where(light > 0.2 * light.max(), light, 0)
            cy, cx = (weight.sum(1) @ np.arange(ny)) / weight.sum(), (weight.sum(0) @ np.arange(nx)) / weight.sum()
            stamps.append(_placed(light, round(cy), round(cx)))
            x.append(cx - round(cx))
            y.append(cy - round(cy))
            kernels.append(np.fft.fftshift(centred(np.asarray(star.data, np.float32), 33)))
    stack = np.stack(stamps)
    return Group(np.mean(kernels, axis=0), (stack / stack.sum((1, 2), keepdims=True)).astype(np.float16), np.array(x), np.array(y))


def footprint(stamp: np.ndarray) -> np.ndarray:
    """Return a real galaxy's light: the stamp without its sky level, zero outside the galaxy's smoothed footprint."""
    from scipy import ndimage

    edge = np.concatenate([stamp[:3].ravel(), stamp[-3:].ravel(), stamp[:, :3].ravel(), stamp[:, -3:].ravel()])
    sky = np.median(edge)
    light = stamp - sky
    noise = 1.4826 * np.median(np.abs(edge - sky))
    smooth = ndimage.gaussian_filter(light, 2.0)
    labels, _ = ndimage.label(smooth > 0.6 * noise)
    peak = np.unravel_index(np.argmax(smooth), smooth.shape)
    return np.where(labels == labels[peak], light, 0).astype(np.float32)


def _placed(light: np.ndarray, cy: int, cx: int) -> np.ndarray:
    """Return a stamp of the standard side with the pixel (cy, cx) in its middle."""
    half = SIDE // 2
    padded = np.pad(light, half)
    return padded[cy : cy + SIDE, cx : cx + SIDE]
