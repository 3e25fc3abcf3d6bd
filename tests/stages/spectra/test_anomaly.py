"""Strange spectra: the rest frame, the explanation and its errors, the scores, the p-values, and the stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from astrosurvey import Catalog, DataError, NoWork
from astrosurvey.catalog.flags import CLASSIFICATION, SPECTRUM_PIXEL
from astrosurvey.networks.determinism import seeded
from astrosurvey.networks.spectral_autoencoder import SpectralAutoencoder
from astrosurvey.networks.train import History
from astrosurvey.products import Spectra
from astrosurvey.stages.models.load import to_network
from astrosurvey.stages.spectra.anomaly import corpus as views
from astrosurvey.stages.spectra.anomaly.calibrate import WITNESSES, Calibration, calibrate
from astrosurvey.stages.spectra.anomaly.corpus import Corpus, noiseless, view
from astrosurvey.stages.spectra.anomaly.decode import channels, decode, legendre, scaled
from astrosurvey.stages.spectra.anomaly.forest import expected, grow
from astrosurvey.stages.spectra.anomaly.hear import Tile, recalibrated
from astrosurvey.stages.spectra.anomaly.principal import principal
from astrosurvey.stages.spectra.anomaly.rest import FIRST, PIXELS, STEP, to_rest_frame, wavelengths
from astrosurvey.stages.spectra.anomaly.score import BINS, STRANGE, misfit, statistics
from astrosurvey.stages.spectra.anomaly.stage import SpectralAnomaly
from astrosurvey.stages.spectra.anomaly.train import Trained
from astrosurvey.stages.spectra.anomaly.witnesses import nothing_known

from ...laws.examples import known_redshifts, lined_spectra, small_anomaly, witnesses
from ..running import context

LATENT = 3


@pytest.fixture(scope="module")
def network():
    """A decoder of smooth spectra that bend with the latent vector, and an encoder that knows nothing."""
    with seeded(1):
        made = SpectralAutoencoder(PIXELS, latent=LATENT, encoder=(4, 4, 6, 6), decoder=(6, LATENT), flow={"layers": 2, "hidden": 8})
    x = torch.linspace(0, 1, PIXELS)
    waves = torch.stack([0.3 * torch.cos(2 * torch.pi * (60 + 17 * k) * x + k) for k in range(LATENT)])
    made.decoder.begin_with(torch.ones(PIXELS), waves)
    return made.requires_grad_(False).eval()


def seen(network, rows, noise, *, missing=slice(0, 0), seed=4):
    """Return latent vectors, spectra without noise, and with noise in a window."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(rows, LATENT, generator=generator)
    true = network.decoder(latent)
    ivar = torch.zeros(rows, PIXELS)
    ivar[:, 1500:3700] = noise**-2
    ivar[:, missing] = 0
    flux = torch.where(ivar > 0, true + noise * torch.randn(true.shape, generator=generator), 0.0)
    return latent, true, flux, ivar


def test_a_line_is_found_at_its_rest_wavelength_and_its_flux_is_kept():
    wave = 4000 * 10 ** (1e-4 * np.arange(3000))
    z = np.array([0.1, 0.4])
    flux = (1 + 30 * np.exp(-0.5 * ((wave / 5000 / (1 + z[:, None]) * 1.1 - 1) / 4e-4) ** 2)).astype(np.float32)
    spectra = Spectra(flux, np.ones_like(flux), np.zeros(flux.shape, np.int32), wave, np.arange(2))
    moved, ivar = to_rest_frame(spectra, z, slice(None), "cpu")
    grid = wavelengths()
    for row in range(2):
        there = ivar[row] > 0
        line = np.where(there, moved[row] - 1, 0)
        assert np.average(grid, weights=line) == pytest.approx(5000 / 1.1, rel=1e-5)
        observed = np.sum((flux[row] - 1) * wave) * 1e-4
        assert np.sum(line * grid) * STEP * (1 + z[row]) == pytest.approx(observed, rel=1e-3)
        assert grid[there].min() == pytest.approx(4000 / (1 + z[row]), rel=STEP * 3)
    assert not moved[ivar == 0].any()


