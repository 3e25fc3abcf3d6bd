"""What clustering stages hand on: ids, order, hierarchy, and every source as a point."""

from __future__ import annotations

import logging

import numpy as np

from astrosurvey.catalog.flags import CLUSTERING
from astrosurvey.core.product import Contract
from astrosurvey.stages.clustering.features import FeatureConfig, points_of
from astrosurvey.stages.clustering.tables import OUTPUTS, Group, coinciding, write_tables

from .test_features import catalog

LOG = logging.getLogger("test")


def made(order=None):
    """Return a catalogue of 12 sources, of which row 1 has no value and row 2 is row 3 again, and its points."""
    a = np.arange(12.0)
    a[1], a[2] = np.nan, 3.0
    ra = np.array([359.0, 0, 0, 0, 0, 1.0, 50, 50, 50, 50, 50, np.nan])
    rows = catalog(a=a, ra=np.where(np.isnan(ra), np.nan, ra), dec=np.where(np.isnan(ra), np.nan, 0.0), primary=[True] * 11 + [False])
    if order is not None:
        rows = type(rows)("source", rows.rows.take(order))
    return rows, points_of(rows, FeatureConfig(columns=["a"]), LOG)


def tables(order=None, reverse=False):
    rows, points = made(order)
    ids = rows.column("source_id")[points.rows]
    groups = [
        Group(
            np.flatnonzero(np.isin(ids, [106, 107, 108])),
            np.array([0.5, 0.6, 0.7])[np.argsort(np.argsort(ids[np.isin(ids, [106, 107, 108])]))],
        ),
        Group(np.flatnonzero(ids < 106), np.ones((ids < 106).sum()), significance=5.0),
        Group(np.flatnonzero(ids == 105), np.array([0.25]), parent=1, outlier_score=np.array([2.0])),
    ]
    if reverse:
        groups = [groups[2], groups[1], groups[0]]
        groups[0] = Group(groups[0].members, groups[0].probability, 1, outlier_score=groups[0].outlier_score)
    density = ids.astype(float)
    return write_tables(rows, points, groups, "clustering.test", log_density=density, position=np.argsort(np.argsort(ids)))


def test_clusters_are_ordered_by_size_and_know_their_parents():
    found = tables()
    for name, product in found.items():
        contract = OUTPUTS[name]
        assert isinstance(contract, Contract)
        contract.check(product)
    clusters = found["clusters"]
    first = int(clusters.column("cluster_id")[0])
    assert clusters.column("cluster_id").tolist() == [first, first + 1, first + 2]
    assert 0 <= first < 2**53
    assert clusters.column("n_member").tolist() == [5, 3, 1]
    assert clusters.rows.column("parent_cluster_id").to_pylist() == [None, None, first]
    assert clusters.column("level").tolist() == [0, 0, 1]
    assert clusters.rows.column("significance").to_pylist() == [5.0, None, None]
    # 359, 0, 0, 0 and 1 degrees lie on both sides of the seam; two members of the others stand at 50.
    assert np.isclose((clusters.column("ra")[0] + 180) % 360, 180)
    assert np.isclose(clusters.column("ra")[1], 50)


def test_every_source_is_a_point_and_those_left_out_say_why():
    points = tables()["points"]
    first = int(tables()["clusters"].column("cluster_id")[0])
    assert points.column("source_id").tolist() == list(range(100, 112))
    assert [CLUSTERING.decode(int(bits)) for bits in points.column("flags")] == [
        [], ["MISSING_VALUE"], ["DUPLICATE"], ["DUPLICATE"], *[[]] * 7, ["NOT_PRIMARY"]
    ]  # fmt: skip
    expected = [first, None, first, first, first, first + 2, *[first + 1] * 3, None, None, None]
    assert points.rows.column("cluster_id").to_pylist() == expected
    assert points.rows.column("probability").to_pylist()[5:8] == [0.25, 0.5, np.float32(0.6)]
    assert points.rows.column("outlier_score").to_pylist()[4:6] == [None, 2.0]
    assert points.rows.column("position").to_pylist() == [0, None, *range(1, 10), None]
    assert points.rows.column("log_density").to_pylist()[2] == 102.0


def test_the_order_of_rows_and_of_groups_changes_nothing():
    expected = tables()
    order = np.random.default_rng(1).permutation(12)
    for other in (tables(reverse=True), tables(order)):
        assert other["clusters"].rows.equals(expected["clusters"].rows)
        assert other["members"].rows.equals(expected["members"].rows)
        assert other["points"].rows.sort_by("source_id").equals(expected["points"].rows)


def test_what_finds_nothing_still_says_so_of_every_source():
    rows, points = made()
    found = write_tables(rows, points, [], "clustering.test")
    assert [len(found[name]) for name in ("clusters", "members", "points")] == [0, 0, 12]
    assert found["points"].rows.column("cluster_id").null_count == 12
    empty = catalog(a=np.zeros(0))
    found = write_tables(empty, points_of(empty, FeatureConfig(columns=["a"]), LOG), [], "clustering.test")
    assert [len(found[name]) for name in ("clusters", "members", "points")] == [0, 0, 0]


def test_coinciding_points_are_found_whatever_the_sign_of_zero():
    values = np.array([[0.0, 1.0], [1.0, 0.0], [-0.0, 1.0], [5.0, 5.0]])
    assert coinciding(values).tolist() == [True, False, True, False]
    assert coinciding(values[:0]).tolist() == []
