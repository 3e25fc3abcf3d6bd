"""Merge, evaluation and exports, over several tiles and over a merged catalogue."""

from __future__ import annotations

import re
import subprocess
from shutil import which

import numpy as np
import pytest

from astrosurvey.core.digests import digest_path
from astrosurvey.core.stage import DataError, NoWork, check_stage
from astrosurvey.core.tiles import Tile
from astrosurvey.products import Catalog
from astrosurvey.stages.background.stage import MeshBackground
from astrosurvey.stages.catalog.stage import MergeCatalogs
from astrosurvey.stages.detection.stage import SegmentDetection
from astrosurvey.stages.evaluate.stage import EvaluateDetection
from astrosurvey.stages.export.stage import ExportFits, ExportRegions, ExportVOTable, TablesConfig
from astrosurvey.stages.photometry.stage import AperturePhotometry, KronPhotometry

from .running import a_tile, cut_into_tiles, run, tiles_of
from .scenes import gaussians, grid, make_image

RMS = 5.0
SHAPE = (360, 360)
BANDS = ("g", "r")


def big_wcs():
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [0.0, -30.0]
    wcs.wcs.crpix = [180, 180]
    wcs.wcs.cdelt = [-0.25 / 3600, 0.25 / 3600]
    return wcs


@pytest.fixture(scope="module", params=["sky", "pixels"])
def survey(request):
    """Four overlapping tiles of one sky with their catalogues and truth, and what is in the sky."""
    rng = np.random.default_rng(5)
    x, y = grid(SHAPE, 24, rng)
    flux = 10 ** rng.uniform(1.4, 4.6, x.size)
    data = np.stack([gaussians(SHAPE, x, y, flux), gaussians(SHAPE, x, y, 2 * flux)]) + rng.normal(0, RMS, (2, *SHAPE))
    wcs = big_wcs() if request.param == "sky" else None
    ra, dec = wcs.pixel_to_world_values(x, y) if wcs else (np.full(x.size, np.nan),) * 2
    sources, photometry, truth = {}, {}, {}
    for tile in cut_into_tiles(SHAPE, 180, 30):
        window, core = tile.window, tile.core
        rows, columns = slice(window.y0, window.y1), slice(window.x0, window.x1)
        local = wcs[rows, columns] if wcs else None
        image = run(MeshBackground, tile=tile, image=make_image(data[:, rows, columns], RMS, bands=BANDS, wcs=local))["image"]
        found = run(SegmentDetection, tile=tile, image=image)
        measured = run(KronPhotometry, tile=tile, image=image, **found)
        measured = run(AperturePhotometry, {"radii": [2.5]}, tile=tile, image=image, **measured)
        sources[tile.name], photometry[tile.name] = measured["sources"], measured["photometry"]
        inside = (x > window.x0) & (x < window.x1 - 1) & (y > window.y0) & (y < window.y1 - 1)
        at = np.flatnonzero(np.repeat(inside, 2)) // 2
        own = (x[at] >= core.x0 - 0.5) & (x[at] < core.x1 - 0.5) & (y[at] >= core.y0 - 0.5) & (y[at] < core.y1 - 0.5)
        band = np.tile(BANDS, inside.sum()).astype(object)
        truth[tile.name] = Catalog.from_columns(
            "truth",
            {
                "truth_id": at, "band": band, "tile_id": tile.number, "object_type": "star", "x": x[at] - window.x0, "y": y[at] - window.y0,
                "ra": np.mod(ra[at], 360), "dec": dec[at], "flux": flux[at] * np.where(band == "r", 2, 1), "primary": own,
            },
            measured["sources"].meta,
        )  # fmt: skip
    return tiles_of(**sources), tiles_of(**photometry), tiles_of(**truth), (x, y, flux)


@pytest.fixture(scope="module")
def merged(survey):
    return run(MergeCatalogs, sources=survey[0], photometry=survey[1])


