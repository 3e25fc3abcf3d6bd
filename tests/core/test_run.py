import json
import logging
import os
from collections import Counter

import pytest
from toy import Number, products

from astrosurvey import PipelineError, Selection
from astrosurvey.core.explain import explain
from astrosurvey.core.plan import Plan, State
from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.core.store import Store

CHAIN = {
    "make": {"use": "toy.make"},
    "add": {"use": "toy.add", "in": "make"},
    "total": {"use": "toy.total", "in": "add"},
    "share": {"use": "toy.share", "in": {"number": "add", "total": "total.number"}},
}


def broken(how, tiles=("t0001",), **more):
    return {"make": {"use": "toy.make"}, "break": {"use": "toy.break", "in": "make", "how": how, "tiles": list(tiles)}, **more}


def states(result, stage):
    return {state: number for (name, state), number in result.counts.items() if name == stage}


def test_gather_and_broadcast(toy_pipeline, tmp_path):
    result = run_pipeline(toy_pipeline(tiles={"count": 4}, stages=CHAIN), tmp_path)
    assert result.exit_code == ExitCode.OK
    assert result.read("total", "number", Number).value == 2 + 3 + 4 + 5
    assert result.read("share", "share", Number, "t0002").value == 4 / 14


def test_running_again_runs_nothing(toy_pipeline, tmp_path):
    pipeline = toy_pipeline(tiles={"count": 4}, stages=CHAIN)
    run_pipeline(pipeline, tmp_path)
    again = run_pipeline(pipeline, tmp_path)
    assert {state for _, state in again.counts} == {State.CACHED}


def test_a_failure_blocks_its_descendants_on_its_tile_and_nothing_else(toy_pipeline, tmp_path):
    stages = broken("error", add={"use": "toy.add", "in": "break"}, total={"use": "toy.total", "in": "add"})
    result = run_pipeline(toy_pipeline(tiles={"count": 4}, stages=stages, run={"retries": 0}), tmp_path)
    assert result.exit_code == ExitCode.SOME_FAILED
    assert states(result, "break") == {State.DONE: 3, State.FAILED: 1}
    assert states(result, "add") == {State.DONE: 3, State.BLOCKED: 1}
    assert result.read("total", "number", Number).value == 2 + 4 + 5
    folder = result.store.failure_folder("break", "t0001")
    assert "is cursed" in json.loads((folder / "error.json").read_text())["message"]
    assert "RuntimeError" in (folder / "traceback.txt").read_text()
    assert os.access(folder / "reproduce.sh", os.X_OK)


@pytest.mark.parametrize(
    ("how", "attempts", "kind"),
    [("error", 3, "RuntimeError"), ("data", 1, "DataError"), ("nan", 1, "ProductError"), ("missing", 1, "StageError")],
)
def test_only_what_a_retry_may_mend_is_tried_again(toy_pipeline, tmp_path, how, attempts, kind):
    result = run_pipeline(toy_pipeline(tiles={"count": 2}, stages=broken(how)), tmp_path)
    assert [(s, t, f.kind) for s, t, f in result.failures] == [("break", "t0001", kind)]
    assert json.loads((result.store.failure_folder("break", "t0001") / "error.json").read_text())["attempts"] == attempts


def test_a_flaky_task_is_mended_by_a_retry_and_its_failure_forgotten(toy_pipeline, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_MARKERS", str(tmp_path))
    result = run_pipeline(toy_pipeline(tiles={"count": 2}, stages=broken("flaky")), tmp_path / "run")
    assert result.exit_code == ExitCode.OK
    assert result.store.record("break", "t0001").facts["attempt"] == 2
    assert list(result.store.failures()) == []


def test_out_of_memory_is_tried_again_with_half_the_batch(toy_pipeline, tmp_path):
    result = run_pipeline(toy_pipeline(tiles={"count": 2}, stages=broken("memory")), tmp_path)
    assert result.exit_code == ExitCode.OK
    assert result.store.record("break", "t0001").facts["batch"] == 0.25


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="this system counts the peak of a process once and for all")
def test_a_task_is_not_charged_with_the_memory_of_what_ran_before(toy_pipeline, tmp_path):
    held = b"x" * 400_000_000
    del held
    with open("/proc/self/status") as lines:
        before = next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    result = run_pipeline(toy_pipeline(tiles={"count": 1}, stages={"make": {"use": "toy.make"}}), tmp_path)
    assert result.store.record("make", "t0000").facts["peak_bytes"] < before - 300_000_000


