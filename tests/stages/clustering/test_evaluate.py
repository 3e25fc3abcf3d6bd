"""Clusters against the truth: known answers by hand, and agreement with scikit-learn."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from astrosurvey import Catalog
from astrosurvey.core.stage import DataError
from astrosurvey.stages.clustering.features import FeatureConfig, points_of
from astrosurvey.stages.clustering.tables import Group, write_tables
from astrosurvey.stages.evaluate.clustering import gather, scores
from astrosurvey.stages.evaluate.clustering.stage import EvaluateClustering

from ..running import run
from .test_features import catalog, tiles


def test_the_adjusted_rand_index_is_scikit_learns():
    rng = np.random.default_rng(0)
    for n, k in ((300, 4), (300, 40), (2, 2), (1, 1)):
        truth, found = rng.integers(-1, k, n), rng.integers(-1, 3, n)
        assert np.isclose(scores.adjusted_rand(truth, found)[0], adjusted_rand_score(truth, found))
        if (truth >= 0).any():
            assert np.isclose(scores.adjusted_rand(truth, found)[1], adjusted_rand_score(truth[truth >= 0], found[truth >= 0]))
    same = np.array([-1, 0, 0, 1])
    assert scores.adjusted_rand(same, np.array([-7, 5, 5, 2])) == (1.0, 1.0)
    assert np.isnan(scores.adjusted_rand(np.zeros(0, int), np.zeros(0, int))).all()


def test_the_best_group_of_each_structure_is_found_in_a_hierarchy_too():
    truth = np.repeat([0, 1, 2, -1], [10, 10, 10, 20])
    groups = [np.arange(30), np.arange(9), np.arange(10, 26), np.arange(35, 50), np.arange(28, 33)]
    found = scores.match(truth, groups)
    assert found.group.tolist() == [1, 2, 0]
    assert np.allclose(found.jaccard, [0.9, 10 / 16, 10 / 30])
    assert np.allclose(found.purity, [1, 10 / 16, 1 / 3])
    assert np.allclose(found.completeness, [0.9, 1, 1])
    assert found.recovered.tolist() == [True, True, False]
    assert found.false.tolist() == [False, False, False, True, True]
    flat = scores.smallest_of(groups, 50)
    assert flat[[0, 9, 12, 29, 34, 40]].tolist() == [1, 0, 2, 4, -1, 3]
    assert [len(g) for g in scores.groups_of(np.array([3, -1, 3, 0, -1]))] == [1, 2]
    nothing = scores.match(truth, [])
    assert not nothing.recovered.any()
    assert np.isnan(nothing.purity).all()


def test_memberships_that_mean_what_they_say_are_told_from_those_that_do_not():
    rng = np.random.default_rng(1)
    stated = rng.uniform(0.4, 1, 4000)
    truth = np.where(rng.random(4000) < stated, 0, -1)
    good = scores.reliability(truth, [np.arange(4000)], [stated])
    assert good.ece < 0.03
    assert good.worst < 0.1
    poor = scores.reliability(truth, [np.arange(4000)], [np.ones(4000)])
    assert np.isclose(poor.ece, 1 - (truth == 0).mean())
    assert np.isnan(scores.reliability(truth, [], []).ece)


def clustered():
    """Return sources of which 0-9 are structure a, 10-19 b, and the rest nothing; clusters of a, of b in part, and of nothing."""
    sources = catalog(a=np.arange(40.0), name=["a"] * 10 + ["b"] * 10 + ["Field", None] * 10, number=[1] * 10 + [2] * 10 + [0] * 20)
    points = points_of(sources, FeatureConfig(columns=["a"]), logging.getLogger("test"))
    members = (np.arange(10), np.arange(10, 16), np.arange(30, 36))
    groups = [Group(rows, np.full(len(rows), 0.75)) for rows in members]
    truth = {"source_id": sources.column("source_id"), "tile_id": 1, "structure": [1] * 10 + [3] * 10 + [0] * 20}
    kinds = ["clump"] * 10 + ["stream"] * 10 + ["background"] * 20
    return (
        sources,
        write_tables(sources, points, groups, "clustering.test"),
        Catalog.from_columns("cluster_truth", {**truth, "structure_type": kinds}),
    )


@pytest.mark.parametrize("by", ["truth", "name", "number"])
def test_a_pipelines_clusters_are_measured(by):
    sources, found, truth = clustered()
    given = {"truth": tiles(truth), "sources": None} if by == "truth" else {"truth": None, "sources": tiles(sources)}
    config = {"max_false": 0, "min_recovered": 1.0, **({} if by == "truth" else {"label": by})}
    metrics = run(EvaluateClustering, config, points=tiles(found["points"]), members=tiles(found["members"]), **given)["metrics"]
    value = {metric.name: metric.value for metric in metrics.values}
    assert (value["n_structures"], value["n_clusters"], value["false_clusters"], value["recovered"]) == (2, 3, 1, 1)
    assert metrics["recovered"].passed is True
    assert metrics["false_clusters"].passed is False
    assert np.isclose(value["jaccard"], 0.8)
    assert np.isclose(value["completeness"], 0.8)
    assert np.isclose(value["membership_ece"], 0.25)
    assert metrics.meta["confusion"]["structures"]["counts"] == [[10, 0, 0, 0], [0, 6, 4, 0], [0, 0, 14, 6], [0, 0, 0, 0]]
    if by == "truth":
        assert (value["recovered.clump"], value["recovered.stream"]) == (1, 1)
        assert metrics.meta["structures"] == ["clump 1", "stream 3"]


def test_one_methods_clusters_can_be_measured_by_anothers():
    sources, found, _ = clustered()
    points = points_of(sources, FeatureConfig(columns=["a"]), logging.getLogger("test"))
    other = write_tables(sources, points, [Group(np.arange(10), np.ones(10)), Group(np.arange(14, 20), np.ones(6))], "clustering.other")[
        "points"
    ]
    measured = run(EvaluateClustering, points=tiles(found["points"]), members=tiles(found["members"]), reference=tiles(other))["metrics"]
    assert (measured["n_structures"].value, measured["recovered"].value) == (2, 0.5)
    assert np.isclose(measured["jaccard"].value, (1 + 2 / 10) / 2)
    assert measured["false_clusters"].value == 2
    itself = run(EvaluateClustering, points=tiles(other), members=tiles(found["members"]), reference=tiles(found["points"]))
    assert itself["metrics"]["n_structures"].value == 3


@pytest.mark.parametrize("snapshots", [False, True])
def test_tiles_have_structures_of_their_own_but_snapshots_the_same(snapshots):
    made = {"source_id": np.arange(20), "tile_id": np.repeat([7, 8], 10), "structure": np.tile(np.repeat([0, 1, 2, 4], [4, 2, 2, 2]), 2)}
    made |= {
        "structure_type": np.where(made["structure"] > 0, "clump", "background"),
        "tracer_id": np.arange(20) % 10 if snapshots else None,
    }
    truth = Catalog.from_columns("cluster_truth", made)
    halves = [Catalog("cluster_truth", truth.rows.slice(first, 10)) for first in (10, 0)]
    known = gather.simulated(tiles(*halves))
    one, other = known.labels[:10].tolist(), known.labels[10:].tolist()
    assert one == [-1, -1, -1, -1, 0, 0, 1, 1, 2, 2]
    assert other == (one if snapshots else [-1, -1, -1, -1, 3, 3, 4, 4, 5, 5])
    assert known.names[0] == ("clump 1" if snapshots else "clump 1 of tile 7")
    assert len(known.names) == len(set(known.names)) == len(known.kinds) == (3 if snapshots else 6)


def test_without_a_truth_there_is_nothing_to_measure():
    sources, found, truth = clustered()
    given = {"points": tiles(found["points"]), "members": tiles(found["members"])}
    with pytest.raises(DataError, match="there is no truth"):
        run(EvaluateClustering, {}, **given, truth=None, sources=tiles(sources))
    with pytest.raises(DataError, match="no column 'nam' for `label`; did you mean 'name'"):
        run(EvaluateClustering, {"label": "nam"}, **given, truth=None, sources=tiles(sources))
    with pytest.raises(DataError, match="more than once"):
        run(EvaluateClustering, {}, **given, truth=tiles(truth, truth), sources=None)


def test_a_method_that_finds_nothing_is_measured_too():
    _, found, truth = clustered()
    nothing = {"points": found["points"].replace(cluster_id=None, probability=None), "members": Catalog.empty("cluster_member")}
    metrics = run(EvaluateClustering, {}, **{name: tiles(product) for name, product in nothing.items()}, truth=tiles(truth), sources=None)[
        "metrics"
    ]
    assert metrics["recovered"].value == 0
    assert metrics["ari"].value == 0
    assert np.isnan(metrics["purity"].value)