def test_merge_keeps_each_source_once(survey, merged):
    sources, _, _, (x, _, _) = survey
    everything = sum(len(catalog) for _, catalog in sources.items())
    assert len(merged["sources"]) < everything
    ids = merged["sources"].column("source_id")
    assert len(set(ids.tolist())) == len(ids)
    assert merged["sources"].column("primary").all()
    assert len(merged["photometry"]) == len(ids) * 2 * 2
    assert set(merged["photometry"].column("source_id").tolist()) == set(ids.tolist())
    assert sorted(merged["tiles"].column("name").tolist()) == sorted(sources.names)
    assert merged["tiles"].column("n_source").sum() == len(ids)
    assert 0.7 * x.size < len(ids) <= x.size + 3


def test_merge_without_photometry_has_none(survey):
    result = run(MergeCatalogs, sources=survey[0])
    assert len(result["photometry"]) == 0
    assert len(result["sources"]) > 0


def test_merge_in_partitions_is_the_same_catalogue(survey, merged, tmp_path):
    parts = run(MergeCatalogs, {"partition_rows": 300}, scratch=tmp_path, sources=survey[0], photometry=survey[1])
    for port in ("sources", "photometry"):
        assert len(parts[port].cells) > 1
        assert max(parts[port].cells.values()) <= 300
        assert repr(parts[port].rows.to_pylist()) == repr(merged[port].rows.to_pylist())
        assert parts[port].rows.schema.equals(merged[port].rows.schema, check_metadata=True)
    assert list(parts["sources"].cells) == list(parts["photometry"].cells)
    assert parts["tiles"].rows.equals(merged["tiles"].rows)
    for name, catalogs in (("whole", merged), ("parts", parts)):
        (tmp_path / name).mkdir()
        run(ExportFits, scratch=tmp_path / name, **{port: tiles_of(survey=catalogs[port]) for port in ("sources", "photometry")})
    assert (tmp_path / "whole" / "catalog.fits").read_bytes() == (tmp_path / "parts" / "catalog.fits").read_bytes()
    backwards = [type(tiles)(tiles.names[::-1], lambda name, tiles=tiles: tiles[tiles.names.index(name)]) for tiles in survey[:2]]
    (tmp_path / "again").mkdir()
    again = run(MergeCatalogs, {"partition_rows": 300}, scratch=tmp_path / "again", sources=backwards[0], photometry=backwards[1])
    for port in ("sources", "photometry"):
        assert digest_path(again[port].folder) == digest_path(parts[port].folder)


def test_merge_counts_an_empty_tile():
    image = make_image(np.zeros((1, 40, 40)), RMS)
    tiles = [a_tile(name, number) for name, number in (("a", 1), ("b", 2))]
    empty = {tile.name: run(SegmentDetection, tile=tile, image=image)["sources"] for tile in tiles}
    result = run(MergeCatalogs, sources=tiles_of(**empty))
    assert len(result["sources"]) == 0
    assert result["tiles"].column("n_source").tolist() == [0, 0]


def test_merge_needs_tiles_that_say_who_they_are():
    with pytest.raises(NoWork):
        run(MergeCatalogs, sources=tiles_of())
    with pytest.raises(DataError, match="which tile"):
        run(MergeCatalogs, sources=tiles_of(a=Catalog.empty("source")))


def test_evaluation_is_the_same_over_tiles_and_merged(survey, merged):
    sources, photometry, truth, (x, _, _) = survey
    tiled = run(EvaluateDetection, sources=sources, truth=truth, photometry=photometry)["metrics"]
    once = run(
        EvaluateDetection, sources=tiles_of(survey=merged["sources"]), truth=truth, photometry=tiles_of(survey=merged["photometry"])
    )["metrics"]
    for metrics in (tiled, once):
        assert metrics["n_truth"].value == x.size
        assert metrics["purity"].value > 0.98
        assert 0.7 < metrics["completeness"].value < 0.99
        assert metrics["chance_match_fraction"].value < 0.2
        assert abs(metrics["flux_bias.kron.r"].value) < 0.02
        assert metrics["flux_pull.kron.r"].value == pytest.approx(1, abs=0.35)
        curve = metrics.curves["completeness by magnitude, r"]
        assert curve["completeness"][0] == 1
        assert curve["completeness"][-1] < 0.9
        assert curve["magnitude_min"] == sorted(curve["magnitude_min"])
        assert sum(curve["n"]) == x.size
        assert all(low <= p <= high for low, p, high in zip(curve["low"], curve["completeness"], curve["high"], strict=True))
    assert once["n_matched"].value == pytest.approx(tiled["n_matched"].value, abs=3)
    assert once["completeness"].value == pytest.approx(tiled["completeness"].value, abs=0.01)


