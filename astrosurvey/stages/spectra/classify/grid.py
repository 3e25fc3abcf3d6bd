"""Spectra of any grid on that of the networks: even in log(wavelength), 3600 to 9805 Å; one pixel is two of SDSS's and LAMOST's."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ....catalog.flags import SPECTRUM_UNUSABLE
from ....kernels.resample import KERNEL, pixel_edges
from ....products import Spectra
from ..resample.rows import lengths

FINE_STEP = 1e-4
"""Of log10(wavelength/Å), on the grid of templates and simulations."""
FIRST = 35563
"""Number of the first fine pixel; pixel k of that grid lies at 10**(1e-4 k) Å."""
PIXELS = 2176
"""Of the networks' grid."""
EDGES = 10 ** (FINE_STEP * (FIRST - 0.5 + 2 * np.arange(PIXELS + 1)))
"""(PIXELS + 1,) Å, edges of the networks' pixels."""
WAVE = 10 ** (FINE_STEP * (FIRST + 0.5 + 2 * np.arange(PIXELS)))
"""(PIXELS,) Å, their centres."""

_THRESHOLD = 0.6
"""A pixel of which more than this part is unusable is masked; one of two fine pixels suffices."""


def on_grid(spectra: Spectra, rows: slice, device: Literal["cpu", "cuda"]) -> tuple[np.ndarray, np.ndarray]:
    """Return some spectra on the networks' grid.

    Args:
        spectra: on any grid.
        rows: which of them.
        device: where to calculate.

    Returns:
        flux and ivar, (row, PIXELS) float32; both are 0 where nothing is usable, as in all of a spectrum of one pixel,
        for nothing says how wide that is.
    """
    planes = [spectra.flux[rows], spectra.ivar[rows], spectra.mask[rows]]
    flux, ivar = np.zeros((2, len(planes[0]), PIXELS), np.float32)
    if spectra.flux.shape[1] < 2 or not len(flux):
        return flux, ivar
    edges = pixel_edges(spectra.wave[None]) if spectra.shared else pixel_edges(spectra.wave[rows], lengths(spectra, rows))
    sound = np.broadcast_to(np.isfinite(edges[:, 0]), len(flux))
    if not sound.all():
        planes = [plane[sound] for plane in planes]
        edges = edges[:0] if spectra.shared else edges[sound]
    if len(edges):
        values, weights, masked, _ = KERNEL.on(device)(*planes, edges, EDGES, SPECTRUM_UNUSABLE, _THRESHOLD)
        good = (weights > 0) & (masked <= _THRESHOLD)
        flux[sound], ivar[sound] = np.where(good, values, 0), np.where(good, weights, 0)
    return flux, ivar


def paired(flux: Tensor, ivar: Tensor) -> tuple[Tensor, Tensor]:
    """Return spectra on fine pixels as `on_grid` would, on any device.

    Args:
        flux, ivar: (row, 2 PIXELS) on the fine pixels from FIRST on; ivar is 0 where nothing is usable.

    Returns:
        flux and ivar, (row, PIXELS); both are 0 where neither pixel is usable.
    """
    good = ivar > 0
    flux, variance = torch.where(good, flux, 0.0), torch.where(good, 1 / torch.where(good, ivar, 1.0), 0.0)
    used = good[:, ::2].to(flux.dtype) + good[:, 1::2].to(flux.dtype)
    some = used.clamp(min=1)
    spread = variance[:, ::2] + variance[:, 1::2]
    return (flux[:, ::2] + flux[:, 1::2]) / some, torch.where(used > 0, used.square() / torch.where(used > 0, spread, 1.0), 0.0)
