"""spectra.classify and its training: the grid, what the networks see, probabilities that are coherent, and networks that learn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from astrosurvey.catalog.flags import CLASSIFICATION, SPECTRUM_PIXEL
from astrosurvey.networks.spectrum import Answer, folded
from astrosurvey.networks.train import Recipe
from astrosurvey.products import Spectra
from astrosurvey.stages.simulate.spectra.draw import Drawer
from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.simulate.spectra.instrument import Instrument
from astrosurvey.stages.spectra.classes import COARSE, FINE
from astrosurvey.stages.spectra.classify.assess import Verdicts, calibrate, judge
from astrosurvey.stages.spectra.classify.attribution import ELSEWHERE, attribution, by_line
from astrosurvey.stages.spectra.classify.augment import harder
from astrosurvey.stages.spectra.classify.card import to_ensemble
from astrosurvey.stages.spectra.classify.examples import Fresh, Noisy, joined
from astrosurvey.stages.spectra.classify.features import CHANNELS, features
from astrosurvey.stages.spectra.classify.grid import EDGES, FINE_STEP, FIRST, PIXELS, WAVE, on_grid, paired
from astrosurvey.stages.spectra.classify.losses import terms
from astrosurvey.stages.spectra.classify.posterior import (
    BIN,
    BINS,
    KINDS,
    PARENT,
    STAR_BINS,
    Calibration,
    Pooled,
    bin_of,
    calibrated,
    given_parent,
    peaks,
    pooled,
)
from astrosurvey.stages.spectra.classify.predict import predict
from astrosurvey.stages.spectra.classify.stage import ClassifySpectra
from astrosurvey.stages.spectra.classify.train import build, train
from astrosurvey.stages.spectra.combine.stage import CombineSpectra

from ...laws.examples import small_classifier
from ..running import run

FINE_WAVE = 10 ** (FINE_STEP * (FIRST + np.arange(2 * PIXELS)))
SURE = Calibration()


@pytest.fixture(scope="module")
def network():
    return folded(to_ensemble(small_classifier()))


def block(n=5, wave=FINE_WAVE, seed=1):
    rng = np.random.default_rng(seed)
    flux = (10 + np.sin(wave / 90) + rng.normal(0, 1, (n, len(wave)))).astype(np.float32)
    mask = np.where(rng.random(flux.shape) < 0.1, SPECTRUM_PIXEL["BAD"], 0).astype(np.int32)
    return Spectra(flux, rng.gamma(4, 0.25, flux.shape).astype(np.float32), mask, wave, np.arange(n))


def asked(network, spectra, **settings):
    return predict(network, spectra, SURE, **{"samples": 0, "seed": 1, "device": "cpu", "precision": torch.float32, **settings})


def test_the_grid_holds_pairs_of_fine_pixels():
    spectra = block()
    flux, ivar = on_grid(spectra, slice(0, 4), "cpu")
    weight = torch.from_numpy(np.where(spectra.usable(), spectra.ivar, 0)[:4])
    expected = paired(torch.from_numpy(spectra.flux[:4]), weight)
    np.testing.assert_allclose(flux, expected[0], rtol=2e-4)
    np.testing.assert_allclose(ivar, expected[1], rtol=1e-3)
    assert np.allclose(np.sqrt(EDGES[1:] * EDGES[:-1]), WAVE)


def test_spectra_on_grids_of_their_own_come_onto_the_grid_as_shared_ones_do():
    spectra = block(3)
    own = replace(spectra, wave=np.repeat(FINE_WAVE[None], 3, axis=0))
    for one, other in zip(on_grid(spectra, slice(1, 3), "cpu"), on_grid(own, slice(1, 3), "cpu"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("wave", [np.array([5000.0]), np.linspace(2000, 3000, 50), np.linspace(15000, 16000, 50)])
def test_nothing_is_seen_of_one_pixel_or_of_another_range(wave):
    flux, ivar = on_grid(block(2, wave), slice(0, 2), "cpu")
    assert not flux.any()
    assert not ivar.any()


def test_what_is_seen_has_no_unit_and_is_bounded():
    flux, ivar = (torch.from_numpy(plane) for plane in on_grid(block(), slice(0, 5), "cpu"))
    flux[0, 700] = 1e12
    seen = features(flux, ivar)
    assert seen.shape == (5, len(CHANNELS), 1, PIXELS)
    torch.testing.assert_close(features(flux * 1e-17, ivar * 1e34), seen, rtol=1e-4, atol=1e-4)
    assert seen.abs().max() < 20
    nothing = ivar == 0
    assert not seen.permute(0, 2, 3, 1)[:, 0][nothing].any()
    assert not features(torch.zeros(1, PIXELS), torch.zeros(1, PIXELS)).any()


@pytest.mark.parametrize("kind", ["two pixels", "a line on nothing"])
def test_where_level_and_scatter_are_nothing_what_is_seen_is_bounded(kind):
    flux, ivar = torch.zeros(1, PIXELS), torch.zeros(1, PIXELS)
    flux[0, 900:902] = 5.0
    ivar[0, slice(900, 902) if kind == "two pixels" else slice(None)] = 1.0
    for unit in (1e-17, 1.0, 1e12):
        assert features(flux * unit, ivar / unit**2).abs().max() < 20


def made_up(n=200, seed=0):
    """Return members' answers of random logits."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((len(COARSE),), (len(FINE),), (STAR_BINS,), (2, BINS), (8,))
    return [Answer(*(3 * torch.randn((n, *shape), generator=draw) for shape in shapes)) for _ in range(3)]


