"""Priors: draws and densities of every kind against SciPy's, cut or not, and what is wrong is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from astrosurvey import DataError
from astrosurvey.core.settings import validate
from astrosurvey.products import Samples
from astrosurvey.stages.sbi.prior_stage import DrawPrior
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.rounds.stage import TruncatedMarginals

from ..running import run

KNOWN = [
    ({"uniform": [-1, 3]}, stats.uniform(-1, 4)),
    ({"log_uniform": [0.01, 2]}, stats.loguniform(0.01, 2)),
    ({"normal": [3, 2]}, stats.norm(3, 2)),
    ({"truncated_normal": [1, 2, -0.5, 2]}, stats.truncnorm(-0.75, 0.5, 1, 2)),
    ({"truncated_normal": [0, 1, 9, 20]}, stats.truncnorm(9, 20)),
    ({"log_normal": [-1, 0.5]}, stats.lognorm(0.5, scale=np.exp(-1))),
]
EVERY = {f"p{k}": value for k, (value, _) in enumerate(KNOWN)} | {"c": {"categorical": [1, 3, 5]}}


@pytest.mark.parametrize(("declared", "known"), KNOWN, ids=[next(iter(d)) for d, _ in KNOWN])
def test_draws_and_densities_are_those_of_scipy(declared, known):
    prior = Prior.declared({"a": declared})
    draws = prior.draw(np.random.default_rng(1), 4000)
    assert stats.kstest(draws[:, 0], known.cdf).pvalue > 1e-3
    assert np.allclose(prior.log_density(draws), known.logpdf(draws[:, 0]), atol=1e-9)
    assert np.allclose(prior.probability(draws)[:, 0], known.cdf(draws[:, 0]), atol=1e-9)
    assert np.allclose(prior.quantile(prior.probability(draws)), draws)
    assert prior.inside(draws).all()
    low, high = prior.bounds
    assert np.allclose([low[0], high[0]], known.support())
    outside = np.array([[known.support()[0] - 1], [np.nan]])
    assert prior.inside(outside).tolist() == [np.isneginf(known.support()[0]), False]
    # What is cut is the same density where it is left, over what is left of it.
    a, b = np.sort(draws[:2, 0])
    cut = prior.truncated([a], [b])
    inside = (draws[:, 0] >= a) & (draws[:, 0] <= b)
    part = known.cdf(b) - known.cdf(a) if a < 5 else known.sf(a) - known.sf(b)
    assert np.allclose(cut.log_density(draws[inside]), known.logpdf(draws[inside, 0]) - np.log(part), atol=1e-6)
    assert np.isneginf(cut.log_density(draws[~inside])).all()
    assert cut.inside(cut.draw(np.random.default_rng(2), 500)).all()
    # Scales on which a prior is even or normal.
    assert np.allclose(prior.from_base(prior.to_base(draws)), draws)
    step = 1e-6 * np.maximum(np.abs(draws), 0.1)
    slope = (prior.to_base(draws + step) - prior.to_base(draws - step))[:, 0] / (2 * step[:, 0])
    assert np.allclose(prior.log_slope(draws), np.log(slope), atol=1e-4)


def test_categories():
    prior = Prior.declared({"c": {"categorical": [5, 1, 3]}})
    values, counts = np.unique(prior.draw(np.random.default_rng(0), 3000), return_counts=True)
    assert values.tolist() == [1, 3, 5]
    assert stats.chisquare(counts).pvalue > 1e-3
    assert np.allclose(prior.log_density(np.array([[1.0], [2.0]])), [-np.log(3), -np.inf])
    assert prior.truncated([2], [9]).draw(np.random.default_rng(0), 100).min() == 3


def test_a_prior_comes_back_from_json():
    prior = Prior.declared(EVERY).truncated([-0.5, 0.02, 1, 0, 10, 0.1, 2], [2, 1, 9, 1, 12, 5, 9])
    assert Prior.from_json(json.loads(json.dumps(prior.to_json()))) == prior
    with pytest.raises(DataError, match="nothing is left of the prior of 'p0' between 5 and 6"):
        Prior.declared({"p0": EVERY["p0"]}).truncated([5], [6])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"uniform": [1, 0]}, "uniform: low must be below high, not [1, 0]"),
        ({"uniform": [1, 1]}, "low must be below high"),
        ({"normal": [0, 0]}, "normal: the standard deviation must be positive, not 0"),
        ({"truncated_normal": [0, 1]}, "truncated_normal: needs [mean, std, low, high], not [0.0, 1.0]"),
        ({"truncated_normal": [0, 1, 3, 2]}, "low must be below high, not [3, 2]"),
        ({"log_uniform": [0, 2]}, "low must be positive, not 0"),
        ({"categorical": [1, 1]}, "each value once"),
        ({"categorical": []}, "needs [value, …]"),
        ({"unifrom": [0, 1]}, "unknown setting; did you mean 'uniform'?"),
        ({"uniform": [0, 1], "normal": [0, 1]}, "not uniform and normal"),
        ({}, "give one of uniform, log_uniform"),
        ({"uniform": [0, 1], "unit": "blob"}, "'blob' is no unit; write it as VOUnit does"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(value, message):
    found = []
    validate(DrawPrior.Config, {"parameters": {"a": value}}, lambda place, text, hint: found.append((place[:2], f"{text}; {hint}")))
    assert [place for place, _ in found] == [("parameters", "a")]
    assert message in found[0][1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "a prior is a list"),
        ([3], "not 3"),
        ([{"name": "a", "unit": "", "kind": "unifrom", "args": [0, 1]}], "did you mean 'uniform'"),
        ([{"name": "a", "unit": "", "kind": "uniform", "args": [0]}], r"needs \[low, high\]"),
        ([{"name": "a", "unit": "", "kind": "normal", "args": [0, -1]}], "must be positive"),
        ([{"name": "a", "unit": "", "kind": "uniform", "args": [0, 1]}] * 2, "twice"),
    ],
)
def test_foreign_json_is_refused(value, message):
    with pytest.raises(DataError, match=message):
        Prior.from_json(value)


def test_the_stage_draws_what_is_declared_and_says_so():
    parameters = {"z": {"log_uniform": [0.01, 2]}, "v": {"normal": [0, 100], "unit": "km / s"}}
    samples = run(DrawPrior, {"parameters": parameters, "number": 50})["parameters"]
    assert samples.draws.shape == (50, 2)
    assert samples.parameters == ("v", "z")
    assert samples.units == ("km.s**-1", "")
    assert Prior.of(samples) == Prior.declared({name: parameters[name] for name in ("v", "z")})


def test_a_prior_of_ones_own_is_known_by_where_it_lies():
    box = {"unit": "", "kind": "joint", "args": [0, 1]}
    samples = Samples(np.random.default_rng(0).random((9, 2)), ("a", "b"), ("", ""), None, {"prior": [{"name": n, **box} for n in "ab"]})
    prior = Prior.of(samples)
    assert not prior.has_density
    assert prior.inside(samples.draws).all()
    assert prior.truncated([0, 0], [0.5, 1]).bounds[1].tolist() == [0.5, 1]
    for known in (prior.log_density, lambda draws: prior.draw(np.random.default_rng(0), 3)):
        with pytest.raises(DataError, match="'a'"):
            known(samples.draws)
    with pytest.raises(DataError, match="do not say which prior"):
        Prior.of(Samples(samples.draws, ("a", "b"), ("", "")))
    with pytest.raises(DataError, match="weighted"):
        Prior.of(Samples(samples.draws, ("a", "b"), ("", ""), np.arange(9.0), samples.meta))
    with pytest.raises(DataError, match="the parameters are a, c"):
        Prior.of(Samples(samples.draws, ("a", "c"), ("", ""), None, samples.meta))


def test_lists_of_the_wrong_length_are_said_in_plain_words():
    found = []
    values = {"pairs": [["a", "b", "c"], ["a"]], "hidden": []}
    validate(TruncatedMarginals.Config, values, lambda place, text, hint: found.append((place, text)))
    assert sorted(found) == [
        (("hidden",), "must have at least 1 item, not 0"),
        (("pairs", 0), "must have at most 2 items, not 3"),
        (("pairs", 1, 1), "a value is missing here"),
    ]
