"""The scorer on scenes small enough to count by hand, and the evaluation stages on a random field."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.core.stage import DataError
from astrosurvey.core.tiles import Box
from astrosurvey.products import Catalog, Segmentation
from astrosurvey.stages.evaluate import scorer
from astrosurvey.stages.evaluate.blends import EvaluateDeblending, EvaluateSegmentation
from astrosurvey.stages.evaluate.overlap import overlaps
from astrosurvey.stages.evaluate.stage import EvaluateDetection
from astrosurvey.stages.simulate.field import SimulateField

from .running import a_tile, run, tiles_of


def known(points, flux=None, snr=None, pair=None):
    n = len(points)
    return scorer.Known(
        np.array(points, float).reshape(-1, 2),
        np.array(flux if flux is not None else np.arange(n, 0, -1), float),
        np.array(snr if snr is not None else np.full(n, 10.0), float),
        np.array(pair if pair is not None else np.full(n, -1)),
    )


def detected(points, rank=None):
    return scorer.Detected(np.array(points, float).reshape(-1, 2), np.array(rank if rank is not None else np.ones(len(points)), float))


def test_a_galaxy_split_in_two_counts_once():
    matched = scorer.match(known([[0, 0]]), detected([[1, 0], [0, 1], [50, 50]]))
    assert matched.match.tolist() in ([0], [1])
    assert (matched.purity.hits, matched.purity.of) == (1, 3)


def test_what_is_too_faint_to_be_real_is_no_merit():
    matched = scorer.match(known([[0, 0], [20, 0]], snr=[1.4, 1.6]), detected([[0, 0], [20, 0]]))
    assert matched.match.tolist() == [-1, 1]
    assert matched.purity.value == 0.5


def test_the_bright_choose_first_and_the_nearest():
    matched = scorer.match(known([[0, 0], [2, 0]], flux=[1.0, 5.0]), detected([[1.1, 0], [-2.5, 0]]))
    assert matched.match.tolist() == [1, 0]


def test_isolated_is_without_a_neighbour_within_twelve_pixels():
    matched = scorer.match(known([[0, 0], [11.9, 0], [0, 12.1]]), detected([]))
    assert matched.isolated.tolist() == [False, False, True]
    assert scorer.match(known([[0, 0]]), detected([])).isolated.tolist() == [True]


def test_completeness_counts_bins_by_hand():
    truth = known([[100 * i, 0] for i in range(6)], snr=[3.5, 4.0, 4.9, 5.0, 8.0, 20.0])
    matched = scorer.match(truth, detected([[100, 0], [300, 1], [500, 2.9], [400, 3.1]]))
    found = [(f.hits, f.of) for f in scorer.completeness(matched)]
    assert found == [(0, 1), (1, 2), (1, 1), (0, 1), (1, 1)]


def test_fractions_have_wilson_intervals():
    low, high = scorer.Fraction(8, 10).interval
    # Wilson (1927) for z = 1 by hand: (0.8 + 0.05 +- sqrt(0.8 0.2 / 10 + 0.25 / 100)) / 1.1
    middle, half = 0.85 / 1.1, np.sqrt(0.016 + 0.0025) / 1.1
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=2e-3)
    assert np.isnan(scorer.Fraction(0, 0).value)


def test_the_cut_at_a_purity_keeps_the_most():
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 4000, (400, 2))
    wrong = rng.uniform(5000, 9000, (100, 2))
    rank = np.concatenate([rng.uniform(1, 10, 400), rng.uniform(0, 4, 100)])
    found = detected(np.concatenate([points, wrong]), rank)
    matched, cut = scorer.match_at_purity(known(points), found, 0.97)
    assert matched.purity.value >= 0.97
    loosest = min(
        r for r in rank if np.count_nonzero(rank[:400] >= r) >= 0.97 * np.count_nonzero(rank >= r)
    )  # the truth is known exactly: the first 400 are real
    assert cut <= loosest * 1.2
    assert len(matched.detected) == np.count_nonzero(rank >= cut)
    plain, none = scorer.match_at_purity(known(points), detected(points), 0.97)
    assert none == -np.inf
    assert plain.purity.value == 1
    never, unknown = scorer.match_at_purity(known([[0, 0]]), detected([[9, 9], [8, 8]]), 0.97)
    assert np.isnan(unknown)
    assert len(never.detected) == 2


def test_what_is_certain_is_cut_last():
    truth = known([[100 * i, 0] for i in range(8)])
    points = [*([100 * i, 0] for i in range(8)), [5000, 0], [6000, 0]]
    found = detected(points, [np.inf, np.inf, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    matched, cut = scorer.match_at_purity(truth, found, 0.97)
    assert (matched.purity.value, len(matched.detected), cut) == (1, 8, 0.4)


def test_pairs_by_hand():
    truth = known(
        [[0, 0], [5, 0], [100, 0], [100, 9], [200, 0], [300, 0], [300, 3]],
        flux=[10, 5, 1, 8, 3, 4, 4],
        pair=[7, 7, 2, 2, -1, 5, -1],
    )
    matched = scorer.match(truth, detected([[0, 0], [5, 1], [100, 9]]))
    pairs = scorer.pairs(matched)
    assert pairs.members.tolist() == [[3, 2], [0, 1]]
    assert pairs.separation.tolist() == [9.0, 5.0]
    assert pairs.ratio.tolist() == [0.125, 0.5]
    assert pairs.found.tolist() == [False, True]
    assert len(scorer.pairs(scorer.match(known([[0, 0]]), detected([])))) == 0


def test_pairs_where_none_were_placed():
    points = np.array([[0, 0], [6, 0], [100, 0], [104, 0], [108, 0], [200, 0], [205, 0], [300, 0]], float)
    flux = np.array([5.0, 4.0, 3.0, 3.0, 3.0, 10.0, 0.5, 2.0])
    pair = scorer.close_pairs(points, flux, np.ones(8, bool), 16.0)
    assert pair[0] == pair[1] >= 0
    assert (pair[2:] == -1).all(), "a row of three, too faint a companion, and one alone are no pairs"
    assert (scorer.close_pairs(points, flux, flux > 4.5, 16.0) == -1).all()


def test_flux_errors_by_hand():
    errors = scorer.flux_errors(np.full(5, 100.0), np.array([90.0, 100.0, 110.0, 170.0, np.nan]), np.full(5, 10.0))
    assert errors.bias == pytest.approx(0.05)
    assert errors.scatter == pytest.approx(1.4826 * 0.1)
    assert (errors.outliers.hits, errors.outliers.of, errors.n) == (1, 4, 4)
    assert errors.pull == pytest.approx(1.4826)
    assert np.isnan(scorer.flux_errors(np.zeros(0), np.zeros(0)).bias)


def test_position_error_is_the_median_distance_in_pixels():
    truth = scorer.Known(np.array([[0, 0], [1.0, 0], [2.0, 0]]), np.ones(3), np.full(3, 9.0), np.full(3, -1))
    found = scorer.Detected(np.array([[0.01, 0], [1.0, 0.03], [2.02, 0]]), np.ones(3))
    matched = scorer.match(truth, found, 3.0, pixel=0.1)
    assert scorer.position_error(matched, np.ones(3, bool)) == pytest.approx(0.2)


def test_overlaps_by_hand():
    true = np.zeros((4, 6), int)
    true[0, :4], true[2, :2], true[3, 5] = 1, 2, 9
    found = np.zeros((4, 6), int)
    found[0, :3], found[0, 3], found[2, :4], found[1, 0] = 4, 5, 6, 4
    result = overlaps(true, found)
    assert result.label.tolist() == [1, 2, 9]
    assert result.area.tolist() == [4, 2, 1]
    # Object 1 shares 3 pixels with label 4 of 4 pixels: 3 of 5; object 2 both of its with label 6 of 4.
    assert result.iou.tolist() == pytest.approx([0.6, 0.5, 0.0])
    assert (result.n_found, result.both, result.either) == (3, 6, 10)


def test_a_label_over_two_objects_belongs_to_the_larger_share():
    true = np.array([[1, 1, 1, 2, 2]])
    result = overlaps(true, np.ones((1, 5), int))
    assert result.iou.tolist() == pytest.approx([0.6, 0.0])
    assert overlaps(true * 0, true).iou.size == 0
    assert overlaps(true, true * 0).iou.tolist() == [0, 0]


@pytest.fixture(scope="module")
def field():
    """Two tiles of a dense field in two bands, and sources made of its truth: what is faint is missing, fluxes are 3 % low."""
    truth, sources, photometry, labels = {}, {}, {}, {}
    rng = np.random.default_rng(8)
    for number in (1, 2):
        window = Box(256 * (number - 1), 0, 256 * number, 256)
        made = run(SimulateField, {"bands": ["g", "r"], "pairs": 1500.0}, tile=a_tile(f"t{number}", number, window=window, core=window))
        name = f"t{number}"
        truth[name], labels[name] = made["truth"], made["segmentation"]
        rows = truth[name].rows.to_pydict()
        n = len(rows["x"]) // 2
        snr = np.hypot(rows["snr"][::2], rows["snr"][1::2])
        keep = np.flatnonzero(snr > 5)
        ids = np.array(rows["truth_id"][::2])[keep]
        place = {key: np.array(rows[key][::2])[keep] for key in ("x", "y", "ra", "dec")}
        place["ra"] = place["ra"] + rng.normal(0, 0.1, len(keep)) * 0.2 / 3600
        columns = {"source_id": ids, "tile_id": number, **place, "x_var": 0.01, "y_var": 0.01, "xy_cov": 0.0, "x_min": 0, "x_max": 1,
                   "y_min": 0, "y_max": 1, "n_pixels": 5, "significance": snr[keep], "n_child": 0, "primary": True, "flags": 0}  # fmt: skip
        sources[name] = Catalog.from_columns("source", columns, truth[name].meta)
        flux = np.array(rows["flux"]).reshape(n, 2)[keep] * 0.97
        photometry[name] = Catalog.from_columns(
            "photometry",
            {"source_id": np.repeat(ids, 2), "band": np.tile(["g", "r"], len(keep)), "method": "total", "flux": flux.ravel(),
             "flux_err": flux.ravel() * 0.03, "tile_id": number, "flags": 0},
            truth[name].meta,
        )  # fmt: skip
    return tiles_of(**sources), tiles_of(**truth), tiles_of(**photometry), tiles_of(**labels)


def test_detection_is_told_by_true_signal_to_noise(field):
    sources, truth, photometry, _ = field
    metrics = run(EvaluateDetection, {"at_purity": 0.9}, sources=sources, truth=truth, photometry=photometry)["metrics"]
    assert metrics["completeness_snr_5"].value > 0.97
    assert metrics["isolated_completeness.4-5"].value == 0
    assert metrics["isolated_completeness.5-7"].value == 1
    assert metrics["purity_reached_90"].value >= 0.9
    assert metrics["isolated_completeness_at_purity_90.7-10"].value == 1
    curve = metrics.curves["completeness by true signal to noise, isolated"]
    assert curve["snr_min"] == sorted(curve["snr_min"])
    assert all(c == (1 if low >= 5 else 0) for low, c in zip(curve["snr_min"], curve["completeness"], strict=True))
    bias = metrics.curves["flux error by true signal to noise, total, r"]["bias"]
    assert all(b == pytest.approx(-0.03, abs=1e-4) for b in bias)
    places = metrics.curves["position error by true signal to noise"]
    # The median of the absolute value of a Gaussian is 0.6745 sigma.
    assert np.average(places["position_error"], weights=places["n"]) == pytest.approx(0.067, abs=0.02)


def with_probabilities(sources, probability):
    """Return the sources of all tiles with another column, as a function of their significance; NaN for null."""
    tiles = {}
    for name, catalog in sources.items():
        values = probability(catalog.column("significance"))
        nullable = [None if np.isnan(v) else float(v) for v in values]
        tiles[name] = Catalog.from_columns("source", {**catalog.rows.to_pydict(), "probability": nullable}, catalog.meta)
    return tiles_of(**tiles)


def test_sources_without_a_probability_are_the_surest(field, caplog):
    """Those that the network is blind for are its brightest: a cut by probability must not begin with them."""
    sources, truth, _, _ = field
    blind = with_probabilities(sources, lambda s: np.where(s > 50, np.nan, np.clip(s / 60, 0, 1)))
    settings = {"at_purity": 0.97, "rank": "probability"}
    metrics = run(EvaluateDetection, settings, sources=blind, truth=truth)["metrics"]
    assert metrics["rank_at_purity_97"].value == pytest.approx(5 / 60, rel=0.1), "nothing had to go: the least rank of all"
    assert not caplog.messages
    # Half of the sources, the faint ones, are moved to where nothing is.
    moved = {name: c.replace(x=c.column("x") + 1e3 * (c.column("significance") < 15), ra=c.column("ra") + (c.column("significance") < 15))
             for name, c in blind.items()}  # fmt: skip
    metrics = run(EvaluateDetection, settings, sources=tiles_of(**moved), truth=truth)["metrics"]
    assert metrics["purity_reached_97"].value >= 0.97
    assert metrics["rank_at_purity_97"].value > 0.2
    strong = metrics.curves["completeness at purity 0.97 by true signal to noise, all"]
    assert strong["completeness"][-1] > 0.95


def test_a_rank_that_no_source_has_is_told_once(field, caplog):
    sources, truth, _, _ = field
    metrics = run(EvaluateDetection, {"at_purity": 0.5, "rank": "probability"}, sources=sources, truth=truth)["metrics"]
    assert [message for message in caplog.messages if "probability" in message] == caplog.messages
    assert len(caplog.messages) == 1
    assert np.isnan(metrics["rank_at_purity_50"].value)


@pytest.mark.parametrize("settings", [{"edges": [8, 4, 6]}, {"edges": [-1, 4]}, {"flux_range": [12, 6]}, {"flux_range": [6, 6]}])
def test_separations_rise(settings):
    with pytest.raises(ValueError, match="rise"):
        EvaluateDeblending.Config(**settings)


def test_purity_cannot_be_asked_for_without_signal_to_noise(field):
    sources, truth, _, _ = field
    bare = {name: Catalog.from_columns("truth", {k: v for k, v in catalog.rows.to_pydict().items() if k != "snr"}, catalog.meta)
            for name, catalog in truth.items()}  # fmt: skip
    with pytest.raises(DataError, match="at_purity"):
        run(EvaluateDetection, {"at_purity": 0.9}, sources=sources, truth=tiles_of(**bare))


@pytest.mark.parametrize("unit", ["pixel", "seeing"])
def test_deblending_is_told_by_separation_and_ratio(field, unit):
    sources, truth, photometry, _ = field
    metrics = run(EvaluateDeblending, {"unit": unit, "max_scatter": 0.1}, sources=sources, truth=truth, photometry=photometry)["metrics"]
    found = [m for m in metrics.values if m.name.startswith("pairs_found.")]
    assert len(found) == 6
    assert metrics["n_pairs"].value > 100
    assert all(m.value > 0.8 for m in found if not np.isnan(m.value))
    assert metrics["pair_flux_bias.total.r"].value == pytest.approx(-0.03, abs=1e-4)
    assert metrics["pair_flux_scatter.total.r"].passed
    assert metrics["pair_flux_outliers.total.g"].value == 0
    curve = metrics.curves["pairs found by separation"]
    assert sum(curve["n"]) <= metrics["n_pairs"].value
    assert "pair flux error by separation, total, g" in metrics.curves


def test_segmentation_of_itself_and_shifted(field):
    labels = field[3]
    same = run(EvaluateSegmentation, segmentation=labels, true_segmentation=labels)["metrics"]
    assert same["iou_median"].value == same["pixel_iou"].value == same["iou_over_half"].value == 1
    assert 0.9 < same["panoptic_quality"].value <= 1
    moved = tiles_of(**{name: Segmentation(np.roll(s.labels, 2, axis=1)) for name, s in labels.items()})
    off = run(EvaluateSegmentation, {"min_iou": 0.9}, segmentation=moved, true_segmentation=labels)["metrics"]
    assert 0.2 < off["iou_median"].value < 0.7
    assert off["iou_median"].passed is False
    assert off["panoptic_quality"].value < 0.5
    curve = off.curves["intersection over union by true area"]
    assert curve["iou"][-1] > curve["iou"][1], "large objects lose a smaller part"


def test_segmentations_must_be_of_the_same_tiles(field):
    labels = field[3]
    with pytest.raises(DataError, match="shapes"):
        run(
            EvaluateSegmentation,
            segmentation=tiles_of(t1=Segmentation(np.zeros((3, 3), np.int32))),
            true_segmentation=tiles_of(t1=labels[0]),
        )
