"""Steep splines and their gradients in one pass over memory: what `spline.spline` does with many small operations, on a CPU.

Training a flow on one thread is mostly the price of those operations. The arithmetic is that of `spline.py`, where its references are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..kernels._numba import helper, serial

TOGETHER = 256
"""Rows whose bins are kept at a time; along them the compiler's loops are vectors."""
ONE, TWO, HALF = np.float32(1.0), np.float32(2.0), np.float32(0.5)


class SteepSpline(torch.autograd.Function):
    """x bent by steep splines and the log of the slope there; arguments and shapes are those of `spline.spline`, float32 on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, knots: Tensor, bins: int, bound: float, steepest: float) -> tuple[Tensor, Tensor]:
        """Return both."""
        x, knots = x.contiguous(), knots.contiguous()
        ctx.save_for_backward(x, knots)
        ctx.shape = bins, bound, steepest
        return _bent(x, knots, bins, bound, steepest, inverse=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by x and knots."""
        x, knots = ctx.saved_tensors
        bins, bound, steepest = ctx.shape
        by_x, by_knots = torch.empty_like(x), torch.empty_like(knots)
        by_bent, by_log = (g.contiguous() for g in gradients)
        _gradients(*_flat(x, knots, by_bent, by_log, by_x, by_knots), bins, np.float32(bound), np.float32(2 / steepest))
        return by_x, by_knots, None, None, None


def bent_back(x: Tensor, knots: Tensor, bins: int, bound: float, steepest: float) -> tuple[Tensor, Tensor]:
    """Return x bent back, and the log of the inverse's slope, without gradients."""
    return _bent(x.contiguous(), knots.contiguous(), bins, bound, steepest, inverse=True)


def _bent(x: Tensor, knots: Tensor, bins: int, bound: float, steepest: float, *, inverse: bool) -> tuple[Tensor, Tensor]:
    bent, log_slope = torch.empty_like(x), torch.empty_like(x)
    _bend(*_flat(x, knots, bent, log_slope), bins, np.float32(bound), np.float32(2 / steepest), inverse)
    return bent, log_slope


def _flat(x: Tensor, knots: Tensor, *others: Tensor) -> list[np.ndarray]:
    """Return arrays with the leading axes in one: (n, feature, row), and of knots (n, knot, feature, row)."""
    features, rows = x.shape[-2:]
    number = knots.shape[-3]
    shape = {x.dim(): (-1, features, rows), knots.dim(): (-1, number, features, rows)}
    return [part.detach().reshape(shape[part.dim()]).numpy() for part in (x, knots, *others)]


@helper
def _exp(x):  # type: ignore[no-untyped-def]
    """Return the exponential of a number within 4 of zero, to some 1e-6 of it, without a branch or a call."""
    x *= np.float32(1 / 16)
    e = np.float32(1 / 120) + x * np.float32(1 / 720)
    e = ONE + x * (ONE + x * (HALF + x * (np.float32(1 / 6) + x * (np.float32(1 / 24) + x * e))))
    e *= e
    e *= e
    e *= e
    return e * e


@helper
def _sizes(knots, squash, sizes):  # type: ignore[no-untyped-def]
    """Fill (bin, row) `sizes` with those of bins, which add up to two, by their (bin, row) knots."""
    bins, rows = knots.shape
    total = np.zeros(rows, np.float32)
    for i in range(bins):
        for row in range(rows):
            # Squashed, none is far from zero, so the largest need not be looked for.
            size = _exp(knots[i, row] / (ONE + abs(knots[i, row]) * squash))
            sizes[i, row] = size
            total[row] += size
    for row in range(rows):
        total[row] = TWO / total[row]
    for i in range(bins):
        for row in range(rows):
            sizes[i, row] *= total[row]


