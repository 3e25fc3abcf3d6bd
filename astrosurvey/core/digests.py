"""Digests of files and folders, and the memory of them that makes hashing large inputs a one-time cost."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

from .stage import DataError

_RACY_NS = 2_000_000_000
"""A file younger than this may change again within its time stamp's resolution, so it is remembered for this run only."""


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
    parts = [(p.relative_to(path).as_posix(), *digest_path(p)) for p in sorted(path.rglob("*")) if p.is_file()]
    return digest_of([[name, digest] for name, digest, _ in parts]), sum(size for *_, size in parts)


class FileDigests:
    """Digests of raw input files, remembered by size, time stamp and inode as a hint for speed.

    A file whose stamp changed is read again, so a `touch` costs one hash and changes no key.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        try:
            self._known: dict[str, Any] = json.loads(store.read_text())
        except (OSError, ValueError):
            self._known = {}
        self._dirty = False
        self._young: set[str] = set()

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
            stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
            known = self._known.get(path)
            if known and known[0] == stamp:
                return str(known[1])
            digest, _ = digest_path(Path(path))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"cannot read {path}: {reason}; check the path in the pipeline file") from None
        self._known[path] = [stamp, digest]
        self._dirty = True
        if time.time_ns() - status.st_mtime_ns < _RACY_NS:
            self._young.add(path)
        return digest

    def save(self) -> None:
        """Write the memory back, if there is anything new in it."""
        if self._dirty:
            lasting = {path: known for path, known in self._known.items() if path not in self._young}
            write_atomically(self._store, json.dumps(lasting).encode())
            self._dirty = False


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content so that a reader sees the old or the new, and a crash loses neither."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
    """Make a folder's entries durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
