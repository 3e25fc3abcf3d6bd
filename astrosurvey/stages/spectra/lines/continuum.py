"""The smooth continuum of spectra: a running, sigma-clipped median beside the lines.

References:
    Bolton et al. (2012), AJ 144, 144, whose line fits stand on a median-filtered continuum, too.
"""

from __future__ import annotations

import numpy as np

from ..velocity import LIGHT
from .linelist import LINES

REACH = 6000.0, 15000.0
"""km/s to both sides over which the median runs: of narrow-line spectra, and of quasars."""
BESIDE = 800.0, 7000.0
"""km/s to both sides of a line that do not count: of narrow lines, and of those that quasars have broad."""
NODES_PER_REACH = 2
CLIP = 3.0
LEAST = 0.2
"""A node needs this part of its pixels."""


def smooth_continuum(flux: np.ndarray, good: np.ndarray, log_wave: np.ndarray, log_shift: np.ndarray, broad: np.ndarray) -> np.ndarray:
    """Return the continuum of spectra at every pixel.

    At nodes a fixed velocity apart, the median of the pixels around is taken, clipped at 3 sigma, and between them a straight
    line in the logarithm of the wavelength.

    Args:
        flux: (n, pixel).
        good: (n, pixel) pixels that count.
        log_wave: (pixel,) or (n, pixel) natural logarithm of the wavelengths.
        log_shift: (n,) ln(1 + z).
        broad: (n,) whether the permitted lines may be broad, as in quasars.

    Returns:
        (n, pixel) float64; zero for a spectrum without a usable pixel.
    """
    log_wave = np.broadcast_to(log_wave, flux.shape)
    result = np.zeros(flux.shape)
    for kind in (False, True):
        rows = np.flatnonzero(broad == kind)
        if len(rows):
            beside = good[rows] & ~near_lines(log_wave[rows] - log_shift[rows, None], wide=kind)
            result[rows] = _running_median(flux[rows], beside, log_wave[rows], REACH[kind] / LIGHT)
    return result


def near_lines(log_rest: np.ndarray, *, wide: bool, beside: float = BESIDE[False]) -> np.ndarray:
    """Return whether pixels lie on an emission line.

    Args:
        log_rest: natural logarithm of rest wavelengths.
        wide: whether permitted lines are broad.
        beside: km/s to both sides of narrow lines.
    """
    inside = np.zeros(log_rest.shape, bool)
    for line in LINES:
        if line.kind == "absorption" or (line.kind == "broad" and not wide):
            continue
        reach = (BESIDE[True] if wide and line.kind in ("broad", "balmer") else beside) / LIGHT
        inside |= np.abs(log_rest - np.log(line.wave)) < reach
    return inside


def _running_median(flux: np.ndarray, good: np.ndarray, log_wave: np.ndarray, reach: float) -> np.ndarray:
    result = np.zeros(flux.shape)
    for row in range(len(flux)):
        x, y = log_wave[row][good[row]], flux[row][good[row]]
        if not len(x):
            continue
        nodes = np.arange(x[0], x[-1] + reach / NODES_PER_REACH, reach / NODES_PER_REACH)
        first, last = np.searchsorted(x, nodes - reach), np.searchsorted(x, nodes + reach)
        counts = last - first
        some = counts >= max(1, LEAST * counts.max())
        medians = _clipped_medians(y, first[some], counts[some])
        result[row] = np.interp(log_wave[row], nodes[some], medians)
    return result


def _clipped_medians(values: np.ndarray, first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the clipped medians of runs of values; a clipped run of sorted values is a run again, so they are sorted once."""
    place = np.arange(counts.max())
    runs = np.where(place < counts[:, None], values[np.minimum(first[:, None] + place, len(values) - 1)], np.inf)
    runs.sort(axis=1)
    rows = np.arange(len(runs))

    def at(part: float, low: np.ndarray, number: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = runs[rows, low + (part * (number - 1)).astype(np.int64)]
        return chosen

    low, number = np.zeros(len(runs), np.int64), counts
    for _ in range(3):
        middle = at(0.5, low, number)
        reach = CLIP * (at(0.84, low, number) - at(0.16, low, number)) / 2
        # A flat run has no scatter, and keeps itself.
        low = (runs < (middle - reach)[:, None]).sum(axis=1)
        number = (runs <= (middle + reach)[:, None]).sum(axis=1) - low
    lower, upper = at(0.5, low, number), runs[rows, low + number // 2]
    return np.asarray((lower + upper) / 2, np.float64)
