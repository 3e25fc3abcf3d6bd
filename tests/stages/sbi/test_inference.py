"""Estimators find posteriors that are known, and nothing hangs: dirt is flagged."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from astrosurvey import Context, Tile
from astrosurvey.catalog.flags import SBI
from astrosurvey.core.product import Tiles
from astrosurvey.core.stage import DataError
from astrosurvey.products import Observations, Samples
from astrosurvey.stages.sbi import answer
from astrosurvey.stages.sbi import data as data_module
from astrosurvey.stages.sbi import train as train_module
from astrosurvey.stages.sbi.data import Batches, Simulations
from astrosurvey.stages.sbi.model import opened
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.stage import NeuralLikelihood, NeuralPosterior, NeuralRatio, Posterior

NOISE = 0.2
PRIOR = Prior.declared({"slope": {"uniform": [-1, 1]}, "zero": {"normal": [0, 1]}})
SMALL = {"members": 2, "layers": 2, "hidden": [24], "epochs": 24, "tests": 60, "draws": 50}


@pytest.fixture
def surroundings(tmp_path):
    def made(seed=1):
        tile = Tile("t0", number=3, index=0)
        return Context(tile, np.random.default_rng(seed), "cpu", logging.getLogger("test"), lambda done, total: None, tmp_path)

    return made


def simulations(number=2000, seed=1, **changes):
    """Two numbers, each a parameter and noise, and a third that is always the same."""
    rng = np.random.default_rng(seed)
    theta = PRIOR.draw(rng, number)
    data = np.concatenate([theta + NOISE * rng.standard_normal(theta.shape), np.full((number, 1), 4.0)], axis=1).astype(np.float32)
    fields = {"data": data, "ids": np.arange(number, dtype=np.int64), "names": ("x", "y", "c"), "parameters": PRIOR.samples(theta)}
    return Observations(**{**fields, **changes})


def gathered(*parts):
    return Tiles([f"t{k}" for k in range(len(parts))], lambda name: parts[int(name[1:])])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Models of all methods."""
    ctx = Context(
        None, np.random.default_rng(1), "cpu", logging.getLogger("test"), lambda done, total: None, tmp_path_factory.mktemp("scratch")
    )
    found = {}
    for stage, changes in ((NeuralPosterior, {}), (NeuralLikelihood, {"epochs": 12, "calibration": "off"}), (NeuralRatio, {"tests": 50})):
        settings = {name: value for name, value in {**SMALL, **changes}.items() if name in stage.Config.model_fields}
        made = stage(stage.Config.model_validate(settings)).run(ctx, observations=gathered(simulations(1500)))
        for product in made.values():
            product.check()
        found[stage.name] = made
    return found


OBSERVED = np.array([[0.2, 1.0, 4.0], [np.nan, 0.0, 4.0], [60.0, -60.0, 4.0], [1.3, 0.0, 4.0]], np.float32)


@pytest.mark.parametrize("method", ["sbi.npe", "sbi.nle", "sbi.nre"])
def test_posteriors_are_right_and_dirt_is_flagged(method, trained, surroundings):
    model = trained[method]["posterior_model"]
    gap = np.array([[0.0, 0.0, np.nan]], np.float32)  # in the feature that tells nothing
    observations = Observations(np.concatenate([OBSERVED, gap]), np.array([11, 12, 13, 14, 15]), "source", ("x", "y", "c"))
    began = time.process_time()
    found = Posterior(Posterior.Config(draws=400, keep=10)).run(surroundings(), posterior_model=model, observations=observations)
    assert time.process_time() - began < 5
    for product in found.values():
        product.check()
    table = found["posterior"]
    mean, std = (np.array(table.rows.column(name).to_pylist()) for name in ("mean", "std"))
    width = NOISE / np.sqrt(1 + NOISE**2)
    assert np.allclose(mean[0], [0.2, 1 / (1 + NOISE**2)], atol=0.08)
    assert np.allclose(std[0], [NOISE, width], rtol=0.25)
    # The density at the mean of a Gaussian is known.
    exact = -np.log(2 * np.pi * NOISE * width)
    assert table.column("log_density")[0] == pytest.approx(exact, abs=0.35)
    flags = table.column("flags")
    off = SBI["CALIBRATION_OFF"] if method == "sbi.nle" else 0
    assert flags[0] == off
    assert (flags[[1, 4]] == off | SBI["INVALID_INPUT"]).all()
    assert np.isnan(mean[[1, 4]]).all()
    assert flags[3] & SBI["PRIOR_EDGE"]
    assert flags[2] & SBI["OUT_OF_DISTRIBUTION"]
    assert not flags[0] & SBI["OUT_OF_DISTRIBUTION"]
    assert np.isfinite(mean[2]).all() or table.column("n_draw")[2] == 0
    if method == "sbi.npe":  # what the flow makes of data far beyond all simulations lies beyond the prior
        assert flags[2] & SBI["LOW_ACCEPTANCE"]
    assert table.column("n_draw")[[0, 1, 3, 4]].tolist() == [400, 0, 400, 0]
    assert table.column("source_id").tolist() == [11, 12, 13, 14, 15]
    drawn = np.array(found["posterior_sample"].rows.column("parameters").to_pylist())
    assert drawn.shape == (10 * (table.column("n_draw") > 0).sum(), 2)
    assert (np.abs(drawn[:, 0]) <= 1).all()
    assert table.rows.column("log_evidence").null_count == (0 if method == "sbi.nle" else 5)


