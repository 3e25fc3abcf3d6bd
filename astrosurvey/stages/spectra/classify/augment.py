"""Training spectra made harder: what no simulation of one instrument has, but some survey does.

Everything is drawn anew for every batch, on the device of the batch, from a generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

WAVES = 7
"""Smooth functions that a wrong calibration is made of."""

_DISTORTED = 0.15
_WITHOUT_LEVEL = 0.06


@dataclass(frozen=True)
class Batch:
    """Spectra on the networks' grid with what is known of them.

    Attributes:
        flux, ivar: (row, pixel); ivar is 0 where nothing is usable.
        coarse: (row,) int64, index into COARSE.
        fine: (row,) int64, index into FINE; -1 where there is none.
        z: (row,) NaN where there is none.
    """

    flux: Tensor
    ivar: Tensor
    coarse: Tensor
    fine: Tensor
    z: Tensor

    def __len__(self) -> int:
        return len(self.z)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(plane.to(device) for plane in (self.flux, self.ivar, self.coarse, self.fine, self.z)))


def harder(batch: Batch, draw: torch.Generator) -> Batch:
    """Return the batch with errors that are wrong, and some of it without its calibration or its level.

    Args:
        batch: on the generator's device.
        draw: where chance comes from.
    """
    flux, ivar = _calibrated_wrongly(batch.flux, batch.ivar, draw)
    flux = _levelled(flux, ivar, draw)
    return replace(batch, flux=torch.where(ivar > 0, flux, 0.0), ivar=ivar)


def _uniform(shape: tuple[int, ...], draw: torch.Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=draw, device=draw.device)


def _normal(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=draw, device=draw.device)


def _calibrated_wrongly(flux: Tensor, ivar: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Multiply some by smooth functions of any shape, and misjudge all errors by some tens of per cent."""
    rows, pixels = flux.shape
    place = torch.linspace(0, math.pi, pixels, device=flux.device)
    number = torch.arange(1, WAVES + 1, device=flux.device)
    size = torch.where(_uniform((rows, 1), draw) < _DISTORTED, _uniform((rows, 1), draw, 0.1, 0.9), 0.0)
    factor = torch.exp((size * _normal((rows, WAVES), draw) / number**0.7) @ torch.cos(number[:, None] * place))
    wrong = torch.exp(0.2 * _normal((rows, 1), draw))
    return flux * factor, ivar * wrong / factor.square()


def _levelled(flux: Tensor, ivar: Tensor, draw: torch.Generator) -> Tensor:
    """Take the level from some spectra, as archives do that store (flux - median) / scale."""
    level = torch.where(ivar > 0, flux, torch.nan).nanmedian(dim=1, keepdim=True).values
    chosen = _uniform((len(flux), 1), draw) < _WITHOUT_LEVEL
    return torch.where(chosen, flux - torch.nan_to_num(level), flux)
