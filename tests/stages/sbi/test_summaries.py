"""Moment networks learn means and spreads; sets may have missing rows; summaries do not depend on the position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrosurvey import DataError, Observations
from astrosurvey.catalog.flags import SBI
from astrosurvey.stages.sbi import data as data_module
from astrosurvey.stages.sbi.data import Simulations
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.scaling import ParameterScaling
from astrosurvey.stages.sbi.stage import Posterior
from astrosurvey.stages.sbi.summaries.blocks import summarised
from astrosurvey.stages.sbi.summaries.moments_stage import Summarise, TrainMoments
from astrosurvey.stages.sbi.summaries.normal import NormalPosterior
from astrosurvey.stages.sbi.summaries.scale import FieldScaling

from ..running import context, run, tiles_of

PRIOR = Prior.declared({"level": {"uniform": [-1, 1]}, "strength": {"log_uniform": [0.5, 2]}})


def observed(count, shape, rng):
    """Return noise about a level."""
    theta = PRIOR.draw(rng, count)
    level, strength = theta.T.reshape(2, count, *[1] * len(shape))
    data = (level + strength * rng.normal(size=(count, *shape))).astype(np.float32)
    return Observations(data, np.arange(count), "", (), PRIOR.samples(theta), {})


@pytest.mark.parametrize(
    ("network", "shape", "symmetry"),
    [("perceptron", (12,), "none"), ("convolutions", (4, 4, 4), "torus"), ("deep_set", (40, 1), "none")],
)
def test_means_and_spreads_are_learnt(network, shape, symmetry):
    settings = {"network": network, "symmetry": symmetry, "features": 4, "epochs": 20, "batch": 64, "learning_rate": 4e-3}
    made = run(TrainMoments, settings, observations=tiles_of(t=observed(1200, shape, np.random.default_rng(1))))
    scores = {metric.name: metric.value for metric in made["metrics"].values}
    # 12 numbers fix the level to 0.3 and the logarithm of the strength to 0.2 of its unit; 40 and 64 do better.
    assert scores["explained_level"] > 0.6
    assert scores["explained_strength"] > 0.6
    for name in ("within_level", "within_strength"):
        assert 0.4 < scores[name] < 0.95  # 60 tests: two standard deviations of .06 about .68, and as much for what is yet to learn


def test_a_moment_network_gives_posteriors_that_are_tested():
    rng = np.random.default_rng(6)
    settings = {"features": 4, "epochs": 15, "learning_rate": 4e-3, "keep_back": 0.3, "draws": 50}
    made = run(TrainMoments, settings, observations=tiles_of(t=observed(1000, (12,), rng)))
    assert made["metrics"]["tests"].value > 100
    assert made["metrics"].meta["calibration"]["verdict"] == made["summary_model"].card["calibration"]["verdict"]
    seen = observed(40, (12,), rng)
    data = seen.data.copy()
    data[3, 0] = np.nan
    data[4] += 100
    asked = replace(seen, data=data)
    found = run(Posterior, {"draws": 400, "keep": 2}, posterior_model=made["summary_model"], observations=asked)
    table = found["posterior"]
    mean, std, levels = (np.array(table.rows.column(name).to_pylist()) for name in ("mean", "std", "quantiles"))
    good = np.delete(np.arange(40), [3, 4])
    # Normal within the prior, so strengths are positive, and their quantiles rise.
    assert (levels.reshape(40, 2, 5)[good, 1] > 0.5).all()
    assert (np.diff(levels.reshape(40, 2, 5)[good], axis=2) > 0).all()
    apart = (seen.parameters.draws[good] - mean[good]) / std[good]
    assert (np.abs(apart.std(axis=0) - 1) < 0.5).all()  # 40 tests scatter by .11, and the network is learnt in a moment
    flags = table.column("flags")
    assert flags[3] & SBI["INVALID_INPUT"]
    assert np.isnan(mean[3]).all()
    assert flags[4] & SBI["OUT_OF_DISTRIBUTION"]
    assert found["likeness"]["observations"].value == 40
    assert found["likeness"]["unlike"].value == pytest.approx(((flags & SBI["OUT_OF_DISTRIBUTION"]) > 0).sum() / 39)


def test_a_normal_posterior_ends_where_the_prior_does():
    estimator, rng = NormalPosterior(ParameterScaling(PRIOR)), np.random.default_rng(7)
    x = np.array([[0.0, 0.0, 0.1, 0.2], [3.0, 0.5, 1.0, 0.1], [np.nan] * 4])
    drawn = estimator.posterior(x, 4000, rng)
    assert PRIOR.inside(drawn.theta[:2]).all()
    assert np.isnan(drawn.theta[2]).all()
    z = ParameterScaling(PRIOR).to_flow(drawn.theta)
    np.testing.assert_allclose(z[0].mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(z[0].std(axis=0), [0.1, 0.2], rtol=0.06)
    # Of a mean 1.27 standard deviations beyond the end, a tenth of the posterior is left.
    assert drawn.acceptance[1] == pytest.approx(0.102, abs=2e-3)
    # Densities less what they integrate to are those of the draws: their mean exponential is one over the density's volume.
    within = np.stack(np.meshgrid(np.linspace(-1, 1, 201), np.geomspace(0.5, 2, 201), indexing="ij"), axis=-1).reshape(1, -1, 2)
    density = np.exp(estimator.log_prob(within, x[1:2])[0] - drawn.log_scale[1])
    area = 2 / 200 * np.log(4) / 200 * within[0, :, 1]
    assert (density * area).sum() == pytest.approx(1, abs=0.02)
    assert estimator.log_prob(np.array([[[2.0, 1.0]]]), x[:1])[0, 0] == -np.inf
    np.testing.assert_array_equal(
        estimator.sample(x[:1], 5, np.random.default_rng(3)), estimator.sample(x, 5, np.random.default_rng(3))[:1]
    )


def test_a_normal_posterior_far_beyond_the_prior_is_at_the_end_that_it_is_beyond():
    prior = Prior.declared({"level": {"uniform": [0, 1]}})
    scale = ParameterScaling(prior)
    estimator, (low, high) = NormalPosterior(scale), scale.to_flow(np.array([[0.0], [1.0]]))[:, 0]
    spread, far = 0.05, np.array([10.0, 50.0])
    x = np.stack([np.concatenate([low - far * spread, high + far * spread]), np.full(4, spread)], axis=1)
    drawn = estimator.posterior(x, 500, np.random.default_rng(1))
    # Beyond n standard deviations a normal distribution falls off as an exponential, on a scale of an nth of one.
    apart = np.abs(drawn.theta[..., 0] - np.array([0, 0, 1, 1])[:, None])
    np.testing.assert_allclose(apart.mean(axis=1), spread / (high - low) / np.tile(far, 2), rtol=0.15)
    np.testing.assert_allclose(drawn.log_scale, -0.5 * np.tile(far, 2) ** 2 - np.log(np.tile(far, 2) * np.sqrt(2 * np.pi)), atol=0.02)
    assert (drawn.acceptance < 1e-20).all()


def test_sets_may_have_missing_rows():
    observations = observed(60, (10, 2), np.random.default_rng(2))
    data = observations.data.copy()
    data[::2, 6:] = np.nan
    data[5] = np.nan
    gappy = Observations(data, observations.ids, "", (), observations.parameters, {})
    model = run(
        TrainMoments,
        {"network": "deep_set", "features": 3, "epochs": 1, "keep_back": 0.2, "max_missing": 0.1},
        observations=tiles_of(t=gappy),
    )["summary_model"]
    said = run(Summarise, {}, summary_model=model, observations=gappy)["observations"].data
    assert np.isnan(said[5]).all()
    assert np.isfinite(np.delete(said, 5, axis=0)).all()
    flags = run(Posterior, {}, posterior_model=model, observations=gappy)["posterior"].column("flags")
    assert np.flatnonzero(flags & SBI["INVALID_INPUT"]).tolist() == [5]


def test_sets_of_other_sizes_are_answered_and_strange_sizes_are_flagged():
    """An observed set has as many rows as there happen to be; those that are left over change nothing."""
    rng = np.random.default_rng(8)
    simulated = observed(700, (12, 2), rng)
    data = simulated.data.copy()
    data[np.arange(12) >= rng.integers(4, 13, 700)[:, None]] = np.nan
    sets = replace(simulated, data=data, names=("x", "y"))
    settings = {"network": "deep_set", "features": 3, "epochs": 2, "keep_back": 0.4, "calibration": "off"}
    model = run(TrainMoments, settings, observations=tiles_of(t=sets))["summary_model"]
    few = replace(sets, data=data[:5, :4].copy(), ids=np.arange(5), parameters=None)
    more = replace(few, data=np.full((5, 40, 2), np.nan, np.float32))
    more.data[:, 7:39:8] = few.data[:, ::-1]
    said = [run(Summarise, {}, summary_model=model, observations=seen)["observations"].data for seen in (few, more)]
    np.testing.assert_allclose(*said, atol=1e-5)
    many = replace(few, data=rng.normal(size=(5, 40, 2)).astype(np.float32))
    flags = [run(Posterior, {}, posterior_model=model, observations=seen)["posterior"].column("flags") for seen in (more, many)]
    assert not (flags[0] & SBI["OUT_OF_DISTRIBUTION"]).any()
    assert (flags[1] & SBI["OUT_OF_DISTRIBUTION"]).all()
    for wrong, message in ((replace(few, names=("y", "x")), "the observations' features are y, x"), (observed(3, (12, 3), rng), "shape")):
        with pytest.raises(DataError, match=message):
            run(Posterior, {}, posterior_model=model, observations=wrong)
        with pytest.raises(DataError, match=message):
            run(Summarise, {}, summary_model=model, observations=wrong)


@pytest.mark.parametrize("symmetry", ["mirror", "square"])
def test_summaries_do_not_depend_on_the_position(symmetry):
    images = observed(50, (8, 8), np.random.default_rng(3))
    settings = {"features": 3, "epochs": 1, "keep_back": 0.2, "symmetry": symmetry}
    model = run(TrainMoments, settings, observations=tiles_of(t=images))["summary_model"]
    turned = np.ascontiguousarray(images.data[..., ::-1] if symmetry == "mirror" else images.data.swapaxes(-1, -2)[..., ::-1])
    straight, other = (
        run(Summarise, {}, summary_model=model, observations=Observations(data, images.ids))["observations"].data
        for data in (images.data, turned)
    )
    np.testing.assert_allclose(straight, other, atol=1e-5)


def test_channels_are_scaled_each_for_itself():
    rng = np.random.default_rng(4)
    data = (rng.normal(size=(30, 2, 5)) * np.array([1, 1000])[:, None]).astype(np.float32)
    scaling = FieldScaling.learnt(data, 0)
    seen = scaling(data)
    assert seen.shape == data.shape
    np.testing.assert_allclose(seen.std(axis=(0, 2)), 1, rtol=0.1)
    np.testing.assert_array_equal(FieldScaling.from_card(scaling.to_card())(data), seen)
    assert FieldScaling.learnt(data, None)(data).std(axis=(0, 2))[0] < 0.1


def test_a_block_more_or_less_changes_nothing(tmp_path):
    images = observed(7, (4, 4), np.random.default_rng(5))
    asked = []

    def summarise(block):
        asked.append(len(block))
        return block.reshape(len(block), -1)[:, :2]

    halved = replace(context(None, tmp_path), batch=1e-7)
    few = summarised(halved, images, ("a", "b"), summarise)
    assert len(asked) > 1
    np.testing.assert_array_equal(few.data, images.data.reshape(7, -1)[:, :2])


@pytest.mark.parametrize(("settings", "shape"), [({}, (70,)), ({"channels": True}, (2, 70)), ({"network": "deep_set"}, (8, 8))])
def test_a_symmetry_that_would_mix_bands_or_columns_is_refused(settings, shape):
    with pytest.raises(DataError, match="neither lines nor sets"):
        run(TrainMoments, {"symmetry": "mirror", **settings}, observations=tiles_of(t=observed(30, shape, np.random.default_rng(1))))


def test_a_validation_reads_large_data_piece_by_piece(monkeypatch):
    monkeypatch.setattr(data_module, "BLOCK", 36)

    read, take = [], Simulations.take
    monkeypatch.setattr(Simulations, "take", lambda self, rows: read.append(len(rows)) or take(self, rows))
    settings = {"features": 2, "epochs": 1, "batch": 90, "keep_back": 0.9, "calibration": "off"}
    run(TrainMoments, settings, observations=tiles_of(t=observed(300, (12,), np.random.default_rng(1))))
    assert {2, 3} <= {*read}
    assert [rows for rows in read if rows > 3] == [36]  # the one step of training


def test_data_of_unknown_parameters_are_refused():
    with pytest.raises(DataError, match="parameters"):
        run(TrainMoments, {}, observations=tiles_of(t=Observations(np.ones((3, 4), np.float32), np.arange(3))))
