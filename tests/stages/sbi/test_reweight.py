"""A likelihood that is known corrects what a flow got wrong, and says how wrong that was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrosurvey.catalog.flags import SBI
from astrosurvey.core.stage import DataError
from astrosurvey.products import Observations
from astrosurvey.stages.evaluate.posterior.stage import EvaluatePosterior
from astrosurvey.stages.sbi.estimator import Drawn
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.reweight import Reweighted
from astrosurvey.stages.sbi.simulators.gaussian_linear import VARIANCE, GaussianLinear
from astrosurvey.stages.sbi.simulators.gaussian_mixture import SpikeAndSlab
from astrosurvey.stages.sbi.simulators.lightcone import LightCone
from astrosurvey.stages.sbi.stage import NeuralPosterior, Posterior

from ..running import run, tiles_of

SIMULATOR = GaussianLinear()
PRIOR = Prior(tuple(sorted(SIMULATOR.usual_prior().marginals, key=lambda one: one.name)))  # theta_10 is second, as of sbi.prior
ORDER = [PRIOR.names.index(name) for name in GaussianLinear.parameters]


def simulations(number, seed):
    theta = PRIOR.draw(np.random.default_rng(seed), number)
    data = SIMULATOR.draw(theta[:, ORDER], seed)
    return Observations(data, np.arange(number), "", SIMULATOR.features, PRIOR.samples(theta), {"simulator": SIMULATOR.identity()})


def log_evidence(x):
    """Return the exact evidence: data are normal with the variances of prior and noise."""
    return (-0.25 * x.astype(float) ** 2 / VARIANCE - 0.5 * np.log(4 * np.pi * VARIANCE)).sum(axis=1)


@pytest.fixture(scope="module")
def poor():
    """A flow that has hardly been trained."""
    settings = {"members": 1, "layers": 2, "hidden": [16], "epochs": 6, "tests": 50, "draws": 20}
    return run(NeuralPosterior, settings, observations=tiles_of(t=simulations(1000, 1)))["posterior_model"]


def test_posterior_and_evidence_are_exact_though_the_flow_is_poor(poor):
    x = simulations(8, 2).data
    observations = Observations(np.concatenate([x, np.full_like(x[:1], np.nan)]), np.arange(9), "source", SIMULATOR.features)
    before, after = (
        run(Posterior, {"draws": 4000, "keep": 300, "reweight": on}, posterior_model=poor, observations=observations)
        for on in (False, True)
    )
    for product in after.values():
        product.check()
    assert poor.card["simulator"] == SIMULATOR.identity()

    def off(tables):
        mean, std = (np.array(tables["posterior"].rows.column(name).to_pylist())[:8] for name in ("mean", "std"))
        width = np.sqrt(VARIANCE / 2)
        return np.sqrt((((mean[:, ORDER] - x / 2) / width) ** 2).mean()), abs(std / width - 1).mean()

    assert min(off(before)) > 0.08
    assert max(off(after)) < 0.05
    table = after["posterior"]
    pull = (table.column("log_evidence")[:8] - log_evidence(x)) / table.column("log_evidence_err")[:8]
    assert np.sqrt((pull**2).mean()) < 2
    exact = -0.5 * len(PRIOR) * np.log(np.pi * VARIANCE)
    assert np.allclose(table.column("log_density")[:8], exact, atol=0.15)
    assert (table.column("pareto_k")[:8] < 0.7).all()
    assert ((table.column("n_effective")[:8] > 100) & (table.column("n_effective")[:8] < 4000)).all()
    assert not (table.column("flags")[:8] & SBI["LOW_EFFICIENCY"]).any()
    assert table.column("flags")[8] & SBI["INVALID_INPUT"]
    # What is kept are draws that weigh the same, in no order.
    kept = np.array(after["posterior_sample"].rows.column("parameters").to_pylist()).reshape(8, 300, -1)
    assert abs(kept.std(axis=1).mean() / np.sqrt(VARIANCE / 2) - 1) < 0.1
    said = after["posterior_sample"].column("log_likelihood").reshape(8, 300)
    assert np.allclose(said[3], SIMULATOR.log_likelihood(kept[3][:, ORDER], x[3]))


class Beside:
    """Draws of a normal distribution that is not the posterior."""

    prior = PRIOR

    def __init__(self, shift):
        self.shift = shift

    def posterior(self, x, draws, rng, first=0):
        theta = self.shift + np.sqrt(VARIANCE) * rng.standard_normal((len(x), draws, len(PRIOR)))
        return Drawn(theta, self.log_prob(theta, x), np.ones(len(x)), np.full(len(x), np.nan), np.zeros(len(x)))

    def log_prob(self, theta, x):
        return (-0.5 * (theta - self.shift) ** 2 / VARIANCE - 0.5 * np.log(2 * np.pi * VARIANCE)).sum(axis=-1)


def test_the_effective_number_tells_how_far_off_the_flow_is():
    x = 0.5 * simulations(5, 3).data  # near the middle of the prior, from which the draws are
    near, far = (Reweighted(Beside(shift), SIMULATOR).posterior(x, 2000, np.random.default_rng(1)) for shift in (0.0, 1.0))
    assert (near.importance.effective > 3 * far.importance.effective).all()
    assert np.allclose(near.log_evidence, log_evidence(x), atol=0.3)


def test_draws_that_explain_nothing_are_left_as_they_are(monkeypatch):
    monkeypatch.setattr(GaussianLinear, "log_likelihood", lambda self, theta, data: np.full(len(theta), np.nan))
    found = Reweighted(Beside(0.0), SIMULATOR).posterior(simulations(2, 3).data, 50, np.random.default_rng(1))
    assert found.importance.effective.tolist() == [0, 0]
    assert np.isnan(found.log_evidence).all()
    assert np.isfinite(found.theta).all()


def test_an_answer_does_not_depend_on_who_else_is_asked(poor):
    x = simulations(3, 4).data
    few, many = (
        run(Posterior, {"draws": 500, "reweight": True}, posterior_model=poor, observations=Observations(some, np.arange(len(some))))
        for some in (x[:1], x)
    )
    assert few["posterior"].column("log_evidence")[0] == pytest.approx(many["posterior"].column("log_evidence")[0], abs=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"simulator": {}}, "which is not installed here"),
        ({"simulator": {"name": "sbi.prior"}}, "which is not installed here"),
        ({"simulator": {"name": "simulate.stream", "version": 1}}, "has no formula for its likelihood"),
        ({"simulator": {"name": "simulate.gaussian_linear", "version": 7}}, "train anew"),
        ({"simulator": {**SIMULATOR.identity(), "settings": {"a": 1}}}, "does not know the settings"),
        ({"simulator": {**SIMULATOR.identity(), "digest": "f00d"}}, "source of simulate.gaussian_linear has changed"),
        ({"simulator": {**SIMULATOR.identity(), "files": ["f00d"]}}, "reads files, which the model's card does not hold"),
        ({"simulator": SpikeAndSlab().identity()}, "takes theta_1, theta_2"),
        ({"data": {"shape": [10], "names": [f"summary_{k}" for k in range(10)]}}, "without summaries between"),
        ({"prior": [m | {"kind": "joint", "args": [-2, 2]} for m in PRIOR.to_json()]}, "has none"),
    ],
)
def test_where_there_is_no_likelihood_it_says_so(poor, change, said):
    observations = Observations(simulations(1, 2).data, np.arange(1))
    with pytest.raises(DataError, match=said):
        run(Posterior, {"reweight": True}, posterior_model=replace(poor, card={**poor.card, **change}), observations=observations)


def test_one_observation_is_like_many():
    for simulator, settings in ((SpikeAndSlab, {}), (LightCone, {"shape": [4, 4, 4]})):
        stage = simulator(simulator.Config.model_validate(settings))
        theta = stage.usual_prior().draw(np.random.default_rng(1), 6)
        one = stage.draw(theta[:1], 1)[0].astype(float)
        assert np.allclose(stage.likelihood_of(one)(theta), stage.log_likelihood(theta, one))


def test_scores_know_which_posterior_is_better(poor):
    """The log score of exact posteriors is minus their entropy, and what is known beyond the prior half a bit for each parameter."""
    seen = simulations(60, 7)
    scores = []
    for on in (False, True):
        tables = run(Posterior, {"draws": 400, "reweight": on}, posterior_model=poor, observations=seen)
        inputs = {name: tiles_of(t=table) for name, table in {**tables, "observations": seen}.items()}
        scores.append(run(EvaluatePosterior, posterior_model=poor, **inputs)["metrics"])
    before, after = scores
    entropy = 0.5 * len(PRIOR) * np.log(np.pi * np.e * VARIANCE)
    assert after["log_score"].value == pytest.approx(-entropy, abs=4 * after["log_score"].error)
    assert after["log_score"].value > before["log_score"].value + 0.2
    assert after["information"].value == pytest.approx(0.5 * len(PRIOR) * np.log(2), abs=4 * after["information"].error)
    assert after.meta["regions"] == "highest density of the model"
