"""spectra.redshift: chi-square at every shift, fits between pixels, distinct solutions, warnings, and spectra that say nothing."""

from __future__ import annotations

import dataclasses
import logging
from functools import cache

import numpy as np
import pytest
import torch

from astrosurvey.catalog.flags import SPECTRUM, SPECTRUM_PIXEL, Z_WARNING
from astrosurvey.core.stage import DataError
from astrosurvey.products import Catalog, Spectra
from astrosurvey.stages.spectra.forest import mean_transmission
from astrosurvey.stages.spectra.redshift import answer
from astrosurvey.stages.spectra.redshift.answer import differences, distinct
from astrosurvey.stages.spectra.redshift.archetypes import BINNED, ArchetypeScan
from astrosurvey.stages.spectra.redshift.block import blocks, reach
from astrosurvey.stages.spectra.redshift.curves import BasisScan, Prepared
from astrosurvey.stages.spectra.redshift.peaks import Peaks, basis_peaks
from astrosurvey.stages.spectra.redshift.refine import Orders, models, refined
from astrosurvey.stages.spectra.redshift.run import measure
from astrosurvey.stages.spectra.redshift.scan import Choices
from astrosurvey.stages.spectra.redshift.sets import STEP, ScanSet
from astrosurvey.stages.spectra.redshift.stage import MeasureRedshift

from ..running import context

FIRST, PIXELS = 36000, 1400
ORDERS = Orders(multiplicative=3, additive=2)
CHOICES = Choices(ORDERS, peaks=3, mates=1, sky_weight=0.1)


def features(seed, count, pixels, width, depth=0.5):
    """A continuum of 1 with lines of random places and strengths, that reach below the pixel's width nowhere."""
    rng = np.random.default_rng(seed)
    x = np.arange(pixels)
    lines = sum(depth * rng.uniform(0.3, 1) * np.exp(-0.5 * ((x - place) / width) ** 2) for place in rng.uniform(0, pixels, count))
    return np.asarray(1 + lines)


@cache
def sets():
    pixels = 2600
    galaxy = np.stack([features(k, 40, pixels, 3.0, 0.8) - (k > 0) for k in range(2)])
    stars = np.stack([features(10 + k, 30, pixels, 3.0, -0.6) for k in range(3)])
    return [
        ScanSet("eigen_stars", "star", stars, FIRST - 600, ("A", "F", "K"), True, (-12, 12)),
        ScanSet("eigen_galaxies", "galaxy", galaxy, FIRST - 800, ("g 0", "g 1"), False, (0, 700)),
    ]


def made(templates, row, shift, *, snr=20.0, count=1, seed=0, tilt=0.0, **changes):
    """Spectra of a template shifted by a part of a pixel too, with noise."""
    whole = int(np.floor(shift))
    share = shift - whole
    segment = templates.segment(FIRST - whole - 3, PIXELS + 6)[row]
    kernel = np.array([np.sinc(k - share) for k in range(-3, 4)]) * np.hamming(9)[1:-1]
    flux = np.convolve(segment, kernel / kernel.sum(), mode="same")[3:-3] * (1 + tilt * np.linspace(-1, 1, PIXELS))
    rng = np.random.default_rng(seed)
    noisy = (flux + rng.normal(0, 1 / snr, (count, PIXELS))).astype(np.float32)
    planes = {"flux": noisy, "ivar": np.full(noisy.shape, snr**2, np.float32), "mask": np.zeros(noisy.shape, np.int32)}
    wave = 10 ** (1e-4 * (FIRST + np.arange(PIXELS)))
    return Spectra(**{**planes, "wave": wave, "ids": np.arange(count) + 500, **changes})


def first_block(spectra, of=None):
    return next(iter(blocks(context(None), spectra, reach(of or sets()), 1.0)))[1]


def scanned(spectra, *, catalog=None, seeds=None, choices=CHOICES, of=None):
    redshifts, fits = measure(context(None), spectra, of or sets(), choices, catalog, seeds)
    redshifts.check()
    fits.check()
    names = ("spectrum_id", "rank", "z", "z_err", "chi2", "delta_chi2", "spectral_class", "template", "z_warning")
    return {name: redshifts.column(name) for name in names}, fits


