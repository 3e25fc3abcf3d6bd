"""How much memory this job may use, and how much it uses: what Slurm would look at, looked at before it does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

import psutil

from ..exits import ALLOWED


def allowed(otherwise: int, environment: Mapping[str, str] = os.environ) -> int:
    """Return the bytes that this job may use: what Slurm gave it, and `otherwise` outside of Slurm."""
    per_node = int(environment.get("SLURM_MEM_PER_NODE") or 0)
    per_cpu = int(environment.get("SLURM_MEM_PER_CPU") or 0) * int(environment.get("SLURM_CPUS_ON_NODE") or 1)
    return (per_node or per_cpu) << 20 or otherwise


def family() -> list[psutil.Process]:
    """Return this process and all below it."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def held(limit: int) -> int:
    """Return the bytes that this process and all below it hold.

    Memory that processes share is counted once, which takes a while to find out; so it is only done near the limit.
    """
    processes = family()
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    if total < ALLOWED * limit or len(processes) == 1:
        return total
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total
