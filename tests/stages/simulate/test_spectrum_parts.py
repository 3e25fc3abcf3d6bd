"""The parts of simulated spectra against what is known: shifts, widths, dust, line ratios, the forest."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.core.stage import DataError
from astrosurvey.stages.simulate.spectra import dust, emission, forest
from astrosurvey.stages.simulate.spectra.galaxies import KINDS, Galaxies
from astrosurvey.stages.simulate.spectra.grid import LIGHT, PIXEL, LogGrid, broadened, shifted, span
from astrosurvey.stages.simulate.spectra.noise import training_rows
from astrosurvey.stages.simulate.spectra.quasars import WIDTH, broad_lines
from astrosurvey.stages.simulate.spectra.stars import continued, quieter, spectral_type, typical
from astrosurvey.stages.spectra.templates import LOG_STEP, read_library

GRID = LogGrid(4000.0, 1200)


def test_a_coarse_grid_is_made_of_whole_groups_of_the_fine_one():
    coarse = LogGrid(3600.0, 50, 2)
    fine = coarse.fine
    assert fine.pixels == 100
    centers = np.log10(fine.wave).reshape(50, 2).mean(axis=1)
    np.testing.assert_allclose(centers, np.log10(coarse.wave), atol=1e-12)
    np.testing.assert_array_equal(coarse.binned(np.arange(100.0)[None])[0], np.arange(50) * 2 + 0.5)


@pytest.mark.parametrize("z", [0.0, 0.01234, 0.3])
def test_a_shift_puts_smooth_spectra_exactly_where_they_belong(z):
    first, pixels = span(GRID, 0.0, 0.3)
    rest = 10 ** (LOG_STEP * (first + np.arange(pixels)))

    def smooth(wave):
        return np.sin(np.log(wave) * 60) + 2

    seen = shifted(smooth(rest)[None], first, np.array([z]), GRID)[0]
    np.testing.assert_allclose(seen, smooth(GRID.wave / (1 + z)), atol=1e-6)


def test_broadening_keeps_the_flux_and_adds_the_width():
    x = np.arange(400)
    line = np.exp(-0.5 * ((x - 200) / 3.0) ** 2)[None]
    wide = broadened(np.vstack([line, line]), np.array([0.0, 250.0]))
    np.testing.assert_allclose(wide.sum(axis=1), line.sum(), rtol=1e-9)
    np.testing.assert_allclose(wide[0], line[0], atol=1e-9)
    sigma = np.sqrt(np.average((x - 200) ** 2, weights=np.clip(wide[1], 0, None)))
    np.testing.assert_allclose(sigma, np.hypot(3.0, 250.0 / PIXEL), rtol=1e-3)


def test_lines_conserve_their_flux_at_any_place_and_width():
    centers = np.array([[4300.3, 4100.0, 9999.0], [4200.7, 4050.1, 3000.0]])
    total = np.array([[3.0, 1.5, 7.0], [0.5, 2.0, 7.0]])
    flux = np.zeros((2, GRID.pixels))
    emission.add_lines(flux, GRID, centers, np.array([[30.0, 200.0, 50.0], [400.0, 60.0, 50.0]]), total)
    width = GRID.wave * (10 ** (LOG_STEP / 2) - 10 ** (-LOG_STEP / 2))
    np.testing.assert_allclose((flux * width).sum(axis=1), total[:, :2].sum(axis=1), rtol=1e-5)
    mean = np.average(GRID.wave, weights=flux[0] * width * (GRID.wave > 4200))
    assert abs(mean - 4300.3) < 0.05


def test_dust_curves_have_their_published_values():
    assert dust.milky_way(np.array([1e4 / 1.82]))[0] == pytest.approx(1.0, abs=1e-9)
    assert dust.milky_way(np.array([4400.0]))[0] == pytest.approx(1.32, abs=0.03)  # R(V) = 3.1
    assert dust.milky_way(np.array([2175.0]))[0] == pytest.approx(3.1, abs=0.15)  # the bump
    assert dust.starburst(np.array([5500.0]))[0] == pytest.approx(1.0, abs=0.01)
    assert dust.starburst(np.array([1600.0]))[0] * 4.05 == pytest.approx(9.97, abs=0.1)  # k(1600 Å)
    assert dust.magellanic(np.array([1e4]))[0] == pytest.approx(1.39)


def sdss_line(nitrogen):
    """log10([O III]/Hβ) above which SDSS's pipeline says AGN."""
    return 0.22 - 1.2 * nitrogen


