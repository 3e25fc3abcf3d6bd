"""io.spectra on every file of real spectra there is: each is read, or refused in one line that says what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import median_filter

from astrosurvey.catalog.flags import SPECTRUM_PIXEL
from astrosurvey.core.stage import DataError
from astrosurvey.stages.spectra.skylines import marks
from astrosurvey.stages.spectra.vacuum import to_air
from tests.stages.spectra.asinh import asinh_spectra
from tests.stages.spectra.files import read

pytestmark = pytest.mark.real

ANGSTROM = {"wave_unit": "Angstrom", "medium": "vacuum"}
MANGA = {**ANGSTROM, "unit": "1e-17 erg/s/cm2/Angstrom/spaxel"}
OZDES = {"wave_unit": "Angstrom", "medium": "air", "unit": "relative", "columns": {"error": "VAR_OR_ERR"}}

# file or pattern -> (format, number of spectra, pixels, settings it needs, what the refusal without them names)
READ = {
    "sdss_labelled.fits.gz": ("rows", 266, 4900, {}, ""),
    "lamost_labelled.fits.gz": ("rows", 216, 3915, {}, ""),
    "ozdes_transients.fits.gz": ("rows", 22, 4817, OZDES, "`wave_unit`.*`medium.*`unit`.*`errors: measured`"),
    "manga_test_spectra_8.fits.gz": ("planes", 8, 4563, MANGA, "`wave_unit`.*`medium.*`unit`"),
    "spss_standards_5.csv.gz": ("gaia", 5, 9001, {"medium": "vacuum"}, "air or in vacuum"),
    "desi/coadd-1-80693-noresolution.fits.gz": ("desi", 5, 7781, {}, ""),
    "desi/coadd-4-80613-thru20210324.fits": ("desi", 1, 7781, {}, ""),
    "desi/coadd-5-169-thru20210419.fits": ("desi", 5, 7781, {}, ""),
    "desi/quasarnp_test_coadd_25.fits.gz": ("desi", 25, 7781, {}, ""),
    "desi/stack-LRG.fits": ("planes", 1, 11217, {**ANGSTROM, "unit": "relative", "frame": "source"}, "`unit`"),
    "marz/emlLinearSkyAirHelio.fits": ("marz", 1, 5037, {}, ""),
    "marz/emlLinearVacuumNoHelio.fits": ("marz", 1, 5037, {}, ""),
    "marz/emlLogVacuumHelioMultiple.fits": ("marz", 3, 5037, {}, ""),
    "marz/quasarLinearSkyAirNoHelio.fits": ("marz", 1, 4938, {}, ""),
    "native/SHOC579_SDSS_dr18.fits": ("sdss", 1, 3851, {}, ""),
    "native/spec-5*-*_sp*.fits*": ("lamost", 1, (3900, 3920), {}, ""),
    "native/spec-[0-9]*-[0-9]*-[0-9][0-9][0-9][0-9].fits": ("sdss", 1, (3800, 4650), {}, ""),
}
REFUSED = {
    "README.md": "is text, but no table of numbers",
    "desi/desi_asinh_z.npz": "archive, and says neither what its numbers are nor their units",
    "desi/qso_cat_petal1_80693.fits": "holds no spectra that are recognised.*QSO_CAT",
    "desi/redrock-4-80613-thru20210324.fits": "holds no spectra that are recognised.*REDSHIFTS",
}


@pytest.fixture(scope="module")
def folder(real_data) -> Path:
    return real_data / "spectra"


def test_every_file_is_in_one_of_the_lists(folder):
    listed = [path for pattern in (*READ, *REFUSED) for path in folder.glob(pattern)]
    assert sorted(listed) == sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("pattern", READ)
def test_read(folder, pattern):
    name, number, pixels, settings, missing = READ[pattern]
    for path in sorted(folder.glob(pattern)):
        if missing:
            with pytest.raises(DataError, match=missing) as caught:
                read(path)
            assert "\n" not in str(caught.value)
        spectra, catalog = read(path, **settings)
        assert spectra.meta["files"][0]["format"] == name
        assert len(catalog) == number
        length = spectra.flux.shape[1]
        assert length == pixels if isinstance(pixels, int) else pixels[0] < length < pixels[1]
        exposed = catalog.column("snr") > -10
        assert spectra.usable()[exposed].any(axis=1).all()
        assert exposed.mean() > 0.8 or path.name.startswith("coadd-5")  # four of its five fibres were not exposed
        assert 0.2 < np.nanmedian(catalog.column("snr")) < 200


@pytest.mark.parametrize("name", REFUSED)
def test_refused(folder, name):
    with pytest.raises(DataError, match=REFUSED[name]) as caught:
        read(folder / name)
    assert "\n" not in str(caught.value)


def test_sdss_agrees_with_astropy(folder):
    for path in sorted(folder.glob("native/spec-*-[0-9][0-9][0-9][0-9].fits")):
        spectra, _ = read(path)
        with fits.open(path) as hdus:
            table = hdus[1].data
            flux, ivar, wave = (np.array(table[name], np.float64) for name in ("flux", "ivar", "loglam"))
        good = spectra.usable()[0]
        assert np.allclose(spectra.wave, 10**wave, rtol=1e-6)
        assert np.allclose(spectra.flux[0], flux, rtol=1e-6)
        assert np.allclose(spectra.ivar[0, good], ivar[good], rtol=1e-6)
        assert good.mean() > 0.9


def test_a_folder_of_sdss_spectra_is_one_block_on_one_grid(folder):
    spectra, catalog = read(folder / "native" / "spec-*-[0-9][0-9][0-9][0-9].fits")
    assert spectra.shared
    assert np.allclose(np.diff(np.log10(spectra.wave)), 1e-4, rtol=1e-8)
    assert len(catalog) == 16


def test_lamost_wavelengths_are_those_of_the_third_row(folder):
    for path in sorted(folder.glob("native/spec-5*-*_sp*.fits*")):
        spectra, _ = read(path)
        with fits.open(path) as hdus:
            assert np.allclose(spectra.wave, hdus[0].data[2], rtol=6e-7)  # the row is 10 to the power of what float32 has rounded
            assert np.allclose(spectra.flux[0], hdus[0].data[0], equal_nan=True)


def test_the_bright_lines_of_the_sky_that_sdss_recorded_are_marked(folder):
    sky = {}
    for path in folder.glob("native/spec-*-[0-9][0-9][0-9][0-9].fits"):
        with fits.open(path) as hdus:
            table = hdus[1].data
            for step, value in zip(np.round(table["loglam"] * 1e4).astype(int), table["sky"] / np.median(table["sky"]), strict=True):
                sky.setdefault(int(step), []).append(float(value))
    steps = np.array(sorted(step for step, values in sky.items() if len(values) >= 4))
    level = np.array([np.median(sky[step]) for step in steps])
    excess = level - median_filter(level, 151)
    marked = (marks(10 ** (steps * 1e-4)) & SPECTRUM_PIXEL["SKY_LINE"]) != 0
    assert marked[excess > 4].mean() > 0.9
    assert marked.mean() < 0.15


def test_marz_files_of_one_object_agree_in_vacuum(folder):
    """The same spectrum, linear in air, linear in vacuum, and logarithmic in vacuum."""
    air, linear, logarithmic = (
        read(folder / "marz" / f"eml{name}.fits")[0] for name in ("LinearSkyAirHelio", "LinearVacuumNoHelio", "LogVacuumHelioMultiple")
    )
    shift = np.abs(air.wave / linear.wave - 1) * 299792
    assert shift.max() < 0.25  # km/s: Marz uses Morton's formula
    assert np.abs(logarithmic.wave / linear.wave - 1).max() < 1e-7
    assert np.array_equal(air.flux, linear.flux, equal_nan=True)
    with fits.open(folder / "marz" / "emlLinearSkyAirHelio.fits") as hdus:
        header = hdus[0].header
    first = header["CRVAL1"] + (1 - header["CRPIX1"]) * header["CDELT1"]
    assert to_air(air.wave[:1])[0] == pytest.approx(first, rel=1e-12)
    assert air.meta["files"][0]["frame"] == "topocentric"
    moved, _ = read(folder / "marz" / "emlLinearSkyAirHelio.fits", correct="heliocentric")
    assert 5 < abs(moved.wave[0] / air.wave[0] - 1) * 299792 < 30


def test_desi_arms_meet_without_an_edge(folder):
    """The steps between neighbouring pixels in and at the overlaps are no larger than elsewhere, in units of their errors."""
    for name in ("coadd-1-80693-noresolution.fits.gz", "coadd-4-80613-thru20210324.fits", "quasarnp_test_coadd_25.fits.gz"):
        spectra, _ = read(folder / "desi" / name)
        assert np.allclose(np.diff(spectra.wave), 0.8)
        joined = (spectra.mask & SPECTRUM_PIXEL["JOINED"]) != 0
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.sqrt(1 / spectra.ivar[:, 1:] + 1 / spectra.ivar[:, :-1])
            step = np.abs(np.diff(spectra.flux)) / error
        near = joined[:, 1:] | joined[:, :-1]
        known = np.isfinite(step)
        assert near.any()
        assert np.median(step[near & known]) < 1.3 * np.median(step[~near & known])
        assert np.percentile(step[near & known], 99) < 1.3 * np.percentile(step[~near & known], 99)


def test_gaia_fluxes_are_of_the_order_of_their_magnitudes(folder):
    """G191-B2B's like: standard stars of magnitude 11 to 15 have 1e-15 to 1e-13 erg/s/cm2/Å at 5500 Å."""
    spectra, _ = read(folder / "spss_standards_5.csv.gz", medium="vacuum")
    level = np.median(spectra.flux[:, np.abs(spectra.wave - 5500) < 50], axis=1)
    assert (level > 10).all()
    assert (level < 1e5).all()


def test_the_asinh_set_is_read_by_the_tests_alone(folder):
    spectra, z = asinh_spectra(folder / "desi" / "desi_asinh_z.npz")
    spectra.check()
    assert len(spectra) == len(z) == 67
    assert spectra.usable().mean() > 0.8
