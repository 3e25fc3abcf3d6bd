"""Fuzzy clusters of clusterings that are made up: what is alike, what is joined, who belongs, what happens in time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import minimum_spanning_tree

from astrosurvey.stages.clustering.fuzzy.background import without_field
from astrosurvey.stages.clustering.fuzzy.branches import branches
from astrosurvey.stages.clustering.fuzzy.clusterings import FULL, Cluster, gather
from astrosurvey.stages.clustering.fuzzy.events import events_of
from astrosurvey.stages.clustering.fuzzy.groups import groups_of
from astrosurvey.stages.clustering.fuzzy.memberships import Membership, assigned, memberships, nesting, own, parents
from astrosurvey.stages.clustering.fuzzy.similarity import tree
from astrosurvey.stages.clustering.fuzzy.snapshots import lasting, seen

N = 300


def some(rng, n_clusterings=8, soft=False):
    """Return noisy versions of three blocks, the third inside the second, of which some are missing."""
    blocks = (np.arange(20, 90), np.arange(100, 260), np.arange(150, 210))
    made = []
    for _ in range(n_clusterings):
        clusters = []
        for k, block in enumerate(blocks):
            if rng.random() < 0.2 and k == 0:
                continue
            members = np.union1d(block[rng.random(len(block)) < 0.9], rng.integers(0, N, 6))
            probability = rng.uniform(0.7, 1, len(members)) if soft else None
            clusters.append(Cluster(rng.permutation(members) if not soft else members, probability))
        if len(clusters) >= 2:
            clusters[-1] = clusters[-1]._replace(parent=len(clusters) - 2)
        made.append(clusters)
    return made


def jaccard(clusterings):
    """Return all pairs' Jaccard indices, by a sparse product or, for weights, one by one; 0 within a clustering."""
    whole = np.zeros((len(clusterings), clusterings.n_points))
    for c in range(len(clusterings)):
        whole[c, clusterings.members(c)] = clusterings.weights(c) / FULL
    if clusterings.weight is None:
        matrix = sparse.csr_matrix(whole)
        shared = (matrix @ matrix.T).toarray()
    else:
        shared = np.minimum(whole[:, None], whole[None]).sum(axis=2)
    size = whole.sum(axis=1)
    index = shared / (size[:, None] + size - shared)
    index[clusterings.clustering[:, None] == clusterings.clustering] = 0
    return index


class TestTree:
    @pytest.mark.parametrize("soft", [False, True])
    def test_it_is_a_maximum_spanning_tree(self, soft):
        clusterings = gather(some(np.random.default_rng(3), soft=soft), N)
        index = jaccard(clusterings)
        ends, found = tree(clusterings)
        np.testing.assert_allclose(found, index[ends[:, 0], ends[:, 1]], rtol=1e-12)
        best = -minimum_spanning_tree(sparse.csr_matrix(-index)).data
        np.testing.assert_allclose(found, np.sort(best)[::-1], rtol=1e-12)

    def test_a_floor_cuts_the_tree_there(self):
        clusterings = gather(some(np.random.default_rng(4)), N)
        _, whole = tree(clusterings)
        _, cut = tree(clusterings, 0.6)
        np.testing.assert_array_equal(cut, whole[whole >= 0.6])

    def test_an_index_at_the_floor_counts(self):
        clusterings = gather([[Cluster(np.arange(4))], [Cluster(np.arange(2))]], 4)
        assert tree(clusterings, 0.5)[1].tolist() == [0.5]

    def test_the_window_counts_clusterings(self):
        clusterings = gather([[Cluster(np.arange(9))]] * 5, 9)
        ends, _ = tree(clusterings, window=2)
        assert sorted(abs(np.diff(clusterings.clustering[ends], axis=1)).ravel().tolist()) == [1, 1, 1, 1]

    def test_only_points_that_both_saw_are_compared(self):
        present = np.ones((2, 10), bool)
        present[1, 5:] = False
        clusterings = gather([[Cluster(np.arange(10))], [Cluster(np.arange(5))]], 10, present)
        assert tree(clusterings)[1].tolist() == [1.0]

    @pytest.mark.parametrize("window", [0, 3])
    def test_what_each_saw_in_a_window(self, window):
        rng = np.random.default_rng(9)
        present = (rng.random((4, N)) < 0.7)[rng.integers(0, 4, 12)]
        made = [[Cluster(c.members[present[t][c.members]]) for c in clusters] for t, clusters in enumerate(some(rng, 12))]
        clusterings = gather(made, N, present)
        apart = np.abs(clusterings.clustering[:, None] - clusterings.clustering)
        best = np.zeros((len(clusterings), len(clusterings)))
        for i, j in zip(*np.nonzero((apart > 0) & (apart < (window or 12))), strict=True):
            one, other = clusterings.members(i), clusterings.members(j)
            a, b = (m[present[clusterings.clustering[k]][m]] for m, k in ((one, j), (other, i)))
            best[i, j] = len(np.intersect1d(one, other)) / len(np.union1d(a, b))
        ends, found = tree(clusterings, window=window)
        np.testing.assert_allclose(found, best[ends[:, 0], ends[:, 1]])
        np.testing.assert_allclose(found, np.sort(-minimum_spanning_tree(sparse.csr_matrix(-best)).data)[::-1])

    @pytest.mark.parametrize("clusterings", [[], [[]], [[Cluster(np.arange(3))]], [[Cluster(np.array([], int))], []]])
    def test_next_to_nothing(self, clusterings):
        ends, index = tree(gather(clusterings, 5))
        assert len(ends) == len(index) == 0


