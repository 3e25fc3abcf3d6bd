"""The Slurm of these tests: brought up once, taken down at the end by the process ids that it was started with."""

from __future__ import annotations

import os

import pytest

from . import cluster


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


@pytest.fixture
def queue(slurm):
    """The same Slurm with an empty queue, which a test leaves as it was."""
    yield slurm
    left = slurm.jobs()
    slurm.cancel_all()
    assert not left, f"the test left jobs behind: {left}"
