"""spectra.resample: grids, marks, spectra on their own grids, and what is refused."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pydantic import ValidationError

from astrosurvey.catalog.flags import SPECTRUM_PIXEL, SPECTRUM_UNUSABLE
from astrosurvey.core.stage import DataError
from astrosurvey.products import Spectra
from astrosurvey.stages.spectra.resample.rows import resampled
from astrosurvey.stages.spectra.resample.stage import ResampleSpectra

from ..running import context, run

WAVE = 10 ** (3.6 + 1e-4 * np.arange(500))
NO_DATA, PARTIAL = SPECTRUM_PIXEL["NO_DATA"], SPECTRUM_PIXEL["PARTIAL"]


def spectra(rows=4, wave=WAVE, **changes):
    rng = np.random.default_rng(3)
    shape = (rows, wave.shape[-1])
    flux = rng.normal(10, 1, shape).astype(np.float32)
    made = Spectra(flux, np.ones(shape, np.float32), np.zeros(shape, np.int32), wave, np.arange(10, 10 + rows), meta={"from": "a test"})
    return replace(made, **changes)


def resample(product, **settings):
    return run(ResampleSpectra, settings, spectra=product)["spectra"]


def test_a_linear_grid_reaches_from_start_to_stop():
    out = resample(spectra(), start=4000, stop=4100, step=0.1)
    assert len(out.wave) == 1001
    np.testing.assert_allclose(out.wave, np.linspace(4000, 4100, 1001), rtol=1e-15)
    assert len(resample(spectra(), start=4000, stop=4100.05, step=0.1).wave) == 1001


def test_a_logarithmic_grid_reaches_from_start_to_stop():
    out = resample(spectra(), start=4000, stop=4000 * 10**0.02, log_step=2e-4)
    np.testing.assert_allclose(np.log10(out.wave / 4000), 2e-4 * np.arange(101), atol=1e-15)


def test_identity_names_unit_and_meta():
    given = spectra(unit="count")
    out = resample(given, like="first")
    for name in ("flux", "ivar", "mask", "wave", "ids"):
        assert getattr(out, name).tobytes() == getattr(given, name).tobytes()
    assert (out.unit, out.meta) == (given.unit, given.meta)


def test_pixels_that_lack_too_much_are_marked_and_have_no_weight():
    given = spectra(1, np.arange(4000.0, 4040.0))  # with edges at 3999.5, …, 4039.5
    flux, ivar, mask = given.flux.copy(), given.ivar.copy(), given.mask.copy()
    mask[0, [9, 10, 11]] = SPECTRUM_PIXEL["COSMIC_RAY"]
    mask[0, [13, 14]] = SPECTRUM_PIXEL["BAD"]
    mask[0, [17, 18, 19]] = SPECTRUM_PIXEL["SKY_LINE"]
    flux[0, 21:25], ivar[0, 21:25] = np.nan, 0
    out = resample(replace(given, flux=flux, ivar=ivar, mask=mask), start=3994.5, stop=4042.5, step=4)
    assert out.mask[0].tolist() == [
        NO_DATA, PARTIAL, 0, 0, PARTIAL | SPECTRUM_PIXEL["COSMIC_RAY"], 0, SPECTRUM_PIXEL["SKY_LINE"], NO_DATA, 0, 0, 0, 0, NO_DATA,
    ]  # fmt: skip
    np.testing.assert_allclose(out.ivar[0], [0, 0, 4, 4, 0, 2, 4, 0, 4, 4, 4, 3, 0], rtol=1e-6)
    means = [
        np.nan,
        flux[0, 0],
        flux[0, 1:5].mean(),
        flux[0, 5:9].mean(),
        flux[0, 12],
        flux[0, 15:17].mean(),
        flux[0, 17:21].mean(),
        np.nan,
    ]
    np.testing.assert_allclose(out.flux[0, :8], means, rtol=1e-6)


def test_threshold_says_how_much_may_be_missing():
    given = spectra(1, np.arange(4000.0, 4040.0))
    mask = given.mask.copy()
    mask[0, 2::4] = SPECTRUM_PIXEL["BAD"]
    given, grid = replace(given, mask=mask), {"start": 4002.5, "stop": 4030.5, "step": 4}
    bad = SPECTRUM_PIXEL["BAD"]
    assert set(resample(given, **grid, threshold=0.2).mask.ravel().tolist()) == {PARTIAL | bad}
    assert set(resample(given, **grid, threshold=0.25).mask.ravel().tolist()) == {0}
    assert (resample(given, **grid, threshold=1).ivar == resample(given, **grid).ivar).all()


def test_what_tells_without_forbidding_is_no_reason_to_leave_a_pixel_out():
    told = SPECTRUM_PIXEL.combine(["SKY_LINE", "TELLURIC", "JOINED", "SUSPECT"])
    assert not told & SPECTRUM_UNUSABLE
    given = spectra()
    out = resample(replace(given, mask=np.full_like(given.mask, told)), like="first")
    assert out.flux.tobytes() == given.flux.tobytes()
    assert (out.mask == told).all()


def padded(rows):
    """Return spectra of several lengths, each on its own grid, as one product."""
    length = max(len(row.wave) for row in rows)
    flux = np.full((len(rows), length), np.nan, np.float32)
    ivar, mask = np.zeros(flux.shape, np.float32), np.full(flux.shape, NO_DATA, np.int32)
    wave = np.empty(flux.shape)
    for i, row in enumerate(rows):
        n = len(row.wave)
        flux[i, :n], ivar[i, :n], mask[i, :n], wave[i, :n] = row.flux[0], row.ivar[0], row.mask[0], row.wave
        wave[i, n:] = row.wave[-1] + (row.wave[-1] - row.wave[-2]) * np.arange(1, length - n + 1)
    return Spectra(flux, ivar, mask, wave, np.arange(len(rows)))


OWN = (np.arange(4000.0, 4100.0, 0.8), np.arange(4001.3, 4160.0), np.arange(4050.2, 4090.0, 0.5), 3990 * 10 ** (1e-3 * np.arange(15)))
ROWS = [spectra(1, wave) for wave in OWN]


def test_spectra_on_their_own_grids_become_what_each_becomes_alone():
    grid = {"start": 3998, "stop": 4165, "step": 1.1}
    together = resample(padded(ROWS), **grid)
    for i, row in enumerate(ROWS):
        alone = resample(row, **grid)
        for name in ("flux", "ivar", "mask"):
            assert getattr(together, name)[i].tobytes() == getattr(alone, name)[0].tobytes()


def test_a_spectrum_of_one_pixel_among_longer_ones_has_no_width_and_gives_nothing(caplog):
    given = padded(ROWS[:2])
    for plane, filling in ((given.flux, np.nan), (given.ivar, 0), (given.mask, NO_DATA)):
        plane[1, 1:] = filling
    out = resample(given, start=3998, stop=4165, step=1.1)
    assert (out.mask[1] == NO_DATA).all()
    assert "1 of 2 spectra have no usable pixel on the grid: 1" in caplog.text


def test_like_first_is_the_first_spectrum_with_data_without_its_filling():
    rows = [ROWS[2], ROWS[0]]
    assert resample(padded(rows), like="first").wave.tolist() == ROWS[2].wave.tolist()
    dead = replace(ROWS[1], flux=ROWS[1].flux * np.float32(np.nan), ivar=ROWS[1].ivar * 0)
    assert resample(padded([dead, *rows]), like="first").wave.tolist() == ROWS[2].wave.tolist()
    nothing = resample(padded([dead, replace(dead, ids=np.array(["also dead"]))]), like="first")
    assert nothing.wave.tolist() == dead.wave.tolist()
    assert not nothing.ivar.any()


def test_spectra_without_data_on_the_grid_are_kept_empty_and_named(caplog):
    given = spectra(3)
    flux, ivar, mask = given.flux.copy(), given.ivar.copy(), given.mask.copy()
    ivar[0] = 0
    mask[1] = SPECTRUM_PIXEL["BAD"]
    with caplog.at_level(logging.WARNING):
        out = resample(replace(given, flux=flux, ivar=ivar, mask=mask), start=4000, stop=4200, step=2)
    assert "2 of 3 spectra have no usable pixel on the grid: 10, 11" in caplog.text
    assert np.isnan(out.flux[:2]).all()
    assert (out.ivar[:2] == 0).all()
    assert (out.mask[0] == NO_DATA).all()
    inside = (out.wave > WAVE[0] + 1) & (out.wave < WAVE[-1] - 1)
    assert (out.mask[1, inside] == NO_DATA | SPECTRUM_PIXEL["BAD"]).all()
    assert np.isfinite(out.flux[2]).all()


def test_spectra_that_are_all_masked_come_out_all_masked(caplog):
    given = spectra()
    out = resample(replace(given, ivar=given.ivar * 0), start=4000, stop=4200, step=2)
    assert (out.mask == NO_DATA).all()
    assert "4 of 4" in caplog.text


def test_a_grid_outside_every_spectrum_is_refused():
    with pytest.raises(
        DataError, match=r"the grid, 7000 to 8000 Å, lies outside every spectrum: their data are within 3981.07 to 4465.81 Å"
    ):
        resample(spectra(), start=7000, stop=8000, step=2)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        ([5000.0], "a single pixel cannot be resampled"),
        ([5000.0, 5002.0, 5001.0], "not finite, positive and increasing"),
        ([5000.0, 5001.0, 5001.0], "not finite, positive and increasing"),
        ([5000.0, np.nan, 5001.0], "not finite, positive and increasing"),
        ([-1.0, 5000.0, 5001.0], "not finite, positive and increasing"),
    ],
)
def test_wavelengths_that_are_no_grid_are_refused(wave, message):
    with pytest.raises(DataError, match=message):
        resample(spectra(2, np.array(wave)), start=4000, stop=6000, step=1)


def test_the_spectrum_with_wrong_wavelengths_is_named():
    given = padded(ROWS)
    wave = given.wave.copy()
    wave[1, 5] = wave[1, 4]
    with pytest.raises(DataError, match="the wavelengths of spectrum 1 are not"):
        resample(replace(given, wave=wave), start=4000, stop=4100, step=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "a grid needs"),
        ({"start": 4000, "stop": 5000}, "a grid needs"),
        ({"start": 4000, "step": 1}, "a grid needs"),
        ({"start": 4000, "stop": 5000, "step": 1, "log_step": 1e-4}, "a grid needs"),
        ({"start": 4000, "stop": 4000, "step": 1}, "beyond `start`"),
        ({"like": "first", "step": 1}, "leave out step"),
    ],
)
def test_settings_that_say_no_grid_or_two(settings, message):
    with pytest.raises(ValidationError, match=message):
        ResampleSpectra.Config(**settings)


def test_a_grid_of_one_pixel_is_refused():
    with pytest.raises(DataError, match="one pixel only"):
        resample(spectra(), start=4000, stop=4001, step=2)


def test_the_result_does_not_depend_on_how_many_rows_are_taken_at_a_time():
    given = padded([ROWS[i % 3] for i in range(7)])
    grid = np.arange(4000.0, 4100.0, 1.7)
    whole, single = (resampled(replace(context(None), batch=batch), given, grid, 0.5) for batch in (1.0, 1e-9))
    for name in ("flux", "ivar", "mask"):
        assert getattr(whole, name).tobytes() == getattr(single, name).tobytes()


@pytest.mark.real
def test_real_spectra_keep_their_flux(real_data: Path):
    with warnings.catch_warnings(action="ignore"), fits.open(real_data / "spectra" / "sdss_labelled.fits.gz") as hdus:
        rows = hdus[1].data
        flux, ivar, mask = (np.array(rows[name]).astype(dtype) for name, dtype in (("FLUX", "f4"), ("IVAR", "f4"), ("AND_MASK", "i4")))
    ivar[~np.isfinite(flux)] = 0
    wave = 10 ** (3.54 + 1e-4 * np.arange(flux.shape[1]))
    given = Spectra(flux, ivar, np.where(mask != 0, SPECTRUM_PIXEL["BAD"], 0).astype(np.int32), wave, np.arange(len(flux)))
    out = resample(given, start=3400, stop=10800, step=2)
    usable = (ivar > 0) & (given.mask == 0)
    middle = np.sqrt(wave[1:] * wave[:-1])
    edges = np.concatenate([[wave[0] ** 2 / middle[0]], middle, [wave[-1] ** 2 / middle[-1]]])
    grid = np.append(out.wave - 1, out.wave[-1] + 1)
    compared = 0
    for i in range(len(flux)):
        light, covered = (
            np.diff(np.interp(grid, edges, np.append(0, np.cumsum(np.where(usable[i], density, 0) * np.diff(edges)))))
            for density in (flux[i].astype(float), 1.0)
        )
        whole = covered > 2 - 1e-6
        np.testing.assert_allclose(out.flux[i, whole], light[whole] / 2, rtol=1e-6, atol=1e-9 * np.abs(flux[i][usable[i]]).sum())
        assert (out.ivar[i, whole] > 0).all()
        assert (out.ivar[i, covered < 1 - 1e-6] == 0).all()
        compared += whole.sum()
    assert compared > 500_000