@helper
def _bins(sizes, places, bound, chosen, start):  # type: ignore[no-untyped-def]
    """Find which bins places are in, and where these start."""
    bins, rows = sizes.shape
    chosen[:] = 0
    start[:] = -ONE
    edge = np.full(rows, -ONE)
    for i in range(bins - 1):
        for row in range(rows):
            edge[row] += sizes[i, row]
            if edge[row] * bound <= places[row]:
                chosen[row] = i + 1
                start[row] = edge[row]


@helper
def _starts(sizes, chosen, start):  # type: ignore[no-untyped-def]
    """Find where chosen bins start."""
    bins, rows = sizes.shape
    start[:] = -ONE
    for i in range(bins - 1):
        for row in range(rows):
            if i < chosen[row]:
                start[row] += sizes[i, row]


@helper
def _slope(slopes, edge, row, squash):  # type: ignore[no-untyped-def]
    """Return a spline's slope at an edge of its bins, by (inner edge, row) knots: one at both ends."""
    if edge == 0 or edge == len(slopes) + 1:
        return ONE
    slope = slopes[edge - 1, row]
    return math.exp(slope / (ONE + abs(slope) * (HALF * squash)))


@helper
def _one_bin(wide, high, slopes, i, row, squash):  # type: ignore[no-untyped-def]
    """Return width and height of a row's bin, and the slopes at its ends."""
    return wide[i, row], high[i, row], _slope(slopes, i, row, squash), _slope(slopes, i + 1, row, squash)


@serial
def _bend(x, knots, bent, log_slope, bins, bound, squash, inverse):  # type: ignore[no-untyped-def]
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            for first in range(0, x.shape[2], TOGETHER):
                last = min(first + TOGETHER, x.shape[2])
                own = knots[n, :, k, first:last].copy()  # side by side in memory, which the loops need to be vectors
                _bend_some(x[n, k, first:last], own, bent[n, k, first:last], log_slope[n, k, first:last], bins, bound, squash, inverse)


@helper
def _bend_some(x, knots, bent, log_slope, bins, bound, squash, inverse):  # type: ignore[no-untyped-def]
    rows = len(x)
    wide, high = np.empty((bins, rows), np.float32), np.empty((bins, rows), np.float32)
    chosen, left, foot = np.empty(rows, np.int64), np.empty(rows, np.float32), np.empty(rows, np.float32)
    _sizes(knots[:bins], squash, wide)
    _sizes(knots[bins : 2 * bins], squash, high)
    if inverse:
        _bins(high, x, bound, chosen, foot)
        _starts(wide, chosen, left)
    else:
        _bins(wide, x, bound, chosen, left)
        _starts(high, chosen, foot)
    for row in range(rows):
        if not abs(x[row]) <= bound:
            bent[row], log_slope[row] = x[row], 0.0
            continue
        place, i = x[row] / bound, chosen[row]
        w, h, d0, d1 = _one_bin(wide, high, knots[2 * bins :], i, row, squash)
        s = h / w
        excess = d0 + d1 - TWO * s
        if inverse:
            up = place - foot[row]
            a, b, c = h * (s - d0) + up * excess, h * d0 - up * excess, -s * up
            u = -TWO * c / (b + math.sqrt(max(b * b - np.float32(4.0) * a * c, np.float32(0.0))))
            u = min(max(u, np.float32(0.0)), ONE)
        else:
            u = (place - left[row]) / w
        v = ONE - u
        below = s + excess * (u * v)
        log = math.log(s * s * (d1 * u * u + TWO * s * u * v + d0 * v * v) / (below * below))
        if inverse:
            bent[row], log_slope[row] = (left[row] + u * w) * bound, -log
        else:
            bent[row], log_slope[row] = (foot[row] + h * u * (s * u + d0 * v) / below) * bound, log


