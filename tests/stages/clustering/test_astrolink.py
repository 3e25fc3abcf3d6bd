"""AstroLink: what it finds, how often it finds what is not there, and that neither rows nor dirt change it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from astrosurvey.core.stage import DataError
from astrosurvey.stages.clustering import graph
from astrosurvey.stages.clustering.astrolink.groups import significant
from astrosurvey.stages.clustering.astrolink.joins import joins_of
from astrosurvey.stages.clustering.astrolink.membership import memberships
from astrosurvey.stages.clustering.astrolink.null import Null, featureless, fitted, simulated, tabulated
from astrosurvey.stages.clustering.astrolink.stage import AstroLink
from astrosurvey.stages.clustering.features import Points
from astrosurvey.stages.simulate.clusters.mock import gaussian_box, mock, uniform_box

from ..running import run, tiles_of
from .fields import catalog, clumps


def points(values, box=None):
    n, d = values.shape
    return Points(np.ascontiguousarray(values, np.float64), np.arange(n), n, d, np.zeros(d) if box is None else box, tuple("abcdefgh"[:d]))


def found_in(values, rate=0.05, k=20, box=None, weights=None):
    """Return groups, labels and the joins of points."""
    made = graph.build(points(values, box), k, weights=weights)
    joins, null = joins_of(made), tabulated(values.shape[1], k)
    groups, label, _ = memberships(made, joins, null, significant(joins, null, rate))
    return groups, label, joins


def clustered(columns, settings=None, **more):
    """Return the stage's tables of columns, in a catalogue with more of them."""
    return run(AstroLink, {"columns": list(columns), **(settings or {})}, sources=tiles_of(t=catalog(**columns, **more)))


def labels_of(made):
    """Return the cluster of each source; -1 for none."""
    return np.asarray(made["points"].rows.column("cluster_id").fill_null(-1))


@pytest.mark.parametrize(("d", "least"), [(2, 0.6), (3, 0.9), (6, 0.95)])
def test_clumps_and_streams_are_found_with_sharp_boundaries(d, least):
    made = mock(np.random.default_rng(1), 4000, d)
    groups, label, _ = found_in((made.values - made.values.mean(axis=0)) / made.values.std(axis=0))
    assert adjusted_rand_score(made.labels, label) > least
    best = [max((made.labels == t)[g.members].sum() / ((made.labels == t).sum() + len(g.members)) for g in groups) for t in range(12)]
    assert (np.array(best) > 0.3).sum() >= 10  # the intersection over the sum of sizes; 0.5 if all agree
    assert all(g.parent < k for k, g in enumerate(groups))


def test_many_clusters_are_not_taken_for_noise():
    rng = np.random.default_rng(9)
    middles = rng.random((100, 3))
    values = np.concatenate([rng.random((3000, 3)), np.repeat(middles, 40, axis=0) + rng.normal(size=(4000, 3)) * 0.003])
    groups, _, _ = found_in(values)
    assert 95 <= len(groups) <= 110


