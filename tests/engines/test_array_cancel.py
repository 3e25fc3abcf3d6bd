"""`astrosurvey cancel` of a run that a process of this machine is at."""

import json
import time

from astrosurvey.core.store import Store


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
