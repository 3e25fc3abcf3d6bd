"""One coordinator a run directory: a lock that outlives no process and refuses a live owner by name.

It holds on network file systems, as it relies neither on the kernel's file locks nor on time stamps, but on two things alone:
a hard link is made once, whoever tries, and a rename is seen whole.

`run.lock` names its owner and counts generations. Whoever finds generation g free, or its owner gone, may claim g + 1 by making
the file `.run.lock.<g + 1>`, which only one can, and renames it to `run.lock`. So the file of a live owner is never moved or
removed, and of two who both break the lock of a dead one, one wins. A claim that comes late, when the lock is at g + 1 already,
sees that and gives way.

The owner counts heartbeats in the file. Nobody takes the lock of an owner whose heartbeat moves.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import uuid
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .digests import again, sync_folder
from .owner import Fate, Owner

BEAT = 2.0
"""Seconds between an owner's heartbeats."""

PATIENCE = 10.0
"""Seconds for which a heartbeat is watched before it is said to stand still."""

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LockHeld(Exception):
    """Another coordinator is at work on this run directory."""


class RunLock:
    """The lock of a run directory, held by this process between `acquire` and `release`.

    A killed owner's lock is free at once where its process would be seen. An owner that cannot be seen from here, on
    another host or in another container, is watched: if its heartbeat moves it is refused, else `force` overrules it.

    Attributes:
        lost: in words, how the lock was lost while it was held; "" while all is well. Only `force` or a person who removes
            the file can do that.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        self.force = force
        self.lost = ""
        self._owner: Owner | None = None
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LockHeld: somebody else has it; the message names host and process.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        owner = None
        while owner is None:  # each turn but the last is another's progress
            judged = _chain(self.path)
            for file, last in judged:
                if last is not None and last.state == "held":
                    self._refuse_live(file, last)
            newest, last = judged[-1]
            if last is None and newest != self.path and _watch(newest, None):
                continue  # it was being written
            owner = _claim(self.path, judged)
        self._owner = owner
        self._heart = threading.Thread(target=self._live, name="astrosurvey-lock", daemon=True)
        self._heart.start()

    def _refuse_live(self, file: Path, owner: Owner) -> None:
        fate = owner.fate()
        if fate is Fate.GONE:
            return
        run = self.path.parent
        if fate is Fate.ALIVE or _watch(file, owner):
            now = _read(file)
            if fate is Fate.ALIVE or (now is not None and now.state == "held"):
                raise LockHeld(f"{now or owner} is running in {run}; wait for it, or give another --out")
        elif not (self.force or owner.was_started_again()):
            raise LockHeld(
                f"{owner} has the run {run}, and its heartbeat has not moved for {PATIENCE:g} s; if it is gone, add --force-unlock"
            )

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            assert self._owner is not None
            self._owner = self._owner.beats()
            self._write(self._owner)

    def _write(self, owner: Owner) -> None:
        """Write into the lock file in place, if it is still this holder's; what is written cannot hit another's file."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self.lost = f"{self.path} was removed"
            return
        except OSError:
            return  # a server that does not answer now may do so at the next beat
        with contextlib.suppress(OSError):
            found = Owner.from_json(os.pread(descriptor, 4096, 0))
            if found is None or found.nonce != owner.nonce:
                self.lost = f"{found or 'another process'} has taken over"
            else:
                os.pwrite(descriptor, owner.as_json(), 0)
                os.fsync(descriptor)
        with contextlib.suppress(OSError):
            os.close(descriptor)

    def release(self) -> None:
        """Give the lock back."""
        if self._heart is None or self._owner is None:
            return
        self._ended.set()
        self._heart.join()
        self._write(replace(self._owner, state="free"))
        self._heart = self._owner = None

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def holder(path: Path) -> dict[str, Any] | None:
    """Return who holds the lock file at `path`, or None when nobody does; for reading only.

    An owner that cannot be seen from here counts as holding it.
    """
    try:
        owner = _read(path)
    except OSError:
        return None
    return asdict(owner) if owner and owner.state == "held" and owner.fate() is not Fate.GONE else None


def _read(path: Path) -> Owner | None:
    """Return the owner in a lock file; None when there is no file, or nothing in it that can be read."""
    try:
        return Owner.from_json(again(path.read_bytes))  # opened anew each time: only then does NFS ask the server
    except FileNotFoundError:
        return None


def _claim_file(path: Path, generation: int) -> Path:
    return path.with_name(f".{path.name}.{generation}")


def _chain(path: Path) -> list[tuple[Path, Owner | None]]:
    """Return the files of a lock, the newest last, each with its owner if it can be read.

    That is the lock file alone, unless somebody has claimed the next generation and not yet renamed the claim, or died on the way.
    """
    owner = _read(path)
    found = [(path, owner)]
    generation = owner.generation if owner else 0
    while (claim := _claim_file(path, generation + 1)).exists():
        found.append((claim, _read(claim)))
        generation += 1
        if found[-1][1] is None and not claim.exists():
            return _chain(path)  # it was renamed just now
    return found


def _claim(path: Path, judged: list[tuple[Path, Owner | None]]) -> Owner | None:
    """Claim the generation of the lock after the newest of the files that were judged; return None when another was faster."""
    last = judged[0][1]
    owner = Owner.this_process((last.generation if last else 0) + len(judged))
    claim = _claim_file(path, owner.generation)
    if not _make(claim, owner.as_json()):
        return None
    now = _read(path)
    if now is not None and now.nonce not in {known.nonce for _, known in judged if known}:
        claim.unlink(missing_ok=True)  # it came late: the lock is another's by now
        return None
    with contextlib.suppress(FileNotFoundError):  # a server's answer may be lost, and the client then asks again
        claim.rename(path)
    with contextlib.suppress(OSError):
        sync_folder(path.parent)
    now = _read(path)
    if now is None or now.nonce != owner.nonce:
        return None
    for left in path.parent.glob(f".{path.name}.*"):  # by those who were killed while they claimed
        generation = left.suffix[1:].partition("-")[0]
        if generation.isdigit() and int(generation) <= owner.generation:
            left.unlink(missing_ok=True)
    return owner


def _make(claim: Path, text: bytes) -> bool:
    """Make a file with its content, unless there is one; return whether it was made."""
    private = claim.with_name(f"{claim.name}-{uuid.uuid4().hex}")
    try:
        _write_new(private, text)
        try:
            os.link(private, claim)
            return True
        except OSError as error:
            if error.errno in _NO_LINKS:
                return _make_without_links(claim, text)
            if error.errno not in (errno.EEXIST, errno.ENOENT):  # ENOENT: who has the lock by now has tidied up
                raise
        # It was made after all if a server's answer was lost and the client asked again.
        return private.exists() and private.stat().st_nlink > 1
    finally:
        private.unlink(missing_ok=True)


def _make_without_links(claim: Path, text: bytes) -> bool:
    """The same where there are no hard links; for a moment others see the file empty, and wait."""
    try:
        _write_new(claim, text)
    except FileExistsError:
        return False
    return True


def _write_new(path: Path, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, text)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _watch(file: Path, owner: Owner | None) -> bool:
    """Return whether the owner in a lock file changes within `PATIENCE`: by a heartbeat, or by another owner."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(BEAT / 8)
        if _read(file) != owner or not file.exists():
            return True
    return False
