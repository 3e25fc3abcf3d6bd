"""Catalogue files: what goes in comes out, for every reader; damage and foreign versions are refused."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import votable
from astropy.table import Table
from astropy_healpix import HEALPix

from astrosurvey.catalog import schema as schema_module
from astrosurvey.catalog.schema import HEALPIX_COLUMN, Column, core
from astrosurvey.core.product import ProductError
from astrosurvey.products import Catalog

GOLDEN = Path(__file__).parent / "golden"


def equal(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables hold the same, NaN included."""
    return one.column_names == other.column_names and all(
        str(one.column(name).to_pylist()) == str(other.column(name).to_pylist()) for name in one.column_names
    )


@pytest.mark.parametrize("fill", [True, False])
@pytest.mark.parametrize("n", [0, 1, 50])
@pytest.mark.parametrize("name", core().tables)
def test_what_is_written_is_read(tmp_path, random_catalog, name, n, fill):
    catalog = random_catalog(name, n, fill=fill, meta={"b": [1, None], "a": {"core": None}})
    catalog.check()
    catalog.write(tmp_path / "a.parquet")
    back = Catalog.read(tmp_path / "a.parquet")
    back.check()
    assert equal(back.rows, catalog.rows)
    assert back.table == name
    assert back.meta == catalog.meta
    assert len(back) == n
    back.write(tmp_path / "b.parquet")
    assert (tmp_path / "b.parquet").read_bytes() == (tmp_path / "a.parquet").read_bytes()


def test_equal_rows_are_equal_bytes_however_they_lie_in_memory(tmp_path, random_catalog):
    catalog = random_catalog("source", 3000)
    catalog.write(tmp_path / "whole.parquet")
    pieces = [catalog.rows.slice(i, 7) for i in range(0, 3000, 7)]
    Catalog("source", pa.concat_tables(pieces)).write(tmp_path / "pieces.parquet")
    payload = np.uint64(0xFFF8000000000001).view(np.float64)  # another NaN
    holes = [np.where(np.arange(3000) == 5, nan, catalog.column("ra")) for nan in (np.nan, payload)]
    assert holes[0].tobytes() != holes[1].tobytes()
    for number, ra in enumerate(holes):
        catalog.replace(ra=ra).write(tmp_path / f"nan{number}.parquet")
    catalog.replace(ra=catalog.column("ra").astype(">f8")).write(tmp_path / "big_endian.parquet")
    for one, other in [("whole", "pieces"), ("whole", "big_endian"), ("nan0", "nan1")]:
        assert (tmp_path / f"{one}.parquet").read_bytes() == (tmp_path / f"{other}.parquet").read_bytes()


@pytest.mark.usefixtures("astropy_parquet")
@pytest.mark.parametrize("name", ["source", "photometry", "truth"])
def test_astropy_pyarrow_and_duckdb_read_the_same_values_and_units(tmp_path, random_catalog, name):
    catalog = random_catalog(name, 40)
    path = tmp_path / "a.parquet"
    catalog.write(path)
    plain, with_votable = Table.read(path), Table.read(path, format="parquet.votable")
    arrow = pq.read_table(path)
    duck = duckdb.sql(f"SELECT * FROM '{path}'").fetchnumpy()
    footer = dict(duckdb.sql(f"SELECT key, value FROM parquet_kv_metadata('{path}')").fetchall())
    from_footer = votable.parse(io.BytesIO(footer[b"IVOA.VOTable-Parquet.content"])).get_first_table()
    fields = {field.name: field for field in from_footer.fields}
    columns = core()[name].columns
    assert plain.colnames == with_votable.colnames == arrow.column_names == list(duck) == list(fields)
    assert set(plain.colnames) - {column.name for column in columns} == {HEALPIX_COLUMN} & set(plain.colnames)
    for column in columns:
        unit = u.Unit(column.unit) if column.unit else None
        values = catalog.column(column.name)
        assert plain[column.name].unit == with_votable[column.name].unit == fields[column.name].unit == unit
        assert arrow.schema.field(column.name).metadata[b"unit"].decode() == column.unit
        assert plain[column.name].meta["ucd"] == with_votable[column.name].meta["ucd"] == fields[column.name].ucd == column.ucd
        assert plain[column.name].description == with_votable[column.name].description == column.description
        for read in (plain[column.name], with_votable[column.name], arrow.column(column.name).to_numpy(), duck[column.name]):
            np.testing.assert_array_equal(np.asarray(read).astype(values.dtype), values)


