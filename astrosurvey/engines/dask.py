"""Tasks on Dask workers, in one or more pools: what every engine but the inline one is made of."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..core.engine import OnNote, OnProgress, Stop
from ..core.store import Store
from ..core.task import Order, Outcome, execute
from .exits import EXITS, Exit, ending_after, failure_of

PROGRESS, NOTES, OUTCOMES = "astrosurvey-progress", "astrosurvey-notes", "astrosurvey-outcomes"
"""The Dask topics of what a task says while it runs, and of what it has come to."""

GRACE = 5.0
"""Seconds in which a nanny has told how its worker ended, if it ever will."""


@dataclass(frozen=True)
class Pool:
    """Workers with the same resources; each works on one task at a time.

    Attributes:
        name: what tells it from the engine's other pools; two pools of one name are the same pool.
        workers: the most workers it has at once, and so the most orders it takes.
        start: gives its cluster; called once, when the first order comes. The cluster is whatever
            `distributed.Client` takes: a `LocalCluster`, a cluster of dask-jobqueue that has been told to
            `adapt` between its minimum and `workers`, or the address of a scheduler. What has a `close`
            is closed with the engine; what has a `trouble` that is not "" stops the run with that line. Its
            workers are one thread each and are started with `WORKER_OPTIONS`, or what they amount to.
    """

    name: str
    workers: int
    start: Callable[[], Any]


class Resources(Protocol):
    """What the stages of a pipeline get to run on: what an engine knows and `DaskEngine` asks for."""

    def pool(self, use: str, memory: float) -> Pool:
        """Return the pool that runs a stage of class name `use`, with `memory` times its usual memory."""

    def more_memory(self, use: str, memory: float) -> float:
        """Return the multiple of memory for a task that ran out of it with `memory`; the same where there is no more to be had."""

    def time_limit(self, use: str) -> float | None:
        """Return how many seconds a task of a stage may take; None where the pipeline's `run.time_limit` holds."""


@dataclass(frozen=True)
class OnePool:
    """The resources of an engine whose workers are all alike."""

    all: Pool

    def pool(self, use: str, memory: float) -> Pool:
        """Return the one pool."""
        return self.all

    def more_memory(self, use: str, memory: float) -> float:
        """Have no more memory to give."""
        return memory

    def time_limit(self, use: str) -> float | None:
        """Leave it to the pipeline."""
        return None


WORKER_OPTIONS = (
    "--preload",
    "astrosurvey.engines.worker",
    "--preload",
    "astrosurvey.plugins",
    "--preload-nanny",
    "astrosurvey.engines.nanny",
)
"""How `dask worker` is started, besides with one thread, so that its worker ends as the engine expects, and tells how."""

_SCHEDULER = {
    "distributed.scheduler.allowed-failures": 0,  # the coordinator retries
    "distributed.scheduler.worker-saturation": 1.0,  # no task waits on a worker, where it would be lost with another
    "distributed.scheduler.worker-ttl": "10 minutes",  # a kernel may keep the interpreter's lock for minutes; dead nodes are seen by TCP
    "distributed.admin.low-level-log-length": 1000,  # events that have been heard
    "distributed.admin.tick.limit": "60s",
}
"""Dask's settings for the schedulers of this process."""


_REMEMBERED = 10_000
"""Ends of workers that are remembered; an address comes back some day."""


@dataclass
class Open:
    """A pool that has been started, and what is in flight on it."""

    cluster: Any
    client: Any
    orders: dict[Any, Order] = field(default_factory=dict)


