"""Rounds find marginals that are known, cut what is impossible and nothing else, and keep what they can of earlier simulations."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from astrosurvey import Context, Tile
from astrosurvey.catalog.flags import SBI
from astrosurvey.core.product import Tiles
from astrosurvey.core.stage import DataError
from astrosurvey.products import Observations
from astrosurvey.stages.evaluate.posterior.stage import EvaluatePosterior
from astrosurvey.stages.sbi.model import opened
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.rounds.box import Box
from astrosurvey.stages.sbi.rounds.marginals import PLACES, _hanging_together, balanced, tree
from astrosurvey.stages.sbi.rounds.stage import PoolSimulations, Truncate, TruncatedMarginals
from astrosurvey.stages.sbi.rounds.target import observed
from astrosurvey.stages.sbi.rounds.train import subsets
from astrosurvey.stages.sbi.stage import NeuralPosterior, Posterior

NOISE = 0.15
PRIOR = Prior.declared({"a": {"normal": [0, 1]}, "b": {"uniform": [-4, 4]}, "c": {"categorical": [0, 1, 2]}})
SMALL = {"members": 1, "hidden": [32, 32], "epochs": 16, "tests": 50, "draws": 50}


def simulate(theta, rng):
    """The first parameter, the sum of the first two, and the third, each with noise."""
    a, b, c = theta.T
    return (np.stack([a, a + b, c], axis=1) + NOISE * rng.standard_normal(theta.shape) * [1, 1, 2]).astype(np.float32)


def simulations(number=1500, seed=1, prior=PRIOR, **changes):
    rng = np.random.default_rng(seed)
    theta = prior.draw(rng, number)
    fields = {"data": simulate(theta, rng), "ids": np.arange(number), "names": ("x", "y", "z"), "parameters": prior.samples(theta)}
    return Observations(**{**fields, **changes})


def gathered(*parts):
    return Tiles([f"t{k}" for k in range(len(parts))], lambda name: parts[int(name[1:])])


TRUTH = np.array([0.4, 1.0, 1.0])
SEEN = np.array([[0.4, 1.4, 1.1], [np.nan, 0, 0]], np.float32)
TARGET = Observations(SEEN, np.array([5, 6]), "source", ("x", "y", "z"))


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    def made(seed=1):
        tile = Tile("t0", number=3, index=0)
        scratch = tmp_path_factory.mktemp("scratch")
        return Context(tile, np.random.default_rng(seed), "cpu", logging.getLogger("test"), lambda done, total: None, scratch)

    return made


@pytest.fixture(scope="module")
def first(surroundings):
    """The products of a round."""
    stage = TruncatedMarginals(TruncatedMarginals.Config(**{**SMALL, "epochs": 30}, keep=2000))
    made = stage.run(surroundings(), observations=gathered(simulations()), target=gathered(TARGET))
    for product in made.values():
        product.check()
    return made


def test_marginals_are_right_and_draws_are_theirs(first):
    table = first["posterior"]
    assert np.isnan(table.column("acceptance")).tolist() == [False, True]
    # Its third parameter has values and no density at their mean.
    assert np.isfinite(table.column("log_density")).tolist() == [True, False]
    mean, std = (np.array(table.rows.column(name).to_pylist()) for name in ("mean", "std"))
    width = NOISE / np.sqrt(1 + NOISE**2)
    best = 0.4 * width**2 / NOISE**2
    assert np.allclose(mean[0, :2], [best, 1.4 - best], atol=0.1)
    assert np.allclose(std[0, :2], [width, np.hypot(NOISE, width)], rtol=0.35)
    quantiles = np.array(table.column("quantiles")[0]).reshape(3, 5)
    assert quantiles[2, 1:4].tolist() == [1] * 3
    draws = np.array(first["posterior_sample"].rows.column("parameters").to_pylist())
    assert draws.shape == (2000, 3)
    assert np.allclose(draws[:, :2].mean(axis=0), mean[0, :2], atol=0.03)
    assert table.column("source_id").tolist() == [5, 6]
    assert table.column("flags")[1] & SBI["INVALID_INPUT"]


def test_the_box_holds_the_truth_and_is_on_the_card(first, surroundings):
    card = first["posterior_model"].card["truncated"]
    left = Prior.from_json(card["prior"])
    assert left.inside(TRUTH)
    assert left.cut_of(PRIOR)
    assert not PRIOR.cut_of(left)
    assert card["observations"] == 1
    found = first["calibration"]
    assert found["volume"].value == pytest.approx(card["volume"], rel=1e-3)
    assert found["volume"].value < 0.3
    assert found["b.kept"].value < 0.6
    assert found["truth_kept"].value == 1
    assert first["posterior_model"].card["calibration"]["verdict"] == "calibrated"
    drawn = Truncate(Truncate.Config(number=200)).run(surroundings(), posterior_model=first["posterior_model"])["parameters"]
    assert Prior.of(drawn) == left
    assert left.inside(drawn.draws).all()


def test_a_second_round_knows_its_prior_and_uses_the_first(first, surroundings):
    left = Prior.from_json(first["posterior_model"].card["truncated"]["prior"])
    pool = PoolSimulations().run(surroundings(), observations=simulations(700, 2, left), earlier=simulations())["observations"]
    pool.check()
    assert 720 < len(pool) < 1200
    assert left.inside(pool.parameters.draws).all()
    stage = TruncatedMarginals(TruncatedMarginals.Config(**{**SMALL, "calibration": "off"}, pairs=[("b", "a")]))
    second = stage.run(surroundings(), observations=gathered(pool), target=gathered(TARGET))
    model = second["posterior_model"]
    assert model.card["prior"] == left.to_json()
    assert Prior.from_json(model.card["truncated"]["prior"]).cut_of(left)
    std = np.array(second["posterior"].column("std")[0])
    assert np.allclose(std[:2], NOISE * np.array([1, np.sqrt(2)]), rtol=0.3)
    draws = np.array(second["posterior_sample"].rows.column("parameters").to_pylist())
    assert np.corrcoef(draws[:, 0], draws[:, 1])[0, 1] == pytest.approx(-np.sqrt(0.5), abs=0.2)
    # It answers for others as well, alone or among them.
    estimator = opened(model, "cpu").estimator
    alone = estimator.sample(SEEN[:1], 50, np.random.default_rng(2))
    assert np.allclose(alone, estimator.sample(SEEN, 50, np.random.default_rng(2))[:1], atol=1e-5)
    answered = Posterior(Posterior.Config(draws=100)).run(surroundings(), posterior_model=model, observations=TARGET)
    assert np.allclose(np.array(answered["posterior"].column("std")[0]), std)


def test_the_density_of_draws_is_that_of_draws(first):
    """Of the mean of 1 / density over draws is the volume that they fill: a wrong density is seen."""
    estimator = opened(first["posterior_model"], "cpu").estimator
    drawn = estimator.posterior(SEEN[:1], 4000, np.random.default_rng(1))
    assert np.allclose(estimator.log_prob(drawn.theta, SEEN[:1]), drawn.log_density)
    theta, log = drawn.theta[0], drawn.log_density[0]
    low, high = np.quantile(theta[:, :2], [0.1, 0.9], axis=0)
    inside = ((theta[:, :2] > low) & (theta[:, :2] < high)).all(axis=1) & (theta[:, 2] == 1)
    assert np.where(inside, np.exp(-log), 0).mean() == pytest.approx((high - low).prod(), rel=0.1)


def test_only_what_is_learnt_together_is_tested_together(first):
    estimator = opened(first["posterior_model"], "cpu").estimator
    x, rng = np.repeat(SEEN[:1], 40, axis=0), np.random.default_rng(1)
    part = estimator.parts(x, rng)
    assert (part.sum(axis=1) == 2).all()
    assert len(np.unique(part, axis=0)) == 2  # of three pairs, two are a tree
    theta = estimator.sample(x, 20, rng)
    every, one = np.ones((40, 3), bool), np.eye(3, dtype=bool)
    assert np.allclose(estimator.log_prob_of(every, theta, x), estimator.log_prob(theta, x))
    single = sum(estimator.log_prob_of(np.tile(q, (40, 1)), theta, x) for q in one)
    together = sum(estimator.log_prob_of(np.tile(pair, (40, 1)), theta, x) for pair in np.unique(part, axis=0))
    middle = np.unique(part, axis=0).all(axis=0)
    # A tree of three: the product of its pairs over the parameter that both have.
    assert np.allclose(together - estimator.log_prob_of(np.tile(middle, (40, 1)), theta, x), estimator.log_prob(theta, x))
    assert not np.allclose(single, estimator.log_prob(theta, x), atol=0.05)


def test_boxes_are_where_ratios_are_and_one_cell_wider():
    log = np.full((2, 1, 10), -50.0)
    log[0, 0, 3:5] = 0.0
    log[1, 0, 8:] = -5.0
    boxes = Box.of(log, 1e-6)
    assert boxes.low[:, 0].tolist() == [0.2, 0.7]
    assert boxes.high[:, 0].tolist() == [0.6, 1.0]
    assert boxes.around().kept[0] == pytest.approx(0.8)
    assert boxes.holds(np.array([[0.5], [0.5]])).tolist() == [True, False]
    cut = boxes.around().cut(Prior.declared({"a": {"normal": [0, 1]}}))
    assert cut.bounds[0][0] == pytest.approx(-0.8416, abs=1e-4)
    assert np.isinf(cut.bounds[1][0])


def test_parameters_hang_together_along_the_strongest_pairs():
    assert tree([(0, 1), (0, 2), (1, 2)], np.array([0.1, 0.9, 0.5]), 3) == ((0, 2, 1), (2, 1, 2))
    assert tree([(1, 2)], np.array([0.1]), 4) == ((1, 2, 0),)
    rng = np.random.default_rng(1)
    place = (np.arange(PLACES) + 0.5) / PLACES
    copula = balanced(np.exp(-0.5 * ((place[:, None] - place) / 0.2) ** 2))
    assert np.allclose(copula.mean(axis=0), 1, atol=1e-3)
    assert np.allclose(copula.mean(axis=1), 1, atol=1e-3)
    known = (copula * np.outer(place - 0.5, place - 0.5)).mean() * 12
    for pair, edges in ((copula, ((0, 1, 0),)), (copula.T, ((1, 0, 0),))):
        drawn = _hanging_together(rng.random((20_000, 2)), edges, pair[None])
        assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(known, abs=0.03)
        assert np.allclose(np.quantile(drawn, [0.25, 0.5, 0.75], axis=0).T, [0.25, 0.5, 0.75], atol=0.02)


def test_which_parameters_are_learnt_together():
    assert subsets(PRIOR, None) == [[0], [1], [2], [0, 1], [0, 2], [1, 2]]
    assert subsets(PRIOR, [("c", "a"), ("a", "c")]) == [[0], [1], [2], [0, 2]]
    many = Prior.declared({f"p{k}": {"uniform": [0, 1]} for k in range(7)})
    assert len(subsets(many, None)) == 7
    with pytest.raises(DataError, match="names 'd', which is no parameter"):
        subsets(PRIOR, [("a", "d")])
    with pytest.raises(DataError, match="together with itself"):
        subsets(PRIOR, [("a", "a")])


def test_a_joint_prior_is_refused_before_anything_is_learnt(surroundings):
    joint = Prior.from_json([{"name": name, "unit": "", "kind": "joint", "args": [-9, 9]} for name in "abc"])
    with pytest.raises(DataError, match="of a joint prior; use sbi.npe"):
        TruncatedMarginals().run(
            surroundings(),
            observations=gathered(simulations(parameters=joint.samples(PRIOR.draw(np.random.default_rng(1), 1500)))),
            target=gathered(TARGET),
        )


def test_what_is_observed_counts_once_and_must_be_there(surroundings):
    one, other = TARGET, replace(TARGET, data=SEEN[::-1].copy(), ids=np.array([8, 9]))
    assert observed(gathered(one, one, other, one)).ids.tolist() == [5, 6, 8, 9]
    assert observed(gathered(one, other)).parameters is None
    known = [replace(part, parameters=PRIOR.samples(np.full((2, 3), k))) for k, part in enumerate((one, other))]
    assert observed(gathered(*known[::-1])).parameters.draws[:, 0].tolist() == [0, 0, 1, 1]
    assert observed(gathered(known[0], other)).parameters is None
    with pytest.raises(DataError, match="another kind"):
        observed(gathered(one, replace(other, about="tile")))
    blind = replace(TARGET, data=np.full((2, 3), np.nan, np.float32))
    with pytest.raises(DataError, match="every observation of `target` has missing values"):
        config = TruncatedMarginals.Config(members=1, hidden=[4], epochs=1, calibration="off", pairs=[])
        TruncatedMarginals(config).run(surroundings(), observations=gathered(simulations(60)), target=gathered(blind))
    wide = Observations(np.zeros((1, 4), np.float32), np.array([5]))
    with pytest.raises(DataError, match=r"shape \(4,\), and the model was trained on \(3,\)"):
        TruncatedMarginals().run(surroundings(), observations=gathered(simulations(60)), target=gathered(wide))


def test_only_rounds_of_one_inference_are_pooled(surroundings):
    def pool(later, earlier):
        return PoolSimulations().run(surroundings(), observations=later, earlier=earlier)["observations"]

    left = PRIOR.truncated([-1, 0, 0], [1, 2, 1])
    data = simulations().data.copy()
    data[:300] = np.nan
    earlier = simulations(data=data)
    inside = left.inside(earlier.parameters.draws)
    found = pool(simulations(10, 2, left), earlier)
    assert len(found) == 10 + inside.sum()
    assert np.array_equal(found.data[10:], data[inside], equal_nan=True)
    assert found.meta["failed"] == inside[:300].sum() > 0
    with pytest.raises(DataError, match="is no part of"):
        pool(simulations(10), simulations(10, 2, left))
    with pytest.raises(DataError, match="other features"):
        pool(simulations(10, names=("x", "y", "w")), earlier)
    with pytest.raises(DataError, match="in other ways"):
        pool(simulations(10, meta={"simulator": {"name": "mine"}}), earlier)
    with pytest.raises(DataError, match="nobody knows the parameters of `earlier`"):
        pool(simulations(10), simulations(10, parameters=None))


def test_other_models_leave_no_prior(surroundings):
    config = NeuralPosterior.Config(members=1, layers=1, hidden=[4], epochs=1, calibration="off")
    model = NeuralPosterior(config).run(surroundings(), observations=gathered(simulations(60)))["posterior_model"]
    with pytest.raises(DataError, match=r"a model of sbi\.npe cuts no prior"):
        Truncate().run(surroundings(), posterior_model=model)


def test_only_what_is_known_together_is_evaluated_together(first, surroundings):
    model, seen = first["posterior_model"], simulations(60, seed=7)
    config = Posterior.Config(draws=60, keep=60)
    found = Posterior(config).run(surroundings(), posterior_model=model, observations=seen)
    tables = {name: gathered(found[name]) for name in ("posterior", "posterior_sample")}
    metrics = EvaluatePosterior().run(
        surroundings(), **tables, observations=gathered(seen), posterior_model=model, sources=None, truth=None
    )["metrics"]
    assert "parts" in metrics.meta["regions"]
    assert metrics.meta["calibration"]["verdict"] == "calibrated"
    # The score is that of all parameters, from whose density the draws are.
    estimator = opened(model, "cpu").estimator
    exact = estimator.log_prob(seen.parameters.draws[:, None], seen.data)[:, 0]
    assert metrics["log_score"].value == pytest.approx(exact.mean(), abs=0.01)
    # Entropies of normal posteriors of a and of b given a; of the third, noise leaves some doubt between three values.
    expected = -np.log(2 * np.pi * np.e * NOISE * NOISE / np.sqrt(1 + NOISE**2))
    assert metrics["log_score"].value == pytest.approx(expected, abs=0.6)
