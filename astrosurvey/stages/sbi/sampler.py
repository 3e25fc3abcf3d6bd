"""Draws from many posteriors at once where a likelihood can be evaluated: tempered populations of walkers.

A population begins as draws of the prior. The likelihood is raised to a power that grows from 0 to 1 in steps just so large that half of
the population survives; after each the walkers are drawn anew by weight and move by differences of others, which needs no tuning to
scales and directions. All modes that the prior finds are kept in proportion, and the evidence falls out.

References:
    Del Moral, Doucet & Jasra (2006), JRSS B 68, 411 (sequential Monte Carlo samplers); ter Braak (2006), Stat. Comput. 16, 239
    (differential evolution); Foreman-Mackey et al. (2013), arXiv:1202.3665 (halves of the population move in turn).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from .rows import RandomOfRows

SURVIVE = 0.5
"""Fraction of the population, as an effective number, that a step of the temperature leaves."""
MOVES = 6
"""Of each walker after a step."""
STEPS = 60
"""Of the temperature, at most."""
SETTLE, APART = 12, 4
"""Moves before draws are taken, and between them."""
JUMP = 0.1
"""Part of the moves by a whole difference, which lead from mode to mode."""

Density = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From (m, n, p) places and (m,) numbers of observations to (m, n) logs."""


@dataclass(frozen=True, eq=False)
class Walked:
    """Draws of m posteriors.

    Attributes:
        places: (m, draw, p).
        log_likelihood: (m, draw).
        log_evidence: (m,) log of the mean likelihood under the prior; NaN where the temperature ran out of steps.
        accepted: (m,) fraction of the last moves that were accepted; 0 where the draws are of a likelihood that was raised to less than 1.
    """

    places: np.ndarray
    log_likelihood: np.ndarray
    log_evidence: np.ndarray
    accepted: np.ndarray


def walk(start: np.ndarray, rows: np.ndarray, log_prior: Density, log_likelihood: Density, draws: int, seed: int) -> Walked:
    """Return draws of posteriors.

    Args:
        start: (m, n, p) draws of the prior; n even and at least 8.
        rows: (m,) numbers of the observations; the random numbers of each depend on its number and the seed alone.
        log_prior: of places.
        log_likelihood: of places.
        draws: wanted of each.
        seed: of random numbers.
    """
    m, n = start.shape[:2]
    places, prior, likelihood = start.copy(), log_prior(start, rows), log_likelihood(start, rows)
    power, evidence, accepted = np.zeros(m), np.zeros(m), np.zeros(m)
    for number in range(STEPS):
        # Who is there waits for the others, and so does not notice how many steps they need.
        on = np.flatnonzero(power < 1.0)
        if not len(on):
            break
        random = RandomOfRows(seed + 1 + number, rows[on])
        step = _step(likelihood[on], power[on])
        weight = step[:, None] * likelihood[on]
        evidence[on] += logsumexp(weight, axis=1) - np.log(n)
        chosen = resampled(weight, random.uniform(1))
        power[on] = np.minimum(power[on] + step, 1.0)
        some = np.take_along_axis(places[on], chosen[..., None], 1)
        low, high = (np.take_along_axis(part[on], chosen, 1) for part in (prior, likelihood))
        for _ in range(MOVES):
            some, low, high, accepted[on] = _moved(some, low, high, power[on], rows[on], log_prior, log_likelihood, random)
        places[on], prior[on], likelihood[on] = some, low, high
    random = RandomOfRows(seed, rows)
    taken, heights = [], []
    for k in range(-(-draws // n)):
        for _ in range(SETTLE if k == 0 else APART):
            places, prior, likelihood, accepted = _moved(places, prior, likelihood, power, rows, log_prior, log_likelihood, random)
        taken.append(places)
        heights.append(likelihood)
    every, height = np.concatenate(taken, axis=1), np.concatenate(heights, axis=1)
    order = np.argsort(random.uniform(every.shape[1]), axis=1)[:, :draws]
    there = power == 1.0
    evidence, accepted = np.where(there, evidence, np.nan), np.where(there, accepted, 0.0)
    return Walked(np.take_along_axis(every, order[..., None], 1), np.take_along_axis(height, order, 1), evidence, accepted)


def _step(likelihood: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Return (m,) by how much the power may rise, by bisection."""
    low, high = np.zeros(len(power)), 1.0 - power
    best = likelihood.max(axis=1, keepdims=True)
    n = likelihood.shape[1]

    def effective(step: np.ndarray) -> np.ndarray:
        weight = np.exp(step[:, None] * (likelihood - best))
        return np.asarray(weight.sum(axis=1) ** 2 / (weight**2).sum(axis=1))

    whole = effective(high) >= SURVIVE * n
    for _ in range(40):
        middle = (low + high) / 2
        enough = effective(middle) >= SURVIVE * n
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return np.where(whole, 1.0 - power, low)


def resampled(log_weight: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return (m, n) numbers of walkers, each as often as it weighs, within one (systematic resampling)."""
    m, n = log_weight.shape
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    edges = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)
    edges[:, -1] = 1.0
    marks = (np.arange(n)[None] + offset) / n
    return np.stack([np.searchsorted(edges[k], marks[k], side="right").clip(max=n - 1) for k in range(m)])


def _moved(
    places: np.ndarray,
    prior: np.ndarray,
    likelihood: np.ndarray,
    power: np.ndarray,
    rows: np.ndarray,
    log_prior: Density,
    log_likelihood: Density,
    random: RandomOfRows,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return places, their logs and (m,) the fraction accepted, after one move of each walker: first one half, then the other."""
    m, n, p = places.shape
    half = n // 2
    places, prior, likelihood = places.copy(), prior.copy(), likelihood.copy()
    accepted = np.zeros(m)
    for mine, others in ((slice(0, half), slice(half, n)), (slice(half, n), slice(0, half))):
        partners = places[:, others]
        size = partners.shape[1]
        walkers = places[:, mine].shape[1]
        first, second, jump, part, accept = random.uniform(5, walkers).transpose(1, 0, 2)
        a = (first * size).astype(np.int64)
        b = (a + 1 + (second * (size - 1)).astype(np.int64)) % size
        difference = np.take_along_axis(partners, a[..., None], 1) - np.take_along_axis(partners, b[..., None], 1)
        # Some of the coordinates move: all, or one in three of them on average.
        moves = (random.uniform(walkers, p) < 1 / 3) | (part < 0.5)[..., None]
        moves[..., 0] |= ~moves.any(axis=-1)
        whole = jump < JUMP
        scale = 2.38 / np.sqrt(2 * moves.sum(axis=-1)) * np.exp(0.5 * random.normal(walkers))
        # One factor for a move and its way back, so that it is as probable; whole differences lead between modes.
        factor = np.where(whole, 1.0, scale)
        hair = 1e-4 * random.normal(walkers, p)
        proposed = places[:, mine] + np.where(moves, factor[..., None] * difference + hair, 0.0)
        new_prior = log_prior(proposed, rows)
        new_likelihood = log_likelihood(proposed, rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            gain = new_prior - prior[:, mine] + power[:, None] * (new_likelihood - likelihood[:, mine])
            better = np.log(accept) < gain
        places[:, mine] = np.where(better[..., None], proposed, places[:, mine])
        prior[:, mine] = np.where(better, new_prior, prior[:, mine])
        likelihood[:, mine] = np.where(better, new_likelihood, likelihood[:, mine])
        accepted += better.sum(axis=1) / n
    return places, prior, likelihood, accepted
