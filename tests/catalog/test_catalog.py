"""Catalog in the hands of a stage: building, columns, checks, contracts."""

from __future__ import annotations

import re

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest

from astrosurvey.catalog.schema import core, register_fragment
from astrosurvey.core.product import ProductError
from astrosurvey.products import Catalog


def photometry(**columns):
    base = {"source_id": np.arange(3), "band": "r", "method": "kron", "tile_id": 1, "flux": [1.0, 2.0, 3.0], "flags": 0}
    return Catalog.from_columns("photometry", {**base, **columns})


def test_columns_come_in_the_order_and_types_of_the_schema():
    catalog = photometry(flux_err=np.array([1, 2, 3], ">i2"))
    assert catalog.rows.column_names == [column.name for column in core()["photometry"].columns]
    assert catalog.column("flux").dtype == catalog.column("flux_err").dtype == np.float32
    assert catalog.column("source_id").dtype == np.int64
    assert catalog.column("band").tolist() == ["r", "r", "r"]
    assert np.isnan(catalog.column("radius")).all()
    assert catalog.rows.column("radius").null_count == 3
    assert not catalog.column("flux").flags.writeable
    catalog.check()


def test_masked_values_are_null_and_nan_stays():
    catalog = photometry(flux=np.ma.MaskedArray([1, np.nan, 3], [True, False, False]))
    assert str(catalog.rows.column("flux").to_pylist()) == "[None, nan, 3.0]"
    assert str(catalog.column("flux").tolist()) == "[nan, nan, 3.0]"


def test_quantities_are_converted_to_the_schemas_unit():
    assert photometry(flux=[1, 2, 3] * u.uJy).column("flux").tolist() == [1000, 2000, 3000]
    with pytest.raises(ProductError, match="'flux' of table photometry is in nJy"):
        photometry(flux=[1, 2, 3] * u.deg)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"fluxx": [1, 2, 3]}, "has no column 'fluxx'; did you mean 'flux'?"),
        ({"x_centre": [1, 2, 3]}, "has no column 'x_centre'"),
        ({"flags": None}, "column 'flags' of table photometry is missing"),
        ({"flux": [1, 2]}, "differ in length: most have 3, 'flux' has 2"),
        ({"flux": ["a", "b", "c"]}, "'flux' of table photometry is float, not string"),
        ({"flags": [0.5, 1, 2]}, "'flags' of table photometry does not hold int values"),
        ({"flags": [np.nan, 1, 2]}, "does not hold int values"),
        ({"flags": [2**40, 1, 2]}, "does not hold int values"),
        ({"flags": [True, False, True]}, "is int, not bool"),
        ({"band": [1, 2, 3]}, "is string, not int64"),
        ({"flux": np.ones((3, 2))}, "'flux' of table photometry is float, not fixed_size_list"),
        ({"x_plugin_when": pa.array([1, 2, 3], pa.timestamp("s"))}, "holds timestamp[s], which catalogues cannot store"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, message):
    with pytest.raises(ProductError, match=re.escape(message)):
        photometry(**columns)


def test_tables_that_are_not_there_are_refused():
    with pytest.raises(ProductError, match="no table 'sources' in the catalogue schema; did you mean 'source'"):
        Catalog.from_columns("sources", {})
    with pytest.raises(ProductError, match="at least one column that is not a scalar"):
        Catalog.from_columns("photometry", {"source_id": 1, "band": "r", "method": "k", "tile_id": 1, "flags": 0})


def test_replace_leaves_the_original_alone():
    catalog = photometry()
    flagged = catalog.replace(flags=[1, 2, 3], x_plugin_note=["a", "b", "c"])
    assert flagged.column("flags").tolist() == [1, 2, 3]
    assert flagged.column("x_plugin_note").tolist() == ["a", "b", "c"]
    assert flagged.column("flux").tolist() == catalog.column("flux").tolist()
    assert catalog.column("flags").tolist() == [0, 0, 0]
    assert "x_plugin_note" not in catalog.rows.column_names