class TestGroups:
    def test_what_is_found_again_is_one_and_nested_clusters_are_two(self):
        clusterings = gather(some(np.random.default_rng(5), 20), N)
        groups = groups_of(clusterings, 10)
        assert [len(group.clusters) for group in groups] == [20, len(groups[1].clusters), 20]
        assert all(len(group.clusters) == len(group.clusterings) for group in groups)

    def test_clusters_beside_each_other_are_not_joined_however_alike(self):
        inner, outer = np.arange(80), np.arange(100)
        groups = groups_of(gather([[Cluster(outer), Cluster(inner, parent=0)]] * 10, 100), 5)
        assert [len(group.clusters) for group in groups] == [10, 10]

    def test_pieces_in_a_few_clusterings_count_once(self):
        whole, halves = [Cluster(np.arange(100))], [Cluster(np.arange(60)), Cluster(np.arange(40, 100))]
        clusterings = gather([whole] * 9 + [halves], 100)
        (group,) = groups_of(clusterings, 5)
        (found,) = memberships(clusterings, [group])
        assert (found.probability == 1).all()

    def test_too_rare_is_none(self):
        clusterings = gather([[Cluster(np.arange(10))]] * 4 + [[]] * 6, 10)
        assert groups_of(clusterings, 5) == []
        assert len(groups_of(clusterings, 4)) == 1


class TestMemberships:
    def test_shares_of_the_clusterings_that_have_it(self):
        made = [[Cluster(np.array([0, 1, 2, 3]))], [Cluster(np.array([0, 1, 2]))], [Cluster(np.array([0, 1, 2, 4]))], []]
        clusterings = gather(made, 6)
        (found,) = memberships(clusterings, groups_of(clusterings, 2))
        np.testing.assert_array_equal(found.members, [0, 1, 2, 3, 4])
        np.testing.assert_allclose(found.probability, [1, 1, 1, 1 / 3, 1 / 3])

    def test_those_not_seen_do_not_count_against(self):
        present = np.ones((2, 4), bool)
        present[1, 3] = False
        clusterings = gather([[Cluster(np.arange(4))], [Cluster(np.arange(3))]], 4, present)
        (found,) = memberships(clusterings, groups_of(clusterings, 2))
        np.testing.assert_allclose(found.probability, 1)

    def test_parents_and_what_is_their_own(self):
        made = [[Cluster(np.arange(100)), Cluster(np.arange(40), parent=0)]] * 4
        clusterings = gather(made, 120)
        groups = groups_of(clusterings, 2)
        found = memberships(clusterings, groups)
        above = parents(clusterings, groups, found)
        assert above == [-1, 0]
        assert nesting(clusterings, groups)[0, 1] == 1
        assert own(found, above)[0].sum() == 60
        np.testing.assert_array_equal(assigned(120, found, above), np.repeat([1, 0, -1], [40, 60, 20]))

    @pytest.mark.parametrize("soft", [False, True])
    def test_neither_the_order_of_clusterings_nor_of_clusters_matters(self, soft):
        rng = np.random.default_rng(6)
        made = some(rng, 12, soft)

        def probabilities(order, turned):
            shown = [[c._replace(parent=-1) for c in (made[k][::-1] if turned else made[k])] for k in order]
            clusterings = gather(shown, N)
            found = memberships(clusterings, groups_of(clusterings, 6))
            return sorted((m.members.tobytes(), m.probability.tobytes()) for m in found)

        first = probabilities(range(12), False)
        assert len(first) == 3
        assert probabilities(rng.permutation(12), True) == first

    @pytest.mark.parametrize(
        ("cluster", "match"),
        [
            (Cluster(np.array([1, 9])), "has member 9"),
            (Cluster(np.array([-1, 2])), "has member -1"),
            (Cluster(np.array([2, 2])), "twice"),
            (Cluster(np.array([1, 2]), np.array([0.5, 1.5])), "not between 0 and 1"),
            (Cluster(np.array([1, 2]), np.array([0.5, np.nan])), "not between 0 and 1"),
        ],
    )
    def test_wrong_clusters(self, cluster, match):
        with pytest.raises(ValueError, match=match):
            gather([[cluster]], 9)