def test_calibration_is_part_of_the_model(trained):
    made = trained["sbi.npe"]
    assert made["posterior_model"].card["calibration"]["verdict"] == "calibrated"
    assert made["calibration"]["missing"].value == 0


def test_draws_do_not_depend_on_who_else_is_asked(trained):
    for method, tolerance in (("sbi.npe", 1e-5), ("sbi.nle", 1e-2), ("sbi.nre", 1e-2)):
        estimator = opened(trained[method]["posterior_model"], "cpu").estimator
        alone = estimator.sample(OBSERVED[:1], 300, np.random.default_rng(2))
        among = estimator.sample(OBSERVED, 300, np.random.default_rng(2))
        assert np.allclose(alone[0], among[0], atol=tolerance)


def test_what_leaks_beyond_the_prior_is_rejected_and_counted(trained):
    estimator = opened(trained["sbi.npe"]["posterior_model"], "cpu").estimator
    drawn = estimator.posterior(OBSERVED[[0, 3]], 300, np.random.default_rng(2))
    assert drawn.acceptance[0] > 0.99
    assert 0.2 < drawn.acceptance[1] < 1
    assert estimator.prior.inside(drawn.theta).all()


def test_one_simulation_is_little_and_is_said_to_be(surroundings):
    began = time.process_time()
    model = NeuralPosterior().run(surroundings(), observations=gathered(simulations(1)))["posterior_model"]
    observations = Observations(OBSERVED[:1], np.array([1]))
    found = Posterior().run(surroundings(), posterior_model=model, observations=observations)["posterior"]
    assert time.process_time() - began < 5
    assert found.column("flags")[0] & SBI["CALIBRATION_OFF"]
    for stage in (NeuralLikelihood, NeuralRatio):
        with pytest.raises(DataError, match="there is no likelihood to learn; simulate more"):
            stage().run(surroundings(), observations=gathered(simulations(1)))


def test_weights_are_the_same_whether_data_are_in_memory_or_read_as_they_are_needed(surroundings, monkeypatch):
    config = NeuralPosterior.Config(**{**SMALL, "epochs": 2, "calibration": "off"})
    found = []
    for bytes_kept in (train_module.CACHE, 0):
        monkeypatch.setattr(train_module, "CACHE", bytes_kept)
        found.append(NeuralPosterior(config).run(surroundings(), observations=gathered(simulations(300)))["posterior_model"].weights)
    assert found[0].keys() == found[1].keys()
    for name, array in found[0].items():
        assert np.array_equal(array, found[1][name]), name