def test_probabilities_are_coherent():
    coarse, fine, redshift = calibrated(pooled(made_up()), Calibration(1.3, 0.8, 1.1))
    torch.testing.assert_close(coarse.sum(dim=1), torch.ones(200))
    for k, kind in enumerate(KINDS):
        mine = [j for j, parent in enumerate(PARENT) if parent == COARSE.index(kind)]
        torch.testing.assert_close(fine[:, mine].sum(dim=1), coarse[:, k])
    for k, piece in enumerate(redshift.split([STAR_BINS, BINS, BINS], dim=1)):
        torch.testing.assert_close(piece.sum(dim=1), coarse[:, k])
    hot = calibrated(pooled(made_up()), Calibration(coarse=3.0))[0]
    assert (hot.amax(dim=1) < calibrated(pooled(made_up()), SURE)[0].amax(dim=1)).all()


def test_peaks_are_found_with_their_mass_width_and_class():
    logs = torch.full((1, STAR_BINS + 2 * BINS), -80.0)
    place = torch.arange(BINS)

    def add(kind, z, sigma, mass):
        middle = bin_of(torch.tensor(z))
        shape = torch.exp(-0.5 * ((place - middle) / (sigma / BIN)).square())
        begin = STAR_BINS + BINS * (kind - 1)
        part = logs[0, begin : begin + BINS].exp() + mass * shape / shape.sum()
        logs[0, begin : begin + BINS] = part.log()

    add(1, 0.7, 0.003, 0.5)
    add(2, 2.5, 0.003, 0.3)
    add(1, 0.2, 0.003, 0.2)
    found = peaks(logs.exp(), SURE)
    np.testing.assert_allclose(found.z[0, :3], [0.7, 2.5, 0.2], atol=3e-5)
    np.testing.assert_allclose(found.probability[0, :3], [0.5, 0.3, 0.2], atol=1e-3)
    # What a bin's width adds is taken off again, to a tenth of a bin.
    np.testing.assert_allclose(found.z_err[0, :3] / (1 + found.z[0, :3]), 0.003, atol=2e-4)
    assert found.kind[0, :3].tolist() == [1, 2, 1]
    assert found.probability[0, 3:].max() < 1e-6


@pytest.mark.parametrize("between", [0.0, 0.25, 0.5, 0.9])
def test_a_redshift_between_two_bins_is_exact_and_has_no_error_for_it(between):
    probability = torch.zeros(1, STAR_BINS + 2 * BINS)
    probability[0, STAR_BINS + 100], probability[0, STAR_BINS + 101] = 1 - between, between
    found = peaks(probability, SURE)
    assert bin_of(found.z[0, 0]).item() == pytest.approx(100 + between, abs=1e-3)
    assert found.z_err[0, 0].item() < 0.1 * BIN
    floored = peaks(probability, Calibration(error_scale=2.0, error_floor=1e-3))
    assert floored.z_err[0, 0].item() == pytest.approx(1e-3 * (1 + floored.z[0, 0].item()), rel=0.2)


