"""A survey's catalogue in partitions: the run, its report and comparisons are as with one file."""

from __future__ import annotations

import numpy as np
import pytest

import astrosurvey
from astrosurvey import Catalog
from astrosurvey.products.partitions import parquet_files
from astrosurvey.report.cluster_panels import Sources
from astrosurvey.report.comparison import compare_runs
from astrosurvey.report.tables import batches

STAGES = {
    "sim": {"use": "simulate.sky", "bands": ["r"], "seed": 3},
    "sky": {"use": "background.mesh", "in": "sim", "box": 32},
    "detect": {"use": "detection.segment", "in": "sky", "fwhm": 3.5},
    "kron": {"use": "photometry.kron", "in": ["sky", "detect"], "fwhm": 3.5},
}
TABLES = {"sources": "source", "photometry": "photometry"}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """The same survey twice: its catalogue as a file each, and in partitions."""
    found = []
    for name, more in (("file", {}), ("parts", {"partition_rows": 30})):
        merge = {"use": "catalog.merge", "in": "kron", **more}
        pipeline = {"astrosurvey": 1, "tiles": {"count": 4, "size": 150, "overlap": 20}, "stages": {**STAGES, "merge": merge}}
        folder = tmp_path_factory.mktemp(name) / "run"
        result = astrosurvey.run(pipeline, folder)
        assert result.exit_code == 0, result.failures
        found.append((pipeline, folder, result))
    return found


def stored(folder, port):
    return folder / "products" / "merge" / "survey" / f"{port}.parquet"


def test_a_run_publishes_the_same_rows(survey):
    (_, _, whole), (pipeline, folder, parts) = survey
    for port in TABLES:
        one, other = (result.read("merge", port, Catalog) for result in (whole, parts))
        assert len(other.cells) > 2
        assert repr(other.rows.to_pylist()) == repr(one.rows.to_pylist())
        assert parquet_files(stored(folder, port)) == other.files
    again = astrosurvey.run(pipeline, folder)
    assert again.exit_code == 0
    assert again.counts["merge", "cached"] == 1


def test_the_report_reads_the_same_columns(survey):
    one, other = (stored(folder, "sources") for _, folder, _ in survey)
    for name in ("source_id", "ra", "significance"):
        read = [np.concatenate([batch[name] for batch in batches(path, [name])]) for path in (one, other)]
        np.testing.assert_array_equal(*read)
    ids = Catalog.read(one).column("source_id")
    sources = [
        Sources.read({"sources": [stored(folder, "sources")], "photometry": [stored(folder, "photometry")]}, ids, ["significance"])
        for _, folder, _ in survey
    ]
    np.testing.assert_array_equal(sources[0].dec, sources[1].dec)
    np.testing.assert_array_equal(sources[0].others["significance"][0], sources[1].others["significance"][0])


def test_both_runs_compare(survey):
    (_, first, whole), (_, second, _) = survey
    found = compare_runs(first, second)
    assert found.matched == len(whole.read("merge", "sources", Catalog)) > 60
    assert found.only == (0, 0)
    assert all(flux.ratio == 1 for flux in found.fluxes)
