"""What a Dask worker process does before its first task; loaded there by Dask's `preload`."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

import click


@click.command()
@click.option("--gpus", type=int, default=0, help="GPUs to share out among the workers")
@click.option("--threads", type=int, default=0, help="threads of this worker's compiled loops; 0 leaves it to the environment")
def dask_setup(worker: Any, gpus: int, threads: int) -> None:
    """Leave Ctrl-C to the coordinator, which lets running tasks finish; take one GPU if some are shared out, and a share of the cores."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)  # so that the nanny can end it with all that its tasks started
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = visible.split(",") if visible else list(map(str, range(gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[int(worker.name) % len(devices)]
    if threads:
        os.environ.setdefault("NUMBA_NUM_THREADS", str(threads))  # before numba is imported