def test_concatenate_keeps_plugin_columns_of_some_and_the_order_of_all():
    one, other = photometry(x_plugin_note=["a", "b", "c"]), photometry(source_id=[7, 8, 9])
    joined = Catalog.concatenate([one, other, Catalog.empty("photometry")], {"a": 1})
    assert joined.column("source_id").tolist() == [0, 1, 2, 7, 8, 9]
    assert joined.rows.column("x_plugin_note").to_pylist() == ["a", "b", "c", None, None, None]
    assert joined.meta == {"a": 1}
    joined.check()
    with pytest.raises(ProductError, match="of one table can be concatenated, not of photometry, source"):
        Catalog.concatenate([one, Catalog.empty("source")])
    with pytest.raises(ProductError, match="not of none"):
        Catalog.concatenate([])
    with pytest.raises(ProductError, match="'x_plugin_note' is string in one catalogue and int64 in another"):
        Catalog.concatenate([one, other.replace(x_plugin_note=[1, 2, 3])])


def test_vectors_are_two_dimensional():
    vectors = np.arange(12, dtype="f4").reshape(3, 4)
    columns = {"object_table": "source", "object_id": [1, 2, 3], "model": "m"}
    catalog = Catalog.from_columns("embedding", {**columns, "vector": vectors})
    catalog.check()
    np.testing.assert_array_equal(catalog.column("vector"), vectors)
    other = Catalog.from_columns("embedding", {**columns, "object_id": [4, 5, 6], "vector": vectors[:, :2]})
    assert [len(v) for v in Catalog.concatenate([catalog, other]).column("vector")] == [4, 4, 4, 2, 2, 2]


def test_integers_with_nulls_are_no_array(random_catalog):
    catalog = random_catalog("source", 5, fill=False)
    with pytest.raises(ProductError, match="'parent_source_id' has 5 nulls"):
        catalog.column("parent_source_id")
    with pytest.raises(ProductError, match="no column 'rat'; did you mean 'ra'"):
        catalog.column("rat")


def test_astropy_tables_have_units_and_masks():
    table = photometry(flux=np.ma.MaskedArray([1, np.nan, 3], [True, False, False])).to_astropy()
    assert table["flux"].unit == u.nJy
    assert table["flux"].mask.tolist() == [True, False, False]
    assert np.isnan(table["flux"][1])
    assert table["band"].tolist() == ["r", "r", "r"]
    assert table["flux"].meta["ucd"] == "phot.flux.density"
    assert table.meta["table"] == "photometry"


def test_nulls_of_every_type_are_masked_in_astropy_tables(random_catalog):
    for name in core().tables:
        filled, bare = random_catalog(name, 4).to_astropy(), random_catalog(name, 4, fill=False).to_astropy()
        for column in core()[name].columns:
            if column.nullable and column.arraysize is None:
                assert np.all(bare[column.name].mask)
            assert not np.any(getattr(filled[column.name], "mask", False))


def _set(column, index, value):
    def change(catalog):
        values = catalog.rows.column(column).to_pylist()
        values[index] = value
        place = catalog.rows.column_names.index(column)
        field = catalog.rows.schema.field(column)
        return Catalog(catalog.table, catalog.rows.set_column(place, field, pa.array(values, field.type)))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("ra", 3, 360.0), "column 'ra', row 3 (source_id=8): 360.0 breaks the rule that ra lies in [0, 360) and dec in [-90, 90]"),
        (_set("dec", 3, -90.5), "column 'dec', row 3 (source_id=8): -90.5 breaks the rule"),
        (_set("ra", 2, np.inf), "column 'ra', row 2 (source_id=7): an infinite position"),
        (_set("x", 0, np.nan), "column 'x', row 0 (source_id=5): not a finite number"),
        (_set("x_max", 1, -5), "column 'x_min', row 1 (source_id=6)"),
        (_set("flags", 4, None), "column 'flags', row 4 (source_id=9): null in a column that cannot be null"),
        (_set("source_id", 4, 5), "key source_id, row 4 (source_id=5): there is an earlier row with the same key"),
        (lambda c: Catalog("source", c.rows.drop_columns(["x"])), "column 'x' is missing"),
        (lambda c: Catalog("source", c.rows.append_column("extra", [[1] * 10])), "no column 'extra' in the schema"),
        (lambda c: Catalog("source", c.rows.append_column("x", c.rows.column("x"))), "column 'x' is there twice"),
        (lambda c: Catalog("source", c.rows.set_column(3, "x", [[1] * 10])), "column 'x' is int64, the schema says double"),
        (
            lambda c: Catalog("source", c.rows.set_column(3, pa.field("x", pa.float64(), metadata={"unit": "deg"}), [[1.0] * 10])),
            "is in 'deg', the schema says 'pixel'",
        ),
        (
            lambda c: Catalog("source", c.rows.append_column("x_a_b", [pa.array([b"1"] * 10)])),
            "'x_a_b' is binary, which catalogues cannot store",
        ),
    ],
)
def test_check_names_column_and_row(random_catalog, change, message):
    with pytest.raises(ProductError, match=re.escape(message)):
        change(random_catalog("source", 10)).check()


