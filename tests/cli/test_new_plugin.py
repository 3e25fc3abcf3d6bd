"""`astrosurvey new plugin`: names and places. That what it writes works is law 10 (`tests/laws/test_plugins.py`)."""

from __future__ import annotations

import pytest

from astrosurvey.cli.scaffold import Names, ScaffoldError, names_for


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("shapes", Names("shapes", "shapes", "shapes")),
        ("astrosurvey-shapes", Names("astrosurvey-shapes", "astrosurvey_shapes", "shapes")),
        ("weak-lensing2", Names("weak-lensing2", "weak_lensing2", "weak_lensing2")),
    ],
)
def test_names(name, names):
    assert names_for(name) == names


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("My Shapes", "lower-case letters, digits and -, beginning with a letter; did you mean 'my-shapes'"),
        ("shapes-", "did you mean 'shapes'"),
        ("2mass", "did you mean 'mass'"),
        ("../evil", "did you mean 'evil'"),
        ("äöü", "cannot be a plugin's name"),
        ("astrosurvey", "it has another meaning"),
        ("class", "it has another meaning"),
        ("json", "Python has a module 'json' already; try 'astrosurvey-json'"),
        ("numpy", "Python has a module 'numpy' already"),
        ("astrosurvey-photometry", "astrosurvey .* has the name 'photometry'; choose one of your own"),
        ("builtin", "has the name 'builtin'"),
    ],
)
def test_names_that_will_not_do(name, complaint):
    with pytest.raises(ScaffoldError, match=complaint):
        names_for(name)


def test_nothing_is_overwritten(command_here, tmp_path):
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "mine.txt").write_text("mine")
    refused = command_here("new", "plugin", "shapes")
    assert refused.returncode == 2
    assert "shapes exists; choose another name, or move it away" in refused.stderr
    assert [path.name for path in (tmp_path / "shapes").iterdir()] == ["mine.txt"]


def test_it_says_what_comes_next(command_here, tmp_path):
    (tmp_path / "deep").mkdir()
    done = command_here("new", "plugin", "shapes", "--into", "deep")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "wrote 11 files in deep/shapes; next:"
    assert (tmp_path / "deep" / "shapes" / ".github" / "workflows" / "tests.yml").is_file()
    assert done.stdout.splitlines()[-1].strip() == "astrosurvey stages shapes.compactness"
