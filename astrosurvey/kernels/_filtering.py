"""What the twins of the matched filter share, and the CPU's loops over rows.

A tile is filtered row by row: each row of the image is weighed, filtered along x and kept in a ring; when
all rows that an output row needs are there, it is filtered along y, its bands are added and its ratio is
taken. Nothing of full size is kept besides the result. The sum over taps has one order, so that a pixel
does not depend on the tile it falls into. Where the weights of a row are those of the row before, as they
are in every row of an image of one depth, what is made of them is taken over: only the signal is filtered.
"""

from __future__ import annotations

import math

import numpy as np

from ._numba import helper, inlined

HIGHEST, KNOTS = 64.0, 4097
"""Tables of significance are sampled at so many knots between zero and this."""
MIN_COVERAGE = 0.5
"""A pixel counts where the filter sees more usable than masked sky: over bad columns, not outside the field."""
ROWS, COLUMNS = 256, 1024
"""Side lengths of the CPU's tiles; what it keeps of a tile fits into the second-level cache."""
SIGNAL, NOISE, WEIGHT, COVER = range(4)
IVAR, USABLE = 1, 2

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


@inlined
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


@inlined
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


@inlined
def _weigh_row(data, variance, mask, unusable, saturated, typical, y, x0, lines):  # type: ignore[no-untyped-def]
    """Fill lines with ivar data, ivar and (ivar > 0) of a row from column x0 on; zero outside the image."""
    ny, nx = data.shape
    lines[:] = ZERO
    if y < 0 or y >= ny:
        return
    begin, end = max(x0, 0), min(x0 + lines.shape[1], nx)
    values, variances = data[y, begin:end], variance[y, begin:end]
    inside = slice(begin - x0, end - x0)
    signal, ivar, usable = lines[SIGNAL, inside], lines[IVAR, inside], lines[USABLE, inside]
    if mask.shape[0] == 0:
        for j in range(end - begin):
            ivar[j] = inverse_variance(values[j], variances[j])
    else:
        bits = mask[y, begin:end]
        for j in range(end - begin):
            ivar[j] = masked_weight(values[j], variances[j], bits[j], unusable, saturated, typical)
    for j in range(end - begin):
        weighted = ivar[j] * values[j]
        signal[j] = weighted if ivar[j] > ZERO else ZERO
        usable[j] = ONE if ivar[j] > ZERO else ZERO


@inlined
def _alike(one, other):  # type: ignore[no-untyped-def]
    """Tell whether two rows are the same; to the end in any case, for such a loop the compiler vectorises."""
    differ = 0
    for j in range(one.shape[0]):
        differ += one[j] != other[j]
    return differ == 0


@inlined
def _note_repeats(here, before, alike):  # type: ignore[no-untyped-def]
    """Count on, or anew, for how many rows what is filtered has been the same as in the row before."""
    same_ivar = _alike(here[IVAR], before[IVAR])
    same_usable = same_ivar or _alike(here[USABLE], before[USABLE])
    alike[NOISE] = alike[NOISE] + 1 if same_ivar else 0
    alike[WEIGHT] = alike[NOISE]
    alike[COVER] = alike[COVER] + 1 if same_usable else 0


@inlined
def _sum_of_bands(rows, into):  # type: ignore[no-untyped-def]
    """Return the sum of the bands' rows, in `into` where there are several."""
    if rows.shape[0] == 1:
        return rows[0]
    for j in range(into.shape[0]):
        into[j] = rows[0, j] + rows[1, j]
    for b in range(2, rows.shape[0]):
        for j in range(into.shape[0]):
            into[j] += rows[b, j]
    return into


@inlined
def _weigh_up(now, first, root, weight, seen, total):  # type: ignore[no-untyped-def]
    """Set what signals are divided by: the root of the noise and the weight, summed over bands, and how many bands are seen."""
    seen[:] = 0
    for b in range(now.shape[1]):
        cover = now[COVER, b]
        for j in range(seen.shape[0]):
            seen[j] += cover[j] > HALF
    noise = _sum_of_bands(now[NOISE], total)
    for j in range(seen.shape[0]):
        root[j] = math.sqrt(noise[j])
    if first:
        summed = _sum_of_bands(now[WEIGHT], total)
        for j in range(seen.shape[0]):
            weight[j] = summed[j]


