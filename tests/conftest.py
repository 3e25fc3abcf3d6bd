"""Fixtures of the whole suite."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "toyplugin"


def pytest_runtest_setup(item):
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device")


@pytest.fixture(scope="session")
def toys():
    """The registry that knows the toy plugin's stages, and no others."""
    from astrosurvey import plugins

    registry = plugins.load_from([EntryPoint("toy", "toy", "astrosurvey")])
    assert not registry.broken
    return registry


@pytest.fixture
def toy_pipeline(toys):
    """A function that builds a pipeline of toy stages from keyword arguments."""
    from astrosurvey import Pipeline

    def build(base=".", **values):
        return Pipeline.build({"astrosurvey": 1, **values}, toys, base=base)

    return build


@pytest.fixture
def command(tmp_path):
    """A function that runs the command line in a process of its own, with the toy plugin installed."""

    def run(*arguments, timeout=120, wait=True, env=None):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), str(TOY)]),
            "NO_COLOR": "1",
            **(env or {}),
        }
        argv = [sys.executable, "-c", "from astrosurvey.cli import main; main()", *map(str, arguments)]
        if not wait:
            return subprocess.Popen(argv, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=timeout, check=False)

    return run


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data; where the variable is set, a missing file is a failure."""
    folder = os.environ.get("ASTROSURVEY_TEST_DATA")
    if not folder:
        pytest.skip("ASTROSURVEY_TEST_DATA is not set")
    return Path(folder)
