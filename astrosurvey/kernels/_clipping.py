"""Clipped statistics of many values without sorting them; for kernels that measure the sky.

A sample of 64 values says roughly where the sky lies and how wide it is; all are then counted into a histogram
over that range, and the clipping goes on in the histogram's cumulative sums, which are integers: they do not
depend on the order of the values. A range that turns out too narrow or too wide for the clipped values is set
again. Within a bin values are taken to be spread evenly. Where they are not, because they are whole numbers of
counts, the bins at the median, whose error the mode's estimate would multiply, get a histogram of their own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._numba import helper

BINS = 1024
EDGES = BINS + 1
COUNTED = BINS + 3
"""One bin more for what lies below, one for what lies above, and one for what is not to be used."""
SAMPLE = 64
CLIPS = 10
"""How often values are clipped at most."""
RANGES = 12
"""How often a histogram's range is set at most."""
COARSE = 4.0
"""A clipped standard deviation of fewer bins is measured again in a narrower range."""
CROWDED = 0.3
"""Mean and median differ by more standard deviations: the mode's estimate is no good, the median is better."""
ACCEPT, NARROW, WIDEN = 0, 1, 2


@helper
def is_finite(value: np.float32) -> bool:
    return value - value == np.float32(0)


@helper
def sampled(values: np.ndarray, t: int) -> np.float32:
    """Return a usable value out of the t-th part of a box; infinity if there is none."""
    start, stop = t * values.size // SAMPLE, (t + 1) * values.size // SAMPLE
    for k in range(stop - start):
        # Begin somewhere else in each part: a box's left edge is no fair sample of it.
        value = values[start + (k + 37 * t) % (stop - start)]
        if is_finite(value):
            return value
    return np.float32(np.inf)


@helper
def rank_in(sample: np.ndarray, t: int) -> Any:
    """Return how many of a sample come before its t-th in ascending order."""
    value = sample[t]
    rank = np.int32(0)
    for k in range(SAMPLE):
        rank += np.int32(sample[k] < value or (sample[k] == value and k < t))
    return rank


