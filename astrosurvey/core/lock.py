"""One coordinator a run directory: a lock that outlives no process and refuses a live owner by name."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil


class LockHeld(Exception):
    """Another coordinator is at work on this run directory."""


class RunLock:
    """A lock file that names its owner: host, process and start time.

    On one host the kernel's file lock decides, so a killed owner's lock is free at once. An owner on
    another host cannot be asked, nor can one on a file system without locks be relied on; then the
    names in the file decide, and `force` overrules a foreign host's.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        self.force = force
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LockHeld: somebody else has it; the message names host and process.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._refuse_live_owner(descriptor)
            owner = {"host": socket.gethostname(), "pid": os.getpid(), "start": _start_time(os.getpid()), "time": time.time()}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(owner).encode(), 0)
            os.fsync(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _refuse_live_owner(self, descriptor: int) -> None:
        locked = _flock(descriptor)
        owner = _owner(os.pread(descriptor, 4096, 0))
        if locked is False:
            who = f"process {owner['pid']} on {owner['host']}" if owner else "another process"
            raise LockHeld(f"{who} is running in {self.path.parent}; wait for it, or give another --out")
        if not owner:
            return
        if owner["host"] != socket.gethostname():
            if not self.force:
                raise LockHeld(
                    f"process {owner['pid']} on {owner['host']} has the run {self.path.parent}, and whether it still lives cannot be "
                    f"seen from {socket.gethostname()}; if it is gone, add --force-unlock"
                )
        elif locked is None and _alive(owner):
            raise LockHeld(
                f"process {owner['pid']} on {owner['host']} is running in {self.path.parent}; wait for it, or give another --out"
            )

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def holder(path: Path) -> dict[str, Any] | None:
    """Return who holds the lock file at `path`, or None when nobody does; for reading only."""
    try:
        owner = _owner(path.read_bytes())
    except OSError:
        return None
    if owner and owner["host"] == socket.gethostname() and not _alive(owner):
        return None
    return owner


def _flock(descriptor: int) -> bool | None:
    """Return whether the kernel granted the lock; None when the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            return None
        raise
    return True


def _owner(text: bytes) -> dict[str, Any] | None:
    try:
        owner = json.loads(text)
        return owner if isinstance(owner, dict) and {"host", "pid", "start"} <= set(owner) else None
    except ValueError:
        return None


def _alive(owner: dict[str, Any]) -> bool:
    return psutil.pid_exists(owner["pid"]) and _start_time(owner["pid"]) == owner["start"]


def _start_time(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None
