"""Matching to the truth, and intervals of fractions."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.stages.evaluate.match import chord, one_to_one, robust, unit_vectors, wilson


def test_bright_choose_first_and_each_detection_counts_once():
    truth = np.array([[0.0, 0], [1, 0], [10, 0]])
    found = np.array([[0.6, 0.0], [10.5, 0], [50, 0]])
    assert one_to_one(truth, found, np.array([1.0, 2, 1]), 1.0).tolist() == [-1, 0, 1]
    assert one_to_one(truth, found, np.array([3.0, 2, 1]), 1.0).tolist() == [0, -1, 1]
    two = np.array([[0.4, 0], [1.9, 0]])
    assert one_to_one(truth, two, np.array([1.0, 2, 0]), 1.0).tolist() == [-1, 0, -1]
    assert one_to_one(truth, two, np.array([2.0, 1, 0]), 1.0).tolist() == [0, 1, -1]


def test_nothing_to_match():
    none = np.zeros((0, 2))
    assert one_to_one(none, np.zeros((3, 2)), np.zeros(0), 1).tolist() == []
    assert one_to_one(np.zeros((3, 2)), none, np.zeros(3), 1).tolist() == [-1, -1, -1]


def test_sky_distances_hold_at_the_pole_and_across_zero():
    for ra, dec in ((0.0, 0.0), (359.9999, 89.99), (120.0, -45.0)):
        here = unit_vectors(np.array([ra]), np.array([dec]))
        north = unit_vectors(np.array([ra]), np.array([dec + 1 / 3600]))
        assert np.linalg.norm(here - north) == pytest.approx(chord(1.0), rel=1e-6)
    across = np.linalg.norm(unit_vectors(np.array([359.9999]), np.zeros(1)) - unit_vectors(np.array([0.0001]), np.zeros(1)))
    assert across == pytest.approx(chord(0.72), rel=1e-6)


def test_wilson_covers():
    rng = np.random.default_rng(1)
    covered = []
    for p in rng.uniform(0.05, 0.95, 400):  # over many fractions, as for one of them the steps of a count show
        covered += [low <= p <= high for low, high in (wilson(int(k), 40) for k in rng.binomial(40, p, 50))]
    assert np.mean(covered) == pytest.approx(0.683, abs=0.03)
    assert wilson(0, 0) == (0, 1)
    low, high = wilson(10, 10)
    assert 0.85 < low < 1
    assert high == 1


def test_robust_ignores_outliers():
    values = np.random.default_rng(2).normal(3, 2, 2000)
    values[:50] = 1e6
    middle, scatter, error = robust(values)
    assert middle == pytest.approx(3, abs=0.3)
    assert scatter == pytest.approx(2, abs=0.2)
    assert error == pytest.approx(np.sqrt(np.pi / 2) * scatter / np.sqrt(2000))
    assert np.isnan(robust(np.zeros(0))).all()
