"""clustering.fuzzy: errors of every form, snapshots in any order, clusterings handed in, and what is wrong with them."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from astrosurvey import Catalog, Tiles
from astrosurvey.core.stage import DataError
from astrosurvey.stages.clustering.features import FeatureConfig, columns_of
from astrosurvey.stages.clustering.fuzzy.errors import errors_of, from_covariance, moved
from astrosurvey.stages.clustering.fuzzy.stage import FuzzyClustering
from astrosurvey.stages.evaluate.clustering.scores import adjusted_rand
from astrosurvey.stages.simulate.clusters.mock import mock
from tests.laws.examples import moments

from ..running import run
from .test_features import catalog

SETTINGS = {"columns": ["a", "b"], "method": "hdbscan", "neighbours": 8, "min_cluster_size": 40, "draws": 8}
PORTS = dict.fromkeys(("photometry", "redshifts", "given_clusters", "given_members", "given_points"))


def found(sources, settings=(), **ports):
    """Return the products of the stage for one catalogue or several."""
    parts = sources if isinstance(sources, dict) else {"survey": sources}
    tiles = {name: Tiles(list(p), p.__getitem__) if isinstance(p, dict) else p for name, p in ports.items()}
    return run(FuzzyClustering, {**SETTINGS, **dict(settings)}, sources=Tiles(list(parts), parts.__getitem__), **{**PORTS, **tiles})


def noisy(seed=1, n=900):
    """Return a mock in two dimensions with errors of its own for each source, as a catalogue, and its labels."""
    made = mock(np.random.default_rng(seed), n, 2, clumps=3, streams=0, background=0.4, noise=0.01, noise_scatter=0.3)
    (a, b), (ea, eb) = made.values.T, made.sigma.T
    return catalog(a=a, b=b, a_error=ea, b_error=eb), made.labels


def columns(made, names):
    return columns_of(made, FeatureConfig(columns=names))


class TestErrors:
    made = catalog(
        a=np.arange(4.0),
        b=np.arange(4.0),
        a_error=[1.0, 2, 3, 4],
        b_error=[0.5, 0, 1, 1],
        a_b_corr=[0.0, 0.5, 1.0, -1.0],
        all_error=[1.0, 2, 3, 4],
    )

    @pytest.mark.parametrize(
        ("errors", "root"),
        [
            (0.5, np.full((4, 2), 0.5)),
            ("all_error", np.repeat([[1.0], [2], [3], [4]], 2, axis=1)),
            ("{column}_error", [[1, 0.5], [2, 0], [3, 1], [4, 1]]),
            ({"b": "b_error"}, [[0, 0.5], [0, 0], [0, 1], [0, 1]]),
            ({"a": 2.0, "b": "{column}_error"}, [[2, 0.5], [2, 0], [2, 1], [2, 1]]),
        ],
    )
    def test_of_every_form(self, errors, root):
        given = errors_of(self.made, columns(self.made, ["a", "b"]), errors)
        np.testing.assert_array_equal(given.root, root)
        assert given.usable.all()

    def test_correlations_make_covariances(self):
        given = errors_of(self.made, columns(self.made, ["b", "a"]), "{column}_error", "{a}_{b}_corr")
        np.testing.assert_allclose(given.root @ np.swapaxes(given.root, 1, 2), [
            [[0.25, 0], [0, 1]], [[0, 0], [0, 4]], [[1, 3], [3, 9]], [[1, -4], [-4, 16]]
        ], atol=1e-7)  # fmt: skip
        drawn = np.stack([given.draw(np.random.default_rng(k)) for k in range(4000)])
        np.testing.assert_allclose(np.cov(drawn[:, 3].T), [[1, -4], [-4, 16]], rtol=0.1)

    def test_what_is_no_error_is_said_to_be_none(self):
        made = catalog(a=np.arange(5.0), b=np.arange(5.0), a_error=[1.0, np.nan, -1.0, 0.0, np.inf], b_error=np.ones(5))
        assert errors_of(made, columns(made, ["a", "b"]), "{column}_error").usable.tolist() == [True, False, False, True, False]
        covariance = np.tile(np.eye(2), (4, 1, 1))
        covariance[1, 0, 1] = covariance[1, 1, 0] = 1.01
        covariance[2, 0, 0] = np.nan
        covariance[3, 0, 0] = -1.0
        assert from_covariance(covariance).usable.tolist() == [True, False, False, False]

    def test_units_are_converted(self):
        made = catalog(units={"a": "deg", "a_error": "mas"}, a=np.arange(3.0), a_error=np.full(3, 3.6e6))
        np.testing.assert_allclose(errors_of(made, columns(made, ["a"]), "{column}_error").root, 1.0)
        wrong = catalog(units={"a": "deg", "a_error": "km"}, a=np.arange(3.0), a_error=np.ones(3))
        with pytest.raises(DataError, match="is in km, and cannot be the error of values in deg"):
            errors_of(wrong, columns(wrong, ["a"]), "{column}_error")

    @pytest.mark.parametrize("unit", ["%", "bananas"])
    def test_fractions_and_unknown_units_are_no_errors(self, unit):
        wrong = catalog(units={"a": "deg", "a_error": unit}, a=np.arange(3.0), a_error=np.ones(3))
        with pytest.raises(DataError, match=f"is in {unit}, and cannot be the error"):
            errors_of(wrong, columns(wrong, ["a"]), "{column}_error")

    def test_errors_far_larger_than_the_scatter_are_in_another_unit(self):
        made = catalog(a=np.linspace(10, 11, 50), b=np.linspace(0, 1, 50), a_error=np.full(50, 200.0), b_error=np.full(50, 0.3))
        with pytest.raises(DataError, match="'a' scatter by 0.295, and half of their errors are above 200; errors must be"):
            errors_of(made, columns(made, ["a", "b"]), "{column}_error")
        assert errors_of(made, columns(made, ["b"]), "{column}_error").usable.all()
        constant = catalog(a=np.full(50, 0.1), a_error=np.full(50, 0.3))
        assert errors_of(constant, columns(constant, ["a"]), "{column}_error").usable.all()

    def test_covariances_are_made_in_blocks(self, monkeypatch):
        rng = np.random.default_rng(4)
        values = rng.random((3, 7))
        made = catalog(
            a=values[0], b=values[1], a_error=values[2], b_error=np.ones(7), a_b_corr=np.append(rng.uniform(-1, 1, 5), [np.inf, 2])
        )
        whole = errors_of(made, columns(made, ["a", "b"]), "{column}_error", "{a}_{b}_corr")
        monkeypatch.setattr("astrosurvey.stages.clustering.fuzzy.errors.BLOCK", 3)
        blocks = errors_of(made, columns(made, ["a", "b"]), "{column}_error", "{a}_{b}_corr")
        np.testing.assert_array_equal(blocks.root, whole.root)
        assert blocks.usable.tolist() == whole.usable.tolist() == [True] * 5 + [False] * 2

    def test_a_direction_moves_over_the_pole_and_the_seam(self):
        made = catalog(ra=np.array([0.0, 10.0, 359.9]), dec=np.array([0.0, 89.0, 60.0]))
        there = moved(columns(made, ["ra", "dec"]), np.array([[0, 1], [0, 2], [0.5, 0.0]]))
        np.testing.assert_allclose(there[0], [0, 1], atol=1e-3)
        np.testing.assert_allclose(there[1], [190, 89], atol=1e-2)
        np.testing.assert_allclose(there[2], [0.9, 60], atol=1e-2)

    def test_wrong_names(self):
        with pytest.raises(DataError, match="no errors: the catalogue has no column 'c_error'"):
            errors_of(catalog(c=np.arange(3.0)), columns(catalog(c=np.arange(3.0)), ["c"]), "{column}_error")
        with pytest.raises(DataError, match="`errors` names c, not among"):
            errors_of(self.made, columns(self.made, ["a"]), {"c": 1.0})


class TestDraws:
    def test_clusters_that_hold_under_errors_and_memberships_that_mean_what_they_say(self):
        made, labels = noisy()
        out = found(made)
        assert (out["clusters"].column("stability") > 0.9).sum() == 3
        points = out["points"].rows.column("cluster_id").fill_null(-1).to_numpy()
        assert adjusted_rand(labels, np.unique(points, return_inverse=True)[1])[0] > 0.8
        probability = out["points"].column("probability")
        inside = np.isfinite(probability)
        assert abs(probability[inside].mean() - (labels[inside] >= 0).mean()) < 0.08
        assert (out["clusters"].column("stability") >= 0.5).all()
        assert len(out["events"]) == 0

    def test_draws_of_astrolink_are_nested_and_significant(self):
        made, _ = noisy(n=2000)
        out = found(made, {"method": "astrolink", "neighbours": 20})
        assert len(out["clusters"]) >= 3
        assert (out["clusters"].column("significance") > 2).all()
        nothing = np.random.default_rng(3).random((2, 800))
        empty = catalog(a=nothing[0], b=nothing[1], a_error=np.full(800, 0.01), b_error=np.full(800, 0.01))
        assert len(found(empty, {"method": "astrolink", "neighbours": 20})["clusters"]) == 0

    def test_neither_the_order_of_rows_nor_threads_matter(self):
        import numba

        made, _ = noisy()
        order = np.random.default_rng(2).permutation(len(made))
        turned = Catalog("source", made.rows.take(order)).replace(source_id=made.column("source_id"))
        threads = numba.get_num_threads()
        first = found(made)
        numba.set_num_threads(1)
        second = found(turned)
        numba.set_num_threads(threads)
        np.testing.assert_array_equal(first["points"].column("probability")[order], second["points"].column("probability"))
        one, other = (out["points"].rows.column("cluster_id").fill_null(-1).to_numpy() for out in (first, second))
        pairs = set(zip(one[order].tolist(), other.tolist(), strict=True))
        assert len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))

    def test_sources_without_errors_are_kept_and_not_clustered(self, caplog):
        made, _ = noisy()
        error = made.column("x_demo_a_error").copy()
        error[[3, 5]] = np.nan, -1
        with caplog.at_level(logging.WARNING):
            out = found(made.replace(x_demo_a_error=error))
        assert "2 of 900 sources are left out" in caplog.text
        assert len(out["points"]) == 900
        assert out["points"].column("flags")[[3, 5]].all()
        with pytest.raises(DataError, match="not one source has usable errors"):
            found(made.replace(x_demo_a_error=np.full(900, -1.0)))

    def test_one_draw_without_errors_is_a_clustering(self, caplog):
        with caplog.at_level(logging.WARNING):
            out = found(noisy()[0], {"draws": 1, "errors": 0.0})
        assert "one clustering only" in caplog.text
        assert "all errors are 0" in caplog.text
        assert (out["clusters"].column("stability") == 1).all()

    @pytest.mark.parametrize("n", [0, 1, 25])
    def test_few_sources(self, n, caplog):
        with caplog.at_level(logging.WARNING):
            out = found(Catalog("source", noisy()[0].rows.slice(0, n)))
        assert len(out["points"]) == n
        assert "not one clustering has a cluster" in caplog.text


class TestSnapshots:
    settings = {"columns": ["p1", "p2"], "neighbours": 8, "min_cluster_size": 15, "tracer": "tracer", "time": "time"}

    def test_time_runs_as_the_column_says_so_a_clump_of_the_first_rows_is_born_late(self):
        out = found(dict(enumerate_names(moments())), self.settings)
        assert len(out["clusters"]) == 3
        (event,) = out["events"].rows.to_pylist()
        assert (event["kind"], event["snapshot"], event["time"], event["other_cluster_id"]) == ("birth", 2, 8.0, None)
        assert event["n_member"] >= 25

    def test_the_order_of_rows_and_of_tiles_does_not_matter(self):
        first = found(dict(enumerate_names(moments())), self.settings)
        second = found(dict(reversed(list(enumerate_names(moments())))), self.settings)
        assert first["events"].rows.equals(second["events"].rows)
        assert first["members"].rows.equals(second["members"].rows)

    def test_numbers_of_tiles_are_times_and_empty_ones_are_passed_over(self, caplog):
        whole = Catalog.concatenate(moments())
        time = whole.column("x_demo_time")
        parts = {}
        for k in range(5):
            rows = whole.rows.filter(time == 10 - k)
            parts[f"s{2 * k}"] = Catalog("source", rows.set_column(rows.column_names.index("tile_id"), "tile_id", [[k + 1] * 130]))
        parts["s3"] = Catalog("source", whole.rows.slice(0, 0))
        with caplog.at_level(logging.WARNING):
            out = found(dict(sorted(parts.items(), reverse=True)), {**self.settings, "time": None})
        (event,) = out["events"].rows.to_pylist()
        assert (event["kind"], event["time"]) == ("death", 6.0)
        assert "without rows are passed over: s3" in caplog.text
        with pytest.raises(DataError, match="tile survey is a snapshot of no known time"):
            found(whole, {**self.settings, "time": None})

    def test_objects_that_appear_and_vanish_do_not_end_a_cluster(self):
        whole = Catalog.concatenate(moments())
        lost = (whole.column("x_demo_tracer") % 3 == 0) & (whole.column("x_demo_time") > 8)
        out = found(Catalog("source", whole.rows.filter(~lost)), self.settings)
        assert len(out["clusters"]) == 3
        assert [event["kind"] for event in out["events"].rows.to_pylist()] == ["birth"]

    def test_two_clumps_that_meet_and_part(self):
        rng = np.random.default_rng(11)
        still, guest, field = rng.normal(0, 0.02, (60, 2)), rng.normal(0, 0.02, (40, 2)), rng.uniform(-1, 1, (60, 2))
        columns = {name: [] for name in ("p1", "p2", "tracer", "time")}
        for time, place in enumerate([0.6, 0.45, 0.3, 0.0, 0.0, 0.0, -0.3, -0.45, -0.6]):
            order = rng.permutation(160)
            values = np.concatenate([still, guest + np.array([place, 0.0]), field])[order]
            for name, column in zip(columns, (*values.T, order, np.full(160, time)), strict=True):
                columns[name].append(column)
        shuffled = rng.permutation(9 * 160)
        made = catalog(**{name: np.concatenate(parts)[shuffled] for name, parts in columns.items()})
        out = found(made, {**self.settings, "min_cluster_size": 30})
        assert len(out["clusters"]) == 2
        # The guest is missed while it is inside, and known again by its objects.
        assert [event["kind"] for event in out["events"].rows.to_pylist()] == []

    def test_too_few_snapshots_give_nothing(self, caplog):
        whole = Catalog.concatenate(moments())
        with caplog.at_level(logging.WARNING):
            out = found(Catalog("source", whole.rows.filter(whole.column("x_demo_time") > 8)), self.settings)
        assert "must last for 3 snapshots, and 2 have rows" in caplog.text
        assert len(out["clusters"]) == len(out["events"]) == 0

    def test_one_snapshot_has_clusters_and_no_history(self):
        whole = Catalog.concatenate(moments())
        one = Catalog("source", whole.rows.filter(whole.column("x_demo_time") == 10))
        out = found(one, {**self.settings, "min_lifetime": 1})
        assert len(out["clusters"]) >= 2
        assert len(out["events"]) == 0

    def test_wrong_snapshots(self):
        whole = Catalog.concatenate(moments())
        time = whole.column("x_demo_time").astype(float)
        time[7] = np.nan
        with pytest.raises(DataError, match="1 of 650 rows have no `time`"):
            found(whole.replace(x_demo_time=time), self.settings)
        with pytest.raises(DataError, match="object 1 is twice in the snapshot of time 6, and"):
            found(whole, {**self.settings, "tracer": "tile_id"})
        with pytest.raises(DataError, match="must hold a whole number"):
            found(whole, {**self.settings, "tracer": "p1"})
        with pytest.raises(ValidationError, match="`time` is that of snapshots"):
            FuzzyClustering.Config(columns=["a"], time="t")


def enumerate_names(parts):
    return ((f"t{k}", part) for k, part in enumerate(parts))


class TestGiven:
    def members(self, made, clusters):
        """Return the tables of a clustering: (members, parent) by cluster id."""
        ids = made.column("source_id")
        rows = [(key, int(ids[m])) for key, (members, _) in clusters.items() for m in members]
        owner, source = np.array(rows).T
        member = Catalog.from_columns("cluster_member", {"cluster_id": owner, "source_id": source, "probability": 1.0})
        parent = np.ma.MaskedArray([max(p, 0) for _, p in clusters.values()], [p < 0 for _, p in clusters.values()])
        about = {"method": "own.method", "level": 0, "n_member": [len(m) for m, _ in clusters.values()], "significance": 7.0}
        return member, Catalog.from_columns("cluster", {"cluster_id": list(clusters), "parent_cluster_id": parent, **about})

    def test_clusterings_of_other_programs(self):
        made, labels = noisy()
        inner = np.flatnonzero(labels == 0)
        outer = np.flatnonzero(labels <= 1)[::2]
        outer = np.union1d(inner, outer)
        tables = {f"k{k}": self.members(made, {10: (outer, -1), 11: (inner[k:], 10)}) for k in range(4)}
        out = found(
            made,
            given_members={name: m for name, (m, _) in tables.items()},
            given_clusters={name: c for name, (_, c) in tables.items()},
        )
        top, below = out["clusters"].rows.to_pylist()
        assert (top["parent_cluster_id"], below["parent_cluster_id"]) == (None, top["cluster_id"])
        assert top["significance"] == below["significance"] == 7
        assert top["stability"] == 1

    def test_a_clustering_that_found_nothing_counts_against(self):
        made, labels = noisy()
        member, cluster = self.members(made, {1: (np.flatnonzero(labels == 0), -1)})
        members = {"a": member, "b": member, "c": Catalog.empty("cluster_member")}
        out = found(made, given_members=members, given_clusters={"a": cluster, "b": cluster, "c": Catalog.empty("cluster")})
        assert out["clusters"].column("stability") == pytest.approx(2 / 3)

    def test_strangers_are_left_out(self, caplog):
        made, labels = noisy()
        member, _ = self.members(made, {1: (np.flatnonzero(labels == 0), -1)})
        odd = member.replace(source_id=np.append(member.column("source_id")[1:], 2**40))
        with caplog.at_level(logging.WARNING):
            out = found(made, given_members={"a": odd, "b": member})
        assert "1 members of the clusters given are no source" in caplog.text
        assert len(out["clusters"]) == 1

    def test_clusterings_of_different_rows_count_where_they_saw(self):
        made, labels = noisy()
        clump = np.flatnonzero(labels == 0)
        whole, _ = self.members(made, {1: (clump, -1)})
        half, _ = self.members(made, {1: (clump[::2], -1)})
        ids, flags = made.column("source_id"), np.zeros(len(made), np.int32)
        flags[clump[1::2]] = 1
        some = Catalog.from_columns("cluster_point", {"source_id": ids, "method": "own.method", "flags": flags})
        parts = {"all": some.replace(flags=np.zeros(len(made), np.int32)), "half": some}
        plain = found(made, given_members={"all": whole, "half": half})
        aware = found(made, given_members={"all": whole, "half": half}, given_points=parts)
        first, second = (np.sort(out["members"].column("probability")) for out in (plain, aware))
        assert len(first) == len(second)
        assert first[: len(clump) // 4].max() < 0.55
        assert second[len(clump) // 4] > 0.8
        with pytest.raises(DataError, match="`given_points` has no tile half"):
            found(made, given_members={"all": whole, "half": half}, given_points={"all": some})

    def test_what_is_no_clustering_of_these_sources(self):
        made, labels = noisy()
        member, cluster = self.members(made, {1: (np.flatnonzero(labels == 0), -1)})
        with pytest.raises(DataError, match="not one member in tile a of `given_members` is one of the sources"):
            found(made, given_members={"a": member.replace(source_id=member.column("source_id") + 2**40)})
        with pytest.raises(DataError, match="tile a of `given_members` has members of cluster 9, which `given_clusters` does not have"):
            found(made, given_members={"a": member.replace(cluster_id=np.full(len(member), 9))}, given_clusters={"a": cluster})
        with pytest.raises(DataError, match="`given_members` is no clustering: a cluster names a member twice"):
            found(made, given_members={"a": Catalog.concatenate([member, member])})

    def test_wrong_wiring(self):
        made, labels = noisy()
        member, cluster = self.members(made, {1: (np.flatnonzero(labels == 0), -1)})
        with pytest.raises(DataError, match="without `given_members`, whose"):
            found(made, given_clusters={"a": cluster})
        with pytest.raises(DataError, match="leave out `tracer`"):
            found(made, {"tracer": "tile_id"}, given_members={"a": member})


def test_errors_taken_by_rows():
    given = from_covariance(np.tile(np.eye(2), (3, 1, 1)))
    assert given.take(np.array([0])).root.shape == (1, 2, 2)
    assert replace(given, root=np.zeros((3, 2))).draw(np.random.default_rng(1)).shape == (3, 2)
