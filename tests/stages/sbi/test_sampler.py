"""Walkers end where they should: in all modes, with the evidence, whoever else walks beside them."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from astrosurvey.stages.sbi.sampler import walk

WIDE, NARROW = 3.0, 0.1
"""Of the normal prior, and of the likelihood's modes."""
CENTRES, SHARES = np.array([-2.0, 1.0]), np.array([0.3, 0.7])


def log_prior(places, rows):
    return norm.logpdf(places, 0, WIDE).sum(axis=-1)


def log_likelihood(places, rows):
    """Two modes in the first coordinate; each observation has its place in the second."""
    first = np.log(sum(share * norm.pdf(places[..., 0], c, NARROW) for share, c in zip(SHARES, CENTRES, strict=True)) + 1e-300)
    return first + norm.logpdf(places[..., 1], 0.5 * rows[:, None], NARROW)


def walked(rows):
    start = np.random.default_rng(3).normal(0, WIDE, (1, 512, 2))
    return walk(np.broadcast_to(start, (len(rows), 512, 2)), np.array(rows), log_prior, log_likelihood, 1500, seed=4)


def test_modes_widths_and_evidence():
    found = walked([0, 1, 5])
    apart = np.hypot(WIDE, NARROW)
    heights = SHARES * norm.pdf(CENTRES, 0, apart)
    right = found.places[..., 0] > -0.5
    assert np.allclose(right.mean(axis=1), heights[1] / heights.sum(), atol=0.08)
    assert np.allclose(found.places[..., 1].mean(axis=1), [0, 0.5, 2.5], atol=0.03)
    assert np.allclose(found.places[..., 1].std(axis=1), NARROW, rtol=0.15)
    exact = np.log(heights.sum()) + norm.logpdf([0, 0.5, 2.5], 0, apart)
    assert np.allclose(found.log_evidence, exact, atol=0.35)
    assert (found.accepted > 0.05).all()


def test_nobody_notices_who_walks_beside_him():
    assert np.array_equal(walked([1]).places[0], walked([0, 1]).places[1])


def test_nobody_waits_for_who_needs_more_steps():
    """The second observation's likelihood is a thousand times as narrow, and takes many more steps of the temperature."""

    def of_each(places, rows):
        return norm.logpdf(places, 0, np.where(rows == 1, 1e-3, 1.0)[:, None, None]).sum(axis=-1)

    start = np.random.default_rng(3).normal(0, WIDE, (1, 64, 2))
    alone, among = (
        walk(np.broadcast_to(start, (len(rows), 64, 2)), np.array(rows), log_prior, of_each, 100, seed=4) for rows in ([0], [0, 1])
    )
    assert np.array_equal(alone.places[0], among.places[0])
    assert alone.log_evidence[0] == among.log_evidence[0]
    assert among.places[1].std() < 0.01


def test_who_does_not_get_there_says_so():
    def of_each(places, rows):
        return norm.logpdf(places, 0, np.where(rows == 1, 1e-9, 1.0)[:, None, None]).sum(axis=-1)

    start = np.broadcast_to(np.random.default_rng(3).normal(0, WIDE, (1, 64, 6)), (2, 64, 6))
    found = walk(start, np.array([0, 1]), log_prior, of_each, 100, seed=4)
    assert found.accepted[0] > 0.05
    assert found.accepted[1] == 0
    assert np.isnan(found.log_evidence).tolist() == [False, True]
