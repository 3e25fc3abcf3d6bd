"""A driver that is killed leaves no job and no process; run again, it ends with the same bytes and has lost no more than was in flight."""

from __future__ import annotations

import random
import time

import pytest
from toy import products

from .cluster import wait_until
from .runs import DEMO, SMALL, finished, pipeline, site, started_again

pytestmark = pytest.mark.slurm

_random = random.Random(11)
MOMENTS = [0, *sorted(_random.sample(range(1, 36), 2))]
"""How many tasks are done when the driver is killed: the first time none, as the first worker has just begun."""


def test_a_driver_killed_at_random_times_resumes_to_the_same_bytes(slurm, command, tmp_path, demo):
    out, where = tmp_path / "run", site(tmp_path)
    arguments = ("run", DEMO, *SMALL, "--out", out, "--engine", where, "--no-report")
    for moment in MOMENTS:
        driver = command(*arguments, wait=False, env=slurm.environment)
        began = lambda moment=moment: finished(out) >= moment if moment else slurm.processes_of_jobs()  # noqa: E731
        wait_until(lambda driver=driver, began=began: driver.poll() is not None or began(), 120, "the run does not get on")
        time.sleep(_random.uniform(0, 0.2))
        assert driver.poll() is None, driver.communicate()[1]
        driver.kill()
        driver.communicate()
        wait_until(lambda: not slurm.jobs() and not slurm.processes_of_jobs(), 60, "jobs outlived their driver")
    resumed = command(*arguments, env=slurm.environment)
    assert resumed.returncode == 0, resumed.stderr
    assert products(out) == demo
    assert started_again(out) <= 2 * len(MOMENTS)  # one task a worker
    wait_until(lambda: not slurm.jobs() and not slurm.processes_of_jobs(), 60, "jobs outlived their driver")


def test_a_second_driver_refuses_and_names_the_first(slurm, command, tmp_path):
    stages = {"make": {"use": "toy.make", "seconds": 1}}
    arguments = ("run", pipeline(tmp_path, tiles={"count": 20}, stages=stages), "--out", tmp_path / "run", "--no-report")
    first = command(*arguments, "--engine", site(tmp_path), wait=False, env=slurm.environment)
    wait_until(lambda: first.poll() is not None or finished(tmp_path / "run"), 120, "the run does not get on")
    second = command(*arguments, "--engine", tmp_path / "site.yaml", env=slurm.environment)
    assert second.returncode == 3, second.stderr
    assert slurm.host in second.stderr
    assert str(first.pid) in second.stderr
    first.terminate()  # SIGTERM drains
    first.communicate(timeout=60)
    assert first.returncode == 130
    wait_until(lambda: not slurm.jobs() and not slurm.processes_of_jobs(), 60, "jobs outlived their driver")