@pytest.mark.usefixtures("astropy_parquet")
@pytest.mark.parametrize("name", core().tables)
@pytest.mark.filterwarnings("ignore:.*Angstrom.*deprecated in the VOUnit:astropy.units.UnitsWarning")
def test_astropy_reads_every_table_both_ways(tmp_path, random_catalog, name):
    for n in (0, 6):
        random_catalog(name, n).write(tmp_path / f"{n}.parquet")
        assert len(Table.read(tmp_path / f"{n}.parquet")) == n
        if not any(column.arraysize for column in core()[name].columns):  # astropy cannot stack ragged columns
            assert len(Table.read(tmp_path / f"{n}.parquet", format="parquet.votable")) == n


def test_the_healpix_column_is_that_of_the_position(tmp_path, random_catalog):
    catalog = random_catalog("source", 200)
    ra, dec = catalog.column("ra").copy(), catalog.column("dec").copy()
    ra[:3], dec[:3] = [0.0, np.nan, 359.9999999], [90.0, np.nan, -90.0]
    catalog.replace(ra=ra, dec=dec).write(tmp_path / "a.parquet")
    stored = pq.read_table(tmp_path / "a.parquet").column(HEALPIX_COLUMN).to_pylist()
    assert stored[1] is None
    known = np.delete(np.arange(200), 1)
    cells = HEALPix(2**29, order="nested", frame="icrs")
    expected = cells.skycoord_to_healpix(SkyCoord(ra[known], dec[known], unit="deg"))
    np.testing.assert_array_equal([stored[i] for i in known], expected)
    centre = cells.healpix_to_skycoord(np.array([stored[i] for i in known]))
    assert centre.separation(SkyCoord(ra[known], dec[known], unit="deg")).max() < 1 * u.mas
    assert HEALPIX_COLUMN not in Catalog.read(tmp_path / "a.parquet").rows.column_names


def test_the_encoding_is_the_one_promised(tmp_path, random_catalog):
    random_catalog("photometry").write(tmp_path / "a.parquet")
    group = pq.read_metadata(tmp_path / "a.parquet").row_group(0)
    chunks = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {chunk.compression for chunk in chunks.values()} == {"ZSTD"}
    assert "BYTE_STREAM_SPLIT" in chunks["flux"].encodings
    assert "DELTA_BINARY_PACKED" in chunks["source_id"].encodings
    assert {name for name, chunk in chunks.items() if chunk.has_dictionary_page} == {"band", "method", "flags"}


def test_no_flipped_bit_in_the_data_changes_a_value_silently(tmp_path, random_catalog):
    catalog, unharmed = random_catalog("source", 2000), 0
    catalog.write(tmp_path / "a.parquet")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    spans = []
    for i in range(metadata.num_columns):
        chunk = metadata.row_group(0).column(i)
        start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
        spans.append((start, start + chunk.total_compressed_size))
    rng = np.random.default_rng(1)
    for _ in range(60):
        low, high = spans[rng.integers(len(spans))]
        place, bit = rng.integers(low, high), 1 << rng.integers(8)
        broken = bytearray(content)
        broken[place] ^= bit
        (tmp_path / "b.parquet").write_bytes(broken)
        with contextlib.suppress(ProductError):
            # Where a page's header has bits that mean nothing, reading goes well, and must be right.
            assert equal(Catalog.read(tmp_path / "b.parquet").rows, catalog.rows)
            unharmed += 1
    assert unharmed <= 3


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not Parquet at all, but long enough", None])
def test_files_that_are_no_catalogue_are_refused(tmp_path, random_catalog, content):
    path = tmp_path / "a.parquet"
    if content is None:
        random_catalog("source").write(path)
        content = path.read_bytes()[:-500]
    path.write_bytes(content)
    with pytest.raises(ProductError, match=r"a\.parquet is damaged or not a Parquet file"):
        Catalog.read(path)


def test_a_parquet_file_of_somebody_else_is_refused(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ProductError, match="its footer names no schema"):
        Catalog.read(tmp_path / "a.parquet")


