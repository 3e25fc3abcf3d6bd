"""Law 10: every plugin in `plugins/`, and a freshly scaffolded one, passes the conformance kit, installed as a stranger would."""

from __future__ import annotations

import json
import shutil
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))


@pytest.fixture
def passes(stranger, tmp_path):
    """A function that runs a plugin's tests against what is installed, away from its source; returns how many passed."""

    def run(source):
        away = tmp_path / "away"
        shutil.copytree(source / "tests", away / "tests")
        shutil.copy(source / "pyproject.toml", away)
        done = stranger("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", cwd=away)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr
        return int(done.stdout.strip().splitlines()[-1].split(" passed")[0].split()[-1])

    return run


def lacking(source):
    """Return what a plugin asks for and is not installed here; some of it is too large to come with the tools of developers."""
    asked = tomllib.loads((source / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [Requirement(line).name for line in asked]
    return [name for name in names if not list(distributions(name=name))]


def test_there_are_plugins():
    assert [path.name for path in PLUGINS] == ["astrosurvey-hats", "astrosurvey-sbi", "astrosurvey-sep"]


@pytest.mark.parametrize("source", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_of_this_repository_passes_its_tests(source, install, passes, astrosurvey, tmp_path):
    copy = tmp_path / "source"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    install(copy)
    listed = {row["package"]: row for row in json.loads(astrosurvey("plugins", "--json"))}
    assert listed[source.name]["registers"]["stages"]
    assert not listed[source.name]["error"]
    if missing := lacking(source):
        pytest.skip(f"{', '.join(missing)}: not installed; `make test-plugins` tries it with all that it asks for")
    assert passes(copy) > 20


def test_a_scaffolded_plugin_passes_its_tests_as_written(install, passes, astrosurvey, tmp_path):
    said = json.loads(astrosurvey("new", "plugin", "astrosurvey-shapes", "--json"))
    source = tmp_path / "astrosurvey-shapes"
    assert said["stage"] == "shapes.compactness"
    assert sorted(said["files"]) == sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    install(source)
    assert passes(source) > 30

    described = json.loads(astrosurvey("stages", "shapes.compactness", "--json"))
    assert described["package"] == "astrosurvey-shapes 0.1.0"
    assert [row["name"] for row in described["settings"]] == ["band", "inner", "outer"]
    pipeline = source / "examples" / "compactness.yaml"
    ran = json.loads(astrosurvey("run", pipeline, "--out", tmp_path / "inline", "--no-report", "--json"))
    assert ran["counts"]["compact"] == {"done": 1}
    # A worker is a process of its own, which must know the plugin's columns too.
    ran = json.loads(astrosurvey("run", pipeline, "--out", tmp_path / "local", "--engine", "local", "--no-report", "--json"))
    assert ran["counts"]["compact"] == {"done": 1}
    stored = [(tmp_path / run / "products" / "compact" / "t0000" / "sources.parquet").read_bytes() for run in ("inline", "local")]
    assert stored[0] == stored[1]


def test_a_scaffolded_plugin_is_tidy(astrosurvey, stranger, tmp_path):
    astrosurvey("new", "plugin", "tidy-words")
    folder = tmp_path / "tidy-words"
    for command in (["format", "--check", "--line-length", "140"], ["check", "--select", "E,F,W,B,UP,SIM", "--line-length", "140"]):
        done = stranger("-m", "ruff", *command, "--isolated", folder)
        assert done.returncode == 0, done.stdout + done.stderr
    text = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert "my_" not in text
    assert "my-" not in text
    assert "x_tidy_words_compactness" in text
