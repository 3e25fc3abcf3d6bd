"""One element of a job array: the tasks of a wave on a few tiles, run as the coordinator would run them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ... import plugins
from ...core.device import decide
from ...core.engine import Engine
from ...core.events import Event, Events, JsonLog, Listener, each_event
from ...core.pipeline import Pipeline
from ...core.plan import Plan, State, Task
from ...core.run import Coordinator, ExitCode, RunResult
from ...core.store import Store
from ...core.task import WORKER_DIED, Outcome
from ...core.tiles import Tile
from . import memory
from .layout import ArrayPlan, Wave, read_plan
from .script import MORE_MEMORY, RETRY
from .supervisor import SupervisedEngine

Verdicts = Mapping[tuple[str, str | None], tuple[State, str]]
"""Of each settled task its state and its key."""


def run_element(root: Path, element: int, listeners: Sequence[Listener] = ()) -> int:
    """Run the tasks of an element that are not done, and return the exit status.

    It may be run again at any time: what is done is not done again. It is 0 when all is done, 1 when tasks failed,
    3 when it could not do all, as for an earlier element that has not ended; `RETRY` and `MORE_MEMORY` ask the job
    script to put the job back into the queue.

    Raises:
        ArrayError: there is no such element.
        PipelineError: the pipeline cannot be loaded here.
    """
    plan = read_plan(root.absolute())
    wave = plan.wave_of(element)
    pipeline = Pipeline.load(plan.folder / "pipeline.yaml", plugins.load())
    tiles = plan.tiles_of(element)
    tasks = ElementPlan(pipeline, Store(plan.root), wave, tiles, _verdicts(plan, wave, tiles))
    tasks.digests.news = plan.digests(element)
    device = "cpu" if not wave.gpus and any(w.gpus for w in plan.waves) else decide(pipeline.run.device)[0]
    path = plan.log(element)
    engine = SupervisedEngine(memory.allowed(wave.memory), wave.time_limits)
    log = _ElementLog(path, tasks)
    try:
        coordinator = _Element(tasks, Events(log, *listeners), device, engine, wave, plan.grace)
        coordinator.remember(path)
        result = coordinator.run(lambda: engine)
    finally:
        log.close()
    if result.exit_code is ExitCode.INTERRUPTED:
        return MORE_MEMORY if coordinator.wants_more else RETRY
    return int(result.exit_code)


class ElementPlan(Plan):
    """The tasks of one element, with those of earlier waves whose products they read, as their elements left them."""

    def __init__(self, pipeline: Pipeline, store: Store, wave: Wave, tiles: list[Tile], verdicts: Verdicts) -> None:
        self.own = frozenset(wave.stages)
        self._verdicts = verdicts
        read = {parent for name in wave.stages for parent in pipeline.nodes[name].parents()}
        nodes = {
            name: node if name in self.own else replace(node, wires={})
            for name, node in pipeline.nodes.items()
            if name in self.own or name in read
        }
        super().__init__(replace(pipeline, nodes=nodes), store, tiles=tiles)

    def decide(self, task: Task) -> State:
        """Return the state of a task before anything is run; one of an earlier wave is as its element has left it."""
        if task.node.name not in self.own:
            return self._given(task)
        waiting = next((parent for parent in self.parents(task) if parent.state is State.PENDING), None)
        if waiting is not None:
            task.reason = f"{waiting} is not settled; `astrosurvey collect` says which elements have not ended"
            return State.PENDING
        return super().decide(task)

    def _given(self, task: Task) -> State:
        state, key = self._verdicts.get(task.name, (State.PENDING, ""))
        if state not in (State.DONE, State.CACHED):
            return state
        record = self.store.record(*task.name)
        if record is None or record.key != key or not self.store.is_sound(*task.name, record):
            return State.PENDING
        task.record = record
        return State.CACHED


class _Element(Coordinator):
    """Settles the tasks of an element; the record of the run as a whole is not its to write."""

    plan: ElementPlan

    def __init__(self, plan: ElementPlan, events: Events, device: str, engine: SupervisedEngine, wave: Wave, grace: float) -> None:
        super().__init__(plan, events, device, [])
        self.allowed = float("inf")  # of the whole run, which an element does not see
        self.engine, self.wave, self.grace = engine, wave, grace
        self.wants_more = False

    def remember(self, log: Path) -> None:
        """Count the attempts of before this job was put back into the queue; the first job begins anew."""
        if int(os.environ.get("SLURM_RESTART_COUNT") or 0) == 0 or not log.is_file():
            return
        for event in each_event(log):
            task = self.plan.tasks.get((event.stage, event.tile))
            if task is not None and event.kind == "task_retried" and event.data.get("memory"):
                self.given[task.name] = (self.engine.limit / self.wave.memory, 1.0)

    def is_settled(self, task: Task) -> bool:
        """Settle a ready task from what is known, if it can be; those of earlier waves are no news."""
        if task.node.name in self.plan.own:
            return super().is_settled(task)
        self.plan.settle(task, self.plan.decide(task), reason=task.reason)
        return True

    def take(self, engine: Engine, outcome: Outcome) -> None:
        """Settle a task that came back; the first that ran out of memory waits for a job that may use more."""
        failure, name = outcome.failure, outcome.order.task
        killed = failure is not None and failure.memory and failure.kind == WORKER_DIED
        if failure is None or not killed or name in self.given or self.engine.limit >= self.wave.more:
            super().take(engine, outcome)
            return
        task = self.flying.pop(name)
        about = {"attempt": task.attempts, "message": failure.message, "delay": 0, "memory": True}
        self.events.emit("task_retried", *name, about)
        self.draining = self.wants_more = True

    def finish(self, code: ExitCode, stopped: str) -> RunResult:
        """End the element; its own tasks count, and with some that wait for other elements it has not done its work."""
        own = [task for task in self.plan.tasks.values() if task.node.name in self.plan.own]
        waiting = [task for task in own if task.state is State.PENDING]
        if code is ExitCode.SOME_FAILED and not any(task.state in (State.FAILED, State.BLOCKED) for task in own):
            code = ExitCode.OK
        if waiting and code in (ExitCode.OK, ExitCode.SOME_FAILED):
            code, stopped = ExitCode.STOPPED, f"{len(waiting)} tasks could not begin, the first {waiting[0]}: {waiting[0].reason}"
        return super().finish(code, stopped)

    def write_run_json(self, *_: Any) -> None:
        """Write nothing: there are many elements, and one record of the run."""

    @contextlib.contextmanager
    def draining_on_signals(self) -> Iterator[None]:
        """Begin nothing new after SIGUSR1, SIGTERM or SIGINT.

        SIGUSR1 comes some time before the walltime, and the running task gets half of it to come to its end; the
        others end it at once.
        """

        def drain(number: int, frame: Any) -> None:
            self.draining = True
            self.engine.stop_at = time.monotonic() + (self.grace / 2 if number == signal.SIGUSR1 else 0)

        before = {number: signal.signal(number, drain) for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _ElementLog(JsonLog):
    """Appends each event of an element to its log, with the keys of settled tasks, by which later waves know them."""

    def __init__(self, path: Path, plan: ElementPlan) -> None:
        super().__init__(path)
        self._plan = plan

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if event.kind == "task_finished":
            event = replace(event, data={**event.data, "key": self._plan.tasks[event.stage, event.tile].key})
        super().__call__(event)


def _verdicts(plan: ArrayPlan, wave: Wave, tiles: list[Tile]) -> Verdicts:
    """Return how the tasks that a wave reads from have ended, from the logs of their elements."""
    found: dict[tuple[str, str | None], tuple[State, str]] = {}
    for number in wave.after:
        for element in plan.elements_with(plan.waves[number - 1], tiles):
            with contextlib.suppress(FileNotFoundError):
                for event in each_event(plan.log(element)):
                    if event.kind == "task_finished":
                        found[event.stage, event.tile] = (State(event.data["state"]), event.data["key"])
    return found
