"""The schema: sound by felis' rules and by ours, its twin fresh, its versions and fragments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.units import Unit

from astrosurvey.catalog.felis import read_schema
from astrosurvey.catalog.generate import artefacts
from astrosurvey.catalog.schema import SchemaError, Version, core, current, register_fragment, schema_folder, semantic

YAML = schema_folder() / "astrosurvey.yaml"
COLUMNS = [(table.name, column) for table in core().tables.values() for column in table.columns]


def test_felis_finds_nothing_wrong():
    options = ["--check-description", "--check-redundant-datatypes", "--check-tap-table-indexes", "--check-tap-principal"]
    felis = Path(sys.executable).parent / "felis"
    done = subprocess.run([felis, "validate", *options, YAML], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Successfully validated" in done.stderr


def test_every_table_of_the_design_is_there():
    assert list(core().tables) == [
        *("run", "tile", "source", "photometry", "cube_source", "spectrum", "redshift", "classification", "embedding"),
        *(
            "cluster",
            "cluster_member",
            "posterior",
            "posterior_sample",
            "model_comparison",
            "truth",
            "spectral_line",
            "spectral_index",
            "spectrum_truth",
            "cluster_point",
            "cluster_truth",
            "cluster_event",
            "crossmatch",
        ),
    ]


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[f"{table}.{column.name}" for table, column in COLUMNS])
@pytest.mark.filterwarnings("ignore:.*Angstrom.*deprecated in the VOUnit:astropy.units.UnitsWarning")
def test_columns_say_what_they_are_in_the_words_of_the_virtual_observatory(table, column):
    assert check_ucd(column.ucd, check_controlled_vocabulary=True, has_colon=True), column.ucd
    Unit(column.unit, format="vounit")
    assert not column.description[:2].istitle(), "a description is a phrase, not a sentence"
    assert not column.description.endswith(".")


def test_a_name_means_one_thing_wherever_it_stands():
    """The same column name has the same unit in every table, but for names that say so little that they may differ."""
    units: dict[str, set[str]] = {}
    for _, column in COLUMNS:
        units.setdefault(column.name, set()).add(column.unit)
    assert {name for name, found in units.items() if len(found) > 1} <= {"z"}  # a channel, or a redshift


def test_generated_files_are_fresh():
    made = artefacts(read_schema(YAML))
    stale = [name for name, text in made.items() if (YAML.parent.parent / name).read_text(encoding="utf-8") != text]
    assert not stale, f"run `python -m astrosurvey.catalog.generate`: {stale}"
    there = {f"schemas/generated/{path.name}" for path in (YAML.parent / "generated").iterdir()}
    assert there == {name for name in made if name.startswith("schemas/")}


def test_the_twin_is_the_schema():
    assert core() == read_schema(YAML)
    assert core().digest == read_schema(YAML).digest


def test_products_and_schema_import_neither_pyarrow_nor_astropy_nor_yaml():
    heavy = ("pyarrow", "astropy", "ruamel", "scipy")
    code = f"import sys, astrosurvey.products.catalog as c; c.current(); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_an_installed_package_finds_the_schema_inside_itself(tmp_path):
    """A wheel holds `schemas` as `astrosurvey/schemas`."""
    package = YAML.parent.parent / "astrosurvey"
    shutil.copytree(package, tmp_path / "astrosurvey", ignore=shutil.ignore_patterns("__pycache__"))
    code = "from astrosurvey.catalog.schema import core, schema_folder; print(len(core().tables), schema_folder())"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    alone = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert "FileNotFoundError" in alone.stderr
    shutil.copytree(YAML.parent, tmp_path / "astrosurvey" / "schemas")
    installed = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)
    assert installed.stdout.split() == [str(len(core().tables)), str(tmp_path / "astrosurvey" / "schemas")]


@pytest.mark.parametrize(
    ("pattern", "becomes", "message"),
    [
        (r"datatype: double\n", "datatype: complex\n", "unknown datatype 'complex'"),
        (r"    ivoa:unit: nJy\n", "", "needs an 'ivoa:unit'"),
        (r"    ivoa:ucd: phot.flux.density\n", "", "'ivoa:ucd' is missing"),
        (r"    description: the source\n", "    describtion: the source\n", "did you mean 'description'"),
        (r"    length: 32\n", "", "a string column needs a positive 'length'"),
        (r"    ivoa:unit: deg\n", '    ivoa:unit: deg\n    votable:arraysize: "many"\n', "'votable:arraysize' is"),
        (r"expression: masked_fraction >= 0", "expression: masked_fraction ~ 0", "is not `column op number`"),
        (r"expression: masked_fraction >= 0", "expression: mask_fraction >= 0", "there is no column 'mask_fraction'"),
        (r"expression: masked_fraction >= 0", "expression: band >= 0", "column 'band' cannot be compared"),
        (r'referencedColumns: \["#tile.tile_id"\]', 'referencedColumns: ["#tile.name"]', "must refer to the key"),
        (r'primaryKey: "#run.run_id"', 'primaryKey: "#run.title"', "is in the key and so cannot be nullable"),
        (r'primaryKey: "#run.run_id"', "primaryKey: run_id", 'written as "#run.<column>"'),
        (r"- name: tile\n", "- name: run\n", "table run is there twice"),
        (r"  - name: ra\n", "  - name: dec\n", "column dec is there twice"),
        (r"  - name: ra\n", "  - name: RA\n", "lower-case identifier"),
        (r"- name: truth\n", "- name: x_truth\n", "belong to plugins"),
        (r"nullable: false\n", "nullable: 0\n", "'nullable' is true or false"),
        (r"current: 1\.\d+\.0", "current: 1.0", "is not a version"),
        (r"tables:\n", "tables:\ntables:\n", "not valid YAML"),
        (r'"@type": Check\n', '"@type": Unique\n', "ForeignKey or Check"),
    ],
)
def test_the_reader_refuses_what_breaks_a_rule(tmp_path, pattern, becomes, message):
    text, changed = re.subn(pattern, becomes, YAML.read_text(), count=1)
    assert changed == 1
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(SchemaError, match=re.escape(message)) as caught:
        read_schema(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "null", "tables: 3", "tables: [3]", "a: [" * 3000, "\t"])
def test_the_reader_refuses_what_is_no_schema(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(SchemaError, match=r"broken\.yaml"):
        read_schema(path)


def test_names_that_are_not_there_come_with_a_suggestion():
    with pytest.raises(SchemaError, match="did you mean 'source'"):
        core()["sources"]
    with pytest.raises(SchemaError, match="did you mean 'flux_err'"):
        core()["photometry"]["flux_error"]


def test_which_versions_are_read():
    version = Version("2.3.1", compatible=("1.9.0",), read_compatible=("0.4.2",))
    assert [v for v in ("2.0.0", "2.3.1", "2.9.9", "1.9.0", "0.4.2") if version.refuses(v)] == []
    assert "install a newer astrosurvey" in version.refuses("3.0.0")
    assert "no longer reads" in version.refuses("1.8.0")
    assert "not a version" in version.refuses("two")
    assert "\n" not in version.refuses("3.0.0")
    assert semantic("10.2.33") == (10, 2, 33)


FRAGMENT = """
name: shapes
description: shapes of sources
version: {current: 0.1.0}
tables:
- name: x_shapes_sersic
  description: Sersic fits
  primaryKey: "#x_shapes_sersic.source_id"
  constraints:
  - name: fk_sersic
    "@type": ForeignKey
    description: a fit is that of a source
    columns: ["#x_shapes_sersic.source_id"]
    referencedColumns: ["#source.source_id"]
  columns:
  - {name: source_id, datatype: long, nullable: false, ivoa:ucd: meta.id, description: the source}
  - {name: index, datatype: float, ivoa:ucd: stat.fit.param, ivoa:unit: "", description: the index}
