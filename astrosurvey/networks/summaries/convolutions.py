"""Convolutions that summarise spectra, images and cubes: large strides first, and mean and spread over all places at every level.

Nothing is normalised on the way, for the amplitude of a field is often what is asked for. Its mean is taken off first and kept aside, for
layers that bend differently about another mean would mix it with all else. What is pooled is what each layer gives before it
is bent: the spread of a field behind a linear filter is its power at the filter's scales, which carries most of what a field says, and
its logarithm is near linear in amplitudes and slopes. Edges are continued rather than padded with zeros, which would be a step wherever
the mean of a field is another one.

References:
    Neutsch, Heneka & Brüggen (2022), arXiv:2201.07587, and Schosser, Heneka & Plehn (2024), arXiv:2401.04174 (strides along the line of
    sight of light-cones); Villaescusa-Navarro et al. (2021), arXiv:2109.10915 (fields).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64, 128)
"""Channels of each level."""
STEM_LEAVES = {1: (512,), 2: (64, 64), 3: (192, 48, 48)}
"""About how many places along each axis the first layer leaves of larger data; the spectral axis of a cube comes first."""
LEAST_VARIANCE = 1e-6
"""Added under the logarithm, whose slope would be infinite in an even field."""


class Convolutions(nn.Module):
    """Summarise data on a grid.

    Args:
        shape: length of each of one, two or three axes.
        features: numbers that come out.
        channels: of the data; 1 for data without an axis of channels.
        widths: channels of each level, each of which halves the axes; of small data the first ones are taken.
        stem: strides of the first layer along each axis; chosen by the shape if None.

    Shapes: (batch, channels, *shape) -> (batch, features).
    """

    def __init__(
        self, shape: Sequence[int], features: int, *, channels: int = 1, widths: Sequence[int] = WIDTHS, stem: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        convolution: Any = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(shape)]
        stem = tuple(stem) if stem is not None else strides(shape)
        left = max(n // s for n, s in zip(shape, stem, strict=True))
        # The spread over places says something while there are some.
        widths = widths[: max(1, left.bit_length() - 2) + 1]
        # Patches side by side where there are many places, overlapping windows where every one is kept.
        first = [(s, 0) if s > 1 else (3, 1) for s in stem]
        kernel, padding = zip(*first, strict=True)
        self.stem = convolution(channels, widths[0], kernel, stride=stem, padding=padding, padding_mode="replicate")
        self.levels = nn.ModuleList(convolution(a, b, 3, stride=2, padding=1, padding_mode="replicate") for a, b in pairwise(widths))
        for layer in (self.stem, *self.levels):
            # Without normalisation what is not kept up fades away from level to level.
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self.head = nn.Sequential(nn.Linear(channels + 2 * sum(widths), widths[-1]), nn.GELU(), nn.Linear(widths[-1], features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the summaries."""
        mean = x.flatten(2).mean(dim=2)
        x = self.stem(x - mean.reshape(*mean.shape, *[1] * (x.dim() - 2)))
        pooled = [mean, *_pooled(x)]
        for level in self.levels:
            x = level(functional.gelu(x))
            pooled += _pooled(x)
        return self.head(torch.cat(pooled, dim=1))


def _pooled(x: Tensor) -> list[Tensor]:
    """Return the (batch, channel) mean and logarithm of the spread over all places."""
    places = x.flatten(2)
    return [places.mean(dim=2), 0.5 * (places.var(dim=2, correction=0) + LEAST_VARIANCE).log()]


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a first layer that leaves about `STEM_LEAVES` places of a grid."""
    return tuple(max(1, round(n / leaves)) for n, leaves in zip(shape, STEM_LEAVES[len(shape)], strict=True))