def test_evaluation_scatter_is_small_and_in_its_unit(survey):
    sources, _, truth, _ = survey
    metrics = run(EvaluateDetection, sources=sources, truth=truth)["metrics"]
    on_sky = np.isfinite(sources[0].column("ra")).all()
    axis, unit, size = ("ra", "arcsec", 0.25) if on_sky else ("x", "pixel", 1.0)
    assert metrics[f"position_scatter.{axis}"].unit == unit
    assert 0 < metrics[f"position_scatter.{axis}"].value < 0.4 * size
    assert abs(metrics[f"position_offset.{axis}"].value) < 0.05 * size


def test_bars_are_held(survey):
    sources, photometry, truth, _ = survey
    settings = {"min_completeness": 0.99, "min_purity": 0.5, "magnitude_limit": 22.0, "band": "r", "max_flux_bias": 0.05}
    metrics = run(EvaluateDetection, settings, sources=sources, truth=truth, photometry=photometry)["metrics"]
    assert metrics["completeness"].passed
    assert metrics["purity"].passed
    assert metrics["flux_bias_size.kron.g"].passed
    all_of_it = run(EvaluateDetection, {"min_completeness": 1.0}, sources=sources, truth=truth)["metrics"]
    assert all_of_it["completeness"].passed is False


def test_evaluation_of_nothing(survey):
    sources, photometry, truth, _ = survey
    nobody = tiles_of(a=Catalog.empty("source", sources[0].meta))
    metrics = run(EvaluateDetection, sources=nobody, truth=truth)["metrics"]
    assert metrics["completeness"].value == 0
    assert np.isnan(metrics["purity"].value)
    no_truth = tiles_of(a=Catalog.empty("truth", sources[0].meta))
    metrics = run(EvaluateDetection, sources=sources, truth=no_truth, photometry=photometry)["metrics"]
    assert metrics["purity"].value == 0
    with pytest.raises(DataError, match="no band 'z'"):
        run(EvaluateDetection, {"band": "z"}, sources=sources, truth=truth)


def test_arcsec_needs_the_sky(survey):
    sources, _, truth, _ = survey
    if np.isfinite(sources[0].column("ra")).all():
        metrics = run(EvaluateDetection, {"radius": 0.75, "unit": "arcsec"}, sources=sources, truth=truth)["metrics"]
        pixels = run(EvaluateDetection, {"radius": 3.0}, sources=sources, truth=truth)["metrics"]
        assert metrics["n_matched"].value == pixels["n_matched"].value
    else:
        with pytest.raises(DataError, match="unit: pixel"):
            run(EvaluateDetection, {"unit": "arcsec"}, sources=sources, truth=truth)


@pytest.mark.parametrize("layout", ["tables", "wide"])
def test_fits_reads_back_and_verifies(survey, merged, layout, tmp_path):
    from astropy.io import fits

    inputs = {"sources": tiles_of(survey=merged["sources"]), "photometry": tiles_of(survey=merged["photometry"])}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(ExportFits, {"layout": layout}, scratch=tmp_path / name, **inputs)
    path = tmp_path / "a" / "catalog.fits"
    assert path.read_bytes() == (tmp_path / "b" / "catalog.fits").read_bytes()
    with fits.open(path, checksum=True) as file:
        assert [hdu.name for hdu in file[1:]] == (["SOURCE", "PHOTOMETRY"] if layout == "tables" else ["SOURCE"])
        table = file["SOURCE"]
        np.testing.assert_array_equal(table.data["source_id"], merged["sources"].column("source_id"))
        np.testing.assert_array_equal(table.data["ra"], merged["sources"].column("ra"))
        by_name = {table.header[f"TTYPE{n}"]: n for n in range(1, table.header["TFIELDS"] + 1)}
        assert table.header[f"TUNIT{by_name['ra']}"] == "deg"
        assert table.header[f"TUCD{by_name['ra']}"].startswith("pos.eq.ra")
        if layout == "wide":
            photometry = merged["photometry"]
            here = (photometry.column("band") == "r") & (photometry.column("method") == "kron")
            flux = dict(zip(photometry.column("source_id")[here].tolist(), photometry.column("flux")[here].tolist(), strict=True))
            np.testing.assert_array_equal(table.data["r_kron_flux"], [flux[i] for i in table.data["source_id"].tolist()])
            assert "g_aperture_2_5_flux_err" in by_name
    verify(path)


