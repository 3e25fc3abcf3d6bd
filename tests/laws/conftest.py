"""Fixtures of the laws about plugins: an installation as a stranger has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stranger(tmp_path):
    """A function that runs Python where a stranger's plugin is installed and astrosurvey's own tests are not."""

    def run(*arguments, cwd=tmp_path):
        path = os.pathsep.join(filter(None, [str(tmp_path / "site"), str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        environment.pop("PYTEST_ADDOPTS", None)
        return subprocess.run(
            [sys.executable, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return run


@pytest.fixture
def astrosurvey(stranger):
    """The command line, with the stranger's plugin installed."""

    def run(*arguments, **more):
        done = stranger("-c", "from astrosurvey.cli import main; main()", *arguments, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def install(stranger, tmp_path):
    """A function that installs a plugin from its source, without a network."""

    def run(source):
        offline = ["--no-index", "--no-deps", "--no-build-isolation"]
        done = stranger("-m", "pip", "install", "-q", *offline, "--target", tmp_path / "site", source)
        assert done.returncode == 0, done.stderr

    return run
