"""Where tasks run: one small interface. This process is the simplest engine; the others are in `astrosurvey.engines`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Protocol

from .task import Order, Outcome, execute

OnProgress = Callable[[tuple[str, str | None], int, int], None]
"""on_progress(task, done, total), called in the coordinator."""

OnNote = Callable[[tuple[str, str | None], str], None]
"""on_note(task, text), called in the coordinator's thread."""


class Stop(Exception):
    """The run cannot go on; carries the one line that says why."""


class Engine(Protocol):
    """Runs orders somewhere. It holds nothing that cannot be lost: the truth is in the run directory.

    An engine is made when the first task has to be run, and starts nothing then: the workers of a pool come with its first order.

    Attributes:
        on_progress: set by the coordinator; called with each progress report of a task.
        on_note: set by the coordinator; called with what a task wants said at once.
    """

    on_progress: OnProgress | None
    on_note: OnNote | None

    def pool(self, use: str, memory: float) -> str:
        """Return the name of the pool of workers that runs a stage; "" where all workers are alike.

        Args:
            use: the stage's class name, such as "detection.threshold".
            memory: how much memory it gets, as a multiple of what its stage usually has.
        """

    def free(self, pool: str) -> int:
        """Return how many more orders a pool takes now; the coordinator submits no more than these."""

    def more_memory(self, use: str, memory: float) -> float:
        """Return the multiple of memory for a task that ran out of it with `memory`; the same where there is no more to be had."""

    def time_limit(self, use: str) -> float | None:
        """Return how many seconds a task of a stage may take here; None where the pipeline's `run.time_limit` holds."""

    def submit(self, order: Order) -> None:
        """Begin to run a task."""

    def as_completed(self, timeout: float) -> Iterator[Outcome]:
        """Yield the outcomes that are there, waiting up to `timeout` seconds for the first."""

    def recall(self) -> list[Order]:
        """Take back, and return, the orders that no worker has begun."""

    def cancel(self) -> None:
        """Forget what is running; it may go on, but nobody will hear of it."""

    def close(self) -> None:
        """End the workers."""


class InlineEngine:
    """Runs each task in this process: for one worker, and for debugging.

    A task that hangs or runs out of memory takes this process with it, so there is no time limit.
    """

    def __init__(self) -> None:
        self._waiting: list[Order] = []
        self.on_progress: OnProgress | None = None
        self.on_note: OnNote | None = None

    def pool(self, use: str, memory: float) -> str:
        """Return the one pool there is."""
        return ""

    def free(self, pool: str) -> int:
        """Take one task after the other."""
        return 1 - len(self._waiting)

    def more_memory(self, use: str, memory: float) -> float:
        """Have no more memory to give."""
        return memory

    def time_limit(self, use: str) -> float | None:
        """Leave it to the pipeline."""
        return None

    def submit(self, order: Order) -> None:
        """Keep the task until the coordinator asks for outcomes."""
        self._waiting.append(order)

    def as_completed(self, timeout: float) -> Iterator[Outcome]:
        """Run what is waiting."""
        while self._waiting:
            order = self._waiting.pop(0)
            progress = functools.partial(self.on_progress, order.task) if self.on_progress else None
            yield execute(order, progress, functools.partial(self.on_note, order.task) if self.on_note else None)

    def recall(self) -> list[Order]:
        """Take back what is waiting."""
        recalled, self._waiting = self._waiting, []
        return recalled

    def cancel(self) -> None:
        """Drop what is waiting."""
        self._waiting.clear()

    def close(self) -> None:
        """Do nothing: there are no workers."""
