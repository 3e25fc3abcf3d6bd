"""What the twins of the matched filter share, and the CPU's loops over rows.

A tile is filtered row by row: each row of the image is weighed, filtered along x and kept in a ring; when
all rows that an output row needs are there, it is filtered along y, its bands are added and its ratio is
taken. Nothing of full size is kept besides the result. The sum over taps has one order, so that a pixel
does not depend on the tile it falls into.
"""

from __future__ import annotations

import math

import numpy as np

from ._numba import helper

HIGHEST, KNOTS = 64.0, 4097
"""Tables of significance are sampled at so many knots between zero and this."""
MIN_COVERAGE = 0.5
"""A pixel counts where the filter sees more usable than masked sky: over bad columns, not outside the field."""
ROWS, COLUMNS = 256, 512
"""Side lengths of the CPU's tiles; what it keeps of a tile fits into the second-level cache."""
SIGNAL, NOISE, WEIGHT, COVER = range(4)

_PER_KNOT, _LAST = np.float32((KNOTS - 1) / HIGHEST), np.float32(KNOTS - 1.001)
HALF, ZERO, ONE, INFINITE = np.float32(MIN_COVERAGE), np.float32(0), np.float32(1), np.float32(np.inf)


@helper
def inverse_variance(value, variance):  # type: ignore[no-untyped-def]
    """Return an unmasked pixel's weight."""
    usable = (variance > ZERO) & (variance < INFINITE) & (value - value == ZERO)
    return ONE / variance if usable else ZERO


@helper
def masked_weight(value, variance, bits, unusable, saturated, typical):  # type: ignore[no-untyped-def]
    """Return a pixel's weight; saturated pixels count as they are, since a star is to have a core."""
    if (bits & unusable) == 0:
        return inverse_variance(value, variance)
    if (bits & unusable & ~saturated) != 0:
        return ZERO
    known = (variance > ZERO) & (variance < INFINITE)
    return inverse_variance(value, variance if known else typical)


@helper
def lookup(table, value):  # type: ignore[no-untyped-def]
    """Return a table's value at `value`, which is not negative, with slope one beyond its end."""
    place = value * _PER_KNOT
    within = min(place, _LAST)
    knot = np.uint32(within)
    base = table[knot] + (within - np.float32(knot)) * (table[knot + 1] - table[knot])
    return base + (place - within) / _PER_KNOT


@helper
def significance_of_sum(squares, seen, chi):  # type: ignore[no-untyped-def]
    """Return the significance of a sum of squared signal-to-noise ratios over `seen` bands."""
    return max(lookup(chi[seen], math.sqrt(squares)), ZERO) if seen > 0 else ZERO


@helper
def square(signal, noise):  # type: ignore[no-untyped-def]
    """Return the square of a band's signal-to-noise ratio where it is positive."""
    return signal * signal / noise if signal > ZERO else ZERO


@helper
def _along_row(source, offset, taps, out):  # type: ignore[no-untyped-def]
    """Filter a row: out[j] = sum over t of taps[t] source[j + offset + t]."""
    n, width = taps.shape[0], out.shape[0]
    out[:] = ZERO
    t = 0
    while t + 4 <= n:  # four taps at a time, so that a value is loaded and stored a quarter as often
        a, b, c, d = taps[t], taps[t + 1], taps[t + 2], taps[t + 3]
        row = source[offset + t : offset + t + width + 3]
        for j in range(width):
            out[j] += a * row[j] + b * row[j + 1] + c * row[j + 2] + d * row[j + 3]
        t += 4
    while t < n:
        a = taps[t]
        row = source[offset + t : offset + t + width]
        for j in range(width):
            out[j] += a * row[j]
        t += 1


@helper
def _across_rows(ring, start, taps, out):  # type: ignore[no-untyped-def]
    """Filter columns: out[j] = sum over t of taps[t] ring[start + t, j], the rows taken round."""
    n, width, depth = taps.shape[0], out.shape[0], ring.shape[0]
    out[:] = ZERO
    t = 0
    while t + 4 <= n:
        a, b, c, d = taps[t], taps[t + 1], taps[t + 2], taps[t + 3]
        first, second = ring[(start + t) % depth], ring[(start + t + 1) % depth]
        third, fourth = ring[(start + t + 2) % depth], ring[(start + t + 3) % depth]
        for j in range(width):
            out[j] += a * first[j] + b * second[j] + c * third[j] + d * fourth[j]
        t += 4
    while t < n:
        a = taps[t]
        first = ring[(start + t) % depth]
        for j in range(width):
            out[j] += a * first[j]
        t += 1


