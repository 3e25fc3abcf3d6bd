"""The tail of importance weights: known shapes are found, and what cannot be fitted is NaN."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import genpareto

from astrosurvey.stages.sbi.pareto import LIMIT, tail_shape


@pytest.mark.parametrize(("k", "tolerance"), [(0.1, 0.08), (0.5, 0.08), (0.7, 0.08), (1.0, 0.1)])
def test_known_shapes(k, tolerance):
    rng = np.random.default_rng(1)
    found = [tail_shape(np.log(genpareto.rvs(k, size=4000, random_state=rng)) + 500) for _ in range(20)]
    assert np.mean(found) == pytest.approx(k, abs=tolerance)


def test_a_proposal_too_narrow_is_told_from_one_wide_enough():
    """Under a Student's t with two degrees of freedom a normal proposal has weights without a mean."""
    x = np.random.default_rng(2).normal(size=4000)
    normal = -0.5 * x**2
    assert tail_shape(-1.5 * np.log1p(x**2 / 2) - normal) > LIMIT
    assert tail_shape(-0.5 * x**2 / 0.8**2 - normal) < 0.3


@pytest.mark.parametrize("log_weight", [np.zeros(1000), np.full(1000, -np.inf), np.r_[np.zeros(3), np.full(997, -np.inf)], np.zeros(4)])
def test_too_few_or_equal_weights(log_weight):
    assert np.isnan(tail_shape(log_weight))
