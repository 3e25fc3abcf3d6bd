"""What the nanny of a Dask worker does for us; loaded there by Dask's `preload-nanny`.

Dask's own nanny restarts a worker that died, and tells nobody how it died. This one sees the memory of the
worker, though not that of processes the worker starts, ends its whole process group, and publishes an `Exit`.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import signal
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distributed.system import MEMORY_LIMIT

from ..core.memory import held_bytes, peak_bytes
from .exits import ALLOWED, EXITS, HUNG_FILE, NEAR, Exit
from .worker import LEAVE_AT, WHO_FILE

LIFETIME = "ASTROSURVEY_LIFETIME"
"""Set in a job, names the seconds after which its workers take no more tasks; less than its walltime."""

_INTERVAL_MS = 100
_TELL = 5.0
"""Seconds in which a scheduler has taken the news, if it is there; Dask would try for longer, and hold up the end of the job."""

_STARTS = 5
"""How often in a row a worker may end before it is up; then its nanny gives up."""

_WORKER = {
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.multiprocessing-method": "spawn",
}
"""Dask's settings for workers: they hold nothing that could be spilled."""


def dask_setup(nanny: Any) -> None:
    """Watch over the workers of a nanny that is about to start its first one."""
    import dask

    dask.config.set(_WORKER)
    nanny.config = {**nanny.config, **dask.config.config}
    if lifetime := os.environ.get(LIFETIME):
        nanny.env = {**nanny.env, LEAVE_AT: str(time.time() + float(lifetime))}
    _Watch(nanny)


class _Watch:
    """Sees how much a nanny's worker holds, and how it ends."""

    def __init__(self, nanny: Any) -> None:
        from tornado.ioloop import PeriodicCallback

        self.nanny = nanny
        self.limit = nanny.memory_manager.memory_limit
        self.address, self.came_up, self.failed_starts = "", False, 0
        self.pid, self.peak, self.over, self.near, self.oom_kills = 0, 0, False, False, _oom_kills()
        folder = Path(tempfile.mkdtemp(prefix="astrosurvey-nanny-"))  # which others can neither read nor write
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.hung, self.who = folder / "hung", folder / "who"
        self.hung.touch()
        nanny.env = {**nanny.env, HUNG_FILE: str(self.hung), WHO_FILE: str(self.who)}
        nanny.periodic_callbacks["memory_monitor"] = PeriodicCallback(self.look, _INTERVAL_MS)  # in the place of Dask's own
        self.restart, nanny._on_worker_exit = nanny._on_worker_exit, self.ended
        self.kill, nanny.kill = nanny.kill, self.killed

    def look(self) -> None:
        """Note what the worker holds, and end it when that is too much."""
        pid = self.nanny.pid
        if not pid:
            return
        self.came_up = self.came_up or self.nanny.process.status.name == "running"
        if pid != self.pid:
            self.pid, self.over, self.near, self.oom_kills = pid, False, False, _oom_kills()
        held, self.peak = held_bytes(pid), peak_bytes(pid) or self.peak
        if self.limit and held > ALLOWED * self.limit:
            self.over = True
            os.kill(pid, signal.SIGKILL)
        elif self.limit and self.near != (held > NEAR * self.limit):
            self.near = not self.near  # told at once: a batch system may end this nanny together with its worker
            self.nanny.log_event(EXITS, asdict(self.state(peak=held if self.near else 0)))

    def state(self, **known: Any) -> Exit:
        """Return what is known of the worker, alive or not."""
        return Exit(self.address or str(self.nanny.worker_address), limit=self.limit or MEMORY_LIMIT, **known)

    async def ended(self, code: int) -> None:
        """Publish how the worker ended, end what it left running, and let Dask start the next."""
        with contextlib.suppress(OSError, ValueError):
            pid, self.address = self.who.read_text(encoding="utf-8").split()
            self.pid = int(pid)
            self.who.unlink()
        self.end_group()
        traceback = self.hung.read_text(encoding="utf-8", errors="replace")
        self.hung.write_text("")
        told = self.state(
            code=code,
            leaving=self.nanny.status.name not in ("init", "starting", "running"),
            memory=self.over or (code == -signal.SIGKILL and _oom_kills() > self.oom_kills),
            peak=self.peak,
            traceback=traceback,
        )
        with contextlib.suppress(OSError):  # where the scheduler is gone, nobody asks
            await asyncio.wait_for(self.nanny.scheduler.log_event(topic=EXITS, msg=asdict(told)), _TELL)
        self.address = ""
        self.failed_starts = 0 if self.came_up else self.failed_starts + 1
        self.came_up = False
        if self.failed_starts == _STARTS:
            await self.nanny.close(reason="astrosurvey-failed-starts")
        else:
            await self.restart(code)

    async def killed(self, *args: Any, **kwargs: Any) -> None:
        """Let Dask end the worker, and end what it left running."""
        await self.kill(*args, **kwargs)
        self.end_group()

    def end_group(self) -> None:
        """End the processes that the worker's tasks started; the worker leads their group."""
        if self.pid:  # 0 would be the nanny's own
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)


def _oom_kills() -> int:
    """Return how many processes this machine's kernel has ended for want of memory."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/vmstat", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
