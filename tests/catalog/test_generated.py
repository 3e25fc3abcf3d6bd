"""What is generated from the schema works where it is meant to be used."""

from __future__ import annotations

import io
import json

import duckdb
import jsonschema
import numpy as np
import pytest
from astropy.io import votable

from astrosurvey.catalog.arrow import arrow_schema
from astrosurvey.catalog.schema import HEALPIX_COLUMN, core, schema_folder

GENERATED = schema_folder() / "generated"


@pytest.fixture
def database():
    with duckdb.connect() as connection:
        connection.execute((GENERATED / "astrosurvey.duckdb.sql").read_text())
        yield connection


@pytest.mark.parametrize("name", core().tables)
def test_duckdb_takes_catalogue_files_into_the_generated_tables(tmp_path, random_catalog, name):
    catalog = random_catalog(name)
    catalog.write(tmp_path / "a.parquet")
    with duckdb.connect() as connection:
        sql = (GENERATED / "astrosurvey.duckdb.sql").read_text()
        without_references = "\n".join(line for line in sql.splitlines() if "FOREIGN KEY" not in line)
        connection.execute(without_references)
        connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM '{tmp_path / 'a.parquet'}'")
        assert connection.execute(f"SELECT count(*) FROM {name}").fetchall() == [(50,)]


def test_duckdb_keeps_keys_references_and_rules(database):
    insert = "INSERT INTO tile (tile_id, name, nx, ny, x0, y0, status, n_source, s_ra) VALUES"
    database.execute(f"{insert} (1, 'a', 9, 9, 0, 0, 'done', 0, 'NaN'), (2, 'b', 9, 9, 0, 0, 'done', 0, 5)")
    for values, complaint in [
        ("(1, 'a', 9, 9, 0, 0, 'done', 0, 5)", "primary key|duplicate key"),
        ("(3, 'a', 9, 9, 0, 0, 'done', 0, 360)", "CHECK"),
        ("(3, NULL, 9, 9, 0, 0, 'done', 0, 5)", "NOT NULL"),
    ]:
        with pytest.raises(duckdb.ConstraintException, match=complaint):
            database.execute(f"{insert} {values}")
    with pytest.raises(duckdb.ConstraintException, match="foreign key"):
        database.execute("INSERT INTO photometry (source_id, band, method, tile_id, flags) VALUES (7, 'r', 'kron', 1, 0)")


@pytest.mark.filterwarnings("ignore:.*Angstrom.*deprecated in the VOUnit:astropy.units.UnitsWarning")
def test_the_votable_document_is_read_by_astropy_without_complaint():
    content = (GENERATED / "astrosurvey.vot.xml").read_bytes()
    document = votable.parse(io.BytesIO(content), verify="exception")
    for element in document.iter_tables():
        table = core()[element.name]
        fields = {field.name: field for field in element.fields if field.name != HEALPIX_COLUMN}
        assert list(fields) == [column.name for column in table.columns]
        for column in table.columns:
            assert fields[column.name].ucd == column.ucd
            assert str(fields[column.name].unit or "") == str(
                votable.tree.Field(document, name="f", datatype="int", unit=column.unit or None).unit or ""
            )
            assert fields[column.name].description == column.description
    assert len(list(document.iter_tables())) == len(core().tables)


@pytest.mark.parametrize("name", core().tables)
def test_rows_follow_the_json_schema(random_catalog, name):
    schema = json.loads((GENERATED / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for fill in (True, False):
        for row in random_catalog(name, n=3, fill=fill).rows.to_pylist():
            validator.validate(row)
    row = random_catalog(name, n=1).rows.to_pylist()[0]
    for broken in ({**row, "nonsense": 1}, {k: v for k, v in row.items() if k != core()[name].key[0]}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(broken)
    validator.validate({**row, "x_plugin_column": 1})


def test_arrow_fields_carry_unit_ucd_and_description():
    field = arrow_schema(core()["photometry"]).field("flux")
    assert field.metadata[b"unit"] == b"nJy"
    assert field.metadata[b"ucd"] == b"phot.flux.density"
    assert not arrow_schema(core()["photometry"]).field("source_id").nullable
    assert np.dtype(field.type.to_pandas_dtype()) == np.float32
