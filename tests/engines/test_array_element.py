"""Elements of job arrays, run here one after the other as Slurm would run them: the same products, and every way to end."""

import contextlib
import json
import os
import signal
import sys
import threading
import time

import psutil
import pytest
from toy import products

from astrosurvey.cli.status import read_status
from astrosurvey.core import yaml
from astrosurvey.core.digests import FileDigests
from astrosurvey.core.engine import InlineEngine
from astrosurvey.core.events import read_log
from astrosurvey.core.plan import State
from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.core.store import Store
from astrosurvey.engines.array import element as elements
from astrosurvey.engines.array import memory, slurm
from astrosurvey.engines.array.cancel import cancel
from astrosurvey.engines.array.collect import collect
from astrosurvey.engines.array.element import run_element
from astrosurvey.engines.array.layout import ArrayError
from astrosurvey.engines.array.script import MORE_MEMORY, RETRY
from astrosurvey.engines.array.submit import submit
from astrosurvey.engines.array.write import write_array
from astrosurvey.engines.site import BatchSite

from .test_array_plan import STAGES, site


@pytest.fixture
def queue(monkeypatch):
    """A Slurm that takes every array, and whose queue holds what a test puts into it."""
    taken, waiting = [], []

    def take(script, first, places, **more):
        taken.append((script.name, first, list(places), more))
        return str(100 + len(taken))

    monkeypatch.setattr(slurm, "submit", take)
    monkeypatch.setattr(slurm, "queued", lambda name: list(waiting))
    monkeypatch.setattr(slurm, "cancel", lambda name, jobs: waiting.clear())
    return taken, waiting


class InThisProcess(InlineEngine):
    """Runs the tasks here, without the second that a child takes to begin."""

    def __init__(self, limit, time_limits):
        super().__init__()
        self.limit, self.stop_at = limit, None


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(elements, "SupervisedEngine", InThisProcess)


def of_elements():
    """Return the children of elements, and all below them."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "astrosurvey.engines.array.child" in child.cmdline():
                found += [child, *child.children(recursive=True)]
    return found


@pytest.fixture(autouse=True)
def without_the_tests(monkeypatch):
    """What the process of the tests holds after many others, and what those have left running, is not an element's."""
    monkeypatch.setattr(memory, "family", of_elements)


@pytest.fixture
def planned(toy_pipeline, toys, tmp_path, monkeypatch, queue):
    """A function that plans and submits a run of toy stages, and returns its plan and its pipeline."""
    monkeypatch.setattr(elements.plugins, "load", lambda: toys)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))

    def make(stages=STAGES, tiles=4, run=None, **more):
        pipeline = toy_pipeline(tiles={"count": tiles}, stages=stages, run=run or {})
        plan = write_array(pipeline, tmp_path / "array", site(**more))
        submit(plan.root)
        return plan, pipeline

    return make


def breaking(how, **more):
    broken = {"use": "toy.break", "in": "make", "how": how, "tiles": ["t0001"], **more}
    return {"make": {"use": "toy.make"}, "break": broken, "total": {"use": "toy.total", "in": "break"}}


def run_all(plan):
    return [run_element(plan.root, element) for element in plan.elements]


def test_the_same_products_as_in_one_process(planned, tmp_path):
    plan, pipeline = planned(array={"tiles": 4, "max_size": 1001})
    assert run_all(plan) == [0, 0, 0]
    result = collect(plan.root).result
    assert result.exit_code == ExitCode.OK
    there = run_pipeline(pipeline, tmp_path / "inline")
    assert products(plan.root) == products(tmp_path / "inline")
    assert dict(result.counts) == dict(there.counts)
    for stage, tile in there.states:
        assert result.store.record(stage, tile).key == there.store.record(stage, tile).key
    again = run_pipeline(pipeline, plan.root)
    assert {state for _, state in again.counts} == {State.CACHED}
    with pytest.raises(ArrayError, match="was run again after"):
        collect(plan.root)