def test_what_is_unusable_or_absurd_has_no_weight_at_rest():
    spectra, _ = lined_spectra(0)
    flux, mask = spectra.flux.copy(), spectra.mask.copy()
    flux[0, 100:110], flux[1], mask[2, 300:400] = np.nan, 1e20, SPECTRUM_PIXEL["COSMIC_RAY"]
    ivar = np.where(np.isfinite(flux), spectra.ivar, 0).astype(np.float32)
    moved, weight = to_rest_frame(replace(spectra, flux=flux, ivar=ivar, mask=mask), np.zeros(8), slice(0, 3), "cpu")
    assert np.isfinite(moved).all()
    assert np.isfinite(weight).all()
    assert not weight[1].any()
    assert (weight[0] == 0).sum() < (weight[2] == 0).sum()


def test_scale_and_tilt_are_found_in_closed_form():
    template = 1 + torch.rand(1, 400, generator=torch.Generator().manual_seed(1))
    weight = torch.ones(1, 400)
    terms = legendre(weight, 2)
    flux = template * (3 + 0.5 * terms[:, 1] - 0.2 * terms[:, 2])
    assert torch.allclose(scaled(template, flux, 1e4 * weight, terms), torch.tensor([[3.0, 0.5, -0.2]]), atol=1e-3)
    assert not scaled(template, -flux, weight, terms).any()  # nothing shines negatively


def test_the_latent_vector_and_its_error_are_found(network):
    latent, true, flux, ivar = seen(network, 32, 0.3)
    best = decode(network, flux, ivar, torch.zeros(32, LATENT))
    assert (best.latent - latent).abs().mean() < 0.1
    pull = ((best.model - true) / best.variance.sqrt())[:, 1500:3700]
    assert 0.7 < float(pull.square().mean().sqrt()) < 1.2


def test_missing_pixels_are_filled_within_their_errors(network):
    hidden = slice(2400, 2500)
    _, true, flux, ivar = seen(network, 100, 0.5, missing=hidden)
    best = decode(network, flux, ivar, torch.zeros(100, LATENT))
    pull = ((best.model - true) / best.variance.sqrt())[:, hidden].abs()
    # One draw an object, for the pixels of one gap err together.
    inside = [(pull[:, 50] < bound).float().mean() for bound in (1, 2)]
    assert 0.68 - 4 * 0.047 < inside[0] < 0.68 + 4 * 0.047
    assert inside[1] > 0.95 - 4 * 0.022


def test_an_empty_spectrum_is_explained_by_nothing(network):
    flux = ivar = torch.zeros(2, PIXELS)
    best = decode(network, flux, ivar, network(channels(flux, ivar)))
    assert torch.isfinite(best.latent).all()
    assert not best.model.any()
    found = statistics(network, flux, ivar, best, best.latent)
    assert all(torch.isfinite(value).all() for value in found.values())
    assert not found["snr"].any()


def test_residuals_tell_what_noise_does_not(network):
    _, _, flux, ivar = seen(network, 30, 0.3)
    odd = flux.clone()
    odd[:, 2600:2700] += torch.where(ivar > 0, 0.15, 0.0)[:, 2600:2700]  # half of the noise: only wide bins can tell
    spike = flux.clone()
    spike[:, 2600] += 4.0

    def scores(some):
        found = statistics(network, some, ivar, decode(network, some, ivar, torch.zeros(30, LATENT)), torch.zeros(30, LATENT))
        return {width: float(found[f"residual_{width}"].median()) for width in BINS}

    usual, bump, line = scores(flux), scores(odd), scores(spike)
    assert abs(usual[1]) < 0.1
    assert bump[32] - usual[32] > 0.1 > bump[1] - usual[1]
    assert line[1] > usual[1] + 0.02


