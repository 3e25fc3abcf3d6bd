"""A worker a device: two tasks at once see two devices, as Slurm has set them, and stages without GPUs hold none."""

from __future__ import annotations

import json

import pytest

from .runs import pipeline, site

pytestmark = pytest.mark.slurm


def test_two_tasks_at_once_have_two_devices(slurm, command, tmp_path):
    (tmp_path / "markers").mkdir()
    stages = {"make": {"use": "toy.make"}, "meet": {"use": "toy.meet", "in": "make"}}
    where = site(tmp_path, idle=5, resources={"toy.meet": {"gpus": 1}})  # the node has cores for two jobs
    environment = {**slurm.environment, "TOY_MARKERS": str(tmp_path / "markers")}
    path = pipeline(tmp_path, tiles={"count": 2}, stages=stages)
    done = command("run", path, "--out", "run", "--engine", where, "--no-report", "--device", "cpu", env=environment)
    assert done.returncode == 0, done.stderr
    seen, recorded = [], []
    for tile in ("t0000", "t0001"):
        folder = tmp_path / "run" / "products" / "meet" / tile
        seen.append(json.loads((folder / "number.json").read_text())["value"])
        recorded.append(json.loads((folder / "task.json").read_text())["facts"]["gpu"])
        made = json.loads((tmp_path / "run" / "products" / "make" / tile / "task.json").read_text())
        assert made["facts"]["gpu"] == ""
    assert sorted(seen) == [0, 1]
    assert [float(device) for device in recorded] == seen