def best(columns):
    return {name: column[columns["rank"] == 0] for name, column in columns.items()}


def z_of(shift):
    return np.expm1(STEP * shift)


def holds(columns, name):
    return (columns["z_warning"] & Z_WARNING[name]) != 0


def with_gaps(spectra):
    mask = spectra.mask.copy()
    mask[:, ::7] = SPECTRUM_PIXEL["COSMIC_RAY"]
    flux = spectra.flux.copy()
    flux[:, ::7] = 1e3  # must not matter
    return Spectra(flux, spectra.ivar, mask, spectra.wave, spectra.ids)


def test_the_curve_of_a_basis_is_that_of_a_fit_at_every_shift():
    galaxy = sets()[1]
    block = first_block(with_gaps(made(galaxy, 0, 300.0)))
    prepared = Prepared(block, ORDERS.additive, 5)
    curve = BasisScan(galaxy, block.first, block.pixels, "cpu").curve(prepared)[0]
    flux, root = block.flux[0].numpy(), np.sqrt(block.ivar[0].numpy())
    for shift in (0, 17, 299, 300, 301, 700):
        columns = np.concatenate([galaxy.segment(block.first - shift, block.pixels), block.polynomials[0, : ORDERS.additive].numpy()])
        answer = np.linalg.lstsq((columns * root).T, flux * root, rcond=None)[0]
        chi2 = np.sum(((flux - answer @ columns) * root) ** 2)
        assert float(prepared.chi2[0] - curve[shift]) == pytest.approx(chi2, rel=1e-6)


def test_the_curve_of_single_templates_is_that_of_a_fit_of_the_binned_spectrum():
    stars = sets()[0]
    block = first_block(made(stars, 1, 4.0, tilt=0.3))
    scan = ArchetypeScan(stars, block.first, block.pixels, 3, "cpu")
    curve = scan.curve(block)[0].numpy()
    weight = block.ivar[0].numpy()
    for k, shift in enumerate(scan.shifts):
        for row in range(3):
            template = stars.segment(block.first - int(shift), block.pixels)[row].reshape(-1, BINNED).mean(axis=1).repeat(BINNED)
            columns = template * block.polynomials[0, :3].numpy()
            right = columns @ (weight * block.flux[0].numpy())
            assert curve[k, row] == pytest.approx(right @ np.linalg.solve((columns * weight) @ columns.T, right), rel=1e-4)
    assert np.unravel_index(curve.argmax(), curve.shape) == (list(scan.shifts).index(4), 1)


def quasars(edge=FIRST - 350.5):
    """A set whose templates the forest absorbs blueward of a pixel that the shifts move through the spectrum."""
    flux = np.stack([features(20 + k, 40, 2600, 3.0, 0.8) - (k > 0) for k in range(2)])
    return ScanSet("eigen_quasars", "quasar", flux, FIRST - 800, ("q 0", "q 1"), False, (300, 700), edge)


def absorbed(spectra, edge, shift):
    """The same spectra behind the forest, of objects at a shift."""
    number = FIRST + np.arange(PIXELS)
    flux = np.where(number - shift < edge, mean_transmission(spectra.wave) * spectra.flux, spectra.flux).astype(np.float32)
    return dataclasses.replace(spectra, flux=flux)


def test_the_curve_behind_the_forest_is_that_of_a_fit_of_absorbed_templates():
    templates = quasars()
    block = first_block(absorbed(made(templates, 0, 500.0, count=2), templates.edge, 500.0), [templates])
    curve = BasisScan(templates, block.first, block.pixels, "cpu").curve(Prepared(block, 2, 10)).numpy()
    for shift in (300, 480, 500, 651):
        number = block.first - shift + np.arange(block.pixels)
        light = templates.segment(block.first - shift, block.pixels) * np.where(number < templates.edge, block.forest.numpy(), 1)
        for row in range(2):
            root = np.sqrt(block.ivar[row].numpy())
            added = block.polynomials[row, :2].numpy()
            left = [chi2_of(np.concatenate(columns) * root, block.flux[row].numpy() * root) for columns in ((added,), (added, light))]
            assert curve[row, shift - 300] == pytest.approx(left[0] - left[1], rel=1e-6)


