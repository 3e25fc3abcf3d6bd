"""io.catalog: every format gives the same sources, and what is wrong with a file is said in one line."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from pydantic import ValidationError

from astrosurvey import Tiles
from astrosurvey.catalog.flags import SOURCE
from astrosurvey.core.stage import DataError, NoWork
from astrosurvey.stages.clustering.features import FeatureConfig, points_of
from astrosurvey.stages.export.stage import ExportFits, ExportVOTable
from astrosurvey.stages.io.catalog import text
from astrosurvey.stages.io.catalog.stage import ReadCatalog

from ..running import a_tile, run


def table():
    """Return six stars with a place across the seam, a missing parallax, a large id and a text."""
    parallax = MaskedColumn([1.5, 2.5, 0.0, 4.5, 5.5, 6.5], mask=[0, 0, 1, 0, 0, 0], unit="mas", description="distance, nearly")
    return Table(
        {
            "Source": np.arange(6) + 4_295_806_720_000_000_000,
            "RA_ICRS": [359.5, 0.5, 10.0, 20.0, 30.0, 40.0],
            "DE_ICRS": [-1.0, 2.5, 45.0, -89.5, 0.0, 12.25],
            "Plx": parallax,
            "pmRA": MaskedColumn(np.arange(6, dtype=np.float32), unit="mas/yr"),
            "Nobs": np.arange(6, dtype=np.int16),
            "Cluster": ["Hyades", "field", "Hyades", "", "Pleiades", "field"],
        }
    )


def written(folder: Path, name: str) -> Path:
    stars, path = table(), folder / name
    if name.endswith(".parquet"):
        columns = {n: pa.array(np.asarray(stars[n]), mask=getattr(stars[n], "mask", None)) for n in stars.colnames}
        fields = [pa.field(n, columns[n].type, metadata={"unit": str(stars[n].unit or "")}) for n in columns]
        pq.write_table(pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields)), path, row_group_size=2)
    elif name.endswith(".gz"):
        plain = written(folder, name.removesuffix(".gz"))
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        formats = {
            ".csv": "csv",
            ".ecsv": "ascii.ecsv",
            ".fits": "fits",
            ".vot": "votable",
            ".tsv": "ascii.tab",
            ".txt": "ascii.commented_header",
        }
        stars.write(path, format=formats[path.suffix])
    return path


def read(path, tile=None, **settings):
    return run(ReadCatalog, {"path": str(path), **settings}, tile=tile or a_tile())["sources"]


FORMATS = ["s.csv", "s.csv.gz", "s.ecsv", "s.fits", "s.fits.gz", "s.vot", "s.vot.gz", "s.parquet", "s.tsv", "s.txt"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_sources(name, tmp_path):
    units = {} if Path(name).suffixes[0] in (".ecsv", ".fits", ".vot", ".parquet") else {"Plx": "mas", "pmRA": "mas/yr"}
    missing = ["--", '""'] if name == "s.txt" else []
    found = read(written(tmp_path, name), id="source", extra=["plx", "PMRA", "Nobs", "Cluster"], units=units, missing=missing)
    assert found.column("source_id").tolist() == [(7 << 27) + k for k in range(6)]
    assert np.allclose(found.column("ra"), table()["RA_ICRS"])
    assert np.allclose(found.column("dec"), table()["DE_ICRS"])
    assert found.column("x_catalog_source").tolist() == table()["Source"].tolist()
    assert found.rows.column("x_catalog_plx").to_pylist() == [1.5, 2.5, None, 4.5, 5.5, 6.5]
    assert found.column("x_catalog_pmra").tolist() == [0, 1, 2, 3, 4, 5]
    assert found.rows.column("x_catalog_cluster").to_pylist() == ["Hyades", "field", "Hyades", None, "Pleiades", "field"]
    metadata = found.rows.schema.field("x_catalog_pmra").metadata
    assert metadata[b"unit"] == b"mas.yr**-1"
    assert not found.column("flags").any()
    assert found.meta["tile"]["tile_id"] == 7
    points = points_of(found, FeatureConfig(columns=["ra", "dec", "plx", "pmra"]), logging.getLogger("test"))
    assert points.rows.tolist() == [0, 1, 3, 4, 5]


def test_all_columns_of_numbers_are_kept_when_none_are_named(tmp_path):
    found = read(written(tmp_path, "s.fits"))
    kept = [name for name in found.rows.column_names if name.startswith("x_catalog_")]
    assert kept == ["x_catalog_source", "x_catalog_plx", "x_catalog_pmra", "x_catalog_nobs"]
    assert found.rows.schema.field("x_catalog_nobs").type == pa.int64()


def test_units_and_descriptions_survive_storing_replacing_and_export(tmp_path):
    found = read(written(tmp_path, "s.ecsv"))
    found = found.replace(significance=np.full(6, 3.0))
    found.write(tmp_path / "s.parquet")
    again = type(found).read(tmp_path / "s.parquet")
    described = again.to_astropy()["x_catalog_plx"]
    assert str(described.unit) == "mas"
    assert described.description == "distance, nearly"
    ports = {**dict.fromkeys(ExportFits.inputs), "sources": Tiles(["t"], lambda name: again)}
    (tmp_path / "fits").mkdir()
    run(ExportFits, scratch=tmp_path / "fits", **ports)
    with fits.open(tmp_path / "fits" / "catalog.fits") as hdus:
        columns = hdus["SOURCE"].columns
        assert columns["x_catalog_plx"].unit == "mas"
        assert hdus["SOURCE"].data["x_catalog_source"][0] == table()["Source"][0]
    (tmp_path / "vot").mkdir()
    run(ExportVOTable, scratch=tmp_path / "vot", **ports)
    assert str(Table.read(tmp_path / "vot" / "catalog.vot", format="votable")["x_catalog_pmra"].unit) == "mas / yr"


def test_a_file_can_be_read_in_blocks_and_a_row_keeps_its_place(tmp_path):
    for name in ("s.parquet", "s.fits"):
        path = written(tmp_path, name)
        assert ReadCatalog.count_rows(ReadCatalog.Config(), str(path)) == 6
        found = read(path, a_tile("b1", 9, rows=(3, 7)))
        assert found.column("x_catalog_nobs").tolist() == [3, 4, 5]
        assert found.column("source_id").tolist() == [(9 << 27) + k for k in range(3)]
        with pytest.raises(NoWork, match="no rows here"):
            read(path, a_tile("b2", 9, rows=(6, 9)))
    assert ReadCatalog.count_rows(ReadCatalog.Config(), str(written(tmp_path, "s.csv"))) is None


def test_positions_go_round_and_rows_without_one_are_flagged(tmp_path, caplog):
    path = tmp_path / "s.csv"
    path.write_text("name,ra,dec,v\na,-10,5,-99\nb,370,,1\nc,nan,3,-99.0\nd,360,NULL,x\n")
    found = read(path, missing=[-99, "x"])
    assert found.column("ra")[0] == 350
    assert np.isnan(found.column("ra")[1:]).all()
    assert np.isnan(found.column("dec")[1:]).all()
    assert [SOURCE.decode(int(bits)) for bits in found.column("flags")] == [[], *[["NO_SKY_POSITION"]] * 3]
    assert "3 of 4 rows have no position" in caplog.text
    assert found.rows.column("x_catalog_v").to_pylist() == [None, 1, None, None]
    path.write_text("GLON,GLAT\n1,2\n")
    assert read(path).rows.column("ra").null_count == 1
    assert "if GLON and GLAT are galactic, write `columns: {l: GLON, b: GLAT}`" in caplog.text
    path.write_text("lon,lat\n1,2\n")
    assert "NO_SKY_POSITION" in SOURCE.decode(int(read(path).column("flags")[0]))
    assert "no columns for a position on the sky are known; name them as in `columns: {ra: …, dec: …}`, among lon, lat" in caplog.text


@pytest.mark.parametrize("kind", [pa.uint8(), pa.int8(), pa.int64(), pa.float32()])
def test_a_marker_that_a_column_cannot_hold_is_none_of_its_values(tmp_path, kind):
    pq.write_table(pa.table({"n": pa.array([1, 99, 3], kind)}), tmp_path / "s.parquet")
    found = read(tmp_path / "s.parquet", missing=[-99, 99, 99.5, 1e30])
    assert found.rows.column("x_catalog_n").to_pylist() == [1, None, 3]


def test_a_wrong_declination_is_named_by_its_row_of_the_file(tmp_path):
    pq.write_table(pa.table({"k": [0, 0, 1, 2, 3], "ra": [1.0] * 5, "dec": [0.0, 0, 0, 0, 91]}), tmp_path / "s.parquet")
    with pytest.raises(DataError, match="row 4 has the declination 91"):
        read(tmp_path / "s.parquet", id="k", duplicates="first")
    with pytest.raises(DataError, match="row 4 has the declination 91"):
        read(tmp_path / "s.parquet", a_tile("b1", 9, rows=(3, 5)))


VIZIER = """#Name: I/355/gaiadr3
#Title: a table of VizieR's

