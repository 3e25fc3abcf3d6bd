"""Simulated spectra as a whole: what is drawn is what the truth says, and the stage is deterministic."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from astrosurvey import Context, Tile
from astrosurvey.stages.simulate.spectra.draw import Drawer
from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.simulate.spectra.noise import read_labelled
from astrosurvey.stages.simulate.spectra.stage import SHARES, SimulateSpectra
from astrosurvey.stages.simulate.spectra.strange import KINDS
from astrosurvey.stages.spectra.classes import COARSE, FINE
from astrosurvey.stages.spectra.templates import read_library

GRID = LogGrid(3600.0, 2176, 2)


@pytest.fixture(scope="module")
def drawer():
    return Drawer(GRID)


def test_all_classes_are_drawn_in_their_shares_at_any_redshift(drawer):
    drawn = drawer.draw(np.random.default_rng(1), 700)
    assert drawn.flux.shape == (700, GRID.pixels)
    assert np.isfinite(drawn.flux).all()
    share = np.bincount(drawn.spectral_class, minlength=5) / 700
    np.testing.assert_allclose(share, [SHARES[name] for name in COARSE], atol=0.08)
    level = abs(drawn.flux).mean(axis=1)
    np.testing.assert_allclose(level[drawn.spectral_class != COARSE.index("sky")], 1, rtol=1e-4)
    assert (level[drawn.spectral_class == COARSE.index("sky")] == 0).all()
    z = {name: drawn.z[drawn.spectral_class == k] for k, name in enumerate(COARSE)}
    assert abs(z["star"]).max() <= 600 / 299792.458
    for name, low, high in (("galaxy", 0.0, 1.7), ("quasar", 0.03, 6.9)):
        assert low <= z[name].min() < low + 0.3
        assert high - 1.5 < z[name].max() <= high
    assert np.isnan(z["sky"]).all()
    assert np.isnan(z["unknown"]).all()
    assert set(np.unique(drawn.kind[drawn.spectral_class == 4])) == set(KINDS)
    classes = {FINE[k] for k in drawn.fine if k >= 0}
    assert classes == {name for name in FINE if name.startswith("STAR")}


def test_the_same_numbers_make_the_same_spectra(drawer):
    first, again = (drawer.draw(np.random.default_rng(3), 40) for _ in range(2))
    for name in ("flux", "z", "lines", "kind"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_lines_lie_where_redshifts_say(drawer):
    kinds = np.full(60, 2)  # starbursts
    fine = drawer.galaxies.draw(np.random.default_rng(2), 60, kinds)
    wave = GRID.fine.wave
    near = fine.z < 0.4
    for row in np.flatnonzero(near):
        window = abs(wave / (6564.6 * (1 + fine.z[row])) - 1) < 1.5e-3
        peak = wave[window][np.argmax(fine.flux[row, window])]
        assert abs(peak / (6564.6 * (1 + fine.z[row])) - 1) < 3e-4
        np.testing.assert_allclose(10 ** fine.lines[row, 0, 0], 6564.6 * (1 + fine.z[row]), rtol=1e-5)
    assert near.sum() > 20
    assert (fine.equivalent_width > 50).all()


def test_quasars_have_their_lines_and_are_absorbed_blueward_of_lyman_alpha(drawer):
    drawn = drawer.of_class(np.random.default_rng(4), "quasar", 200)
    wave, z = GRID.wave, drawn.z[:, None]
    strength = drawn.lines[:, 2, 2] / np.array(
        [np.interp(2799.1 * (1 + value), wave, flux) for value, flux in zip(drawn.z, drawn.flux, strict=True)]
    )
    assert np.nanmedian(strength) > 0.15
    high = (drawn.z > 3.5) & (drawn.z < 5)
    rest = wave / (1 + z)
    blue, red = ((rest > low) & (rest < top) for low, top in ((1060, 1180), (1250, 1400)))
    ratio = [np.mean(drawn.flux[k, blue[k]]) / np.mean(drawn.flux[k, red[k]]) for k in np.flatnonzero(high)]
    assert np.median(ratio) < 0.7


def run(config, seed=0, number=7, tmp_path=None):
    stage = SimulateSpectra(SimulateSpectra.Config(**config))
    context = Context(
        Tile(f"t{number}", number, 0), np.random.default_rng(seed), "cpu", logging.getLogger("test"), lambda *_: None, tmp_path
    )
    stage.setup(context)
    return stage.run(context)


def test_the_stage_returns_spectra_catalogue_and_truth(tmp_path):
    out = run({"number": 300, "log_step": 2e-4, "snr": (5, 30)}, tmp_path=tmp_path)
    again = run({"number": 300, "log_step": 2e-4, "snr": (5, 30)}, tmp_path=tmp_path)
    spectra, catalog, truth = out["spectra"], out["catalog"], out["truth"]
    for product in out.values():
        product.check()
    np.testing.assert_array_equal(spectra.flux, again["spectra"].flux)
    np.testing.assert_array_equal(spectra.ids, truth.column("spectrum_id"))
    np.testing.assert_array_equal(spectra.ids, catalog.column("spectrum_id"))
    assert spectra.wave[0] == 3600
    assert spectra.wave[-1] <= 9824
    kinds, labels = truth.column("spectral_class"), truth.column("subclass")
    sky = kinds == "sky"
    np.testing.assert_array_equal((catalog.column("flags") & 4) > 0, sky)
    assert set(labels[kinds == "quasar"]) == {"QSO", "QSO_BROADLINE"}
    assert {"GALAXY", "GALAXY_AGN", "GALAXY_STARFORMING", "GALAXY_STARBURST"} <= set(labels[kinds == "galaxy"])
    near = np.isfinite(truth.column("z")) & (truth.column("snr") > 3)
    np.testing.assert_allclose(np.log(catalog.column("snr")[near] / truth.column("snr")[near]), 0, atol=0.35)


def test_relative_fluxes_have_no_unit(tmp_path):
    out = run({"number": 3, "calibrated": False, "classes": {"star": 1}, "start": 4000, "stop": 5000}, tmp_path=tmp_path)
    assert out["spectra"].unit == ""
    assert (out["catalog"].column("flags") & 16).all()


@pytest.mark.parametrize(
    "config", [{"classes": {"galaxy": 1}}, {"classes": {"quasar": 1}, "quasar_z": (3, 3.1)}, {"classes": {"quasar": 1}}]
)
def test_narrow_grids_show_a_piece_of_the_spectrum(config, tmp_path):
    spectra = run({"number": 5, "start": 3600, "stop": 4100, **config}, tmp_path=tmp_path)["spectra"]
    spectra.check()
    assert np.isfinite(spectra.flux[spectra.ivar > 0]).all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"snr": (5, 2)}, "`snr` must be"),
        ({"galaxy_z": (0.1, 3.0)}, "`galaxy_z` must be two redshifts in order, up to 2.0"),
        ({"classes": {"star": 0}}, "draws nothing"),
        ({"log_step": 1.5e-4}, "multiple of 1e-4"),
        ({"start": 5000, "stop": 5100}, "10 % beyond"),
        ({"split": "x.csv"}, "`noise_from`, which is not set"),
    ],
)
def test_impossible_settings_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        SimulateSpectra.Config(**config)


@pytest.mark.real
def test_real_spectra_lend_errors_and_quasars_from_their_training_side_alone(real_data, tmp_path):
    file, split = real_data / "spectra" / "sdss_labelled.fits.gz", tmp_path / "split.csv"
    split.write_text("row,object,side\n" + "".join(f"{k},{k},{'train' if k % 6 == 0 else 'test'}\n" for k in range(266)))
    library = read_library(real_data / "templates")
    labelled = read_labelled(file, split, GRID, library)
    assert 20 < len(labelled.shapes) <= 45
    there = labelled.shapes > 0
    np.testing.assert_allclose([row[good].mean() for row, good in zip(labelled.shapes, there, strict=True)], 1, rtol=1e-5)
    assert 15 < len(labelled.coefficients.z) <= len(labelled.shapes)
    np.testing.assert_array_equal(labelled.coefficients.values[:, 0], 1)
    drawn = Drawer(GRID, library, coefficients=labelled.coefficients).of_class(np.random.default_rng(0), "quasar", 60)
    assert {name.split()[0] for name in drawn.template} == {"formula", "archetype", "basis"}
    assert np.isfinite(drawn.flux).all()