def test_the_forest_moves_no_redshift_and_is_in_the_model():
    templates = quasars()
    given = absorbed(made(templates, 0, 500.3, snr=50.0, count=4), templates.edge, 500.3)
    found, fits = scanned(given, of=[templates])
    shift = np.log1p(best(found)["z"]) / STEP
    assert np.abs(shift - 500.3).max() < 0.05
    assert np.nanmedian(np.abs(fits.flux - given.flux)) < 2 / 50
    blind, _ = scanned(given, of=[dataclasses.replace(templates, edge=-np.inf)])
    assert (best(blind)["chi2"] > 3 * best(found)["chi2"]).all()


def chi2_of(columns, flux):
    return float(np.sum((flux - np.linalg.lstsq(columns.T, flux, rcond=None)[0] @ columns) ** 2))


@pytest.mark.parametrize("shift", [120.0, 120.3, 120.5, 120.9])
def test_a_fit_finds_the_part_of_a_pixel(shift):
    galaxy = sets()[1]
    block = first_block(made(galaxy, 0, shift, snr=1000.0))
    start = Peaks(torch.zeros(1, dtype=torch.int64), torch.arange(2)[None], torch.tensor([121.2], dtype=torch.float64))
    fits = refined(galaxy, block, *start, ORDERS)
    assert float(fits.shift[0]) == pytest.approx(shift, abs=0.02)
    assert bool(fits.settled[0])
    _, model = models(galaxy, block, start.rows, start.which, fits, ORDERS)
    assert float(((model - block.flux) ** 2 * block.ivar).sum()) == pytest.approx(float(fits.chi2[0]), rel=1e-6)


@pytest.mark.parametrize(("which", "row", "shift"), [(0, 1, 5.4), (1, 0, 321.7)])
def test_redshifts_scatter_as_the_errors_of_the_fits_say(which, row, shift, monkeypatch):
    """96 draws: the scatter in sigma is known to 7 %, and the mean to 0.1."""
    monkeypatch.setattr(answer, "ERROR", dict.fromkeys(("star", "galaxy"), (1.0, 0.0)))  # these templates are those that are fitted
    columns, _ = scanned(made(sets()[which], row, shift, snr=5.0, count=96))
    found = best(columns)
    pull = (found["z"] - z_of(shift)) / found["z_err"]
    assert set(found["spectral_class"]) == {("star", "galaxy")[which]}
    assert abs(pull.mean()) < 0.35
    assert 0.8 < pull.std() < 1.25


def test_a_calibration_that_is_wrong_leaves_a_star_a_star():
    columns, fits = scanned(made(sets()[0], 2, -3.0, tilt=0.6, snr=50.0))
    found = best(columns)
    assert (found["spectral_class"][0], found["template"][0]) == ("star", "K")
    assert found["z_warning"][0] == 0
    np.testing.assert_allclose(fits.flux[0], made(sets()[0], 2, -3.0, tilt=0.6, snr=1e6).flux[0], atol=0.03)


def test_masked_pixels_do_not_matter():
    given = made(sets()[1], 0, 321.7)
    found, fits = scanned(with_gaps(given))
    assert best(found)["z"][0] == pytest.approx(best(scanned(given)[0])["z"][0], abs=2e-4)
    assert np.isfinite(fits.flux[:, 1:-1]).all()


def test_the_grid_does_not_matter():
    from astrosurvey.stages.spectra.resample.rows import resampled

    given = made(sets()[1], 0, 321.7, snr=50.0, count=2)
    reference = best(scanned(given)[0])
    moved = Spectra(given.flux, given.ivar, given.mask, given.wave * 10**0.3e-4, given.ids)
    np.testing.assert_allclose(best(scanned(moved)[0])["z"], (1 + reference["z"]) * 10**0.3e-4 - 1, rtol=1e-7)
    linear = resampled(context(None), given, np.arange(4000.0, 5480.0, 1.0), 0.5)
    own = Spectra(linear.flux, linear.ivar, linear.mask, np.stack([linear.wave, linear.wave + 0.4]), given.ids)
    found, fits = scanned(own.take([0]))
    assert best(found)["z"][0] == pytest.approx(reference["z"][0], abs=5e-5)
    assert fits.wave.shape == (1, len(linear.wave))
    np.testing.assert_allclose(fits.flux[0][5:-5], linear.flux[0][5:-5], atol=0.15)
    assert best(scanned(own)[0])["z"][1] - best(scanned(own)[0])["z"][0] == pytest.approx(0.4 / 4700 * 1.077, rel=0.2)


