"""Law 9: every hook, setting, table, stage and command is documented, and what is generated is fresh."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import astrosurvey
from astrosurvey import hookspecs
from astrosurvey.catalog.schema import core
from astrosurvey.core.plan import State
from astrosurvey.core.run import ExitCode
from tools import reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


STAGES = {stage.name: stage for stages in reference.families().values() for stage in stages}
COMMANDS = dict(reference.commands())


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def test_generated_pages_and_console_blocks_are_fresh():
    environment = {**os.environ, "ASTROSURVEY_PLUGINS": "", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT / "tools" / "generate_docs.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"stale, run `make generate`:\n{done.stdout}{done.stderr[-2000:]}"


@pytest.mark.parametrize("name", [name for name, hook in vars(hookspecs).items() if hasattr(hook, "astrosurvey_spec")])
def test_every_hook_is_documented(name):
    assert len(inspect.getdoc(getattr(hookspecs, name)) or "") > 40
    assert f"\n## {name}\n" in page("reference/hooks.md")


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_every_stage_and_every_setting_is_documented(stage):
    text = page(f"reference/stages/{stage.name.partition('.')[0]}.md")
    assert f"\n## {stage.name}\n" in text
    rows = list(reference.setting_rows(stage.Config))
    assert all(row in text for row in rows)
    undescribed = [row for row in rows if len(row.rstrip(" |").rpartition("|")[2].strip()) < 8]
    assert not undescribed


HOW_TO = {"sbi": "inference"}
"""Families whose page is not called as they are."""


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_has_a_page_on_how_to_use_it(name):
    family = name.partition(".")[0]
    text = page(f"how-to/{HOW_TO.get(family, family)}.md")
    assert f"`{name}`" in text
    assert f"use: {name}" in text


def test_every_table_and_column_is_documented():
    text = page("reference/schema.md")
    for table in core().tables.values():
        section = text.partition(f"\n## {table.name}\n")[2].partition("\n## ")[0]
        assert table.description in section
        missing = [c.name for c in table.columns if f"`{c.name}`" not in section or not c.description]
        assert not missing


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_and_option_is_documented(words):
    command = COMMANDS[words]
    assert f"\n## {words}\n" in page("reference/cli.md")
    assert (command.help or "").strip()
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name
        elif parameter.metavar is None:
            assert parameter.name.upper() in command.help, f"the help of {words} does not say what {parameter.name.upper()} is"


def test_the_list_of_commands_names_what_there_is():
    from astrosurvey.cli import COMMANDS as LISTED

    assert {words.partition(" ")[0] for words in COMMANDS} == set(LISTED)


@pytest.mark.parametrize("code", list(ExitCode), ids=lambda c: c.name)
def test_every_exit_code_is_documented(code):
    assert f"| {int(code)} | {code.name} |" in page("concepts/errors.md")


def test_every_state_and_event_is_documented():
    text = page("concepts/resume.md")
    assert [s for s in State if f"`{s}`" not in text] == []
    emitted = set(re.findall(r'emit\(\s*"(\w+)"', (ROOT / "astrosurvey" / "core" / "run.py").read_text()))
    assert len(emitted) > 5
    assert [kind for kind in emitted if f"`{kind}`" not in page("reference/run-directory.md")] == []


def test_every_environment_variable_is_documented():
    folders = ("astrosurvey", "tests", "tools", "examples", "plugins", "benchmarks")
    files = [f for folder in folders for ending in ("py", "yaml") for f in (ROOT / folder).rglob(f"*.{ending}")]
    used = {name for file in files for name in re.findall(r"\bASTROSURVEY_[A-Z_]*[A-Z]\b", file.read_text(encoding="utf-8"))}
    used |= set(re.findall(r"\bASTROSURVEY_[A-Z_]*[A-Z]\b", (ROOT / ".ci" / "run").read_text()))
    assert used
    assert [name for name in sorted(used) if f"`{name}`" not in page("reference/environment.md")] == []


def test_every_public_name_is_documented():
    text = page("reference/python.md")
    assert [name for name in astrosurvey.__all__ if not re.search(rf"(\.{name}\n|`{name}`)", text)] == []


def test_every_product_is_documented():
    from astrosurvey import products

    assert [name for name in products.__all__ if f"\n## {name}\n" not in page("reference/products.md")] == []


def test_every_decision_is_listed():
    written = sorted(path.name for path in (DOCS / "adr").glob("0*.md"))
    assert [name[:4] for name in written] == [f"{n:04d}" for n in range(1, len(written) + 1)]
    assert [name for name in written if name not in page("adr/index.md")] == []


def test_one_version_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version == astrosurvey.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_change_notes_are_collected():
    fragments = [path for path in (ROOT / "changelog.d").iterdir() if path.suffix == ".md"]
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "9.9.9", "--date", "2030-01-01"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lost = [path.name for path in fragments if path.read_text().split("\n")[0] not in done.stdout]
    assert not lost, "name fragments +short-name.feature.md, or change, fix, removal in feature's place"
