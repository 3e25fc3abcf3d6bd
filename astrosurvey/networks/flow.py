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
from torch.nn import functional

BOUND = 5.0
"""Splines bend what lies within this, and leave the rest as it is; the vectors should be of order one."""
LEAST_WIDTH, LEAST_SLOPE = 1e-2, 1e-2
"""Of a spline's bins, as a fraction of the whole, and of its slope: what keeps the density finite."""


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
            knots = network(first).view(len(x), -1, 3 * self.bins - 1)
            second, gained = spline(second, knots, self.bins)
            log_slope = log_slope + gained.sum(dim=1)
            x = torch.cat([second, first], dim=1)  # the halves change places
        return log_slope - 0.5 * x.square().sum(dim=1) - 0.5 * self.features * math.log(2 * math.pi)


def spline(x: Tensor, knots: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Return x bent by monotonic rational-quadratic splines, and the log of the slope there.

    Args:
        x: (batch, feature).
        knots: (batch, feature, 3 * bins - 1) unconstrained widths, heights and inner slopes; zeros give the identity.
        bins: of the splines.
    """
    inside = x.abs() < BOUND
    place = torch.where(inside, x, 0.0)
    widths, heights, slopes = knots.split([bins, bins, bins - 1], dim=-1)
    left, bottom = _edges(widths), _edges(heights)
    # softplus(rise) = 1 - LEAST_SLOPE, so that zeros mean a slope of one.
    rise = math.log(math.expm1(1.0 - LEAST_SLOPE))
    slope = functional.pad(LEAST_SLOPE + functional.softplus(slopes + rise), (1, 1), value=1.0)
    chosen = (torch.searchsorted(left, place[..., None], right=True) - 1).clamp(0, bins - 1)
    x0, x1, y0, y1, d0, d1 = (t.gather(-1, chosen + k)[..., 0] for t in (left, bottom, slope) for k in (0, 1))
    tangent, u = (y1 - y0) / (x1 - x0), (place - x0) / (x1 - x0)
    across = u * (1 - u)
    below = tangent + (d1 + d0 - 2 * tangent) * across
    bent = y0 + (y1 - y0) * (tangent * u.square() + d0 * across) / below
    log_slope = 2 * tangent.log() + (d1 * u.square() + 2 * tangent * across + d0 * (1 - u).square()).log() - 2 * below.log()
    return torch.where(inside, bent, x), torch.where(inside, log_slope, 0.0)


def _edges(unconstrained: Tensor) -> Tensor:
    """Return rising edges from -BOUND to BOUND of bins whose sizes are a softmax, each at least LEAST_WIDTH of the whole."""
    bins = unconstrained.shape[-1]
    sizes = LEAST_WIDTH + (1 - LEAST_WIDTH * bins) * unconstrained.softmax(dim=-1)
    edges = functional.pad(sizes.cumsum(dim=-1), (1, 0)) * 2 * BOUND - BOUND
    return edges.contiguous()