def verify(path) -> None:
    """Ask HEASARC's fitsverify, where there is one."""
    if which("fitsverify") is None:
        return
    told = subprocess.run(["fitsverify", str(path)], capture_output=True, text=True, check=False).stdout
    assert re.search(r"found 0 warning\(s\) and 0 error\(s\)", told), told


@pytest.mark.parametrize("layout", ["tables", "wide"])
def test_votable_reads_back_and_validates(survey, merged, layout, tmp_path):
    from astropy.io import votable

    inputs = {"sources": tiles_of(survey=merged["sources"]), "photometry": tiles_of(survey=merged["photometry"])}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(ExportVOTable, {"layout": layout}, scratch=tmp_path / name, **inputs)
    path = tmp_path / "a" / "catalog.vot"
    assert path.read_bytes() == (tmp_path / "b" / "catalog.vot").read_bytes()
    with open(tmp_path / "report.txt", "w") as report:
        assert votable.validate(str(path), report), (tmp_path / "report.txt").read_text()
    document = votable.parse(str(path), verify="exception")
    source = document.get_table_by_id("source")
    np.testing.assert_array_equal(source.array["source_id"].data, merged["sources"].column("source_id"))
    field = source.get_field_by_id_or_name("ra")
    assert str(field.unit) == "deg"
    assert field.ucd.startswith("pos.eq.ra")
    assert source.array["parent_source_id"].mask.all()
    assert len(list(document.iter_tables())) == (2 if layout == "tables" else 1)


def test_regions_name_every_source_where_it_is(survey, merged, tmp_path):
    sources, *_ = survey
    on_sky = np.isfinite(sources[0].column("ra")).all()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(ExportRegions, {"labels": True}, scratch=tmp_path / name, sources=sources)
    files = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert files == (["sources.reg"] if on_sky else [f"{name}.reg" for name in sorted(sources.names)])
    count = 0
    for file in files:
        text = (tmp_path / "a" / file).read_text()
        assert text == (tmp_path / "b" / file).read_text()
        lines = text.splitlines()
        assert lines[2] == ("icrs" if on_sky else "image")
        assert all(re.fullmatch(r'circle\(-?[\d.]+,-?[\d.]+,[\d.]+"?\) # text=\{\d+\}', line) for line in lines[3:])
        count += len(lines) - 3
    assert count == sum(len(catalog) for _, catalog in sources.items())
    if not on_sky:
        first = (tmp_path / "a" / files[0]).read_text().splitlines()[3]
        assert float(first[len("circle(") :].split(",")[0]) == pytest.approx(sources[0].column("x")[0] + 1, abs=1e-3)
    again = tmp_path / "merged"
    again.mkdir()
    run(ExportRegions, scratch=again, sources=tiles_of(survey=merged["sources"]))
    lines = [line for file in (again).iterdir() for line in file.read_text().splitlines() if line.startswith("circle")]
    assert len(lines) == len(merged["sources"])


@pytest.mark.parametrize("stage", [ExportFits, ExportVOTable])
def test_exports_of_tables_share_their_settings_and_keep_their_names(stage):
    check_stage(stage)
    fields, shared = stage.Config.model_fields, TablesConfig.model_fields
    assert {name: (field.annotation, field.description) for name, field in fields.items()} == {
        name: (field.annotation, field.description) for name, field in shared.items()
    }
    assert f"`{stage.name}`" in stage.Config.__doc__


