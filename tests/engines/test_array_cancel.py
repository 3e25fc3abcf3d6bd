"""`astrosurvey cancel` of a run that a process of this machine is at, or was."""

import json
import time

import pytest

from astrosurvey.core import owner
from astrosurvey.core.lock import RunLock
from astrosurvey.core.store import Store
from astrosurvey.engines.array.cancel import cancel
from astrosurvey.engines.array.layout import ArrayError
from astrosurvey.engines.jobs import Jobs


def wait_for_start(root, process):
    while process.poll() is None:
        if (root / "events.jsonl").is_file() and "task_started" in (root / "events.jsonl").read_text():
            return
        time.sleep(0.05)
    raise AssertionError(process.communicate())


def test_the_process_finishes_its_running_tasks_and_the_run_can_go_on(command, tmp_path):
    stages = "{make: {use: toy.make, seconds: 2}}"
    (tmp_path / "p.yaml").write_text(f"astrosurvey: 1\ntiles: {{count: 3}}\nstages: {stages}\n")
    running = command("run", "p.yaml", "--out", "run", "--no-report", wait=False)
    wait_for_start(tmp_path / "run", running)
    done = command("cancel", "run", "--json")
    assert done.returncode == 0, done.stderr
    running.communicate(timeout=60)
    assert running.returncode == 130
    (said,) = json.loads(done.stdout)["ended"]
    assert said.startswith(f"process {running.pid} on ")
    assert 1 <= len(list(Store(tmp_path / "run").published())) < 3
    assert "nothing is at work" in command("cancel", "run").stdout
    again = command("run", "p.yaml", "--out", "run", "--no-report", env={"TOY_AWAKE": "1"})
    assert again.returncode == 0, again.stderr


def test_jobs_of_a_killed_coordinator_are_ended(slurm, tmp_path):
    Jobs(tmp_path, "slurm").add("17", "default")
    assert cancel(tmp_path, patience=1) == ["1 job of a coordinator that was killed"]
    assert slurm.cancelled == ["17"]
    assert cancel(tmp_path, patience=1) == []


def test_the_number_of_a_process_in_another_container_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("os.kill", lambda *_: pytest.fail("a process of this container was ended"))
    place = owner._place()
    with RunLock(tmp_path / "run.lock"):
        monkeypatch.setattr(owner, "_place", lambda: (place[0], "pid:[1]", place[2]))
        with pytest.raises(ArrayError, match="in another container .* do this where it runs"):
            cancel(tmp_path, patience=1)
