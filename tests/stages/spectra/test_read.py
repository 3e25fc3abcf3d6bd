"""io.spectra: every format."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrosurvey.catalog.flags import SPECTRUM, SPECTRUM_PIXEL
from astrosurvey.core.stage import DataError, check_stage
from astrosurvey.core.tiles import Tile
from astrosurvey.stages.spectra.readers import FORMATS
from astrosurvey.stages.spectra.stage import FORMAT_NAMES, ReadSpectra
from astrosurvey.stages.spectra.vacuum import to_vacuum
from tests.stages.spectra import files
from tests.stages.spectra.files import FLUX, IVAR, LOGLAM, SETTINGS, UNIT, WAVE, flagged, image, read, table_hdu, write

NO_DATA = SPECTRUM_PIXEL["NO_DATA"]


def same(spectra, flux=FLUX, ivar=IVAR, row=0):
    good = spectra.usable()[row]
    assert good.mean() > 0.9
    assert np.allclose(spectra.flux[row, good], np.asarray(flux)[good], rtol=1e-5)
    assert np.allclose(spectra.ivar[row, good], np.asarray(ivar)[good], rtol=1e-5)


def test_the_stage_follows_the_protocol_and_names_its_formats():
    check_stage(ReadSpectra)
    assert tuple(FORMATS) == FORMAT_NAMES
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "spectra.md").read_text(encoding="utf-8")
    assert [name for name in FORMAT_NAMES if f"\n| `{name}` |" not in page] == []
    assert [flag.name for flags in (SPECTRUM, SPECTRUM_PIXEL) for flag in flags.flags if flag.name not in page] == []


class TestFormats:
    def test_sdss(self, tmp_path):
        bits = np.zeros(WAVE.size, np.int32)
        bits[5], bits[6], bits[7], bits[8] = 1 << 23, 1 << 24, 1 << 19, 1 << 11
        spectra, catalog = read(files.sdss(tmp_path / "spec-0266-51602-0013.fits", and_mask=bits))
        same(spectra)
        assert np.array_equal(spectra.wave, 10 ** (np.round(LOGLAM * 1e4) * 1e-4))
        assert (spectra.mask[0, 5:9] & ~SPECTRUM_PIXEL["SKY_LINE"]).tolist() == [
            *(SPECTRUM_PIXEL[n] for n in ("BAD_SKY", "NO_DATA", "SUSPECT")),
            0,
        ]
        assert spectra.ivar[0, 5:9].tolist() == [0, 0, 100, 100]
        row = catalog.rows.to_pylist()[0]
        assert (row["name"], row["frame"], row["n_pixel"], row["exposure"]) == ("266-51602-13", "heliocentric", 400, 3600)
        assert row["path"] == "spec-0266-51602-0013.fits"
        assert row["resolution"] == pytest.approx(1 / (np.log(10) * 1e-4 * 2.3548 * 1.2))
        assert flagged(catalog) == set()
        assert spectra.meta["files"][0]["format"] == "sdss"

    def test_sdss_v_says_the_place_in_its_table(self, tmp_path):
        columns = {"flux": FLUX, "loglam": LOGLAM.astype(np.float32), "ivar": IVAR, "and_mask": np.zeros(400, np.int32)}
        target = table_hdu("SPALL", RACAT=[12.5], DECCAT=[-3.0], OBJTYPE=["SKY"])
        spectra, catalog = read(write(tmp_path / "spec-015-59146-4375786564.fits", table_hdu("COADD", **columns), target))
        assert catalog.column("ra").tolist() == [12.5]
        assert catalog.column("name").tolist() == ["spec-015-59146-4375786564"]
        assert flagged(catalog) == {"SKY_FIBRE"}
        assert spectra.unit == UNIT

    def test_sdss_warnings_of_a_fibre_leave_its_pixels_usable(self, tmp_path):
        spectra, catalog = read(files.sdss(tmp_path / "a.fits", and_mask=np.full(WAVE.size, 1 << 4, np.int32)))
        assert flagged(catalog) == {"BAD_FIBRE"}
        assert spectra.usable().all()

    def test_sdss_plate(self, tmp_path):
        flux = np.stack([FLUX, 2 * FLUX, 3 * FLUX])
        plugged = table_hdu(
            "PLUGMAP", RA=[1.0, 2.0, 3.0], DEC=[0.0, 0.0, 0.0], OBJTYPE=["GALAXY", "SKY", "QSO"], FIBERID=np.int32([1, 2, 3])
        )
        hdus = (
            image("IVAR", np.tile(IVAR, (3, 1))),
            image("ANDMASK", np.zeros((3, 400), np.int32)),
            image("ORMASK", np.zeros((3, 400), np.int32)),
        )
        header = {"COEFF0": 3.58, "COEFF1": 1e-4, "BUNIT": "1E-17 erg/cm^2/s/Ang", "PLATEID": 266, "MJD": 51602}
        path = write(tmp_path / "spPlate.fits", *hdus, image("DISP", flux), plugged, primary=flux, **header)
        spectra, catalog = read(path)
        same(spectra, 2 * FLUX, row=1)
        assert flagged(catalog, 1) == {"SKY_FIBRE"}
        assert catalog.column("name").tolist() == ["266-51602-1", "266-51602-2", "266-51602-3"]
        assert catalog.column("ra").tolist() == [1, 2, 3]

    def test_sdss_spspec(self, tmp_path):
        rows = np.stack([FLUX, 0 * FLUX, np.full(400, 0.1), np.zeros(400), np.zeros(400)]).astype(np.float32)
        header = {"COEFF0": 3.58, "COEFF1": 1e-4, "TELESCOP": "SDSS 2.5-M", "BUNIT": "1E-17 erg/cm/cm/s/Ang"}
        spectra, _ = read(write(tmp_path / "spSpec.fit", primary=rows, **header))
        same(spectra)

    def test_desi_arms_are_joined(self, tmp_path):
        blue, red = 3600 + 0.8 * np.arange(301), 3600 + 0.8 * np.arange(280, 600)
        hdus = [table_hdu("FIBERMAP", TARGETID=np.array([11, 12]), TARGET_RA=[5.0, 6.0], TARGET_DEC=[1.0, 2.0], OBJTYPE=["TGT", "SKY"])]
        for name, wave in (("B", blue), ("R", red)):
            plane = np.ones((2, wave.size), np.float32)
            hdus += [image(f"{name}_WAVELENGTH", wave), image(f"{name}_FLUX", plane), image(f"{name}_IVAR", 4 * plane)]
        spectra, catalog = read(write(tmp_path / "coadd.fits", *hdus))
        assert np.allclose(np.diff(spectra.wave), 0.8)
        assert np.allclose(spectra.flux, 1)
        assert spectra.ivar[0, 290] > 4
        assert spectra.mask[0, 290] & SPECTRUM_PIXEL["JOINED"]
        assert catalog.column("name").tolist() == ["11", "12"]
        assert flagged(catalog, 1) == {"SKY_FIBRE"}
        bare = [hdu for hdu in hdus if not hdu.name.endswith("_IVAR")]
        with pytest.raises(DataError, match=r"does not say the errors of its fluxes; try: .*errors: measured"):
            read(write(tmp_path / "bare.fits", *bare))

    @pytest.mark.parametrize("pilot", [False, True])
    def test_lamost_image(self, tmp_path, pilot):
        rows = np.stack([FLUX, IVAR, FLUX if pilot else WAVE, np.eye(1, 400, 9)[0], np.zeros(400)]).astype(np.float32)
        header = {
            "TELESCOP": "LAMOST",
            "COEFF0": 3.58,
            "COEFF1": 1e-4,
            "VACUUM": True,
            "HELIO": True,
            "DESIG": "LAMOST J1",
            "DATE-OBS": "2019-04-01T12:00:00",
            "RA": 3.0,
            "DEC": 4.0,
        }
        spectra, catalog = read(write(tmp_path / "spec.fits", primary=rows, **header))
        same(spectra)
        assert spectra.mask[0, 9] & SPECTRUM_PIXEL["BAD"]
        assert spectra.unit == ""
        assert catalog.column("mjd").tolist() == [58574.5]
        assert flagged(catalog) == {"RELATIVE_FLUX"}
        assert np.allclose(spectra.wave, WAVE, rtol=1e-12)

    def test_lamost_tables(self, tmp_path):
        one = {"FLUX": FLUX[None], "IVAR": IVAR[None], "WAVELENGTH": WAVE.astype(np.float32)[None], "ANDMASK": np.zeros((1, 400), np.int32)}
        path = write(tmp_path / "a.fits", table_hdu("COADD", **one), TELESCOP="LAMOST", DESIG="LAMOST J1")
        spectra, _ = read(path)
        same(spectra)
        arms = []
        for name, cut in (("COADD_B", slice(0, 150)), ("COADD_R", slice(250, 400))):
            arms.append(table_hdu(name, FLUX=FLUX[cut], IVAR=IVAR[cut], LOGLAM=LOGLAM[cut]))
        spectra, _ = read(write(tmp_path / "b.fits", *arms, TELESCOP="LAMOST"))
        assert spectra.usable().sum() == 300
        assert (spectra.mask[0, 160:240] & NO_DATA != 0).all()

    @pytest.mark.parametrize("n", [1, 3])
    def test_4most(self, tmp_path, n):
        columns = {
            "WAVE": np.tile(WAVE / 10, (n, 1)),
            "FLUX": np.tile(FLUX * 1e-17, (n, 1)),
            "ERR_FLUX": np.full((n, 400), 1e-18),
            "QUAL": np.zeros((n, 400), np.int32),
        }
        columns["QUAL"][:, 3] = 1
        units = {"WAVE": "nm", "FLUX": "erg cm**(-2) s**(-1) angstrom**(-1)"}
        hdu = table_hdu("PHASE3SPECTRUM", units, {"TUCD1": "em.wl;obs.atmos"}, **columns)
        header = {
            "SPECSYS": "BARYCENT",
            "MJD-OBS": 60000.0,
            "MJD-END": 60000.02,
            "EXPTIME": 900.0,
            "SPEC_RES": 6500.0,
            "RA": 10.0,
            "DEC": -5.0,
        }
        spectra, catalog = read(write(tmp_path / "4most.fits", hdu, INSTRUME="QMOST", **header))
        same(spectra)
        assert np.allclose(spectra.wave, to_vacuum(WAVE), rtol=1e-12)
        assert spectra.mask[0, 3] & SPECTRUM_PIXEL["BAD"]
        row = catalog.rows.to_pylist()[0]
        assert (row["frame"], row["mjd"], row["resolution"], row["ra"]) == ("barycentric", pytest.approx(60000.01), 6500, 10)

    @pytest.mark.parametrize("vacuum", [False, True])
    @pytest.mark.parametrize("plane", [False, True])
    def test_marz(self, tmp_path, vacuum, plane):
        n, wave = 2, 3800 + np.arange(400.0)
        fibres = table_hdu("FIBRES", NAME=["a", "b"], RA=np.radians([10.0, 11.0]), DEC=np.radians([-5.0, -6.0]), TYPE=["P", "S"])
        hdus = [image("VARIANCE", np.full((n, 400), 0.01)), fibres, *([image("WAVELENGTH", wave)] if plane else [])]
        header = {
            "CTYPE1": "Wavelength",
            "CRVAL1": 3810.0,
            "CDELT1": 1.0,
            "CRPIX1": 11.0,
            "CUNIT1": "Angstroms",
            "VACUUM": vacuum,
            "UTMJD": 57373.5,
        }
        spectra, catalog = read(write(tmp_path / "m.fits", *hdus, primary=np.tile(FLUX, (n, 1)), **header))
        same(spectra)
        assert np.allclose(spectra.wave, wave if vacuum else to_vacuum(wave), rtol=1e-12)
        assert catalog.column("ra").tolist() == pytest.approx([10, 11])
        assert flagged(catalog, 1) == {"SKY_FIBRE", "RELATIVE_FLUX"}

    @pytest.mark.parametrize(("name", "values"), [("IVAR", IVAR), ("ERROR", IVAR**-0.5), ("VARIANCE", 1 / IVAR)])
    def test_planes(self, tmp_path, name, values):
        mask = np.zeros((2, 400), np.int32)
        mask[0, 7] = 1026
        hdus = image("FLUX", np.stack([FLUX, FLUX]), BUNIT=UNIT), image(name, np.stack([values, values])), image("MASK", mask)
        spectra, _ = read(write(tmp_path / "p.fits", *hdus, image("WAVE", WAVE, BUNIT="Angstrom"), AIRORVAC="vac"))
        same(spectra)
        assert spectra.mask[0, 7] & SPECTRUM_PIXEL["BAD"]

    def test_rows_on_a_grid_of_the_header(self, tmp_path):
        header = {"LOGLAM0": 3.58, "DLOGLAM": 1e-4, "WAVE": "vacuum", "BUNIT": "1e-17 erg/s/cm2/A"}
        columns = {"NAME": ["x", "y"], "RA": [1.0, 2.0], "FLUX": np.stack([FLUX, 2 * FLUX]), "IVAR": np.stack([IVAR, IVAR])}
        spectra, catalog = read(write(tmp_path / "r.fits", table_hdu("SPECTRA", None, header, **columns)))
        same(spectra, 2 * FLUX, row=1)
        assert np.allclose(spectra.wave, WAVE, rtol=1e-12)
        assert catalog.column("name").tolist() == ["x", "y"]
        assert flagged(catalog) == {"NO_SKY_POSITION"}

    def test_rows_on_their_own_grids(self, tmp_path):
        columns = {"WAVE": np.stack([WAVE, WAVE * 1.01]), "FLUX": np.stack([FLUX, FLUX]), "NOISE": np.full((2, 400), 0.1)}
        path = write(tmp_path / "r.fits", table_hdu("SPECTRA", {"FLUX": UNIT, "WAVE": "Angstrom"}, None, **columns))
        spectra, _ = read(path, medium="vacuum", columns={"error": "noise"})
        assert not spectra.shared
        assert np.array_equal(spectra.wave, columns["WAVE"])
        same(spectra, row=1)

    @pytest.mark.parametrize("ending", ["csv", "ecsv", "txt", "fits", "parquet", "csv.gz"])
    def test_a_plain_table(self, tmp_path, ending):
        from astropy.table import Table

        path, config = tmp_path / f"star.{ending}", dict(SETTINGS)
        table = Table({"wave": WAVE, "flux": FLUX, "error": np.full(400, 0.1)}, units={"wave": "Angstrom", "flux": UNIT})
        if ending == "ecsv":
            table.write(path)
            config = {"medium": "vacuum"}
        elif ending == "fits":
            write(path, table_hdu("T", {"wave": "Angstrom", "flux": UNIT}, **{n: np.asarray(table[n]) for n in table.colnames}))
            config = {"medium": "vacuum"}
        elif ending == "parquet":
            pq.write_table(pa.table({name: np.asarray(table[name]) for name in table.colnames}), path)
        elif ending == "txt":
            np.savetxt(path, np.column_stack([WAVE, FLUX, np.full(400, 0.1)]))
        else:
            files.csv(path)
        spectra, catalog = read(path, **config)
        same(spectra)
        assert np.allclose(spectra.wave, WAVE)
        assert catalog.column("name").tolist() == ["star"]

    def test_parquet_with_a_spectrum_in_each_row(self, tmp_path):
        flux = [FLUX, FLUX[:100], 2 * FLUX]
        columns = {
            "wave": [WAVE, WAVE[:100], WAVE],
            "flux": flux,
            "ivar": [IVAR, IVAR[:100], IVAR],
            "ra": [1.0, None, 3.0],
            "name": ["a", "b", "c"],
        }
        pq.write_table(pa.table(columns), tmp_path / "s.parquet", row_group_size=2)
        spectra, catalog = read(tmp_path / "s.parquet", **SETTINGS)
        same(spectra, 2 * FLUX, row=2)
        assert catalog.column("n_pixel").tolist() == [400, 100, 400]
        assert flagged(catalog, 1) == {"NO_SKY_POSITION"}
        assert (spectra.mask[1, 100:] & NO_DATA != 0).all()
        part, _ = read(tmp_path / "s.parquet", Tile("b", 4, 0, rows=(1, 3)), **SETTINGS)
        assert np.array_equal(part.flux, spectra.flux[1:], equal_nan=True)

    def test_gaia(self, tmp_path):
        cells = [",".join(f"{v:.7g}" for v in values) for values in (WAVE / 10, FLUX * 1e-19, np.full(400, 1e-20))]
        lines = [f'{k},"({cells[0]})","({cells[1]})","({cells[2]})"' for k in (5, 8)]
        (tmp_path / "spss.csv").write_text("source_id,wl,flux,flux_error\n" + "\n".join(lines) + "\n")
        with pytest.raises(DataError, match="air or in vacuum"):
            read(tmp_path / "spss.csv")
        spectra, catalog = read(tmp_path / "spss.csv", medium="vacuum")
        same(spectra, FLUX, row=1)
        assert catalog.column("name").tolist() == ["5", "8"]

    def test_our_own_product(self, tmp_path):
        spectra, _ = read(files.sdss(tmp_path / "a.fits"))
        spectra.write(tmp_path / "ours.fits")
        again, _ = read(tmp_path / "ours.fits", frame="heliocentric")
        for name in ("flux", "ivar", "mask", "wave"):
            assert np.array_equal(getattr(spectra, name), getattr(again, name))

    def test_specutils_is_asked_for_and_missing(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "specutils", None)
        with pytest.raises(DataError, match="not installed; try: `pip install specutils`"):
            read(files.csv(tmp_path / "a.csv"), format="specutils", **SETTINGS)

    def test_specutils_reads(self, tmp_path):
        pytest.importorskip("specutils")
        spectra, _ = read(files.sdss(tmp_path / "spec.fits"), format="specutils:SDSS-III/IV spec", medium="vacuum")
        same(spectra)

    @pytest.mark.parametrize("name", [name for name in FORMAT_NAMES if name not in ("table", "specutils")])
    def test_a_format_that_is_named_wrongly_is_refused(self, tmp_path, name):
        path = write(tmp_path / "image.fits", primary=np.zeros((30, 30)))
        with pytest.raises(DataError, match="image.fits"):
            read(path, format=name, **SETTINGS)
