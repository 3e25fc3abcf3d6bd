"""Two runs compared, and the commands `report` and `compare`."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from astrosurvey.products import Catalog
from astrosurvey.report.comparison import CannotCompare, compare_runs
from astrosurvey.report.comparison_page import write_comparison

from . import browser, runs


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The same field with fluxes 2 % brighter, positions 0.5 pixels off, one setting changed and one tile missing a source."""
    root = runs.field(tmp_path_factory.mktemp("other") / "run", flux_scale=1.02, dx=0.5)
    stages = {**runs.STAGES, "sky": {**runs.STAGES["sky"], "box": 32}}
    runs.write_about(root, stages)
    source, photometry, _ = runs.catalogues(0, flux_scale=1.02, dx=0.5)
    kept = Catalog("source", source.rows.slice(1))
    runs.put(root, "measure", "t0", {"sources": kept, "photometry": photometry}, identity=runs.window(0))
    return root


def test_sources_positions_fluxes_and_settings(field, other):
    found = compare_runs(field, other)
    n = 2 * (runs.SOURCES - 1)
    assert found.counts == (n, n - 1)
    assert found.matched == n - 1
    assert found.only == (1, 0)
    assert found.unit == "arcsec"
    east, north = found.positions
    assert east.median == pytest.approx(-0.1, abs=1e-3)
    assert abs(north.median) < 1e-3
    kron = next(f for f in found.fluxes if (f.band, f.method) == ("r", "kron"))
    assert kron.ratio == pytest.approx(1.02)
    assert kron.scatter < 1e-9
    assert kron.number == n - 1 - 2  # two have no flux
    assert [(d.key, d.first, d.second) for d in found.settings] == [("stages.sky.box", "—", "32")]
    assert found.lonely[0].tolist() == [120.0]


def test_run_equals_itself(field):
    found = compare_runs(field, field)
    assert found.only == (0, 0)
    assert found.settings == []
    assert all(f.ratio == 1 and f.scatter == 0 and f.pull == 0 for f in found.fluxes)
    assert all(p.median == 0 and p.scatter == 0 for p in found.positions)


def test_radius_counts(field, other):
    assert compare_runs(field, other, radius=0.05).matched == 0


def test_without_sky_positions_pixels_of_the_same_tile_are_matched(field, tmp_path):
    roots = []
    for name, dx in (("a", 0.0), ("b", 0.5)):
        roots.append(runs.field(tmp_path / name, dx=dx))
        for tile in (0, 1):
            source, photometry, _ = runs.catalogues(tile, dx=dx)
            blind = Catalog("source", source.rows.drop_columns(["ra", "dec"]))
            plain = Catalog.from_columns("source", {c: blind.rows.column(c) for c in blind.rows.column_names})
            runs.put(roots[-1], "measure", f"t{tile}", {"sources": plain, "photometry": photometry}, identity=runs.window(tile))
    found = compare_runs(*roots)
    assert found.unit == "pixel"
    assert found.only == (0, 0)
    assert found.positions[0].name == "x"
    assert found.positions[0].median == pytest.approx(0.5)


def test_nothing_to_compare(field, tmp_path):
    runs.write_about(tmp_path, {})
    with pytest.raises(CannotCompare, match="has no source catalogue"):
        compare_runs(field, tmp_path)


def test_catalogues_without_rows(tmp_path):
    roots = []
    for name in "ab":
        root = tmp_path / name
        runs.write_about(root, {"measure": {"use": "photometry.kron"}})
        runs.put(root, "measure", "t0", {"sources": Catalog.empty("source"), "photometry": Catalog.empty("photometry")})
        roots.append(root)
    found = compare_runs(*roots)
    assert found.matched == 0
    assert found.fluxes == []
    assert "0 sources in both runs" in write_comparison(found, tmp_path / "c.html").read_text()


def test_page(field, other, tmp_path):
    path = write_comparison(compare_runs(field, other), tmp_path / "new" / "compare.html")
    loaded = browser.load(path)
    assert loaded.console == []
    assert 'data-ready="true"' in loaded.root
    assert "data-error" not in loaded.root
    assert "stages.sky.box" in loaded.dom
    assert "1.02" in loaded.dom
    assert loaded.dom.count('<img src="data:image/jpeg') == 4


def test_report_command(command_here, field, tmp_path):
    root = shutil.copytree(field, tmp_path / "copy")
    done = command_here("report", root, "--json")
    assert done.returncode == 0, done.stderr
    page = root / "report" / "index.html"
    assert json.loads(done.stdout) == {"report": str(page), "bytes": page.stat().st_size}
    assert f"report: {page}" in command_here("report", root).stdout


def test_report_command_refuses_other_folders(command_here, tmp_path):
    done = command_here("report", tmp_path)
    assert done.returncode == 2
    assert "is no run directory" in done.stderr
    assert not (tmp_path / "report").exists()


def test_compare_command(command_here, field, other, tmp_path):
    said = command_here("compare", field, other, "--out", tmp_path / "c.html")
    assert said.returncode == 0, said.stderr
    assert "stages.sky.box: — → 32" in said.stdout
    assert "only in the first 1, in the second 0" in said.stdout
    assert (tmp_path / "c.html").is_file()
    values = json.loads(command_here("compare", field, other, "--json").stdout)
    assert values["matched"] == 2 * (runs.SOURCES - 1) - 1
    np.testing.assert_allclose([f["ratio"] for f in values["fluxes"]], 1.02, rtol=1e-6)


def test_compare_command_says_what_is_missing(command_here, field, tmp_path):
    done = command_here("compare", field, tmp_path)
    assert done.returncode == 2
    assert "has no source catalogue" in done.stderr


@pytest.mark.parametrize("name", ["sources", "photometry"])
@pytest.mark.parametrize("damage", [b"this is no catalogue", None, "cut"])
def test_compare_command_names_a_catalogue_that_cannot_be_read(command_here, field, tmp_path, name, damage):
    root = shutil.copytree(field, tmp_path / "copy")
    path = root / "products" / "measure" / "t1" / f"{name}.parquet"
    if damage is None:
        path.unlink()
    else:
        whole = path.read_bytes()
        # The footer stands, the pages before it do not.
        path.write_bytes(b"PAR1" + b"\xff" * 2000 + whole[2004:] if damage == "cut" else damage)
    done = command_here("compare", field, root)
    assert done.returncode == 2, done.stderr
    assert f"{path} cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