def test_a_survey_that_misjudges_its_noise_is_not_strange(network):
    _, _, flux, ivar = seen(network, 20, 0.3)

    def score(weight):
        found = statistics(network, flux, weight, decode(network, flux, weight, torch.zeros(20, LATENT)), torch.zeros(20, LATENT))
        return float(found["residual_1"].median())

    assert score(ivar * 2) == pytest.approx(score(ivar), abs=0.05)
    assert score(ivar / 2) == pytest.approx(score(ivar), abs=0.05)


def fake(n, seed, shift=0.0):
    """Return statistics whose distributions depend on the signal-to-noise ratio."""
    rng = np.random.default_rng(seed)
    snr = np.exp(rng.uniform(np.log(0.5), np.log(50), n))
    found = {name: rng.gumbel(size=n) * (1 + k) + k * np.log(snr) + shift for k, name in enumerate(STRANGE)}
    return found | {"snr": snr, "pixels": np.full(n, 2000.0)}


@pytest.fixture(scope="module")
def calibration():
    return calibrate(fake(6000, 1), "flow")


def test_p_values_of_the_known_are_uniform_at_every_brightness(calibration):
    found = fake(3000, 2)
    p = calibration(found)
    for part in (found["snr"] < 3, (found["snr"] >= 3) & (found["snr"] < 12), found["snr"] >= 12):
        # The calibration's own noise is that of 6000 / 3 examples, and the mean of a uniform sample of some 900 scatters by 0.01.
        assert stats.kstest(p[part], "uniform").statistic < 0.06
    assert (p < 0.01).mean() == pytest.approx(0.01, abs=0.008)


def test_the_strange_have_small_p_values_and_the_stranger_the_smaller(calibration):
    levels = [np.median(calibration(fake(300, 3, shift))) for shift in (0.0, 5.0, 15.0, 40.0)]
    assert levels[0] > 0.3
    assert levels[1] < 0.1
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] >= 0


def test_less_signal_than_any_known_object_is_strange(calibration):
    found = fake(50, 4)
    found["snr"] = np.full(50, 0.05)
    assert calibration(found).max() < 1e-6
    assert calibration.enough({**found, "snr": np.full(50, 1.0)}).min() > 0.5


def test_a_calibration_survives_its_card(calibration):
    found = fake(100, 5)
    again = Calibration.from_card(calibration.to_card())
    np.testing.assert_allclose(again(found), calibration(found), rtol=0.02)


def heard(n, seed, shift=0.0):
    """Return statistics of three witnesses, who tend to agree, the last two of whom pass some spectra over."""
    found, rng = fake(n, seed), np.random.default_rng(seed + 100)
    for name in ("misfit", "nothing_known"):
        found[name] = found["residual_32"] + 3 * rng.normal(size=n) + np.log(found["snr"]) + shift
        found[name][rng.random(n) < 0.2] = np.nan
    return found


@pytest.fixture(scope="module")
def joint():
    return calibrate(heard(6000, 11), "flow")


@pytest.mark.parametrize("silent", [(), ("misfit",), ("nothing_known",), ("misfit", "nothing_known")])
def test_p_values_are_uniform_whoever_speaks(joint, silent):
    found = {name: value for name, value in heard(3000, 12).items() if name not in silent}
    p = joint(found)
    for part in (found["snr"] < 3, (found["snr"] >= 3) & (found["snr"] < 12), found["snr"] >= 12):
        assert stats.kstest(p[part], "uniform").statistic < 0.06
    assert (p < 0.01).mean() == pytest.approx(0.01, abs=0.008)


def test_what_two_find_a_little_strange_is_stranger_than_what_one_does(joint):
    usual, odd = heard(2000, 13), heard(2000, 13, 15.0)
    said = np.isfinite(odd["misfit"]) & np.isfinite(odd["nothing_known"])
    one = joint({**usual, "misfit": odd["misfit"]})[said]
    assert np.median(joint(odd)[said]) < 0.6 * np.median(one) < 0.4 * np.median(joint(usual)[said])


def test_witnesses_survive_the_card(joint):
    found = heard(100, 14)
    again = Calibration.from_card(joint.to_card())
    np.testing.assert_allclose(again(found), joint(found), rtol=0.02)
    assert set(again.together) == {"explanation+templates", "explanation+classes", "explanation+templates+classes"}