def test_check_says_how_many_rows_and_finds_keys_of_several_columns(random_catalog):
    catalog = random_catalog("source", 10)
    with pytest.raises(ProductError, match=re.escape("row 0 (source_id=5) and 9 more")):
        catalog.replace(ra=np.full(10, 400.0)).check()
    with pytest.raises(ProductError, match=re.escape("key source_id, band, method, row 2 (source_id=0, band='r', method='kron')")):
        photometry(source_id=[0, 1, 0]).check()
    photometry(source_id=[0, 0, 0], band=["g", "r", "i"]).check()
    with pytest.raises(ProductError, match=r"row 1 .*: longer than 32 characters"):
        photometry(band=["r", "r" * 33, "g"]).check()
    with pytest.raises(ProductError, match=re.escape("'dwarf' breaks the rule that an object is a star or a galaxy")):
        random_catalog("truth", 3).replace(object_type=["star", "dwarf", "galaxy"]).check()


def test_nan_and_null_pass_the_rules(random_catalog):
    catalog = random_catalog("source", 3).replace(ra=[np.nan, 1, 2], dec=np.ma.MaskedArray([1, 2, 3], [True, False, False]))
    catalog.check()


def test_the_contract_wants_promised_columns_filled():
    contract = Catalog.of("photometry", fills=["flux", "flux_err"])
    contract.check(photometry(flux_err=np.ma.MaskedArray([1, 2, 3], [True, True, False])))
    contract.check(Catalog.empty("photometry"))
    contract.check(photometry(flux_err=np.full(3, np.nan)))
    with pytest.raises(ProductError, match="promised but null in all 3 rows: flux_err"):
        contract.check(photometry())
    with pytest.raises(ProductError, match=re.escape("expected Catalog[photometry], got Catalog[source]")):
        contract.check(Catalog.empty("source"))
    with pytest.raises(ProductError, match=re.escape("expected Catalog[photometry], got dict")):
        contract.check({})
    with pytest.raises(ProductError, match="earlier row with the same key"):
        contract.check(photometry(source_id=[1, 1, 1], flux_err=[1, 1, 1]))


def test_the_contract_knows_what_the_schema_lacks():
    assert Catalog.of("source", needs=["ra"], fills=["dec"]).problems() == []
    assert Catalog.of("sauce").problems()[0].endswith("did you mean 'source'?")
    assert "has no column 'flux_er'; did you mean 'flux_err'" in Catalog.of("photometry", fills=["flux_er"]).problems()[0]
    with pytest.raises(ProductError, match="has no column 'flux_er'"):
        Catalog.of("photometry", fills=["flux_er"]).check(photometry())


@pytest.mark.usefixtures("fragments")
def test_a_fragments_columns_are_typed_but_never_required(tmp_path):
    before = photometry()
    fragment = tmp_path / "fragment.yaml"
    fragment.write_text(
        "name: a\ndescription: b\nversion: {current: 0.1.0}\ntables:\n- name: photometry\n  description: c\n  columns:\n"
        "  - {name: x_demo_sky, datatype: float, ivoa:ucd: instr.skyLevel, ivoa:unit: nJy, description: the sky}\n"
    )
    register_fragment(fragment, "demo")
    assert photometry().rows.schema == before.rows.schema
    catalog = photometry(x_demo_sky=[1, 2, 3])
    catalog.check()
    catalog.write(tmp_path / "a.parquet")
    assert Catalog.read(tmp_path / "a.parquet").to_astropy()["x_demo_sky"].unit == u.nJy
    with pytest.raises(ProductError, match="'x_demo_sky' of table photometry is float, not string"):
        photometry(x_demo_sky=["a", "b", "c"])


def test_summary_names_what_was_not_filled():
    summary = photometry().summary()
    assert summary["rows"] == 3
    assert summary["table"] == "photometry"
    assert "radius" in summary["not_filled"]
    assert "flux" not in summary["not_filled"]
    assert Catalog.empty("photometry").summary()["not_filled"] == []
