from __future__ import annotations

import pytest

from astrosurvey.core.events import Event, Events, JsonLog, read_log


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
    events = read_log(path)
    assert [event.kind for event in events] == ["run_started", "task_finished"]
    assert events[1] == Event("task_finished", events[1].time, "sky", "t0001", {"state": "done"})


def test_only_the_last_run_is_told(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, "run_started", "task_finished", "run_started")
    assert [event.kind for event in read_log(path)] == ["run_started"]
