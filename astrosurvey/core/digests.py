"""Digests of files and folders, and the memory of them that makes hashing large inputs a one-time cost."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from .stage import DataError

_RACY_NS = 2_000_000_000
"""A file younger than this may change again within its time stamp's resolution, so it is remembered for this run only."""

_SKEW_NS = 3600 * 1_000_000_000
"""By how much this machine's clock may differ from that of the server that stamps a file."""

SILLY = ".nfs"
"""What an NFS client names a file that was removed while it was open; it goes away by itself."""

_Result = TypeVar("_Result")


def canonical(value: Any) -> bytes:
    """Return the one JSON form of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(value: Any) -> str:
    """Return the sha256 of a JSON value's canonical form."""
    return hashlib.sha256(canonical(value)).hexdigest()


def digest_path(path: Path) -> tuple[str, int]:
    """Return the sha256 and the size in bytes of a file, or of a folder's files and their names."""
    if not path.is_dir():
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return digest, path.stat().st_size
    parts = [(p.relative_to(path).as_posix(), *digest_path(p)) for p in sorted(_files(path))]
    return digest_of([[name, digest] for name, digest, _ in parts]), sum(size for *_, size in parts)


def size_of(path: str) -> int:
    """Return the size in bytes of a file, or of a folder's files."""
    status = os.stat(path)
    return sum(p.stat().st_size for p in _files(Path(path))) if stat.S_ISDIR(status.st_mode) else status.st_size


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and in those below it."""
    return (p for p in folder.rglob("*") if not p.name.startswith(SILLY) and p.is_file())


class FileDigests:
    """Digests of raw input files, remembered by size, time stamps and inode as a hint for speed.

    A file whose stamp changed is read again, so a `touch` costs one hash and changes no key. The hint is taken only of a file
    that can no longer change within the resolution of its time stamps. Whether it can is told by the clock that made them: the
    run directory's own, for files on the same disk; else by this machine's, with an hour allowed for the difference.

    Args:
        store: the file in which they are remembered.
        trust: take the hints; else every file is read again.

    Attributes:
        news: the file that `save` writes instead, with what is new alone, where many processes work at once.
    """

    def __init__(self, store: Path, *, trust: bool = True) -> None:
        self._store = store
        try:
            self._known: dict[str, Any] = json.loads(store.read_text()) if trust else {}
        except (OSError, ValueError):
            self._known = {}
        self.news: Path | None = None
        self._new: set[str] = set()
        self._dirty = False
        self._spent = 0.0
        self._young: set[str] = set()
        self._clock = _Clock(store.parent)

    def digest(self, path: str) -> str:
        """Return the sha256 of a file's (or folder's) content.

        Raises:
            DataError: there is no such file, or it is a pipe, a device or the like.
        """
        try:
            status = os.stat(path)
            if stat.S_ISDIR(status.st_mode):
                return digest_path(Path(path))[0]
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{path} is not a regular file; give the path of a file on disk")
            return again(lambda: self._digest_file(path))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"cannot read {path}: {reason}; check the path in the pipeline file") from None

    def _digest_file(self, path: str) -> str:
        # A network file system asks its server for a file's stamps when it is opened; what stat says may be a minute old.
        with open(path, "rb") as stream:
            stamp, disk = _stamp(stream.fileno())
            known = self._known.get(path)
            if known and known[0] == stamp:
                return str(known[1])
            started = time.monotonic()
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            self._spent += time.monotonic() - started
            if _stamp(stream.fileno())[0] != stamp or not self._is_settled(stamp, disk):
                self._young.add(path)
        self._known[path] = [stamp, digest]
        self._new.add(path)
        self._dirty = True
        return digest

    def _is_settled(self, stamp: list[int], disk: int) -> bool:
        """Tell whether a later change of a file would show in its time stamps."""
        made = max(stamp[1:3])
        return made < time.time_ns() - _SKEW_NS or (disk == self._clock.disk and made < self._clock.now() - _RACY_NS)

    def learn(self, store: Path) -> None:
        """Take over what another process has remembered in a file of its own."""
        try:
            self._known.update(json.loads(store.read_text()))
            self._dirty = True
        except (OSError, ValueError):
            pass  # it is only a hint

    def save(self, after: float = 0.0) -> None:
        """Write the memory back, if there is anything new in it that took more than `after` seconds to find out."""
        if self._dirty and self._spent >= after:
            paths = self._new if self.news else self._known.keys()
            lasting = {path: self._known[path] for path in paths if path not in self._young}
            write_atomically(self.news or self._store, json.dumps(lasting).encode())
            self._dirty, self._spent = False, 0.0


def _stamp(descriptor: int) -> tuple[list[int], int]:
    """Return an open file's size, times of the last change of content and of inode (ns), and inode; and its disk."""
    status = os.fstat(descriptor)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino], status.st_dev


class _Clock:
    """The clock that stamps the files of a folder: on a network file system its server's, which may differ from this machine's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = -2.0
        self._now = 0

    @cached_property
    def disk(self) -> int:
        """The number of the folder's disk; -1 while there is no such folder."""
        return self._folder.stat().st_dev if self._folder.is_dir() else -1

    def now(self) -> int:
        """Return the time (ns), at most a second ago; 0 if the folder cannot be written to."""
        if time.monotonic() - self._read > 1:
            probe = self._folder / f".clock.{os.urandom(6).hex()}"
            with contextlib.suppress(OSError):
                try:
                    probe.write_bytes(b"?")
                    self._now = probe.stat().st_mtime_ns
                finally:
                    probe.unlink(missing_ok=True)
            self._read = time.monotonic()
        return self._now


def again(read: Callable[[], _Result]) -> _Result:
    """Return what `read` returns, tried once more if a network file system says that the file has been replaced meanwhile."""
    try:
        return read()
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
    return read()


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content so that a reader sees the old or the new, and a crash loses neither."""
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")  # process numbers repeat among hosts
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make a folder's entries durable, where the file system can be told to."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)
