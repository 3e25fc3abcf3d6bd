"""The one stream of state changes, from which progress, the JSON log and the report are made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

VERSION = 1
_BLOCK = 1 << 20
_STARTED = b'"kind": "run_started"'


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: run_started, task_started, task_progress, task_note, task_log, task_retried, task_finished
            or run_finished.
        time: seconds since the epoch.
        stage: the stage's name in the pipeline; "" for events of the run.
        tile: the tile's name, or None at survey scope.
        data: JSON values that belong to the kind.
    """

    kind: str
    time: float
    stage: str = ""
    tile: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


class Events:
    """Hands each event to every listener, in order, in the coordinator's thread."""

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = list(listeners)

    def emit(self, kind: str, stage: str = "", tile: str | None = None, data: dict[str, Any] | None = None) -> None:
        """Tell every listener that something happened just now."""
        self.pass_on(Event(kind, time.time(), stage, tile, data or {}))

    def pass_on(self, event: Event) -> None:
        """Tell every listener of something that has happened."""
        for listener in self.listeners:
            listener(event)


class JsonLog:
    """Appends each event as one line to `events.jsonl`; progress, of which there is much, is left out."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("a", encoding="utf-8", errors="backslashreplace")
        if not _ends_a_line(path):  # a killed driver's torn line
            self._stream.write("\n")

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if event.kind == "task_progress":
            return
        # json escapes control characters, so a hostile header cannot forge a line.
        values = {"version": VERSION, "kind": event.kind, "time": event.time, "stage": event.stage, "tile": event.tile, "data": event.data}
        self._stream.write(json.dumps(values, ensure_ascii=True, default=str) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(size - 1, 0))
        return stream.read(1) in (b"\n", b"")


def each_event(path: Path) -> Iterator[Event]:
    """Yield the events of all runs in a log."""
    with path.open("rb") as stream:
        for line in stream:
            event = _event(line)
            if event is not None:
                yield event


def read_log(path: Path) -> Iterator[Event]:
    """Yield the events of the last run in a log; what is no event, as a killed driver's torn line, is left out."""
    with path.open("rb") as stream:
        stream.seek(_last_start(stream))
        for line in stream:
            event = _event(line)
            if event is not None:
                yield event


def _last_start(stream: BinaryIO) -> int:
    """Return where the line of the last `run_started` begins, found from the end: a log may hold many runs before it."""
    end, after = stream.seek(0, 2), b""
    while end:
        start = max(end - _BLOCK, 0)
        stream.seek(start)
        block = stream.read(end - start) + after
        at = len(block)
        while (at := block.rfind(_STARTED, 0, at)) >= 0:
            line = block.rfind(b"\n", 0, at) + 1
            if not line and start:
                break  # the line begins in the block before
            event = _event(block[line : block.find(b"\n", at) + 1 or None])
            if event is not None and event.kind == "run_started":
                return start + line
            at = line
        first = block.find(b"\n") + 1 if start else 0
        end, after = start, block[: first or len(block)]
    return 0


def _event(line: bytes) -> Event | None:
    """Return the event that a line of a log tells of, None if it tells of none."""
    try:
        values = json.loads(line)
        event = Event(values["kind"], values["time"], values["stage"], values["tile"], values["data"])
    except (ValueError, KeyError, TypeError):
        return None
    typed = isinstance(event.kind, str) and isinstance(event.time, int | float) and isinstance(event.stage, str)
    return event if typed and isinstance(event.tile, str | None) and isinstance(event.data, dict) else None
