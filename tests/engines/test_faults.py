"""What befalls workers on local Dask: each fault stays with its task, and the run says what it was."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from distributed import LocalCluster

from astrosurvey.core.plan import State
from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.engines.dask import WORKER_OPTIONS, DaskEngine, OnePool, Pool
from astrosurvey.engines.local import LocalEngine

ROOT = Path(__file__).parents[2]
DIES_AFTER = """
import os, signal
import astrosurvey.engines.dask as engine

def execute(order, *args, run=engine.execute):
    outcome = run(order, *args)
    if order.name == "add" and order.tile.name == "t0001":
        os.kill(os.getpid(), signal.SIGKILL)
    return outcome

engine.execute = execute
"""


def run_json(folder):
    return json.loads((folder / "run.json").read_text())


def test_one_run_with_every_fault_of_a_worker(toy_pipeline, tmp_path, monkeypatch):
    """A tile that kills its worker, one that wants too much memory twice, and one that hangs: all others are done."""
    monkeypatch.setenv("FAULTS", str(tmp_path))  # by which its processes are known
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    stages = {"make": {"use": "toy.make"}}
    for number, how in enumerate(("kill", "hog", "hang")):
        stages[how] = {"use": "toy.break", "in": "make", "tiles": [f"t000{number}"], "how": how}
    stages["hog"]["hoard"] = 2_400_000_000
    pipeline = toy_pipeline(tiles={"count": 6}, stages=stages, run={"retries": 1, "time_limit": 12})
    result = run_pipeline(pipeline, tmp_path, engine=lambda: LocalEngine(2, memory_limit="700MB", gpus=2))
    failures = {(stage, tile): failure for stage, tile, failure in result.failures}
    assert set(failures) == {("kill", "t0000"), ("hog", "t0001"), ("hang", "t0002")}, failures
    assert sum(n for (_, state), n in result.counts.items() if state is State.DONE) == 6 + 3 * 5
    assert "signal 9 (SIGKILL)" in failures["kill", "t0000"].message
    assert "its limit is 700 MB" in failures["hog", "t0001"].message
    assert "was not done after 12 s" in failures["hang", "t0002"].message
    trace = (result.store.failure_folder("hang", "t0002") / "traceback.txt").read_text()
    assert "toy.py" in trace
    sleeping = [p.info["environ"] or {} for p in psutil.process_iter(["name", "environ"]) if p.info["name"] == "sleep"]
    assert str(tmp_path) not in [environ.get("FAULTS") for environ in sleeping], "a child of the stage goes on"
    assert run_json(tmp_path)["retries"] == 3
    records = [result.store.record(*name) for name, state in result.states.items() if state is State.DONE]
    assert {record.facts["gpu"] for record in records} == {"5", "7"}, "each worker sees one of the visible GPUs"


def test_a_task_whose_worker_died_once_its_record_was_published_is_done(toy_pipeline, tmp_path):
    (tmp_path / "dies.py").write_text(DIES_AFTER)
    stages = {"make": {"use": "toy.make"}, "add": {"use": "toy.add", "in": "make"}}
    pipeline = toy_pipeline(tiles={"count": 4}, stages=stages, run={"retries": 0})
    out = tmp_path / "run"
    result = run_pipeline(pipeline, out, engine=lambda: LocalEngine(1, memory_limit=0, preload=[str(tmp_path / "dies.py")]))
    assert result.exit_code == ExitCode.OK, result.failures
    assert result.counts["add", State.DONE] == 4
    assert run_json(out)["retries"] == 0


@pytest.fixture
def worker():
    """Starts a `dask worker` as a batch job would: a process group of its own."""
    started = []
    path = os.pathsep.join(map(str, [ROOT, ROOT / "tests" / "toyplugin"]))

    def start(address, **env):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-dashboard", "--nthreads", "1", *WORKER_OPTIONS]
        env = {**os.environ, "PYTHONPATH": path, **env}
        started.append(subprocess.Popen(command, env=env, start_new_session=True, stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for child in started:
        end_job(child)


def end_job(child):
    """End a job as a batch system does: all its processes at once, the nanny too."""
    if child.poll() is None:
        for process in [*psutil.Process(child.pid).children(recursive=True), child]:
            process.kill()
    child.wait()


def test_a_lost_job_is_a_retry_that_uses_none_of_the_tasks_own(toy_pipeline, tmp_path, worker):
    """One job is ended with its nanny, the next leaves before its walltime, a third does the rest; nothing fails with no retries."""
    pipeline = toy_pipeline(tiles={"count": 2}, stages={"make": {"use": "toy.make", "seconds": 3}}, run={"retries": 0})
    clusters, jobs, codes = [], [], []

    def start():
        clusters.append(LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0"))
        jobs.append(worker(clusters[0].scheduler_address))
        threading.Thread(target=lose_the_first).start()
        return clusters[0]

    def lose_the_first():
        while not any(state.processing for state in list(clusters[0].scheduler.workers.values())):
            time.sleep(0.05)
        end_job(jobs[0])
        jobs.append(worker(clusters[0].scheduler_address, ASTROSURVEY_LIFETIME="3"))
        codes.append(jobs[1].wait())
        jobs.append(worker(clusters[0].scheduler_address))

    result = run_pipeline(pipeline, tmp_path, engine=lambda: DaskEngine(OnePool(Pool("", 1, start))))
    assert result.exit_code == ExitCode.OK, result.failures
    assert run_json(tmp_path)["retries"] == 1
    assert codes == [0], "the second did not leave by itself"


def test_a_scheduler_that_is_gone_stops_the_run(toy_pipeline, tmp_path):
    engine = LocalEngine(1, memory_limit=0)
    pipeline = toy_pipeline(tiles={"count": 2}, stages={"make": {"use": "toy.make"}, "add": {"use": "toy.add", "in": "make"}})

    def lose(event):
        if event.kind == "task_finished" and event.stage == "make":
            engine._open[""].cluster.close()

    result = run_pipeline(pipeline, tmp_path, engine=lambda: engine, listeners=[lose])
    assert result.exit_code == ExitCode.STOPPED
    assert result.stopped.startswith("stopped: the Dask scheduler of this run is gone")


STARTS_ONCE = """
import os
from pathlib import Path