class DaskEngine:
    """Runs tasks on the Dask workers of one or more pools; each pool is a cluster and a client of its own.

    Whatever happens on a worker or to it, its tasks come back as outcomes. Only a scheduler that is gone
    stops the run.
    """

    _no_start = "the workers could not be started"

    def __init__(self, resources: Resources) -> None:
        self.on_progress: OnProgress | None = None
        self.on_note: OnNote | None = None
        self._resources = resources
        self._pools: dict[str, Pool] = {}
        self._open: dict[str, Open] = {}
        self._heard: queue.SimpleQueue[tuple[Callable[..., None], Any]] = queue.SimpleQueue()
        self._outcomes: deque[Outcome] = deque()
        self._told: dict[str, Outcome] = {}
        self._lost: list[tuple[float, str, str, Order]] = []
        self._exits: dict[str, Exit] = {}

    def pool(self, use: str, memory: float) -> str:
        """Return the name of the pool that runs a stage."""
        pool = self._resources.pool(use, memory)
        self._pools[pool.name] = pool
        return pool.name

    def free(self, pool: str) -> int:
        """Return how many workers of a pool have nothing to do."""
        opened = self._open.get(pool)
        return self._pools[pool].workers - (len(opened.orders) if opened else 0)

    def more_memory(self, use: str, memory: float) -> float:
        """Return what the engine's resources say."""
        return self._resources.more_memory(use, memory)

    def time_limit(self, use: str) -> float | None:
        """Return what the engine's resources say."""
        return self._resources.time_limit(use)

    def submit(self, order: Order) -> None:
        """Send the task to a free worker of its pool."""
        from dask._task_spec import Task

        name = self.pool(order.use, order.memory)
        if name not in self._open:
            self._open[name] = self._start(self._pools[name])
        opened = self._open[name]
        key = f"{order.name}-{order.task[1]}-{order.attempt}-{os.urandom(4).hex()}"
        # A task that "produces data" waits at the scheduler while all workers are busy, never on one of them.
        try:
            (future,) = opened.client.get({key: Task(key, run_on_worker, order, _data_producer=True)}, [key], sync=False)
        except Exception as error:
            if opened.client.status == "running":
                raise
            raise _gone(error) from error
        opened.orders[future] = order
        future.add_done_callback(lambda done: self._heard.put((self._finished, (opened, done))))

    def _start(self, pool: Pool) -> Open:
        import dask
        from distributed import Client

        for name in ("distributed", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        dask.config.set(_SCHEDULER)
        try:
            cluster = pool.start()
            client = Client(cluster)
        except (OSError, RuntimeError, ValueError) as error:
            raise Stop(f"stopped: {self._no_start}: {' '.join(str(error).split())}") from error
        client.subscribe_topic(EXITS, lambda event: self._heard.put((self._ended, (event[1],))))
        client.subscribe_topic(OUTCOMES, lambda event: self._heard.put((self._tell, (event[1],))))
        client.subscribe_topic(NOTES, lambda event: self._heard.put((self._note, event[1])))
        client.subscribe_topic(PROGRESS, lambda event: self._progress(*event[1]))
        return Open(cluster, client)

    def as_completed(self, timeout: float) -> Iterator[Outcome]:
        """Yield what has ended, with what became of the tasks of lost workers."""
        deadline = time.monotonic() + timeout
        while True:
            self._look_after_clusters()
            self._settle_lost()
            while self._outcomes:
                deadline = 0.0
                yield self._outcomes.popleft()
            try:
                take, about = self._heard.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                return
            take(*about)

    def _look_after_clusters(self) -> None:
        for opened in self._open.values():
            if opened.client.status == "closed":
                raise _gone("connection closed")
            if trouble := getattr(opened.cluster, "trouble", ""):
                raise Stop(f"stopped: {trouble}")

    def _finished(self, opened: Open, future: Any) -> None:
        """Take a future that is done: its task has told its outcome, or its worker was lost, or Dask has something to say."""
        from distributed.scheduler import KilledWorker

        order = opened.orders.pop(future, None)
        if order is None:
            return
        if outcome := self._told.pop(order.ident, None):
            self._outcomes.append(outcome)
            return
        try:
            error = future.exception(timeout=GRACE)
        except Exception as raised:
            error = raised
        if opened.client.status != "running":
            raise _gone(error)
        worker, said = (str(error.last_worker.address), "") if isinstance(error, KilledWorker) else ("", str(error or ""))
        self._lost.append((time.monotonic() + GRACE, worker, said, order))

    def _settle_lost(self) -> None:
        """Give an outcome to the tasks of lost workers whose end is known by now, or never will be."""
        waiting = []
        for lost in self._lost:
            until, worker, error, order = lost
            if outcome := self._told.pop(order.ident, None) or _published(order):
                self._outcomes.append(outcome)
            elif ((ended := self._exits.get(worker)) and ended.code is not None) or time.monotonic() > until:
                self._outcomes.append(Outcome(order, failure=failure_of(order, ended, error)))
            else:
                waiting.append(lost)
        self._lost = waiting

    def _tell(self, message: bytes) -> None:
        outcome: Outcome = pickle.loads(message)
        self._told[outcome.order.ident] = outcome

    def _ended(self, said: dict[str, Any]) -> None:
        ended = Exit(**said)
        self._exits.pop(ended.worker, None)  # the newest last
        self._exits[ended.worker] = ended
        if len(self._exits) > _REMEMBERED:
            del self._exits[next(iter(self._exits))]

    def _note(self, stage: str, tile: str | None, text: str) -> None:
        if self.on_note:
            self.on_note((stage, tile), text)

    def _progress(self, stage: str, tile: str | None, done: int, total: int) -> None:
        if self.on_progress:
            self.on_progress((stage, tile), done, total)

    def recall(self) -> list[Order]:
        """Take back the orders that wait at a scheduler for a worker to be free, or to come."""
        recalled = []
        for opened in self._open.values():
            try:
                begun = {key for keys in opened.client.processing().values() for key in keys}
            except Exception as error:
                raise _gone(error) from error
            waiting = [future for future in opened.orders if future.key not in begun and future.status == "pending"]
            recalled += [opened.orders.pop(future) for future in waiting]
            opened.client.cancel(waiting, force=True)
        return recalled

    def cancel(self) -> None:
        """Forget the tasks in flight."""
        for opened in self._open.values():
            futures = list(opened.orders)
            opened.orders.clear()
            with contextlib.suppress(Exception):  # where the scheduler is gone, so are they
                opened.client.cancel(futures, force=True)
        self._lost.clear()

    def close(self) -> None:
        """Stop the workers and wait for them."""
        for opened in self._open.values():
            opened.client.close(timeout=5)
            if hasattr(opened.cluster, "close"):
                opened.cluster.close(timeout=10)
        self._open.clear()


def _gone(why: object) -> Stop:
    return Stop(f"stopped: the Dask scheduler of this run is gone ({why}); run the same command again to resume")


def _published(order: Order) -> Outcome | None:
    """Return the outcome of a task that a lost worker had finished, if it had."""
    record = Store(order.run).record(*order.task)
    if record is None or record.key != order.key or record.facts.get("order") != order.ident:
        return None
    return Outcome(order, record=record, log=record.facts.get("log", []))


def run_on_worker(order: Order) -> None:
    """Run a task in a Dask worker, sending progress to the coordinator at most four times a second.

    The outcome is sent too: what a task returns would stay on its worker until it is fetched, and be lost with it.
    """
    from distributed import get_worker

    worker = get_worker()
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.25:
            last = time.monotonic()
            worker.log_event(PROGRESS, [order.name, order.task[1], done, total])

    def note(text: str) -> None:
        worker.log_event(NOTES, [order.name, order.task[1], text])

    with ending_after(order.time_limit):
        outcome = execute(order, progress, note)
    worker.log_event(OUTCOMES, pickle.dumps(outcome))
