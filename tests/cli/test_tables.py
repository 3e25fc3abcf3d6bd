"""`astrosurvey tables`, `tables show` and `tables diff`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from astrosurvey.catalog.schema import core, schema_folder
from astrosurvey.cli.tables import tables

YAML = schema_folder() / "astrosurvey.yaml"
VERSION = core().version.current


def invoke(*arguments):
    return CliRunner().invoke(tables, [str(argument) for argument in arguments])


def test_the_list_names_every_table():
    result = invoke()
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()[3:]] == list(core().tables)
    listed = json.loads(invoke("--json").output)
    assert listed["version"] == core().version.current
    assert {t["name"]: t["columns"] for t in listed["tables"]} == {name: len(t.columns) for name, t in core().tables.items()}


@pytest.mark.parametrize("name", core().tables)
def test_show_names_every_column(name):
    result = invoke("show", name)
    assert result.exit_code == 0
    assert all(column.name in result.output and column.description in result.output for column in core()[name].columns)
    shown = json.loads(invoke("show", name, "--json").output)
    assert [column["name"] for column in shown["columns"]] == [column.name for column in core()[name].columns]


def test_show_suggests_the_table_that_was_meant():
    result = invoke("show", "sauce")
    assert result.exit_code == 2
    assert "did you mean 'source'?" in result.output


@pytest.fixture
def changed(tmp_path):
    def change(find, becomes):
        path = tmp_path / "new.yaml"
        assert find in YAML.read_text()
        path.write_text(YAML.read_text().replace(find, becomes))
        return path

    return change


def test_diff_of_a_schema_with_itself_is_nothing():
    result = invoke("diff", YAML, YAML)
    assert result.exit_code == 0
    assert result.output.startswith("no changes\n")


def test_diff_fails_when_the_version_does_not_rise_by_enough(changed):
    new = changed("ivoa:unit: Jy.Hz", "ivoa:unit: Jy.km/s")
    result = invoke("diff", YAML, new)
    assert result.exit_code == 1
    assert "cube_source.integrated_flux " in result.output
    assert f"must rise from {VERSION} to at least 2.0.0, not {VERSION}" in result.output
    found = json.loads(invoke("diff", YAML, new, "--json").output)
    assert found["required"] == "MAJOR"
    assert found["problem"].startswith("the changes are MAJOR")
    assert [change["where"] for change in found["changes"]] == ["cube_source.integrated_flux", "cube_source.integrated_flux_err"]


def test_diff_is_content_when_it_does(changed):
    risen = VERSION.rpartition(".")[0] + ".99"
    new = changed(f"current: {VERSION}", f"current: {risen}")
    new.write_text(new.read_text().replace("description: title that the pipeline file gives", "description: the pipeline's title"))
    result = invoke("diff", YAML, new)
    assert result.exit_code == 0
    assert f"{VERSION} -> {risen} is enough" in result.output


def test_a_file_that_is_no_schema_is_a_usage_error(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    for content in (b"\xff\xfe\x00", b"name: [", b"name: a"):
        (tmp_path / "a.yaml").write_bytes(content)
        result = invoke("diff", YAML, tmp_path / "a.yaml")
        assert result.exit_code == 2
        assert "Error:" in result.output
