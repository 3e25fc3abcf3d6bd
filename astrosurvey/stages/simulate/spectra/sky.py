"""The night sky's light and the errors that it makes."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch

from ...spectra.skylines import LINES

_WIDTH = 1.4
"""Å at 4000 Å and growing with the wavelength: sigma of a sky line."""


def sky_lines(wave: np.ndarray, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (line, pixel) float32 profiles of sky lines, and their derivatives, which a small shift leaves; both at most 1."""
    return _profiles(wave.tobytes(), lines.tobytes())


@cache
def _profiles(wave: bytes, lines: bytes) -> tuple[np.ndarray, np.ndarray]:
    centers = np.frombuffer(lines)[:, None]
    t = (np.frombuffer(wave) - centers) / (_WIDTH * centers / 4000.0)
    even = np.exp(-0.5 * t**2)
    return even.astype(np.float32), (t * even * math.exp(0.5)).astype(np.float32)


def analytic_sigma(draw: Any, x: Any, wave: np.ndarray) -> Any:
    """Return errors as of a spectrograph with two arms under a sky of continuum and lines.

    Args:
        draw: an `instrument._Draw`, for the brightness of the lines and the shape of the throughput.
        x: (pixel,) tensor from 0 to 1.
        wave: (pixel,) Å.

    Returns:
        (n, pixel) tensor, of flux density, with a mean of about 1.
    """
    inside = LINES[(wave[0] < LINES) & (wave[-1] > LINES)]
    even = draw.tensor(sky_lines(wave, inside)[0])
    hydroxyl = draw.tensor(np.where(inside > 7200, 1.0, np.where(np.abs(inside - 5578.9) < 2, 4.0, 0.4)))
    strength = hydroxyl * torch.exp(0.8 * draw.normal(len(inside))) * draw.power(0.5, 12.0)
    place = draw.tensor(wave / 5500.0)
    photons = place**0.6 + strength @ even + draw.power(0.02, 1.0)  # continuum, lines, and the detector's own
    blue = torch.sigmoid((draw.tensor(wave) - draw.uniform(3300.0, 3900.0)) / draw.uniform(120.0, 350.0))
    red = torch.sigmoid((draw.uniform(9300.0, 10400.0) - draw.tensor(wave)) / draw.uniform(150.0, 500.0))
    dip = 1 - draw.uniform(0.0, 0.5) * torch.exp(-0.5 * ((draw.tensor(wave) - draw.uniform(5750.0, 6250.0)) / 120.0) ** 2)
    throughput = (0.05 + blue * red) * dip * torch.exp(0.2 * draw.normal() * (x - 0.5))
    sigma = torch.sqrt(photons) / (throughput * place)  # counts per pixel grow with the wavelength, for the same flux density
    return sigma / sigma.mean(dim=1, keepdim=True)
