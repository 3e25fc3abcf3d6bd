"""spectra.lines: fluxes, widths and errors on lines that are known, indices by hand, the BPT diagram, and the lines of SDSS's own pipeline."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from astropy.io import fits
from scipy.special import ndtr

from astrosurvey.catalog.flags import SPECTRAL_LINE, SPECTRUM_PIXEL
from astrosurvey.core.stage import DataError, NoWork
from astrosurvey.kernels.resample import pixel_edges
from astrosurvey.products import Catalog, Spectra
from astrosurvey.stages.spectra.lines import bpt
from astrosurvey.stages.spectra.lines.indexlist import INDEX_BY_KEY
from astrosurvey.stages.spectra.lines.indices import Rest, measure_index
from astrosurvey.stages.spectra.lines.linelist import BY_KEY, DOUBLETS
from astrosurvey.stages.spectra.lines.rows import Options
from astrosurvey.stages.spectra.lines.rows import measured as lines_of
from astrosurvey.stages.spectra.lines.stage import MeasureLines
from astrosurvey.stages.spectra.lines.stars import prepared, starlight
from astrosurvey.stages.spectra.templates import read_library

from ..running import a_tile, context, run
from .files import read

LIGHT = 299792.458
WAVE = 10 ** (3.58 + 1e-4 * np.arange(3800))
KEYS = ("oii_3726", "oii_3729", "hdelta", "hgamma", "hbeta", "oiii_5007", "oi_6300", "nii_6583", "halpha", "sii_6716", "sii_6731")


def made(fluxes, z, *, sigma=130.0, velocity=0.0, level=10.0, noise=1.0, wave=WAVE, seed=1):
    """Return spectra with lines of known fluxes, each (n,), exactly integrated over the pixels; `halpha_broad` and so on are 2000 km/s wide."""
    z, edges = np.asarray(z, np.float64), pixel_edges(wave[None])[0]
    flux = np.full((len(z), len(wave)), float(level))
    strengths = {**fluxes, **{weak: np.divide(fluxes[strong], ratio) for strong, weak, ratio in DOUBLETS if strong in fluxes}}
    for key, strength in strengths.items():
        width = np.broadcast_to(2000.0 if key.endswith("_broad") else sigma, z.shape)
        centre = np.log(BY_KEY[key.removesuffix("_broad")].wave) + np.log1p(z)
        x = ((np.log(edges) - centre[:, None]) * LIGHT - np.broadcast_to(velocity, z.shape)[:, None]) / width[:, None]
        flux += np.broadcast_to(strength, z.shape)[:, None] * np.diff(ndtr(x), axis=1) / np.diff(edges)
    flux += np.random.default_rng(seed).normal(0, noise, flux.shape)
    ivar = np.full(flux.shape, 1 / noise**2, np.float32)
    return Spectra(flux.astype(np.float32), ivar, np.zeros(flux.shape, np.int32), wave, np.arange(len(z), dtype=np.int64) + 100)


def redshifts(spectra, z, label="galaxy"):
    columns = {"spectrum_id": spectra.ids, "rank": 0, "z": z, "spectral_class": label, "method": "test", "z_warning": 0}
    return Catalog.from_columns("redshift", columns)


def measured(spectra, z, label="galaxy", **settings):
    return run(MeasureLines, settings, spectra=spectra, redshifts=redshifts(spectra, z, label))


def of(result, key, column):
    lines = result["lines"]
    column = f"line_{column}" if column.startswith("flux") else column
    return lines.column(column)[lines.column("line") == key].astype(np.float64)


def flagged(result, key, name):
    return (of(result, key, "flags").astype(int) & SPECTRAL_LINE[name]) != 0


@pytest.fixture(scope="module")
def sample():
    """Fluxes, widths and velocities of 150 galaxies, and what was measured of them."""
    rng = np.random.default_rng(5)
    z = rng.uniform(0.03, 0.25, 150)
    fluxes = {key: rng.uniform(0, 80, len(z)) for key in KEYS}
    sigma, velocity = rng.uniform(80, 200, len(z)), rng.normal(0, 60, len(z))
    return fluxes, sigma, velocity, measured(made(fluxes, z, sigma=sigma, velocity=velocity), z)


class TestErrors:
    def test_fluxes_scatter_about_the_truth_as_their_errors_say(self, sample):
        fluxes, _, _, result = sample
        pulls = np.concatenate([(of(result, key, "flux") - fluxes[key]) / of(result, key, "flux_err") for key in KEYS])
        assert 0.9 < pulls.std() < 1.1
        assert abs(pulls.mean()) < 0.1

    @pytest.mark.parametrize("key", ["halpha", "oiii_5007"])
    def test_widths_and_velocities_do(self, sample, key):
        _, sigma, velocity, result = sample
        for column, truth in (("sigma", sigma), ("velocity", velocity)):
            pulls = (of(result, key, column) - truth) / of(result, key, f"{column}_err")
            assert 0.85 < pulls.std() < 1.15, column
            assert abs(pulls.mean()) < 0.3, column

    def test_no_broad_component_is_made_up(self, sample):
        assert not np.char.endswith(sample[3]["lines"].column("line").astype("U32"), "_broad").any()

    def test_faint_doublets_keep_their_ratio(self, sample):
        result = sample[3]
        assert np.allclose(of(result, "oiii_4959", "flux") * 2.98, of(result, "oiii_5007", "flux"), rtol=1e-5)
        assert flagged(result, "oiii_4959", "TIED").all()


def test_equivalent_width_is_flux_over_continuum_at_rest():
    result = measured(made({"halpha": [500.0], "hbeta": [-40.0]}, [0.1], level=20.0, noise=0.01), [0.1])
    assert np.isclose(of(result, "halpha", "equivalent_width")[0], 500 / 20 / 1.1, rtol=2e-3)
    assert np.isclose(of(result, "hbeta", "equivalent_width")[0], -40 / 20 / 1.1, rtol=5e-3)


def test_the_instrument_is_taken_out_of_widths():
    spectra = made({"halpha": [300.0, 300.0], "oiii_5007": [300.0, 300.0]}, [0.05, 0.05], sigma=np.array([100.0, 68.0]))
    plain, sharp = measured(spectra, [0.05, 0.05]), measured(spectra, [0.05, 0.05], resolution=LIGHT / 2.3548 / 70)
    assert np.isclose(of(plain, "halpha", "sigma")[0], 100, rtol=0.05)
    assert flagged(plain, "halpha", "INSTRUMENT_WIDTH").all()
    assert np.isclose(of(sharp, "halpha", "sigma")[0], np.sqrt(100**2 - 70**2), rtol=0.1)
    assert flagged(sharp, "halpha", "UNRESOLVED").tolist() == [False, True]


def test_broad_components_are_found_where_they_are():
    there = np.arange(12) % 2 == 0
    fluxes = {
        "halpha": 60.0,
        "nii_6583": 40.0,
        "hbeta": 20.0,
        "oiii_5007": 80.0,
        "halpha_broad": 600.0 * there,
        "hbeta_broad": 200.0 * there,
    }
    z = np.linspace(0.05, 0.2, 12)
    result = measured(made(fluxes, z), z)
    lines = result["lines"]
    broad = lines.column("line") == "halpha_broad"
    assert (np.isin(100 + np.arange(12), lines.column("spectrum_id")[broad]) == there).all()
    pulls = (lines.column("line_flux")[broad] - 600) / lines.column("line_flux_err")[broad]
    assert np.abs(pulls).max() < 4
    assert np.allclose(lines.column("sigma")[broad], 2000, rtol=0.1)
    assert (flagged(result, "halpha", "HAS_BROAD") == there).all()


@pytest.fixture(scope="module")
def galaxies():
    """Spectra of old and young stars with Hβ, Hα and [O III] of 150 in each, and what is measured with and without populations."""
    templates = read_library(None).galaxies
    z = np.linspace(0.03, 0.15, 16)
    spectra = made({"hbeta": 150.0, "halpha": 150.0, "oiii_5007": 150.0}, z, level=0.0)
    rows = np.arange(16) % len(templates)
    for row, which in enumerate(rows):
        light = np.nan_to_num(templates.flux[which] / np.nanmedian(templates.flux[which]))
        spectra.flux[row] += 15 * np.interp(np.log10(WAVE / (1 + z[row])), np.log10(templates.wave), light)
    given = (context(a_tile()), spectra, redshifts(spectra, z), None)
    return [lines_of(*given, Options(None, True, stars)) for stars in (None, prepared(templates))]


class TestStarlight:
    @pytest.mark.parametrize("key", ["hbeta", "halpha", "oiii_5007"])
    def test_lines_are_measured_on_the_stars_absorption(self, galaxies, key):
        _, stars = galaxies
        pulls = (of(stars, key, "flux") - 150) / of(stars, key, "flux_err")
        assert abs(pulls.mean()) < 0.8
        assert pulls.std() < 1.5

    def test_a_smooth_continuum_loses_light_of_balmer_lines(self, galaxies):
        plain, stars = (np.median(of(each, "hbeta", "flux")) for each in galaxies)
        assert plain < stars - 5


def test_populations_that_say_nothing_leave_the_continuum_as_it_is():
    stars = prepared(read_library(None).galaxies)
    wave = np.linspace(400.0, 800.0, 500)
    smooth = np.full((1, 500), 3.0)
    assert (starlight(stars, smooth, np.ones((1, 500)), np.log(wave), np.zeros(1), smooth) == 3).all()


def test_lines_of_quasars():
    wave, z = 10 ** (3.56 + 1e-4 * np.arange(4000)), np.array([1.8, 2.0])
    spectra = made({}, z, wave=wave)
    for key, strength in (("civ_1549", 900.0), ("ciii_1909", 400.0)):
        x = (np.log(wave) - np.log(BY_KEY[key].wave * (1 + z[:, None]))) * LIGHT / 2500
        spectra.flux[:] += strength * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) / (2500 / LIGHT * wave)
    result = measured(spectra, z, "quasar")
    for key, strength in (("civ_1549", 900.0), ("ciii_1909", 400.0)):
        assert (np.abs(of(result, key, "flux") - strength) < 4 * of(result, key, "flux_err")).all()
        assert np.allclose(of(result, key, "sigma"), 2500, rtol=0.15)


def test_what_cannot_be_measured_is_nan_and_a_flag_says_why():
    spectra = made({"halpha": [300.0], "hbeta": [100.0]}, [0.05])
    near = np.abs(WAVE / (BY_KEY["hbeta"].wave * 1.05) - 1) * LIGHT < 300
    spectra.mask[0, near], spectra.ivar[0, near] = SPECTRUM_PIXEL["COSMIC_RAY"], 0
    result = measured(spectra, [0.05])
    for key, name in (("hbeta", "MASKED"), ("siii_9531", "OUTSIDE"), ("civ_1549", "OUTSIDE")):
        assert np.isnan(of(result, key, "flux")).all()
        assert flagged(result, key, name).all()
    assert abs(of(result, "halpha", "flux")[0] - 300) < 4 * of(result, "halpha", "flux_err")[0]


def test_one_bad_pixel_in_a_line_costs_precision_only():
    spectra = made({"halpha": [300.0], "oiii_5007": [300.0]}, [0.05])
    pixel = np.argmin(np.abs(WAVE - BY_KEY["halpha"].wave * 1.05))
    spectra.flux[0, pixel], spectra.ivar[0, pixel], spectra.mask[0, pixel] = 1e4, 0, SPECTRUM_PIXEL["COSMIC_RAY"]
    result = measured(spectra, [0.05])
    assert flagged(result, "halpha", "PARTLY_MASKED").all()
    assert abs(of(result, "halpha", "flux")[0] - 300) < 4 * of(result, "halpha", "flux_err")[0]


def test_a_spectrum_s_neighbours_and_the_form_of_the_grid_change_nothing():
    z = np.array([0.04, 0.08, 0.2])
    spectra = made(dict.fromkeys(KEYS, 50.0), z)
    own = Spectra(spectra.flux, spectra.ivar, spectra.mask, np.tile(WAVE, (3, 1)), spectra.ids)
    whole, apart, alone = (measured(each, where)["lines"] for each, where in ((spectra, z), (own, z), (spectra.take([1]), z[1:2])))
    for name in ("line_flux", "line_flux_err", "sigma", "equivalent_width", "flags"):
        assert np.array_equal(whole.column(name), apart.column(name), equal_nan=name != "flags"), name
    middle = whole.column("spectrum_id") == 101
    assert np.allclose(whole.column("line_flux")[middle], alone.column("line_flux"), rtol=1e-6, equal_nan=True)


def test_spectra_without_a_redshift_have_no_rows(caplog):
    spectra = made({"halpha": 50.0}, [0.1, 0.1, 0.1])
    with caplog.at_level(logging.WARNING, "astrosurvey.test"):
        result = run(MeasureLines, spectra=spectra, redshifts=redshifts(spectra.take([0, 2]), [0.1, np.nan]))
    assert set(result["lines"].column("spectrum_id").tolist()) == {100}
    assert "2 of 3 spectra have no redshift" in caplog.text


def test_names_are_no_ids():
    spectra = made({}, [0.1])
    named = Spectra(spectra.flux, spectra.ivar, spectra.mask, spectra.wave, np.array(["a"]))
    with pytest.raises(DataError, match="spectrum_id"):
        run(MeasureLines, spectra=named, redshifts=redshifts(spectra, [0.1]))


class TestIndices:
    GRID = np.linspace(3800.0, 6500.0, 90001)

    def rest(self, edges, flux, noise=0.0):
        low, high = (np.tile(each, (len(flux), 1)) for each in (edges[:-1], edges[1:]))
        return Rest(low, high, flux, np.full(flux.shape, noise**2), np.ones(flux.shape, bool))

    def wavy(self, wave):
        return 5 + wave / 2000 - 2 * np.exp(-0.5 * ((wave - 5176) / 9) ** 2) - np.exp(-0.5 * ((wave - 4103) / 15) ** 2)

    def by_hand(self, index, wave, flux):
        def mean(span, of):
            inside = (wave >= span[0]) & (wave <= span[1])
            return np.trapezoid(of[inside], wave[inside]) / np.ptp(wave[inside])

        if index.band is None:
            return mean(index.red, flux * wave**2) / mean(index.blue, flux * wave**2)
        blue, red = mean(index.blue, flux), mean(index.red, flux)
        line = np.interp(wave, [sum(index.blue) / 2, sum(index.red) / 2], [blue, red])
        slope = (red - blue) / (sum(index.red) - sum(index.blue)) * 2
        line = blue + slope * (wave - sum(index.blue) / 2)
        ratio = mean(index.band, flux / line)
        return -2.5 * np.log10(ratio) if index.unit == "mag" else (1 - ratio) * (index.band[1] - index.band[0])

    @pytest.mark.parametrize("key", ["mgb", "hdelta_a", "mg2", "cn1", "dn4000", "hbeta"])
    def test_index_is_the_integral_done_by_hand(self, key):
        edges = np.arange(3800.0, 5600.0, 0.5)
        centre = (edges[1:] + edges[:-1]) / 2
        found = measure_index(INDEX_BY_KEY[key], self.rest(edges, self.wavy(centre)[None]))
        assert np.isclose(found.strength[0], self.by_hand(INDEX_BY_KEY[key], self.GRID, self.wavy(self.GRID)), rtol=3e-3, atol=3e-4)
        assert found.flags[0] == 0

    @pytest.mark.parametrize("key", ["mgb", "mg2", "dn4000"])
    def test_errors_are_the_scatter_of_noisy_spectra(self, key):
        edges = np.arange(3800.0, 5600.0, 1.3)
        clean = self.wavy((edges[1:] + edges[:-1]) / 2)
        noisy = clean + np.random.default_rng(2).normal(0, 0.2, (1500, len(clean)))
        found = measure_index(INDEX_BY_KEY[key], self.rest(edges, noisy, 0.2))
        assert np.isclose(found.strength.std(), found.error.mean(), rtol=0.07)

    def test_an_equivalent_width_agrees_with_specutils(self):
        specutils = pytest.importorskip("specutils")
        from astropy import units
        from specutils.analysis import equivalent_width

        index = INDEX_BY_KEY["hbeta"]
        edges = np.arange(4700.0, 5000.0, 0.1)
        centre = (edges[1:] + edges[:-1]) / 2
        flux = 10 - 3 * np.exp(-0.5 * ((centre - 4863) / 3) ** 2)
        inside = (centre > index.band[0]) & (centre < index.band[1])
        theirs = equivalent_width(specutils.Spectrum(flux[inside] / 10 * units.Jy, spectral_axis=centre[inside] * units.AA))
        assert np.isclose(measure_index(index, self.rest(edges, flux[None])).strength[0], theirs.value, rtol=1e-2)

    def test_masked_bands_and_missing_continua_are_flagged(self):
        edges = np.arange(3800.0, 5600.0, 1.0)
        rest = self.rest(edges, np.ones((3, len(edges) - 1)), 0.1)
        rest.good[0, (edges[:-1] > 5150) & (edges[:-1] < 5180)] = False
        rest.flux[1] = 0
        found = measure_index(INDEX_BY_KEY["mgb"], rest)
        assert found.flags.tolist() == [SPECTRAL_LINE["MASKED"], SPECTRAL_LINE["NO_CONTINUUM"], 0]
        assert np.isfinite(found.strength).tolist() == [False, False, True]
        assert measure_index(INDEX_BY_KEY["tio2"], rest).flags.tolist() == [SPECTRAL_LINE["OUTSIDE"]] * 3


class TestBpt:
    def test_known_places(self):
        # Hα, [N II], Hβ, [O III]: an H II region, a composite, a Seyfert nucleus, a LINER, and no Hβ.
        fluxes = np.array([[3, 0.5, 1, 1], [3, 1.6, 1, 1], [3, 2.5, 1, 9], [3, 4.5, 1, 2.5], [3, 1, -1, 1]])
        assert [bpt.LABELS[k] for k in bpt.classes(fluxes)] == ["star-forming", "composite", "agn", "agn", "undetermined"]

    def test_curves_are_those_published(self):
        assert np.isclose(bpt.kewley(np.array(-0.5)), 0.61 / (-0.5 - 0.47) + 1.19)
        assert np.isclose(bpt.kauffmann(np.array(-0.5)), 0.61 / (-0.5 - 0.05) + 1.3)

    def test_probabilities_follow_the_errors(self):
        flux = np.array([[300, 50, 100, 100.0]] * 3)
        found = bpt.probabilities(flux, flux * np.array([[0.01], [0.3], [3.0]]), np.random.default_rng(1))
        assert np.allclose(found.sum(axis=1), 1)
        assert found[0, 0] == 1
        assert found[1, 0] > found[2, 0]

    def test_stars_have_no_bpt_class(self):
        spectra = made(dict.fromkeys(KEYS, 50.0), [0.01])
        assert len(measured(spectra, [0.01], "star")["classes"]) == 0
        assert len(measured(spectra, [0.01], "galaxy")["classes"]) == len(bpt.LABELS)


@pytest.mark.real
class TestSdss:
    NAMES = {
        "H_alpha": "halpha", "H_beta": "hbeta", "[O_III] 5007": "oiii_5007", "[N_II] 6583": "nii_6583", "[S_II] 6716": "sii_6716",
        "[S_II] 6730": "sii_6731", "[O_II] 3725": "oii_3726", "[O_II] 3727": "oii_3729", "[O_I] 6300": "oi_6300",
    }  # fmt: skip

    @pytest.mark.parametrize(("name", "scatter"), [("SHOC579_SDSS_dr18.fits", 0.06), ("spec-0266-51602-0107.fits", 0.15)])
    def test_fluxes_and_widths_are_those_of_sdss_s_own_fit(self, real_data, name, scatter):
        path = real_data / "spectra" / "native" / name
        with fits.open(path) as file:
            theirs, z = file["SPZLINE"].data, float(file["SPECOBJ"].data["Z"][0])
        spectra, _ = read(path)
        result = measured(spectra, [z], broad=False)
        flux, width = [], []
        for row in theirs:
            key = self.NAMES.get(row["LINENAME"].strip())
            if key and row["LINEAREA"] > 5 * row["LINEAREA_ERR"]:
                flux.append(of(result, key, "flux")[0] / row["LINEAREA"])
                width.append(of(result, key, "equivalent_width")[0] * (1 + z) / row["LINEEW"])
        assert len(flux) >= 7
        assert abs(np.median(flux) - 1) < 0.05
        assert 1.4826 * np.median(np.abs(np.array(flux) - np.median(flux))) < scatter
        assert abs(np.median(width) - 1) < 0.1


def test_a_single_pixel_has_no_lines():
    one = Spectra(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32), np.zeros((1, 1), np.int32), np.array([5000.0]), np.arange(1))
    with pytest.raises(NoWork, match="single pixel"):
        MeasureLines(MeasureLines.Config()).run(context(None), spectra=one, redshifts=Catalog.empty("redshift"), catalog=None)