_RAJ2000;_DEJ2000;Plx;Name
deg;deg;mas;
----------;----------;-----;----
10.5;-3.25; 1.25;a
359;89; ;b
"""


def test_a_table_of_vizier_brings_its_units(tmp_path):
    for content in (VIZIER, VIZIER.replace(";", "\t")):
        (tmp_path / "asu.tsv").write_text(content)
        found = read(tmp_path / "asu.tsv", extra=["Plx", "Name"])
        assert found.column("ra").tolist() == [10.5, 359]
        assert found.rows.column("x_catalog_plx").to_pylist() == [1.25, None]
        assert found.rows.schema.field("x_catalog_plx").metadata[b"unit"] == b"mas"
        assert found.rows.column("x_catalog_name").to_pylist() == ["a", "b"]


def test_names_may_stand_in_a_comment(tmp_path):
    for content in ("# ra,dec,v\n1,2,3\n4,5,6\n", "# ra dec v\n1 2 3\n4 5 6\n", "# a survey\nra,dec,v\n1,2,3\n4,5,6\n"):
        (tmp_path / "s.txt").write_text(content)
        assert read(tmp_path / "s.txt").column("x_catalog_v").tolist() == [3, 6]


def test_angles_come_in_any_unit(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("alpha,delta\n6,0.5\n")
    found = read(path, columns={"ra": "alpha", "dec": "delta"}, units={"alpha": "hourangle", "delta": "rad"})
    assert np.isclose(found.column("ra")[0], 90)
    assert np.isclose(found.column("dec")[0], np.degrees(0.5))


SKY = SkyCoord([10.684708, 266.41681663, 1.0, 359.99999], [41.26875, -29.00782497, -0.25, 89.5], unit="deg")


def test_galactic_coordinates_become_equatorial_ones(tmp_path):
    path = tmp_path / "s.ecsv"
    Table({"GLON": [*SKY.galactic.l.deg, np.nan], "GLAT": [*SKY.galactic.b.deg, 1.0]}).write(path)
    found = read(path, columns={"l": "glon", "b": "GLAT"})
    np.testing.assert_allclose(found.column("ra"), [*SKY.ra.deg, np.nan], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.column("dec"), [*SKY.dec.deg, np.nan], rtol=0, atol=1e-9)
    assert [name for name in found.rows.column_names if name.startswith("x_catalog")] == []


@pytest.mark.parametrize(("separator", "name"), [(":", "s.csv"), (" ", "s.fits"), (None, "s.ecsv")])
def test_sexagesimal_angles_are_read_where_their_unit_says_so(separator, name, tmp_path):
    style = {} if separator is None else {"sep": separator}
    ra = [SKY.ra.to_string("hourangle", precision=4, pad=True, **style)[k] for k in range(4)]
    dec = [SKY.dec.to_string("deg", precision=3, alwayssign=True, pad=True, **style)[k] for k in range(4)]
    Table({"RAJ2000": [*ra, ""], "DEJ2000": [*dec, ""]}).write(tmp_path / name)
    found = read(tmp_path / name, units={"RAJ2000": "h:m:s", "DEJ2000": '"d:m:s"'})
    np.testing.assert_allclose(found.column("ra"), [*SKY.ra.deg, np.nan], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.column("dec"), [*SKY.dec.deg, np.nan], rtol=0, atol=1e-6)


def test_vizier_says_itself_that_angles_are_sexagesimal(tmp_path):
    lines = ["RAJ2000;DEJ2000;Plx", '"h:m:s";"d:m:s";mas', "--------;--------;---", "10 30 00;-00 30 00;1", "10 30;+12 06.5;2"]
    (tmp_path / "asu.tsv").write_text("\n".join(lines))
    found = read(tmp_path / "asu.tsv")
    np.testing.assert_allclose(found.column("ra"), 157.5)
    np.testing.assert_allclose(found.column("dec"), [-0.5, 12 + 6.5 / 60])
    (tmp_path / "times.csv").write_text("ra,dec\n10:30:00,12:15:00\n")  # which look like times of day
    found = read(tmp_path / "times.csv", units={"ra": "h:m:s", "dec": "d:m:s"})
    assert (found.column("ra")[0], found.column("dec")[0]) == (157.5, 12.25)


def test_pixels_may_come_from_the_file(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("X,Y,snr\n10.25,3.75,7\n-1.5,0,8\n")
    found = read(path, columns={"x": "X", "y": "Y", "significance": "snr"})
    assert found.column("x").tolist() == [10.25, -1.5]
    assert found.column("x_min").tolist() == [10, -1]
    assert found.column("y_max").tolist() == [5, 1]
    assert found.column("significance").tolist() == [7, 8]


def test_duplicates_are_refused_or_left_out(tmp_path, caplog):
    path = tmp_path / "s.csv"
    path.write_text("id,ra,dec\n1,10,0\n2,11,0\n1,12,0\n,13,0\n,14,0\n2,15,0\n")
    with pytest.raises(DataError, match="has 2 rows whose `id` was there before, such as 1; try: set `duplicates: first`"):
        read(path, id="id")
    found = read(path, id="id", duplicates="first")
    assert found.column("ra").tolist() == [10, 11, 13, 14]
    assert (found.column("source_id") - (7 << 27)).tolist() == [0, 1, 3, 4]
    assert "2 rows whose id was there before are left out" in caplog.text
    assert len(read(path)) == 6


WRONG = [
    ("ra,dec\n10,95\n", {}, "row 0 has the declination 95"),
    ("ra,dec\n10,5\n", {"columns": {"ra": "rra", "dec": "dec"}}, "no column 'rra' for `columns.ra`; did you mean 'ra'"),
    ("ra,dec\n10,5\n", {"extra": ["plx"]}, "no column 'plx' for `extra`"),
    ("ra,dec\n10,5\n", {"units": {"plx": "mas"}}, "no column 'plx' for `units`"),
    ("ra,dec,v\n10,5,1\n", {"units": {"v": "furlongs per fortnight"}}, "is unknown"),
    ("ra,dec\n10,5\n", {"units": {"ra": "km"}}, "which is no angle"),
    ("ra,dec\n10:00:00,5\n", {}, "holds texts such as '10:00:00'; try: give numbers, or write `units: {ra: h:m:s}`"),
    ("ra,dec\n10:00:00,5:61:00\n", {"units": {"ra": "h:m:s", "dec": "d:m:s"}}, "'5:61:00', which is no sexagesimal angle"),
    ("ra,dec\n1h,5\n", {"units": {"ra": "h:m:s"}}, "'1h', which is no sexagesimal angle"),
    ("ra,dec\nfalse,5\n", {}, "holds bool"),
    ("lon,lat\n10,95\n", {"columns": {"l": "lon", "b": "lat"}}, "row 0 has the galactic latitude 95; try: set `columns.b`"),
    ("ra,ra\n10,5\n", {}, "two columns 'ra'"),
    ("v,V\n10,5\n", {}, "two columns that would be called x_catalog_v"),
    ("10,5\n11,6\n", {}, "no line with the names"),
    ("ra,dec\n10,5\n11\n", {}, "no sound table"),
    ("ra,dec\n", {}, "has no rows here"),
    ("<html><body>no</body></html>", {}, "HTML page"),
    ("<?xml version='1.0'?><VOTABLE><oops>", {}, "no sound VOTable"),
    ("\0\1\2\3" * 50, {}, "binary, but neither"),
    ("PAR1 and nothing more", {}, "no sound Parquet file"),
    ("ra,dec,day\n10,5,2020-01-01\n", {"extra": ["day"]}, "'day' holds dates or times; try: give the MJD"),
    ("x,y\n1,\n", {"columns": {"x": "x", "y": "y"}}, "rows without `x` or `y`"),
]


@pytest.mark.parametrize(("content", "settings", "message"), WRONG)
def test_what_is_wrong_is_said_in_one_line(content, settings, message, tmp_path):
    path = tmp_path / "wrong.dat"
    path.write_text(content)
    with pytest.raises((DataError, NoWork), match=message) as caught:
        read(path, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["s.fits", "s.vot", "s.ecsv", "s.parquet"])
def test_columns_of_arrays_are_left_out_and_refused_where_they_are_named(name, tmp_path):
    path = tmp_path / name
    columns = {"ra": [1.0, 2.0], "dec": [3.0, 4.0], "Mags": [[1.0, 2.0], [3.0, 4.0]]}
    if name == "s.parquet":
        pq.write_table(pa.table(columns), path)
    else:
        Table(columns).write(path, format="votable" if name == "s.vot" else None)
    assert [column for column in read(path).rows.column_names if column.startswith("x_catalog")] == []
    with pytest.raises(DataError, match="the column 'mags' for `extra` holds several values in each row"):
        read(path, extra=["mags"])


def test_files_that_are_no_catalogue_are_refused(tmp_path, monkeypatch):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError):
            read(path)
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "image.fits")
    with pytest.raises(DataError, match="holds no binary table"):
        read(tmp_path / "image.fits")
    whole = gzip.compress(b"ra,dec\n1,2\n" * 2000)
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        read(tmp_path / "cut.csv.gz")
    monkeypatch.setattr(text, "MAX_DELIMITED", 5)
    with pytest.raises(DataError, match="convert it to Parquet or FITS"):
        read(written(tmp_path, "s.csv"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"source_id": "Source"}}, "name the file's own in the setting `id`"),
        ({"columns": {"ra": "RA"}}, "come together"),
        ({"columns": {"ra": "RA", "dec": "DE", "l": "l", "b": "b"}}, "`l` and `b` stand for `ra` and `dec`"),
        ({"columns": {"mag": "G"}}, "keep it through `extra`"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ReadCatalog.Config(path="a.csv", **settings)


@pytest.mark.real
def test_published_catalogues_are_read_as_they_are(real_data, caplog):
    folder = real_data / "catalogs"
    gaia = read(
        folder / "gaia_dr2_nearby_oc_members_xmatch.csv", id="source_id", duplicates="first", extra=["Cluster", "parallax", "pmra", "pmdec"]
    )
    assert len(gaia) == 5565
    assert "64 rows whose source_id was there before" in caplog.text
    assert len(set(gaia.column("x_catalog_cluster").tolist())) == 9
    assert gaia.rows.column("x_catalog_parallax").null_count == 55
    assert 2**53 < gaia.column("x_catalog_source_id").max() < 2**63
    hunt = read(folder / "hunt2023_clusters.csv", units={"pmRA": "mas/yr", "Plx": "mas"})
    assert len(hunt) == 6806
    assert np.isfinite(hunt.column("ra")).all()
    assert hunt.rows.column("x_catalog_rv").type == pa.float64()
    stream = read(folder / "galstreams_GD-1.ibata2021.ecsv")
    assert stream.rows.schema.field("x_catalog_distance").metadata[b"unit"] == b"kpc"
    assert np.isfinite(stream.column("ra")).all()
