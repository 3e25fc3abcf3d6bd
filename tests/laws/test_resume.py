"""Laws 1 to 4: killed runs resume to the same bytes, on any number of workers; touching reruns nothing; one bad tile stays alone."""

import os
import random
import signal
import time

import psutil
import pytest
from toy import products

from astrosurvey.core.plan import State
from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.engines.local import LocalEngine

PIPELINE = """\
astrosurvey: 1
tiles: {count: 12}
seed: 5
stages:
  make: {use: toy.make, seconds: 0.5, padding: 20000}
  noise: {use: toy.random, in: make}
  total: {use: toy.total, in: noise}
  share: {use: toy.share, in: {number: noise, total: total.number}}
"""
AWAKE = {"TOY_AWAKE": "1"}
"""For runs that nobody disturbs: only those that are to be caught at it take their time."""
STAGES = {
    "make": {"use": "toy.make"},
    "noise": {"use": "toy.random", "in": "make"},
    "total": {"use": "toy.total", "in": "noise"},
    "share": {"use": "toy.share", "in": {"number": "noise", "total": "total.number"}},
}


@pytest.fixture
def pipeline_file(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(PIPELINE)
    return path


@pytest.fixture(scope="module")
def undisturbed(command_of_module):
    """The products of a run that nobody kills."""
    folder, command = command_of_module
    (folder / "p.yaml").write_text(PIPELINE)
    ended = command("run", "p.yaml", "--out", "whole", "--no-report", env=AWAKE)
    assert ended.returncode == 0, ended.stderr
    return products(folder / "whole")


_moments = random.Random(3)


@pytest.mark.parametrize("moment", [round(_moments.uniform(0, 1.5), 3) for _ in range(3)])
def test_law_1_a_killed_run_resumes_to_the_same_bytes(command, tmp_path, pipeline_file, undisturbed, moment):
    driver = command("run", pipeline_file, "--out", "killed", "--workers", "2", "--no-report", wait=False)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "killed").glob("products/make/t*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(moment)
    assert driver.poll() is None, "the run was over before it could be killed"
    workers = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive, "a worker outlived its driver"
    resumed = command("run", pipeline_file, "--out", "killed", "--workers", "2", "--no-report", env=AWAKE)
    assert resumed.returncode == 0, resumed.stderr
    assert products(tmp_path / "killed") == undisturbed


def test_law_2_any_number_of_workers_gives_the_same_bytes(toy_pipeline, tmp_path):
    pipeline = toy_pipeline(tiles={"count": 10}, seed=5, stages=STAGES)
    run_pipeline(pipeline, tmp_path / "inline")
    for workers in (1, 8):  # and two in the test of law 1
        result = run_pipeline(pipeline, tmp_path / str(workers), engine=lambda n=workers: LocalEngine(n, memory_limit=0))
        assert result.exit_code == ExitCode.OK
        assert products(tmp_path / str(workers)) == products(tmp_path / "inline")


def test_law_2_the_order_of_tiles_changes_no_tile(toy_pipeline, tmp_path):
    names = [f"n{i}" for i in range(8)]
    for name in names:
        (tmp_path / f"{name}.txt").write_text(name[1:])
    stages = {"read": {"use": "toy.read", "path": "{tile}.txt"}, "noise": {"use": "toy.random", "in": "read"}}
    for order, listed in {"forward": names, "backward": names[::-1]}.items():
        run_pipeline(toy_pipeline(tiles=listed, stages=stages, base=tmp_path), tmp_path / order)
    assert products(tmp_path / "forward") == products(tmp_path / "backward")


def test_law_3_touching_everything_reruns_nothing(toy_pipeline, tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("1")
    stages = {"read": {"use": "toy.read", "path": "{tile}.txt"}, "add": {"use": "toy.add", "in": "read"}}
    pipeline = toy_pipeline(tiles=list("abc"), stages=stages, base=tmp_path)
    run_pipeline(pipeline, tmp_path / "run")
    for path in tmp_path.rglob("*"):
        os.utime(path, (10**9, 10**9))
    assert {state for _, state in run_pipeline(pipeline, tmp_path / "run").counts} == {State.CACHED}


def test_law_3_a_moved_run_and_moved_inputs_rerun_nothing(toy_pipeline, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.txt").write_text("1")
    stages = {"read": {"use": "toy.read", "path": "{tile}.txt"}, "add": {"use": "toy.add", "in": "read"}}
    run_pipeline(toy_pipeline(tiles=["a"], stages=stages, base=tmp_path / "here"), tmp_path / "here" / "run")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = run_pipeline(toy_pipeline(tiles=["a"], stages=stages, base=tmp_path / "there"), tmp_path / "there" / "run")
    assert {state for _, state in moved.counts} == {State.CACHED}


@pytest.mark.parametrize(
    ("changed", "setting", "rerun"),
    [("make", {"start": 2}, {"make", "noise", "total", "share"}), ("add", {"amount": 7}, {"add"}), ("noise", {}, set())],
)
def test_law_3_a_changed_setting_reruns_exactly_its_descendants(toy_pipeline, tmp_path, changed, setting, rerun):
    stages = {**STAGES, "add": {"use": "toy.add", "in": "make"}}
    if changed == "make":
        rerun = rerun | {"add"}
    run_pipeline(toy_pipeline(tiles={"count": 3}, stages=stages), tmp_path)
    stages = {**stages, changed: {**stages[changed], **setting}}
    result = run_pipeline(toy_pipeline(tiles={"count": 3}, stages=stages), tmp_path)
    assert {stage for stage, state in result.counts if state is State.DONE} == rerun
    assert {stage for stage, state in result.counts if state is State.CACHED} == set(stages) - rerun


@pytest.mark.parametrize(("how", "said"), [("segfault", "signal 11"), ("kill", "signal 9"), ("exit", "exit status 7")])
def test_law_4_one_crashing_tile_leaves_the_others_alone(toy_pipeline, tmp_path, how, said):
    count = 100 if how == "segfault" else 6
    stages = {"make": {"use": "toy.make"}, "break": {"use": "toy.break", "in": "make", "tiles": ["t0003"], "how": how}}
    pipeline = toy_pipeline(tiles={"count": count}, stages=stages, run={"retries": 1})
    result = run_pipeline(pipeline, tmp_path, engine=lambda: LocalEngine(2, memory_limit=0))
    assert result.exit_code == ExitCode.SOME_FAILED
    assert result.counts["break", State.DONE] == count - 1
    assert [(s, t) for s, t, _ in result.failures] == [("break", "t0003")]
    assert said in result.failures[0][2].message


def test_a_worker_over_its_memory_limit_is_tried_again_with_half_the_batch(toy_pipeline, tmp_path):
    stages = {"make": {"use": "toy.make"}, "break": {"use": "toy.break", "in": "make", "tiles": ["t0001"], "how": "hog"}}
    pipeline = toy_pipeline(tiles={"count": 3}, stages=stages)
    result = run_pipeline(pipeline, tmp_path, engine=lambda: LocalEngine(1, memory_limit="800MB"))
    assert result.exit_code == ExitCode.OK, result.failures
    assert result.store.record("break", "t0001").facts["batch"] <= 0.5
    assert result.store.record("break", "t0000").facts["batch"] == 1


def test_law_4_the_closing_table_names_the_tile(command, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "astrosurvey: 1\ntiles: {count: 6}\nstages:\n  make: {use: toy.make}\n"
        "  break: {use: toy.break, in: make, tiles: [t0003], how: segfault}\nrun: {retries: 0}\n"
    )
    ended = command("run", path, "--out", "run", "--workers", "2", "--no-report")
    assert ended.returncode == 1, ended.stderr
    assert "break/t0003: worker died: signal 11 (SIGSEGV)" in ended.stdout
    assert "to reproduce" in ended.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_signals_drain_and_the_run_resumes(command, tmp_path, pipeline_file, number, workers):
    driver = command("run", pipeline_file, "--out", "run", "--workers", workers, "--no-report", wait=False)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "run").glob("products/make/t*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    driver.send_signal(number)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, err
    assert "finishing the running tasks" in err
    assert "run the same command again to resume" in out
    assert not list((tmp_path / "run").glob("products/*/.new-*"))
    assert command("run", pipeline_file, "--out", "run", "--no-report", env=AWAKE).returncode == 0
