"""Runs as job arrays on a real Slurm: jobs are cancelled, run out of memory, hang, are told to stop; nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from toy import products

from astrosurvey.engines.array.layout import read_plan

from .cluster import wait_until
from .runs import DEMO, SMALL

pytestmark = pytest.mark.slurm

TESTS = Path(__file__).parents[1]
PATHS = os.pathsep.join(map(str, (TESTS.parent, TESTS / "toyplugin")))
AFTER = """\
  total: {use: toy.total, in: break}
  share: {use: toy.share, in: {number: break, total: total.number}}
"""


@pytest.fixture
def queue(slurm):
    """The Slurm of the tests with an empty queue, which a test leaves as it was."""
    yield slurm
    left = slurm.jobs()
    slurm.cancel_all()
    assert not left, f"the test left jobs behind: {left}"


def toys(folder, *, seconds=0, breaks="", run="{}"):
    """Write a pipeline of toy stages on two tiles."""
    stages = f"  make: {{use: toy.make, seconds: {seconds}}}\n  break: {{use: toy.break, in: make, {breaks}}}\n{AFTER}"
    (folder / "p.yaml").write_text(f"astrosurvey: 1\ntiles: {{count: 2}}\nrun: {run}\nstages:\n{stages}")
    return "p.yaml"


class Run:
    """A run as job arrays, driven as a person would."""

    def __init__(self, slurm, command, folder, *pipeline, site=""):
        self.slurm, self.command, self.folder, self.root = slurm, command, folder, folder / "run"
        (folder / "site.yaml").write_text(f"engine: slurm\nmemory: 500MiB\nwalltime: 00:10:00\nworkers: {{maximum: 2}}\n{site}")
        self("plan", *pipeline, "--slurm-array", "--engine", "site.yaml", "--out", "run")
        self.plan = read_plan(self.root)

    def __call__(self, *arguments, code=0, **environment):
        done = self.command(*arguments, env={**self.slurm.environment, **environment})
        assert done.returncode == code, done.stderr
        return done

    def submit(self, code=0):
        environment = {**os.environ, **self.slurm.environment, "PYTHONPATH": PATHS}
        done = subprocess.run(self.plan.folder / "submit.sh", env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        return done

    def log(self, element):
        path = self.plan.log(element)
        return path.read_text() if path.is_file() else ""

    def wait_for(self, element, text):
        wait_until(lambda: text in self.log(element), 60, f"element {element} does not say {text}")

    def wait(self):
        wait_until(lambda: not self.slurm.jobs(), 120, "the jobs do not end")

    def collect(self, *arguments, code=0):
        return json.loads(self("collect", "run", "--no-report", "--json", *arguments, code=code).stdout)

    def job(self, element):
        """Return Slurm's name of an element of the first wave."""
        return f"{json.loads((self.plan.folder / 'jobs.json').read_text())['jobs'][0]['id']}_{element}"

    def same_as_inline(self):
        self("run", "p.yaml", "--out", "inline", "--no-report", TOY_AWAKE="1")
        return products(self.root) == products(self.folder / "inline")


def test_a_cancelled_element_is_submitted_again_and_a_task_gets_more_memory_once(queue, command, tmp_path):
    run = Run(
        queue, command, tmp_path, toys(tmp_path, seconds=8, breaks="how: hog, tiles: [t0000], hoard: 500e6"), site="memory_factor: 4\n"
    )
    run.submit()
    run.wait_for(1, "task_started")
    queue.ask("scancel", run.job(1))
    assert "are in Slurm's queue" in run.submit(code=3).stderr
    assert "are in Slurm's queue" in run("run", "p.yaml", "--out", "run", code=3).stderr
    assert "submitted to Slurm" in run("status", "run").stdout
    run.wait()
    found = run.collect(code=3)
    assert found["elements"]["open"] == [1, 2, 3, 4]  # what reads from it has waited
    assert found["elements"]["settled_tasks"] == 2
    assert found["counts"]["break"] == {"done": 1, "pending": 1}
    run("collect", "run", "--no-report", "--resubmit", code=3, TOY_AWAKE="1")
    run.wait()
    assert run.collect()["counts"]["share"] == {"done": 2}
    retried = [event["data"] for event in map(json.loads, run.log(0).splitlines()) if event["kind"] == "task_retried"]
    assert ["its limit is 524 MB" in data["message"] for data in retried] == [True]
    assert json.loads((run.root / "run.json").read_text())["retries"] == 1
    assert run.same_as_inline()


def test_told_to_stop_it_goes_on_in_the_next_job(queue, command, tmp_path):
    pipeline = toys(tmp_path, seconds=4, breaks="how: hang, tiles: [t0001]", run="{retries: 0}")
    run = Run(queue, command, tmp_path, pipeline, site="time_limit: 6\narray: {tiles: 2}\n")
    run.submit()
    run.wait_for(0, "task_started")
    queue.ask("scancel", "--batch", "--signal=USR1", run.job(0))  # as Slurm does before the walltime
    run.wait()
    found = run.collect(code=1)
    assert run.log(0).count('"run_started"') == 2
    assert found["counts"]["make"] == {"done": 2}
    assert found["counts"]["break"] == {"done": 1, "failed": 1}
    assert "not done after 6 s" in found["failures"][0]["message"]


def test_cancel_leaves_nothing(queue, command, tmp_path):
    run = Run(queue, command, tmp_path, toys(tmp_path, seconds=60))
    run.submit()
    run.wait_for(0, "task_started")
    assert "Slurm jobs" in run("cancel", "run").stdout
    assert not queue.jobs()
    assert not queue.processes_of_jobs()
    assert not [path for path in run.root.rglob("*") if path.name.startswith((".new-", ".old-")) or path.match("scratch/*")]
    run("run", "p.yaml", "--out", "run", "--no-report", TOY_AWAKE="1")
    assert run.same_as_inline()


def test_a_lost_node_changes_no_byte(queue, command, tmp_path, demo):
    run = Run(queue, command, tmp_path, DEMO, *SMALL, site="array: {tiles: 3}\nmemory_factor: 3\n")
    run.submit()
    run.wait_for(0, "task_finished")
    queue.kill_node()
    queue.start_node()
    run.wait()
    run.collect()
    assert products(run.root) == demo
