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
    """Both are normal, in four dimensions; a third of the right width leaves weights without a variance."""
    n = np.random.default_rng(2).normal(size=(4000, 4))
    narrow, wide = (0.5 * (n**2 - (n * width) ** 2).sum(axis=1) for width in (0.3, 1.3))
    assert tail_shape(narrow) > LIMIT
    assert tail_shape(wide) < 0.3


@pytest.mark.parametrize("log_weight", [np.zeros(1000), np.full(1000, -np.inf), np.r_[np.zeros(3), np.full(997, -np.inf)], np.zeros(4)])
def test_too_few_or_equal_weights(log_weight):
    assert np.isnan(tail_shape(log_weight))