@helper
def _weigh_row(data, variance, mask, unusable, saturated, typical, y, x0, lines):  # type: ignore[no-untyped-def]
    """Fill lines with ivar data, ivar twice and (ivar > 0) of a row from column x0 on; return whether all of it is usable."""
    ny, nx = data.shape
    width = lines.shape[1]
    lines[:] = ZERO
    if y < 0 or y >= ny:
        return False
    begin, end = max(x0, 0), min(x0 + width, nx)
    values, variances = data[y, begin:end], variance[y, begin:end]
    inside = slice(begin - x0, end - x0)
    signal, ivar, usable = lines[SIGNAL, inside], lines[NOISE, inside], lines[COVER, inside]
    if mask.shape[0] == 0:
        for j in range(end - begin):
            ivar[j] = inverse_variance(values[j], variances[j])
    else:
        bits = mask[y, begin:end]
        for j in range(end - begin):
            ivar[j] = masked_weight(values[j], variances[j], bits[j], unusable, saturated, typical)
    n = 0
    for j in range(end - begin):
        weighted = ivar[j] * values[j]
        signal[j] = weighted if ivar[j] > ZERO else ZERO
        n += ivar[j] > ZERO
        usable[j] = ONE if ivar[j] > ZERO else ZERO
    lines[WEIGHT] = lines[NOISE]
    return n == width


@helper
def _add_band(now, sums, seen, chi):  # type: ignore[no-untyped-def]
    """Add a band's row of signal, noise and weight; signal-to-noise ratios where their squares are wanted."""
    signal, noise, weight, cover = now[0], now[1], now[2], now[3]
    signals, noises, weights, squares = sums[0], sums[1], sums[2], sums[3]
    for j in range(seen.shape[0]):
        signals[j] += signal[j]
        noises[j] += noise[j]
        weights[j] += weight[j]
        seen[j] += cover[j] > HALF
    if chi.shape[0] > 0:
        for j in range(seen.shape[0]):
            squares[j] += square(signal[j], noise[j]) if cover[j] > HALF else ZERO


@helper
def _finish_row(sums, seen, chi, first, flux, snr):  # type: ignore[no-untyped-def]
    """Turn a filter's row of sums into significance and flux of its group; loops that a compiler can vectorise."""
    signals, noises, weights, squares = sums[0], sums[1], sums[2], sums[3]
    new = np.empty(seen.shape[0], np.float32)
    if chi.shape[0] > 0:
        for j in range(seen.shape[0]):
            new[j] = significance_of_sum(squares[j], seen[j], chi)
    else:
        for j in range(seen.shape[0]):
            ratio = signals[j] / math.sqrt(noises[j])
            new[j] = ratio if seen[j] > 0 else ZERO
    if first:
        for j in range(seen.shape[0]):
            snr[j] = new[j]
            mean = signals[j] / weights[j]
            flux[j] = mean if seen[j] > 0 else ZERO
    else:
        for j in range(seen.shape[0]):
            snr[j] = max(snr[j], new[j])


@helper
def filter_tile(data, variance, mask, typical, unusable, saturated, taps, reach, group, chi, x0, y0, flux, snr):  # type: ignore[no-untyped-def]
    n_filters, n_bands = reach.shape
    ny, nx = data.shape[1:]
    y1, x1 = min(y0 + ROWS, ny), min(x0 + COLUMNS, nx)
    width, most = x1 - x0, reach.max()
    depth, middle = 2 * most + 1, taps.shape[3] // 2
    lines = np.empty((4, width + 2 * most), np.float32)
    # For every band and filter, the rows of signal, noise, weight and coverage that the columns still need.
    ring = np.empty((n_bands, n_filters, 4, depth, width), np.float32)
    whole = np.zeros((n_bands, depth), np.bool_)
    now, sums = np.empty((4, width), np.float32), np.empty((4, width), np.float32)
    seen = np.empty(width, np.int32)
    for row in range(y0 - most, y1 + most):
        slot, y = (row - y0 + most) % depth, row - most
        for b in range(n_bands):
            whole[b, slot] = _weigh_row(data[b], variance[b], mask[b], unusable, saturated, typical[b], row, x0 - most, lines)
            for f in range(n_filters):
                r = reach[f, b]
                for what in range(4):
                    k = taps[f, b, what, middle - r : middle + r + 1]
                    if what != WEIGHT or f == 0 or group[f] != group[f - 1]:
                        _along_row(lines[what], most - r, k, ring[b, f, what, slot])
        for f in range(n_filters if y >= y0 else 0):
            first = f == 0 or group[f] != group[f - 1]
            sums[:] = ZERO
            seen[:] = 0
            for b in range(n_bands):
                r = reach[f, b]
                for what in range(4):
                    if what == COVER and whole[b].all():
                        now[what, :] = ONE
                    elif what != WEIGHT or first:
                        _across_rows(
                            ring[b, f, what], (y - y0 + most - r) % depth, taps[f, b, what, middle - r : middle + r + 1], now[what]
                        )
                _add_band(now, sums, seen, chi)
            _finish_row(sums, seen, chi, first, flux[group[f], y, x0:x1], snr[group[f], y, x0:x1])