def test_parameters_of_a_joint_prior_have_posteriors(surroundings):
    rng = np.random.default_rng(1)
    theta = np.sort(rng.uniform(0, 1, (1500, 2)), axis=1)
    card = [{"name": name, "unit": "", "kind": "joint", "args": [0, 1]} for name in ("low", "high")]
    data = (theta + 0.1 * rng.standard_normal(theta.shape)).astype(np.float32)
    made = gathered(Observations(data, np.arange(1500), "", ("x", "y"), Samples(theta, ("low", "high"), ("", ""), None, {"prior": card})))
    config = NeuralPosterior.Config(**{**SMALL, "epochs": 20, "calibration": "off"})
    model = NeuralPosterior(config).run(surroundings(), observations=made)["posterior_model"]
    asked = Observations(np.array([[0.3, 0.7], [0.5, 0.5]], np.float32), np.arange(2), "", ("x", "y"))
    found = Posterior(Posterior.Config(draws=500, keep=500)).run(surroundings(), posterior_model=model, observations=asked)
    draws = np.array(found["posterior_sample"].rows.column("parameters").to_pylist()).reshape(2, 500, 2)
    # Far from where both are equal the order tells nothing, there it parts them.
    assert np.allclose(draws[0].mean(axis=0), [0.3, 0.7], atol=0.04)
    assert np.allclose(draws[0].std(axis=0), 0.1, rtol=0.25)
    assert (draws[1, :, 0] < draws[1, :, 1]).mean() > 0.85
    assert np.isfinite(found["posterior"].column("log_density")).all()
    for stage in (NeuralLikelihood, NeuralRatio):
        with pytest.raises(DataError, match="of a joint prior; use sbi.npe"):
            stage().run(surroundings(), observations=made)


def test_missing_values_are_counted_and_too_many_are_refused(surroundings):
    whole = simulations(400)
    data = whole.data.copy()
    data[:3, 0] = np.nan
    config = NeuralPosterior.Config(**{**SMALL, "epochs": 1, "calibration": "off"})
    few = NeuralPosterior(config).run(surroundings(), observations=gathered(simulations(400, data=data)))
    assert few["calibration"]["missing"].value == 3
    data[:40, 0] = np.nan
    with pytest.raises(DataError, match="40 of 400 simulations have missing values"):
        NeuralPosterior(config).run(surroundings(), observations=gathered(simulations(400, data=data)))
    with pytest.raises(DataError, match="max_missing"):
        data[1:] = whole.data[1:]
        NeuralLikelihood().run(surroundings(), observations=gathered(simulations(400, data=data)))


def test_other_data_than_it_was_trained_on_are_refused(trained, surroundings):
    model = trained["sbi.npe"]["posterior_model"]
    with pytest.raises(DataError, match="trained on"):
        Posterior().run(surroundings(), posterior_model=model, observations=Observations(OBSERVED[:, :2].copy(), np.arange(4)))
    with pytest.raises(DataError, match="in this order"):
        Posterior().run(surroundings(), posterior_model=model, observations=Observations(OBSERVED, np.arange(4), "", ("y", "x", "c")))


def test_other_units_than_it_was_trained_on_are_refused(trained, surroundings):
    model, names = trained["sbi.npe"]["posterior_model"], ("x", "y", "c")
    said = replace(model, card={**model.card, "data": {**model.card["data"], "units": ["nJy", "", "km/s"]}})
    alike = Observations(OBSERVED, np.arange(4), "", names, units=("nJy", "mag", "km.s**-1"))
    config = Posterior.Config(draws=10)
    # Where one side says nothing there is nothing to compare, and models from before there were units are as good as ever.
    for known in (said, model, replace(model, card={**model.card, "data": {"shape": [3], "names": list(names)}})):
        Posterior(config).run(surroundings(), posterior_model=known, observations=alike)
    with pytest.raises(DataError, match="'x' is observed in 'uJy', and the model was trained on 'nJy'"):
        Posterior(config).run(surroundings(), posterior_model=said, observations=replace(alike, units=("uJy", "", "")))


def test_an_order_that_nobody_can_check_is_warned_of(trained, surroundings, caplog):
    model = trained["sbi.npe"]["posterior_model"]
    for names, warned in ((("x", "y", "c"), False), ((), True)):
        caplog.clear()
        Posterior(Posterior.Config(draws=10)).run(
            surroundings(), posterior_model=model, observations=Observations(OBSERVED, np.arange(4), "", names)
        )
        assert ("nobody has checked that they are x, y, c" in caplog.text) == warned
    nameless = replace(model, card={**model.card, "data": {"shape": [3], "names": []}})
    assert "the simulator does not name" in opened(nameless, "cpu").doubt(Observations(OBSERVED, np.arange(4), "", ("x", "y", "c")))


