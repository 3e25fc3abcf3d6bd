"""Mixtures of neighbouring models: how many to try, what they show of the light, and how wide their fluxes spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._numba import helper, inlined

STEPS = 8
"""At most so many steps from one size to the next."""
GAIN_PER_STEP = 50.0
"""So much gain in log probability asks for one more of them: sizes are known to the inverse of the signal to noise."""
RARE = 1e-14
"""Mixtures less probable than this, over the most probable, are left out."""
NEGLIGIBLE = 1e-4
"""Those less probable than this are left out of the width of the distribution of the flux."""
HALVINGS = 10
REACH = 2.31
"""Half of the width in which the middle 68 per cent of any distribution are, in its standard deviations."""
TAIL = 0.15865525393145707
END = 3.2
N1, N3, N5, N7, N9 = 0.397571874, -0.0633271386, 0.00785543395, -0.000559172105, 1.67326245e-05


def gains(precision: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return half of what each model gains in chi-square; nothing where its flux would be negative."""
    gain: np.ndarray = 0.5 * np.maximum(shown, 0) ** 2 / np.where(precision > 0, precision, np.inf)
    return gain


def half_width(flux: float, spread: float, amplitude: np.ndarray, sharp: np.ndarray, w: np.ndarray) -> float:
    """Return half the width of the middle 68 per cent of a mixture of Gaussians."""
    ends = []
    for part in (TAIL, 1 - TAIL):
        low, high = flux - REACH * spread, flux + REACH * spread
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            z = np.clip((middle - amplitude) * sharp, -END, END)
            below = np.sum(w * (0.5 + z * (N1 + z**2 * (N3 + z**2 * (N5 + z**2 * (N7 + z**2 * N9))))))
            low, high = (middle, high) if below < part * w.sum() else (low, middle)
        ends.append(0.5 * (low + high))
    return 0.5 * (ends[1] - ends[0])


@inlined
def steps_for(gain: Any) -> Any:
    """Return how many steps to take from one size to the next."""
    return np.int32(min(gain * (1.0 / GAIN_PER_STEP), STEPS - 1.0)) + np.int32(1)


@inlined
def mixed(product: Any, between: Any, shown: Any, m: Any, f: Any) -> Any:
    """Return the inverse variance of the flux of a mixture of a model with the next, and what it shows of the light."""
    if f == 0.0:
        return product[m], shown[m]
    g = 1.0 - f
    return g * g * product[m] + 2.0 * f * g * between[m] + f * f * product[m + 1], g * shown[m] + f * shown[m + 1]


@inlined
def gained(a: Any, p: Any) -> Any:
    """Return half of what a model gains in chi-square; nothing where its flux would be negative."""
    if a > 0.0 and p > 0.0:
        return 0.5 * p * p / a
    return 0.0


@inlined
def normal(z: Any) -> Any:
    """Return the cumulative normal distribution to 0.001, without an exponential."""
    z = min(max(z, -END), END)
    t = z * z
    return 0.5 + z * (N1 + t * (N3 + t * (N5 + t * (N7 + t * N9))))


@helper
def quantile(flux: Any, spread: Any, fluxes: Any, sharp: Any, parts: Any, target: Any) -> Any:
    """Return where so much of a mixture of Gaussians is below."""
    low = flux - REACH * spread
    high = flux + REACH * spread
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        below = 0.0
        for j in range(len(parts)):
            below += parts[j] * normal((middle - fluxes[j]) * sharp[j])
        if below < target:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@inlined
def row(light: Any, gram: Any, cross: Any, i: Any, b: Any, k: Any, last: Any) -> Any:
    """Return light, gram and cross of a node, and its row of the whole matrix summed."""
    d = np.float64(light[i, b, k])
    g = np.float64(gram[i, b, k])
    x = np.float64(0)
    s = g
    if k < last:
        x = np.float64(cross[i, b, k])
        s += x
    if k > 0:
        s += np.float64(cross[i, b, k - 1])
    return d, g, x, s


@helper
def products(
    i: Any, light: Any, gram: Any, cross: Any, last: Any, models: Any, q: Any, sky: Any, product: Any, between: Any, shown: Any
) -> None:
    """Write the scalar products of models with themselves, with the next, and with the light, the sky projected out."""
    bands, number = shown.shape
    shared = np.empty(number)
    for b in range(bands):
        a, e, p = product[b], between[b], shown[b]
        a[:] = 0
        e[:] = 0
        p[:] = 0
        shared[:] = 0
        level = sky[b]
        total = 0.0
        for k in range(last + 1):
            d, g, x, s = row(light, gram, cross, i, b, k, last)
            total += d
            level += s
            here = models[b, q, k]
            after = models[b, q, min(k + 1, last)]
            for m in range(number):  # models side by side: this loop is where the time goes, and it is vectorised
                v = np.float64(here[m])
                p[m] += d * v
                shared[m] += s * v
                a[m] += v * (g * v + 2.0 * x * np.float64(after[m]))
            for m in range(number - 1):
                u = np.float64(here[m + 1])
                e[m] += np.float64(here[m]) * (g * u + x * np.float64(after[m + 1])) + x * u * np.float64(after[m])
        for m in range(number):
            p[m] -= shared[m] * total / level
            a[m] -= shared[m] * shared[m] / level
        for m in range(number - 1):
            e[m] -= shared[m] * shared[m + 1] / level