def test_a_bump_that_templates_leave_is_seen():
    generator = torch.Generator().manual_seed(15)
    ivar = torch.zeros(20, PIXELS)
    ivar[:, 1500:3700] = 9.0
    flux = torch.where(ivar > 0, 2 + torch.randn(ivar.shape, generator=generator) / 3, 0.0)
    bump = torch.zeros(PIXELS)
    bump[2500:2700] = 0.2
    fit = torch.full_like(flux, 2.0)
    usual, odd = misfit(flux, ivar, fit), misfit(flux + torch.where(ivar > 0, bump, 0.0), ivar, fit)
    assert float(odd.mean()) > float(usual.mean()) + 0.1
    fit[3], fit[4, 3000:] = torch.nan, torch.nan
    partly = misfit(flux, ivar, fit)
    assert partly.isnan().nonzero().tolist() == [[3]]
    assert abs(float(partly[4] - usual[4])) < 0.5


def test_the_chance_of_nothing_known_is_read_from_the_coarse_classes():
    spectra, _ = lined_spectra(0)
    classes = witnesses(0)["network_classes"]
    fine = classes.replace(classifier=["net/fine"] * len(classes), label=["STAR_A0"] * len(classes))
    both = Catalog.concatenate([fine, classes])
    said = nothing_known(both, spectra.ids)
    np.testing.assert_allclose(said[:7], np.log(0.05), rtol=1e-5)
    assert np.isnan(said[7])
    assert np.isnan(nothing_known(classes.replace(flags=np.full(35, CLASSIFICATION["NO_DATA"])), spectra.ids)).all()
    with pytest.raises(DataError, match="net/fine"):
        nothing_known(fine, spectra.ids)
    with pytest.raises(DataError, match="net/coarse, other/coarse"):
        nothing_known(Catalog.concatenate([classes, classes.replace(classifier=["other/coarse"] * 35)]), spectra.ids)


def test_the_forest_isolates_what_lies_apart():
    rng = np.random.default_rng(6)
    forest = grow(rng.normal(size=(2000, 4)), 6)
    usual, apart = forest(rng.normal(size=(200, 4))), forest(rng.normal(size=(200, 4)) + 5)
    assert np.median(usual) == pytest.approx(0.46, abs=0.06)
    assert apart.min() > np.quantile(usual, 0.95)
    assert expected(2) == 1
    assert expected(256) == pytest.approx(10.24, abs=0.01)
    single = grow(np.zeros((5, 2)), 1)  # nothing to split
    assert np.isfinite(single(np.ones((3, 2)))).all()


def known(rows, *, noise=None):
    """Return a corpus of galaxies with one line, over a wide range of observed wavelengths."""
    first = 3.4
    observed = 10 ** (first + STEP * np.arange(3900))
    z = np.linspace(0.1, 0.4, rows)
    flux = 1 + 2 * np.exp(-0.5 * ((observed / 4000 / (1 + z[:, None]) - 1) / 0.003) ** 2)
    flux, z = torch.from_numpy(flux.astype(np.float16)), torch.from_numpy(z.astype(np.float32))
    clean = noiseless(flux, z, first)
    if noise is None:
        return clean
    variance = torch.where(clean.flux.isnan(), torch.inf, noise**2)
    generator = torch.Generator().manual_seed(7)
    return Corpus(clean.flux.nan_to_num().float() + noise * torch.randn(variance.shape, generator=generator), variance.float(), z)


def test_noiseless_spectra_are_moved_to_rest():
    corpus = known(5)
    grid = wavelengths()
    for row in range(5):
        line = corpus.flux[row].float().nan_to_num() - 1
        assert grid[int(line.argmax())] == pytest.approx(4000, rel=1.1 * STEP * np.log(10))
        there = torch.isfinite(corpus.flux[row]).nonzero()
        assert int(there[0]) == pytest.approx((3.4 - np.log10(1 + float(corpus.z[row])) - FIRST) / STEP, abs=1)


