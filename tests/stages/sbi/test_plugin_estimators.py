"""A plugin's estimator is prepared, calibrated and asked like our own."""

from __future__ import annotations

import logging
import sys
import types
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch

from astrosurvey import Context, DataError, Metrics, Model, Observations, Stage, Tile, Tiles, hookimpl, plugins
from astrosurvey.networks.train import History
from astrosurvey.stages.sbi.estimator import Drawn
from astrosurvey.stages.sbi.infer import finished, prepared
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.rows import RowRandom
from astrosurvey.stages.sbi.stage import CalibrationConfig, Posterior
from astrosurvey.stages.sbi.train import Trained

NOISE = 0.1
PRIOR = Prior.declared({"level": {"normal": [0, 1]}})


class Width(torch.nn.Module):
    """All that is learnt: the scatter of the data about the parameter."""

    def __init__(self, width):
        super().__init__()
        self.width = torch.nn.Parameter(torch.tensor(float(width)))


class Normal:
    """The posterior where data scatter normally about a parameter whose prior is the standard normal."""

    def __init__(self, network, parameters, data, device):
        self.prior, variance = parameters.prior, float(network.width.detach()) ** 2
        self._shrunk, self._std = 1 / (1 + variance), np.sqrt(variance / (1 + variance))

    def posterior(self, x, draws, rng, first=0):
        m = len(x)
        theta = (self._shrunk * x + self._std * RowRandom(int(rng.integers(2**62)), first, first + m).normal(draws))[..., None]
        return Drawn(theta, self.log_prob(theta, x), np.ones(m), np.full(m, np.nan), np.zeros(m))

    def sample(self, x, draws, rng):
        return self.posterior(x, draws, rng).theta

    def log_prob(self, theta, x):
        return -0.5 * ((theta[..., 0] - self._shrunk * x) / self._std) ** 2 - np.log(self._std * np.sqrt(2 * np.pi))


class Scatter(Stage):
    """Learn how data scatter about a parameter."""

    name, scope = "fake.scatter", "survey"
    inputs = {"observations": Tiles.of(Observations)}
    outputs = {"posterior_model": Model, "calibration": Metrics}

    class Config(CalibrationConfig):
        """What is kept back, and calibration."""

    def run(self, ctx, *, observations):
        material = prepared(ctx, observations, self.config, of_data=False)
        rows = material.split.training
        width = (material.simulations.take(rows) - material.simulations.theta[rows]).std()
        trained = Trained(self.name, Width(width), {"width": 1.0}, History(stopped=1, best=(float(width), 1)))
        estimator = Normal(trained.network, material.parameters, material.data, ctx.device)
        model, metrics = finished(ctx, material, trained, estimator, self.config, self.name, ("width", "scatter of data"), {})
        return {"posterior_model": model, "calibration": metrics}


@hookimpl
def register_stages(register):
    register(Scatter)


@hookimpl
def register_estimators(register):
    register("fake.scatter", lambda: (Width, Normal))


@pytest.fixture
def registry(monkeypatch):
    """What is known where our own plugin and the one of this file are installed."""
    module = types.ModuleType("fake_plugin")
    module.astrosurvey_api, module.register_stages, module.register_estimators = 1, register_stages, register_estimators
    monkeypatch.setitem(sys.modules, "fake_plugin", module)
    found = plugins.load_from([EntryPoint("fake", "fake_plugin", "astrosurvey")])
    monkeypatch.setattr(plugins, "load", lambda: found)
    return found


@pytest.fixture
def ctx(tmp_path):
    tile = Tile("t0", number=3, index=0)
    return Context(tile, np.random.default_rng(1), "cpu", logging.getLogger("test"), lambda done, total: None, tmp_path)


def simulations(number=3000):
    rng = np.random.default_rng(2)
    theta = PRIOR.draw(rng, number)
    data = (theta + NOISE * rng.standard_normal(theta.shape)).astype(np.float32)
    return Observations(data, np.arange(number, dtype=np.int64), "", ("level",), PRIOR.samples(theta))


def test_a_plugins_model_is_calibrated_stored_and_asked(registry, ctx, tmp_path):
    assert not registry.broken
    assert list(registry.estimators) == ["fake.scatter"]
    made = registry.stages["fake.scatter"]().run(ctx, observations=Tiles(["t0"], lambda name: simulations()))
    assert made["posterior_model"].card["calibration"]["verdict"] == "calibrated"
    assert {"width", "coverage_90", "simulations"} <= {metric.name for metric in made["calibration"].values}
    made["posterior_model"].write(tmp_path / "model")
    model = Model.read(tmp_path / "model")
    seen = Observations(np.array([[0.5], [40.0]], np.float32), np.array([7, 8]), "source", ("level",))
    rows = Posterior(Posterior.Config(draws=4000)).run(ctx, posterior_model=model, observations=seen)["posterior"].rows
    assert rows.column("method").to_pylist() == ["fake.scatter"] * 2
    assert rows.column("mean").to_pylist()[0] == pytest.approx([0.5 / (1 + NOISE**2)], abs=0.01)
    assert rows.column("std").to_pylist()[0] == pytest.approx([NOISE / np.sqrt(1 + NOISE**2)], rel=0.05)
    assert [p <= 0.01 for p in rows.column("ood_p").to_pylist()] == [False, True]

    narrow = Model(model.architecture, model.config, {**model.weights, "width": np.zeros(3, np.float32)}, model.card)
    with pytest.raises(DataError, match=r"do not fit its architecture 'fake\.scatter'"):
        Posterior().run(ctx, posterior_model=narrow, observations=seen)
    registry.estimators.clear()
    with pytest.raises(DataError, match=r"'fake\.scatter', which is not known here \(sbi\.npe.*\); is a plugin missing\?"):
        Posterior().run(ctx, posterior_model=model, observations=seen)
