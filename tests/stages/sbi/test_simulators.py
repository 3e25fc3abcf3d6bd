"""Simulators: what the base promises, likelihoods that agree with the data, and references that agree with the published ones."""

from __future__ import annotations

import bz2
from typing import ClassVar

import numpy as np
import pytest
from scipy import stats

from astrosurvey import DataError, PipelineError, Simulator, load
from astrosurvey.products import Samples
from astrosurvey.stages.sbi.rows import RowRandom
from astrosurvey.stages.sbi.simulators import gaussian_linear, lotka_volterra, sir, slcp
from astrosurvey.stages.sbi.simulators.gaussian_linear import GaussianLinear
from astrosurvey.stages.sbi.simulators.gaussian_mixture import SpikeAndSlab
from astrosurvey.stages.sbi.simulators.lotka_volterra import LotkaVolterra
from astrosurvey.stages.sbi.simulators.ode import integrate
from astrosurvey.stages.sbi.simulators.sir import Sir
from astrosurvey.stages.sbi.simulators.slcp import Slcp
from astrosurvey.stages.sbi.simulators.two_moons import TwoMoons

from ..running import run

BENCHMARK = [TwoMoons, Slcp, GaussianLinear, SpikeAndSlab, Sir, LotkaVolterra]
by_name = pytest.mark.parametrize("simulator", BENCHMARK, ids=lambda cls: cls.name)


def drawn(simulator, number, seed=0):
    theta = simulator.usual_prior().draw(np.random.default_rng(seed), number)
    return theta, simulator().draw(theta, seed).astype(float)


class Sometimes(Simulator):
    """Fail now and then."""

    name: ClassVar[str] = "test.sometimes"
    parameters: ClassVar = {"a": "", "speed": "km/s"}

    def at_once(self):
        return 4

    def simulate(self, theta, random):
        data = theta[:, :1] + 1e-3 * random.normal(3) + 1e-3 * random.uniform(3)
        data[theta[:, 0] < -1] = np.inf
        data[(theta[:, 0] >= -1) & (theta[:, 0] < 0), 1] = np.nan
        return data