@helper
def first_range(ordered: np.ndarray, n: int, clip: np.float32) -> np.float32:
    """Return half the range that a sample of n ordered values suggests; 0 if it knows of no noise."""
    # 0.74 interquartile ranges are a standard deviation.
    return np.float32(3.5) * clip * np.float32(0.7413) * (ordered[(3 * n) // 4] - ordered[n // 4])


@helper
def farther(value: np.float32, middle: np.float32, half: np.float32) -> np.float32:
    """Return half the width of a range about `middle` with another value in it."""
    distance = np.float32(1.01) * abs(value - middle)
    return distance if distance > half else half  # which a NaN is not


@helper
def bin_of(value: np.float32, low: np.float32, scale: np.float32) -> np.int32:
    """Return the bin of a value: 1 to BINS, 0 below them, BINS + 1 above, and BINS + 2 if it is NaN."""
    place = (value - low) * scale
    place = place if place > np.float32(-1) else np.float32(-1)
    place = place if place < np.float32(BINS) else np.float32(BINS)
    return np.int32(place + np.float32(1)) if is_finite(value) else np.int32(BINS + 2)


@helper
def _scale(half: np.float32) -> np.float32:
    """Return bins per unit of flux."""
    return np.float32(BINS // 2) / half


@helper
def add_bins(histogram: np.ndarray, before: np.ndarray, s1: np.ndarray, s2: np.ndarray, start: int, stop: int) -> None:
    """Add up, from zero, the bins `start` to `stop`, the sums of their numbers, and of these squared; see `_clipped`."""
    n0, n1, n2 = np.int32(0), np.int64(0), np.int64(0)
    for k in range(start, stop):
        number, centre = histogram[k + 1], np.int64(k - BINS // 2)
        n0 += number
        n1 += number * centre
        n2 += number * centre * centre
        before[k + 1], s1[k + 1], s2[k + 1] = n0, n1, n2


@helper
def _place(n: np.ndarray, rank: np.float32, after: bool) -> np.float32:
    """Return where, in bins, `rank` values have been counted; behind bins without any if `after`, else before them."""
    low, high = 0, BINS - 1
    while low < high:
        middle = (low + high) // 2
        counted = np.float32(n[middle + 1])
        if counted > rank or (counted == rank and not after):
            high = middle
        else:
            low = middle + 1
    return np.float32(low) + (rank - np.float32(n[low])) / np.float32(n[low + 1] - n[low])


@helper
def _clipped(n: np.ndarray, s1: np.ndarray, s2: np.ndarray, clip: np.float32) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Clip a histogram about its median until it settles.

    `n`, `s1` and `s2` are, before each bin and at the end, how many values have been counted, the sum of
    their bins' numbers from the middle one, and the sum of these numbers' squares. Returns median, mean and
    standard deviation in bins from the lower end of the histogram, and how many values lie below the median.
    """
    a: Any = 0
    b: Any = BINS
    median, mean, deviation, rank = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    if n[BINS] == 0:
        return median, mean, deviation, rank
    for _ in range(CLIPS + 1):
        count = np.float32(n[b] - n[a])
        rank = np.float32(n[a]) + np.float32(0.5) * count
        median = np.float32(0.5) * (_place(n, rank, False) + _place(n, rank, True))
        shift = np.float32(s1[b] - s1[a]) / count
        mean = shift + np.float32(BINS // 2) + np.float32(0.5)
        deviation = np.float32(math.sqrt(max(np.float32(s2[b] - s2[a]) / count - shift * shift, np.float32(0))))
        # Bins whose middles are inside, of those that are left.
        lower: Any = max(np.int32(math.ceil(max(median - clip * deviation - np.float32(0.5), np.float32(0)))), a)
        upper: Any = min(np.int32(math.floor(min(median + clip * deviation + np.float32(0.5), np.float32(BINS)))), b)
        if upper <= lower or n[upper] - n[lower] == n[b] - n[a]:
            break
        a, b = lower, upper
    return median, mean, deviation, rank


@helper
def _verdict(
    median: np.float32, deviation: np.float32, inside: int, count: int, clip: np.float32, low: np.float32, half: np.float32
) -> int:
    """Say whether a histogram's range suits what was found in it."""
    reach = clip * deviation
    beyond = median - reach < np.float32(0) or median + reach > np.float32(BINS)
    if 2 * inside < count or (beyond and inside < count):
        return WIDEN
    step = half / np.float32(BINS // 2)
    # Where a bin is narrower than what a float32 tells apart there is nothing to be gained.
    if deviation < np.float32(COARSE) and low + half + np.float32(8) * step != low + half:
        return NARROW
    return ACCEPT


@helper
def judge(
    histogram: np.ndarray, before: np.ndarray, s1: np.ndarray, s2: np.ndarray, clip: np.float32, attempt: int,
    found: np.ndarray, state: np.ndarray,
) -> None:  # fmt: skip
    """Clip a histogram, and set the result or the next range.

    `found` holds the middle of the range and half its width; level, noise and mean; of the bins at the median
    the lower end and half their width, and how many values lie below the median. `state` holds the last
    verdict, whether another range is wanted, the number of usable values, and whether the median is.
    """
    half = found[1]
    low = found[0] - half
    step = half / np.float32(BINS // 2)
    median, mean, deviation, rank = _clipped(before, s1, s2, clip)
    usable = before[BINS] + histogram[0] + histogram[BINS + 1]
    verdict = _verdict(median, deviation, before[BINS], usable, clip, low, half)
    state[1] = verdict != ACCEPT and state[0] in (ACCEPT, verdict) and attempt < RANGES - 1
    state[0] = verdict
    state[2] = usable
    if half == np.float32(0):  # all values are one
        state[1], state[3] = 0, 0
        found[2], found[3] = found[0], np.float32(0)
    elif not state[1]:
        found[2], found[3], found[4] = low + step * _level(median, mean, deviation), step * deviation, low + step * mean
        first = np.float32(math.ceil(_place(before, rank, False)) - 1)
        last = np.float32(math.floor(_place(before, rank, True)))
        found[5], found[6] = low + step * first, np.float32(0.5) * step * (last + np.float32(1) - first)
        found[7] = rank + np.float32(histogram[0])
    elif verdict == WIDEN:
        found[1] = np.float32(8) * half
    else:
        found[0], found[1] = low + median * step, np.float32(3.5) * clip * max(deviation, np.float32(0.5)) * step


@helper
def refine(histogram: np.ndarray, before: np.ndarray, found: np.ndarray, state: np.ndarray) -> None:
    """Set the level by a histogram of the bins at the median."""
    state[3] = 0
    rank = found[7] - np.float32(histogram[0])
    if np.float32(0) < rank < np.float32(before[BINS]):
        place = np.float32(0.5) * (_place(before, rank, False) + _place(before, rank, True))
        found[2] = _level(found[5] + found[6] / np.float32(BINS // 2) * place, found[4], found[3])


@helper
def next_range(found: np.ndarray, state: np.ndarray) -> tuple[np.float32, np.float32]:
    """Return the lower end of the next histogram and its bins per unit of flux."""
    if state[1]:
        return found[0] - found[1], _scale(found[1])
    return found[5], _scale(found[6])


@helper
def repeats(ordered: np.ndarray, n: int) -> Any:
    """Return 1 if any of n ordered values comes twice, as counts do and measurements do not, else 0."""
    for k in range(n - 1):
        if ordered[k] == ordered[k + 1]:
            return np.int32(1)
    return np.int32(0)


@helper
def _level(median: np.float32, mean: np.float32, deviation: np.float32) -> np.float32:
    """Return the estimate of the mode, or the median of a crowded box."""
    if abs(mean - median) > np.float32(CROWDED) * deviation:
        return median
    return np.float32(2.5) * median - np.float32(1.5) * mean
