"""Posteriors that are known to be right are found right, and those that were spoilt are found out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrosurvey.catalog.flags import SBI
from astrosurvey.core.stage import DataError
from astrosurvey.products import Catalog, Observations
from astrosurvey.stages.evaluate.posterior.density import of_draws
from astrosurvey.stages.evaluate.posterior.scores import crps
from astrosurvey.stages.evaluate.posterior.stage import EvaluatePosterior
from astrosurvey.stages.sbi.priors import Prior

from .running import run, tiles_of

WIDTH = {"a": 0.5, "b": 2.0}
PRIOR = Prior.declared({"b": {"normal": [0, 10], "unit": "km.s**-1"}, "a": {"normal": [0, 1]}})


def judged(number, seed, scale=1.0, start=0, keep=60):
    """Return tables of normal posteriors, as wide as they should be times `scale`, and the observations; the truth has another order."""
    rng = np.random.default_rng(seed)
    widths = np.array(list(WIDTH.values()))
    theta = PRIOR.draw(rng, number)[:, ::-1]
    middle = theta + widths * rng.standard_normal((number, 2))
    draws = middle[:, None] + scale * widths * rng.standard_normal((number, keep, 2))
    ids = np.arange(start, start + number)
    posterior = {
        "posterior_id": ids,
        "source_id": 500 + ids,
        "model": "m",
        "method": "test.normal",
        "parameter_names": "a,b",
        "parameter_units": ",km.s**-1",
        "mean": draws.mean(axis=1),
        "log_density": 0.0,
        "n_draw": keep,
        "flags": np.where(ids == start, SBI["OUT_OF_DISTRIBUTION"], 0),
    }
    sample = {"posterior_id": np.repeat(ids, keep), "draw": np.tile(np.arange(keep), number), "parameters": draws.reshape(-1, 2)}
    shuffled = rng.permutation(number)
    seen = Observations(np.zeros((number, 1), np.float32), 500 + ids[shuffled], "source", (), PRIOR.samples(theta[shuffled][:, ::-1]))
    return Catalog.from_columns("posterior", posterior), Catalog.from_columns("posterior_sample", sample), seen


def evaluated(parts, settings=None):
    posterior, sample, seen = ({f"t{k}": part for k, part in enumerate(every)} for every in zip(*parts, strict=True))
    return run(
        EvaluatePosterior, settings, posterior=tiles_of(**posterior), posterior_sample=tiles_of(**sample), observations=tiles_of(**seen)
    )["metrics"]


@pytest.mark.parametrize(("scale", "verdict"), [(1.0, "calibrated"), (0.6, "overconfident"), (1.7, "underconfident")])
def test_widths_that_are_wrong_are_found_out(scale, verdict):
    metrics = evaluated([judged(150, 1, scale), judged(150, 2, scale, start=1000)], {"leave_out": ["OUT_OF_DISTRIBUTION"]})
    assert metrics.meta["calibration"]["verdict"] == verdict
    assert (metrics.meta["posteriors"], metrics.meta["left_out"], metrics.meta["tested"]) == (300, 2, 298)
    for name, width in WIDTH.items():
        assert metrics[f"{name}.width"].value == pytest.approx(scale * width, rel=0.05)
        assert metrics[f"{name}.width"].unit == ("km.s**-1" if name == "b" else "")
        assert metrics[f"{name}.rmse"].value == pytest.approx(width, rel=0.15)
        assert abs(metrics[f"{name}.offset"].value) < 4 * metrics[f"{name}.offset"].error
        from scipy.stats import norm

        assert metrics[f"{name}.covers_90"].value == pytest.approx(1 - 2 * norm.sf(1.645 * scale), abs=0.06)
    assert set(metrics.curves) >= {"central coverage by level, a", "coverage by level, TARP", "tests by rank, b"}


def test_the_score_of_draws_is_that_of_the_distribution():
    """Of a normal distribution the expected score is its width over the square root of pi, if it is right."""
    rng = np.random.default_rng(0)
    score = crps(rng.standard_normal(4000), rng.standard_normal((4000, 20)))
    assert score.mean() == pytest.approx(1 / np.sqrt(np.pi), abs=4 * score.std() / np.sqrt(4000))
    assert np.allclose(crps(np.array([2.0]), np.array([[5.0, np.nan]])), 3)


def test_ellipsoids_do_not_depend_on_scales_and_survive_planes():
    rng = np.random.default_rng(0)
    truth, draws = rng.standard_normal((5, 2)), rng.standard_normal((5, 30, 2))
    draws[0, 20:] = np.nan
    one, other = of_draws(truth, draws), of_draws(1e6 * truth, 1e6 * draws)
    assert np.allclose(one.draws, other.draws, equal_nan=True)
    assert np.isnan(one.draws[0, 20:]).all()
    flat = np.repeat(draws[..., :1], 2, axis=2)
    assert np.isfinite(of_draws(truth, flat).truth).all()


def test_a_catalogue_of_true_objects_is_matched_by_place():
    """Redshifts of sources, one of which is no true object, and one true object a star."""
    rng = np.random.default_rng(3)
    n = 80
    x, y = rng.uniform(0, 1000, (2, n))
    z = rng.uniform(0.1, 1, n)
    ids = np.arange(n)
    common = {"x": x, "y": y, "ra": np.nan, "dec": np.nan, "tile_id": 5, "primary": True}
    truth = Catalog.from_columns(
        "truth",
        {**common, "truth_id": ids, "band": "r", "flux": 100.0, "object_type": "galaxy", "redshift": np.where(ids == 3, np.nan, z)},
    )
    order = rng.permutation(n)
    box = {"x_min": 0, "x_max": 1, "y_min": 0, "y_max": 1, "n_pixels": 1, "significance": 9.0, "n_child": 0, "flags": 0}
    at = {**common, "x": np.where(order == 7, -900.0, x[order]), "y": y[order]}
    sources = Catalog.from_columns("source", {**at, **box, "source_id": 900 + ids})
    draws = z[order, None, None] + [[[0.0, 1.0]]] + 0.1 * rng.standard_normal((n, 1, 2)) + 0.1 * rng.standard_normal((n, 40, 2))
    tables = {
        "posterior": Catalog.from_columns(
            "posterior",
            {"posterior_id": ids, "source_id": 900 + ids, "model": "m", "method": "t.t", "parameter_names": "redshift,log_mass"}
            | {"parameter_units": ",", "mean": draws.mean(axis=1), "n_draw": 40, "flags": 0},
        ),
        "posterior_sample": Catalog.from_columns(
            "posterior_sample",
            {"posterior_id": np.repeat(ids, 40), "draw": np.tile(np.arange(40), n), "parameters": draws.reshape(-1, 2)},
        ),
    }
    inputs = {name: tiles_of(t=table) for name, table in {**tables, "sources": sources, "truth": truth}.items()}
    metrics = run(EvaluatePosterior, **inputs)["metrics"]
    assert metrics.meta["tested"] == n - 2
    assert metrics.meta["calibration"]["verdict"] == "calibrated"
    assert metrics["redshift.rmse"].value == pytest.approx(0.1, rel=0.3)
    assert not any(metric.name.startswith("log_mass") for metric in metrics.values)


def test_few_posteriors_are_scored_and_not_judged():
    metrics = evaluated([judged(20, 1)], {"tests": 10})
    assert metrics.meta["calibration"]["verdict"] == "untested"
    assert metrics.meta["tested"] == 10
    assert np.isfinite(metrics["a.crps"].value)


def test_a_unit_may_be_spelt_otherwise():
    posterior, sample, seen = judged(60, 1)
    spelt = replace(seen, parameters=replace(seen.parameters, units=("km/s", "")))
    assert evaluated([(posterior, sample, spelt)]).meta["tested"] == 60
    with pytest.raises(DataError, match=r"'b' in 'km\.s\*\*-1'"):
        evaluated([(posterior, sample, replace(seen, parameters=replace(seen.parameters, units=("furlongs a fortnight", ""))))])


def test_what_does_not_belong_together_is_refused():
    posterior, sample, seen = judged(20, 1)
    with pytest.raises(DataError, match="set `keep`"):
        evaluated([(posterior, judged(20, 1, start=50)[1], seen)])
    with pytest.raises(DataError, match="not of these observations"):
        evaluated([(posterior, sample, judged(20, 1, start=50)[2])])
    with pytest.raises(DataError, match="there is no truth"):
        run(EvaluatePosterior, posterior=tiles_of(t=posterior), posterior_sample=tiles_of(t=sample))
    with pytest.raises(ValueError, match="is no flag of posteriors"):
        EvaluatePosterior.Config(leave_out=("WRONG",))
