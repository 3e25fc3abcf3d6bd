"""The Slurm of these tests: brought up once, taken down at the end by the process ids that it was started with."""

from __future__ import annotations

import os

import pytest
from toy import products

from tests.conftest import command_in

from . import cluster, runs


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A Slurm of one node with two fake GPUs; where ASTROSURVEY_REQUIRE_SLURM is set, one that cannot be started is a failure."""
    if why := cluster.missing():
        if os.environ.get("ASTROSURVEY_REQUIRE_SLURM"):
            pytest.fail(f"{why}, and ASTROSURVEY_REQUIRE_SLURM asks for a Slurm")
        pytest.skip(why)
    made = cluster.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        made.up(cluster.free_port())
        yield made
    finally:
        made.down()
    assert not made.processes_of_jobs(), "processes of jobs outlived their Slurm"


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The products of a small simulated survey, run in one process: what every engine must come to."""
    folder = tmp_path_factory.mktemp("demo")
    done = command_in(folder)("run", runs.DEMO, *runs.SMALL, "--out", "run", "--engine", "inline", "--no-report", timeout=220)
    assert done.returncode == 0, done.stderr
    return products(folder / "run")
