"""Fixtures of the whole suite."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "toyplugin"

# Read by torch's OpenMP when it is loaded: two threads of it in each of two workers would burn the time that they wait for each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Hundreds of processes are started, and each would compile the package's Python again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

FIRST = (
    "tests/kernels/test_all.py",  # compiles every kernel, once, while the other worker does what needs none of them
    "tests/cli/test_cli.py",
    "tests/laws/test_resume.py",
    "tests/test_plugins.py",
    "tests/engines/",
    "tests/core/",
    "tests/catalog/",
    "tests/testing/",
    "tests/products/",
    "tests/fits_corpus/",
    "tests/networks/",
    "tests/stages/sbi/",
    "tests/stages/io/",
    "tests/laws/test_plugins.py",
    "tests/test_examples.py",  # long, and so not last
    "tests/laws/test_tutorials.py",
    "tests/laws/test_stages.py",
)


def pytest_collection_modifyitems(items):
    """Begin with the files that are named in FIRST; the others follow as they were found."""

    def place(item):
        path = item.nodeid.partition("::")[0]
        return next((k for k, first in enumerate(FIRST) if path.startswith(first)), len(FIRST))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give a worker of pytest-xdist one class or file after the other, in the order of the tests: what they share is made once."""
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False
    return LoadScopeScheduling(config, log)


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


def command_in(folder):
    """Return a function that runs the command line in a process of its own, in a folder, with the toy plugin installed."""

    def run(*arguments, timeout=120, wait=True, env=None):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), str(TOY)]),
            "NO_COLOR": "1",
            **(env or {}),
        }
        argv = [sys.executable, "-c", "from astrosurvey.cli import main; main()", *map(str, arguments)]
        if not wait:
            return subprocess.Popen(argv, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return subprocess.run(argv, env=environment, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)

    return run


@pytest.fixture
def command(tmp_path):
    """A function that runs the command line in a process of its own, in the test's folder."""
    return command_in(tmp_path)


@pytest.fixture
def command_here(tmp_path, monkeypatch, capsys):
    """The same in this process, without the seconds of a start: for what a process of its own has no part in."""
    from astrosurvey.cli import main

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["astrosurvey", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return subprocess.CompletedProcess(sys.argv, ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def command_of_module(tmp_path_factory):
    """The same for what the tests of a module share: a folder, and the function that runs the command line in it."""
    folder = tmp_path_factory.mktemp("module")
    return folder, command_in(folder)


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data; where the variable is set, a missing file is a failure."""
    folder = os.environ.get("ASTROSURVEY_TEST_DATA")
    if not folder:
        pytest.skip("ASTROSURVEY_TEST_DATA is not set")
    return Path(folder)
