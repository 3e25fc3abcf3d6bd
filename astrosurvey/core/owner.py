"""Who holds a lock: a process, where it runs, and whether it can be seen from here that it lives."""

from __future__ import annotations

import functools
import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

import psutil

_JOBS = {"SLURM_JOB_ID": "Slurm", "PBS_JOBID": "PBS", "LSB_JOBID": "LSF"}
"""The variables in which batch systems tell a job its number."""


class Fate(Enum):
    """What can be said of an owner from here."""

    ALIVE = "alive"
    GONE = "gone"
    UNSEEN = "unseen"
    """It runs, or ran, where its process cannot be looked up."""


@dataclass(frozen=True)
class Owner:
    """A holder of a run's lock.

    A process number means something in one process namespace of one boot of one machine only. Two containers may have
    one host name, and two machines too, so the name is for people, and `boot` and `namespace` decide.

    Attributes:
        host, pid: for people.
        start: when the process was started, in a unit of the system's; it tells a process number that is used again.
        boot: the kernel's random number of this boot; "" where there is none.
        namespace: the process namespace; "" where there is none.
        machine: the machine's own number, the same after a reboot; "" where there is none.
        job: the batch job, such as "Slurm job 4711"; "" outside of one.
        restarts: how often the batch system has started that job again.
        time: when the lock was taken, seconds since the epoch; for people.
        nonce: tells this holding from every other.
        generation: one more than that of the holder before.
        state: "held", or "free" when it was given back; equally long, as the file is written in place.
        beat: how often the owner has said that it lives.
    """

    host: str
    pid: int
    start: float
    boot: str
    namespace: str
    machine: str
    job: str
    restarts: int
    time: float
    nonce: str
    generation: int
    state: str = "held"
    beat: int = 0

    @classmethod
    def this_process(cls, generation: int) -> Owner:
        """Return this process as the owner of a generation of a lock."""
        job, restarts = _job()
        place = _place()
        start = _start(os.getpid()) or 0.0
        return cls(socket.gethostname(), os.getpid(), start, *place, job, restarts, time.time(), uuid.uuid4().hex, generation)

    @classmethod
    def from_json(cls, text: bytes) -> Owner | None:
        """Return the owner that `as_json` wrote, None for anything else."""
        try:
            values = json.loads(text)
            owner = cls(**{**values, "beat": int(values["beat"])})
        except (ValueError, TypeError, KeyError):
            return None
        return owner if all(isinstance(getattr(owner, f.name), _KINDS[str(f.type)]) for f in fields(cls)) else None

    def as_json(self) -> bytes:
        """Return the content of a lock file; its length does not change with `state` and `beat`."""
        return json.dumps({**asdict(self), "beat": f"{self.beat:012d}"}).encode() + b"\n"

    def beats(self) -> Owner:
        """Return the owner one heartbeat later."""
        return replace(self, beat=self.beat + 1)

    def fate(self) -> Fate:
        """Tell from the process table whether it lives, where it is in the one that is seen here."""
        if not self._is_here():
            return Fate.UNSEEN
        start = _start(self.pid)
        if start is not None:
            return Fate.ALIVE if start == self.start else Fate.GONE
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return Fate.GONE
        except PermissionError:
            pass
        return Fate.UNSEEN  # there is such a process, and the system hides those of other users

    def was_started_again(self) -> bool:
        """Tell whether this process runs in its place: after a reboot of its machine, or in its batch job after a restart.

        Both are no proof: machines may be copies of each other, and a batch system may have lost sight of a node that goes
        on working. They decide only upon an owner whose heartbeat stands still.
        """
        boot, _, machine = _place()
        job, restarts = _job()
        rebooted = self.host == socket.gethostname() and self.machine == machine != "" and self.boot != boot
        return rebooted or (self.job == job != "" and self.restarts < restarts)

    def _is_here(self) -> bool:
        boot, namespace, _ = _place()
        return (self.boot, self.namespace) == (boot, namespace) and (boot != "" or self.host == socket.gethostname())

    def __str__(self) -> str:
        boot, namespace, _ = _place()
        elsewhere = " in another container" if self.boot == boot != "" and self.namespace != namespace else ""
        return f"process {self.pid} on {self.host}{elsewhere}{f' ({self.job})' if self.job else ''}"


_KINDS: dict[str, Any] = {"str": str, "int": int, "float": int | float}


@functools.cache
def _place() -> tuple[str, str, str]:
    """Return this process's boot, process namespace and machine."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return _line("/proc/sys/kernel/random/boot_id"), namespace, _line("/etc/machine-id")


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _job() -> tuple[str, int]:
    for variable, system in _JOBS.items():
        if number := os.environ.get(variable):
            restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
            return f"{system} job {number}", int(restarts) if restarts.isdigit() else 0
    return "", 0


def _start(pid: int) -> float | None:
    """Return when a process was started, -1 for one that has ended and waits for its parent; None when that cannot be seen.

    On Linux it is in clock ticks since the boot: seconds since the epoch would change with every correction of the clock.
    """
    try:
        if not Path("/proc/self/stat").exists():
            return psutil.Process(pid).create_time()
        # The program's name, in brackets, may hold anything, brackets too.
        state, *numbers = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (OSError, psutil.Error, ValueError):
        return None
    return -1.0 if state in (b"Z", b"X") else float(numbers[18])
