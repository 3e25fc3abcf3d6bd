"""`astrosurvey engine check` on a real Slurm: what a worker finds, and Slurm's own words where it will not have the job."""

from __future__ import annotations

import json

import pytest

from .runs import site

pytestmark = pytest.mark.slurm


def checked(slurm, command, where, wait=60):
    done = command("engine", "check", "--engine", where, "--wait", wait, "--json", env=slurm.environment)
    return done.returncode, {row["pool"]: (row["ok"], row["found"]) for row in json.loads(done.stdout)}


def test_each_kind_of_job_is_tried_and_none_is_left(slurm, command, tmp_path):
    code, found = checked(slurm, command, site(tmp_path, scratch=str(tmp_path / "scratch"), resources={"toy.*": {"gpus": 1}}))
    assert code == 2, found  # the GPUs of this Slurm are fakes
    assert "gave the job GPU" in found["toy"][1]
    assert "but CUDA cannot use it" in found["toy"][1]
    assert found["default"][0], found
    assert "started on" in found["default"][1]
    slurm.cancel_all()
    assert not list(tmp_path.glob(".astrosurvey-check-*"))


def test_a_queue_that_is_not_there_is_said_in_slurms_words(slurm, command, tmp_path):
    code, found = checked(slurm, command, site(tmp_path, queue="nowhere"))
    assert code == 2
    assert "invalid partition specified: nowhere" in found["default"][1]
