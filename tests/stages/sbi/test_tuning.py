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
from astrosurvey.stages.sbi.stage import NeuralPosterior, NeuralRatio, Posterior
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
    assert told["surprise"] == min(curve["surprise.validation"]) == pytest.approx(curve["surprise.validation"][0] - told["tuning_gain"])
    assert told["calibration_p"] > 1e-3