def test_stars_have_small_redshifts_only():
    probability = torch.zeros(1, STAR_BINS + 2 * BINS)
    probability[0, STAR_BINS // 2] = 1.0
    found = peaks(probability, SURE)
    assert found.kind[0, 0] == 0
    assert found.z[0, 0] == 0
    assert found.probability[0, 0] == 1


def test_the_loss_is_least_for_the_truth():
    z, coarse, fine = torch.tensor([0.51, 2.2, 0.0003, math.nan]), torch.tensor([1, 2, 0, 3]), torch.tensor([2, 5, -1, -1])
    answer = Answer(*(torch.zeros((4, *shape)) for shape in ((5,), (13,), (STAR_BINS,), (2, BINS), (1,))))
    before = terms(answer, coarse, fine, z)
    total = STAR_BINS + 2 * BINS
    assert before["redshift"].item() == pytest.approx(math.log(total), rel=1e-4)
    assert before["fine"].item() == pytest.approx((math.log(4) + math.log(2)) / 2, rel=1e-4)
    for row, kind in ((0, 0), (1, 1)):
        low = int(bin_of(z[row]))
        answer.redshift[row, kind, low : low + 2] = 12.0
    answer.star[2, STAR_BINS // 2 : STAR_BINS // 2 + 2] = 12.0
    assert terms(answer, coarse, fine, z)["redshift"].item() < math.log(2) + 0.1


def test_temperatures_and_errors_are_recovered():
    rng = np.random.default_rng(3)
    n, t = 4000, 2.0
    logits = torch.from_numpy(rng.normal(0, 3, (n, 5))).float()
    coarse = torch.distributions.Categorical(logits=logits / t).sample()
    z = torch.from_numpy(np.where((coarse == 1) | (coarse == 2), rng.uniform(0.1, 3, n), np.nan)).float()
    sigma = 4e-4
    offset = torch.from_numpy(rng.normal(0, sigma, n)).float()
    middle = bin_of(torch.nan_to_num(z)) + offset / BIN
    shape = -0.5 * ((torch.arange(BINS) - middle[:, None]) / 1.0).square()
    redshift = torch.cat([torch.full((n, STAR_BINS), -20.0), shape, shape], dim=1)
    pool = Pooled(logits.log_softmax(1), given_parent(torch.zeros(n, 13)), redshift, torch.zeros(n, 5), torch.zeros(n, 13))
    found = Verdicts(pool, coarse, torch.full((n,), -1), z)
    calibration = calibrate(found)
    assert calibration.coarse == pytest.approx(t, rel=0.15)
    scores = judge(found, calibration)
    assert scores["redshift_within_1_sigma"][0] == pytest.approx(0.683, abs=0.03)
    assert scores["redshift_within_2_sigma"][0] == pytest.approx(0.954, abs=0.03)
    assert scores["coarse_ece"][0] < 0.05


def test_batches_change_nothing_but_rounding_and_draws_scatter(network):
    spectra = block(7)
    whole, single = asked(network, spectra), asked(network, spectra, batch=1 / 128)
    for name, plane in vars(whole).items():
        if name != "z_class":
            np.testing.assert_allclose(plane, vars(single)[name], rtol=1e-3, atol=1e-4, err_msg=name)
    many = block(21)
    np.testing.assert_allclose(
        asked(network, many, samples=4).coarse, asked(network, many, samples=4, batch=1 / 64).coarse, rtol=1e-3, atol=1e-4
    )
    drawn = asked(network, spectra, samples=8)
    np.testing.assert_array_equal(drawn.coarse, asked(network, spectra, samples=8).coarse)
    assert not np.array_equal(drawn.coarse, asked(network, spectra, samples=8, seed=2).coarse)
    assert (drawn.coarse_err > 0).all()


def test_rows_flags_and_spectra_without_data():
    spectra = block(4)
    spectra.mask[1] = SPECTRUM_PIXEL["BAD"]
    spectra.mask[2, : 3 * PIXELS // 2] = SPECTRUM_PIXEL["BAD"]
    made = run(ClassifySpectra, {"classifier": "net"}, spectra=spectra, model=small_classifier())
    classes, redshifts = made["classes"], made["redshifts"]
    assert len(classes) == 4 * 18
    table = {
        (number, label): (probability, flags)
        for number, label, probability, flags in zip(
            *(classes.column(name).tolist() for name in ("object_id", "label", "probability", "flags")), strict=True
        )
    }
    assert set(classes.column("classifier")) == {"net/coarse", "net/fine"}
    assert table[1, "unknown"] == (1.0, CLASSIFICATION["NO_DATA"])
    assert table[1, "STAR_K3"] == (0.0, CLASSIFICATION["NO_DATA"])
    assert table[2, "star"][1] & CLASSIFICATION["FEW_DATA"]
    assert not table[0, "star"][1] & CLASSIFICATION["FEW_DATA"]
    for number in (0, 2, 3):
        assert sum(table[number, label][0] for label in COARSE) == pytest.approx(1, abs=1e-5)
        assert sum(table[number, label][0] for label in FINE) == pytest.approx(sum(table[number, k][0] for k in KINDS), abs=1e-5)
    assert set(redshifts.column("spectrum_id").tolist()) == {0, 2, 3}
    first = np.asarray(redshifts.column("rank")) == 0
    assert (np.diff(np.asarray(redshifts.column("probability"))[~first[:]]) <= 1).all()
    assert (np.asarray(redshifts.column("z_err")) >= 0).all()


def test_attribution_adds_up_and_lines_take_what_is_theirs():
    ensemble = to_ensemble(small_classifier())
    flux, ivar = (plane[0] for plane in on_grid(block(1), slice(0, 1), "cpu"))
    one = attribution(ensemble, flux, ivar, COARSE.index("galaxy"), 0.1)
    assert sum(one.lines.values()) == pytest.approx(one.weight.sum(), abs=1e-4)
    # The cut at the likeliest redshift may jump on the way, which the integral does not see.
    assert one.weight.sum() == pytest.approx(one.odds[0] - one.odds[1], abs=0.3)
    weight = np.zeros(PIXELS)
    weight[np.argmin(np.abs(WAVE - 4862.68 * 1.1))] = 2.0
    weight[np.argmin(np.abs(WAVE - 4500 * 1.1))] = -1.0
    sums = by_line(weight, 0.1)
    assert next(iter(sums)) == "Hβ"
    assert sums["Hβ"] == 2.0
    assert sums[ELSEWHERE] == -1.0


@pytest.fixture(scope="module")
def drawn():
    return Drawer(LogGrid(float(WAVE[0]), PIXELS, 2)).draw(np.random.default_rng(6), 160)


def test_spectra_are_observed_anew_and_the_same_for_the_same_seed(drawn):
    source = Fresh(drawn, Instrument())

    def batch(seed):
        return harder(source.batch(20, torch.Generator().manual_seed(seed)), torch.Generator().manual_seed(seed))

    one, same, other = batch(1), batch(1), batch(2)
    for name, plane in vars(one).items():
        torch.testing.assert_close(plane, vars(same)[name], equal_nan=True)
    assert not torch.equal(one.flux, other.flux)
    assert (one.ivar >= 0).all()
    assert torch.isfinite(one.flux).all()
    assert not one.flux[one.ivar == 0].any()
    known = torch.isfinite(one.z)
    assert torch.equal(known, one.coarse <= 2)
    assert all(PARENT[f] == c for f, c in zip(one.fine.tolist(), one.coarse.tolist(), strict=True) if f >= 0)


def test_training_learns(drawn):
    source = Fresh(drawn, Instrument(snr=(10.0, 40.0)))
    draw = torch.Generator().manual_seed(0)
    held = source.observed(torch.arange(60), draw)
    trained = train(
        Noisy(joined([source.observed(torch.arange(160), draw) for _ in range(2)])),
        held,
        start=build(1, width=8, bayesian=False, seed=1),
        recipe=Recipe(25, 4e-3, every=25),
        batch=24,
        seed=2,
        device="cpu",
    )
    curves = trained.history.curves
    assert curves["redshift.validation"][-1] < math.log(STAR_BINS + 2 * BINS) - 2
    assert trained.config["width"] == 8
    assert set(trained.scores) >= {"coarse_accuracy", "coarse_ece", "redshift_right"}
    assert trained.distances == sorted(trained.distances)


@pytest.mark.parametrize("stage", [ClassifySpectra, CombineSpectra])
def test_the_name_of_the_answers_chooses_no_model(stage):
    for name in ("spectra-v7", "combine-v7", "builtin:spectra-v1"):
        with pytest.raises(ValidationError, match="wire a model"):
            stage.Config(classifier=name)
    assert stage.Config(classifier="mine").classifier == "mine"