def test_memberships_are_as_probable_as_stated():
    stated, true = [], []
    for seed in range(4):
        made = mock(np.random.default_rng(seed), 4000, 3)
        groups, label, _ = found_in((made.values - made.values.mean(axis=0)) / made.values.std(axis=0))
        for k, group in enumerate(groups):
            mine = np.bincount(made.labels[group.members] + 1, minlength=13)[1:].argmax()
            if (label[group.members] == k).any():
                stated.append(group.probability)
                true.append(made.labels[group.members] == mine)
    stated, true = np.concatenate(stated), np.concatenate(true)
    bins = np.digitize(stated, np.arange(0.1, 1, 0.1))
    apart = [abs(stated[bins == b].mean() - true[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    assert sum(apart) < 0.05


@pytest.mark.parametrize("box", [uniform_box, gaussian_box])
def test_false_clusters_are_as_rare_as_stated(box):
    p = []
    for seed in range(40):
        joins = joins_of(graph.build(points(box(np.random.default_rng([seed, 5]), 1500, 3)), 20))
        null = tabulated(3, 20)
        p.append(np.exp(null.log_probability((joins.clear[:, 0] / joins.unit(null.scale)).max(), len(joins))))
    # Binomial scatter of 40 boxes is 0.08 and 0.035.
    assert 0.25 < np.mean(np.array(p) <= 0.5) < 0.75
    assert np.mean(np.array(p) <= 0.05) <= 0.2


def test_tail_and_probabilities():
    rng = np.random.default_rng(0)
    null = fitted(rng.exponential(0.4, 20_000), 0.2)
    np.testing.assert_allclose(null.log_rate(np.array([2.0, 3.0])), [-5, -7.5], atol=0.4)
    null = Null((0.0, 2.0, 0.0), 0.2)
    assert np.exp(null.log_probability(3.0, 100)) == pytest.approx(1 - np.exp(-100 * np.exp(-6.0)))
    assert null.significance(3.0, 100) < null.significance(4.0, 100) < null.significance(400.0, 100) < np.inf
    assert null.log_probability(0.0, 10**6) == 0
    between = tabulated(4, 30)
    assert between.scale > 0
    assert between.tail[1] + between.tail[2] > 0
    with pytest.raises(ValueError, match="too few"):
        fitted(np.ones(5), 0.1)


def test_simulated_null_is_that_of_the_table():
    made, kept = simulated(np.random.default_rng(3), 2000, 3, 20, joins=3000), tabulated(3, 20)
    assert made.scale == pytest.approx(kept.scale, rel=0.15)
    assert made.log_rate(2.0) == pytest.approx(kept.log_rate(2.0), abs=0.6)
    assert featureless(np.random.default_rng(0), 5, 2, 0).max() < 1


def test_coinciding_points_have_one_label_and_a_finite_density():
    values, truth = clumps(900)
    values = np.concatenate([values, np.tile([[0.15, 0.85]], (60, 1)), np.tile(values[:1], (60, 1))])
    made = clustered({"u": values[:, 0], "v": values[:, 1]})
    label = labels_of(made)
    assert len(set(label[900:960])) == 1
    assert label[900] >= 0  # sixty points in one place are a cluster
    assert set(label[960:]) == {label[0]}
    assert np.isfinite(np.asarray(made["points"].rows.column("log_density"))).all()
    assert adjusted_rand_score(truth, label[:900]) > 0.6


def test_neither_rows_nor_precision_nor_units_change_anything():
    values, _ = clumps(800)
    values = values.astype(np.float32)
    columns = {"u": values[:, 0], "v": values[:, 1]}
    first = labels_of(clustered(columns))
    shuffled = np.random.default_rng(2).permutation(len(values))
    again = labels_of(clustered({name: column[shuffled] for name, column in columns.items()}, source_id=shuffled + 100))
    np.testing.assert_array_equal(again, first)  # tables are in the order of the ids
    double = {name: column.astype(np.float64) for name, column in columns.items()}
    np.testing.assert_array_equal(labels_of(clustered(double)), first)
    stretched = labels_of(clustered({"u": double["u"] * 2.0**20, "v": double["v"]}))
    np.testing.assert_array_equal(stretched, first)


def test_missing_constant_and_integer_columns():
    values, truth = clumps(800)
    u = values[:, 0].copy()
    u[::50] = np.nan
    made = clustered({"u": u, "v": values[:, 1], "same": np.full(800, 3.0)})
    label = labels_of(made)
    assert (label[::50] == -1).all()
    keep = np.isfinite(u)
    assert adjusted_rand_score(truth[keep], label[keep]) > 0.6
    integers = clustered({"u": (values[:, 0] * 200).astype(np.int64), "v": (values[:, 1] * 200).astype(np.int64)})
    assert adjusted_rand_score(truth, labels_of(integers)) > 0.5


@pytest.mark.parametrize("n", [0, 1, 5, 20, 25, 60])
def test_few_points_are_no_error(n):
    values = np.random.default_rng(0).random((n, 2))
    made = clustered({"u": values[:, 0], "v": values[:, 1]})
    assert len(made["clusters"]) == 0
    assert len(made["points"]) == n


def test_seam_poles_and_periodic_sides_are_places_like_any_other():
    rng = np.random.default_rng(4)
    offset = rng.normal(size=(150, 2)) * 2.0
    field = np.degrees(np.arcsin(rng.uniform(-1, 1, 600)))
    angle = rng.uniform(0, 360, 150)
    ra = np.concatenate([offset[:, 0] % 360, angle, rng.uniform(0, 360, 600)])
    dec = np.concatenate([offset[:, 1], 90 - np.abs(offset[:, 1]), field])
    label = labels_of(clustered({"ra": ra, "dec": dec}))
    assert adjusted_rand_score(np.repeat([0, 1, -1], [150, 150, 600]), label) > 0.7
    corner = np.concatenate([rng.normal(size=(200, 2)) * 0.3 % 10.0, rng.random((600, 2)) * 10, rng.normal(size=(100, 2)) * 0.2 + 5])
    truth = np.repeat([0, -1, 1], [200, 600, 100])
    groups, label, _ = found_in(corner, box=np.array([10.0, 10.0]))
    assert len(groups) == 2
    assert adjusted_rand_score(truth, label) > 0.7


def test_a_lone_clump_is_said_to_be_taken_for_the_field(caplog):
    rng = np.random.default_rng(8)
    values = np.concatenate([rng.uniform(-1, 1, (600, 2)), 0.05 * rng.standard_normal((600, 2))])
    assert len(clustered({"x_t_a": values[:, 0], "x_t_b": values[:, 1]})["clusters"]) == 0
    assert "clustering.hdbscan or clustering.gaussian_mixture finds it" in caplog.text


def test_one_dominant_clump_and_a_stream_across_it():
    rng = np.random.default_rng(6)
    clump, field = rng.normal(size=(3000, 2)) * 0.02 + 0.4, rng.random((300, 2))
    groups, label, _ = found_in(np.concatenate([clump, field, rng.normal(size=(60, 2)) * 0.01 + [0.8, 0.8]]))
    assert (label[-60:] >= 0).mean() > 0.8
    assert len(set(label[:3000][np.abs(clump - 0.4).max(axis=1) < 0.02])) == 1
    stream = np.column_stack([rng.random(500), 0.4 + rng.normal(size=500) * 0.01])
    groups, label, _ = found_in(np.concatenate([clump[:600], stream, rng.random((600, 2)), rng.normal(size=(60, 2)) * 0.01 + [0.8, 0.8]]))
    assert len(groups) >= 2
    core = label[:600][np.abs(clump[:600] - 0.4).max(axis=1) < 0.015]
    assert len(set(core)) == 1
    assert core[0] >= 0


def test_weights_count_as_points_and_must_be_positive():
    rng = np.random.default_rng(8)
    heavy = rng.random((1500, 2))
    mass = np.where(np.minimum(*(np.hypot(*(heavy - middle).T) for middle in (0.25, 0.75))) < 0.15, 8.0, 1.0)
    columns = {"u": heavy[:, 0], "v": heavy[:, 1]}
    assert len(clustered(columns)["clusters"]) == 0
    made = clustered(columns, {"weights": "mass"}, mass=mass)
    inside = labels_of(made) >= 0
    assert len(made["clusters"]) >= 1
    assert inside[mass > 1].mean() > 0.5
    assert inside[mass == 1].mean() < 0.05
    with pytest.raises(DataError, match="must be positive"):
        clustered(columns, {"weights": "mass"}, mass=mass - 1)


def test_graph_holds_what_methods_share():
    values = np.repeat(np.random.default_rng(1).random((50, 3)), [1, 2] * 25, axis=0)
    made = graph.build(points(values), 10)
    assert len(made) == 50
    assert made.count.sum() == 75
    assert np.bincount(made.node).tolist() == made.count.tolist()
    assert len(np.unique(np.column_stack([made.node, values]), axis=0)) == 50
    assert (made.near[:, 0] == np.arange(50)).all()
    assert made.near.shape == (50, 7)
    summed = graph.build(points(values), 10, weights=np.full(75, 0.5))
    np.testing.assert_allclose(summed.log_density, made.log_density - np.log(2))
    uniform = graph.build(points(np.random.default_rng(2).random((4000, 2))), 40)
    assert np.median(uniform.log_density) == pytest.approx(np.log(4000), abs=0.15)


SCRIPT = """
import hashlib, numba, numpy as np
from astrosurvey.core.stage import DataError
from astrosurvey.stages.clustering import graph
from astrosurvey.stages.clustering.astrolink.groups import significant
from astrosurvey.stages.clustering.astrolink.joins import joins_of
from astrosurvey.stages.clustering.astrolink.membership import memberships
from astrosurvey.stages.clustering.astrolink.null import tabulated
from astrosurvey.stages.clustering.features import Points
from astrosurvey.stages.clustering.hdbscan.select import select
from astrosurvey.stages.clustering.hdbscan.tree import grow
rng = np.random.default_rng(1)
values = np.concatenate([rng.normal(size=(2600, 3)), 0.1 * rng.normal(size=(200, 3)) + 1, 0.1 * rng.normal(size=(200, 3)) - 1])
null = tabulated(3, 20)
seen = set()
for threads in (1, 2, 8):
    numba.set_num_threads(threads)
    points = Points(values, np.arange(3000), 3000, 3, np.zeros(3), ("a", "b", "c"))
    made = graph.build(points, 20)
    joins = joins_of(made)
    labels = memberships(made, joins, null, significant(joins, null, 0.05))[1]
    hierarchy = grow(points, 20, 40, "cpu")
    others = select(hierarchy.tree, "eom", 0.0, False).label
    assert labels.max() > 0 and others.max() > 0
    seen.add(hashlib.sha256(b"".join(a.tobytes() for a in (made.log_density, joins.order, joins.clear, labels, others))).hexdigest())
assert len(seen) == 1, seen
"""


def test_nothing_depends_on_the_number_of_threads():
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env={**os.environ, "NUMBA_NUM_THREADS": "8", "PYTHONPATH": path})


def on_a_surface(kind, rng, n=500):
    """Return points that fill fewer dimensions than they have coordinates, without any structure."""
    if kind == "circle":
        angle = rng.uniform(0, 2 * np.pi, n)
        return np.column_stack([np.cos(angle), np.sin(angle)])
    if kind == "sphere":
        direction = rng.normal(size=(n, 3))
        return direction / np.sqrt((direction**2).sum(axis=1))[:, None]
    return rng.uniform(size=(n, 2)) @ rng.normal(size=(2, 3))  # a plane in three dimensions


@pytest.mark.parametrize(("kind", "settings"), [("circle", {"dimension": 1}), ("sphere", {"dimension": 2}), ("plane", {})])
def test_noise_on_a_surface_is_told_and_with_the_right_dimension_is_no_group(kind, settings, caplog):
    found = 0
    for seed in range(20):
        values = on_a_surface(kind, np.random.default_rng([seed, 7]))
        columns = dict(zip("abc", values.T, strict=False))
        found += len(clustered(columns, settings)["clusters"]) > 0
    assert found <= 4  # of 20 at a rate of 0.05, five or more happen once in 400 times
    caplog.clear()
    clustered(columns)
    assert ("combination of the columns before" if kind == "plane" else "or set `dimension`") in caplog.text


def test_a_dimension_above_the_number_of_columns_is_refused():
    with pytest.raises(ValueError, match="2 columns fill no space of 3 dimensions"):
        AstroLink.Config(columns=["a", "b"], dimension=3)
