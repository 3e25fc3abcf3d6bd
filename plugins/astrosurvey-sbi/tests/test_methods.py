"""What the stages learn: against posteriors that are known, and asked by astrosurvey's own `sbi.posterior`."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest

pytest.importorskip("sbi")

import torch
from astrosurvey_sbi.networks import Flows, Ratios
from astrosurvey_sbi.stage import SbiLikelihood, SbiPosterior, SbiRatio

from astrosurvey import Catalog, Context, DataError, Model, Observations, Tile, Tiles
from astrosurvey.catalog.flags import SBI
from astrosurvey.networks.determinism import seeded
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.stage import Posterior

NOISE = 0.2
PRIOR = Prior.declared({"slope": {"uniform": [-1, 1]}, "zero": {"normal": [0, 1]}})
QUICK = {"hidden": 32, "learning_rate": 5e-3, "epochs": 40, "patience": 10, "tests": 60, "draws": 50}
FLOWS = ("nsf", "maf", "maf_rqs", "zuko_nsf", "zuko_maf")


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("features", [1, 3])
def test_draws_have_the_density_that_is_said(flow, features):
    with seeded(1):
        network = Flows(features, 2, members=2, flow=flow, hidden=12, layers=2, bins=4)
        noise, context = 0.7 * torch.randn(2, features, 15), torch.randn(1, 2, 5)
    x, log = network.sample(noise, context)
    assert x.shape == noise.shape
    with torch.no_grad():
        assert torch.allclose(network(x, context), log, atol=2e-3)
        # One row of data is enough for all draws of it, and members answer for the same draws as well as for their own.
        alone = network(x[:1, :, :3], context[..., :1])
    assert torch.allclose(alone[0], log[0, :3], atol=2e-3)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)


def test_ratios_are_of_pairs():
    with seeded(1):
        network = Ratios(3, 2, members=2, classifier="resnet", hidden=8)
        data, theta = torch.randn(1, 3, 7), torch.randn(1, 2, 7)
    with torch.no_grad():
        found = network(data, theta)
        assert found.shape == (2, 7)
        assert torch.allclose(network(data[..., 2:3], theta[..., 2:3]), found[:, 2:3], atol=1e-6)


@pytest.fixture
def ctx(tmp_path):
    tile = Tile("t0", number=3, index=0)
    return Context(tile, np.random.default_rng(1), "cpu", logging.getLogger("test"), lambda done, total: None, tmp_path)


def simulations(number, seed=1):
    rng = np.random.default_rng(seed)
    theta = PRIOR.draw(rng, number)
    data = np.concatenate([theta + NOISE * rng.standard_normal(theta.shape), np.full((number, 1), 4.0)], axis=1).astype(np.float32)
    return Observations(data, np.arange(number, dtype=np.int64), "", ("x", "y", "c"), PRIOR.samples(theta))


OBSERVED = np.array([[0.2, 1.0, 4.0], [np.nan, 0.0, 4.0], [60.0, -60.0, 4.0], [1.3, 0.0, 4.0]], np.float32)
CASES = [(SbiPosterior, {"layers": 2, "members": 2}), (SbiLikelihood, {"layers": 2, "flow": "maf"}), (SbiRatio, {"hidden": 50})]


@pytest.mark.parametrize(("stage", "changes"), CASES, ids=[stage.name for stage, _ in CASES])
def test_posteriors_are_right_and_dirt_is_flagged(stage, changes, ctx, tmp_path, capsys, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    made = stage(stage.Config(**{**QUICK, **changes})).run(ctx, observations=Tiles(["t0"], lambda name: simulations(2000)))
    assert capsys.readouterr().out == ""
    assert not list(empty.iterdir())
    for product in made.values():
        product.check()
    curves = made["calibration"].curves["training"]
    assert len({len(column) for column in curves.values()}) == 1
    assert made["posterior_model"].card["calibration"]["verdict"] in {"calibrated", "overconfident", "underconfident", "biased"}

    made["posterior_model"].write(tmp_path / "model")
    observations = Observations(OBSERVED, np.array([11, 12, 13, 14]), "source", ("x", "y", "c"))
    began = time.process_time()
    found = Posterior(Posterior.Config(draws=400)).run(ctx, posterior_model=Model.read(tmp_path / "model"), observations=observations)
    assert time.process_time() - began < 5
    rows = found["posterior"].rows
    mean, std = (np.array(rows.column(name).to_pylist()) for name in ("mean", "std"))
    assert np.allclose(mean[0], [0.2, 1 / (1 + NOISE**2)], atol=0.12)
    assert np.allclose(std[0], [NOISE, NOISE / np.sqrt(1 + NOISE**2)], rtol=0.35)
    flags = np.array(rows.column("flags").to_pylist())
    assert flags[1] & SBI["INVALID_INPUT"]
    assert flags[2] & SBI["OUT_OF_DISTRIBUTION"]
    assert np.isnan(mean[1]).all()
    assert flags[3] & SBI["PRIOR_EDGE"]


def test_a_network_that_was_still_learning_is_told_of(ctx, caplog):
    SbiPosterior(SbiPosterior.Config(**{**QUICK, "epochs": 1, "layers": 1, "calibration": "off"})).run(
        ctx, observations=Tiles(["t0"], lambda name: simulations(200))
    )
    assert "network 1 was still learning after 1 epochs; raise `epochs`" in caplog.messages


def test_a_set_that_is_too_small_is_refused(ctx):
    with pytest.raises(DataError, match="sbi needs 20 simulations"):
        SbiPosterior().run(ctx, observations=Tiles(["t0"], lambda name: simulations(12)))


def test_it_stands_in_the_place_of_the_built_in_stage(run_pipeline):
    parameters = {"theta_1": {"uniform": [-1, 1]}, "theta_2": {"uniform": [-1, 1]}}
    prior = {"use": "sbi.prior", "number": 100, "parameters": parameters}
    stages = {
        "prior": prior,
        "moons": {"use": "simulate.two_moons", "in": "prior"},
        "infer": {"use": "sbi_package.npe", "in": "moons", "epochs": 5, "layers": 2, "tests": 20, "draws": 20},
        "truth": {**prior, "number": 3},
        "seen": {"use": "simulate.two_moons", "in": "truth"},
        "posterior": {"use": "sbi.posterior", "in": ["infer", "seen"], "draws": 50},
    }
    result = run_pipeline({"tiles": {"count": 2}, "seed": 1, "stages": stages})
    rows = result.read("posterior", "posterior", Catalog, tile="t0001").rows
    assert rows.column("method").to_pylist() == ["sbi_package.npe"] * 3
    assert np.isfinite(np.array(rows.column("mean").to_pylist())).all()


def test_a_second_round_learns_within_the_first_ones_posterior(run_pipeline, tmp_path):
    (tmp_path / "observed.csv").write_text("x_1,x_2\n0.1,0.05\n")
    learn = {"use": "sbi_package.npe", "epochs": 30, "layers": 3, "learning_rate": 5e-3, "calibration": "off"}
    stages = {
        "prior": {"use": "sbi.prior", "number": 400, "parameters": {f"theta_{k}": {"uniform": [-3, 3]} for k in (1, 2)}},
        "sims_1": {"use": "simulate.two_moons", "in": "prior"},
        "seen": {"use": "io.observations", "path": "observed.csv"},
        "first": {**learn, "in": "sims_1"},
        "narrower": {"use": "sbi.restrict", "in": {"posterior_model": "first", "target": "seen.observations"}},
        "left": {"use": "sbi.truncate", "in": "narrower", "number": 100},
        "sims_2": {"use": "simulate.two_moons", "in": "left"},
        "pool": {"use": "sbi.pool", "in": {"observations": "sims_2", "earlier": "sims_1.observations"}},
        "second": {**learn, "in": "pool"},
        "posterior": {"use": "sbi.posterior", "in": {"posterior_model": "second", "observations": "seen"}, "draws": 200},
    }
    result = run_pipeline({"tiles": {"count": 2}, "seed": 1, "stages": stages})
    narrowed, second = (result.read(stage, "posterior_model", Model) for stage in ("narrower", "second"))
    assert narrowed.card["truncated"]["volume"] < 0.8
    assert second.card["method"] == "sbi_package.npe"
    assert second.card["prior"] == narrowed.card["truncated"]["prior"]
    assert 200 < second.card["training"]["simulations"] < 1000
    posterior = result.read("posterior", "posterior", Catalog, tile="t0000")
    assert np.abs(np.array(posterior.column("mean")[0])).max() < 1
