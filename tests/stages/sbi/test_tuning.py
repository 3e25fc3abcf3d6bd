"""Summary and flow that are tuned together tell what a weak summary threw away; such a model takes raw data wherever one is asked."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from astrosurvey import DataError, Model, Observations, Pipeline, PipelineError, plugins
from astrosurvey.catalog.flags import SBI
from astrosurvey.networks.conditional_flow import FlowEnsemble
from astrosurvey.networks.summaries.joint import JointFlow
from astrosurvey.networks.summaries.symmetries import orbit
from astrosurvey.stages.evaluate.posterior.stage import EvaluatePosterior
from astrosurvey.stages.sbi.model import opened
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.rounds.stage import Restrict
from astrosurvey.stages.sbi.stage import NeuralLikelihood, NeuralPosterior, NeuralRatio, Posterior
from astrosurvey.stages.sbi.summaries.moments_stage import Summarise, TrainMoments

from ..running import context, run, tiles_of

PRIOR = Prior.declared({"level": {"uniform": [-1, 1]}, "strength": {"log_uniform": [0.5, 2]}})
SMALL = {"members": 2, "layers": 2, "hidden": [24], "epochs": 16, "keep_back": 0.2, "tests": 100, "draws": 40}
NUMBERS = 12


def observed(count, seed, shape=(NUMBERS,)):
    """Return noise about a level."""
    rng = np.random.default_rng(seed)
    theta = PRIOR.draw(rng, count)
    level, strength = theta.T.reshape(2, count, *[1] * len(shape))
    data = (level + strength * rng.normal(size=(count, *shape))).astype(np.float32)
    return Observations(data, np.arange(count), "", (), PRIOR.samples(theta), {})


def exact(data, theta):
    """Return the log density of the posterior of each row of data at its own parameters, by a grid."""
    mean, variance = data.mean(axis=1), data.var(axis=1)

    def log_posterior(level, strength):
        apart = NUMBERS * (variance + (mean - level) ** 2)
        return -0.5 * apart / strength**2 - (NUMBERS + 1) * np.log(strength)  # the prior is even in the logarithm

    level, strength = (line.reshape(-1, 1) for line in np.meshgrid(np.linspace(-1, 1, 61), np.geomspace(0.5, 2, 61)))
    volume = 2 / 60 * np.log(4) / 60 * strength
    return log_posterior(*theta.T) - np.log((np.exp(log_posterior(level, strength)) * volume).sum(axis=0))


@pytest.fixture(scope="module")
def weak():
    """A moment network that has seen all simulations but once."""
    return run(TrainMoments, {"epochs": 1, "features": 4, "calibration": "off"}, observations=tiles_of(t=observed(2000, 1)))[
        "summary_model"
    ]


@pytest.fixture(scope="module")
def untuned(weak):
    return run(NeuralPosterior, SMALL, observations=tiles_of(t=observed(2000, 1)), summary_model=weak)


@pytest.fixture(scope="module")
def tuned(weak):
    settings = {**SMALL, "tuning": {"epochs": 8}}
    return run(NeuralPosterior, settings, observations=tiles_of(t=observed(2000, 1)), summary_model=weak)


def log_densities(made, seen, tmp_path):
    ready = opened(made["posterior_model"], "cpu")
    x, _ = ready.heard(context(None, tmp_path), seen.data)
    return ready.estimator.log_prob(seen.parameters.draws[:, None], x)[:, 0]


def test_tuning_recovers_what_a_weak_summary_threw_away(untuned, tuned, tmp_path):
    seen = observed(800, 2)
    before, after = (log_densities(made, seen, tmp_path) for made in (untuned, tuned))
    right = exact(seen.data.astype(float), seen.parameters.draws)
    gain = after - before
    assert gain.mean() > 5 * gain.std() / np.sqrt(len(gain))
    assert (right - after).mean() < 0.5 * (right - before).mean()
    tables = [
        run(Posterior, {"draws": 200}, posterior_model=made["posterior_model"], observations=seen)["posterior"] for made in (untuned, tuned)
    ]
    std = [np.array(table.rows.column("std").to_pylist()) for table in tables]
    assert (std[1] / std[0]).mean() < 0.9
    told = {metric.name: metric.value for metric in tuned["calibration"].values}
    # 200 simulations kept back have said so, too; their scatter is that of these 800 but for their number.
    assert told["tuning_gain"] == pytest.approx(gain.mean(), abs=4 * gain.std() / np.sqrt(200))
    curve = tuned["calibration"].curves["tuning"]
    assert curve["step"][0] == 0
    assert told["surprise"] == pytest.approx(curve["surprise.validation"][0] - told["tuning_gain"])
    assert told["surprise"] == pytest.approx(min(curve["surprise.validation"]), abs=0.03)  # the width is fitted anew after that
    assert told["calibration_p"] > 1e-3


def test_without_tuning_it_is_what_summaries_between_would_give(weak, untuned):
    seen, sims = observed(20, 3), observed(2000, 1)
    through = {
        name: run(Summarise, {}, summary_model=weak, observations=some)["observations"] for name, some in (("sims", sims), ("seen", seen))
    }
    other = run(NeuralPosterior, SMALL, observations=tiles_of(t=through["sims"]))
    raw = run(Posterior, {"draws": 50}, posterior_model=untuned["posterior_model"], observations=seen)
    condensed = run(Posterior, {"draws": 50}, posterior_model=other["posterior_model"], observations=through["seen"])
    for column in ("mean", "std", "map"):
        values = [np.array(found["posterior"].rows.column(column).to_pylist()) for found in (raw, condensed)]
        np.testing.assert_allclose(*values, rtol=1e-5)
    assert "tuning" not in untuned["posterior_model"].card["training"]
    assert untuned["posterior_model"].card["calibration"] == other["posterior_model"].card["calibration"]


def test_such_a_model_is_stored_and_takes_raw_data_everywhere(tuned, tmp_path):
    tuned["posterior_model"].write(tmp_path / "model")
    model = Model.read(tmp_path / "model")
    seen = observed(60, 4)
    data = seen.data.copy()
    data[3, 0] = np.nan
    data[4, ::2] += 4 * data[4].std()  # mean and scatter may still be ones that were simulated, and the pattern is not
    asked = replace(seen, data=data)
    made = run(Posterior, {"draws": 200, "keep": 100}, posterior_model=model, observations=asked)
    flags = made["posterior"].column("flags")
    assert flags[3] & SBI["INVALID_INPUT"]
    assert flags[4] & SBI["OUT_OF_DISTRIBUTION"]
    assert (flags & SBI["OUT_OF_DISTRIBUTION"] > 0).sum() < 6
    inputs = {name: tiles_of(t=table) for name, table in {**made, "observations": asked}.items()}
    scores = run(EvaluatePosterior, posterior_model=model, **inputs)["metrics"]
    assert scores["information"].value > 0.5
    assert scores.meta["regions"] == "highest density of the model"
    narrower = run(Restrict, {"draws": 1000}, posterior_model=model, target=tiles_of(t=Observations(data[:1], np.arange(1))))
    assert narrower["posterior_model"].card["truncated"]["volume"] < 0.9


@pytest.mark.parametrize("stage", [NeuralLikelihood, NeuralRatio])
def test_other_estimators_take_raw_data_as_well(stage, weak):
    settings = {"members": 1, "hidden": [16], "epochs": 2, "calibration": "off"}
    made = run(stage, settings, observations=tiles_of(t=observed(2000, 1)), summary_model=weak)
    seen = observed(2, 4)
    data = seen.data.copy()
    data[1, 0] += 30
    table = run(Posterior, {"draws": 40}, posterior_model=made["posterior_model"], observations=replace(seen, data=data))["posterior"]
    assert (table.column("n_draw") == 40).all()
    assert (table.column("flags") & SBI["OUT_OF_DISTRIBUTION"] > 0).tolist() == [False, True]


def test_a_gain_that_is_none_is_not_taken(weak, caplog):
    settings = {**SMALL, "epochs": 2, "calibration": "off", "tuning": {"epochs": 1, "learning_rate": 0.5}}
    with caplog.at_level(logging.INFO):
        made = run(NeuralPosterior, settings, observations=tiles_of(t=observed(400, 1)), summary_model=weak)
    assert "stay as they were" in caplog.text
    assert made["calibration"]["tuning_gain"].value == 0
    model = made["posterior_model"]
    assert made["calibration"]["surprise"].value == made["calibration"].curves["tuning"]["surprise.validation"][0]
    summary = {name.removeprefix("summary_network."): array for name, array in model.weights.items() if name.startswith("summary_network.")}
    for name, array in summary.items():
        np.testing.assert_array_equal(array, weak.weights[f"summary.{name}"])


def test_summaries_are_means_over_positions_and_so_is_their_gradient():
    torch.manual_seed(1)
    summary = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 5), torch.nn.GELU(), torch.nn.Linear(5, 2))
    joint = JointFlow(summary, FlowEnsemble(2, 2, members=2, layers=2, hidden=(6,)), torch.tanh, "square")
    for weight in joint.flow.parameters():  # which begin with zeros, so that nothing of the context gets through
        weight.data = 0.3 * torch.randn_like(weight)
    data, theta = torch.randn(3, 4, 4), torch.randn(1, 2, 3)

    def gradient(log):
        return torch.autograd.grad(log.mean(), summary.parameters())

    positions = list(orbit(data, "square"))
    whole = torch.tanh(torch.stack([summary(position) for position in positions]).mean(dim=0)).T[None]
    torch.testing.assert_close(joint.context(data), whole)
    by_one = [gradient(joint(theta, position)) for position in positions]
    for right, *some in zip(gradient(joint.flow(theta, whole)), *by_one, strict=True):
        torch.testing.assert_close(torch.stack(some).mean(dim=0), right)
    assert not torch.allclose(by_one[0][0], by_one[1][0])


def test_a_tuning_that_was_interrupted_goes_on_to_the_same_end(weak, tmp_path):
    settings = {**SMALL, "epochs": 2, "calibration": "off", "tuning": {"epochs": 2}}
    sims = tiles_of(t=observed(400, 1))

    def made(folder, until=10**9):
        calls = []

        def progress(done, total):
            calls.append(done)
            if len(calls) > until:
                raise KeyboardInterrupt

        surroundings = replace(context(None, tmp_path), checkpoint=folder, progress=progress)
        stage = NeuralPosterior(NeuralPosterior.Config.model_validate(settings))
        return stage.run(surroundings, observations=sims, summary_model=weak)["posterior_model"], len(calls)

    model, steps = made(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "cut", until=steps - 3)
    assert (tmp_path / "cut" / "tuning" / "state.pt").is_file()
    again, left = made(tmp_path / "cut")
    assert left < steps
    for name, array in model.weights.items():
        np.testing.assert_array_equal(array, again.weights[name])


def test_rows_of_sets_may_be_missing():
    sims = observed(400, 5, (20, 1))
    data = sims.data.copy()
    data[::2, 12:] = np.nan
    data[7] = np.nan
    gappy = tiles_of(t=replace(sims, data=data))
    settings = {"network": "deep_set", "features": 3, "epochs": 1, "calibration": "off"}
    summary = run(TrainMoments, settings, observations=gappy)["summary_model"]
    more = {**SMALL, "epochs": 2, "tests": 60, "tuning": {"epochs": 1}}
    made = run(NeuralPosterior, more, observations=gappy, summary_model=summary)
    assert made["calibration"]["missing"].value == 1
    flags = run(Posterior, {}, posterior_model=made["posterior_model"], observations=replace(sims, data=data))["posterior"].column("flags")
    assert np.flatnonzero(flags & SBI["INVALID_INPUT"]).tolist() == [7]
    target = tiles_of(t=Observations(data[:1], np.arange(1)))
    narrower = run(Restrict, {"draws": 1000, "left_out": 0.2, "margin": 0.0}, posterior_model=made["posterior_model"], target=target)
    assert narrower["posterior_model"].card["truncated"]["volume"] < 1


def test_what_does_not_fit_is_refused(weak, untuned, caplog):
    sims = observed(60, 1)
    with pytest.raises(DataError, match="there is none: wire the output of sbi.moments to `summary_model`"):
        run(NeuralPosterior, {"tuning": {}}, observations=tiles_of(t=sims))
    with pytest.raises(DataError, match=r"has the shape \(11,\), and the model was trained on \(12,\)"):
        run(NeuralPosterior, {}, observations=tiles_of(t=replace(sims, data=sims.data[:, :11].copy())), summary_model=weak)
    named = replace(weak, card={**weak.card, "names": [f"x{k}" for k in range(12)]})
    with pytest.raises(DataError, match="the model was trained on x0, x1"):
        other = replace(sims, names=tuple(f"y{k}" for k in range(12)))
        run(NeuralPosterior, {}, observations=tiles_of(t=other), summary_model=named)
    ratio = run(NeuralRatio, {"epochs": 1, "members": 1, "calibration": "off"}, observations=tiles_of(t=sims))["posterior_model"]
    with pytest.raises(DataError, match=r"a model of sbi.nre that summarises nothing: wire the output of sbi.moments"):
        run(NeuralPosterior, {}, observations=tiles_of(t=sims), summary_model=ratio)
    with pytest.raises(DataError, match="takes the summaries of a network: leave `reweight` out"):
        run(Posterior, {"reweight": True}, posterior_model=untuned["posterior_model"], observations=sims)
    prior = Prior.declared({"zero": {"uniform": [-1, 1]}})
    another = replace(sims, parameters=prior.samples(sims.parameters.draws[:, :1].copy()))
    run(NeuralPosterior, {**SMALL, "epochs": 1, "calibration": "off"}, observations=tiles_of(t=another), summary_model=weak)
    assert "summarises what tells of level, strength, and these are simulations of zero" in caplog.text


def test_a_pipeline_with_nothing_to_tune_is_refused_before_it_runs():
    stages = {
        "prior": {"use": "sbi.prior", "parameters": {"theta_1": {"uniform": [-1, 1]}, "theta_2": {"uniform": [-1, 1]}}},
        "moons": {"use": "simulate.two_moons", "in": "prior"},
        "infer": {"use": "sbi.npe", "in": "moons", "tuning": {}},
    }
    with pytest.raises(PipelineError, match="`tuning` trains a summary network further, and there is none"):
        Pipeline.build({"astrosurvey": 1, "stages": stages}, plugins.load())
    compress = {"use": "sbi.moments", "in": "moons"}
    infer = {**stages["infer"], "in": {"observations": "moons", "summary_model": "compress"}}
    assert Pipeline.build({"astrosurvey": 1, "stages": {**stages, "compress": compress, "infer": infer}}, plugins.load()).nodes
