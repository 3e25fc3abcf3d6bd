"""spectra.labels: rows in order and by name, FITS and CSV, one side of a split, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from astrosurvey.core.stage import DataError
from astrosurvey.core.tiles import Tile
from astrosurvey.products import Catalog
from astrosurvey.stages.spectra.labels.stage import LabelSpectra

from ..running import a_tile, run
from .files import read


def catalog(names):
    n = len(names)
    columns = {"spectrum_id": np.arange(n) + 50, "tile_id": 7, "name": names, "frame": "unknown", "n_pixel": 9, "snr": 5.0, "flags": 0}
    return Catalog.from_columns("spectrum", {**columns, "wave_min": 4000.0, "wave_max": 9000.0})


@pytest.fixture(params=["csv", "fits"])
def table(request, tmp_path):
    rows = {"Name": ["a", "b", "c"], "CLASS": ["GALAXY", "QSO", "Cloud"], "SUBCLASS": ["AGN", "", "x"], "Z": [0.1, 2.0, 0.0]}
    path = tmp_path / f"labels.{request.param}"
    Table(rows).write(path)
    return path


def labels(path, names, tile=None, **settings):
    return run(LabelSpectra, {"path": str(path), **settings}, catalog=catalog(names), tile=tile)["truth"]


def test_rows_are_in_order(table):
    truth = labels(table, ["x", "y", "z"], subclass="SUBCLASS")
    assert truth.column("spectrum_id").tolist() == [50, 51, 52]
    assert truth.column("spectral_class").tolist() == ["galaxy", "quasar", "unknown"]
    assert truth.column("subclass").tolist() == ["AGN", "", "x"]
    assert truth.column("z").tolist() == [0.1, 2.0, 0.0]


def test_rows_are_found_by_name(table):
    truth = labels(table, ["c", "?", "a"], name="NAME")
    assert truth.column("spectrum_id").tolist() == [50, 52]
    assert truth.column("spectral_class").tolist() == ["unknown", "galaxy"]


def test_a_block_of_rows_is_found_in_the_table(table):
    truth = labels(table, ["b", "c"], tile=Tile("t", 7, 0, rows=(1, 3)))
    assert truth.column("spectral_class").tolist() == ["quasar", "unknown"]


def test_one_side_of_a_split(table, tmp_path):
    (tmp_path / "split.csv").write_text("row,object,side\n0,0,test\n1,1,train\n2,2,test\n")
    assert labels(table, ["a", "b", "c"], split=str(tmp_path / "split.csv")).column("spectrum_id").tolist() == [50, 52]
    assert labels(table, ["a", "b", "c"], split=str(tmp_path / "split.csv"), side="train").column("spectrum_id").tolist() == [51]


def test_what_does_not_fit_is_refused(table, tmp_path):
    with pytest.raises(DataError, match="3 rows.*2 spectra.*`name`"):
        labels(table, ["a", "b"])
    with pytest.raises(DataError, match="no table with the column REDSHIFT: there are"):
        labels(table, ["a", "b", "c"], z="REDSHIFT")
    (tmp_path / "odd").write_bytes(b"a,b\n1\n2,3,4\n")
    with pytest.raises(DataError, match="neither a FITS table nor CSV"):
        labels(tmp_path / "odd", ["a"])


@pytest.mark.real
def test_the_labelled_spectra_of_sdss(real_data):
    path = real_data / "spectra" / "sdss_labelled.fits.gz"
    split = Path(__file__).parents[3] / "examples" / "sdss-split.csv"
    _, found = read(path, a_tile("s", 3))
    truth = run(LabelSpectra, {"path": str(path), "subclass": "LABEL13", "split": str(split), "side": "train"}, catalog=found)["truth"]
    assert set(truth.column("spectral_class").tolist()) == {"star", "galaxy", "quasar"}
    assert 20 < len(truth) < 266
