"""An engine of one child process in a group of its own, watched for time and memory, and ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from ...core.engine import OnNote, OnProgress
from ...core.store import Store
from ...core.task import Order, Outcome
from ..exits import ALLOWED, HUNG_FILE, Exit, failure_of
from . import memory

_WATCH = 0.25
"""Seconds between two looks at the child."""

_TOGETHER = 1.0
"""Seconds in which who ends a job, with all its processes, has told this one, too: then its task has not failed."""

_GRACE = 10.0
"""Seconds that a task over its limit gets to leave a traceback, before it is ended from outside."""


class SupervisedEngine:
    """Runs one task after the other in a child process, and starts another child when that one dies.

    Attributes:
        limit: bytes that this process and its child may hold together.
        stop_at: when the running task is to be ended, on the monotonic clock; None while it may go on.
    """

    def __init__(self, limit: int, time_limits: Mapping[str, float]) -> None:
        self.limit = limit
        self.stop_at: float | None = None
        self.on_progress: OnProgress | None = None
        self.on_note: OnNote | None = None
        self._time_limits = time_limits
        self._order: Order | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._hung: Path | None = None
        self._since = 0.0
        self._peak = 0
        self._too_much = self._too_long = False

    def pool(self, use: str, memory: float) -> str:
        """Return the one pool there is."""
        return ""

    def free(self, pool: str) -> int:
        """Take one task after the other."""
        return int(self._order is None)

    def more_memory(self, use: str, memory: float) -> float:
        """Have no more memory to give; the job that this process is in may get more."""
        return memory

    def time_limit(self, use: str) -> float | None:
        """Return how many seconds a task of a stage may take by the site file."""
        return self._time_limits.get(use)

    def submit(self, order: Order) -> None:
        """Send a task to the child."""
        self._order, self._since, self._peak = order, time.monotonic(), 0
        self._too_much = self._too_long = False
        if self._child is None:
            self._start()
        with contextlib.suppress(OSError):  # it has died meanwhile, which the next look finds
            self._connection.send(order)  # type: ignore[union-attr]

    def recall(self) -> list[Order]:
        """Have nothing to give back: the child begins a task at once."""
        return []

    def as_completed(self, timeout: float) -> Iterator[Outcome]:
        """Yield the outcome of the running task, waiting up to `timeout` seconds for it.

        Raises:
            KeyboardInterrupt: the time of this process is up, and the task has been ended.
        """
        until = time.monotonic() + timeout
        while self._order is not None:
            if self.stop_at is not None and time.monotonic() > self.stop_at:
                raise KeyboardInterrupt
            outcome = self._look()
            if outcome is not None:
                self._order = None
                yield outcome
            elif time.monotonic() > until:
                return

    def _look(self) -> Outcome | None:
        """Wait a little for what the child has to say, and look after it; return the outcome when there is one."""
        assert self._order is not None
        assert self._connection is not None
        try:
            if not self._connection.poll(_WATCH):
                self._watch()
                if self._child is None or self._child.poll() is None:
                    return None
            kind, value = self._connection.recv()
        except (EOFError, OSError):
            return self._died(self._order)
        if kind == "progress" and self.on_progress:
            self.on_progress(self._order.task, *value)
        elif kind == "note" and self.on_note:
            self.on_note(self._order.task, value)
        return value if kind == "outcome" else None

    def _watch(self) -> None:
        """End the child when the task holds too much, or has taken too long and did not end by itself."""
        assert self._order is not None
        self._peak = max(self._peak, memory.held(self.limit))
        limit = self._order.time_limit
        self._too_much = self._peak > ALLOWED * self.limit
        self._too_long = limit is not None and time.monotonic() - self._since > limit + _GRACE
        if self._too_much or self._too_long:
            self._end()

    def _died(self, order: Order) -> Outcome:
        """Return what the child's death means for its task, which may have been done before."""
        assert self._child is not None
        code = self._child.wait()
        if code == -signal.SIGTERM:
            time.sleep(_TOGETHER)
            if self.stop_at is not None:
                raise KeyboardInterrupt
        hung = self._hung.read_text(errors="replace") if self._hung else ""
        if self._too_long:
            hung = hung or "it left no traceback"
        ended = Exit("", code, memory=self._too_much, peak=self._peak, limit=self.limit, traceback=hung)
        self._close()
        record = Store(order.run).record(*order.task)
        if record is not None and record.key == order.key:
            return Outcome(order, record=record)
        return Outcome(order, failure=failure_of(order, ended, ""))

    def _start(self) -> None:
        handle, name = tempfile.mkstemp(prefix="astrosurvey-", suffix=".traceback")
        os.close(handle)
        self._hung = Path(name)
        self._connection, theirs = Pipe()
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "astrosurvey.engines.array.child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, HUNG_FILE: name},
            )

    def _end(self) -> None:
        """End the child and all that it has started."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def _close(self) -> None:
        self._end()
        if self._connection is not None:
            self._connection.close()
        if self._hung is not None:
            self._hung.unlink(missing_ok=True)
        self._child = self._connection = self._hung = None

    def cancel(self) -> None:
        """End the running task."""
        self._order = None
        self._close()

    def close(self) -> None:
        """End the child."""
        self._close()
