"""The digest of a simulator: another when what it computes may be another, and the same when only words changed."""

from __future__ import annotations

import importlib
import sys
import textwrap

import pytest

from astrosurvey.stages.sbi import source

STAGE = '''
    """A plugin."""
    from astrosurvey import FilePath, Field, Simulator, StageConfig

    class Line(Simulator):
        """Simulate a line."""

        name, version, scope = "digest_test.line", 1, "tile"
        parameters = {"a": ""}

        class Config(StageConfig):
            """The line."""

            grid: FilePath = Field("", description="of it")
            factor: float = Field(1.0, description="of it")

        def simulate(self, theta, random):
            from .method import line  # as stages do

            return line(theta)
    '''
FILES = {"__init__": "", "stage": STAGE, "method": "from . import deeper\n\ndef line(a):\n    return deeper.twice(a)\n"}
DEEPER = "def twice(a):\n    return 2 * a\n"


@pytest.fixture
def identity(tmp_path, monkeypatch):
    """Return a function that writes a plugin's files, and returns what its simulator says of itself."""
    monkeypatch.syspath_prepend(str(tmp_path))
    count = iter(range(100))

    def written(settings=None, **files):
        package = f"digest_plugin_{next(count)}"
        for name, text in {**FILES, "deeper": DEEPER, "unused": "", **files}.items():
            path = tmp_path / package / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        cls = importlib.import_module(f"{package}.stage").Line
        said = cls(cls.Config.model_validate(settings or {})).identity()
        monkeypatch.delitem(sys.modules, package)
        return said

    return written


def test_what_it_computes_counts_and_words_do_not(identity):
    first = identity()
    assert len(first["digest"]) == 64
    assert identity(unused="print(1)") == first
    assert identity(deeper="# a comment\n\n" + DEEPER.replace("(a):", '(a):\n    """Return it twice."""')) == first
    assert identity(stage=STAGE.replace("Simulate a line.", "Simulate another line.")) == first
    changed = [
        identity(deeper=DEEPER.replace("2", "3")),
        identity(stage=STAGE.replace("line(theta)", "line(-theta)")),
        identity({"factor": 2.0}),
    ]
    assert len({one["digest"] for one in (first, *changed)}) == 4


def test_files_count_by_what_is_in_them(identity, tmp_path):
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("1")
    other.write_text("1")
    first = identity({"grid": str(one)})
    assert identity({"grid": str(other)}) == first
    assert first["settings"]["grid"] == ""
    other.write_text("23")
    assert identity({"grid": str(other)})["digest"] != first["digest"]
    assert identity({"grid": str(tmp_path / "none")})["files"] == [""]


def test_a_module_without_source_has_a_digest_too():
    assert source.source_digest(("math", "no.such.module")) == source.source_digest(())