def test_the_record_is_what_run_would_have_left(planned, quick, tmp_path, monkeypatch):
    plan, pipeline = planned(breaking("data"))
    assert run_all(plan) == [0, 1, 0, 0, 0]
    monkeypatch.setattr(slurm, "queued", None)  # where all have ended, no queue is asked
    result = collect(plan.root).result
    there = run_pipeline(pipeline, tmp_path / "inline")
    assert result.exit_code == there.exit_code == ExitCode.SOME_FAILED
    assert [(s, t, f.kind, f.message) for s, t, f in result.failures] == [(s, t, f.kind, f.message) for s, t, f in there.failures]
    here, other = (json.loads((root / "run.json").read_text()) for root in (plan.root, tmp_path / "inline"))
    assert here.keys() == other.keys()
    assert (here["counts"], here["exit_code"], here["tiles"]) == (other["counts"], other["exit_code"], other["tiles"])
    kinds = [
        sorted(f"{event.kind} {event.stage} {event.tile}" for event in read_log(root / "events.jsonl") if event.kind != "task_log")
        for root in (plan.root, tmp_path / "inline")
    ]
    assert kinds[0] == kinds[1]


def test_digests_of_inputs_are_gathered(planned, quick, tmp_path, monkeypatch):
    monkeypatch.setattr(FileDigests, "_is_settled", lambda *_: True)  # files as young as these are not remembered otherwise
    for number in range(2):
        (tmp_path / f"t000{number}").write_text("1.5")
    plan, _ = planned({"read": {"use": "toy.read", "path": str(tmp_path / "{tile}")}}, tiles=2)
    assert run_all(plan) == [0, 0]
    collect(plan.root)
    assert set(json.loads((plan.root / "digests.json").read_text())) == {str(tmp_path / "t0000"), str(tmp_path / "t0001")}
    assert [len(json.loads(plan.digests(element).read_text())) for element in plan.elements] == [1, 1]


def test_an_element_run_again_does_nothing_again(planned, quick):
    plan, _ = planned()
    assert run_element(plan.root, 0) == run_element(plan.root, 0) == 0
    events = [json.loads(line) for line in plan.log(0).read_text().splitlines()]
    assert [e["data"]["state"] for e in events if e["kind"] == "task_finished"] == ["done", "done", "cached", "cached"]


def test_what_reads_from_an_element_that_has_not_ended_waits(planned, quick, queue):
    plan, _ = planned()
    assert [run_element(plan.root, element) for element in (0, 1, 3, 4, 5)] == [0, 0, 0, 3, 3]
    found = collect(plan.root)
    assert found.result.exit_code == ExitCode.STOPPED
    assert found.open == [2, 4, 5, 6, 7, 8]
    assert "6 elements have not ended: 2, 4, 5" in found.result.stopped
    queue[0].clear()
    collect(plan.root, resubmit=True)
    assert [(name, first, places) for name, first, places, _ in queue[0]] == [
        ("wave-1.sh", 0, [2]),
        ("wave-2.sh", 4, [0]),
        ("wave-3.sh", 5, [0, 1, 2, 3]),
    ]
    assert [more["after"] for *_, more in queue[0]] == [[], ["101"], ["101", "102"]]
    for number in found.open:
        assert run_element(plan.root, number) == 0
    assert collect(plan.root).result.exit_code == ExitCode.OK


def test_products_of_an_older_pipeline_do_not_count(planned, quick, toy_pipeline):
    plan, _ = planned(STAGES)
    run_all(plan)
    collect(plan.root)
    write_array(
        toy_pipeline(tiles={"count": 4}, stages={**STAGES, "add": {"use": "toy.add", "in": "make", "amount": 5}}), plan.root, site()
    )
    submit(plan.root)
    assert run_element(plan.root, 4) == 3  # the old sums are there, and nobody has made the new ones


def test_memory_is_asked_for_once_and_then_it_has_failed(planned, monkeypatch):
    plan, _ = planned(breaking("hog", hoard=700_000_000), memory="400MiB", memory_factor=1.1)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "400")
    assert run_element(plan.root, 1) == MORE_MEMORY
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "440")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run_element(plan.root, 1) == 1
    error = json.loads((Store(plan.root).failure_folder("break", "t0001") / "error.json").read_text())
    assert "out of memory" in error["message"]
    assert "its limit is 461 MB" in error["message"]