def rewritten(
    source: Path, target: Path, version: str | None = None, drop: tuple[str, ...] = (), add: dict | None = None, table: str | None = None
) -> Path:
    """Write a file as another version of astrosurvey would have."""
    rows = pq.read_table(source).drop_columns(list(drop))
    for name, values in (add or {}).items():
        rows = rows.append_column(name, values)
    metadata = dict(pq.read_metadata(source).metadata)
    del metadata[b"ARROW:schema"]
    metadata[b"astrosurvey.schema.version"] = (version or core().version.current).encode()
    metadata[b"astrosurvey.schema.table"] = (table or metadata[b"astrosurvey.schema.table"].decode()).encode()
    pq.write_table(rows.replace_schema_metadata(metadata), target)
    return target


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.parquet")), ids=lambda path: path.stem)
def test_files_of_every_released_version_are_read(path):
    specification = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make.py")
    make = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(make)
    expected = make.catalogs()[path.stem.split("-")[0]]
    read = Catalog.read(path)
    read.check()
    assert equal(read.rows, expected.rows)
    assert read.meta == expected.meta


def test_there_is_a_golden_file_of_the_current_version():
    assert (GOLDEN / f"source-{core().version.current}.parquet").exists()


@pytest.mark.parametrize(
    ("version", "reason"), [("2.0.0", "install a newer astrosurvey"), ("0.9.0", "no longer reads"), ("1.x", "not a version")]
)
def test_versions_that_cannot_be_read_are_refused_in_one_line(tmp_path, version, reason):
    path = rewritten(GOLDEN / "source-1.0.0.parquet", tmp_path / "a.parquet", version)
    with pytest.raises(ProductError, match=reason) as caught:
        Catalog.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_older_compatible_version_is_read_with_nulls_for_what_it_lacks(monkeypatch):
    old = core()["source"]
    newer = replace(old, columns=(*old.columns, Column("ellipticity", "float", "src.ellipticity", "new in 1.1")))
    tables = {**core().tables, "source": newer}
    version = replace(core().version, current="1.1.0")
    monkeypatch.setattr(schema_module, "_with_fragments", replace(core(), tables=tables, version=version))
    read = Catalog.read(GOLDEN / "source-1.0.0.parquet")
    read.check()
    assert read.rows.column("ellipticity").null_count == len(read) == 4


def test_a_newer_minor_version_is_read_without_its_new_columns_and_says_so(tmp_path, caplog):
    path = rewritten(GOLDEN / "source-1.0.0.parquet", tmp_path / "a.parquet", "1.7.0", add={"novelty": [[1.0] * 4]})
    with caplog.at_level(logging.WARNING):
        read = Catalog.read(path)
    assert "novelty" not in read.rows.column_names
    assert "'novelty' of table source is of a newer schema" in caplog.text


def test_files_that_do_not_follow_their_table_are_refused(tmp_path):
    golden = GOLDEN / "source-1.0.0.parquet"
    with pytest.raises(ProductError, match="'flags' of table source is missing"):
        Catalog.read(rewritten(golden, tmp_path / "a.parquet", drop=("flags",)))
    with pytest.raises(ProductError, match="'flags' holds string"):
        Catalog.read(rewritten(golden, tmp_path / "b.parquet", drop=("flags",), add={"flags": [["a"] * 4]}))
    with pytest.raises(ProductError, match="holds table 'x_other_table', which is not in the schema"):
        Catalog.read(rewritten(golden, tmp_path / "c.parquet", table="x_other_table"))
    with pytest.raises(FileNotFoundError):
        Catalog.read(tmp_path / "nothing.parquet")


def test_the_footer_says_what_the_file_is(tmp_path, random_catalog):
    random_catalog("source", meta={"tile": {"name": "t1"}}).write(tmp_path / "a.parquet")
    footer = pq.read_metadata(tmp_path / "a.parquet").metadata
    assert footer[b"astrosurvey.schema.version"].decode() == core().version.current
    assert footer[b"astrosurvey.schema.table"] == b"source"
    assert footer[b"astrosurvey.schema.sha256"].decode() == core().digest
    assert json.loads(footer[b"astrosurvey.meta"]) == {"tile": {"name": "t1"}}


@pytest.mark.parametrize("meta", [{"a": float("nan")}, {"a": np.float32(1)}, {"a": b"x"}])
def test_meta_that_is_not_json_is_refused(tmp_path, random_catalog, meta):
    with pytest.raises(ProductError, match="must be JSON"):
        random_catalog("source", meta=meta).write(tmp_path / "a.parquet")
