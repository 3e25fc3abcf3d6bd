"""How a worker's process came to its end: told by its nanny, understood by the engine."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from ..core.task import WORKER_DIED, Failure, Order

EXITS = "astrosurvey-exits"
"""The Dask topic of the ends of workers, and of what may become one; a message has the fields of `Exit`."""

HUNG_FILE = "ASTROSURVEY_HUNG_FILE"
"""Names the file in which a worker leaves the traceback of a task over its time limit, for its nanny."""

ALLOWED = 0.95
"""The share of its limit at which a worker is ended, before the system ends something else."""

NEAR = 0.8
"""A worker that was killed while it held this share of its limit was killed for its memory."""


@dataclass(frozen=True)
class Exit:
    """The end of one worker process.

    Attributes:
        worker: its Dask address.
        code: its exit status, or minus the signal that ended it; None while it goes on.
        leaving: it was told to go, for its walltime or because it was no longer needed.
        memory: it was ended for what it held.
        peak: the most memory it held, in bytes, with what it started where that was looked at; 0 where nobody saw.
        limit: what it was allowed to hold, in bytes.
        traceback: where it hung when its task's time was up; "" when that was not the end of it.
    """

    worker: str
    code: int | None = None
    leaving: bool = False
    memory: bool = False
    peak: int = 0
    limit: int = 0
    traceback: str = ""


def failure_of(order: Order, ended: Exit | None, said: str) -> Failure:
    """Return what the end of its worker means for a task; `said` is what Dask says beyond that, for where no nanny says more."""
    if ended is None:
        return Failure("worker lost", "worker lost: it is gone, and its nanny too" + (f" ({said})" if said else ""), lost=True)
    if ended.memory or (ended.code in (None, -signal.SIGKILL) and ended.peak > NEAR * ended.limit):
        held, allowed = (f"{number / 1e6:.0f} MB" for number in (ended.peak, ended.limit))
        return Failure(WORKER_DIED, f"worker died: out of memory; it held {held}, and its limit is {allowed}", memory=True)
    if ended.code is None or ended.leaving:
        return Failure("worker lost", "worker lost: its job has ended", lost=True)
    if ended.traceback:
        limit = "its limit" if order.time_limit is None else f"{order.time_limit:g} s"
        return Failure("time limit", f"time limit: the task was not done after {limit} (run.time_limit)", ended.traceback)
    return Failure(WORKER_DIED, f"worker died: {_reason(ended.code)}")


def _reason(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"


@contextlib.contextmanager
def ending_after(seconds: float | None) -> Iterator[None]:
    """End this process when the block takes longer, even where it holds the interpreter's lock, and leave a traceback.

    It is left for the nanny, or on standard error where the worker has none that asks for it.
    """
    if seconds is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        path = os.environ.get(HUNG_FILE)
        stream = stack.enter_context(open(path, "w", encoding="utf-8")) if path else sys.__stderr__
        faulthandler.dump_traceback_later(seconds, exit=True, file=stream)  # type: ignore[arg-type]
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