def test_exports_of_nothing(tmp_path):
    empty = tiles_of(a=Catalog.empty("source"), b=Catalog.empty("source"))
    for stage, name in ((ExportFits, "catalog.fits"), (ExportVOTable, "catalog.vot"), (ExportRegions, "sources.reg")):
        folder = tmp_path / name
        folder.mkdir()
        assert (run(stage, scratch=folder, sources=empty)["files"].folder / name).exists()
        with pytest.raises(NoWork):
            run(stage, sources=tiles_of())
    verify(tmp_path / "catalog.fits" / "catalog.fits")
    for stage in (ExportFits, ExportVOTable):
        with pytest.raises(DataError, match="nothing to export"):
            run(stage)
        with pytest.raises(DataError, match="layout: tables"):
            run(stage, {"layout": "wide"}, sources=empty)


def test_anomalies_are_written_beside_classes(tmp_path):
    from astropy.io import fits

    fixed = {"object_table": "spectrum", "object_id": [1, 2], "flags": 0, "probability": 0.5}
    classes, anomalies = (
        Catalog.from_columns("classification", {**fixed, "classifier": name, "label": label})
        for name, label in (("net/coarse", "star"), ("spectra.anomaly", "unknown"))
    )
    run(ExportFits, scratch=tmp_path, classes=tiles_of(a=classes), anomalies=tiles_of(a=anomalies))
    with fits.open(tmp_path / "catalog.fits") as file:
        assert len(file) == 2
        assert file[1].data["classifier"].tolist() == ["net/coarse"] * 2 + ["spectra.anomaly"] * 2


def test_strange_text_stays_text(tmp_path):
    """Names from headers and plugins must not turn into markup, formulas or regions."""
    from astropy.io import fits, votable

    evil = ['=cmd|"/c calc"!A1', "</TD><script>", "é\x00\x1b]", "circle(1,2,3)"]
    n = len(evil)
    columns = dict.fromkeys(("x", "y", "x_min", "y_min", "flags", "n_child"), 1) | dict.fromkeys(("x_max", "y_max", "n_pixels"), 2)
    rows = Catalog.from_columns(
        "source", {**columns, "source_id": np.arange(n), "tile_id": 1, "significance": 5.0, "primary": True, "x_evil_name": evil}
    )
    for stage in (ExportFits, ExportVOTable, ExportRegions):
        (tmp_path / stage.name).mkdir()
        run(stage, scratch=tmp_path / stage.name, sources=tiles_of(a=rows))
    with fits.open(tmp_path / "export.fits" / "catalog.fits") as file:
        assert file[1].data["x_evil_name"].tolist() == [*evil[:2], r"\xe9\x00\x1b]", evil[3]]
    verify(tmp_path / "export.fits" / "catalog.fits")
    parsed = votable.parse_single_table(str(tmp_path / "export.votable" / "catalog.vot"))
    assert parsed.array["x_evil_name"].tolist() == [*evil[:2], "é\\x00\\x1b]", evil[3]]
    region = (tmp_path / "export.regions" / "a.reg").read_text().splitlines()
    assert [line for line in region[3:] if line != "circle(2.000,2.000,0.80)"] == []


def test_tiles_of_their_own_files_do_not_meet():
    """Two tiles without a common frame have equal pixels; their objects must not be matched across."""
    tiles = {name: Tile(name, number, number) for name, number in (("a", 1), ("b", 2))}
    image = {
        name: make_image(gaussians((60, 60), np.array([30.0]), np.array([30.0]), np.array([5000.0])) * (name == "a"), RMS) for name in tiles
    }
    sources = {name: run(SegmentDetection, tile=tile, image=image[name])["sources"] for name, tile in tiles.items()}
    fixed = {"object_type": "star", "x": [30.0], "y": [30.0], "ra": np.nan, "dec": np.nan, "flux": 5000.0, "primary": True, "band": "g"}
    truth = {
        name: Catalog.from_columns("truth", {**fixed, "truth_id": [tile.number], "tile_id": tile.number}, sources[name].meta)
        for name, tile in tiles.items()
    }
    metrics = run(EvaluateDetection, sources=tiles_of(**sources), truth=tiles_of(**truth))["metrics"]
    assert metrics["n_truth"].value == 2
    assert metrics["n_matched"].value == 1
    assert metrics["purity"].value == 1
