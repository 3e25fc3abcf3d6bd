"""Law 6: the command line starts at once because it imports nothing it does not need."""

import subprocess
import sys

import pytest

HEAVY = ["torch", "numba", "astropy", "photutils", "scipy", "pyarrow", "dask", "distributed", "matplotlib", "numpy", "pydantic", "fitsio"]


def imported_by(code):
    check = f"import sys\n{code}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return eval(done.stdout.strip().splitlines()[-1])


def test_importing_the_package_imports_nothing_heavy():
    assert imported_by("import astrosurvey") == []


def test_help_imports_nothing_heavy():
    code = "from astrosurvey.cli import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass"
    assert imported_by(code) == []


@pytest.mark.parametrize("arguments", [["stages"], ["plugins"], ["validate", "--help"]])
def test_listing_stages_and_plugins_imports_no_numerical_library(arguments):
    code = f"from astrosurvey.cli import cli\ntry: cli.main({arguments!r})\nexcept SystemExit: pass"
    assert set(imported_by(code)) <= {"numpy", "pydantic"}


def test_every_public_name_is_there():
    import astrosurvey

    for name in astrosurvey.__all__:
        assert getattr(astrosurvey, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = astrosurvey.nothing
