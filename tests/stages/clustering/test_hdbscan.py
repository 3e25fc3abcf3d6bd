"""HDBSCAN*: what it finds, what scikit-learn's finds, and that neither rows nor dirt change it."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score

from astrosurvey.core.stage import DataError
from astrosurvey.stages.clustering.features import Points
from astrosurvey.stages.clustering.hdbscan.select import densest, outlier_scores, select
from astrosurvey.stages.clustering.hdbscan.soft import best_memberships
from astrosurvey.stages.clustering.hdbscan.stage import Hdbscan
from astrosurvey.stages.clustering.hdbscan.tree import grow, smallest_cluster

from ..running import run, tiles_of
from .fields import catalog, clumps


def points(values, box=None):
    n, d = values.shape
    return Points(
        np.ascontiguousarray(values, np.float64), np.arange(n), n, d, np.zeros(d) if box is None else box, tuple(f"p{c}" for c in range(d))
    )


def clustered(values, least=20, k=10, method="eom", epsilon=0.0, single=False, box=None):
    """Return the hierarchy, the selection, and labels in the order of the values."""
    hierarchy = grow(points(values, box), k, least, "cpu")
    found = select(hierarchy.tree, method, epsilon, single)
    label = np.empty(len(values), int)
    label[hierarchy.order] = found.label
    return hierarchy, found, label


@pytest.mark.parametrize("method", ["eom", "leaf"])
@pytest.mark.parametrize(("d", "least", "k"), [(2, 20, 20), (3, 50, 20), (6, 15, 10)])
def test_the_clusters_are_those_of_scikit_learn(d, least, k, method):
    rng = np.random.default_rng(d)
    values = np.concatenate([rng.normal(rng.random(d), 0.03, (150, d)) for _ in range(4)] + [rng.random((400, d))])
    hierarchy, found, label = clustered(values, least, k, method)
    peer = HDBSCAN(min_cluster_size=least, min_samples=k, cluster_selection_method=method, copy=True).fit(values)
    both = (peer.labels_ >= 0) & (label >= 0)
    assert len(found.clusters) == peer.labels_.max() + 1 > 1
    assert adjusted_rand_score(peer.labels_[both], label[both]) == 1
    # Scikit-learn splits equal distances in the order of its rows, so that points between clusters fall to one of them.
    assert ((peer.labels_ >= 0) != (label >= 0)).mean() < 0.02
    probability = np.empty(len(values))
    probability[hierarchy.order] = found.probability
    np.testing.assert_allclose(probability[both], peer.probabilities_[both], rtol=1e-9)


def test_two_clumps_are_found_and_what_is_said_of_them_makes_sense():
    values, truth = clumps()
    hierarchy, found, label = clustered(values)
    assert adjusted_rand_score(truth[truth >= 0], label[truth >= 0]) > 0.9
    assert ((found.stability > 0) & (found.stability < 1)).all()
    assert ((found.probability > 0) == (found.label >= 0)).all()
    assert found.probability.max() == 1
    score = outlier_scores(hierarchy.tree)
    inside = truth[hierarchy.order] >= 0
    assert 0 <= score.min() < score.max() < 1
    assert np.median(score[~inside]) > np.median(score[inside]) + 0.2


def test_epsilon_keeps_together_what_splits_at_less_and_one_cluster_may_be_all():
    values, _ = clumps()
    *_, split = clustered(values, 10, method="leaf")
    *_, kept = clustered(values, 10, method="leaf", epsilon=0.05)
    assert len(np.unique(kept)) < len(np.unique(split))
    one = np.random.default_rng(4).normal(size=(300, 2))
    hierarchy, found, label = clustered(one, 40, single=True)
    assert found.clusters.tolist() == [len(hierarchy.tree.parent) - 1]
    assert (label == 0).all()
    hierarchy, found, label = clustered(one, 40, epsilon=0.3, single=True)
    assert ((found.label == 0) == (hierarchy.tree.level >= 1 / 0.3)).all()
    *_, label = clustered(one, 40, epsilon=1e-6, single=True)
    assert (label == -1).all() or label.max() >= 0
    *_, label = clustered(one, 40)
    assert (label == -1).all() or label.max() >= 1


def test_labels_depend_on_neither_rows_nor_threads_nor_precision():
    import numba

    values = np.round(np.repeat(clumps()[0], 2, axis=0), 2).astype(np.float32)  # ties and coinciding points everywhere
    _, found, label = clustered(values)
    mixed = np.random.default_rng(5).permutation(len(values))
    *_, again = clustered(values.astype(np.float64)[mixed])
    assert (again == label[mixed]).all()
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
        _, threaded, _ = clustered(values)
    finally:
        numba.set_num_threads(before)
    assert (threaded.probability == found.probability).all()


def test_clusters_go_round_a_periodic_box():
    values, _ = clumps()
    shifted = (values + 0.45) % 1
    *_, plain = clustered(values % 1, box=np.ones(2))
    *_, label = clustered(shifted, box=np.ones(2))
    assert adjusted_rand_score(plain, label) == 1


def test_soft_memberships_take_in_everything_and_agree_with_the_sharp_ones():
    values, truth = clumps()
    hierarchy, found, _ = clustered(values)
    label, probability = best_memberships(hierarchy, found, np.zeros(2))
    assert label.min() >= 0
    assert ((probability > 0) & (probability <= 1)).all()
    sharp = found.label >= 0
    assert (label[sharp] == found.label[sharp]).mean() > 0.98
    inside = truth[hierarchy.order] >= 0
    assert np.median(probability[inside]) > 2 * np.median(probability[~inside])
    assert (densest(hierarchy.tree)[:-1] <= densest(hierarchy.tree)[-1]).all()


def members(result):
    """Return the sets of sources that clusters have."""
    rows = result["members"].rows.to_pandas()
    return sorted(sorted(ids) for ids in rows.groupby("cluster_id").source_id.apply(list))


def clean():
    values, _ = clumps()
    return {"a": values[:, 0], "b": values[:, 1]}


def test_the_smallest_cluster_grows_with_the_catalogue_and_shrinks_with_the_dimension():
    assert [smallest_cluster(n, d) for n, d in ((100, 2), (100_000, 2), (100_000, 3), (10**6, 3), (10**6, 1))] == [20, 200, 105, 333, 4000]


def test_the_stage_writes_its_tables():
    result = run(Hdbscan, {"columns": ["a", "b"], "min_samples": 10}, sources=tiles_of(t=catalog(**clean())))
    clusters = result["clusters"].rows.to_pandas()
    assert len(clusters) == 2
    assert clusters.stability.between(0, 1).all()
    assert clusters.significance.isna().all()
    assert result["points"].rows.to_pandas().outlier_score.notna().all()
    assert sum(map(len, members(result))) == len(result["members"]) == clusters.n_member.sum()


@pytest.mark.parametrize("soft", [False, True])
def test_rows_without_values_stay_in_the_table_and_change_nothing(soft):
    settings = {"columns": ["a", "b"], "min_samples": 10, "soft": soft}
    wanted = members(run(Hdbscan, settings, sources=tiles_of(t=catalog(**clean()))))
    dirty = {name: np.append(values, [np.nan, 0.5]) for name, values in clean().items()}
    dirty["b"][-1] = np.inf
    found = run(Hdbscan, settings, sources=tiles_of(t=catalog(**dirty, c=np.full(602, 7))))
    assert members(found) == wanted
    assert found["points"].rows.to_pandas().cluster_id.isna().iloc[-2:].all()
    assert len(found["points"]) == 602


@pytest.mark.parametrize("n", [0, 1, 2, 19, 25, 60])
def test_few_sources_give_no_cluster_or_one_and_no_error(n):
    rng = np.random.default_rng(n)
    found = run(Hdbscan, {"columns": ["a", "b"]}, sources=tiles_of(t=catalog(a=rng.normal(size=n), b=rng.normal(size=n))))
    assert len(found["points"]) == n
    assert len(found["clusters"]) <= n // 20


@pytest.mark.parametrize("setting", ["min_cluster_size", "min_samples"])
def test_settings_beyond_the_number_of_points_are_said(setting, caplog):
    found = run(Hdbscan, {"columns": ["a", "b"], setting: 700}, sources=tiles_of(t=catalog(**clean())))
    assert len(found["clusters"]) == 0
    assert f"600 points are fewer than `{setting}`, which is 700" in caplog.text


def test_constant_integer_and_coinciding_values_are_no_trouble():
    rng = np.random.default_rng(6)
    a, b = rng.integers(0, 60, 500), rng.integers(0, 60, 500)
    a[:60], b[:60] = 30, 30
    settings = {"columns": ["a", "b", "c"], "min_samples": 10}
    found = run(Hdbscan, settings, sources=tiles_of(t=catalog(a=a, b=b, c=np.full(500, 3.0))))
    same = run(Hdbscan, settings, sources=tiles_of(t=catalog(a=a.astype(float), b=b.astype(float), c=np.full(500, 3))))
    assert members(found) == members(same)
    rows = found["points"].rows.to_pandas()
    assert rows.cluster_id.iloc[:60].nunique(dropna=False) == 1
    assert np.isfinite(rows.outlier_score).all()
    alone = run(Hdbscan, {"columns": ["a", "b"]}, sources=tiles_of(t=catalog(a=np.repeat([0.0, 1.0], 100), b=np.repeat([0.0, 5.0], 100))))
    assert [len(m) for m in members(alone)] == [100, 100]


def test_a_cluster_at_the_pole_or_the_seam_of_right_ascension_is_one():
    rng = np.random.default_rng(7)
    x, y = np.concatenate([rng.normal(0, 0.1, (2, 100)), rng.normal(0.9, 0.1, (2, 100)), rng.uniform(-2, 2, (2, 200))], axis=1)
    settings = {"columns": ["ra", "dec"], "min_samples": 10}
    pole = catalog(ra=np.degrees(np.arctan2(y, x)) % 360, dec=90 - np.hypot(x, y))
    seam = catalog(ra=x % 360, dec=y)
    at_pole, at_seam = (run(Hdbscan, settings, sources=tiles_of(t=field)) for field in (pole, seam))
    assert len(at_pole["clusters"]) == len(at_seam["clusters"]) == 2
    assert all(len(set(a) ^ set(b)) < 15 for a, b in zip(members(at_pole), members(at_seam), strict=True))


def test_too_many_columns_are_refused():
    with pytest.raises(DataError, match="up to 20 columns, not 21"):
        grow(points(np.zeros((30, 21))), 5, 10, "cpu")


def test_one_dominant_clump_and_a_stream_that_crosses_one():
    rng = np.random.default_rng(10)
    crowd = np.concatenate([rng.normal(0, 1, (900, 2)), rng.normal([6, 0], 0.3, (60, 2)), rng.uniform(-8, 8, (40, 2))])
    *_, label = clustered(crowd)
    assert adjusted_rand_score(np.repeat([0, 1], [900, 60]), label[:960]) > 0.9
    t = rng.uniform(-1, 1, 400)
    stream = np.stack([t, 0.5 * t**2], axis=1) + rng.normal(0, 0.01, (400, 2))
    *_, label = clustered(np.concatenate([stream, rng.normal([0.4, 0.08], 0.02, (200, 2)), rng.uniform(-2, 2, (300, 2))]))
    clump = label[400:600]
    assert (clump == np.bincount(clump[clump >= 0]).argmax()).mean() > 0.8
    assert (label[:400] >= 0).mean() > 0.8


@pytest.mark.real
def test_the_nine_open_clusters_near_the_sun_are_found(real_data):
    columns = ["ra", "dec", "parallax", "pmra", "pmdec"]
    with (real_data / "catalogs" / "gaia_dr2_nearby_oc_members_xmatch.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["source_id"]: row for row in csv.DictReader(file) if all(row[name] for name in columns)}
    members = np.array([[float(row[name]) for name in columns] for row in rows.values()])
    truth = np.append(np.unique([row["Cluster"] for row in rows.values()], return_inverse=True)[1], np.full(3 * len(members), -1))
    # There is no field in the table: three times as many stars all over the sky, with the members' mean motions and spreads.
    rng = np.random.default_rng(1)
    n = 3 * len(members)
    motions = rng.normal(members[:, 2:].mean(axis=0), members[:, 2:].std(axis=0), (n, 3))
    field = np.column_stack([rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n))), motions])
    made = catalog(**dict(zip(columns, np.concatenate([members, field]).T, strict=True)))
    rows = run(Hdbscan, {"columns": columns}, sources=tiles_of(t=made))["points"].rows.to_pandas()
    label = rows.cluster_id.astype("category").cat.codes.to_numpy()
    assert adjusted_rand_score(truth, label) >= 0.95
    overlaps = [max((label[truth == c] == g).sum() / ((truth == c) | (label == g)).sum() for g in range(label.max() + 1)) for c in range(9)]
    assert min(overlaps) > 0.5
