"""A million spectra in one file: cut into blocks, each read alone, in bounded memory, with the same result as the whole."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import astrosurvey
from astrosurvey import Pipeline, plugins
from astrosurvey.core.pipeline import PipelineError
from astrosurvey.core.tiles import Tile
from astrosurvey.products import Catalog, Spectra
from tests.stages.spectra.files import UNIT, image, read, table_hdu, write

PIXELS = 6
WAVE = 5000 + np.arange(float(PIXELS))


@pytest.fixture(scope="module")
def million(tmp_path_factory):
    n = 1_000_000
    flux = np.arange(n * PIXELS, dtype=np.float32).reshape(n, PIXELS)
    planes = image("FLUX", flux, BUNIT=UNIT), image("IVAR", np.ones_like(flux)), image("WAVE", WAVE, BUNIT="Angstrom")
    return write(tmp_path_factory.mktemp("million") / "many.fits", *planes, AIRORVAC="vac")


def pipeline(path, rows):
    stages = {"read": {"use": "io.spectra"}}
    return Pipeline.build(
        {"astrosurvey": 1, "tiles": {"file": str(path), "rows": rows}, "stages": stages}, plugins.load(), base=path.parent
    )


def test_a_million_spectra_are_cut_into_blocks(million):
    tiles = pipeline(million, 20_000).tiles()
    assert len(tiles) == 50
    assert tiles[-1].rows == (980_000, 1_000_000)
    tracemalloc.start()
    spectra, catalog = read(million, tiles[-1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(spectra) == len(catalog) == 20_000
    assert spectra.flux[-1, -1] == np.float32(1_000_000 * PIXELS - 1)
    assert peak < 60e6  # a block of 20 000 x 6 values, its catalogue, and nothing that grows with the file, which has 48 MB


def test_memory_is_bounded_within_a_block_too(million, monkeypatch):
    """Values are float64 only a part at a time; the block itself is 12 bytes a value."""
    from astrosurvey.stages.spectra import read as module

    whole, _ = read(million, Tile("b", 1, 0, rows=(1000, 41_000)))
    monkeypatch.setattr(module, "PART", 6 * 1000)
    parts, _ = read(million, Tile("b", 1, 0, rows=(1000, 41_000)))
    for name in ("flux", "ivar", "mask", "wave", "ids"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


@pytest.mark.parametrize("kind", ["planes", "rows"])
def test_blocks_of_a_run_together_are_the_whole_file(tmp_path, kind):
    rng = np.random.default_rng(1)
    flux = rng.normal(5, 1, (25, 300)).astype(np.float32)
    grid = 4000 + 2 * np.arange(300.0)
    if kind == "planes":
        path = write(
            tmp_path / "s.fits",
            image("FLUX", flux, BUNIT=UNIT),
            image("IVAR", flux**2),
            image("WAVE", grid, BUNIT="Angstrom"),
            AIRORVAC="air",
        )
    else:
        columns = {"NAME": [f"n{k}" for k in range(25)], "FLUX": flux, "IVAR": flux**2, "WAVE": np.tile(grid, (25, 1))}
        path = write(tmp_path / "s.fits", table_hdu("S", {"FLUX": UNIT, "WAVE": "Angstrom"}, {"AIRORVAC": "air"}, **columns))
    whole, rows = read(path)
    result = astrosurvey.run(pipeline(path, 10), out=tmp_path / "run")
    assert result.exit_code == 0, result.failures
    blocks = [result.read("read", "spectra", Spectra, tile) for tile in ("b0000", "b0001", "b0002")]
    assert [len(block) for block in blocks] == [10, 10, 5]
    assert np.array_equal(np.concatenate([block.flux for block in blocks]), whole.flux)
    assert all(np.array_equal(block.wave, whole.wave) for block in blocks)
    names = [result.read("read", "catalog", Catalog, tile).column("name") for tile in ("b0000", "b0001", "b0002")]
    assert np.concatenate(names).tolist() == rows.column("name").tolist()
    ids = np.concatenate([block.ids for block in blocks])
    assert len(np.unique(ids)) == 25


def test_blocks_need_a_stage_that_reads_them(tmp_path):
    path = write(tmp_path / "s.fits", primary=np.zeros((9, 9), np.float32))
    stages = {"read": {"use": "io.image", "path": str(path), "bands": ["r"]}}
    made = Pipeline.build({"astrosurvey": 1, "tiles": {"file": str(path)}, "stages": stages}, plugins.load(), base=tmp_path)
    with pytest.raises(PipelineError, match="no stage reads"):
        made.tiles()
