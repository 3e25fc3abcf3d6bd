"""The coordinator: hands tasks to the engine, retries, isolates failures, and says how it all ended."""

from __future__ import annotations

import contextlib
import heapq
import json
import shlex
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from .engine import Engine, InlineEngine, Stop
from .events import Events, JsonLog, Listener
from .fulldisk import advice, disk_of, errno_of_full, said_of
from .lock import RunLock
from .pipeline import Pipeline
from .plan import Plan, Selection, State, Task
from .run_record import write_run
from .store import Store
from .task import WORKER_DIED, Failure, Order, Outcome
from .tiling import SURVEY
from .wiring import DefaultModel


class ExitCode(IntEnum):
    """What the process's exit status means; a contract."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    STOPPED = 3
    BUG = 4
    INTERRUPTED = 130


_USUAL = (1.0, 1.0)
"""The multiple of its usual memory, and of its usual batch, that a task gets at first."""

_LOSSES = 5
"""How often a task may lose its worker through no fault of its own; one that loses more is held to be at fault."""


@dataclass
class RunResult:
    """How a run ended.

    Attributes:
        counts: how many tasks of each stage are in each state.
        states: the state of each (stage, tile).
        failures: (stage, tile, failure) of the failed tasks, in task order.
        stopped: why the run stopped early; "" when it did not.
    """

    store: Store
    exit_code: ExitCode
    counts: Counter[tuple[str, State]]
    states: dict[tuple[str, str | None], State]
    failures: list[tuple[str, str | None, Failure]] = field(default_factory=list)
    stopped: str = ""
    seconds: float = 0.0

    def read(self, stage: str, port: str, product: Any, tile: str | None = None) -> Any:
        """Return a stored product, read with its class: `result.read("survey", "sources", Catalog)`.

        Raises:
            KeyError: the task has no such product, or has not been done with the pipeline as it is now.
        """
        state = self.states.get((stage, tile))
        if state not in (State.DONE, State.CACHED):
            raise KeyError(f"{stage}/{tile or SURVEY} is {state}" if state else f"there is no task {stage}/{tile or SURVEY}")
        record = self.store.record(stage, tile)
        if record is None or port not in record.outputs:
            raise KeyError(f"{stage}/{tile or 'survey'} has no product {port!r}")
        return product.read(self.store.get(self.store.path(stage, tile, port, record)))


def run_pipeline(
    pipeline: Pipeline,
    out: str | Path,
    *,
    engine: Callable[[], Engine] = InlineEngine,
    device: str = "cpu",
    selection: Selection = Selection(),  # noqa: B008
    verify: bool = False,
    force_unlock: bool = False,
    take_over: Callable[[Path], None] = lambda root: None,
    listeners: Sequence[Listener] = (),
    command: Sequence[str] = (),
) -> RunResult:
    """Run (or resume) a pipeline in the directory `out` and return how it ended.

    Args:
        pipeline: the checked pipeline.
        out: the run directory; made when it is not there.
        engine: makes the engine, which is closed at the end.
        device: "cpu" or "cuda", as decided at start.
        selection: which tasks may run.
        verify: hash every product again before it counts as done.
        force_unlock: take over the lock of a coordinator on another host.
        take_over: called with the run directory once its lock is held, and before anything there is touched; ends what
            a killed coordinator has left at work, and raises LockHeld where others work there without the lock.
        listeners: called with each event.
        command: the command line, for the record.

    Raises:
        PipelineError: `tiles:` or the selection names nothing; nothing has run.
        LockHeld: another coordinator is at work there.
    """
    store = Store(Path(out).resolve())  # a stage may change the working directory
    plan = Plan(pipeline, store, selection, verify=verify)
    with RunLock(store.root / "run.lock", force=force_unlock) as lock:
        take_over(store.root)
        store.sweep()
        store.arrange(len(plan.tiles))
        log = JsonLog(store.root / "events.jsonl")
        try:
            return Coordinator(plan, Events(log, *listeners), device, list(command), lock).run(engine)
        finally:
            log.close()


_HASHING = 20.0
"""Seconds of hashing input files after which the digests are stored: so many a killed run has to hash again."""


class Coordinator:
    """One run: hands the tasks of a plan to an engine and settles what comes back."""

    def __init__(self, plan: Plan, events: Events, device: str, command: list[str], lock: RunLock | None = None) -> None:
        self.plan, self.store, self.events, self.device = plan, plan.store, events, device
        self.options = plan.pipeline.run
        self.command, self.lock = command, lock
        self.allowed = self.options.failures_allowed(len(plan.tasks))
        self.flying: dict[tuple[str, str | None], Task] = {}
        self.given: dict[tuple[str, str | None], tuple[float, float]] = {}
        self.losses: Counter[tuple[str, str | None]] = Counter()
        self.waiting: dict[str, list[Task]] = {}
        self.later: list[tuple[float, Task]] = []
        self.failures: list[tuple[str, str | None, Failure]] = []
        self.retries = 0
        self.mended = {(stage, None if tile == SURVEY else tile) for stage, tile in self.store.failures()}
        self.configs = {name: node.config.model_dump(mode="json") for name, node in plan.pipeline.nodes.items()}
        self.noted: set[str] = set()
        self.draining = False
        self.started = time.time()

    def run(self, make_engine: Callable[[], Engine]) -> RunResult:
        """Run the plan to its end, or to what stops it, and return how it ended."""
        stopped, code = "", ExitCode.OK
        self.write_run_json(None)
        tasks = Counter(task.node.name for task in self.plan.tasks.values())
        try:
            about = {"tasks": dict(tasks), "tiles": len(self.plan.tiles), "device": self.device, "out": str(self.store.root)}
            self.events.emit("run_started", data=about)
            with self.draining_on_signals():
                if (first := self.first_to_run()) is not None:
                    self.run_from(first, make_engine)
        except Stop as stop:
            stopped, code = str(stop), ExitCode.STOPPED
        except KeyboardInterrupt:
            self.draining = True
        except OSError as error:
            if not (number := errno_of_full(error)):
                raise
            stopped, code = advice(f"{said_of(number, self.store.root)} {disk_of(self.store.root)}", self.store.root), ExitCode.STOPPED
        if self.draining:
            stopped, code = "interrupted; run the same command again to resume", ExitCode.INTERRUPTED
        elif code is ExitCode.OK and any(t.state in (State.FAILED, State.BLOCKED) and t.selected for t in self.plan.tasks.values()):
            code = ExitCode.SOME_FAILED
        return self.finish(code, stopped)

    def finish(self, code: ExitCode, stopped: str) -> RunResult:
        """Write the end of the run to its record and its events."""
        counts = Counter((task.node.name, task.state) for task in self.plan.tasks.values())
        seconds = time.time() - self.started
        with contextlib.suppress(OSError):
            if not (self.lock and self.lock.lost):  # else the directory is another's
                self.plan.digests.save()
                self.write_run_json(int(code), counts, stopped)
            said = {f"{stage}/{state}": n for (stage, state), n in counts.items()}
            about = {"exit_code": int(code), "counts": said, "seconds": round(seconds, 2), "stopped": stopped}
            self.events.emit("run_finished", data=about)
        states = {name: task.state for name, task in self.plan.tasks.items()}
        return RunResult(self.store, code, counts, states, self.failures, stopped, seconds)

    def first_to_run(self) -> Task | None:
        """Settle tasks until one has to be run, and return it: a rerun with nothing to do makes no engine."""
        while not self.draining and (task := self.plan.pop_ready()) is not None:
            if not self.is_settled(task):
                return task
        return None

    def run_from(self, first: Task, make_engine: Callable[[], Engine]) -> None:
        """Run a task, and all that are left."""
        with contextlib.closing(make_engine()) as engine:
            engine.on_progress, engine.on_note = self.on_progress, self.on_note
            self.queue(engine, first)
            try:
                self.loop(engine)
            except BaseException:
                engine.cancel()
                raise

    def loop(self, engine: Engine) -> None:
        """Hand out tasks and settle what comes back until there is nothing left to do."""
        drained = False
        while True:
            if self.lock and self.lock.lost:
                raise Stop(f"stopped: {self.lock.lost}; only one may work in {self.store.root} at a time")
            if self.draining and not drained:
                drained = True
                for order in engine.recall():
                    del self.flying[order.task]
            while not self.draining and (task := self.next_task(engine)) is not None:
                if task.attempts or not self.is_settled(task):
                    self.launch(engine, task)
            if not self.flying:
                if self.later and not self.draining:
                    time.sleep(min(max(self.later[0][0] - time.monotonic(), 0), 0.2))  # and look for signals in between
                    continue
                return
            for outcome in engine.as_completed(0.2):
                self.take(engine, outcome)

    def next_task(self, engine: Engine) -> Task | None:
        """Return the most urgent task for which there is room; a full pool does not hold up the others."""
        while (task := self.plan.pop_ready()) is not None:
            self.queue(engine, task)
        while self.later and self.later[0][0] <= time.monotonic():
            self.queue(engine, heapq.heappop(self.later)[1])
        open_pools = [tasks for pool, tasks in self.waiting.items() if tasks and engine.free(pool) > 0]
        return heapq.heappop(min(open_pools, key=lambda tasks: tasks[0])) if open_pools else None

    def queue(self, engine: Engine, task: Task) -> None:
        """Put a task among those that wait for a worker of their pool."""
        pool = engine.pool(task.node.cls.name, self.memory(task))
        heapq.heappush(self.waiting.setdefault(pool, []), task)

    def memory(self, task: Task) -> float:
        """Return the multiple of its usual memory that a task gets."""
        return self.given.get(task.name, _USUAL)[0]

    def is_settled(self, task: Task) -> bool:
        """Settle a ready task from what is known, and tell whether that was possible; if not, it has to be run."""
        state = self.plan.decide(task)
        self.plan.digests.save(after=_HASHING)
        if state is State.RUN:
            return False
        if state is State.FAILED:
            self.fail(task, Failure("DataError", task.reason, final=True), [])
        else:
            self.settle(task, state)
        return True

    def launch(self, engine: Engine, task: Task) -> None:
        """Begin an attempt at a task."""
        task.attempts += 1
        self.flying[task.name] = task
        self.events.emit("task_started", *task.name, {"attempt": task.attempts})
        limit = engine.time_limit(task.node.cls.name)
        engine.submit(self.order(task, self.options.time_limit if limit is None else limit))

    def order(self, task: Task, time_limit: float | None) -> Order:
        """Return all that a worker needs for the next attempt at a task."""
        node = task.node
        memory, batch = self.given.get(task.name, _USUAL)
        return Order(
            run=str(self.store.root),
            name=node.name,
            stage=f"{node.cls.__module__}:{node.cls.__qualname__}",
            config=self.configs[node.name],
            tile=task.tile,
            inputs={port: self.input_paths(task, port) for port in node.wires},
            key=task.key,
            fields=task.fields,
            seed=self.plan.pipeline.seed,
            device=self.device,
            attempt=task.attempts,
            batch=batch,
            use=node.cls.name,
            memory=memory,
            time_limit=time_limit,
            ident=uuid.uuid4().hex,
        )

    def input_paths(self, task: Task, port: str) -> Any:
        """Return where the product behind an input is stored, or the (tile, path) pairs of a gather."""
        source = task.node.wires[port]
        if source is None:
            return None
        if isinstance(source, DefaultModel):
            return str(self.plan.pipeline.registry.models[source.name])
        found = [
            (tile or SURVEY, str(self.store.path(stage, tile, source.port, record)))
            for (stage, tile), record in self.plan.sources(task, source)
        ]
        return found if task.node.inputs[port].gather else found[0][1]

    def take(self, engine: Engine, outcome: Outcome) -> None:
        """Settle a task that came back, or put it up for another attempt."""
        task = self.flying.pop(outcome.order.task)
        for line in outcome.log:
            self.events.emit("task_log", *task.name, {"line": line})
        if outcome.record is not None:
            task.record = outcome.record
            self.settle(task, State.EMPTY if outcome.record.state == "empty" else State.DONE)
            return
        failure = outcome.failure or Failure("BugError", "the task came back without an outcome")
        if failure.disk_full:
            raise Stop(advice(failure.disk_full, self.store.root))
        self.losses[task.name] += failure.lost
        if self.is_last(task, failure):
            self.fail(task, failure, outcome.log)
            return
        if failure.memory:
            self.give_more(engine, outcome.order)
        self.retries += 1
        delay = 0.0 if failure.lost else min(0.2 * 4 ** (task.attempts - self.losses[task.name] - 1), 30)
        self.events.emit("task_retried", *task.name, {"attempt": task.attempts, "message": failure.message, "delay": delay})
        heapq.heappush(self.later, (time.monotonic() + delay, task))

    def is_last(self, task: Task, failure: Failure) -> bool:
        """Tell whether a failed task gets no other attempt."""
        lost = self.losses[task.name]
        killed_again = failure.memory and failure.kind == WORKER_DIED and task.name in self.given
        return failure.final or killed_again or lost > _LOSSES or task.attempts - lost > self.options.retries

    def give_more(self, engine: Engine, order: Order) -> None:
        """Give a task that ran out of memory more of it; half the batch where there is no more, or where it was the device's."""
        more = engine.more_memory(order.use, order.memory)
        self.given[order.task] = (more, order.batch) if more > order.memory else (order.memory, order.batch / 2)

    def fail(self, task: Task, failure: Failure, log: list[str]) -> None:
        """Write down why a task failed, and settle it."""
        self.failures.append((*task.name, failure))
        self.store.write_failure(
            *task.name,
            {
                "error.json": json.dumps({"attempts": task.attempts, **asdict(failure)}, indent=1),
                "traceback.txt": failure.traceback,
                "log.txt": "\n".join(log) + "\n",
                "reproduce.sh": self.reproduce(task),
            },
        )
        self.settle(task, State.FAILED, failure.message)
        if len(self.failures) > self.allowed:
            raise Stop(f"stopped: {len(self.failures)} tasks have failed, more than run.max_failures ({self.options.max_failures}) allows")

    def reproduce(self, task: Task) -> str:
        """Return a shell script that runs the failed task alone, in this process."""
        stage, tile = task.name
        words = ["--only", stage, *(["--tiles", tile] if tile else []), "--engine", "inline"]
        return (
            "#!/bin/sh\n# Runs this task alone and shows what happens.\n"
            'run=$(cd "$(dirname "$0")" && while [ ! -f pipeline.yaml ] && [ "$PWD" != / ]; do cd ..; done && pwd)\n'
            f'astrosurvey run "$run/pipeline.yaml" --out "$run" {shlex.join(words)} "$@"\n'
        )

    def settle(self, task: Task, state: State, reason: str = "") -> None:
        """Settle a task, and say so."""
        facts = task.record.facts if task.record and state in (State.DONE, State.EMPTY) else {}
        self.plan.settle(task, state, reason=reason or task.reason)
        if state in (State.DONE, State.CACHED, State.EMPTY) and task.name in self.mended:
            self.store.clear_failure(*task.name)
        data: dict[str, Any] = {key: facts[key] for key in ("seconds", "peak_bytes", "warnings", "attempt") if key in facts}
        if message := task.reason or facts.get("why"):
            data["message"] = message
        self.events.emit("task_finished", *task.name, {"state": str(state), **data})

    def on_progress(self, name: tuple[str, str | None], done: int, total: int) -> None:
        """Pass on the progress of a task."""
        self.events.emit("task_progress", *name, {"done": done, "total": total})

    def on_note(self, name: tuple[str, str | None], text: str) -> None:
        """Say something once, however many workers say it."""
        if text not in self.noted:
            self.noted.add(text)
            self.events.emit("task_note", *name, {"line": text})

    @contextlib.contextmanager
    def draining_on_signals(self) -> Iterator[None]:
        """Let the first SIGINT or SIGTERM finish what is running and start nothing more; the second aborts."""

        def drain(number: int, frame: Any) -> None:
            if self.draining:
                raise KeyboardInterrupt
            self.draining = True
            print(f"\n{signal.Signals(number).name}: finishing the running tasks; once more to abort them", file=sys.stderr, flush=True)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, drain) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def write_run_json(self, code: int | None, counts: Counter[tuple[str, State]] | None = None, stopped: str = "") -> None:
        """Write the record of the run; once at its start, without an exit code, and once at its end."""
        write_run(
            self.store.root,
            self.plan.pipeline,
            len(self.plan.tiles),
            started=self.started,
            finished=time.time() if code is not None else None,
            device=self.device,
            command=self.command,
            code=code,
            counts=counts,
            stopped=stopped,
            retries=self.retries,
        )
