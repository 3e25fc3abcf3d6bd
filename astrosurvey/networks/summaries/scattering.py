"""Wavelet scattering of lines and images: how strong a field is at each scale, and how that strength itself varies. Nothing is learnt.

Coefficients of first order are means over all places of |x * psi|, of second order of ||x * psi| * psi'| for every larger scale; before
them stand the mean and the spread of the field. Those of second order are taken relative to those of first order, so that they tell of the
shape of structures and not of their strength. Edges wrap around.

References:
    Mallat (2012), arXiv:1101.2286; Bruna & Mallat (2013), arXiv:1203.1513; Cheng et al. (2020), arXiv:2006.08561 (fields of cosmology).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

HIGHEST = 0.75 * math.pi
"""Central frequency, in radians a pixel, of the wavelet of the smallest scale."""
WIDTH = 0.8
"""Of a wavelet's standard deviation in pixels, in units of 2^scale."""
SLANT = 0.5
"""Ratio of a wavelet's extent along its direction to that across it, in two dimensions."""
LEAST = 1e-6
"""Added under logarithms, relative to the field's spread."""
ALIASES = (-2 * math.pi, 0.0, 2 * math.pi)
"""Frequencies that a grid cannot tell from zero; what reaches beyond the highest one comes back from the other side."""


def wavelets(shape: Sequence[int], scales: int, angles: int) -> Tensor:
    """Return (scale, angle, *shape) float32 Fourier transforms of Morlet wavelets; one angle in one dimension.

    Args:
        shape: of the field, one or two axes.
        scales: dyadic ones.
        angles: directions between 0 and pi.
    """
    frequencies = [2 * math.pi * torch.fft.fftfreq(n, dtype=torch.float64) for n in shape]
    grid = torch.stack(torch.meshgrid(*frequencies, indexing="ij"))  # (axis, *shape)
    made = torch.zeros(scales, angles, *shape, dtype=torch.float64)
    for shift in product(ALIASES, repeat=len(shape)):
        shifted = grid + torch.tensor(shift).reshape(-1, *[1] * len(shape))
        for angle in range(angles):
            turned = _turned(shifted, math.pi * angle / angles)
            for scale in range(scales):
                made[scale, angle] += _morlet(turned, HIGHEST / 2**scale, WIDTH * 2**scale)
    return made.float()


def scatter(x: Tensor, filters: Tensor, *, isotropic: bool = True) -> Tensor:
    """Return (batch, coefficient) float32 scattering coefficients of fields.

    Args:
        x: (batch, *shape) float32.
        filters: what `wavelets` returns for this shape.
        isotropic: average over directions, keeping only the angle between those of first and second order.
    """
    scales, angles = filters.shape[:2]
    axes = tuple(range(-(filters.ndim - 2), 0))
    mean = x.mean(dim=axes, keepdim=True)
    spread = x.std(dim=axes, correction=0, keepdim=True)
    unit = torch.where(spread > 0, spread, 1.0)
    transformed = torch.fft.fftn((x - mean) / unit, dim=axes)
    first, second = [], []
    for i in range(scales):
        strength = torch.fft.ifftn(transformed[:, None] * filters[i], dim=axes).abs()  # (batch, angle, *shape)
        s1 = strength.mean(dim=axes)
        first.append(s1)
        again = torch.fft.fftn(strength, dim=axes)
        for j in range(i + 1, scales):
            s2 = torch.fft.ifftn(again[:, :, None] * filters[j], dim=axes).abs().mean(dim=axes)  # (batch, angle, angle)
            second.append(s2 / (s1[:, :, None] + LEAST))
    ones, twos = torch.stack(first, dim=1), (torch.stack(second, dim=1) if second else x.new_zeros(len(x), 0, angles, angles))
    if isotropic:
        ones = ones.mean(dim=2, keepdim=True)
        twos = torch.stack([twos.roll(-k, dims=3).diagonal(dim1=2, dim2=3).mean(dim=2) for k in range(angles)], dim=2)
    logs = torch.cat([(ones + LEAST).log().flatten(1), (twos + LEAST).log().flatten(1)], dim=1)
    return torch.cat([mean.flatten(1), (unit.flatten(1) + LEAST).log(), logs], dim=1)


def coefficient_names(scales: int, angles: int, isotropic: bool) -> tuple[str, ...]:
    """Return the names of the coefficients that `scatter` returns: S1_<scale>, S2_<scale>_<larger scale>, with their directions."""
    one = [""] if isotropic else [f"_a{a}" for a in range(angles)]
    two = [f"_a{a}" for a in range(angles)] if isotropic else [f"_a{a}_a{b}" for a in range(angles) for b in range(angles)]
    first = [f"s1_{i}{a}" for i in range(scales) for a in one]
    second = [f"s2_{i}_{j}{a}" for i in range(scales) for j in range(i + 1, scales) for a in two]
    return ("mean", "log_spread", *first, *second)


def _turned(frequency: Tensor, angle: float) -> Tensor:
    """Return (axis, *shape) frequencies along a direction, and across it as a slanted wavelet sees them."""
    if len(frequency) == 1:
        return frequency
    y, x = frequency
    along = x * math.cos(angle) + y * math.sin(angle)
    return torch.stack([along, (y * math.cos(angle) - x * math.sin(angle)) / SLANT])


def _morlet(frequency: Tensor, centre: float, sigma: float) -> Tensor:
    """Return the transform of a wave under a bell, less so much of the bell that its mean is zero."""
    from_zero = sigma**2 * frequency.square().sum(dim=0)
    from_centre = from_zero - 2 * sigma**2 * centre * frequency[0] + (sigma * centre) ** 2
    return (-0.5 * from_centre).exp() - math.exp(-0.5 * (sigma * centre) ** 2) * (-0.5 * from_zero).exp()