def dask_setup(worker):
    if Path(os.environ["STARTED"]).exists():
        os._exit(1)
    Path(os.environ["STARTED"]).touch()
"""


def test_workers_that_cannot_be_started_again_stop_the_run(toy_pipeline, tmp_path, monkeypatch):
    monkeypatch.setenv("STARTED", str(tmp_path / "started"))
    (tmp_path / "once.py").write_text(STARTS_ONCE)
    stages = {"make": {"use": "toy.make"}, "break": {"use": "toy.break", "in": "make", "tiles": ["t0000"], "how": "kill"}}
    pipeline = toy_pipeline(tiles={"count": 2}, stages=stages)
    engine = LocalEngine(1, memory_limit=0, preload=[str(tmp_path / "once.py")])
    result = run_pipeline(pipeline, tmp_path / "run", engine=lambda: engine)
    assert result.exit_code == ExitCode.STOPPED
    assert "no worker is left on this machine" in result.stopped


def test_the_first_signal_does_not_wait_for_workers_that_have_not_come(toy_pipeline, tmp_path):
    pipeline = toy_pipeline(tiles={"count": 3}, stages={"make": {"use": "toy.make"}})

    def interrupt(event):
        if event.kind == "task_started" and event.tile == "t0002":
            os.kill(os.getpid(), signal.SIGINT)

    def start():
        return LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0")

    result = run_pipeline(pipeline, tmp_path, engine=lambda: DaskEngine(OnePool(Pool("", 3, start))), listeners=[interrupt])
    assert result.exit_code == ExitCode.INTERRUPTED
    assert result.counts == {("make", State.PENDING): 3}