def test_no_work_is_success_and_passes_on(toy_pipeline, tmp_path):
    stages = broken("empty", add={"use": "toy.add", "in": "break"}, total={"use": "toy.total", "in": "add"})
    seen = []
    result = run_pipeline(toy_pipeline(tiles={"count": 3}, stages=stages), tmp_path, listeners=[seen.append])
    assert result.exit_code == ExitCode.OK
    assert states(result, "add") == {State.DONE: 2, State.EMPTY: 1}
    (why,) = [e.data["message"] for e in seen if e.kind == "task_finished" and e.stage == "break" and e.data["state"] == "empty"]
    assert "nothing" in why
    assert result.read("total", "number", Number).value == 2 + 4
    again = run_pipeline(toy_pipeline(tiles={"count": 3}, stages=stages), tmp_path)
    assert states(again, "break") == {State.CACHED: 2, State.EMPTY: 1}


def test_a_survey_without_any_work_is_empty(toy_pipeline, tmp_path):
    stages = broken("empty", tiles=["t0000", "t0001"], total={"use": "toy.total", "in": "break"})
    result = run_pipeline(toy_pipeline(tiles={"count": 2}, stages=stages), tmp_path)
    assert states(result, "total") == {State.EMPTY: 1}


def test_too_many_failures_stop_the_run(toy_pipeline, tmp_path):
    stages = broken("data", tiles=[f"t{i:04d}" for i in range(20)])
    result = run_pipeline(toy_pipeline(tiles={"count": 20}, stages=stages, run={"max_failures": "10%"}), tmp_path)
    assert result.exit_code == ExitCode.STOPPED
    assert "max_failures (10%)" in result.stopped
    assert len(result.failures) == 5  # the first of 40 tasks beyond 10 %


def test_selection_by_stage_and_tile(toy_pipeline, tmp_path):
    pipeline = toy_pipeline(tiles={"count": 4}, stages=CHAIN)
    only = run_pipeline(pipeline, tmp_path, selection=Selection(last="add", tiles="t000[01]"))
    assert only.exit_code == ExitCode.OK
    assert states(only, "add") == {State.DONE: 2, State.PENDING: 2}
    assert states(only, "total") == {State.PENDING: 1}
    rest = run_pipeline(pipeline, tmp_path, selection=Selection(first="add"))
    assert states(rest, "add") == {State.CACHED: 2, State.BLOCKED: 2}
    assert rest.exit_code == ExitCode.SOME_FAILED
    assert rest.read("total", "number", Number).value == 2 + 3


def test_rerun_runs_a_stage_again_and_stops_where_the_bytes_are_the_same(toy_pipeline, tmp_path):
    pipeline = toy_pipeline(tiles={"count": 2}, stages=CHAIN)
    run_pipeline(pipeline, tmp_path)
    again = run_pipeline(pipeline, tmp_path, selection=Selection(rerun=("make",)))
    assert states(again, "make") == {State.DONE: 2}
    assert states(again, "add") == {State.CACHED: 2}