def test_line_ratios_lie_in_their_regions_and_doublets_keep_atomic_physics():
    rng = np.random.default_rng(1)
    young, active = emission.star_forming(rng, 4000), emission.active(rng, 4000)
    assert np.mean(young[1] < sdss_line(young[0])) > 0.97
    assert np.mean(active[1] > sdss_line(active[0])) > 0.75
    ratios = dict(zip(emission.NAMES, emission.fluxes(rng, *young, np.zeros(4000, bool)).T, strict=True))
    np.testing.assert_allclose(ratios["Ha"] / ratios["Hb"], 2.86)
    np.testing.assert_allclose(ratios["OIII_5007"] / ratios["OIII_4959"], 2.98)
    np.testing.assert_allclose(ratios["NII_6584"] / ratios["NII_6548"], 3.06)
    np.testing.assert_allclose(np.log10(ratios["OIII_5007"] / ratios["Hb"]), young[1], atol=1e-9)
    for blue, red, low, high in (("OII_3729", "OII_3726", 0.38, 1.5), ("SII_6717", "SII_6731", 0.44, 1.45)):
        assert low < (ratios[blue] / ratios[red]).min() < (ratios[blue] / ratios[red]).max() < high


def test_dust_raises_the_balmer_decrement():
    flux = emission.fluxes(np.random.default_rng(0), np.full(2, -0.5), np.zeros(2), np.zeros(2, bool))
    behind = emission.dimmed(flux, np.array([0.0, 1.0]))
    alpha, beta = (emission.NAMES.index(name) for name in ("Ha", "Hb"))
    np.testing.assert_allclose(behind[0], flux[0])
    assert behind[1, alpha] == 1
    assert behind[1, alpha] / behind[1, beta] == pytest.approx(2.86 * 10 ** (0.4 * 0.36), rel=0.03)


@pytest.mark.parametrize("z", [2.4, 3.0, 3.9])
def test_the_forest_has_the_published_mean_transmission(z, monkeypatch):
    monkeypatch.setattr(forest, "DAMPED", 0.0)
    monkeypatch.setattr(forest, "LIMITS", 0.0)
    wave = LogGrid(3600.0, 4000).wave
    seen = forest.transmission(np.random.default_rng(5), wave, np.full(150, z))
    assert (seen[:, wave > 1216 * (1 + z) + 10] == 1).all()
    assert seen.min() >= 0
    alpha_only = (wave > 1045 * (1 + z)) & (wave < 1195 * (1 + z)) & (wave > 3610)
    expected = np.exp(-0.0018 * (wave[alpha_only] / 1215.67) ** 3.92)
    assert seen[:, alpha_only].mean() == pytest.approx(expected.mean(), abs=0.006)
    beta = (wave > 980 * (1 + z)) & (wave < 1015 * (1 + z))
    if beta.sum() > 50:
        assert seen[:, beta].mean() < np.exp(-0.0018 * (wave[beta] / 1215.67) ** 3.92).mean() - 0.01


def test_troughs_take_light_blueward_of_their_lines_alone():
    grid, z = LogGrid(3600.0, 4000), np.array([2.0, 2.0])
    flux = np.ones((2, grid.pixels), np.float32)
    forest.add_troughs(np.random.default_rng(3), flux, grid, z, np.array([True, False]))
    assert (flux[1] == 1).all()
    rest = grid.wave / 3
    assert 0 <= flux[0].min() < 0.8
    carbon = (rest > 1420) & (rest < 1545)
    assert flux[0, carbon].min() < 0.8
    np.testing.assert_allclose(flux[0, (rest > 1650) & (rest < 1700)], 1, atol=1e-3)


