"""A normalizing flow: rational-quadratic spline coupling layers, for the density of a few dimensions.

Each layer leaves one half of the dimensions as they are, and bends each of the others by a rising spline whose knots are
a small network's function of the first half; the halves change places from layer to layer. So the density is exact, and as
the splines are local, clumps and gaps between them are followed, which affine layers smear.

References:
    Durkan et al. (2019), arXiv:1906.04032 (neural spline flows); Dinh, Sohl-Dickstein & Bengio (2017), arXiv:1605.08803 (coupling).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .spline import spline


class SplineFlow(nn.Module):
    """A density over vectors, as a standard normal one bent by splines.

    Args:
        features: length of the vectors, at least 2.
        layers: coupling layers; with at least 4, every dimension is bent given every other.
        bins: of each spline.
        hidden: width of the two hidden layers of the networks that place the knots.

    Shapes: (batch, features) -> (batch,) natural logarithms of the density.
    """

    def __init__(self, features: int, layers: int = 6, bins: int = 8, hidden: int = 64) -> None:
        super().__init__()
        self.features, self.bins = features, bins
        half = features // 2
        self.knots = nn.ModuleList()
        for layer in range(layers):
            given = half if layer % 2 == 0 else features - half
            last = nn.Linear(hidden, (features - given) * (3 * bins - 1))
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.knots.append(nn.Sequential(nn.Linear(given, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), last))

    def forward(self, x: Tensor) -> Tensor:
        """Return the log of the density at x."""
        log_slope = x.new_zeros(len(x))
        half = self.features // 2
        for layer, network in enumerate(self.knots):
            given = half if layer % 2 == 0 else self.features - half
            first, second = x[:, :given], x[:, given:]
            knots = network(first).view(len(x), -1, 3 * self.bins - 1).permute(2, 1, 0)
            bent, gained = spline(second.T, knots, self.bins)
            log_slope = log_slope + gained.sum(dim=0)
            x = torch.cat([bent.T, first], dim=1)  # the halves change places
        return log_slope - 0.5 * x.square().sum(dim=1) - 0.5 * self.features * math.log(2 * math.pi)
