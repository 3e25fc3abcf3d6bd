"""The same survey inline, on local workers, on Slurm's workers and as a Slurm array: the same bytes, catalogue included."""

from __future__ import annotations

import pytest
from toy import products

from .runs import DEMO, SMALL, site

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize("engine", ["local, 1 worker", "local, 2 workers", "slurm"])
def test_every_engine_gives_the_same_bytes(slurm, command, tmp_path, demo, engine):
    how = ("--engine", site(tmp_path)) if engine == "slurm" else ("--engine", "local", "--workers", engine.split()[1])
    done = command("run", DEMO, *SMALL, "--out", "run", "--no-report", *how, env=slurm.environment)
    assert done.returncode == 0, done.stderr
    assert products(tmp_path / "run") == demo
