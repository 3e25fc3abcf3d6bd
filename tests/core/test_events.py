from __future__ import annotations

import pytest

from astrosurvey.core.events import Event, Events, JsonLog, read_log
from astrosurvey.core.history import History


def write(path, *kinds):
    log = JsonLog(path)
    for kind in kinds:
        Events(log).emit(kind, "sky", "t0001", {"state": "done"})
    log.close()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"null",
        b"3",
        b'"kind"',
        b"{}",
        b'{"kind": "task_fini',
        b"\xff\xfe{",
        b'{"kind": 3, "time": 1, "stage": "", "tile": null, "data": {}}',
        b'{"kind": "x", "time": 1, "stage": "", "tile": null, "data": []}',
    ],
)
def test_what_is_no_event_is_left_out(tmp_path, line):
    path = tmp_path / "events.jsonl"
    write(path, "run_started")
    with path.open("ab") as stream:
        stream.write(line + b"\n")
    write(path, "task_finished")
    events = list(read_log(path))
    assert [event.kind for event in events] == ["run_started", "task_finished"]
    assert events[1] == Event("task_finished", events[1].time, "sky", "t0001", {"state": "done"})


def test_only_the_last_run_is_told(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, "run_started", "task_finished", "run_started")
    assert [event.kind for event in read_log(path)] == ["run_started"]


@pytest.mark.parametrize("block", [1, 7, 64, 1000, 1 << 20])
def test_the_last_run_is_found_from_the_end_across_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr("astrosurvey.core.events._BLOCK", block)
    path = tmp_path / "events.jsonl"
    write(path, *["run_started", "task_finished"] * 3)
    log = JsonLog(path)
    Events(log).emit("run_started", data={"tasks": {"sky": 2}})
    Events(log).emit("task_log", "run_started", "run_started", {"line": '{"kind": "run_started"}'})
    log.close()
    with path.open("ab") as stream:
        stream.write(b'{"kind": "run_started", "time"')  # torn
    first, second = read_log(path)
    assert first.data == {"tasks": {"sky": 2}}
    assert second.data == {"line": '{"kind": "run_started"}'}


def test_a_log_without_the_beginning_of_a_run_is_told_from_its_first_line(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, "task_started", "task_finished")
    assert [event.kind for event in read_log(path)] == ["task_started", "task_finished"]
    path.write_bytes(b"")
    assert list(read_log(path)) == []


def test_a_history_counts_states_retries_and_what_is_at_work():
    def event(kind, tile=None, **data):
        return Event(kind, 5.0, "sky" if tile else "", tile, data)

    history = History.of(
        [
            event("run_started", tasks={"sky": 5, "total": 1}),
            *(event("task_started", tile) for tile in "abc"),
            event("task_retried", "b"),
            event("task_finished", "a", state="done"),
            event("task_finished", "d", state="cached"),
            event("task_started", "b"),
            event("task_finished", "b", state="failed", message="cursed"),
        ]
    )
    assert history.counts() == {"sky": {"done": 1, "cached": 1, "failed": 1, "pending": 2}, "total": {"pending": 1}}
    assert history.running == {("sky", "c"): 5.0}
    assert history.failed == {("sky", "b"): "cursed"}
    assert (history.worked, history.retries, history.exit_code) == (2, {"sky": 1}, None)
