"""Rounds by any estimator: the prior is cut to where posteriors lie, and no further."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from astrosurvey import Context, DataError, Observations, Tile, Tiles
from astrosurvey.stages.sbi.estimator import Drawn, PosteriorFlow
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.rounds.box import Box
from astrosurvey.stages.sbi.rounds.stage import PoolSimulations, Restrict, Truncate
from astrosurvey.stages.sbi.stage import NeuralPosterior, Posterior

NOISE = 0.1
PRIOR = Prior.declared({"slope": {"uniform": [-5, 5]}, "zero": {"normal": [0, 1]}})
SMALL = {"members": 2, "layers": 3, "hidden": [32], "epochs": 16, "tests": 60, "draws": 50}


@pytest.fixture(scope="module")
def ctx(tmp_path_factory):
    tile, scratch = Tile("t0", number=3, index=0), tmp_path_factory.mktemp("scratch")
    return Context(tile, np.random.default_rng(1), "cpu", logging.getLogger("test"), lambda done, total: None, scratch)


def simulations(number, seed=1, prior=PRIOR):
    """Each parameter and noise."""
    rng = np.random.default_rng(seed)
    theta = prior.draw(rng, number)
    data = (theta + NOISE * rng.standard_normal(theta.shape)).astype(np.float32)
    return Observations(data, np.arange(number, dtype=np.int64), "", ("x", "y"), prior.samples(theta))


def gathered(*parts):
    return Tiles([f"t{k}" for k in range(len(parts))], lambda name: parts[int(name[1:])])


def learnt(ctx, part, **changes):
    return NeuralPosterior(NeuralPosterior.Config(**{**SMALL, **changes})).run(ctx, observations=gathered(part))["posterior_model"]


def test_the_box_of_draws_holds_the_dense_ones():
    rng = np.random.default_rng(1)
    places = 0.5 + 0.05 * rng.standard_normal((20_000, 2)) * [1, 0.5]
    log = -0.5 * (((places - 0.5) / [0.05, 0.025]) ** 2).sum(axis=1)
    places[:10] = 0.01  # what a network dreams of far away, and knows to be thin there
    log[:10] = -100.0
    box = Box.of_draws(places, log, 1e-3, 0.0)
    radius = np.sqrt(-2 * np.log(1e-3))  # of the circle that holds all but a thousandth
    assert np.allclose(box.kept, 2 * radius * np.array([0.05, 0.025]), rtol=0.05)
    wider = Box.of_draws(places, log, 1e-3, 0.1)
    assert np.allclose(wider.kept, 1.2 * box.kept)
    assert Box.of_draws(places, log, 0.0, 0.1).low.tolist() == pytest.approx([0.0, 0.0])


def test_a_second_round_finds_a_posterior_that_is_known(ctx):
    seen = Observations(np.array([[1.3, 0.4], [np.nan, 0.0]], np.float32), np.array([5, 6]), "source", ("x", "y"))
    first = learnt(ctx, simulations(1000), calibration="off")
    narrowed = Restrict().run(ctx, posterior_model=first, target=gathered(seen))["posterior_model"]
    narrowed.check()
    card = narrowed.card["truncated"]
    left = Prior.from_json(card["prior"])
    assert left.cut_of(PRIOR)
    assert left.inside(np.array([1.3, 0.4]))
    assert card["volume"] < 0.25
    assert card["observations"] == 1
    low, high = left.bounds
    assert np.all(low < [1.3 - 3 * NOISE, 0.4 - 3 * NOISE])
    assert np.all(high > [1.3 + 3 * NOISE, 0.4 + 3 * NOISE])

    again = Truncate(Truncate.Config(number=800)).run(ctx, posterior_model=narrowed)["parameters"]
    assert Prior.of(again) == left
    pool = PoolSimulations().run(ctx, observations=simulations(800, 2, left), earlier=simulations(1000))["observations"]
    assert len(pool) > 800
    second = learnt(ctx, pool, keep_back=0.2)
    assert second.card["calibration"]["verdict"] == "calibrated"
    exact = np.array([NOISE, NOISE / np.sqrt(1 + NOISE**2)])
    assert np.all(np.abs(np.log(width(ctx, second, seen) / exact)) < 0.25)


def width(ctx, model, seen):
    """Return half the distance between the quantiles of 84 % and 16 %, by parameter."""
    found = Posterior(Posterior.Config(draws=2000)).run(ctx, posterior_model=model, observations=seen)["posterior"]
    quantiles = np.array(found.column("quantiles")[0]).reshape(2, 5)
    return (quantiles[:, 3] - quantiles[:, 1]) / 2


def test_what_cannot_be_cut_is_refused(ctx, monkeypatch):
    model = learnt(ctx, simulations(100), epochs=1, calibration="off")
    seen, blind = (Observations(np.full((1, 2), x, np.float32), np.array([5]), "source", ("x", "y")) for x in (0.0, np.nan))
    joint = [{"name": name, "unit": "", "kind": "joint", "args": [-5, 5]} for name in ("slope", "zero")]
    with pytest.raises(DataError, match="which a joint prior does not allow"):
        Restrict().run(ctx, posterior_model=replace(model, card={**model.card, "prior": joint}), target=gathered(seen))
    with pytest.raises(DataError, match="every observation of `target` has missing values"):
        Restrict().run(ctx, posterior_model=model, target=gathered(blind))

    def beyond(self, x, draws, rng):
        nowhere = np.full((len(x), draws, 2), np.nan)
        return Drawn(nowhere, nowhere[..., 0], *np.zeros((3, len(x))))

    monkeypatch.setattr(PosteriorFlow, "posterior", beyond)
    with pytest.raises(DataError, match="of 10000 draws of a posterior 0 are within the prior"):
        Restrict().run(ctx, posterior_model=model, target=gathered(seen))
