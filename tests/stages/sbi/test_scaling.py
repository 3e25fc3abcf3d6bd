"""Scales: there and back, unmoved by outliers, and volumes that are right."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.scaling import EDGE, DataScaling, ParameterScaling

PRIOR = Prior.declared(
    {
        "a": {"uniform": [-1, 3]},
        "b": {"log_uniform": [1, 100]},
        "c": {"normal": [5, 2]},
        "d": {"truncated_normal": [0, 1, -1, 2]},
        "e": {"truncated_normal": [0, 1, -6, 6]},
        "f": {"categorical": [1, 2, 4]},
        "g": {"log_normal": [0, 1]},
    }
)


def test_parameters_there_and_back():
    rng = np.random.default_rng(1)
    theta = PRIOR.draw(rng, 500)
    scaling = ParameterScaling(PRIOR)
    z = scaling.to_flow(theta, rng.random(theta.shape))
    assert (np.abs(z[:, [0, 1, 5]]) <= EDGE).all()
    assert np.allclose(scaling.from_flow(z), theta)
    assert np.allclose(z[:, [0, 1, 2, 4, 5, 6]].std(axis=0), 1, atol=0.15)


def test_a_narrow_piece_of_a_normal_prior_fills_the_scale():
    narrow = Prior.declared({"a": {"normal": [5, 2]}, "b": {"log_normal": [0, 1]}}).truncated([9, 1], [9.1, 1.2])
    scaling, theta = ParameterScaling(narrow), narrow.draw(np.random.default_rng(1), 500)
    z = scaling.to_flow(theta)
    assert np.allclose(z.std(axis=0), 1, atol=0.1)
    assert (np.abs(z) <= EDGE).all()
    assert np.allclose(scaling.from_flow(z), theta)


def test_where_parameters_stand_and_what_is_beyond():
    scaling = ParameterScaling(PRIOR)
    place = scaling.place(PRIOR.draw(np.random.default_rng(1), 200))
    assert np.isnan(place).all(axis=0).tolist() == [False, False, True, False, False, True, True]
    ordered = place[:, [0, 1, 3, 4]]
    assert ((ordered >= 0) & (ordered <= 1)).all()
    assert not PRIOR.inside(scaling.from_flow(np.array([[0, 0, 0, 0, 0, z, 0] for z in (-1.8, 1.8)]))).any()


def test_volumes_of_parameters():
    prior = Prior(PRIOR.marginals[:5] + PRIOR.marginals[6:])
    scaling, theta, step = ParameterScaling(prior), np.array([[0.5, 7.0, 4.0, 0.5, 1.0, 2.0]]), 1e-6
    shifted = theta + step * np.eye(6)
    slopes = np.log(np.diag(scaling.to_flow(shifted) - scaling.to_flow(theta)) / step)
    assert scaling.log_slope(theta)[0] == pytest.approx(slopes.sum(), abs=1e-4)


def test_outliers_move_nothing_and_constants_are_passed_over():
    rng = np.random.default_rng(2)
    data = rng.normal(3, 2, (4000, 3)).astype(np.float32)
    data[:, 1] = 7
    data[:40, 0] = 1e9
    scaling = DataScaling.learnt(data)
    seen = scaling(data)
    assert seen.shape == (4000, 2)
    # sbi issue 346: with a mean and a standard deviation all other values would be one.
    assert 0.3 < seen[40:, 0].std() < 1.1
    assert np.abs(seen).max() < 100
    step = 1e-3
    slope = np.log((scaling(data[50:51] + np.float32(step)) - scaling(data[50:51])) / step).sum()
    assert scaling.log_slope(data[50:51].astype(float))[0] == pytest.approx(slope, abs=0.01)


def test_counts_that_are_mostly_zero_have_a_width():
    data = np.zeros((100, 1), np.float32)
    data[:20, 0] = np.arange(20)
    assert DataScaling.learnt(data).varies.all()
