"""A density near the standard normal one, or wider: its width and tails are fitted to numbers.

It is that of w * sinh(t * arsinh(n)) / t in every dimension, with a standard normal n, the width w and the tails t.

References:
    Jones & Pewsey (2009), doi:10.1093/biomet/asp053 (the density); Guo et al. (2017), arXiv:1706.04599 (networks are too sure of
    themselves, and one or two numbers that are fitted to data kept back mend most of it).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

WIDTHS, TAILS = torch.linspace(1, 1.5, 21), torch.linspace(1, 1.5, 11)
"""What a fit chooses from. Nothing is narrower than the standard normal density: few numbers must make nobody too sure."""
PRIOR = 0.1
"""Scatter of the logs of width and tails before any number is seen: a few numbers leave both near 1."""


class SinhArsinh(nn.Module):
    """The density; at first, the standard normal one."""

    shape: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shape", torch.ones(2))  # width and tails

    def forward(self, z: Tensor) -> Tensor:
        """Return (member, row) logs of the density of (member, feature, row) numbers."""
        return _log_density(z, *self.shape)

    def bend(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return (member, feature, row) draws, of standard normal numbers, and the (member, row) logs of their density."""
        width, tails = self.shape
        apart = (tails * noise.asinh()).sinh()
        return width / tails * apart, _log(noise, apart, width)

    @torch.no_grad()
    def fit(self, z: Tensor) -> None:
        """Choose the most probable width and tails of (member, feature, row) numbers."""
        shapes = torch.cartesian_prod(WIDTHS, TAILS).to(z)
        log = torch.stack([_log_density(z, *shape).mean(dim=0).sum() for shape in shapes])
        self.shape.copy_(shapes[(log - 0.5 * (shapes.log() / PRIOR).square().sum(dim=1)).argmax()])


def _log_density(z: Tensor, width: Tensor, tails: Tensor) -> Tensor:
    apart = z * (tails / width)
    return _log((apart.asinh() / tails).sinh(), apart, width)


def _log(n: Tensor, apart: Tensor, width: Tensor) -> Tensor:
    """Return the log density, by the normal numbers and sinh(tails * arsinh(n))."""
    slope = 0.5 * (n.square().log1p() - apart.square().log1p()) - width.log()  # log of that of n over z
    return (slope - 0.5 * (n.square() + math.log(2 * math.pi))).sum(dim=1)
