"""The detector: photon and read noise, full wells, bad columns, and what the survey then delivers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from scipy.stats import poisson

from ...catalog.flags import PIXEL
from ...core.tiles import Box
from .bleed import Trail
from .cosmic_rays import cosmic_rays
from .lattice import Purpose, cells, generator, overlap
from .survey import Band

BLOCK = 256
"""Side of the blocks of pixels whose noise is drawn together."""

COLUMN = 1024
"""Side of the cells that bad columns begin in, and the length none exceeds (pixel)."""

FEW = 40.0
"""Below this many expected photons their number is drawn from the exact distribution."""


@dataclass(frozen=True)
class Defects:
    """What the detector itself adds to a window.

    Attributes:
        hot: (y, x) electrons of dark charge.
        dead: (y, x) bool; no charge arrives.
    """

    hot: np.ndarray
    dead: np.ndarray


def observe(
    seed: int,
    band: Band,
    window: Box,
    expected: np.ndarray,
    trails: list[Trail],
    *,
    cosmic_ray_rate: float,
    flag_cosmic_rays: bool,
    bad_column_rate: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return data, variance and mask of one band of a window.

    The variance is the expectation: photons of sky and sources, and read noise. It is finite even where
    the mask says that the pixel is not to be used, as it is in the images that surveys publish.

    Args:
        seed: the sky's seed.
        band: the band.
        window: pixels of the sky.
        expected: (y, x) expected flux, sky and sources (nJy).
        trails: bleed trails that may touch the window.
        cosmic_ray_rate: hits per million pixels.
        flag_cosmic_rays: whether the mask tells.
        bad_column_rate: bad columns that begin in a million pixels.

    Returns:
        (y, x) float32 nJy, (y, x) float32 nJy^2, (y, x) int32 of `catalog.flags.PIXEL` bits.
    """
    defects = bad_columns(seed, band.index, window, bad_column_rate)
    mean = np.maximum(expected, 0.0) * band.gain + defects.hot
    mean[defects.dead] = 0.0
    photons, reading = _deviates(seed, band.index, window)
    charge = photon_noise(mean, photons)
    hits = cosmic_rays(seed, band.index, window, cosmic_ray_rate)
    charge += hits
    _spill(charge, trails, window, band.full_well)
    charge[defects.dead] = 0.0

    mask = np.zeros(window.shape, dtype=np.int32)
    mask[charge >= band.full_well] |= PIXEL["SAT"]
    mask[defects.dead | (defects.hot > 0.0)] |= PIXEL["BAD"]
    if flag_cosmic_rays:
        mask[hits > 0.5 * np.sqrt(band.gain * band.sky)] |= PIXEL["CR"]

    np.minimum(charge, band.full_well, out=charge)
    data = (charge + band.read_noise * reading) / band.gain
    variance = (np.minimum(mean, band.full_well) + band.read_noise**2) / band.gain**2
    return data.astype(np.float32), variance.astype(np.float32), mask


def photon_noise(mean: np.ndarray, deviate: np.ndarray) -> np.ndarray:
    """Return Poisson deviates made from normal ones, so that each pixel uses up exactly one random number.

    Where there are many photons this is the Cornish-Fisher expansion of the Poisson quantile, right in
    mean, variance and skewness, and not rounded to whole electrons: an image is the mean of several
    exposures. Where there are few it is the exact quantile.

    Args:
        mean: (any shape) expected electrons.
        deviate: the same shape, normal deviates.

    References:
        Cornish & Fisher (1938).
    """
    z = deviate.astype(np.float64)
    root = np.sqrt(np.maximum(mean, FEW))
    z2 = z * z
    charge = mean + root * z + (z2 - 1.0) / 6.0 + z * (1.0 - z2) / (72.0 * root)
    few = mean < FEW
    if few.any():
        charge[few] = np.where(mean[few] > 0.0, poisson.ppf(ndtr(z[few]), mean[few]), 0.0)
    return np.asarray(charge)


def _deviates(seed: int, band: int, window: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return two normal deviates for every pixel of a window, each (y, x) float32."""
    out = np.empty((2, *window.shape), dtype=np.float32)
    for column, row, box in cells(window, BLOCK):
        shared = overlap(window, box)
        if shared:
            here, there = shared
            block = generator(seed, Purpose.NOISE, band, column, row).standard_normal((2, BLOCK, BLOCK), dtype=np.float32)
            out[:, here[0], here[1]] = block[:, there[0], there[1]]
    return out[0], out[1]


def _spill(charge: np.ndarray, trails: list[Trail], window: Box, full_well: float) -> None:
    """Fill the pixels of the bleed trails, in place."""
    for trail in trails:
        if not window.x0 <= trail.column < window.x1:
            continue
        column = charge[:, trail.column - window.x0]
        column[max(trail.first - window.y0, 0) : max(trail.last + 1 - window.y0, 0)] = full_well
        for row, spilt in ((trail.first - 1, trail.below), (trail.last + 1, trail.above)):
            if window.y0 <= row < window.y1:
                column[row - window.y0] += spilt


def bad_columns(seed: int, band: int, window: Box, rate: float) -> Defects:
    """Return the hot and dead columns of a window.

    Args:
        seed: the sky's seed.
        band: number of the band; every band was taken with a detector of its own.
        window: pixels of the sky.
        rate: columns that begin in a million pixels.
    """
    defects = Defects(np.zeros(window.shape), np.zeros(window.shape, dtype=bool))
    for column, row, box in cells(Box(window.x0, window.y0 - COLUMN, window.x1, window.y1), COLUMN):
        rng = generator(seed, Purpose.BAD_COLUMN, band, column, row)
        for _ in range(int(rng.poisson(rate * COLUMN**2 / 1e6))):
            x, y = (box.x0 + int(rng.integers(COLUMN)), box.y0 + int(rng.integers(COLUMN)))
            whole, part, kind, dark = rng.random(), rng.integers(20, COLUMN), rng.random(), rng.standard_normal()
            y, length = (box.y0, COLUMN) if whole < 0.3 else (y, int(part))
            shared = overlap(window, Box(x, y, x + 1, y + length))
            if shared and kind < 0.6:
                defects.hot[shared[0]] += 2000.0 * np.exp(dark)
            elif shared:
                defects.dead[shared[0]] = True
    return defects