@inlined
def _quotient(signal, divisor, seen, out):  # type: ignore[no-untyped-def]
    """Fill a row with signal by divisor, and with zero where nothing is seen."""
    for j in range(seen.shape[0]):
        ratio = signal[j] / divisor[j]
        out[j] = ratio if seen[j] > 0 else ZERO


@inlined
def _chi_significance(now, seen, chi, out):  # type: ignore[no-untyped-def]
    """Fill a row with the significance of the bands' summed squared signal-to-noise ratios."""
    out[:] = ZERO
    for b in range(now.shape[1]):
        signal, noise, cover = now[SIGNAL, b], now[NOISE, b], now[COVER, b]
        for j in range(seen.shape[0]):
            out[j] += square(signal[j], noise[j]) if cover[j] > HALF else ZERO
    for j in range(seen.shape[0]):
        out[j] = significance_of_sum(out[j], seen[j], chi)


@helper
def filter_tile(data, variance, mask, typical, unusable, saturated, taps, reach, group, chi, x0, y0, flux, snr):  # type: ignore[no-untyped-def]
    n_filters, n_bands = reach.shape
    ny, nx = data.shape[1:]
    y1, x1 = min(y0 + ROWS, ny), min(x0 + COLUMNS, nx)
    width, most = x1 - x0, reach.max()
    depth, middle = 2 * most + 1, taps.shape[3] // 2
    source = (SIGNAL, IVAR, IVAR, USABLE)  # what is filtered to signal, noise, weight and coverage
    lines = np.empty((2, n_bands, 3, width + 2 * most), np.float32)  # of two rows in turn
    # For every filter and band, the rows of signal, noise, weight and coverage that the columns still need.
    ring = np.empty((n_filters, 4, n_bands, depth, width), np.float32)
    alike = np.zeros((n_bands, 4), np.int64)
    now = np.empty((n_filters, 4, n_bands, width), np.float32)
    root, weight = np.empty((n_filters, width), np.float32), np.empty((n_filters, width), np.float32)
    seen = np.empty((n_filters, width), np.int32)
    total, new = np.empty(width, np.float32), np.empty(width, np.float32)
    for row in range(y0 - most, y1 + most):
        slot, y = (row - y0 + most) % depth, row - most
        for b in range(n_bands):
            here, before = lines[row % 2, b], lines[(row + 1) % 2, b]
            _weigh_row(data[b], variance[b], mask[b], unusable, saturated, typical[b], row, x0 - most, here)
            if row > y0 - most:
                _note_repeats(here, before, alike[b])
            for f in range(n_filters):
                r = reach[f, b]
                for what in range(4):
                    rows = ring[f, what, b]
                    if alike[b, what] == 0:
                        if what != WEIGHT or f == 0 or group[f] != group[f - 1]:
                            _along_row(here[source[what]], most - r, taps[f, b, what, middle - r : middle + r + 1], rows[slot])
                    elif alike[b, what] < depth:  # else every row of the ring is what this one would be
                        rows[slot] = rows[slot - 1]
        for f in range(n_filters if y >= y0 else 0):
            first, changed = f == 0 or group[f] != group[f - 1], False
            for b in range(n_bands):
                r = reach[f, b]
                start = (y - y0 + most - r) % depth
                for what in range(4):
                    if alike[b, what] < depth and (what != WEIGHT or first):
                        _across_rows(ring[f, what, b], start, taps[f, b, what, middle - r : middle + r + 1], now[f, what, b])
                        changed = changed or what != SIGNAL
            if changed:
                _weigh_up(now[f], first, root[f], weight[f], seen[f], total)
            signal = _sum_of_bands(now[f, SIGNAL], total)
            best = snr[group[f], y, x0:x1]
            greatest = best if first else new
            if chi.shape[0] > 0:
                _chi_significance(now[f], seen[f], chi, greatest)
            else:
                _quotient(signal, root[f], seen[f], greatest)
            if first:
                _quotient(signal, weight[f], seen[f], flux[group[f], y, x0:x1])
            else:
                for j in range(width):
                    best[j] = max(best[j], new[j])
