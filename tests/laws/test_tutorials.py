"""The tutorial for authors of stages does what it says: its files are written, its commands run, its outputs seen."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page):
    return [match.groups() for match in BLOCK.finditer((DOCS / page).read_text(encoding="utf-8"))]


@pytest.fixture
def shell(stranger, install, tmp_path):
    """A function that runs a line of a tutorial; pip installs without a network, where a stranger would look for it."""

    def run(line):
        program, *words = shlex.split(line)
        if program == "pip":
            assert words == ["install", "."]
            install(tmp_path)
            return ""
        done = stranger(*{"python": [], "astrosurvey": ["-c", "from astrosurvey.cli import main; main()"]}[program], *words)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    return run


def test_write_a_stage(shell, tmp_path):
    said, played = "", 0
    for language, title, text in blocks("tutorials/write-a-stage.md"):
        if title:
            name, _, place = title.partition(", ")
            assert place in ("", "at the end")
            before = (tmp_path / name).read_text() + "\n\n" if place else ""
            (tmp_path / name).write_text(before + text)
        elif language == "sh":
            said = "".join(map(shell, text.splitlines()))
        else:
            assert language == "text", f"a block of {language} without a title is not tried"
            missing = [line for line in text.splitlines() if line not in said]
            assert not missing, f"{missing} not in\n{said}"
        played += 1
    assert played >= 12


@pytest.mark.parametrize(("generator", "sound"), [("np.random", False), ("ctx.rng", True)])
def test_the_mistake_that_the_tutorial_invites_to_is_found(stranger, tmp_path, generator, sound):
    for _, title, text in blocks("tutorials/write-a-stage.md"):
        if title in ("colours.py", "test_colours.py"):
            (tmp_path / title).write_text(text)
    stage = (tmp_path / "colours.py").read_text()
    changed = re.sub(r"(-2\.5 \* np\.log10\(.*\))", rf"\1 + 0.001 * {generator}.random()", stage)
    assert changed != stage
    (tmp_path / "colours.py").write_text(changed)
    done = stranger("-m", "pytest", "-q", "-k", "equal_inputs", "-p", "no:cacheprovider")
    assert ("take randomness from ctx.rng alone" in done.stdout) is not sound
    assert ("1 passed" in done.stdout) is sound


def test_python_in_the_page_about_plugins_is_python():
    found = [text for language, _, text in blocks("how-to/plugins.md") if language == "python"]
    assert len(found) >= 3
    for text in found:
        compile(text, "how-to/plugins.md", "exec")


def test_the_fragment_in_the_page_about_plugins_is_sound(tmp_path):
    from astrosurvey.catalog.felis import read_fragment
    from astrosurvey.catalog.schema import core

    (text,) = [text for language, _, text in blocks("how-to/plugins.md") if language == "yaml"]
    (tmp_path / "tables.yaml").write_text(text)
    fragment = read_fragment(tmp_path / "tables.yaml", "shapes", core())
    assert [column.name for column in fragment.tables["source"].extras] == ["x_shapes_compactness"]
