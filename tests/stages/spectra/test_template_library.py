"""Templates: those made by formulas behave as stars, populations and quasars do; those of files are read onto one grid."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.products._fits import BadInput
from astrosurvey.stages.spectra.templates import LOG_STEP, TemplateSet, read_library
from astrosurvey.stages.spectra.templates.analytic import quasars
from astrosurvey.stages.spectra.templates.analytic.eigen import basis

fits = pytest.importorskip("astropy.io.fits")


@pytest.fixture(scope="module")
def analytic():
    return read_library(None)


@pytest.fixture(scope="module")
def published(real_data):
    return read_library(real_data / "templates")


def level(templates: TemplateSet, low: float, high: float) -> np.ndarray:
    """Return the mean of each template between two wavelengths."""
    inside = (templates.wave > low) & (templates.wave < high)
    return np.asarray(templates.flux[:, inside].mean(axis=1))


def depth(templates: TemplateSet, center: float, half: float = 4.0, off: float = 60.0) -> np.ndarray:
    """Return how deep a line is below the mean of its two sides."""
    sides = (level(templates, center - off - 15, center - off + 15) + level(templates, center + off - 15, center + off + 15)) / 2
    return np.asarray(1 - level(templates, center - half, center + half) / sides)


def test_the_analytic_library_covers_what_a_scan_and_a_simulator_need(analytic):
    assert set(analytic.sets()) == {"stars", "white_dwarfs", "eigen_stars", "galaxies", "eigen_galaxies", "eigen_quasars"}
    for name, templates in analytic.sets().items():
        assert templates.origin == "analytic"
        assert len(templates.names) == len(templates.kinds) == len(templates)
        assert templates.flux.dtype == np.float32
        assert np.isfinite(templates.flux).all()
        assert templates.eigen == (name in ("eigen_galaxies", "eigen_quasars"))
        np.testing.assert_allclose(templates.wave[0], 10**templates.loglam0)


def test_lines_follow_the_spectral_type(analytic):
    stars = analytic.stars.take(np.asarray(analytic.stars.parameters["feh"]) == 0)
    at = {kind: k for k, kind in enumerate(stars.kinds)}
    hydrogen = depth(stars, 4862.7, 6.0)
    assert stars.kinds[int(np.argmax(hydrogen))] in ("B9", "A0", "A3")
    assert hydrogen[at["A0"]] > 3 * hydrogen[at["G2"]] > 0
    calcium = depth(stars, 3934.8)
    assert calcium[at["K3"]] > calcium[at["F5"]] > calcium[at["B5"]]
    titanium = 1 - level(stars, 7060, 7120) / level(stars, 7010, 7045)
    assert titanium[at["M5"]] > titanium[at["M1"]] > titanium[at["K3"]] > -0.05
    colour = level(stars, 7900, 8100) / level(stars, 4400, 4600)
    assert (np.diff(colour[: at["M6"]]) > 0).all()


def test_the_balmer_jump_is_one_step_down_to_the_blue(analytic):
    hot = analytic.stars.take(np.array([k in ("A0", "A3") for k in analytic.stars.kinds]))
    behind, at, before = level(hot, 3560, 3640), level(hot, 3665, 3690), level(hot, 4000, 4080)
    assert (before / behind > 1.8).all()
    np.testing.assert_allclose(behind / at, 1, atol=0.15)


def test_white_dwarfs_have_broad_hydrogen_or_helium_or_nothing(analytic):
    kinds = np.array(analytic.white_dwarfs.kinds)
    hydrogen, helium = depth(analytic.white_dwarfs, 4862.7, 15, 200), depth(analytic.white_dwarfs, 4472.7, 10, 150)
    assert hydrogen[kinds == "WD:DA"].min() > 0.2
    assert helium[kinds == "WD:DB"].min() > 0.1
    assert abs(hydrogen[kinds == "WD:DC"]).max() < 0.02


def test_populations_redden_and_their_break_grows_with_age(analytic):
    galaxies = analytic.galaxies.take(np.asarray(analytic.galaxies.parameters["metallicity"]) == 0)
    assert (np.diff(galaxies.parameters["age"]) > 0).all()
    break_4000 = level(galaxies, 4000, 4100) / level(galaxies, 3850, 3950)
    assert (np.diff(break_4000[3:]) > 0).all()
    assert break_4000[-1] > 1.4
    assert break_4000[0] < 1.1


def test_few_vectors_give_back_unseen_quasars(analytic):
    templates = analytic.eigen_quasars
    unseen = quasars.quasars(templates.wave, np.random.default_rng(99), 12)
    vectors = templates.flux.astype(float).T
    part = slice(5000, 9000)  # 1413 to 3550 Å, as of a quasar at z of 1.6
    fit = vectors[part] @ np.linalg.lstsq(vectors[part], unseen[:, part].T, rcond=None)[0]
    residual = np.sqrt(np.mean((fit.T - unseen[:, part]) ** 2, axis=1)) / unseen[:, part].mean(axis=1)
    assert np.median(residual) < 0.06


def test_rotating_disks_split_the_balmer_lines_and_leave_carbon_whole():
    wave = 10 ** (LOG_STEP * np.arange(31700, 38500))
    single, double = (quasars.quasars(wave, np.random.default_rng(5), 200, disks) for disks in (0.0, 1.0))

    def wings(flux, center):
        """Return the light 3500 km/s off a line's centre over that at its centre."""
        at = [flux[:, np.searchsorted(wave, center * (1 + velocity / 3e5))] for velocity in (-3500, 0, 3500)]
        return np.median((at[0] + at[2]) / (2 * at[1]))

    assert wings(double, 6564.6) > 1.3 * wings(single, 6564.6)
    assert wings(double, 1549.1) == pytest.approx(wings(single, 1549.1), rel=0.1)


