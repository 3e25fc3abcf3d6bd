"""What is observed, from files and catalogues, and that a damaged or hostile file is refused."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.units import Unit

from astrosurvey import Catalog, DataError, NoWork, ProductError
from astrosurvey.products import Observations
from astrosurvey.products._npy import map_npy, write_npy
from astrosurvey.stages.io.observations.stage import ReadObservations
from astrosurvey.stages.sbi.data import Simulations
from astrosurvey.stages.sbi.observe import ObserveSources
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.simulators.two_moons import TwoMoons
from astrosurvey.stages.sbi.stage import NeuralPosterior
from tests.products.test_round_trip import observations

from ..running import run, tiles_of


def read(path, **settings):
    return run(ReadObservations, {"path": str(path), **settings})["observations"]


class TestReading:
    def test_a_table_by_rows(self, tmp_path):
        (tmp_path / "x.csv").write_text("name,Flux,err,source_id\na,1.5,-99,7\nb,,2,5\n")
        found = read(tmp_path / "x.csv", columns=["err", "flux"], id="source_id", about="source", missing=[-99])
        assert found.names == ("err", "Flux")
        assert np.array_equal(found.data, np.array([[np.nan, 1.5], [2, np.nan]], np.float32), equal_nan=True)
        assert found.ids.tolist() == [7, 5]
        assert found.about == "source"
        assert read(tmp_path / "x.csv", id="source_id", about="spectrum").names == ("Flux", "err")
        Table({"a": [1.0, 2.0], "b": [3, 4]}).write(tmp_path / "x.fits")
        assert read(tmp_path / "x.fits").data.tolist() == [[1, 3], [2, 4]]

    def test_units_are_those_of_the_file(self, tmp_path):
        Table({"a": [1.0, 2.0] * Unit("uJy"), "b": [3, 4]}).write(tmp_path / "x.ecsv")
        assert read(tmp_path / "x.ecsv").units == ("uJy", "")

    def test_arrays(self, tmp_path):
        cubes = np.arange(48.0).reshape(3, 2, 2, 4)
        write_npy(tmp_path / "x.npy", cubes)
        found = read(tmp_path / "x.npy", missing=[5])
        assert found.data.shape == (3, 2, 2, 4)
        assert np.isnan(found.data).sum() == 1
        write_npy(tmp_path / "f.npy", cubes.astype(np.float32))
        for settings in ({}, {"about": "tile"}):  # right as it is, an array stays on the disk
            held = read(tmp_path / "f.npy", **settings)
            held.check()
            assert isinstance(held.data, np.memmap)
        assert read(tmp_path / "x.npy", about="tile").data.shape == (1, 3, 2, 2, 4)
        write_npy(tmp_path / "v.npy", np.arange(4))
        assert read(tmp_path / "v.npy", about="tile").ids.tolist() == [7]

    def test_an_image(self, tmp_path):
        image = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="CUBE"), fits.BinTableHDU(Table({"a": [1.0]}), name="T")]).writeto(
            tmp_path / "x.fits"
        )
        assert np.array_equal(read(tmp_path / "x.fits", about="tile").data[0], image)
        assert read(tmp_path / "x.fits", hdu="T").data.tolist() == [[1]]

    def test_an_array_must_have_an_axis(self, tmp_path):
        np.save(tmp_path / "x.npy", np.float32(3))
        with pytest.raises(DataError, match="holds a single number"):
            read(tmp_path / "x.npy")

    @pytest.mark.parametrize(
        ("text", "settings", "message"),
        [
            ("a,b\n1,2\n", {"columns": ["bb"]}, "no column 'bb'; did you mean 'b'"),
            ("a,b\n1,2\n1,x\n", {"columns": ["b"]}, "row 2 holds 'x' in the column 'b', which is no number"),
            ("a,b\n1,2\n1,\n1,3 mag\n", {}, "row 3 holds '3 mag' in the column 'b'"),
            ("a,b\n1,\n2,\n", {"columns": ["b"]}, "'b' holds no numbers"),
            ("a,b\n1,inf\n", {}, "infinite"),
            ("a,b\n1,2\n1,3\n", {"id": "a", "about": "source"}, "repeats a number"),
            ("a,b\n1.5,2\n", {"id": "a", "about": "source"}, "whole number"),
            ("a\nx\n", {}, "no column holds numbers"),
            ("a\n1\n2\n", {"about": "tile"}, "a tile is one observation"),
        ],
    )
    def test_what_is_wrong_is_said(self, text, settings, message, tmp_path):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            read(tmp_path / "x.csv", **settings)

    def test_simulations_that_exist_already_are_trained_on(self, tmp_path):
        """As in CAMELS: maps, and a table with a row of parameters for each so many of them."""
        rng = np.random.default_rng(1)
        prior = {"omega_m": {"uniform": [0.1, 0.5]}, "h": {"log_uniform": [50, 100], "unit": "km.s**-1.Mpc**-1"}}
        theta = Prior.declared(prior).draw(rng, 60)
        Table({"h": theta[:, 1], "Omega_m": theta[:, 0], "run": np.arange(60)}).write(tmp_path / "p.ecsv")
        write_npy(tmp_path / "maps.npy", rng.normal(np.repeat(theta[:, 0], 3)[:, None, None], 0.01, (180, 2, 2)))
        settings = {"parameters": prior, "parameter_file": str(tmp_path / "p.ecsv")}
        found = read(tmp_path / "maps.npy", **settings)
        assert found.parameters.parameters == ("h", "omega_m")
        np.testing.assert_array_equal(found.parameters.draws, np.repeat(theta[:, ::-1], 3, axis=0))
        split = Simulations(tiles_of(t=found)).split(0.4)
        kept = {row // 3 for row in split.test} | {row // 3 for row in split.validation}
        assert len(kept) > 10
        assert not kept & {row // 3 for row in split.training}
        trained = run(NeuralPosterior, {"epochs": 1, "members": 1, "keep_back": 0.3}, observations=tiles_of(t=found))
        assert trained["posterior_model"].card["prior"] == found.parameters.meta["prior"]

    def test_parameters_stand_beside_the_data(self, tmp_path, caplog):
        (tmp_path / "x.csv").write_text("flux,Age,err\n" + "".join(f"{k},{4 + k / 1000},{2}\n" for k in range(60)))
        found = read(tmp_path / "x.csv", parameters={"age": {"uniform": [0, 10]}})
        assert found.names == ("flux", "err")
        assert found.parameters.draws[:2, 0].tolist() == [4, 4.001]
        assert "age is not distributed as its prior says, uniform [0, 10]" in caplog.text.replace("[0.0, 10.0]", "[0, 10]")

    @pytest.mark.parametrize(
        ("prior", "more", "message"),
        [
            ({"a": {"uniform": [0, 2]}}, {}, r"row 3 holds 3 in 'a', beyond its prior, uniform \[0.0, 2.0\] \(1 of 3 rows lie beyond\)"),
            ({"b": {"uniform": [0, 9]}}, {}, "row 2 holds no number in 'b'"),
            ({"aa": {"uniform": [0, 9]}}, {}, "no column 'aa'; did you mean 'a'"),
            ({"c": {"uniform": [0, 9], "unit": "Gyr"}}, {}, "is in 'Myr', and its prior in 'Gyr'"),
            ({"a": {"uniform": [0, 9]}}, {"parameter_file": "two.csv"}, "2 rows of parameters for 3 observations"),
        ],
    )
    def test_parameters_that_cannot_be_are_refused(self, prior, more, message, tmp_path):
        columns = {"a": [1.0, 2, 3], "b": [1, np.nan, 3], "c": [1.0, 2, 3] * Unit("Myr"), "x": [1.0, 2, 3]}
        Table(columns).write(tmp_path / "x.ecsv")
        (tmp_path / "two.csv").write_text("a,b\n1,2\n1,3\n")
        with pytest.raises(DataError, match=message):
            read(tmp_path / "x.ecsv", columns=["x"], parameters=prior, **{key: str(tmp_path / name) for key, name in more.items()})
        np.save(tmp_path / "x.npy", np.ones((3, 2)))
        with pytest.raises(DataError, match="no columns of parameters"):
            read(tmp_path / "x.npy", parameters=prior)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"about": "tile", "parameters": {"a": {"uniform": [0, 1]}}}, "leave out `about`"),
            ({"parameter_file": "p.csv"}, "which of its columns"),
        ],
    )
    def test_settings_of_parameters_that_do_not_fit(self, settings, message):
        with pytest.raises(ValueError, match=message):
            ReadObservations.Config(**settings)

    @pytest.mark.parametrize(("about", "said"), [("", "says nothing"), ("tile", "the tile's number")])
    def test_ids_of_nobody_knows_what_are_refused(self, about, said):
        with pytest.raises(ValueError, match=said):
            ReadObservations.Config(id="a", about=about)

    def test_files_that_are_none(self, tmp_path):
        np.save(tmp_path / "o.npy", np.array([{}]), allow_pickle=True)
        with pytest.raises(DataError, match="save plain native numbers"):
            read(tmp_path / "o.npy")
        (tmp_path / "none.csv").write_text("a,b\n")
        with pytest.raises(NoWork):
            read(tmp_path / "none.csv")
        with pytest.raises(DataError, match="no such file"):
            read(tmp_path / "http://x.npy")
        os.mkfifo(tmp_path / "pipe.npy")
        with pytest.raises(DataError, match="named pipe"):
            read(tmp_path / "pipe.npy")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00" + b"__import__('os')" + b"\n"),
        lambda path: path.write_bytes(path.read_bytes().replace(b"<f4", b">f4")),
        lambda path: path.write_bytes(path.read_bytes().replace(b"(100, 2)", b"(99, 2) ")),
        lambda path: path.write_bytes(b"PK\x03\x04 a zip"),
    ],
)
def test_a_damaged_array_is_refused(spoil, tmp_path):
    observations().write(tmp_path / "o")
    assert isinstance(Observations.read(tmp_path / "o").data, np.memmap)
    spoil(tmp_path / "o" / "data.npy")
    with pytest.raises((ProductError, DataError)):
        Observations.read(tmp_path / "o")


def test_observations_without_units_are_written_as_they_always_were(tmp_path):
    one = observations()
    replace(one, units=()).write(tmp_path / "old")
    assert "units" not in (tmp_path / "old" / "card.json").read_text()
    assert Observations.read(tmp_path / "old").units == ()
    with pytest.raises(ProductError, match=r"Observations\.units must be one for each"):
        replace(one, units=("nJy",)).check()


def test_a_folder_holds_nothing_else(tmp_path):
    observations().write(tmp_path / "o")
    (tmp_path / "o" / "more").write_text("")
    with pytest.raises(ProductError, match="nothing else"):
        Observations.read(tmp_path / "o")
    write_npy(tmp_path / "e.npy", np.empty((0, 3)))
    with pytest.raises(ProductError, match="no numbers"):
        map_npy(tmp_path / "e.npy")


def test_simulations_are_made_on_the_disk_and_read_from_it(tmp_path):
    prior = TwoMoons.usual_prior()
    made = run(TwoMoons, parameters=prior.samples(prior.draw(np.random.default_rng(0), 3000)), scratch=tmp_path)["observations"]
    assert isinstance(made.data, np.memmap)
    made.write(tmp_path / "o")
    back = Observations.read(tmp_path / "o")
    assert np.array_equal(back.data, made.data)
    assert back.parameters.meta["prior"] == prior.to_json()


class TestObserving:
    def sources(self):
        pixels = {"x": 0.0, "y": 0.0, "x_min": 0, "x_max": 1, "y_min": 0, "y_max": 1, "n_pixels": 1}
        rows = {
            "source_id": [4, 2, 9],
            "tile_id": 1,
            "ra": [1.0, 2, 3],
            "dec": 0.0,
            "significance": 9.0,
            "n_child": 0,
            "primary": True,
            "flags": 0,
        }
        return Catalog.from_columns("source", {**rows, **pixels})

    def photometry(self):
        known = {"source_id": [2, 4, 4], "band": ["r", "r", "g"], "method": "kron", "tile_id": 1, "flags": 0}
        return Catalog.from_columns("photometry", {**known, "flux": [1.0, 2, 3], "flux_err": 0.1})

    def test_columns_are_those_of_the_wide_view(self):
        columns = ["g_kron_flux", "r_kron_flux", "ra"]
        found = run(ObserveSources, {"columns": columns}, sources=self.sources(), photometry=self.photometry())["observations"]
        assert found.ids.tolist() == [2, 4, 9]
        assert found.names == tuple(columns)
        assert found.units == ("nJy", "nJy", "deg")
        assert found.about == "source"
        expected = np.array([[np.nan, 1, 2], [3, 2, 1], [np.nan, np.nan, 3]], np.float32)
        assert np.array_equal(found.data, expected, equal_nan=True)

    def test_all_sources_of_a_tile_are_a_set(self):
        """Those that belong to another tile, or lack a value, are not in it."""
        sources = self.sources()
        given = {"columns": ["r_kron_flux", "ra"], "rows": 3}
        found = run(ObserveSources, given, sources=sources, photometry=self.photometry())["observations"]
        expected = np.array([[[1, 2], [2, 1], [np.nan, np.nan]]], np.float32)
        assert np.array_equal(found.data, expected, equal_nan=True)
        assert (found.about, found.ids.tolist(), found.names) == ("tile", [7], ("r_kron_flux", "ra"))
        others = sources.replace(primary=np.array([True, False, True]))
        assert np.isfinite(run(ObserveSources, given, sources=others, photometry=self.photometry())["observations"].data).sum() == 2
        with pytest.raises(DataError, match="3 sources, and a set has room for 2: raise `rows`"):
            run(ObserveSources, {"columns": ["ra"], "rows": 2}, sources=sources)

    def test_what_is_wrong_is_said(self):
        with pytest.raises(DataError, match="did you mean 'r_kron_flux'"):
            run(ObserveSources, {"columns": ["r_kron_fluxx"]}, sources=self.sources(), photometry=self.photometry())
        sources = self.sources()
        with pytest.raises(NoWork):
            run(ObserveSources, {"columns": ["ra"]}, sources=replace(sources, rows=sources.rows.slice(0, 0)))