def test_more_memory_mends_it(planned, monkeypatch):
    plan, _ = planned(breaking("hog", hoard=300_000_000), memory="250MiB", memory_factor=10)
    assert run_element(plan.root, 1) == MORE_MEMORY
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "2500")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run_element(plan.root, 1) == 0
    assert Store(plan.root).record("break", "t0001").facts["memory"] == 10


def test_a_hung_task_is_ended_with_all_it_has_started(planned, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_MARKERS", str(tmp_path))
    plan, _ = planned(breaking("hang"), run={"retries": 0}, resources={"toy.*": {"time_limit": 1.0}})
    assert run_element(plan.root, 1) == 1
    folder = Store(plan.root).failure_folder("break", "t0001")
    assert "not done after 1 s" in json.loads((folder / "error.json").read_text())["message"]
    assert "toy.py" in (folder / "traceback.txt").read_text()
    sleeping = [p for p in psutil.process_iter(["name", "environ"]) if p.info["name"] == "sleep"]
    assert not [p for p in sleeping if (p.info["environ"] or {}).get("TOY_MARKERS") == str(tmp_path)]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_told_to_stop_it_ends_and_wants_to_be_run_again(planned, number):
    plan, _ = planned({"make": {"use": "toy.make", "seconds": 20}}, array={"signal": 10, "max_size": 1001})

    def tell():
        while not plan.log(1).is_file() or "task_started" not in plan.log(1).read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    teller = threading.Thread(target=tell)
    teller.start()
    began = time.monotonic()
    assert run_element(plan.root, 1) == RETRY
    assert time.monotonic() - began < 15
    teller.join()
    assert collect(plan.root).open == [0, 1, 2, 3]
    assert not list(plan.root.glob("**/.new-*"))


def test_a_worker_that_dies_is_tried_again_and_its_element_goes_on(planned):
    plan, _ = planned(breaking("kill"), run={"retries": 1})
    assert run_element(plan.root, 1) == 1
    error = json.loads((Store(plan.root).failure_folder("break", "t0001") / "error.json").read_text())
    assert error["attempts"] == 2
    assert "signal 9 (SIGKILL)" in error["message"]


def test_an_element_that_slurm_ended_for_its_memory_gets_more(planned, quick, queue):
    plan, _ = planned(memory_factor=3)
    plan.log(1).parent.mkdir(parents=True, exist_ok=True)
    assert [run_element(plan.root, element) for element in (0, 2, 3)] == [0, 0, 0]
    plan.output(1).write_text("slurmstepd: error: Step 101.batch exceeded memory limit (1100 > 1024 MB), being killed\n")
    queue[0].clear()
    found = collect(plan.root, resubmit=True)
    assert found.hungry == [1]
    assert [(places, more["memory"] >> 20) for _, _, places, more in queue[0]][:2] == [([1], 3072), ([0], 1024)]


def test_nothing_is_gathered_while_elements_are_queued(planned, quick, queue):
    plan, pipeline = planned()
    run_element(plan.root, 0)
    status = read_status(plan.root)
    assert status["state"] == "submitted to Slurm, 1 of 9 elements have ended"
    assert status["counts"]["add"] == {"done": 1, "pending": 3}
    queue[1].extend(["101_1", "101_2", "103_0"])
    found = collect(plan.root)
    assert (found.result, found.queued, found.settled) == (None, [1, 2, 5], 2)
    with pytest.raises(ArrayError, match="are in the queue"):
        collect(plan.root, resubmit=True)
    assert cancel(plan.root, patience=5) == ["3 Slurm jobs"]
    assert cancel(plan.root, patience=5) == []
    assert run_pipeline(pipeline, plan.root).exit_code == ExitCode.OK


def test_the_pipeline_of_the_plan_is_kept(planned):
    plan, pipeline = planned()
    assert yaml.load((plan.folder / "pipeline.yaml").read_text(), "p").data == pipeline.resolved()
    assert isinstance(site(), BatchSite)