def test_a_basis_spans_what_it_was_made_of():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3, 50))
    flux = rng.normal(size=(20, 3)) @ truth
    vectors = basis(flux, 3).astype(float)
    np.testing.assert_allclose((vectors**2).mean(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(vectors @ vectors.T / 50, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(np.linalg.lstsq(vectors.T, flux.T, rcond=None)[1], 0, atol=1e-8)


def archetypes(path, flux, start, step, log):
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("ARCHETYPE", f"{flux.shape[1]}E", array=flux),
            fits.Column("RESP", "E", array=np.ones(len(flux))),
            fits.Column("SUBTYPE", "17A", array=["WD:DA", "CV"]),
        ],
        name="ARCHETYPES",
    )
    table.header["CRVAL1"], table.header["CDELT1"], table.header["LOGLAM"] = start, step, log
    table.writeto(path)


def test_a_linear_grid_becomes_the_logarithmic_one_with_its_flux_conserved(tmp_path, analytic):
    wave = 3000 + 0.5 * np.arange(4000)
    archetypes(tmp_path / "rrarchetype-star.fits", np.stack([wave, np.ones_like(wave)]), 3000.0, 0.5, False)
    library = read_library(tmp_path)
    templates = library.star_archetypes
    assert templates.kinds == ("WD:DA", "CV")
    assert library.white_dwarfs.names == ("WD:DA 0",)
    np.testing.assert_allclose(templates.flux[0], templates.wave, rtol=3e-5)
    np.testing.assert_array_equal(templates.flux[1], 1)
    assert 3000 < templates.wave[0] < 3002
    assert 4997 < templates.wave[-1] < 4999.8
    assert library.stars is analytic.stars
    assert len(library.cataclysmic) == 0


def test_a_folder_without_templates_says_what_was_looked_for(tmp_path):
    with pytest.raises(Exception, match=r"holds no file of templates.*pyhammer_stars\.fits"):
        read_library(tmp_path)


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path):
    fits.PrimaryHDU(np.zeros((2, 2), np.float32)).writeto(tmp_path / "pyhammer_stars.fits")
    with pytest.raises(BadInput, match="pyhammer_stars"):
        read_library(tmp_path)


@pytest.mark.real
def test_published_templates_lie_at_vacuum_wavelengths_on_one_grid(published):
    sizes = {name: len(templates) for name, templates in published.sets().items()}
    assert sizes == {
        "stars": 228, "white_dwarfs": 6, "eigen_stars": 123, "star_archetypes": 40, "cataclysmic": 3, "library_stars": 219,
        "galaxies": 54, "eigen_galaxies": 4, "eigen_quasars": 4, "eigen_quasars_low": 4, "eigen_quasars_high": 4, "quasar_archetypes": 64,
    }  # fmt: skip
    assert abs(published.stars.loglam0 - (3.55 + 123 * LOG_STEP)) < 1e-9
    for templates, kinds in ((published.stars, ("A3", "F5")), (published.eigen_stars, ("A0", "A4"))):
        for kind in kinds:
            _at_hydrogen(templates, templates.kinds.index(kind))
    stars = published.library_stars  # the set that is in air
    _at_hydrogen(stars, int(np.argmin(abs(stars.parameters["teff"] - 9500))))
    assert published.eigen_quasars_low.redshifts == pytest.approx((0.05, 1.598), abs=0.01)


def _at_hydrogen(templates, row):
    """The deepest pixel around Hβ is at its vacuum wavelength, not 1.4 Å off, where it is in air."""
    near = abs(templates.wave - 4862.7) < 12
    light = 1 - templates.flux[row, near] / templates.flux[row, near].max()
    assert abs(np.average(templates.wave[near], weights=light**3) - 4862.7) < 0.7
