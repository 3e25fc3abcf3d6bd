"""How many Gaussians: fits from several starts, and the number that Schwarz's criterion prefers."""

from __future__ import annotations

import warnings

import numpy as np

from .fit import Mixture, fit, refine, spread

ENOUGH = 5_000
"""Points from which starts and numbers of Gaussians are tried; the fit that is kept goes on with all of them."""
ROUGH, FINE = 1e-3, 1e-4
"""Gain of the mean log-likelihood of a point at which a trial ends, and the fit that is kept."""
FAR = 1000.0
"""Spreads from the median beyond which a point is left to the background, whose box it would stretch beyond measure."""
HALF = 0.5
"""Part of the points that is background, to begin with."""


def is_near(values: np.ndarray) -> np.ndarray:
    """Return (n,) whether points are near enough to each other to be fitted."""
    return np.asarray((np.abs(values - np.median(values, axis=0)) <= FAR * spread(values)).all(axis=1))


def mixture(values: np.ndarray, numbers: range, background: bool, starts: int, rng: np.random.Generator) -> Mixture:
    """Return the best mixture of as many Gaussians as one of the numbers.

    Args:
        values: (n, d) points in an order in which neighbours are near, so that every m-th is a fair sample; n at least 1.
        numbers: of Gaussians to try, rising.
        background: whether there is a uniform component.
        starts: divisions by k-means from which each fit begins.
        rng: where these begin.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    some = values[:: max(len(values) // ENOUGH, 1)]
    distinct = 1 + int((some[1:] != some[:-1]).any(axis=1).sum())  # equal points stand side by side
    best, least = None, np.inf
    for k in sorted({min(k, distinct) for k in numbers}):
        tried = []
        for _ in range(starts if k > 1 else 1):
            with warnings.catch_warnings():  # fewer divisions than asked for are a start, too
                warnings.simplefilter("ignore", ConvergenceWarning)
                label = KMeans(k, n_init=1, random_state=int(rng.integers(2**31))).fit(some).labels_
            tried.append(fit(some, label, k, HALF if background else 0.0, ROUGH))
        found = max(tried, key=lambda m: m.log_likelihood)
        if (criterion := found.bic(len(some))) < least:
            best, least = found, criterion
    assert best is not None
    return refine(values, best, FINE)