def test_retry_failed_leaves_what_was_never_run(toy_pipeline, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_MARKERS", str(tmp_path))
    stages = broken("flaky", add={"use": "toy.add", "in": "break"})
    pipeline = toy_pipeline(tiles={"count": 4}, stages=stages, run={"retries": 0})
    run_pipeline(pipeline, tmp_path / "run", selection=Selection(tiles="t000[01]"))
    again = run_pipeline(pipeline, tmp_path / "run", selection=Selection(failed_only=True))
    assert states(again, "break") == {State.CACHED: 1, State.DONE: 1, State.PENDING: 2}
    assert states(again, "add") == {State.CACHED: 1, State.DONE: 1, State.PENDING: 2}


@pytest.mark.parametrize(("selection", "word"), [(Selection(only=("ad",)), "'add'"), (Selection(tiles="x*"), "t0000")])
def test_a_selection_of_nothing_is_an_error(toy_pipeline, tmp_path, selection, word):
    with pytest.raises(PipelineError, match=word):
        run_pipeline(toy_pipeline(tiles={"count": 2}, stages=CHAIN), tmp_path, selection=selection)


def test_explain_names_the_changed_setting_through_the_tasks_between(toy_pipeline, tmp_path):
    run_pipeline(toy_pipeline(tiles={"count": 2}, stages=CHAIN), tmp_path)
    changed = {**CHAIN, "add": {**CHAIN["add"], "amount": 4}}
    plan = Plan(toy_pipeline(tiles={"count": 2}, stages=changed), Store(tmp_path))
    counts = plan.preview()
    assert counts == Counter({("make", State.CACHED): 2, ("add", State.RUN): 2, ("total", State.MAYBE): 1, ("share", State.MAYBE): 2})
    assert explain(plan, "add", "t0001")[1] == ["config.amount: 1.0 → 4.0"]
    assert "config.amount: 1.0 → 4.0" in explain(plan, "share", "t0001")[1]
    assert explain(plan, "make", "t0000")[1] == ["nothing: it is up to date"]


def test_verify_finds_a_damaged_product_and_mends_it(toy_pipeline, tmp_path):
    pipeline = toy_pipeline(tiles={"count": 2}, stages=CHAIN)
    run_pipeline(pipeline, tmp_path)
    before = products(tmp_path)
    path = tmp_path / "products" / "add" / "t0001" / "number.json"
    path.write_text(path.read_text().replace("3.0", "9.0"))
    assert {state for _, state in run_pipeline(pipeline, tmp_path).counts} == {State.CACHED}
    verified = run_pipeline(pipeline, tmp_path, verify=True)
    assert states(verified, "add") == {State.CACHED: 1, State.DONE: 1}
    assert products(tmp_path) == before


def test_a_missing_input_file_fails_its_tile_alone(toy_pipeline, tmp_path):
    for name in ("a", "c"):
        (tmp_path / f"{name}.txt").write_text("1")
    stages = {"read": {"use": "toy.read", "path": "{tile}.txt"}, "total": {"use": "toy.total", "in": "read"}}
    result = run_pipeline(toy_pipeline(tiles=["a", "b", "c"], stages=stages, base=tmp_path), tmp_path / "run")
    assert states(result, "read") == {State.DONE: 2, State.FAILED: 1}
    assert "b.txt" in result.failures[0][2].message
    assert result.read("total", "number", Number).value == 2


def test_randomness_depends_on_seed_stage_and_tile_alone(toy_pipeline, tmp_path):
    def values(folder, seed, count, name="noise"):
        stages = {"make": {"use": "toy.make", "start": 0}, name: {"use": "toy.random", "in": "make"}}
        result = run_pipeline(toy_pipeline(tiles={"count": count}, seed=seed, stages=stages), tmp_path / folder)
        return [result.read(name, "number", Number, f"t{i:04d}").value % 1 for i in range(2)]

    first = values("a", 1, 2)
    assert values("b", 1, 7) == first
    assert len({*first, *values("c", 2, 2), *values("d", 1, 2, "other")}) == 6


def test_events_tell_the_whole_story_in_order(toy_pipeline, tmp_path):
    seen = []
    run_pipeline(toy_pipeline(tiles={"count": 1}, stages=broken("error", tiles=["t0000"])), tmp_path, listeners=[seen.append])
    kinds = [e.kind for e in seen if e.kind != "task_progress"]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_finished"
    assert kinds.count("task_retried") == 2
    logged = [json.loads(line)["kind"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert logged == kinds


def test_the_root_logger_is_left_alone(toy_pipeline, tmp_path):
    before = (list(logging.root.handlers), logging.root.level)
    run_pipeline(toy_pipeline(tiles={"count": 1}, stages=CHAIN), tmp_path)
    assert (list(logging.root.handlers), logging.root.level) == before


def test_what_is_kept_of_a_settled_task_is_little(toy_pipeline, tmp_path):
    pipeline = toy_pipeline(tiles={"count": 2}, stages=CHAIN)
    run_pipeline(pipeline, tmp_path)
    plan = Plan(pipeline, Store(tmp_path))
    plan.preview()
    task = plan.tasks["total", None]
    assert not task.fields
    assert not task.record.fields
    assert not task.record.facts
    assert plan.fields(task) == Store(tmp_path).record("total", None).fields


def test_explain_names_no_more_than_some_of_the_tasks_that_run_first(toy_pipeline, tmp_path):
    plan = Plan(toy_pipeline(tiles={"count": 30}, stages=CHAIN), Store(tmp_path))
    plan.preview()
    task, lines = explain(plan, "total", None)
    assert task.state is State.MAYBE
    assert lines[:2] == ["make/t0000 runs first:", "it has never been run"]
    assert lines[-1] == "and 10 other tasks run first"


def test_a_failure_is_written_whole_and_replaces_the_one_before(toy_pipeline, tmp_path):
    store = Store(tmp_path)
    store.write_failure("make", "t1", {"error.json": "{}", "more.txt": "x"})
    store.write_failure("make", "t1", {"error.json": "{}", "reproduce.sh": "#!/bin/sh\n"})
    assert sorted(p.name for p in store.failure_folder("make", "t1").iterdir()) == ["error.json", "reproduce.sh"]
    assert [p.name for p in (tmp_path / "failures" / "make").iterdir()] == ["t1"]


def test_digests_of_inputs_are_stored_while_the_run_goes_on(toy_pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr("astrosurvey.core.run._HASHING", 0.0)
    (tmp_path / "a.txt").write_text("1")
    os.utime(tmp_path / "a.txt", (1, 1))
    seen = []
    monkeypatch.setattr("astrosurvey.core.digests.write_atomically", lambda path, data: seen.append(path.name))
    stages = {"read": {"use": "toy.read", "path": "{tile}.txt"}, "add": {"use": "toy.add", "in": "read"}}
    pipeline = toy_pipeline(tiles=["a"], stages=stages, base=tmp_path)
    run_pipeline(pipeline, tmp_path / "run", listeners=[lambda event: seen.append(event.kind)])
    assert seen.index("digests.json") < seen.index("task_finished")
