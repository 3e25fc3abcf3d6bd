"""Calibration of posteriors: uniform places, one p-value for all tests, the verdict, and what goes into products."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from astrosurvey.products import Metrics
from astrosurvey.stages.sbi.calibration import curves
from astrosurvey.stages.sbi.calibration.calibrate import calibrate
from astrosurvey.stages.sbi.calibration.check import ALPHA, Calibration, check
from astrosurvey.stages.sbi.calibration.places import places, spread
from astrosurvey.stages.sbi.calibration.product import of_metrics, to_metrics
from astrosurvey.stages.sbi.calibration.uniform import kolmogorov

from .gaussians import Gaussian, simulated

TRIALS, TESTS = 20, 200


def verdicts(d, *, trials=TRIALS, tests=TESTS, seed=0, **wrong):
    """Return the calibrations of an estimator by several independent sets of tests."""
    made = []
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial])
        theta, x = simulated(rng, tests, d)
        made.append(calibrate(Gaussian(**wrong), theta, x, names=[f"t{k}" for k in range(d)], rng=rng, draws=40))
    return made


class TestVerdict:
    @pytest.mark.parametrize("d", [2, 5])
    def test_right_posteriors_pass(self, d):
        # With a false alarm in a hundred, more than one in twenty happens in 1.7 % of all such tests; the seeds are fixed.
        made = verdicts(d)
        assert sum(one.failed for one in made) <= 1
        assert abs(np.mean([one.covered for one in made]) - 0.9) < 4 * np.sqrt(0.9 * 0.1 / (TESTS * TRIALS))
        assert abs(np.mean([one.signed for one in made])) < 4 / np.sqrt(12 * TESTS * TRIALS)

    @pytest.mark.parametrize("d", [2, 5])
    @pytest.mark.parametrize(
        ("wrong", "verdict"),
        [({"scale": 0.7}, "overconfident"), ({"scale": 1.4}, "underconfident"), ({"shift": 0.4}, "biased")],
        ids=["narrow", "wide", "shifted"],
    )
    def test_wrong_ones_are_found(self, d, wrong, verdict):
        made = verdicts(d, **wrong)
        assert sum(one.failed for one in made) >= 19
        assert sum(one.verdict == verdict for one in made) >= 19
        mean = {name: np.mean([getattr(one.marginals[0], name) for one in made]) for name in ("bias", "spread")}
        # Truths beyond all draws have no finite place, so that a scatter far above one is told too small.
        assert mean["spread"] == pytest.approx(1 / wrong.get("scale", 1.0), rel=0.1)
        assert mean["bias"] == pytest.approx(-wrong.get("shift", 0.0), abs=0.06)
        assert any(str(one.faults[0]).startswith("t0") for one in made)

    def test_false_alarms_are_as_rare_as_stated(self):
        p = np.array([one.p for one in verdicts(2, trials=150, tests=50, seed=1)])
        # Uniform: of 150, 15 below 0.1 with a scatter of 3.7.
        assert 4 <= (p <= 0.1).sum() <= 28
        assert (p <= ALPHA).sum() <= 6
        assert stats.kstest(p, "uniform").pvalue > 1e-3

    def test_too_few_tests_give_no_verdict(self):
        (few,) = verdicts(2, trials=1, tests=20, scale=0.3)
        assert few.verdict == "untested"
        assert not few.failed
        # Numbers of so few would only mislead.
        assert np.isnan(few.covered)
        assert not few.curves
        assert [metric.name for metric in to_metrics(few).values] == ["tests", "empty"]


class TestPlaces:
    def test_are_uniform_with_ties_and_missing_draws(self):
        rng = np.random.default_rng(0)
        values = rng.integers(3, size=(3000, 6)).astype(float)
        missing = np.zeros(values.shape, bool)
        missing[:1000, 3:] = True
        found = spread(values, missing, rng)
        assert np.isnan(found[missing]).all()
        for rows in (slice(0, 1000), slice(1000, None)):
            assert stats.kstest(found[rows, 0], "uniform").pvalue > 1e-3
        # Among three, the least has a place in the first third.
        smallest = (values[:1000, 0] < values[:1000, 1]) & (values[:1000, 0] < values[:1000, 2])
        assert found[:1000, 0][smallest].max() <= 1 / 3

    def test_a_truth_without_density_is_last(self):
        rng = np.random.default_rng(0)
        truth, draws = np.zeros((50, 1)), rng.normal(size=(50, 9, 1))
        for nothing in (-np.inf, np.nan):
            found = places(truth, draws, np.full(50, nothing), -(draws[..., 0] ** 2), rng)
            assert found.truth[:, 1].min() >= 0.9

    def test_candidates_are_exchangeable(self):
        """Whichever of the candidates is called the truth, its places are as uniform."""
        rng = np.random.default_rng(0)
        theta, x = simulated(rng, 2000, 2)
        draws = Gaussian().sample(x, 7, rng)
        log = Gaussian().log_prob(np.concatenate([theta[:, None], draws], axis=1), x)
        found = places(theta, draws, log[:, 0], log[:, 1:], rng)
        for candidate in (0, 3, 7):
            by = found.of(np.full(2000, candidate))
            assert all(stats.kstest(by[:, k], "uniform").pvalue > 1e-3 for k in range(4))


class TestCheck:
    def test_missing_draws_and_empty_posteriors(self):
        rng = np.random.default_rng(0)
        theta, x = simulated(rng, 300, 2)
        draws = Gaussian().sample(x, 30, rng)
        draws[:100, 10:] = np.nan
        draws[::50] = np.nan
        log = Gaussian().log_prob(np.concatenate([theta[:, None], draws], axis=1), x)
        found = check(theta, draws, log[:, 0], log[:, 1:], names=["a", "b"], rng=rng)
        assert (found.tests, found.empty, found.verdict) == (294, 6, "calibrated")
        nothing = check(theta, np.full_like(draws, np.nan), log[:, 0], log[:, 1:], names=["a", "b"], rng=rng)
        assert (nothing.verdict, nothing.empty) == ("miscalibrated", 300)
        assert to_metrics(nothing)["empty"].value == 300
        draws[100:] = np.nan
        most = check(theta, draws, log[:, 0], log[:, 1:], names=["a", "b"], rng=rng)
        assert (most.tests, most.verdict) == (98, "miscalibrated")
        assert most.faults == ("for 202 of 300 simulations there was no draw within the prior",)
        few = check(theta[80:120], draws[80:120], log[80:120, 0], log[80:120, 1:], names=["a", "b"], rng=rng)
        assert (few.verdict, few.empty) == ("untested", 20)

    def test_draws_that_repeat_do_not_mislead(self):
        """A posterior of few values, as a discrete parameter has, is right all the same."""
        rng = np.random.default_rng(0)
        truth, draws = rng.integers(2, size=(400, 1)).astype(float), rng.integers(2, size=(400, 50, 1)).astype(float)
        assert check(truth, draws, np.zeros(400), np.zeros((400, 50)), names=["k"], rng=rng).verdict == "calibrated"

    def test_what_no_marginal_shows(self):
        """Posteriors whose marginals are right and whose correlation is not: density and distances tell."""
        rng = np.random.default_rng(0)
        narrow = np.linalg.cholesky([[1.0, 0.95], [0.95, 1.0]])
        truth, draws = rng.normal(size=(500, 2)) @ narrow.T, rng.normal(size=(500, 100, 2))
        log = -0.5 * (np.concatenate([truth[:, None], draws], axis=1) ** 2).sum(axis=2)
        found = check(truth, draws, log[:, 0], log[:, 1:], names=["a", "b"], rng=rng)
        assert found.failed
        assert not any(fault.startswith(("a:", "b:")) for fault in found.faults)


class TestCurves:
    def test_say_what_they_should(self):
        rng = np.random.default_rng(0)
        by = rng.random(500) ** 2
        one = curves.expected_coverage(by)
        assert one["coverage"][20] == pytest.approx(np.mean(by <= 0.5))
        assert one["low"][20] < 0.5 < one["high"][20]
        histogram = curves.rank_histogram(by)
        assert (sum(histogram["tests"]), len(histogram["tests"]), histogram["tests"][0] > histogram["high"][0]) == (500, 20, True)
        assert max(curves.place_differences(by)["difference"]) == pytest.approx(kolmogorov(by), abs=0.03)

    def test_bands_hold_what_they_say(self):
        """Of right posteriors, the whole line stays within the band of differences in 95 % of all cases; 200 scatter by 1.5 %."""
        rng = np.random.default_rng(1)
        inside = [kolmogorov(rng.random(300)) <= curves.place_differences(rng.random(300))["high"][0] for _ in range(200)]
        assert 0.9 <= np.mean(inside) <= 1.0


class TestProduct:
    def test_round_trip(self, tmp_path):
        (found,) = verdicts(2, trials=1, scale=0.7)
        metrics = to_metrics(found, curves={"training": {"step": [1, 2], "loss": [2.0, 1.0]}})
        metrics.check()
        metrics.write(tmp_path / "m.json")
        stored = Metrics.read(tmp_path / "m.json")
        assert stored["calibration_p"].passed is False
        assert stored["coverage_90"].value == found.covered
        assert stored["t1.spread"].value == found.marginals[1].spread
        again = of_metrics(stored)
        assert again.failed
        assert again.to_card() == found.to_card()
        assert set(again.curves) == {*found.curves, "training"}
        assert of_metrics(Metrics(())) is None

    def test_off_is_written(self):
        metrics = to_metrics(Calibration("off"))
        assert of_metrics(metrics).verdict == "off"
        assert metrics.values == ()
