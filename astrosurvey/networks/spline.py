"""Monotonic rational-quadratic splines, there and back: what flows bend single dimensions by.

Rows come last in all arrays, so that every operation runs along memory: a step of training takes a third of the time that
zuko's splines need, whose bins come last. That is why they are written here once more.

References:
    Gregory & Delbourgo (1982), IMA J. Numer. Anal. 2, 123 (the splines); Durkan et al. (2019), arXiv:1906.04032 (in flows).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

BOUND = 5.0
"""Splines bend what lies within this, and leave the rest as it is; the vectors should be of order one."""
LEAST_WIDTH, LEAST_SLOPE = 1e-2, 1e-2
"""Of a spline's bins, as a fraction of the whole, and of its slope: what keeps the density finite."""
RISE = math.log(math.expm1(1.0 - LEAST_SLOPE))
"""softplus(RISE) = 1 - LEAST_SLOPE, so that zeros mean a slope of one."""
STEEPEST = math.log(1e3)
"""Of steep splines the slopes at knots lie within 1/1000 and 1000, and so do the ratios of the bins' sizes."""


def spline(x: Tensor, knots: Tensor, bins: int, *, steep: bool = False, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """Return x bent by splines, and the log of the slope there, both as x.

    Args:
        x: (..., feature, row).
        knots: (..., 3 * bins - 1, feature, row) unconstrained widths, heights and inner slopes; zeros give the identity.
        bins: of the splines.
        steep: slopes are exponentials of the knots, so that narrow densities are learnt in few steps; else they grow with them.
        inverse: bend back; the log is that of the inverse's slope.

    Steep ones of single precision on a CPU are done in one pass, by `spline_cpu`.
    """
    if steep and x.device.type == "cpu" and x.dtype == torch.float32:
        from .spline_cpu import SteepSpline, bent_back

        x = x.expand(*knots.shape[:-3], -1, -1)
        if not inverse:
            return cast(tuple[Tensor, Tensor], SteepSpline.apply(x, knots, bins, BOUND, STEEPEST))
        if not torch.is_grad_enabled():
            return bent_back(x, knots, bins, BOUND, STEEPEST)
    inside = x.abs() <= BOUND
    place = torch.where(inside, x, 0.0) / BOUND
    sizes, slopes = knots[..., : 2 * bins, :, :].unflatten(-3, (2, bins)), knots[..., 2 * bins :, :, :]
    slopes = functional.pad(slopes, (0, 0, 0, 0, 1, 1))
    if steep:
        sizes = 2 * (sizes / (1 + sizes.abs() * (2 / STEEPEST))).softmax(dim=-3)
    else:
        sizes = 2 * LEAST_WIDTH + (2 - 2 * LEAST_WIDTH * bins) * sizes.softmax(dim=-3)
    edges = functional.pad(sizes.cumsum(dim=-3), (0, 0, 0, 0, 1, 0)) - 1  # (..., across or up, edge, feature, row)
    chosen = (edges.detach()[..., 1 if inverse else 0, 1:-1, :, :] <= place.detach()[..., None, :, :]).sum(dim=-3, keepdim=True)
    ends = torch.cat([chosen, chosen + 1], dim=-3)
    both = ends[..., None, :, :, :].expand(*ends.shape[:-3], 2, *ends.shape[-3:])
    (x0, x1), (y0, y1) = (pair.unbind(-3) for pair in edges.gather(-3, both).unbind(-4))
    slopes = slopes.gather(-3, ends)
    slopes = (slopes / (1 + slopes.abs() / STEEPEST)).exp() if steep else LEAST_SLOPE + functional.softplus(slopes + RISE)
    d0, d1 = slopes.unbind(-3)
    wide, high = x1 - x0, y1 - y0
    tangent = high / wide
    excess = d0 + d1 - 2 * tangent
    if inverse:
        # Of the quadratic's roots the one within the bin, in the form that loses no digits.
        up = place - y0
        a, b, c = high * (tangent - d0) + up * excess, high * d0 - up * excess, -tangent * up
        u = (-2 * c / (b + (b * b - 4 * a * c).clamp_min(0.0).sqrt())).clamp(0.0, 1.0)
    else:
        u = (place - x0) / wide
    v = 1 - u
    below = tangent + excess * (u * v)
    bent = x0 + u * wide if inverse else y0 + high * u * (tangent * u + d0 * v) / below
    slope = tangent * tangent * (d1 * u * u + 2 * tangent * u * v + d0 * v * v) / (below * below)
    log_slope = -slope.log() if inverse else slope.log()
    return torch.where(inside, bent * BOUND, x), torch.where(inside, log_slope, 0.0)