def test_simulations_are_split_by_their_ids_and_read_in_steps():
    first, second = simulations(100), simulations(150, seed=2, ids=np.arange(1000, 1150))
    both, other = Simulations(gathered(first, second)), Simulations(gathered(second, first))
    split, its = both.split(0.3), other.split(0.3)
    parts = (split.training, split.validation, split.test)
    assert sorted(np.concatenate(parts)) == list(range(250))
    assert 40 < len(split.validation) + len(split.test) < 110
    assert set(both.ids[split.test]) == set(other.ids[its.test])
    rows = np.array([120, 3, 249])
    assert np.array_equal(both.take(rows), np.concatenate([first.data, second.data])[rows])
    batches = Batches(split.training, 16, 2, seed=5)
    seen = np.concatenate([batches(step) for step in range(batches.epoch)], axis=1)
    again = Batches(split.training, 16, 2, seed=5)
    assert np.array_equal(again(batches.epoch + 1), batches(batches.epoch + 1))
    assert all(len(set(one)) == len(one) for one in seen)
    assert not np.array_equal(seen[0], seen[1])


def test_what_was_read_of_simulations_stays_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "BLOCK", 1 << 16)
    wide = simulations(600, data=np.random.default_rng(1).normal(size=(600, 1000)).astype(np.float32), names=())
    wide.write(tmp_path / "simulations")
    found = Simulations(gathered(Observations.read(tmp_path / "simulations")))
    assert np.array_equal(found.take(np.arange(600)), wide.data)
    assert len(found.sample(np.arange(600))) == 60
    if (maps := Path("/proc/self/smaps")).is_file():
        mapped = maps.read_text().partition(str(tmp_path / "simulations" / "data.npy"))[2]
        assert int(re.search(r"Rss:\s+(\d+)", mapped)[1]) == 0


def test_tiles_of_other_priors_do_not_mix():
    rng = np.random.default_rng(1)
    other = Prior.declared({"slope": {"uniform": [-2, 2]}, "zero": {"normal": [0, 1]}})
    with pytest.raises(DataError, match="another prior"):
        Simulations(gathered(simulations(10), simulations(10, parameters=other.samples(other.draw(rng, 10)))))


@pytest.mark.parametrize("method", ["sbi.npe", "sbi.nle", "sbi.nre"])
def test_an_answer_does_not_depend_on_how_many_are_dealt_with_at_a_time(method, trained, surroundings, monkeypatch):
    model = trained[method]["posterior_model"]
    data = np.resize(OBSERVED, (7, 3)) + np.linspace(0, 0.3, 7, dtype=np.float32)[:, None] * [1, 1, 0]
    observations = Observations(data.astype(np.float32), np.arange(7), "source")
    found = []
    for rows in (7, 2):
        monkeypatch.setattr(answer, "VALUES", rows * 120 * 2)
        found.append(Posterior(Posterior.Config(draws=120)).run(surroundings(), posterior_model=model, observations=observations))
    whole, parts = found
    for name in ("posterior", "posterior_sample"):
        assert str(whole[name].rows.to_pydict()) == str(parts[name].rows.to_pydict()), name


@pytest.mark.parametrize(("method", "expected"), [("sbi.npe", [5]), ("sbi.nre", [2, 4, 5])])
def test_walkers_say_how_far_they_are(method, expected, trained, surroundings, monkeypatch):
    monkeypatch.setattr(answer, "SLOW", 2)
    said = []
    observations = Observations(np.resize(OBSERVED[:1], (5, 3)), np.arange(5))
    ctx = replace(surroundings(), progress=lambda done, total: said.append(done))
    Posterior(Posterior.Config(draws=10)).run(ctx, posterior_model=trained[method]["posterior_model"], observations=observations)
    assert said == expected


def test_a_model_is_opened_once_for_all_tiles(trained, surroundings):
    model, observations = trained["sbi.npe"]["posterior_model"], Observations(OBSERVED, np.arange(4))
    stage = Posterior(Posterior.Config(draws=10))
    first = stage.run(surroundings(), posterior_model=model, observations=observations)["posterior"]
    kept = stage._ready
    again = replace(model, weights={name: array.copy() for name, array in model.weights.items()})
    second = stage.run(surroundings(), posterior_model=again, observations=observations)["posterior"]
    assert stage._ready is kept
    assert str(first.rows.to_pydict()) == str(second.rows.to_pydict())
    # A card says more than the weights do, such as what calibration has found.
    stage.run(
        surroundings(), posterior_model=replace(model, card={**model.card, "calibration": {"verdict": "off"}}), observations=observations
    )
    assert stage._ready is not kept
