"""The same survey inline, on local workers, on Slurm's workers and as a Slurm array: the same bytes, catalogue included."""

from __future__ import annotations

import os
import subprocess

import pytest
from toy import products

from .cluster import wait_until
from .runs import DEMO, PATHS, SMALL, site

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize("engine", ["local, 1 worker", "local, 2 workers", "slurm"])
def test_every_engine_gives_the_same_bytes(slurm, command, tmp_path, demo, engine):
    how = ("--engine", site(tmp_path)) if engine == "slurm" else ("--engine", "local", "--workers", engine.split()[1])
    done = command("run", DEMO, *SMALL, "--out", "run", "--no-report", *how, env=slurm.environment)
    assert done.returncode == 0, done.stderr
    assert products(tmp_path / "run") == demo


def test_an_array_gives_the_same_bytes(slurm, command, tmp_path, demo):
    where = site(tmp_path, array={"tiles": 3})
    planned = command("plan", DEMO, *SMALL, "--slurm-array", "--engine", where, "--out", "run", env=slurm.environment)
    assert planned.returncode == 0, planned.stderr
    environment = {**os.environ, **slurm.environment, "PYTHONPATH": PATHS}
    subprocess.run(tmp_path / "run" / "array" / "submit.sh", env=environment, check=True, stdout=subprocess.DEVNULL)
    wait_until(lambda: not slurm.jobs(), 200, "the array does not end")
    collected = command("collect", "run", "--no-report", env=slurm.environment)
    assert collected.returncode == 0, collected.stderr
    assert products(tmp_path / "run") == demo
