"""What the logs of the elements say of a run: which have ended, and how every task stands."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ...core.events import Event, each_event
from .layout import ArrayPlan

_FOR_MEMORY = re.compile(rb"exceeded (job |step )?memory limit|oom[-_ ]?kill|out of memory|Killed process", re.IGNORECASE)
"""What Slurm or the kernel writes into a job's output when it ends it for its memory."""

_TAIL = 20_000
"""Bytes at the end of a job's output in which that is looked for."""


@dataclass
class Element:
    """What is known of one element.

    Attributes:
        number: among all elements of the plan.
        exit_code: how it ended; None when it was never started, is at work, or was ended from outside.
        stopped: why it could not do all, when it says so.
        running: the task it was at when its log ends, "" when it was at none.
        device: where its tasks ran.
        events: its tasks' events, without what a later attempt has made obsolete.
    """

    number: int
    exit_code: int | None = None
    stopped: str = ""
    running: str = ""
    device: str = ""
    events: list[Event] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether it has settled all its tasks, well or badly."""
        return self.exit_code in (0, 1)


def read_elements(plan: ArrayPlan) -> Iterator[Element]:
    """Yield every element of a plan, as its log tells."""
    for number in plan.elements:
        yield read_element(plan, number)


def read_element(plan: ArrayPlan, number: int) -> Element:
    """Return what the log of an element tells."""
    element = Element(number)
    settled: dict[tuple[str, str | None], int] = {}
    with contextlib.suppress(FileNotFoundError):
        for event in each_event(plan.log(number)):
            name = (event.stage, event.tile)
            if event.kind == "run_started":
                element.exit_code, element.stopped, element.running = None, "", ""
                element.device = str(event.data["device"])
                continue
            if event.kind == "run_finished":
                element.exit_code, element.stopped = event.data["exit_code"], event.data["stopped"]
                continue
            if event.kind == "task_started":
                element.running = f"{event.stage}/{event.tile or 'survey'}"
            elif event.kind in ("task_finished", "task_retried"):
                element.running = ""
            if event.kind == "task_finished":
                event = replace(event, data={key: value for key, value in event.data.items() if key != "key"})  # noqa: PLW2901
                before = settled.get(name)
                if before is not None and event.data["state"] == "cached":
                    continue  # this job's earlier attempt has done it
                if before is not None:
                    element.events[before] = event
                    continue
                settled[name] = len(element.events)
            element.events.append(event)
    return element


def ended_for_memory(plan: ArrayPlan, number: int) -> bool:
    """Tell whether the output of an element that has not ended says that Slurm or the kernel ended it for its memory."""
    try:
        with plan.output(number).open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(stream.tell() - _TAIL, 0))
            return _FOR_MEMORY.search(stream.read()) is not None
    except OSError:
        return False


def start_of(plan: ArrayPlan, started: float, device: str) -> Event:
    """Return the event with which a run of job arrays begins."""
    tasks = {stage: plan.tiles if wave.scope == "tile" else 1 for wave in plan.waves for stage in wave.stages}
    return Event("run_started", started, data={"tasks": tasks, "tiles": plan.tiles, "device": device, "out": str(plan.root)})


def numbers(elements: list[int], most: int = 8) -> str:
    """Return the first of some numbers in words."""
    said = ", ".join(map(str, elements[:most]))
    return said + (f" and {len(elements) - most} more" if len(elements) > most else "")
