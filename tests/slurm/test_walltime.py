"""Time that is up: a worker goes before the batch system ends its job, and the next one takes over."""

from __future__ import annotations

import json

import pytest

from .cluster import wait_until
from .runs import pipeline, retried, site

pytestmark = pytest.mark.slurm


def test_workers_hand_over_before_their_walltime_is_up(slurm, command, tmp_path):
    out = tmp_path / "run"
    path = pipeline(tmp_path, tiles={"count": 95}, stages={"make": {"use": "toy.make", "seconds": 1.0}})
    where = site(tmp_path, walltime="00:02:00", workers={"maximum": 1})
    done = command("run", path, "--no-report", "--out", out, "--engine", where, env=slurm.environment, timeout=230)
    assert done.returncode == 0, done.stderr
    assert len({json.loads(path.read_text())["facts"]["pid"] for path in out.glob("products/*/*/task.json")}) > 1
    assert not any("DUE TO TIME LIMIT" in path.read_text() for path in out.glob("jobs/*"))
    assert len(retried(out)) <= 1
    wait_until(lambda: not slurm.jobs() and not slurm.processes_of_jobs(), 60, "jobs outlived their driver")
