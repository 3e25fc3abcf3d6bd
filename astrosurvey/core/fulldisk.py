"""Which disk is full, and of what, told while it still is: a task that fails takes away what it has written."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROBE = 64 * 1024
"""Bytes for which there must be room; a library's writer may have stopped before the last block."""
_FEW = 64
_NO_FILES = "no more files are allowed on"


class DiskFull(OSError):
    """A disk is full; the message says which and what to do, for people."""


@contextlib.contextmanager
def noticing_full_disks(places: Mapping[str, Path]) -> Iterator[None]:
    """Turn whatever goes wrong in the block for want of room into a `DiskFull`.

    Writers differ in how they say it, and CFITSIO does not say it at all; so room is looked for after every exception.

    Args:
        places: by what to call it, a folder on each disk that is written to; the first that is full is named.

    Raises:
        DiskFull: one of the disks is full.
    """
    try:
        yield
    except Exception as error:
        for name, folder in places.items():
            if said := _fullness(folder):
                raise DiskFull(errno.ENOSPC, f"{said} {name}") from error
        raise


def errno_of_full(error: BaseException) -> int:
    """Return the error number by which an exception, or one that caused it, says that a disk is full; else 0."""
    link: BaseException | None = error
    while link is not None:
        number = getattr(link, "errno", None)
        if number in _FULL:
            return int(number)
        link = link.__cause__ or link.__context__
    return 0


def disk_of(folder: str | Path) -> str:
    """Return what to call the disk of a folder."""
    return f"the disk of {folder}"


def scratch_disk_of(folder: Path) -> str:
    """Return what to call the disk of a scratch folder, which other hosts may not see."""
    return f"the scratch disk of {platform.node()}, {folder.parent}"


def advice(said: str, run: str | Path) -> str:
    """Return the line with which a run stops on a full disk.

    Args:
        said: what is full, as a `DiskFull` says it.
        run: the run directory.
    """
    fewer = f", or pack what is finished (astrosurvey pack {run})," if said.startswith(_NO_FILES) else ""
    return f"stopped: {said}; make room{fewer} and run the same command again to resume"


def said_of(number: int, folder: Path | None = None) -> str:
    """Return in words what an error number says of the disk of a folder; the disk's name follows."""
    if number == errno.EDQUOT:
        return "the quota is used up on"
    with contextlib.suppress(OSError):
        status = os.statvfs(folder or "")
        # A few may be free again: a task that fails takes away what it has made.
        if status.f_files and status.f_favail < _FEW and status.f_bavail * status.f_frsize >= _PROBE:
            return _NO_FILES
    return "no space left on"


def _fullness(folder: Path) -> str:
    """Return in words of what a folder's disk is full, "" if there is room."""
    probe = folder / f".room.{os.urandom(6).hex()}"
    try:
        try:
            with probe.open("wb") as stream:
                stream.write(bytes(_PROBE))
                stream.flush()
                os.fsync(stream.fileno())  # a network file system may say it no earlier
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in _FULL:
            return ""
        return said_of(error.errno, folder)
    return ""