def test_solutions_are_distinct_and_ordered_with_every_class_among_them():
    columns, _ = scanned(made(sets()[1], 0, 200.0, snr=2.0, count=8))
    for one in np.unique(columns["spectrum_id"]):
        rows = {name: column[columns["spectrum_id"] == one] for name, column in columns.items()}
        assert list(rows["rank"]) == list(range(len(rows["rank"])))
        assert len(rows["rank"]) <= 5
        assert {"star", "galaxy"} <= set(rows["spectral_class"])
        velocity = 299792.458 * np.log1p(rows["z"][rows["spectral_class"] == "galaxy"])
        assert np.diff(np.sort(velocity)).min() >= 1000
    assert distinct(np.array([1.0, 2, 3, 4]), np.array([0.0, 999, 1001, 50]), ["galaxy"] * 3 + ["star"]) == [0, 2, 3]
    many = distinct(np.arange(8.0), np.arange(8) * 2000.0, ["galaxy"] * 7 + ["star"])
    assert many == [0, 1, 2, 3, 7]
    np.testing.assert_array_equal(differences(np.array([1.0, 4.5, 3.0]), [0, 2, 1]), [2.0, 1.5, np.nan])


def test_what_is_near_a_seed_is_in_the_table_whatever_its_rank():
    score, velocity, classes = np.arange(9.0), np.arange(9) * 2000.0, ["galaxy"] * 8 + ["star"]
    assert distinct(score, velocity, classes) == [0, 1, 2, 3, 8]
    seeds = [12100.0, 300.0, np.nan, 15000.0, 14900.0]  # the third and the last are near nothing of their class
    assert distinct(score, velocity, classes, seeds, ["galaxy", "", "galaxy", "", "star"]) == [0, 1, 2, 3, 6, 8]
    close = distinct(np.array([0.0, 1.0]), np.array([0.0, 900.0]), ["galaxy"] * 2, [1500.0], ["galaxy"])
    assert close == [0, 1]  # within 1000 km/s of the better one, but that is not near the seed


def test_seeds_are_looked_at():
    """A faint galaxy whose redshift is not among the best two of the scan, but is what a network says."""
    given = made(sets()[1], 0, 321.7, snr=0.7, count=24, seed=4)
    choices = Choices(ORDERS, peaks=1, mates=0, sky_weight=0.1)
    seeds = Catalog.from_columns("redshift", {"spectrum_id": given.ids, "rank": 0, "z": z_of(321.7), "method": "a network", "z_warning": 0})

    def near(columns):
        hit = np.abs(columns["z"] - z_of(321.7)) < 1e-3
        return len(set(columns["spectrum_id"][hit]))

    blind = near(scanned(given, choices=choices)[0])
    assert blind < 20
    assert near(scanned(given, choices=choices, seeds=seeds)[0]) > blind


def test_noise_and_smooth_light_have_no_redshift():
    wave = np.linspace(-1, 1, PIXELS)
    for continuum in (0.0, 10 + 4 * wave - 3 * wave**2):
        nothing = made(sets()[1], 0, 0.0, count=32)
        rng = np.random.default_rng(5)
        flux = (continuum + rng.normal(0, 1 / 20, nothing.flux.shape)).astype(np.float32)
        found = best(scanned(Spectra(flux, nothing.ivar, nothing.mask, nothing.wave, nothing.ids))[0])
        assert holds(found, "NO_FEATURES").all()


