"""Small synthetic skies with known answers."""

from __future__ import annotations

import numpy as np

from astrosurvey.products import Image

FWHM = 4.0
SIGMA = FWHM / 2.354820045


def gaussians(shape: tuple[int, int], x: np.ndarray, y: np.ndarray, flux: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    """Return an image of Gaussian stars: flux is each star's total."""
    image = np.zeros(shape)
    reach = int(np.ceil(6 * sigma))
    for xi, yi, fi in zip(x, y, flux, strict=True):
        x0, x1 = max(int(xi) - reach, 0), min(int(xi) + reach + 1, shape[1])
        y0, y1 = max(int(yi) - reach, 0), min(int(yi) + reach + 1, shape[0])
        if x0 >= x1 or y0 >= y1:
            continue
        gx = np.exp(-0.5 * ((np.arange(x0, x1) - xi) / sigma) ** 2)
        gy = np.exp(-0.5 * ((np.arange(y0, y1) - yi) / sigma) ** 2)
        image[y0:y1, x0:x1] += fi / (2 * np.pi * sigma**2) * gy[:, None] * gx
    return image


def grid(shape: tuple[int, int], spacing: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return positions on a grid, each moved by a random part of a pixel."""
    y, x = np.mgrid[spacing // 2 : shape[0] - spacing // 4 : spacing, spacing // 2 : shape[1] - spacing // 4 : spacing]
    return x.ravel() + rng.uniform(-0.5, 0.5, x.size), y.ravel() + rng.uniform(-0.5, 0.5, y.size)


def psf_stamp(size: int = 31, sigma: float = SIGMA) -> np.ndarray:
    """Return a Gaussian PSF stamp that sums to one."""
    stamp = gaussians((size, size), np.array([size // 2]), np.array([size // 2]), np.ones(1), sigma)
    return (stamp / stamp.sum()).astype(np.float32)


def make_image(data: np.ndarray, rms: float | np.ndarray, *, bands: tuple[str, ...] | None = None, **more: object) -> Image:
    """Return an Image of (band, y, x) or (y, x) data with constant noise and a Gaussian PSF."""
    data = np.ascontiguousarray(data.reshape((-1, *data.shape[-2:])), np.float32)
    names = bands or tuple("grizy"[: len(data)])
    variance = np.broadcast_to(np.asarray(rms, np.float32).reshape((-1, 1, 1)) ** 2, data.shape).copy()
    settings = {"variance": variance, "psf": np.stack([psf_stamp()] * len(data)), **more}
    return Image(data=data, bands=names, **settings)
