"""Cosmic rays: muons that cross a thick detector in straight lines, and electrons that wander in it.

A minimum ionising particle frees about 80 electrons per micrometre of silicon; in a fully depleted
detector 200 micrometres thick with pixels of 15 micrometres that is 16 000 for a vertical hit and a
straight streak for a slanted one.

References:
    Smith et al. (2002), Proc. SPIE 4669, 172; Groom (2002).
"""

from __future__ import annotations

import math

import numpy as np

from ...core.tiles import Box
from .lattice import Purpose, cells, generator, overlap

BLOCK = 256
"""Side of the blocks in which hits are drawn (pixel)."""

LONGEST = 96
"""No track leads farther than this from where it begins (pixel)."""

THICKNESS = 200.0 / 15.0
"""Of the detector, in pixels."""

PER_PIXEL = 80.0 * 15.0
"""Electrons freed along one pixel's width of a track."""

MUON_SHARE = 0.7
STEP = 0.25


def cosmic_rays(seed: int, band: int, window: Box, rate: float) -> np.ndarray:
    """Return the electrons that cosmic rays leave in a window, (y, x) float64.

    Args:
        seed: the sky's seed.
        band: number of the band.
        window: pixels of the sky.
        rate: hits per million pixels.
    """
    charge = np.zeros(window.shape)
    for column, row, box in cells(window, BLOCK, LONGEST + 1):
        rng = generator(seed, Purpose.COSMIC_RAY, band, column, row)
        for _ in range(int(rng.poisson(rate * BLOCK**2 / 1e6))):
            x, y, electrons = _muon(rng) if rng.random() < MUON_SHARE else _electron(rng)
            start = rng.random(2) * BLOCK
            x0, y0, patch = _deposit(x + start[0] + box.x0, y + start[1] + box.y0, electrons)
            shared = overlap(window, Box(x0, y0, x0 + patch.shape[1], y0 + patch.shape[0]))
            if shared:
                charge[shared[0]] += patch[shared[1]]
    return charge


def _muon(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points along a straight track and the electrons freed at each; zenith angles follow cos^2."""
    cosine = max(float(rng.random()) ** 0.25, 0.14)
    length = THICKNESS * math.sqrt(1.0 / cosine**2 - 1.0)
    angle = 2.0 * math.pi * float(rng.random())
    along = np.linspace(0.0, length, max(int(length / STEP), 1) + 1)
    # energy loss has a long tail (Landau), and varies from pixel to pixel
    loss = PER_PIXEL * THICKNESS / cosine * math.exp(0.3 * float(rng.standard_normal()))
    share = np.exp(0.35 * rng.standard_normal(len(along)))
    return along * math.cos(angle), along * math.sin(angle), loss * share / share.sum()


def _electron(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points along a track bent by multiple scattering, and the electrons freed at each."""
    steps = int(rng.integers(20, 300))
    direction = 2.0 * math.pi * float(rng.random()) + np.cumsum(0.25 * rng.standard_normal(steps))
    x, y = np.cumsum(STEP * np.cos(direction)), np.cumsum(STEP * np.sin(direction))
    return x, y, PER_PIXEL * STEP * np.exp(0.5 * rng.standard_normal(steps))


def _deposit(x: np.ndarray, y: np.ndarray, electrons: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Share each point's charge among the four nearest pixels; returns the patch's first column and row, and the patch."""
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    x0, y0 = int(column.min()), int(row.min())
    patch = np.zeros((int(row.max()) - y0 + 2, int(column.max()) - x0 + 2))
    right, up = x - column, y - row
    for dy, dx, weight in ((0, 0, (1 - right) * (1 - up)), (0, 1, right * (1 - up)), (1, 0, (1 - right) * up), (1, 1, right * up)):
        np.add.at(patch, (row - y0 + dy, column - x0 + dx), electrons * weight)
    return x0, y0, patch