def test_a_damped_system_has_the_width_of_its_column():
    wave = LogGrid(4500.0, 1200).wave
    seen = forest._damped(wave, 3.0, 10**20.3)
    equivalent = np.trapezoid(1 - seen, wave) / 4.0
    assert equivalent == pytest.approx(10.0, rel=0.1)  # Å at rest for the weakest damped system


def test_broad_lines_are_measured_above_their_continuum():
    grid = LogGrid(3600.0, 4352)
    z = np.array([0.9])
    place = 2799.1 * 1.9
    velocity = LIGHT * np.log(grid.wave / place)
    flux = (1 + 0.1 * (grid.wave / 5000 - 1) + 0.7 * np.exp(-0.5 * (velocity / WIDTH) ** 2))[None]
    lines = broad_lines(flux, grid, z)[0]
    names = ("Ha", "Hb", "MgII", "CIII", "CIV")
    at = names.index("MgII")
    assert lines[at, 2] == pytest.approx(0.7, abs=0.02)
    assert 10 ** lines[at, 0] == pytest.approx(place)
    assert np.isnan(lines[[0, 4]]).all()


def test_histories_are_shares_and_as_old_as_their_kind():
    galaxies = Galaxies(read_library(None), LogGrid(4000.0, 800), (0.0, 0.2))
    kinds = np.repeat(np.arange(len(KINDS)), 200)
    weights = galaxies.histories(np.random.default_rng(0), kinds)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    age = [(weights[kinds == k] @ np.log10(galaxies.age)).mean() for k in range(len(KINDS))]
    assert age[2] < age[1] < age[3] < age[0]


def test_missing_ends_are_continued_without_a_step():
    row = np.full(600, np.nan)
    row[150:450] = 3.0
    out = continued(row, np.linspace(1, 2, 600))
    assert np.isfinite(out).all()
    assert out[149] == pytest.approx(3.0, rel=0.1)
    assert out[450] == pytest.approx(3.0, rel=0.1)
    assert out[0] < out[149]


def test_templates_are_smoothed_where_they_are_noisy_and_nowhere_else():
    rng = np.random.default_rng(1)
    x = np.arange(3000)
    smooth = 2 - np.exp(-0.5 * ((x - 600) / 4) ** 2) - 0.5 * np.exp(-0.5 * ((x - 2400) / 20) ** 2)
    noisy = smooth + np.where(x > 1500, 0.3, 0.01) * rng.standard_normal(3000)
    out = quieter(noisy)
    np.testing.assert_array_equal(out[:1300], noisy[:1300])
    assert np.std((out - smooth)[1700:]) < 0.5 * 0.3


@pytest.mark.parametrize(
    ("kind", "expected"), [("K3Iab:", "K3"), ("sd:F0", "F0"), ("M4.5:III", "M4"), ("WD:DA", "WD:DA"), ("Carbon", "Carbon")]
)
def test_spectral_types_are_a_letter_and_a_digit(kind, expected):
    assert spectral_type(kind) == expected


def test_only_rows_of_the_training_side_are_used(tmp_path):
    split = tmp_path / "split.csv"
    split.write_text("row,object,side\n3,a,train\n0,b,test\n1,c,train\n")
    np.testing.assert_array_equal(training_rows(split, 5), [1, 3])
    with pytest.raises(DataError, match="no training row within the 3"):
        training_rows(split, 3)
    split.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="needs the columns"):
        training_rows(split, 3)


def test_a_dwarf_without_light_in_most_of_the_grid_has_a_typical_flux():
    assert typical(np.array([0.0, 0.0, 0.0, 1.0, 3.0])) == 0.8
    assert typical(np.array([1.0, 2.0, 9.0])) == 2.0
