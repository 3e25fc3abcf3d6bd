"""What the networks see of a spectrum: flux, signal-to-noise ratio, what stands out of the continuum, and where there are data.

Surveys differ in flux units, in how well the shape of the flux is calibrated, and in noise. So each channel is free of units
and bounded: levels are medians of blocks, which no line or cosmic ray moves, and values go through asinh. Training and
prediction share these functions.

References:
    Lupton, Gunn & Szalay (1999), AJ 118, 1406 (asinh).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CHANNELS = ("flux", "snr", "lines", "mask")
BLOCK = 16
"""Pixels in a block."""
CONTINUUM = 9
"""Blocks over which the continuum is averaged: 20 000 km/s."""

_LEAST = 0.02
"""Smallest unit of the flux, in the median flux: what is flat to this is not stretched any further."""
_TINY = 1e-30


def features(flux: Tensor, ivar: Tensor, like: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Return what the networks see.

    Args:
        flux, ivar: (row, pixel) float32 on the networks' grid; ivar is 0 where nothing is usable.
        like: flux and ivar of other spectra, whose level, unit and continuum are taken in place of their own.

    Returns:
        (row, channel, 1, pixel), in memory with the channels last.
    """
    rows, pixels = flux.shape
    good = (ivar > 0).to(flux.dtype)
    level, scale, smooth = _levels(*((flux, ivar) if like is None else like))
    weight = ivar.sqrt()
    planes = (
        _asinh((flux - level) / scale) * good / 2,
        _asinh(flux * weight) / 3,
        _asinh((flux - smooth) * weight) / 2,
        good,
    )
    # Stacked where the channels shall lie, behind the pixels.
    return torch.stack(planes, dim=-1).view(rows, 1, pixels, len(CHANNELS)).permute(0, 3, 1, 2)


def continuum(flux: Tensor, ivar: Tensor) -> Tensor:
    """Return the continuum that the networks see, (row, pixel)."""
    return _levels(flux, ivar)[2]


def _levels(flux: Tensor, ivar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return level and unit of each spectrum's flux, (row, 1), and its continuum, (row, pixel)."""
    rows, pixels = flux.shape
    good = (ivar > 0).to(flux.dtype)
    total, count = (flux * good).view(rows, -1, BLOCK).sum(dim=2), good.view(rows, -1, BLOCK).sum(dim=2)
    # Of a block with few data the mean is noise.
    mean = torch.where(count >= BLOCK / 4, total / count.clamp(min=1), torch.nan)
    level = _median(mean)
    scale = torch.hypot(1.4826 * _median((mean - level).abs()), _LEAST * level)
    # Where the level and the scatter are nothing, as where no block has enough data, only the pixels themselves tell the unit.
    size = ((flux * good).abs().sum(dim=1, keepdim=True) / good.sum(dim=1, keepdim=True).clamp(min=1)).clamp(min=_TINY)
    scale = torch.where(scale > _TINY, scale, size)
    around = functional.avg_pool1d(torch.stack([total, count], dim=1), CONTINUUM, 1, CONTINUUM // 2)
    smooth = torch.where(around[:, 1] > 0, around[:, 0] / around[:, 1].clamp(min=1e-3), level)
    return level, scale, functional.interpolate(smooth[:, None], pixels, mode="linear")[:, 0]


def _median(values: Tensor) -> Tensor:
    """Return the median of each row, without NaN, (row, 1); 0 of nothing."""
    return torch.nan_to_num(values.nanmedian(dim=1, keepdim=True).values)


def _asinh(x: Tensor) -> Tensor:
    """Return asinh; torch's own is ten times slower."""
    size = x.abs()
    return torch.log(size + torch.sqrt(size * size + 1)) * torch.sign(x)
