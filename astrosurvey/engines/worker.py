"""What a Dask worker process does before its first task; loaded there by Dask's `preload`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import click

WHO_FILE = "ASTROSURVEY_WHO_FILE"
"""Names the file in which a worker tells its nanny who it is, before it may get a task that ends it at once."""

LEAVE_AT = "ASTROSURVEY_LEAVE_AT"
"""Names the time, in seconds since the epoch, from which a worker takes no more tasks: its job is about to end."""


@click.command()
@click.option("--gpus", type=int, default=0, help="GPUs to share out among the workers")
@click.option("--threads", type=int, default=0, help="threads of this worker's compiled loops; 0 leaves it to the environment")
def dask_setup(worker: Any, gpus: int, threads: int) -> None:
    """Leave Ctrl-C to the coordinator, which lets running tasks finish; take one GPU if some are shared out, and a share of the cores."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)  # so that the nanny can end it with all that its tasks started
    if path := os.environ.get(WHO_FILE):
        Path(path).write_text(f"{os.getpid()} {worker.address}", encoding="utf-8")
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = visible.split(",") if visible else list(map(str, range(gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[int(worker.name) % len(devices)]
    if threads:
        os.environ.setdefault("NUMBA_NUM_THREADS", str(threads))  # before numba is imported
    if when := os.environ.get(LEAVE_AT):
        worker.loop.call_later(max(float(when) - time.time(), 0), _leave, worker)


async def _leave(worker: Any) -> None:
    """Take no more tasks, let the running one finish if it can, and go; Dask's own `--lifetime` runs it a second time elsewhere."""
    from distributed.core import Status

    worker.status = Status.paused
    while worker.state.executing_count:
        await asyncio.sleep(0.2)
    await worker.close_gracefully(restart=False, reason="astrosurvey-leave")