@pytest.mark.parametrize("noise", [None, 0.05])
def test_views_show_the_object_elsewhere_and_fainter(noise):
    corpus = known(40, noise=noise)
    rows = torch.arange(40)
    one, other = (view(corpus, rows, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    again = view(corpus, rows, torch.Generator().manual_seed(1))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    first = [(ivar > 0).to(torch.uint8).argmax(dim=1) for _, ivar in (one, other)]
    assert (first[0] != first[1]).float().mean() > 0.8
    for flux, ivar in (one, other):
        good = ivar > 0
        assert torch.isfinite(flux).all()
        assert torch.isfinite(ivar).all()
        assert not flux[~good].any()
        assert (good.sum(dim=1) <= views.WIDTH).all()
        assert (good.sum(dim=1) > 400).all()
        snr = torch.where(good, flux.abs() * ivar.sqrt(), torch.nan).nanmedian(dim=1).values
        assert snr.min() < 4
        assert snr.max() > 10


def test_a_basis_is_found_although_parts_are_missing():
    generator = torch.Generator().manual_seed(8)
    x = torch.linspace(0, 20, PIXELS)
    weight = 0.2 * torch.randn(300, 2, generator=generator)
    flux = 1 + weight @ torch.stack([x.sin(), x.cos()])
    start = torch.randint(0, 2000, (300, 1), generator=generator)
    pixel = torch.arange(PIXELS)
    flux = torch.where((pixel >= start) & (pixel < start + 3400), flux, torch.nan)
    mean, components = principal(Corpus(flux, None, torch.zeros(300)), 3)
    assert (mean - 1)[200:5200].abs().max() < 0.15
    basis = torch.linalg.svd(components[:2], full_matrices=False)[2]
    wave = x.sin() / x.sin().norm()
    assert float((basis @ wave).norm()) > 0.9


def run(spectra, redshifts, model=None, fits=None, network_classes=None, **config):
    stage = SpectralAnomaly(SpectralAnomaly.Config(**config))
    return stage.run(
        context(None), spectra=spectra, redshifts=redshifts, fits=fits, network_classes=network_classes, model=model or small_anomaly()
    )


def test_the_stage_answers_for_every_spectrum_and_says_why_it_cannot():
    spectra, _ = lined_spectra(0)
    ivar = spectra.ivar.copy()
    ivar[2] = 0
    made = run(replace(spectra, ivar=ivar), known_redshifts(0))
    classes, flags = made["classes"], made["classes"].column("flags")
    assert classes.column("object_id").tolist() == spectra.ids.tolist()
    assert flags[7] == CLASSIFICATION["NO_REDSHIFT"]
    assert flags[2] == CLASSIFICATION["NO_DATA"]
    assert not flags[[0, 1, 3, 4, 5, 6]].any()
    dumb = [2, 7]
    assert not classes.column("probability")[dumb].any()
    assert np.isnan(classes.column("ood_score")[dumb]).all()
    assert made["embeddings"].column("object_id").tolist() == [i for k, i in enumerate(spectra.ids.tolist()) if k not in dumb]
    assert made["embeddings"].column("vector").shape == (6, 3)
    filled = made["spectra"]
    assert np.array_equal(filled.wave, spectra.wave)
    assert (filled.mask[dumb] == SPECTRUM_PIXEL["NO_DATA"]).all()
    assert (filled.ivar[[0, 1, 3]] > 0).all()


def test_a_spectrum_is_filled_where_it_has_no_pixels():
    spectra, _ = lined_spectra(0)
    ivar, flux = spectra.ivar.copy(), spectra.flux.copy()
    ivar[:, 300:400], flux[:, 300:400] = 0, np.nan
    gap = run(replace(spectra, flux=flux, ivar=ivar), known_redshifts(0))["spectra"]
    assert np.isfinite(gap.flux[:7]).all()
    assert not gap.mask[:7].any()


def test_beyond_the_rest_frame_grid_there_is_nothing_to_say():
    spectra, _ = lined_spectra(0)
    far = known_redshifts(0).replace(z=np.full(7, 30.0))
    made = run(spectra, far)
    assert (made["classes"].column("flags")[:7] == CLASSIFICATION["NO_DATA"]).all()
    assert len(made["embeddings"]) == 0


def test_runners_up_and_impossible_redshifts_are_not_used():
    spectra, _ = lined_spectra(0)
    table = known_redshifts(0)
    second = table.replace(rank=np.ones(7, np.int16), z=np.full(7, 3.0))
    both = Catalog.concatenate([second, table])
    expected_scores = run(spectra, table)["classes"].column("ood_score")
    np.testing.assert_array_equal(run(spectra, both)["classes"].column("ood_score"), expected_scores)


def test_the_baseline_is_another_classifier():
    spectra, _ = lined_spectra(0)
    flow, forest = (run(spectra, known_redshifts(0), density=density)["classes"] for density in ("flow", "forest"))
    assert set(flow.column("classifier")) == {"spectra.anomaly"} != set(forest.column("classifier"))


def test_witnesses_change_the_p_value_and_must_be_known_to_the_model():
    spectra, _ = lined_spectra(0)
    alone, together = (run(spectra, known_redshifts(0), **more)["classes"] for more in ({}, witnesses(0)))
    told = np.isfinite(alone.column("ood_score"))
    assert np.isfinite(together.column("ood_score")).tolist() == told.tolist()
    assert (alone.column("ood_score")[told] != together.column("ood_score")[told]).all()
    model = small_anomaly()
    deaf = {density: calibrate(fake(400, 1), density).to_card() for density in ("flow", "forest")}
    unheard = replace(model, card={**model.card, "calibrations": deaf})
    for port in ("fits", "network_classes"):
        with pytest.raises(DataError, match=port):
            run(spectra, known_redshifts(0), unheard, **{port: witnesses(0)[port]})
    with pytest.raises(DataError, match="other spectra"):
        run(spectra, known_redshifts(0), fits=witnesses(1)["fits"])
    older = {"flow": {"ranks": {}, "smallest": {}, "faintest": 1.0}}
    with pytest.raises(DataError, match="older"):
        run(spectra, known_redshifts(0), replace(model, card={**model.card, "calibrations": older}))


def test_p_values_are_calibrated_beside_the_witnesses_that_are_wired():
    model = small_anomaly()
    network = to_network(model)
    trained = Trained(network, dict(model.config), History(), {}, {})
    tiles = [Tile(*lined_spectra(number), known_redshifts(number), *witnesses(number).values()) for number in (0, 1)]
    made = recalibrated(context(None), trained, tiles)
    for calibration in made.calibrations.values():
        assert all(calibration.knows(witness) for witness in WITNESSES)
    assert set(made.scores) == {f"{density}_p_below_{part}" for density in ("flow", "forest") for part in (0.05, 0.5)}
    deaf = recalibrated(context(None), trained, [replace(tile, fits=None, classes=None) for tile in tiles])
    assert not any(deaf.calibrations["flow"].knows(witness) for witness in ("templates", "classes"))
    nowhere = [replace(tile, redshifts=tile.redshifts.replace(rank=np.ones(7, np.int16))) for tile in tiles]
    with pytest.raises(NoWork, match="rank 0"):
        recalibrated(context(None), trained, nowhere)


def test_refusals():
    spectra, _ = lined_spectra(0)
    model = small_anomaly()
    with pytest.raises(DataError, match=r"io\.spectra"):
        run(replace(spectra, ids=spectra.ids.astype(str)), known_redshifts(0))
    with pytest.raises(DataError, match=r"for 'detection'"):
        run(spectra, known_redshifts(0), replace(model, card={**model.card, "task": "detection"}))
    with pytest.raises(DataError, match="grid"):
        run(spectra, known_redshifts(0), replace(model, card={**model.card, "grid": {"first": 3.0}}))
    with pytest.raises(DataError, match="calibrations"):
        run(spectra, known_redshifts(0), replace(model, card={k: v for k, v in model.card.items() if k != "calibrations"}))
    with pytest.raises(NoWork):
        run(spectra.take(np.zeros(8, bool)), known_redshifts(0))