class TestBase:
    def samples(self, **changes):
        draws = np.stack([np.arange(9.0), np.linspace(-2, 2, 9)], axis=1)
        return Samples(draws, **{"parameters": ("speed", "a"), "units": ("km s-1", ""), **changes})

    def test_columns_go_by_name_and_failures_are_kept_and_counted(self):
        samples = self.samples()
        made = run(Sometimes, parameters=samples)["observations"]
        assert made.parameters is samples
        assert np.allclose(made.data[5:, 0], samples.draws[5:, 1], atol=0.01)
        assert np.isnan(made.data).all(axis=1).tolist() == [True] * 2 + [False] * 7
        assert np.isnan(made.data[2:4]).tolist() == [[False, True, False]] * 2
        assert made.meta["failed"] == 2
        assert made.meta["simulator"] == Sometimes().identity()
        assert {**made.meta["simulator"], "digest": ""} == {"name": "test.sometimes", "version": 1, "settings": {}, "digest": ""}
        assert len(set(made.ids.tolist())) == 9

    @pytest.mark.parametrize(
        ("members", "said"),
        [
            ({}, "has no method `simulate`"),
            ({"simulate": lambda self, theta, random: theta[:, 0]}, r"must return \(9, …\) for 9 rows of theta, not \(9,\)"),
            ({"simulate": lambda self, theta, random: theta[1:]}, r"must return \(9, …\)"),
            ({"simulate": lambda self, theta, random: theta, "features": ("x",)}, "names 1 features, and simulate gives 2"),
            ({"parameters": {"speed": "dogs", "a": ""}}, "declares 'speed' in a unit that is none: 'dogs'"),
        ],
    )
    def test_an_author_is_told_what_is_wrong_with_the_class(self, members, said):
        rest = {"__doc__": "Simulate.", "name": "test.wrong", "version": 1, "scope": "tile", "parameters": Sometimes.parameters}
        with pytest.raises(DataError, match=said):
            run(type("Wrong", (Simulator,), {**rest, **members}), parameters=self.samples())

    def test_what_does_not_agree_is_refused(self):
        with pytest.raises(DataError, match="no parameter 'sped'; did you mean 'speed'"):
            run(Sometimes, parameters=self.samples(parameters=("sped", "a")))
        with pytest.raises(DataError, match="takes 'speed' in 'km/s', and it is drawn in 'm/s'"):
            run(Sometimes, parameters=self.samples(units=("m/s", "")))
        with pytest.raises(DataError, match="needs a draw of 'speed'"):
            run(Sometimes, parameters=Samples(np.ones((2, 1)), ("a",), ("",)))

    @pytest.mark.parametrize(
        ("parameters", "message", "hint"),
        [
            ({"contact_rat": {"uniform": [0, 1], "unit": "d**-1"}}, "no parameter 'contact_rat'", "did you mean 'contact_rate'"),
            ({}, "needs a draw of 'contact_rate'", "sbi.prior"),
            (
                {"contact_rate": {"uniform": [0, 1], "unit": "h**-1"}},
                "takes 'contact_rate' in 'd**-1', and it is drawn in 'h**-1'",
                "correct `unit`",
            ),
        ],
    )
    def test_a_prior_that_does_not_fit_is_seen_before_anything_runs(self, parameters, message, hint):
        stages = {
            "prior": {"use": "sbi.prior", "parameters": {"recovery_rate": {"uniform": [0, 1], "unit": "1/d"}, **parameters}},
            "sims": {"use": "simulate.sir", "in": "prior"},
        }
        with pytest.raises(PipelineError) as caught:
            load({"astrosurvey": 1, "tiles": {"count": 1}, "stages": stages})
        assert any(p.path == "stages.sims.in" and message in p.message and hint in p.hint for p in caught.value.problems)

    def test_random_numbers_belong_to_the_row(self):
        whole, part = RowRandom(5, 0, 9), RowRandom(5, 3, 7)
        for ask in (lambda r: r.normal(2), lambda r: r.uniform(3, 1), lambda r: r.poisson(np.full((len(r), 2), 3.0))):
            assert np.array_equal(ask(whole)[3:7], ask(part))
        assert not np.array_equal(part.normal(1), part.normal(1))
        assert stats.kstest(RowRandom(1, 0, 4000).normal(1)[:, 0], "norm").pvalue > 1e-3

    def test_likelihoods_are_announced(self):
        assert not Sometimes.has_likelihood()
        assert all(simulator.has_likelihood() for simulator in BENCHMARK)


EXACT = [TwoMoons, Slcp, GaussianLinear, SpikeAndSlab]


@pytest.mark.parametrize("simulator", EXACT, ids=lambda cls: cls.name)
def test_the_reference_is_the_posterior(simulator):
    """Draws of parameters and data from the joint distribution: the parameters' rank among draws of the posterior is even.

    This needs both the simulator and the reference to be right, whatever the likelihood says.
    """
    count, draws = 16, 60
    theta, data = drawn(simulator, count, seed=5)
    rng = np.random.default_rng(6)
    ranks = np.array([(simulator().reference(x, draws, rng) < t).mean(axis=0) for x, t in zip(data, theta, strict=True)])
    assert np.all([stats.kstest(rank, "uniform").pvalue > 1e-3 for rank in ranks.T])


@pytest.mark.parametrize("simulator", [Sir, LotkaVolterra], ids=lambda cls: cls.name)
def test_posteriors_are_found_by_tempering(simulator):
    theta, data = drawn(simulator, 1, seed=2)
    rng = np.random.default_rng(3)
    proposal = simulator().proposal(data[0], rng)
    weighted = proposal.weighted(1000, rng)
    assert weighted.effective > 600
    found = weighted.accepted(rng)
    assert np.all(np.abs(found.mean(axis=0) - theta[0]) < 4 * found.std(axis=0))


@by_name
def test_the_likelihood_is_that_of_the_data(simulator):
    """The expectation of L(other)/L(true) over data of the true parameters is one, where they overlap."""
    theta, _ = drawn(simulator, 4)
    theta = np.repeat(theta[3:], 1000, axis=0)
    data = simulator().draw(theta, 3).astype(float)
    near = theta * (1 + (0.002 if simulator in (TwoMoons, Slcp, LotkaVolterra) else 0.01))
    ratio = np.exp(simulator().log_likelihood(near, data) - simulator().log_likelihood(theta, data))
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / len(ratio) ** 0.5 + 0.01