class TestField:
    def test_as_many_are_left_as_there_are_members(self):
        rng = np.random.default_rng(2)
        field, clump = rng.random((4000, 2)), 0.5 + rng.normal(0, 0.05, (600, 2))
        values = np.concatenate([field, clump])
        density = 4000 + 600 * np.exp(-((values - 0.5) ** 2).sum(axis=1) / (2 * 0.05**2)) / (2 * np.pi * 0.05**2)
        inside = np.flatnonzero(np.hypot(*(values - 0.5).T) < 0.15)
        (found,) = without_field([Membership(inside, np.ones(len(inside)))], values, np.zeros(2), np.log(density))
        assert len(inside) > 800
        assert found.probability.sum() == pytest.approx((inside >= 4000).sum(), rel=0.1)

    def test_a_cluster_over_the_side_of_a_box_has_the_field_around_it(self):
        rng = np.random.default_rng(3)
        values = rng.random((2000, 2))
        near = np.minimum(values, 1 - values)
        inside = np.flatnonzero(np.hypot(*near.T) < 0.2)
        density = np.where(np.hypot(*near.T) < 0.2, 10.0, 1.0)
        (found,) = without_field([Membership(inside, np.ones(len(inside)))], values, np.ones(2), np.log(density))
        np.testing.assert_allclose(found.probability, 0.9)

    @pytest.mark.parametrize("box", [np.zeros(2), np.ones(2)])
    def test_the_field_around_is_the_nearest_of_all_points_outside(self, box):
        from scipy.spatial import cKDTree

        rng = np.random.default_rng(4)
        values, density = rng.random((900, 2)), rng.normal(size=900)
        clump = np.flatnonzero(np.hypot(*(values - [0.9, 0.5]).T) < 0.09)
        for members in (clump, np.append(clump, np.argmin(values[:, 0])), np.flatnonzero(values[:, 0] < 0.99)):
            outside = np.setdiff1d(np.arange(900), members)
            tree = cKDTree(values[outside], boxsize=box if box.any() else None)
            _, nearest = tree.query(values[members], np.arange(1, min(20, len(outside)) + 1))
            real = -np.expm1(np.minimum(np.median(density[outside][nearest], axis=1) - density[members], 0))
            (found,) = without_field([Membership(members, np.ones(len(members)))], values, box, density)
            np.testing.assert_array_equal(found.members, members[real > 0])
            np.testing.assert_array_equal(found.probability, real[real > 0])

    def test_where_all_are_members_there_is_no_field(self):
        (found,) = without_field([Membership(np.arange(5), np.ones(5))], np.arange(5.0)[:, None], np.zeros(1), np.zeros(5))
        assert (found.probability == 1).all()


