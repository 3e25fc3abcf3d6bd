"""Ending a run, wherever it is at work, so that nothing of it is left behind but what is done."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from ...core.lock import RunLock, holder
from ...core.owner import Fate, Owner
from ...core.store import Store
from ..jobs import cancel_left
from . import slurm
from .jobs import read_jobs
from .layout import ArrayError, is_array, read_plan


def cancel(root: Path, *, patience: float) -> list[str]:
    """End the jobs and the coordinator of a run, wait until they are gone, and remove what they left half done.

    Args:
        root: the run directory.
        patience: seconds to wait, for each of the two.

    Returns:
        What was ended, in words.

    Raises:
        ArrayError: the coordinator is on another host or in another container, or something does not end in time.
        LockHeld: somebody else has begun to work there.
    """
    root = root.absolute()
    said = [*_end_coordinator(root, patience), *_end_jobs(root, patience)]
    with RunLock(root / "run.lock"):
        if left := cancel_left(root):
            said.append(f"{len(left)} job{'s' * (len(left) > 1)} of a coordinator that was killed")
        Store(root).sweep()
    return said


def _end_coordinator(root: Path, patience: float) -> list[str]:
    """Tell the coordinator to finish what is running and to end, as Ctrl-C does, and wait for it."""
    owner = holder(root / "run.lock")
    if owner is None:
        return []
    who = f"process {owner['pid']} on {owner['host']}"
    if Owner(**owner).fate() is not Fate.ALIVE:  # in another container of this host, its number is another process's here
        raise ArrayError(f"{Owner(**owner)} has the run {root}, and cannot be seen from here; do this where it runs")
    with contextlib.suppress(ProcessLookupError):
        os.kill(owner["pid"], signal.SIGTERM)
    until = time.monotonic() + patience
    while (now := holder(root / "run.lock")) and (now["host"], now["pid"]) == (owner["host"], owner["pid"]):
        if time.monotonic() > until:
            raise ArrayError(f"{who} is still finishing its running tasks after {patience:.0f} s; try again later, or give more --patience")
        time.sleep(0.2)
    return [who]


def _end_jobs(root: Path, patience: float) -> list[str]:
    """Cancel the job arrays and wait until the queue knows none of them."""
    jobs = read_jobs(root)
    if not is_array(root) or not jobs.open:
        return []
    name = read_plan(root).name
    left = slurm.queued(name)
    if not left:
        return []
    slurm.cancel(name, [job.id for job in jobs.jobs])
    count, until = len(left), time.monotonic() + patience
    while left := slurm.queued(name):
        if time.monotonic() > until:
            raise ArrayError(f"{len(left)} jobs are still in Slurm's queue after {patience:.0f} s, the first {left[0]}; try again later")
        time.sleep(1)
    return [f"{count} Slurm jobs"]