@serial
def _gradients(x, knots, by_bent, by_log, by_x, by_knots, bins, bound, squash):  # type: ignore[no-untyped-def]
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            for first in range(0, x.shape[2], TOGETHER):
                last = min(first + TOGETHER, x.shape[2])
                own = knots[n, :, k, first:last].copy()
                into = np.zeros_like(own)
                bent, log, to_x = by_bent[n, k, first:last], by_log[n, k, first:last], by_x[n, k, first:last]
                _gradients_some(x[n, k, first:last], own, bent, log, to_x, into, bins, bound, squash)
                by_knots[n, :, k, first:last] = into


@helper
def _gradients_some(x, knots, by_bent, by_log, by_x, by_knots, bins, bound, squash):  # type: ignore[no-untyped-def]
    rows = len(x)
    wide, high = np.empty((bins, rows), np.float32), np.empty((bins, rows), np.float32)
    chosen, left = np.empty(rows, np.int64), np.empty(rows, np.float32)
    to_left, to_wide = np.zeros(rows, np.float32), np.zeros(rows, np.float32)
    to_foot, to_high = np.zeros(rows, np.float32), np.zeros(rows, np.float32)
    _sizes(knots[:bins], squash, wide)
    _sizes(knots[bins : 2 * bins], squash, high)
    _bins(wide, x, bound, chosen, left)
    for row in range(rows):
        by_x[row] = by_bent[row]
        if not abs(x[row]) <= bound:
            continue
        place, i = x[row] / bound, chosen[row]
        w, h, d0, d1 = _one_bin(wide, high, knots[2 * bins :], i, row, squash)
        s = h / w
        excess = d0 + d1 - TWO * s
        u = (place - left[row]) / w
        v = ONE - u
        uv, tilt = u * v, ONE - TWO * u
        over, below = u * (s * u + d0 * v), s + excess * uv
        rise = d1 * u * u + TWO * s * uv + d0 * v * v
        # Gradients by what the place in the bin is made of: u, the tangent s and the slopes at its ends.
        rising, gained = by_bent[row] * bound, by_log[row]
        to_over, to_rise = rising * h / below, gained / rise
        to_below = -(to_over * over + TWO * gained) / below
        to_u = to_over * (TWO * s * u + d0 * tilt) + to_below * excess * tilt + to_rise * TWO * (d1 * u + s * tilt - d0 * v)
        to_s = to_over * u * u + to_below * (ONE - TWO * uv) + to_rise * TWO * uv + TWO * gained / s
        for edge, slope, to_slope in (
            (i, d0, to_over * uv + to_below * uv + to_rise * v * v),
            (i + 1, d1, to_below * uv + to_rise * u * u),
        ):
            if 0 < edge < bins:
                bend = ONE + abs(knots[2 * bins + edge - 1, row]) * (HALF * squash)
                by_knots[2 * bins + edge - 1, row] = to_slope * slope / (bend * bend)
        by_x[row] = to_u / (w * bound)
        to_left[row], to_wide[row] = -to_u / w, -(to_s * s + to_u * u) / w
        to_foot[row], to_high[row] = rising, rising * over / below + to_s / w
    _to_sizes(knots[:bins], wide, chosen, to_left, to_wide, squash, by_knots[:bins])
    _to_sizes(knots[bins : 2 * bins], high, chosen, to_foot, to_high, squash, by_knots[bins : 2 * bins])


@helper
def _to_sizes(knots, sizes, chosen, to_start, to_size, squash, by_knots):  # type: ignore[no-untyped-def]
    """Pass gradients by start and size of the chosen bins on to the (bin, row) knots: a start is the sum of the sizes before."""
    bins, rows = knots.shape
    mean = np.zeros(rows, np.float32)
    for i in range(bins):
        for row in range(rows):
            to = to_start[row] if i < chosen[row] else to_size[row] if i == chosen[row] else np.float32(0.0)
            by_knots[i, row] = to
            mean[row] += to * sizes[i, row]
    for i in range(bins):
        for row in range(rows):
            bend = ONE + abs(knots[i, row]) * squash
            by_knots[i, row] = sizes[i, row] * (by_knots[i, row] - HALF * mean[row]) / (bend * bend)  # sizes add up to two
