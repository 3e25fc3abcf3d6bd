"""Gaussian mixtures, k-means and projections: known answers, and input that is bad in every way."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture as Peer

from astrosurvey.core.stage import DataError
from astrosurvey.stages.clustering.kmeans.stage import KMeans
from astrosurvey.stages.clustering.mixture.fit import fit
from astrosurvey.stages.clustering.mixture.stage import GaussianMixture
from astrosurvey.stages.clustering.project.stage import Project

from ..running import run, tiles_of
from .fields import catalog, clumps

METHODS = [(GaussianMixture, {"max_components": 3, "starts": 1}), (KMeans, {"n_clusters": 3}), (Project, {})]
each = pytest.mark.parametrize(("stage", "settings"), METHODS, ids=lambda value: getattr(value, "name", ""))


def assigned(result):
    """Return which cluster each source is in, numbered; -1 for none."""
    return result["points"].rows.to_pandas().cluster_id.astype("category").cat.codes.to_numpy()


def listed(product):
    """Return the rows of a catalogue in an order of their own, without the source 999."""
    rows = [row for row in product.rows.to_pylist() if 999 not in (row.get("source_id"), row.get("object_id"))]
    return sorted(rows, key=lambda row: (row.get("source_id", 0), row.get("cluster_id") or 0))


def test_without_a_background_the_mixture_is_scikit_learns():
    values, truth = clumps()
    values, truth = values[truth >= 0], truth[truth >= 0]
    ours = fit(values, truth, 2, 0.0, 1e-7)
    peer = Peer(2, random_state=0, tol=1e-7, max_iter=500, reg_covar=0, means_init=ours.mean).fit(values)
    assert ours.log_likelihood / len(values) == pytest.approx(peer.score(values), rel=1e-4)
    assert ours.bic(len(values)) == pytest.approx(peer.bic(values), rel=1e-4)


def test_the_mixture_finds_how_many_clumps_there_are_and_how_much_is_background():
    values, truth = clumps(900)
    result = run(GaussianMixture, {"columns": ["a", "b"], "max_components": 4}, sources=tiles_of(t=catalog(a=values[:, 0], b=values[:, 1])))
    found = assigned(result)
    assert len(result["clusters"]) == 2
    assert adjusted_rand_score(truth, found) > 0.85
    assert (found < 0).mean() == pytest.approx(1 / 3, abs=0.05)
    rows = result["points"].rows.to_pandas()
    assert np.isfinite(rows.log_density).all()
    assert rows.log_density[truth == 0].median() > rows.log_density[truth < 0].median() + 2
    inside = result["members"].rows.to_pandas().groupby("source_id").probability.sum()
    assert ((inside > 0.1) & (inside < 1 + 1e-6)).all()
    # The sum of probabilities is the number of members, field stars among them.
    assert inside.sum() == pytest.approx(600, rel=0.05)


def test_what_is_far_from_everything_is_left_to_the_background_and_that_is_said(caplog):
    values, truth = clumps()
    values = np.append(values, [[1e12, 0.5]], axis=0)
    made = catalog(a=values[:, 0], b=values[:, 1])
    result = run(GaussianMixture, {"columns": ["a", "b"], "max_components": 3, "starts": 1}, sources=tiles_of(t=made))
    assert "1 sources are farther" in caplog.text
    assert assigned(result)[-1] == -1
    assert adjusted_rand_score(truth, assigned(result)[:-1]) > 0.8


def test_few_points_are_not_cut_into_gaussians_of_a_few_each():
    rng = np.random.default_rng(3)
    for n, most in ((1, 0), (25, 1), (60, 3)):
        made = catalog(a=rng.normal(size=n), b=rng.normal(size=n))
        found = run(GaussianMixture, {"columns": ["a", "b"]}, sources=tiles_of(t=made))["clusters"].rows.to_pandas()
        assert len(found) <= most
        assert (found.n_member >= 4).all()


def test_cells_are_compact_and_hold_everything():
    values, truth = clumps()
    inside = truth >= 0
    result = run(KMeans, {"columns": ["a", "b"], "n_clusters": 2}, sources=tiles_of(t=catalog(a=values[inside, 0], b=values[inside, 1])))
    assert adjusted_rand_score(truth[inside], assigned(result)) > 0.98
    assert len(result["members"]) == inside.sum()


def test_principal_components_keep_distances_where_there_are_two_columns():
    values, _ = clumps(90)
    result = run(Project, {"columns": ["a", "b"], "metric": "plain"}, sources=tiles_of(t=catalog(a=values[:, 0], b=values[:, 1])))
    seen = np.stack(result["embeddings"].rows.column("vector").to_pylist())
    assert np.allclose(np.hypot(*(seen - seen[0]).T), np.hypot(*(values - values[0]).T), atol=1e-5)
    assert seen[:, 0].var() > seen[:, 1].var()


def test_a_missing_umap_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(DataError, match=r"astrosurvey\[umap\]"):
        run(Project, {"columns": ["a", "b"], "method": "umap"}, sources=tiles_of(t=catalog(a=np.arange(20.0), b=np.arange(20.0) ** 2)))


@each
def test_results_do_not_depend_on_rows_and_missing_values(stage, settings):
    values, _ = clumps(150)
    columns = {"a": values[:, 0], "b": values[:, 1], "source_id": np.arange(150)}
    one = run(stage, {"columns": ["a", "b"], **settings}, sources=tiles_of(t=catalog(**columns)))
    mixed = np.random.default_rng(8).permutation(150)
    dirty = {name: np.append(values[mixed], value) for (name, values), value in zip(columns.items(), (np.nan, 0.5, 999), strict=True)}
    two = run(stage, {"columns": ["a", "b"], **settings}, sources=tiles_of(t=catalog(**dirty)))
    for name, product in one.items():
        assert listed(product) == listed(two[name])


def test_neither_the_order_of_rows_nor_the_place_on_the_sky_shows_in_the_last_digit():
    rng = np.random.default_rng(11)
    ra, dec = np.concatenate([rng.normal(0, 0.1, (2, 100)), rng.uniform(-1, 1, (2, 201))], axis=1)
    mixed = rng.permutation(301)
    settings = {"columns": ["ra", "dec"], "n_components": 2, "starts": 1}
    one, two = (run(GaussianMixture, settings, sources=tiles_of(t=catalog(ra=ra[o] % 360, dec=dec[o]))) for o in (np.arange(301), mixed))
    for name in ("probability", "log_density"):
        a, b = (result["points"].rows.to_pandas()[name].to_numpy() for result in (one, two))
        np.testing.assert_array_equal(a[mixed], b)


@each
@pytest.mark.parametrize("n", [0, 1, 2, 5, 25])
@pytest.mark.parametrize("kind", ["random", "coinciding", "integer"])
def test_few_coinciding_and_integer_values_are_no_trouble(stage, settings, n, kind):
    rng = np.random.default_rng(n)
    a = {"random": rng.normal(size=n), "coinciding": (np.arange(n) == 0).astype(float), "integer": rng.integers(0, 9, n)}[kind]
    result = run(stage, {"columns": ["a", "b"], **settings}, sources=tiles_of(t=catalog(a=a, b=2.0 * a[::-1])))
    assert len(result.get("points", result.get("embeddings"))) == n


@each
def test_a_periodic_box_is_refused(stage, settings):
    with pytest.raises(ValueError, match="no periodic box; leave `box` out"):
        stage.Config(columns=["a", "b"], metric="plain", box={"a": 10.0}, **settings)


def test_gaussians_lie_on_a_map_of_the_sky_also_at_a_pole():
    rng = np.random.default_rng(9)
    x, y = np.concatenate([rng.normal(0, 0.2, (2, 300)), rng.uniform(-2, 2, (2, 300))], axis=1)
    sky = catalog(ra=np.degrees(np.arctan2(y, x)) % 360, dec=90 - np.hypot(x, y))
    result = run(GaussianMixture, {"columns": ["ra", "dec"], "n_components": 1}, sources=tiles_of(t=sky))
    assert (assigned(result)[:300] >= 0).mean() > 0.9
    assert (assigned(result)[300:] >= 0).mean() < 0.15
    wide = catalog(ra=rng.uniform(0, 360, 50), dec=np.degrees(np.arcsin(rng.uniform(-1, 1, 50))))
    with pytest.raises(DataError, match="60 degrees"):
        run(GaussianMixture, {"columns": ["ra", "dec"], "n_components": 1}, sources=tiles_of(t=wide))
