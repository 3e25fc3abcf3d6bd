"""simulate.clusters: what is drawn, what is known of it, and what happens from snapshot to snapshot."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from astrosurvey.core.stage import DataError
from astrosurvey.stages.simulate.clusters.mock import gaussian_box, mock, structures, uniform_box
from astrosurvey.stages.simulate.clusters.rows import on_sky
from astrosurvey.stages.simulate.clusters.snapshots import system
from astrosurvey.stages.simulate.clusters.stage import SimulateClusters

from ..running import a_tile, run

SMALL = {"number": 400}


@pytest.mark.parametrize("d", [2, 3, 6])
def test_half_of_the_mock_is_background_and_structures_are_compact(d):
    made = mock(np.random.default_rng(3), 4001, d)
    assert made.values.shape == (4001, d)
    assert np.bincount(made.labels + 1)[0] == 2000
    assert sorted(set(made.labels.tolist())) == list(range(-1, 12))
    for k, structure in enumerate(made.structures):
        points = made.values[made.labels == k]
        if structure.kind == "clump":
            assert np.allclose(points.mean(axis=0), structure.track[1], atol=0.02)
            assert np.allclose(np.cov(points.T), structure.axes @ structure.axes.T, atol=3e-4)
        else:  # every point lies on its curve, but for its width
            t = np.linspace(0, 1, 400)[:, None]
            curve = (1 - t) ** 2 * structure.track[0] + 2 * t * (1 - t) * structure.track[1] + t**2 * structure.track[2]
            away = np.sqrt(((points[:, None] - curve) ** 2).sum(axis=-1)).min(axis=1)
            assert away.max() < 0.008 * (4 + np.sqrt(d))


def test_the_same_seed_gives_the_same_structures_at_every_size():
    few, many = (mock(np.random.default_rng(5), n, 3) for n in (100, 5000))
    for first, second in zip(few.structures, many.structures, strict=True):
        assert np.array_equal(first.track, second.track)
        assert np.array_equal(first.axes, second.axes)
    assert np.isclose(sum(s.weight for s in few.structures), 1)


def test_errors_are_those_that_are_stated():
    made = mock(np.random.default_rng(5), 20_000, 2, noise=0.01, noise_scatter=0.5)
    assert np.isclose(np.median(made.sigma), 0.01, rtol=0.03)
    assert np.isclose(((made.values - made.true) / made.sigma).std(), 1, rtol=0.02)


def test_boxes_hold_no_structure():
    rng = np.random.default_rng(2)
    flat, round_one = uniform_box(rng, 5000, 2), gaussian_box(rng, 5000, 2)
    assert np.allclose(np.histogramdd(flat, 2)[0], 1250, atol=130)
    assert np.allclose(round_one.mean(axis=0), 0.5, atol=0.01)
    made = run(SimulateClusters, {**SMALL, "kind": "uniform", "dimensions": 2})
    assert set(made["truth"].column("structure")) == {0}
    assert set(made["truth"].column("structure_type")) == {"background"}
    assert structures(rng, 2, clumps=0, streams=0) == ()
    assert (mock(rng, 50, 2, clumps=0, streams=0, background=0).labels == -1).all()


def test_a_tile_says_what_each_source_belongs_to():
    made = run(SimulateClusters, {**SMALL, "noise": [0.01, 0.0, 0.02], "center": [359.9, 89.0], "size": 5})
    sources, truth = made["sources"], made["truth"]
    assert np.array_equal(sources.column("source_id"), truth.column("source_id"))
    assert len(set(truth.column("structure").tolist())) == 13
    assert set(truth.column("structure_type")) == {"background", "clump", "stream"}
    assert sources.column("x_simulate_p3_error")[0] == 0.02
    assert not sources.column("x_simulate_p2_error").any()
    assert np.nanmin(sources.column("dec")) > 80
    clump = truth.column("structure") == 1
    assert sources.column("x_simulate_p1")[clump].std() < 0.05
    assert 4 < np.median(sources.column("x_simulate_phot_g_mean_mag")) < 25
    assert truth.rows.column("tracer_id").null_count == 400


def test_the_middle_of_the_box_is_where_the_setting_says():
    ra, dec = on_sky(np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]]), (10.0, 60.0), 4.0)
    assert np.allclose([ra[0], dec[0]], [10, 60])
    assert ra[1] < 10
    assert np.isclose((10 - ra[1]) * np.cos(np.radians(60)), 2, rtol=0.01)
    assert np.isclose(dec[2], 62)


SNAPSHOTS = {**SMALL, "snapshots": 8, "seed": 4}


def snapshot(k, **more):
    return run(SimulateClusters, {**SNAPSHOTS, **more}, tile=a_tile(f"t{k:04d}", number=100 + k))


def test_snapshots_show_the_same_objects_in_an_order_of_their_own():
    first, second = snapshot(0), snapshot(5)
    tracers = [made["sources"].column("x_simulate_tracer") for made in (first, second)]
    assert sorted(tracers[0]) == sorted(tracers[1]) == list(range(400))
    assert not np.array_equal(tracers[0], np.arange(400))
    assert not set(first["sources"].column("source_id")) & set(second["sources"].column("source_id"))
    magnitude = [made["sources"].column("x_simulate_bp_rp")[np.argsort(t)] for made, t in zip((first, second), tracers, strict=True)]
    assert np.array_equal(*magnitude)
    assert np.array_equal(first["truth"].column("tracer_id"), tracers[0])


def test_clumps_are_born_merge_and_dissolve():
    made = system(np.random.default_rng(4), 2000, 3, 9, births=2, dissolutions=1, mergers=1)
    labels = np.array([made.at(moment)[1] for moment in range(9)])
    count = np.array([[(row == k).sum() for k in range(12)] for row in labels])
    here = count > 0
    born = [k for k in range(12) if not here[0, k] and here[-1, k]]
    gone = [k for k in range(12) if here[0, k] and not here[-1, k]]
    assert (len(born), len(gone)) == (2, 2)
    merged = next(k for k in gone if made.history.into[k] >= 0)
    large, moment = made.history.into[merged], made.history.gone[merged]
    assert count[moment, large] == count[moment - 1, large] + count[moment - 1, merged]
    places = made.at(int(moment))[0]
    assert np.allclose(places[made.home == merged].mean(axis=0), places[made.home == large].mean(axis=0), atol=0.02)
    lost = next(k for k in gone if k != merged)
    after = made.at(8)[0][made.home == lost]
    assert after.std(axis=0).min() > 0.2
    assert (np.diff(here.astype(int), axis=0) != 0).sum() == 4


def test_wrong_settings_and_tiles_are_refused():
    with pytest.raises(DataError, match=r"t0009 is none of the snapshots 0 to 7.*count: 8"):
        snapshot(9)
    for settings, message in (
        ({"noise": [0.1]}, "1 values for 3 `dimensions`"),
        ({"center": (400, 0)}, "0 <= ra < 360"),
        ({"snapshots": 3, "kind": "uniform"}, "nothing that could change"),
        ({"snapshots": 3, "clumps": 3}, "need 4 `clumps`"),
    ):
        with pytest.raises(ValidationError, match=message):
            SimulateClusters.Config(**settings)
