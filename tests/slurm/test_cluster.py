"""The Slurm of the tests itself: it runs jobs, hands out its fake GPUs, survives the loss of its node, and leaves nothing."""

from __future__ import annotations

import pytest

from .cluster import Cluster, free_port, wait_until

pytestmark = pytest.mark.slurm


def submit(slurm, folder, script, *options):
    """Submit a job of one core and 100 MB that writes to a file named by its id; return the id."""
    return slurm.ask("sbatch", "--parsable", "--mem=100M", "-o", f"{folder}/%A.out", *options, "--wrap", script)


def test_two_jobs_at_once_have_two_devices(slurm, tmp_path):
    ids = [submit(slurm, tmp_path, "echo $CUDA_VISIBLE_DEVICES; sleep 100", "--gres=gpu:1") for _ in range(2)]
    told = lambda: sorted((tmp_path / f"{job}.out").read_text().strip() for job in ids if (tmp_path / f"{job}.out").exists())  # noqa: E731
    wait_until(lambda: told() == ["0", "1"], 60, "the jobs do not tell their devices")
    slurm.cancel_all()
    assert not slurm.jobs()
    assert not slurm.processes_of_jobs()


def test_it_goes_down_with_its_jobs_and_leaves_no_process(slurm, tmp_path):
    other = Cluster(tmp_path / "other")
    try:
        other.up(free_port())
        job = submit(other, tmp_path, "trap '' TERM; touch started; while true; do sleep 1; done", f"--chdir={tmp_path}")
        wait_until((tmp_path / "started").exists, 60, "the job does not start")
        assert other.jobs() == {job: "RUNNING"}
        assert len(other.processes_of_jobs()) >= 2
    finally:
        other.down()
    assert not other.processes_of_jobs()
    assert not other.daemons()
    assert slurm.ask("sinfo", "-h", "-o", "%T") == "idle"
