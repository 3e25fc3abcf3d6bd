"""The batched classifier test: known accuracies, and those of scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier

from astrosurvey.networks.determinism import threads
from astrosurvey.stages.sbi.calibration.c2st import c2st

N = 300


@pytest.fixture(autouse=True)
def _one_thread():
    with threads(1):
        yield


def test_known_accuracies_of_many_pairs_at_once():
    """Two Gaussians at a distance s are told apart with the probability Phi(s / 2)."""
    rng = np.random.default_rng(0)
    shifts = np.array([0.0, 0.0, 1.0, 1.0, 3.0])
    reference = rng.normal(size=(5, N, 2))
    samples = rng.normal(size=(5, N, 2))
    samples[..., 0] += shifts[:, None]
    # Accuracies scatter by sqrt(p (1 - p) / 2 N), some more by training.
    scatter = np.sqrt(0.25 / (2 * N))
    assert c2st(reference, samples, rng) == pytest.approx(norm.cdf(shifts / 2), abs=4 * scatter)


def test_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    reference, samples = rng.normal(size=(N, 2)), 1.6 * rng.normal(size=(N, 2))
    ours = c2st(np.tile(reference, (3, 1, 1)), np.tile(samples, (3, 1, 1)), rng)
    x = (np.concatenate([reference, samples]) - reference.mean(axis=0)) / reference.std(axis=0)
    network = MLPClassifier((20, 20), max_iter=1000, random_state=1)
    theirs = cross_val_score(network, x, np.repeat([0, 1], N), cv=KFold(5, shuffle=True, random_state=1), scoring="accuracy").mean()
    # On the same draws, folds and first weights alone differ: by a third of the scatter of draws.
    assert ours.mean() == pytest.approx(theirs, abs=2 * np.sqrt(0.25 / (2 * N)))
    assert ours.std() < np.sqrt(0.25 / (2 * N))


def test_a_constant_parameter_and_few_draws():
    rng = np.random.default_rng(2)
    reference = rng.normal(size=(1, 20, 2))
    reference[..., 1] = 3.0
    assert 0 <= c2st(reference, reference + 0.01, rng)[0] <= 1
    with pytest.raises(ValueError, match="too few"):
        c2st(reference[:, :4], reference[:, :4], rng)
