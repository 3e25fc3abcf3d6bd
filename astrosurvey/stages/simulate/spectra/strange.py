"""Spectra of nothing there is: what a network is shown in training as unknown.

They are made of drawn spectra of known things, spliced, turned, stretched, or with lines where no element has any. None of them
is like a supernova: real unknown objects stay unseen until a test.
"""

from __future__ import annotations

import numpy as np

from .drawn import Drawn, made

KINDS = ("SPLICED", "COMB", "REVERSED", "NEGATIVE", "STRETCHED", "BUMPS")


def strange(rng: np.random.Generator, first: Drawn, second: Drawn) -> Drawn:
    """Return strange spectra.

    Args:
        rng: the randomness.
        first: n spectra of known things.
        second: n others.
    """
    n, pixels = first.flux.shape
    kinds = np.asarray(rng.integers(0, len(KINDS), n))
    flux = first.flux.copy()
    x = np.arange(pixels)
    for row, kind in enumerate(kinds):
        other = second.flux[row]
        if KINDS[kind] == "SPLICED":
            cut = rng.integers(int(0.3 * pixels), int(0.7 * pixels))
            flux[row, cut:] = other[cut:] * flux[row, cut - 1] / (abs(other[cut]) + 0.05)
        elif KINDS[kind] == "COMB":
            number = rng.integers(6, 40)
            sigma, height = rng.uniform(1.2, 8), rng.uniform(0.3, 3) * rng.choice([-0.3, 1.0])
            flux[row] = np.polynomial.polynomial.polyval(x / pixels, rng.normal([1, 0, 0], [0.1, 0.4, 0.3]))
            for place in rng.uniform(0, pixels, number):
                flux[row] += height * rng.lognormal(0, 0.6) * np.exp(-0.5 * ((x - place) / sigma) ** 2)
        elif KINDS[kind] == "REVERSED":
            flux[row] = flux[row, ::-1]
        elif KINDS[kind] == "NEGATIVE":
            smooth = _smoothed(flux[row], 150)
            flux[row] = 2 * smooth - flux[row] if rng.random() < 0.7 else flux[row].max() - flux[row]
        elif KINDS[kind] == "STRETCHED":
            middle, factor = pixels / 2, rng.choice([rng.uniform(0.35, 0.8), rng.uniform(1.3, 2.5)])
            place = middle + (x - middle) * factor
            flux[row] = np.interp(np.abs(place) % (2 * pixels - 2), np.arange(2 * pixels - 2), np.r_[flux[row], flux[row, -2:0:-1]])
        else:  # broad bumps and troughs at random places
            shape = np.ones(pixels)
            for place in rng.uniform(0, pixels, rng.integers(4, 14)):
                shape += rng.normal(0, 0.45) * np.exp(-0.5 * ((x - place) / rng.uniform(25, 220)) ** 2)
            flux[row] = np.abs(shape) * (1 + x / pixels) ** rng.normal(0, 1)
    names = [f"{a} + {b}"[:48] for a, b in zip(first.template, second.template, strict=True)]
    return made(flux, 4, np.array(KINDS)[kinds], np.full(n, np.nan), names)


def _smoothed(flux: np.ndarray, width: int) -> np.ndarray:
    """Return a running mean over 2 * width + 1 pixels, the ends continued."""
    padded = np.concatenate([np.full(width + 1, flux[0]), flux, np.full(width, flux[-1])]).astype(np.float64)
    total = np.cumsum(padded)
    return np.asarray((total[2 * width + 1 :] - total[: -2 * width - 1]) / (2 * width + 1))
