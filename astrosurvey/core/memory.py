"""How much memory a process holds, and has held since it was told to forget."""

from __future__ import annotations

import contextlib
import os
import resource
import sys


def forget_peak() -> None:
    """Have the peak of this process's memory counted anew, where the system can: a task is not charged with those before it."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as switch:
        switch.write("5")


def peak_bytes(pid: int | None = None) -> int:
    """Return the most memory that a process, this one when left out, has held since it was told to forget.

    Of another process it is 0 where there is no such process, or no such system file.
    """
    # What getrusage says outlives the start of a program: a worker would be charged with the memory of the process that started it.
    if found := _status("VmHWM", pid):
        return found
    if pid is not None and pid != os.getpid():
        return held_bytes(pid)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def held_bytes(pid: int) -> int:
    """Return the memory that a process holds now; 0 where there is no such process."""
    if found := _status("VmRSS", pid):
        return found
    import psutil

    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _status(field: str, pid: int | None) -> int:
    with (
        contextlib.suppress(OSError, StopIteration),
        open(f"/proc/{pid or 'self'}/status", encoding="ascii", errors="replace") as lines,
    ):
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return 0