class TestEvents:
    present = np.ones((6, 50), bool)

    def test_a_birth_a_death_a_merger_and_a_split(self):
        main, guest, young = np.arange(20), np.arange(20, 30), np.arange(30, 40)
        seen = [
            {t: main if t < 3 else np.arange(30) for t in range(6)},
            dict.fromkeys(range(3), guest),
            dict.fromkeys(range(2, 5), young),
            dict.fromkeys(range(4, 6), main[:8]),
        ]
        told = [(e.kind, e.cluster, e.snapshot, e.other, e.fraction) for e in events_of(seen, self.present)]
        assert told == [("birth", 2, 2, -1, 0.0), ("merger", 1, 3, 0, 1.0), ("split", 3, 4, 0, 1.0), ("death", 2, 5, -1, 0.0)]

    def test_a_snapshot_without_rows_is_passed_over(self):
        present = self.present.copy()
        present[3] = False
        there = {t: np.arange(20) for t in (0, 1, 2, 4, 5)}
        assert events_of([there, {t: np.arange(20, 30) for t in (0, 1, 2)}], present)[0].snapshot == 4
        assert events_of([there], present) == []
        assert events_of([{t: np.arange(20) for t in (4, 5)}], np.vstack([present[3:4].repeat(4, 0), present[:2]])) == []

    def test_a_host_that_is_missed_once_is_still_the_host(self):
        host = {t: np.arange(30) for t in (0, 1, 2, 4, 5)}
        (event,) = events_of([host, {t: np.arange(20, 30) for t in (0, 1, 2)}], self.present)
        assert (event.kind, event.other) == ("merger", 0)


class TestBranches:
    """Histories as lists of snapshots, which are lists of the clusters' members."""

    def told(self, history, n=100, missing=(), least=2):
        """Return the events of a history, with the number of fuzzy clusters; objects `missing` are not in every third snapshot."""
        present = np.ones((len(history), n), bool)
        present[1::3, list(missing)] = False
        shown = [[Cluster(members[present[t][members]]) for members in clusters] for t, clusters in enumerate(history)]
        clusterings = gather(shown, n, present)
        groups = branches(clusterings, groups_of(clusterings, least, 0.5, 10), present)
        groups, _ = lasting(groups, clusterings.clustering, present, 0.5, least)
        events = events_of(seen(clusterings, groups), present)
        return len(groups), [(event.kind, event.snapshot, event.n_member) for event in events]

    one, other = np.arange(40), np.arange(50, 85)
    both = np.union1d(one, other)

    @pytest.mark.parametrize("missing", [(), range(0, 100, 4)])
    def test_of_two_that_merge_only_the_smaller_ends(self, missing):
        history = [[self.one, self.other]] * 3 + [[self.both]] * 3
        assert self.told(history, missing=missing) == (2, [("merger", 3, len(self.other))])
        assert self.told(history[::-1], missing=missing) == (2, [("split", 3, len(self.other))])

    def test_a_cluster_that_splits_and_merges_again(self):
        history = [[self.both]] * 3 + [[self.one, self.other]] * 3 + [[self.both]] * 3
        assert self.told(history) == (2, [("split", 3, 35), ("merger", 6, 35)])

    def test_a_group_of_clusters_that_remain_in_it_for_a_time(self):
        history = [[self.one, self.other]] * 3 + [[self.both, self.one, self.other]] * 2 + [[self.both]] * 3
        assert self.told(history) == (2, [("merger", 5, 35)])

    def test_one_that_dissolves_slowly_dies_once_and_leaves_no_heirs(self):
        history = [[self.one, np.arange(50, 90 - 3 * t)] for t in range(12)] + [[self.one]] * 2
        assert self.told(history) == (2, [("death", 12, 7)])

    def test_one_that_is_missed_for_longer_than_it_lasted_has_two_lives(self):
        history = [[self.one, self.other]] * 2 + [[self.one]] * 7 + [[self.one, self.other]] * 2
        assert self.told(history) == (3, [("death", 2, 35), ("birth", 9, 35)])

    def test_what_falls_into_a_larger_one_does_not_become_it(self):
        crumb = np.arange(80, 85)
        history = [[self.one, crumb]] * 3 + [[self.one, np.arange(45, 99)]] * 3
        assert self.told(history) == (3, [("birth", 3, 54), ("merger", 3, 5)])


def test_the_order_of_clusters_hangs_on_their_members_alone():
    rng = np.random.default_rng(8)
    made = [Cluster(rng.choice(N, size, replace=False)) for size in (5, 9, 9, 9, 30)]
    orders = [rng.permutation(5) for _ in range(4)]
    whole = [gather([[made[k]] for k in order], N) for order in orders]
    for a, b in pairwise(whole):
        np.testing.assert_array_equal(a.point, b.point)
