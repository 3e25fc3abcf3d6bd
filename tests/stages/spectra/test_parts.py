"""Air and vacuum, units, masks, night-sky lines, errors from scatter, the Earth's motion."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.catalog.flags import SPECTRUM_PIXEL
from astrosurvey.stages.spectra.fluxes import FluxError, factor, is_relative, to_angstrom
from astrosurvey.stages.spectra.masks import translated
from astrosurvey.stages.spectra.planes import measured
from astrosurvey.stages.spectra.skylines import marks
from astrosurvey.stages.spectra.vacuum import to_air, to_vacuum
from astrosurvey.stages.spectra.velocity import correction


class TestVacuum:
    # (air, vacuum) of the NIST Atomic Spectra Database and of SDSS's list of lines, both rounded to 0.01 Å
    @pytest.mark.parametrize(
        ("air", "vacuum"),
        [
            *((3726.03, 3727.09), (3933.66, 3934.78), (4861.33, 4862.68), (4958.91, 4960.30), (5006.84, 5008.24), (5889.95, 5891.58)),
            *((6562.80, 6564.61), (6716.44, 6718.29), (8498.02, 8500.35), (10830.34, 10833.31)),
        ],
    )
    def test_published_lines(self, air, vacuum):
        assert to_vacuum(np.array([air]))[0] == pytest.approx(vacuum, abs=0.011)
        assert to_air(np.array([vacuum]))[0] == pytest.approx(air, abs=0.011)

    def test_there_and_back(self):
        wave = np.linspace(1500, 25000, 5000)
        assert np.abs(to_air(to_vacuum(wave)) / wave - 1).max() < 1e-15
        assert np.abs(to_vacuum(to_air(wave)) / wave - 1).max() < 1e-15

    def test_it_agrees_with_the_convention_of_the_iau(self):
        """The formula that SDSS quotes after Morton (1991) approximates it to 0.2 km/s in the red."""
        vacuum = np.linspace(3500, 10000, 100)
        iau = vacuum / (1 + 2.735182e-4 + 131.4182 / vacuum**2 + 2.76249e8 / vacuum**4)
        assert np.abs(to_air(vacuum) / iau - 1).max() < 0.25 / 299792

    def test_the_order_is_kept_across_2000_angstrom(self):
        assert (np.diff(to_vacuum(np.arange(1990, 2010, 0.1))) > 0).all()
        assert to_vacuum(np.array([1215.67])) == 1215.67


class TestUnits:
    @pytest.mark.parametrize(
        "text",
        [
            *("1E-17 erg/cm^2/s/Ang", "10**-17 erg/(s cm2 Angstrom)", "1e-17 erg/s/cm2/A", "10^-17 erg s^-1 cm^-2 Angstroms^-1"),
            *("1e-17 erg/s/cm2/Angstrom/spaxel", "1e-17 erg / (Angstrom s cm2)", "1e-17 erg/cm**2/s/AA", "1e-17 erg/s/cm^2/Å"),
        ],
    )
    def test_what_surveys_write(self, text):
        assert factor(text, np.array([5000.0])) == pytest.approx(1)

    def test_conversions(self):
        wave = np.array([5000.0, 10000.0])
        assert factor("W m-2 nm-1", wave) == pytest.approx([1e19, 1e19])
        c = 2.99792458e18
        assert factor("Jy", wave) == pytest.approx(1e-23 * c / wave**2 / 1e-17, rel=1e-10)

    @pytest.mark.parametrize("text", ["furlong", "Jy/beam", "mag", "x" * 200, "erg"])
    def test_what_is_no_flux_density_is_refused(self, text):
        with pytest.raises(FluxError):
            factor(text, np.array([5000.0]))

    @pytest.mark.parametrize("text", ["relative (LAMOST LRS)", "counts", "ADU", "electron/s", "normalised"])
    def test_relative(self, text):
        assert is_relative(text)
        assert not is_relative("1e-17 erg/s/cm2/A")

    @pytest.mark.parametrize(
        ("value", "unit"),
        [
            *((500, "nm"), (0.5, "um"), (0.5, "µm"), (0.5, "micron"), (np.log10(5000), "log10(Angstrom)"), (np.log10(500), "log10 nm")),
            *((5000, "Angstroms"), (5000, "A"), (5e-7, "m"), (599584.916, "GHz"), (2.479683968, "eV"), (20000, "1/cm")),
        ],
    )
    def test_wavelengths(self, value, unit):
        assert to_angstrom(np.array([float(value)]), unit)[0] == pytest.approx(5000, rel=1e-7)

    def test_an_unknown_wavelength_unit_is_refused(self):
        with pytest.raises(FluxError):
            to_angstrom(np.array([1.0]), "parsnip")


def test_masks_keep_their_surveys_meaning():
    def names(values, convention):
        return [SPECTRUM_PIXEL.decode(int(v)) for v in translated(np.array(values), convention)]

    assert names([0, 1 << 24, 1 << 23, 1 << 19, 1 << 12, 1 << 30], "sdss") == [[], ["NO_DATA"], ["BAD_SKY"], ["SUSPECT"], [], ["BAD"]]
    assert names([0, 1, 2, 16, 64, 256], "desi") == [[], ["SUSPECT"], ["NO_DATA"], ["BAD_CALIBRATION"], ["BAD_SKY"], ["NO_DATA"]]
    assert names([0, 1, 12, 16, -(2**31)], "lamost") == [[], ["BAD"], ["BAD_SKY"], ["NO_DATA"], ["BAD"]]
    assert names([0, 5], "nonzero") == [[], ["BAD"]]
    assert names([0, 5], "zero") == [["BAD"], []]
    assert names([0, 5], "ignore") == [[], []]


def test_sky_lines_are_marked_even_by_coarse_pixels():
    fine, coarse = np.arange(5500, 5700, 0.5), np.arange(5500, 5700, 50.0)
    for wave in (fine, coarse, np.stack([coarse, coarse + 3])):
        hit = (marks(wave) & SPECTRUM_PIXEL["SKY_LINE"]) != 0
        assert hit.any(axis=-1).all()
        assert np.abs(np.broadcast_to(wave, hit.shape)[hit] - 5578.9).max() <= max(4.5, np.diff(wave).max())
    assert (marks(np.array([7600.0, 7650.0])) & SPECTRUM_PIXEL["TELLURIC"] != 0).all()
    assert not marks(np.arange(4450.0, 4850.0)).any()


def test_errors_are_measured_from_scatter():
    rng = np.random.default_rng(4)
    x = np.arange(4000)
    sigma = 1 + x / 2000
    flux = 100 + 30 * np.sin(x / 300) + rng.normal(size=(20, 4000)) * sigma
    flux[:, 1000:1010] = np.nan
    flux[:, 2000] += 500
    ratio = measured(flux) ** -0.5 / sigma
    # A median of 256 values is good to 7 %; ten windows and twenty spectra bring the mean well below 2 %.
    assert np.nanmean(ratio) == pytest.approx(1, abs=0.02)
    assert np.nanstd(ratio) < 0.12
    assert np.isnan(measured(np.full((2, 50), 3.0))).all()
    assert np.isnan(measured(np.zeros((1, 3)))).all()


def test_measured_errors_know_what_neighbours_share():
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(8, 8001))
    flux = 50 + 0.5 * (noise[:, 1:] + noise[:, :-1])  # the variance is 1/2, and neighbours correlate by 1/2
    assert np.nanmean(measured(flux) ** -0.5) == pytest.approx(1, abs=0.06)
    growing = 50 + np.where(np.arange(8000) < 4000, noise[:, 1:], flux - 50)
    error = measured(growing) ** -0.5
    assert np.nanmean(error[:, :500]) == pytest.approx(1, abs=0.25)


def test_measured_errors_know_the_residuals_of_sky_lines():
    rng = np.random.default_rng(6)
    flux = 50 + rng.normal(size=(8, 4000))
    sky = np.zeros(4000, bool)
    sky[1000:1012] = sky[3000:3100] = True
    flux[:, 1000:1012] += rng.normal(0, 10, (8, 12))
    error = measured(flux, sky) ** -0.5
    assert np.median(error[:, 1000:1012]) == pytest.approx(10, rel=0.3)
    assert np.median(error[:, 3000:3100]) == pytest.approx(1.05, abs=0.15)
    assert np.median(error[:, 1020:2900]) == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(measured(flux, np.tile(sky, (8, 1))), measured(flux, sky))


def test_the_earths_motion():
    """At the pole of the ecliptic it is nothing but the day's turn, towards the apex of the orbit 30 km/s."""
    site, mjd = (149.0661, -31.27704, 1164.0), np.array([57373.5, 57373.5])
    factor_ = correction(np.array([270.0, 174.5]), np.array([66.56, 2.4]), mjd, site, "barycentric")
    velocity = (factor_ - 1) * 299792.458
    assert abs(velocity[0]) < 0.6
    assert 29 < velocity[1] < 31  # around the winter solstice the Earth moves towards (12h, 0)
    helio = correction(np.array([174.5]), np.array([2.4]), mjd[:1], site, "heliocentric")
    assert abs(helio[0] - factor_[1]) * 299792.458 < 0.02
