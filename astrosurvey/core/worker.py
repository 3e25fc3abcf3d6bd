"""What a Dask worker process does before its first task; loaded there by Dask's `preload`."""

from __future__ import annotations

import signal
from typing import Any

import click


@click.command()
@click.option("--gpus", type=int, default=0, help="GPUs to share out among the workers")
@click.option("--threads", type=int, default=1, help="threads of this worker's compiled loops")
def dask_setup(worker: Any, gpus: int, threads: int) -> None:
    """Leave Ctrl-C to the coordinator, which lets running tasks finish; take one GPU if there are any, and a share of the cores."""
    import os

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if gpus and "CUDA_VISIBLE_DEVICES" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(int(worker.name) % gpus)
    os.environ.setdefault("NUMBA_NUM_THREADS", str(threads))  # before numba is imported