def test_equations_are_solved():
    theta = np.array([[1.0], [30.0]])
    out = integrate(lambda y, p: np.stack([y[:, 1], -(p[:, 0] ** 2) * y[:, 0]], axis=1), np.array([1.0, 0.0]), np.linspace(0, 2, 5), theta)
    assert np.allclose(out[:, :, 0], np.cos(theta * np.linspace(0, 2, 5)), atol=2e-4)
    blown = integrate(lambda y, p: y**2, np.array([1.0]), np.array([0, 0.5, 2.0]), np.ones((1, 1)), steps=200)
    assert np.isclose(blown[0, 1, 0], 2)
    assert np.isnan(blown[0, 2, 0])


# Parameters and data of sbibm 1.1.0 (MIT, Lueckmann et al. 2021), observations 1 and 3 of sir, 1 and 2 of lotka_volterra.
SIR = [
    ([0.61479264, 0.19172086], [0, 1, 352, 40, 3, 0, 0, 0, 0, 0]),
    ([0.7916269, 0.11864327], [0, 72, 232, 34, 2, 0, 0, 0, 0, 0]),
]
PREDATION = [
    (
        [0.6859157, 0.10761319, 0.88789904, 0.116794825],
        [
            31.783262,
            1.1971166,
            0.29703617,
            0.71145046,
            2.9415865,
            11.482614,
            36.09036,
            0.46229604,
            0.38081983,
            0.9173736,
            0.8910395,
            27.039942,
            4.356176,
            0.78444487,
            0.17100818,
            0.1325878,
            8.727008,
            16.97251,
            2.7902339,
            0.47567415,
        ],
    ),
    (
        [0.52359414, 0.04218707, 1.0599382, 0.11769616],
        [
            30.08668,
            2.746265,
            0.5838125,
            1.142794,
            3.2575288,
            8.075945,
            23.771442,
            5.4086976,
            0.4585322,
            0.987719,
            0.91488636,
            66.98573,
            10.695971,
            1.1389576,
            0.2448028,
            0.10622074,
            0.6781424,
            62.156113,
            12.377046,
            1.5941441,
        ],
    ),
]


def test_published_observations_are_within_their_noise():
    for theta, data in SIR:
        share = sir.infected(np.array([theta]))[0]
        assert np.all(np.abs(data - 1000 * share) < 4 * np.sqrt(1000 * share * (1 - share)) + 1e-2)
    for theta, data in PREDATION:
        z = (np.log(data) - lotka_volterra.log_numbers(np.array([theta]))[0]) / lotka_volterra.SCATTER
        assert 0.5 < np.sqrt(np.mean(z**2)) < 1.6


def test_constants_are_those_of_the_benchmark():
    assert (gaussian_linear.DIMENSION, gaussian_linear.VARIANCE) == (10, 0.1)
    assert len(sir.DAYS) == 10
    assert np.isclose(lotka_volterra.TIMES[-1], 18.9)
    xx, xy, yy = slcp.covariance(np.array([[2.0, -1.0, 0.5]]))
    assert np.allclose([xx[0], xy[0], yy[0]], [16, 4 * np.tanh(0.5), 1], atol=2e-6)


@pytest.mark.real
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("simulator", [TwoMoons, Slcp], ids=lambda cls: cls.name)
def test_references_are_those_of_the_benchmark(simulator, number, real_data):
    folder = real_data / "sbibm" / simulator.name.partition(".")[2] / f"num_observation_{number}"
    observed = np.loadtxt(folder / "observation.csv", delimiter=",", skiprows=1)
    with bz2.open(folder / "reference_posterior_samples.csv.bz2", "rt") as file:
        theirs = np.loadtxt(file, delimiter=",", skiprows=1)
    ours = simulator().reference(observed, 4000, np.random.default_rng(number))
    # Each parameter, its size, and every sum and difference of two, as the correlations show in them.
    i, j = np.triu_indices(ours.shape[1], 1)
    for a, b in zip(*(np.concatenate([t, np.abs(t), t[:, i] + t[:, j], t[:, i] - t[:, j]], axis=1).T for t in (ours, theirs)), strict=True):
        assert stats.ks_2samp(a, b).pvalue > 1e-3
    if simulator is Slcp:
        assert Slcp().weighted(observed, 20_000, np.random.default_rng(0)).effective > 1000
