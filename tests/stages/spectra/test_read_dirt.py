"""io.spectra: what files leave open, bad input, and many files in a tile."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from pydantic import ValidationError

from astrosurvey.catalog.flags import SPECTRUM_PIXEL
from astrosurvey.core.stage import DataError, NoWork
from astrosurvey.core.tiles import Tile
from astrosurvey.products import Spectra
from astrosurvey.stages.spectra.stage import ReadSpectra
from astrosurvey.stages.spectra.vacuum import to_vacuum
from tests.stages.spectra import files
from tests.stages.spectra.files import FLUX, IVAR, LOGLAM, SETTINGS, UNIT, WAVE, flagged, image, read, table_hdu, write

NO_DATA = SPECTRUM_PIXEL["NO_DATA"]


class TestWhatFilesLeaveOpen:
    def test_everything_that_is_missing_is_named_at_once(self, tmp_path):
        path = tmp_path / "a.csv"
        np.savetxt(path, np.column_stack([WAVE, FLUX]), delimiter=",", header="wave,flux", comments="")
        with pytest.raises(DataError) as caught:
            read(path)
        message = str(caught.value)
        assert "\n" not in message
        for words in (
            "a.csv",
            "unit of its wavelengths",
            "air or in vacuum",
            "unit of its fluxes",
            "errors of its fluxes",
            "`wave_unit`",
            "`medium: air`",
        ):
            assert words in message

    @pytest.mark.parametrize("missing", ["unit", "wave_unit", "medium"])
    def test_each_is_asked_for(self, tmp_path, missing):
        with pytest.raises(DataError, match=f"set `{missing}"):
            read(files.csv(tmp_path / "a.csv"), **{key: value for key, value in SETTINGS.items() if key != missing})

    def test_air_is_converted_once(self, tmp_path):
        path = files.csv(tmp_path / "a.csv")
        air, _ = read(path, **{**SETTINGS, "medium": "air"})
        assert np.allclose(air.wave, to_vacuum(WAVE), rtol=1e-11)
        air.write(tmp_path / "b.fits")
        again, _ = read(tmp_path / "b.fits")
        assert np.array_equal(again.wave, air.wave)

    def test_errors_can_be_measured(self, tmp_path):
        path = tmp_path / "a.csv"
        np.savetxt(path, np.column_stack([WAVE, FLUX]), delimiter=",", header="wave,flux", comments="")
        spectra, catalog = read(path, errors="measured", **SETTINGS)
        assert np.median(spectra.ivar) == pytest.approx(100, rel=0.3)
        assert "MEASURED_ERRORS" in flagged(catalog)

    def test_the_frame_is_recorded_and_the_motion_taken_out_when_asked(self, tmp_path):
        header = {
            "CTYPE1": "Wavelength",
            "CRVAL1": 3800.0,
            "CDELT1": 1.0,
            "CRPIX1": 1.0,
            "VACUUM": True,
            "UTMJD": 57373.5,
            "LONG_OBS": 149.0661,
            "LAT_OBS": -31.277,
            "ALT_OBS": 1164.0,
        }
        fibres = table_hdu("FIBRES", RA=np.radians([174.5, 354.5]), DEC=np.radians([2.4, -2.4]))
        hdus = image("VARIANCE", np.full((2, 400), 0.01)), fibres
        plain = write(tmp_path / "plain.fits", *hdus, primary=np.tile(FLUX, (2, 1)), **header)
        asking = write(tmp_path / "asking.fits", *hdus, primary=np.tile(FLUX, (2, 1)), DO_HELIO=True, **header)
        assert read(plain)[1].column("frame").tolist() == ["unknown"] * 2
        left, catalog = read(asking)
        assert catalog.column("frame").tolist() == ["topocentric"] * 2
        assert left.shared
        moved, catalog = read(asking, correct="barycentric")
        assert catalog.column("frame").tolist() == ["barycentric"] * 2
        velocity = (moved.wave[:, 0] / 3800 - 1) * 299792.458
        assert velocity == pytest.approx([30, -30], abs=1)
        with pytest.raises(DataError, match="set `frame`"):
            read(plain, correct="barycentric")
        done, catalog = read(asking, frame="heliocentric", correct="barycentric")
        assert np.array_equal(done.wave, left.wave)
        assert catalog.column("frame").tolist() == ["heliocentric"] * 2
        with pytest.raises(DataError, match="lacks the place"):
            read(files.csv(tmp_path / "a.csv"), frame="topocentric", correct="heliocentric", **SETTINGS)

    def test_settings_are_checked(self):
        for wrong in ({"format": "sds"}, {"format": "sdss:x"}, {"medium": "glass"}, {"columns": {"colour": "x"}}, {"mask": "hubble"}):
            with pytest.raises(ValidationError):
                ReadSpectra.Config(**wrong)


class TestBadInput:
    def test_all_masked(self, tmp_path):
        spectra, catalog = read(files.sdss(tmp_path / "a.fits", and_mask=np.full(WAVE.size, 1 << 18, np.int32)))
        assert not spectra.usable().any()
        assert {"NO_DATA", "FEW_DATA"} <= flagged(catalog)
        assert np.isnan(catalog.column("snr")[0])
        assert catalog.column("wave_max")[0] == pytest.approx(WAVE[-1])

    @pytest.mark.parametrize("value", [0, -1, np.nan])
    def test_no_weight_anywhere(self, tmp_path, value):
        spectra, catalog = read(files.sdss(tmp_path / "a.fits", ivar=np.full(WAVE.size, value, np.float32)))
        assert (spectra.ivar == 0).all()
        assert (spectra.mask & NO_DATA != 0).all()
        assert "NO_DATA" in flagged(catalog)

    def test_flux_without_numbers(self, tmp_path):
        flux = FLUX.copy()
        flux[[3, 5]] = np.nan, np.inf
        spectra, _ = read(files.sdss(tmp_path / "a.fits", flux=flux))
        assert np.isnan(spectra.flux[0, [3, 5]]).all()
        assert (spectra.mask[0, [3, 5]] & NO_DATA != 0).all()
        assert spectra.usable().sum() == 398

    def test_impossible_wavelengths_are_left_out(self, tmp_path):
        wave = WAVE.copy()
        wave[[10, 20, 30, 399]] = np.nan, -5, 0, np.inf
        spectra, catalog = read(files.csv(tmp_path / "a.csv", wave), **SETTINGS)
        assert spectra.flux.shape == (1, 396)
        assert "WAVE_REPAIRED" in flagged(catalog)
        assert np.allclose(spectra.flux[0], np.delete(FLUX, [10, 20, 30, 399]))

    def test_unsorted_and_double_wavelengths(self, tmp_path):
        order = np.random.default_rng(3).permutation(400)
        wave, flux = np.append(WAVE[order], WAVE[7]), np.append(FLUX[order], 99)
        spectra, catalog = read(files.csv(tmp_path / "a.csv", wave, flux, np.full(401, 0.1)), **SETTINGS)
        assert np.allclose(spectra.wave, WAVE)
        assert np.allclose(spectra.flux[0], FLUX)
        assert "WAVE_REPAIRED" in flagged(catalog)

    def test_from_red_to_blue_is_nothing_wrong(self, tmp_path):
        spectra, catalog = read(files.csv(tmp_path / "a.csv", WAVE[::-1], FLUX[::-1]), **SETTINGS)
        assert np.allclose(spectra.flux[0], FLUX)
        assert "WAVE_REPAIRED" not in flagged(catalog)

    def test_frequencies(self, tmp_path):
        spectra, _ = read(files.csv(tmp_path / "a.csv", 2.99792458e9 / WAVE), **{**SETTINGS, "wave_unit": "GHz"})
        assert np.allclose(spectra.wave, WAVE)

    @pytest.mark.parametrize("wave", [np.full(400, np.nan), np.full(400, -1.0), np.zeros(400)])
    def test_no_wavelength_at_all(self, tmp_path, wave):
        with pytest.raises(DataError, match="no wavelength that is a positive number"):
            read(files.csv(tmp_path / "a.csv", wave), **SETTINGS)

    def test_one_spectrum_without_wavelengths_among_others(self, tmp_path):
        wave = np.stack([WAVE, np.full(400, np.nan), WAVE * 1.1])
        columns = {"WAVE": wave, "FLUX": np.tile(FLUX, (3, 1)), "IVAR": np.tile(IVAR, (3, 1))}
        path = write(tmp_path / "r.fits", table_hdu("S", {"FLUX": UNIT, "WAVE": "Angstrom"}, None, **columns))
        spectra, catalog = read(path, medium="vacuum")
        assert spectra.usable().sum(axis=1).tolist() == [400, 0, 400]
        assert {"NO_DATA", "WAVE_REPAIRED"} <= flagged(catalog, 1)
        assert "WAVE_REPAIRED" not in flagged(catalog, 2)

    def test_one_pixel(self, tmp_path):
        hdus = image("FLUX", FLUX[:1][None], BUNIT=UNIT), image("IVAR", IVAR[:1][None]), image("WAVE", WAVE[:1], BUNIT="Angstrom")
        spectra, catalog = read(write(tmp_path / "p.fits", *hdus, AIRORVAC="air"))
        assert spectra.flux.shape == (1, 1)
        assert catalog.column("wave_min")[0] == catalog.column("wave_max")[0]
        spectra.write(tmp_path / "one.fits")
        assert Spectra.read(tmp_path / "one.fits").flux == FLUX[0]

    @pytest.mark.parametrize("cut", [100, 4000, 9000])
    def test_truncated(self, tmp_path, cut):
        raw = files.sdss(tmp_path / "a.fits").read_bytes()
        (tmp_path / "a.fits").write_bytes(raw[:cut])
        with pytest.raises(DataError, match=r"a\.fits.*cut short"):
            read(tmp_path / "a.fits")

    @pytest.mark.parametrize("ending", ["parquet", "csv.gz"])
    def test_truncated_others(self, tmp_path, ending):
        path = tmp_path / f"a.{ending}"
        if ending == "parquet":
            pq.write_table(pa.table({"wave": WAVE, "flux": FLUX, "error": np.full(400, 0.1)}), path)
        else:
            files.csv(path)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(DataError, match="damaged|cut short|can be read"):
            read(path, **SETTINGS)

    def test_shapes_that_do_not_match(self, tmp_path):
        hdus = image("FLUX", FLUX[None], BUNIT=UNIT), image("IVAR", IVAR[None]), image("WAVE", WAVE[:-1], BUNIT="Angstrom")
        with pytest.raises(DataError, match=r"wavelengths of shape \(399,\) for fluxes of shape \(1, 400\)"):
            read(write(tmp_path / "p.fits", *hdus, AIRORVAC="vac"))

    def test_fluxes_that_float32_cannot_hold(self, tmp_path):
        with pytest.raises(DataError, match="float32"):
            read(files.csv(tmp_path / "a.csv", WAVE, FLUX * 1e-30, np.full(400, 1e-31)), **{**SETTINGS, "unit": "relative"})

    def test_a_column_of_words(self, tmp_path):
        (tmp_path / "a.csv").write_text("wave,flux,error\n" + "".join(f"{w},bright,0.1\n" for w in WAVE))
        with pytest.raises(DataError, match="holds no numbers"):
            read(tmp_path / "a.csv", **SETTINGS)

    @pytest.mark.parametrize(
        ("raw", "words"), [(b"PK\x03\x04" + bytes(99), "zip"), (b"\x89PNG\r\n" + bytes(99), "says neither"), (b"", "empty")]
    )
    def test_what_is_no_spectrum(self, tmp_path, raw, words):
        (tmp_path / "a.fits").write_bytes(raw)
        with pytest.raises(DataError, match=words):
            read(tmp_path / "a.fits")

    def test_an_image_of_the_sky_is_no_spectrum(self, tmp_path):
        from astrosurvey.testing import make_image

        make_image().write(tmp_path / "sky.fits")
        with pytest.raises(DataError, match="holds no spectra that are recognised"):
            read(tmp_path / "sky.fits")
        sky = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 2.0, "BUNIT": "adu"}
        with pytest.raises(DataError, match="holds no spectra that are recognised"):
            read(write(tmp_path / "frame.fits", image("VARIANCE", np.ones((30, 30))), primary=np.ones((30, 30)), **sky))

    def test_a_checksum_that_disagrees(self, tmp_path):
        path = tmp_path / "a.fits"
        with fits.open(files.sdss(tmp_path / "plain.fits")) as hdus:
            hdus.writeto(path, checksum=True)
        raw = bytearray(path.read_bytes())
        raw[-2880] ^= 1
        path.write_bytes(raw)
        with pytest.raises(DataError, match="DATASUM"):
            read(path)
        read(path, checksum=False)


class TestManyFiles:
    def test_a_folder_is_one_tile(self, tmp_path):
        for k, cut in enumerate((slice(0, 350), slice(50, 400))):
            files.sdss(
                tmp_path / f"spec-{k}.fits",
                flux=FLUX[cut] + k,
                loglam=LOGLAM[cut].astype("f4"),
                ivar=IVAR[cut],
                and_mask=np.zeros(350, "i4"),
                wdisp=np.ones(350, "f4"),
            )
        spectra, catalog = read(tmp_path / "spec-*.fits")
        assert spectra.shared
        assert spectra.flux.shape == (2, 400)
        assert catalog.column("n_pixel").tolist() == [350, 350]
        assert catalog.column("path").tolist() == ["spec-0.fits", "spec-1.fits"]
        assert [entry["file"] for entry in spectra.meta["files"]] == ["spec-0.fits", "spec-1.fits"]
        assert len(ReadSpectra.external_files(ReadSpectra.Config(path=str(tmp_path / "spec-*.fits")), None)) == 2

    def test_a_name_with_brackets_is_a_name(self, tmp_path):
        path = files.sdss(tmp_path / "odd[1]*.fits")
        assert read(path)[0].flux.shape == (1, 400)

    def test_a_folder_with_brackets_is_a_name_and_the_rest_a_pattern(self, tmp_path):
        (tmp_path / "run[1]").mkdir()
        files.sdss(tmp_path / "run[1]" / "spec-1.fits")
        assert read(tmp_path / "run[1]" / "spec-*.fits")[0].flux.shape == (1, 400)

    def test_nothing_matches(self, tmp_path):
        with pytest.raises(DataError, match="no such file"):
            read(tmp_path / "*.fits")

    def test_fluxes_of_two_kinds_do_not_mix(self, tmp_path):
        files.sdss(tmp_path / "a.fits")
        write(tmp_path / "b.fits", primary=np.stack([FLUX, IVAR, WAVE, 0 * FLUX, 0 * FLUX]), TELESCOP="LAMOST", COEFF0=3.58, COEFF1=1e-4)
        with pytest.raises(DataError, match="different kinds"):
            read(tmp_path / "*.fits")

    def test_a_block_behind_the_end_is_no_work(self, tmp_path):
        with pytest.raises(NoWork):
            read(files.sdss(tmp_path / "a.fits"), Tile("b9", 3, 0, rows=(10, 20)))

    def test_blocks_need_one_file(self, tmp_path):
        for k in range(2):
            files.sdss(tmp_path / f"{k}.fits")
        with pytest.raises(DataError, match="only one file"):
            read(tmp_path / "*.fits", Tile("b0", 3, 0, rows=(0, 1)))
