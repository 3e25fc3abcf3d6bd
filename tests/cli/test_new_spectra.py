"""`astrosurvey new pipeline` for spectra: what a file says, what it leaves open, and which files are meant."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from astrosurvey import api
from astrosurvey.cli.new import pipeline
from tests.stages.spectra import files
from tests.stages.spectra.files import FLUX, WAVE


@pytest.fixture
def new(tmp_path, monkeypatch):
    """A function that runs `new pipeline` in this process; returns its JSON and the pipeline."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(pipeline, [*map(str, arguments), "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        said = json.loads(result.output)
        return said, api.load(said["pipeline"])

    return run


def test_one_file_that_says_all(new, tmp_path):
    files.sdss(tmp_path / "spec-0266-51602-0013.fits")
    said, made = new("spec-0266-51602-0013.fits")
    assert said["to_do"] == []
    assert said["guesses"][0].startswith("format: sdss, 1 spectrum")
    assert [tile.name for tile in made.tiles()] == ["spec-0266-51602-0013"]
    assert made.nodes["read"].config.path == str(tmp_path / "spec-0266-51602-0013.fits")
    assert {"net", "scan", "best", "lines", "strange", "table"} < set(made.nodes)
    assert not made.missing()


def test_many_files_of_one_spectrum_are_one_tile(new, tmp_path):
    folder = tmp_path / "night"
    folder.mkdir()
    names = [files.sdss(folder / f"spec-{k}.fits") for k in (1, 2, 3)]
    said, made = new(*names)
    (tile,) = made.tiles()
    node = made.nodes["read"]
    assert node.cls.external_files(node.config, tile) == [str(name) for name in names]
    assert said["tiles"] == ["spectra"]
    refused = CliRunner().invoke(pipeline, [str(names[0]), str(names[1]), "--out", "other.yaml"])
    assert refused.exit_code == 2
    assert "all files of one folder" in refused.output


def test_what_a_file_leaves_open_is_to_be_done(new, tmp_path):
    path = tmp_path / "bare.csv"
    np.savetxt(path, np.c_[WAVE, FLUX], header="wave,flux", delimiter=",", comments="")
    said, made = new(path)
    assert sorted(line.partition(":")[0] for line in said["to_do"]) == ["errors", "medium", "unit", "wave_unit"]
    assert "TO DO" in (tmp_path / "pipeline.yaml").read_text()
    config = made.nodes["read"].config
    assert (config.wave_unit, config.medium, config.unit, config.errors) == ("Angstrom", "vacuum", "relative", "measured")
    made_of_it = made.nodes["read"].cls(config)
    assert len(made_of_it.run(files.context(tmp_path))["spectra"]) == 1
