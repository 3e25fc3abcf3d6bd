"""Where tasks run: one small interface over this process and over Dask workers."""

from __future__ import annotations

import functools
import logging
import os
import queue
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .task import Failure, Order, Outcome, execute

OnProgress = Callable[[tuple[str, str | None], int, int], None]
"""on_progress(task, done, total), called in the coordinator."""

OnNote = Callable[[tuple[str, str | None], str], None]
"""on_note(task, text), called in the coordinator's thread."""


class Engine(Protocol):
    """Runs orders somewhere. It holds nothing that cannot be lost: the truth is in the run directory.

    Attributes:
        slots: how many orders it can work on at once; the coordinator submits no more than these.
        on_progress: set by the coordinator; called with each progress report of a task.
        on_note: set by the coordinator; called with what a task wants said at once.
    """

    slots: int
    on_progress: OnProgress | None
    on_note: OnNote | None

    def submit(self, order: Order) -> None:
        """Begin to run a task."""

    def as_completed(self, timeout: float) -> Iterator[Outcome]:
        """Yield the outcomes that are there, waiting up to `timeout` seconds for the first."""

    def cancel(self) -> None:
        """Forget what is running; it may go on, but nobody will hear of it."""

    def close(self) -> None:
        """End the workers."""


class LocalSettings(BaseModel):
    """The settings of the local engine in a site file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int = Field(1, ge=1, le=1024, description="worker processes")
    memory_limit: int | str = Field(
        "auto", description="memory a worker may use, such as 4GiB; auto shares out what there is; 0 is no limit"
    )

    @field_validator("memory_limit")
    @classmethod
    def _amount(cls, value: int | str) -> int | str:
        if isinstance(value, str) and value != "auto" and not re.fullmatch(r"\d+(\.\d+)?\s*([kMGT]i?)?B", value):
            raise ValueError(f"must be like 4GiB, or auto, not {value!r}")
        return value


class InlineEngine:
    """Runs each task in this process: for one worker, and for debugging."""

    slots = 1

    def __init__(self) -> None:
        self._waiting: list[Order] = []
        self.on_progress: OnProgress | None = None
        self.on_note: OnNote | None = None

    def submit(self, order: Order) -> None:
        """Keep the task until the coordinator asks for outcomes."""
        self._waiting.append(order)

    def as_completed(self, timeout: float) -> Iterator[Outcome]:
        """Run what is waiting."""
        while self._waiting:
            order = self._waiting.pop(0)
            progress = functools.partial(self.on_progress, order.task) if self.on_progress else None
            yield execute(order, progress, functools.partial(self.on_note, order.task) if self.on_note else None)

    def cancel(self) -> None:
        """Drop what is waiting."""
        self._waiting.clear()

    def close(self) -> None:
        """Do nothing: there are no workers."""


class LocalEngine:
    """Runs tasks on spawned Dask workers of this machine, one thread each, restarted when they die."""

    def __init__(self, workers: int, memory_limit: str | int = "auto", gpus: int = 0, preload: Sequence[str] = ()) -> None:
        import dask
        from distributed import Client, LocalCluster, Nanny

        exits: dict[str, int] = {}
        self._exits = exits

        class RecordingNanny(Nanny):
            """A nanny that remembers how its worker ended, which Dask itself does not tell."""

            async def _on_worker_exit(self, exitcode: int) -> None:
                exits[str(self.worker_address)] = exitcode
                await super()._on_worker_exit(exitcode)

        self.slots = workers
        self.on_progress: OnProgress | None = None
        self.on_note: OnNote | None = None
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._notes: queue.SimpleQueue[tuple[str, str | None, str]] = queue.SimpleQueue()
        self._orders: dict[Any, Order] = {}
        for name in ("distributed", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        dask.config.set(
            {
                "distributed.scheduler.allowed-failures": 0,
                "distributed.scheduler.worker-saturation": 1.0,
                "distributed.worker.memory.spill": False,
                "distributed.worker.memory.target": False,
                "distributed.worker.memory.pause": False,
                "distributed.worker.multiprocessing-method": "spawn",
                "distributed.admin.tick.limit": "60s",
            }
        )
        threads = max(1, len(os.sched_getaffinity(0)) // workers)
        self._cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=memory_limit,
            worker_class=RecordingNanny,
            preload=["astrosurvey.core.worker", *preload],
            preload_argv=[["--gpus", str(gpus), "--threads", str(threads)], *([] for _ in preload)],
            silence_logs=logging.CRITICAL,
        )
        self._client = Client(self._cluster)
        self._client.subscribe_topic("astrosurvey-progress", self._progress)
        self._client.subscribe_topic("astrosurvey-notes", lambda event: self._notes.put(tuple(event[1])))

    @property
    def dashboard(self) -> str:
        """The address of Dask's dashboard, on this machine only."""
        return str(self._cluster.dashboard_link)

    def submit(self, order: Order) -> None:
        """Send the task to a free worker."""
        future = self._client.submit(
            run_on_worker, order, pure=False, key=f"{order.name}-{order.task[1]}-{order.attempt}-{os.urandom(4).hex()}"
        )
        self._orders[future] = order
        future.add_done_callback(self._done.put)

    def as_completed(self, timeout: float) -> Iterator[Outcome]:
        """Yield finished tasks; a worker that died is a failure that a retry may mend."""
        while True:
            self._say_notes()
            try:
                future = self._done.get(timeout=timeout)
            except queue.Empty:
                return
            timeout = 0
            order = self._orders.pop(future, None)
            if order is not None:
                yield self._outcome(order, future)

    def _say_notes(self) -> None:
        while self.on_note and not self._notes.empty():
            stage, tile, text = self._notes.get()
            self.on_note((stage, tile), text)

    def _outcome(self, order: Order, future: Any) -> Outcome:
        from distributed.scheduler import KilledWorker

        error = future.exception()
        if error is None:
            result: Outcome = future.result()
            return result
        if isinstance(error, KilledWorker):
            code = self._exit_code(str(error.last_worker.address))
            return Outcome(order, failure=Failure("worker died", f"worker died: {_exit_reason(code)}", memory=True))
        return Outcome(order, failure=Failure(type(error).__name__, f"{type(error).__name__}: {error}"))

    def _exit_code(self, worker: str) -> int | None:
        """Return how a lost worker ended; the scheduler may hear of the loss before the nanny sees the exit."""
        deadline = time.monotonic() + 5
        while worker not in self._exits and time.monotonic() < deadline:
            time.sleep(0.02)
        return self._exits.get(worker)

    def _progress(self, event: tuple[float, Any]) -> None:
        if self.on_progress:
            stage, tile, done, total = event[1]
            self.on_progress((stage, tile), done, total)

    def cancel(self) -> None:
        """Forget the tasks in flight."""
        futures = list(self._orders)
        self._orders.clear()
        self._client.cancel(futures, force=True)

    def close(self) -> None:
        """Stop the workers and wait for them."""
        self._client.close(timeout=5)
        self._cluster.close(timeout=10)


def run_on_worker(order: Order) -> Outcome:
    """Run a task in a Dask worker, sending progress to the coordinator at most four times a second."""
    from distributed import get_worker

    worker = get_worker()
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.25:
            last = time.monotonic()
            worker.log_event("astrosurvey-progress", [order.name, order.task[1], done, total])

    def note(text: str) -> None:
        worker.log_event("astrosurvey-notes", [order.name, order.task[1], text])

    return execute(order, progress, note)


def _exit_reason(code: int | None) -> str:
    if code is None:
        return "no exit status was seen"
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"
