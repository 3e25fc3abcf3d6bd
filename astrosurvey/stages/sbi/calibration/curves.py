"""Coverage, ranks and places as curves with their bands: the pictures of the calibration page.

References:
    Hermans et al. (2021), arXiv:2110.06581 (expected coverage); Lemos et al. (2023), arXiv:2302.03026 (TARP); Talts et al. (2018),
    arXiv:1804.06788 (rank histograms); Säilynoja, Bürkner & Vehtari (2022), Stat. Comput. 32, 32 (distributions of places with bands).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom, kstwobign

LEVELS = np.linspace(0.0, 1.0, 41)
"""Nominal probabilities of the curves."""
BAND = 0.95
"""Probability of the bands."""
FEWEST = 20
"""Tests that a bar of a rank histogram holds on average, at least."""
MOST_BARS = 20
RESAMPLES = 400

Curve = dict[str, list[float | None]]


def coverage(places: np.ndarray, levels: np.ndarray = LEVELS) -> np.ndarray:
    """Return the part of (n,) places that lies at or below each level: how often regions of that probability hold the truth."""
    return np.searchsorted(np.sort(places), levels, side="right") / max(len(places), 1)


def expected_coverage(places: np.ndarray) -> Curve:
    """Return the coverage of regions of highest density by their nominal probability, and where right posteriors would lie.

    Args:
        places: (n,) of the truths by falling density.
    """
    n = len(places)
    low, high = (binom.ppf(q, n, LEVELS) / max(n, 1) for q in ((1 - BAND) / 2, (1 + BAND) / 2))
    return _curve(level=LEVELS, coverage=coverage(places), low=low, high=high)


def tarp(places: np.ndarray, rng: np.random.Generator) -> Curve:
    """Return the coverage of balls around random points, out to the truth, with a band by resampling the tests.

    Args:
        places: (n,) of the truths by rising distance to the reference point of each test.
        rng: chooses which tests are taken again.
    """
    n = len(places)
    again = np.array([coverage(places[rng.integers(n, size=n)]) for _ in range(RESAMPLES)])
    low, high = np.quantile(again, [(1 - BAND) / 2, (1 + BAND) / 2], axis=0)
    return _curve(level=LEVELS, coverage=coverage(places), low=low, high=high)


def rank_histogram(places: np.ndarray) -> Curve:
    """Return how many of (n,) places lie in bars of equal width, and where right posteriors' numbers would lie."""
    n = len(places)
    bars = int(np.clip(n // FEWEST, 2, MOST_BARS))
    counts, edges = np.histogram(places, bars, (0.0, 1.0))
    low, high = binom.ppf([(1 - BAND) / 2, (1 + BAND) / 2], n, 1 / bars)
    return _curve(rank_min=edges[:-1], rank_max=edges[1:], tests=counts, low=np.full(bars, low), high=np.full(bars, high))


def place_differences(places: np.ndarray) -> Curve:
    """Return the distribution of (n,) places less the uniform one, and the band that right posteriors leave nowhere.

    A line that goes up first and down then means posteriors too narrow or too wide; one on one side, a bias.
    """
    half = float(kstwobign.ppf(BAND)) / np.sqrt(max(len(places), 1))
    return _curve(place=LEVELS, difference=coverage(places) - LEVELS, low=np.full(len(LEVELS), -half), high=np.full(len(LEVELS), half))


def _curve(**columns: np.ndarray) -> Curve:
    return {name: [round(float(value), 6) for value in values] for name, values in columns.items()}
