"""What the greatest of several filters' signal-to-noise ratios is worth, and whether noise is as large as foretold."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy import special

MAD_PER_SIGMA = 0.6744897501960817
LEAST = 100
"""Of fewer pixels no noise is measured."""


def of_greatest(snr: np.ndarray, scales: Sequence[float]) -> np.ndarray:
    """Return the Gaussian significance of the greatest S/N of a bank of filters.

    In white noise the S/N of Gaussian filters of widths s and t are unit normal deviates that correlate
    by 2 s t / (s^2 + t^2). The more filters, the greater the greatest of them by chance alone; its
    significance is that of a single deviate of the same chance, so a threshold keeps its meaning. Each
    width is taken to depend on the next narrower one only.

    Args:
        snr: of any shape.
        scales: widths of the filters, in any unit.

    Returns:
        float64, of the same shape.

    References:
        Owen (1956), Ann. Math. Stat. 27, 1075; Siegmund & Worsley (1995), Ann. Stat. 23, 608.
    """
    knots, values = _table(tuple(sorted(scales)))
    snr = np.asarray(snr, float)
    return np.interp(snr, knots, values) + np.minimum(snr - knots[0], 0) + np.maximum(snr - knots[-1], 0)


def greatest_of(significance: float, scales: Sequence[float]) -> float:
    """Return the greatest S/N of a bank of filters that has this significance: the inverse of `of_greatest`."""
    knots, values = _table(tuple(sorted(scales)))
    return float(np.interp(significance, values, knots) + max(significance - values[-1], 0))


@lru_cache
def _table(scales: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    z = np.linspace(-6.0, 36.0, 4201)
    log_chance = special.log_ndtr(z)  # that none exceeds z
    for narrow, wide in pairwise(scales):
        correlation = 2 * narrow * wide / (narrow**2 + wide**2)
        # Owen's function gives the chance that one of two equal deviates exceeds z and the other does not.
        odd = 2 * special.owens_t(z, np.sqrt((1 - correlation) / (1 + correlation)))
        log_chance += np.log1p(-odd / special.ndtr(z))
    with np.errstate(divide="ignore"):
        above, below = -special.ndtri_exp(np.log(-np.expm1(log_chance))), special.ndtri_exp(log_chance)
    return z, np.where(z > 0, above, below)


def noise_scale(snr: np.ndarray, scales: Sequence[float]) -> float:
    """Return the scatter of a map of S/N in empty sky, which is one if the noise is white and of the variance it is said to have.

    Resampled images have correlated noise: a filter averages it out less than their variance plane lets
    expect, and the scatter tells by how much. Sources are clipped away.

    Args:
        snr: (y, x), the greatest of a bank of filters; 0 where nothing is known.
        scales: widths of these filters.

    Returns:
        standard deviations by the median absolute deviation; 1 if too few pixels are known.
    """
    step = max(1, int(np.sqrt(snr.size / 1e6)))
    some = snr[::step, ::step]
    values = of_greatest(some[some != 0], scales)
    if values.size < LEAST:
        return 1.0
    middle, scatter = np.median(values), np.inf
    for _ in range(10):
        kept = values[np.abs(values - middle) <= 3 * scatter]
        middle = np.median(kept)
        scatter = float(np.median(np.abs(kept - middle)) / MAD_PER_SIGMA)
    return scatter if scatter > 0 else 1.0