- name: source
  description: more columns
  columns:
  - {name: x_shapes_ellipticity, datatype: float, ivoa:ucd: src.ellipticity, ivoa:unit: "", description: one minus the axis ratio}
"""


def _fragment(tmp_path, text=FRAGMENT, name="fragment.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.usefixtures("fragments")
def test_a_fragment_adds_tables_and_columns(tmp_path):
    path = _fragment(tmp_path)
    register_fragment(path, "shapes")
    register_fragment(path, "shapes")
    assert current()["x_shapes_sersic"].key == ("source_id",)
    assert current()["source"]["x_shapes_ellipticity"].ucd == "src.ellipticity"
    assert current()["source"].columns == core()["source"].columns
    assert "x_shapes_sersic" not in core()
    assert current().digest != core().digest


@pytest.mark.usefixtures("fragments")
def test_two_plugins_cannot_claim_one_name(tmp_path):
    register_fragment(_fragment(tmp_path), "shapes")
    again = FRAGMENT.replace("x_shapes_ellipticity", "x_shapes_e")
    with pytest.raises(SchemaError, match=r"plugin shapes claims the name 'x_shapes_sersic', which plugin shapes has taken"):
        register_fragment(_fragment(tmp_path, again, "again.yaml"), "shapes")
    only_column = FRAGMENT[: FRAGMENT.index("- name: x_shapes_sersic")] + FRAGMENT[FRAGMENT.index("- name: source\n") :]
    with pytest.raises(SchemaError, match="claims the name 'x_shapes_ellipticity', which plugin shapes has taken"):
        register_fragment(_fragment(tmp_path, only_column, "column.yaml"), "shapes")


@pytest.mark.usefixtures("fragments")
@pytest.mark.parametrize(
    ("find", "becomes", "message"),
    [
        ("x_shapes_sersic", "x_forms_sersic", "a plugin's table is called x_shapes_<table>"),
        ("x_shapes_sersic", "sersic", "a plugin's table is called x_shapes_<table>"),
        ("x_shapes_ellipticity", "ellipticity", "is called x_shapes_<column>"),
        ("{name: x_shapes_ellipticity,", "{name: x_shapes_ellipticity, nullable: false,", "is nullable"),
        ("  constraints:\n", "  constraints: []\n  nothing:\n", "unknown key 'nothing'"),
        ("#source.source_id", "#source.tile_id", "must refer to the key"),
        ("#source.source_id", "#x_shapes_sersic.source_id", "foreign key to a core table"),
        (
            "  description: more columns\n",
            '  description: more columns\n  primaryKey: "#source.x_shapes_ellipticity"\n',
            "neither keys nor constraints",
        ),
    ],
)
def test_a_fragment_keeps_to_its_own_names(tmp_path, find, becomes, message):
    path = _fragment(tmp_path, FRAGMENT.replace(find, becomes))
    with pytest.raises(SchemaError, match=re.escape(message)):
        register_fragment(path, "shapes")
    assert current() == core()


def test_a_copy_with_another_description_has_another_digest():
    assert replace(core(), description="other").digest != core().digest
