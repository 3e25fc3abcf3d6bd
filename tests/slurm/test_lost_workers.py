"""Jobs that are cancelled, a node that is lost: the run goes on with new jobs, ends well, and counts what it tried again."""

from __future__ import annotations

import json
import time

import pytest
from toy import products

from .cluster import wait_until
from .runs import finished, pipeline, retried, site

pytestmark = pytest.mark.slurm

STAGES = {
    "make": {"use": "toy.make", "seconds": 1.0},
    "noise": {"use": "toy.random", "in": "make"},
    "total": {"use": "toy.total", "in": "noise"},
}


@pytest.fixture
def long_run(slurm, command, tmp_path):
    """A run on two workers that takes some time, and a function that waits for its end and holds it to what it must be."""
    out = tmp_path / "run"
    arguments = ("run", pipeline(tmp_path, tiles={"count": 30}, stages=STAGES), "--no-report")
    driver = command(*arguments, "--out", out, "--engine", site(tmp_path), wait=False, env=slurm.environment)
    wait_until(lambda: driver.poll() is not None or running(slurm) == 2, 120, "two jobs do not start")
    wait_until(lambda: driver.poll() is not None or finished(out) > 2, 120, "the run does not get on")

    def end():
        said = driver.communicate(timeout=200)
        assert driver.returncode == 0, said
        undisturbed = command(*arguments, "--out", tmp_path / "undisturbed", env={"TOY_AWAKE": "1"})
        assert undisturbed.returncode == 0, undisturbed.stderr
        assert products(out) == products(tmp_path / "undisturbed")
        assert json.loads((out / "run.json").read_text())["retries"] == len(retried(out))
        return retried(out)

    yield driver, end
    driver.kill()
    driver.communicate()
    slurm.cancel_all()


def running(slurm):
    """Return how many jobs run."""
    return list(slurm.jobs().values()).count("RUNNING")


def test_a_cancelled_job_is_replaced(slurm, long_run):
    driver, end = long_run
    before = slurm.jobs()
    slurm.ask("scancel", next(iter(before)))
    cancelled = time.monotonic()
    new = lambda: [job for job, state in slurm.jobs().items() if state == "RUNNING" and job not in before]  # noqa: E731
    wait_until(lambda: driver.poll() is not None or new(), 60, "the lost worker is not replaced")
    assert time.monotonic() - cancelled < 20
    end()  # its task may have ended in the seconds between SIGTERM and SIGKILL, and is not run again then


def test_a_run_survives_the_loss_of_its_node(slurm, long_run):
    _, end = long_run
    slurm.kill_node()
    slurm.start_node()
    assert end(), "nothing was tried again"