def test_warnings_of_the_range_and_of_the_spectrum():
    given = made(sets()[1], 0, 700.0, count=2)
    catalog = Catalog.from_columns(
        "spectrum",
        {"spectrum_id": given.ids, "tile_id": 1, "frame": "unknown", "n_pixel": PIXELS, "wave_min": 4000.0, "wave_max": 5000.0}
        | {"flags": [SPECTRUM["SKY_FIBRE"], SPECTRUM["MEASURED_ERRORS"]]},
    )
    found = best(scanned(given, catalog=catalog)[0])
    assert holds(found, "Z_FITLIMIT").all()
    assert holds(found, "SKY_FIBRE").tolist() == [True, False]
    assert holds(found, "MEASURED_ERRORS").tolist() == [False, True]
    half = given.ivar.copy()
    half[:, 300:1100] = 0
    assert holds(best(scanned(Spectra(given.flux, half, given.mask, given.wave, given.ids))[0]), "LITTLE_COVERAGE").all()
    negative = Spectra(-given.flux, given.ivar, given.mask, given.wave, given.ids)
    assert holds(best(scanned(negative)[0]), "NEGATIVE_MODEL").all()
    spiky = given.flux.copy()
    spiky[:, ::15] += 1
    assert holds(best(scanned(Spectra(spiky, given.ivar, given.mask, given.wave, given.ids))[0]), "MANY_OUTLIERS").all()


def test_spectra_that_say_nothing_are_rows_with_a_warning(caplog):
    given = made(sets()[1], 0, 321.7, count=5)
    flux, ivar, mask = (plane.copy() for plane in (given.flux, given.ivar, given.mask))
    ivar[0] = 0
    mask[1] = SPECTRUM_PIXEL["BAD"]
    flux[2], ivar[2] = np.nan, 0
    mask[3, 10:] = SPECTRUM_PIXEL["BAD"]
    with caplog.at_level(logging.WARNING):
        columns, fits = scanned(Spectra(flux, ivar, mask, given.wave, given.ids))
    found = best(columns)
    assert holds(found, "NO_DATA").tolist() == [True] * 4 + [False]
    assert np.isnan(found["z"][:4]).all()
    assert found["z"][4] == pytest.approx(z_of(321.7), abs=1e-3)
    assert np.isnan(fits.flux[:4]).all()
    assert "4 of 5 spectra" in caplog.text


@pytest.mark.parametrize(("low", "pixels"), [(300.0, 40), (1e6, 40), (4000.0, 1), (4000.0, 2)])
def test_grids_without_templates_and_of_a_single_pixel(low, pixels):
    shape = (2, pixels)
    wave = low * 10 ** (1e-4 * np.arange(pixels))
    empty = Spectra(np.ones(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.int32), wave, np.arange(2))
    found = best(scanned(empty)[0])
    assert holds(found, "NO_DATA").all()


@pytest.mark.parametrize("wrong", [np.nan, -5.0, 0.0])
def test_wavelengths_that_are_none_are_refused(wrong):
    given = made(sets()[1], 0, 0.0)
    wave = given.wave.copy()
    wave[0] = wrong
    with pytest.raises(DataError, match="finite, positive and increasing"):
        scanned(Spectra(given.flux, given.ivar, given.mask, wave, given.ids))


def test_constant_and_zero_spectra_do_no_harm():
    given = made(sets()[1], 0, 0.0, count=3)
    flux = np.zeros_like(given.flux)
    flux[1] = 7
    flux[2, 700] = 1e30
    found = best(scanned(Spectra(flux, given.ivar, given.mask, given.wave, given.ids))[0])
    assert (found["z_warning"] != 0).all()


def test_peaks_are_apart():
    galaxy = sets()[1]
    curve = torch.zeros(1, 701)
    curve[0, [50, 55, 300]] = torch.tensor([5.0, 6.0, 3.0])
    peaks = basis_peaks(galaxy, curve, 3)
    assert peaks.shift.round().tolist() == [55, 300]


def test_analytic_stand_ins_are_warned_of(caplog):
    config = MeasureRedshift.Config(sets=["eigen_galaxies"], galaxies=(0.0, 0.02), peaks=1)
    wave = 10 ** (3.6 + STEP * np.arange(300))
    spectra = Spectra(np.ones((1, 300), np.float32), np.ones((1, 300), np.float32), np.zeros((1, 300), np.int32), wave, np.arange(1))
    with caplog.at_level(logging.WARNING):
        MeasureRedshift(config).run(context(None), spectra=spectra, catalog=None, seeds=None)
    assert "eigen_galaxies: small analytic sets" in caplog.text
