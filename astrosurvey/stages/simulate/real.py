"""Real galaxies as templates: stamps from a FITS file whose transforms are shrunk, turned and seen through another PSF.

References:
    Rowe et al. (2015), GalSim, arXiv:1407.7676 (real galaxies); Koekemoer et al. (2007), COSMOS, arXiv:astro-ph/0703095.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter, label

from ...core.stage import DataError

PAD = 256
"""Side of the grid on which a stamp's transform is kept; the stamp fills at most half of it, so that interpolation is exact enough."""

HELD_OUT = (5, 6)
"""Of every seven stamps, those that are never trained on."""


@dataclass(frozen=True)
class Templates:
    """Galaxies without noise around them, of unit flux and centred.

    Attributes:
        waves: (n, PAD, PAD) complex64, transforms; the frequency rises along both axes, zero is at PAD / 2.
        half_light: (n,) half-light radius, in pixels of the stamp.
    """

    waves: np.ndarray
    half_light: np.ndarray

    def __len__(self) -> int:
        return len(self.half_light)

    def transform(self, which: int, half_light: float, theta: float, kx: np.ndarray, ky: np.ndarray) -> np.ndarray:
        """Return the transform, (ky, kx) complex64, of a galaxy that is shrunk to a half-light radius and turned.

        Args:
            which: the template.
            half_light: in pixels of the image.
            theta: rad, from +x to +y.
            kx, ky: rad per pixel of the image.
        """
        scale = half_light / self.half_light[which] * PAD / (2.0 * np.pi)
        cosine, sine = scale * np.cos(theta), scale * np.sin(theta)
        x = (cosine * kx + sine * ky[:, None] + PAD // 2).astype(np.float32)
        y = (cosine * ky[:, None] - sine * kx + PAD // 2).astype(np.float32)
        inside = (x >= 0) & (x < PAD - 1) & (y >= 0) & (y < PAD - 1)
        column, row = np.where(inside, x, 0).astype(np.int32), np.where(inside, y, 0).astype(np.int32)
        u, v = x - column, y - row
        flat, at = self.waves[which].ravel(), row * PAD + column
        low = flat[at] * (1 - u) + flat[at + 1] * u
        high = flat[at + PAD] * (1 - u) + flat[at + PAD + 1] * u
        return np.where(inside, low * (1 - v) + high * v, np.complex64(0)).astype(np.complex64)


def read_templates(path: str, keep: Literal["all", "training", "held out"]) -> Templates:
    """Return the galaxies of a FITS file with a stamp in each HDU.

    Args:
        path: the file.
        keep: which of them; of every seven the last two are held out of training.

    Raises:
        DataError: it holds none.
    """
    from ...products._fits import FitsFile

    waves, radii = [], []
    with FitsFile(Path(path)) as file:
        stamps = [hdu for hdu in file.hdus if hdu.is_image and len(file.shape(hdu)) == 2]
        for number, hdu in enumerate(stamps):
            if keep != "all" and (number % 7 in HELD_OUT) != (keep == "held out"):
                continue
            light = footprint(np.nan_to_num(file.read(hdu).astype(np.float64)))
            if light.sum() > 0 and max(light.shape) <= PAD // 2:
                wave, radius = template(light)
                waves.append(wave)
                radii.append(radius)
    if not waves:
        raise DataError(f"{path} holds no stamp of a galaxy of at most {PAD // 2} pixels a side; give a FITS file with one in each HDU")
    return Templates(np.stack(waves), np.array(radii))


def footprint(stamp: np.ndarray) -> np.ndarray:
    """Return a galaxy's light, (y, x) float64: what the smoothed footprint of the brightest peak holds, less the sky, cut to its extent."""
    edge = np.concatenate([stamp[:3].ravel(), stamp[-3:].ravel(), stamp[:, :3].ravel(), stamp[:, -3:].ravel()])
    sky = np.median(edge)
    noise = 1.4826 * np.median(np.abs(edge - sky))
    smooth = gaussian_filter(stamp - sky, 2.0)
    islands, _ = label(smooth > 0.6 * noise)
    peak = np.unravel_index(np.argmax(smooth), smooth.shape)
    inside = (islands == islands[peak]) & (islands > 0)
    if not inside.any():
        return np.zeros((1, 1))
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return np.where(inside, stamp - sky, 0.0)[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def template(light: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the transform of a galaxy of unit flux, centred on its centroid, and its half-light radius in pixels."""
    light = light / light.sum()
    ny, nx = light.shape
    y, x = np.mgrid[:ny, :nx]
    cx, cy = float((x * light).sum()), float((y * light).sum())
    r = np.hypot(x - cx, y - cy).ravel()
    order = np.argsort(r, kind="stable")
    radius = float(np.interp(0.5, np.cumsum(light.ravel()[order]), r[order]))
    # Linear interpolation between waves dims the image by sinc^2 away from the centre; that is divided out beforehand.
    dimming = np.sinc((x - cx) / PAD) ** 2 * np.sinc((y - cy) / PAD) ** 2
    padded = np.zeros((PAD, PAD))
    padded[:ny, :nx] = light / dimming
    k = 2.0 * np.pi * np.fft.fftfreq(PAD)
    shift = np.exp(1j * k * cy)[:, None] * np.exp(1j * k * cx)
    waves = np.fft.fftshift(np.fft.fft2(padded) * shift)
    return (waves / waves[PAD // 2, PAD // 2]).astype(np.complex64), max(radius, 0.5)
