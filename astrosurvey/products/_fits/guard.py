"""The guard before every open: a literal path of an existing regular file, and one class of error."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ...core.stage import DataError

MAX_INFLATED = 4 << 30
"""A gzipped file may hold this many bytes when inflated, and no more than `_ROOM` and `_RATIO` times its own size."""

_ROOM = 256 << 20
_RATIO = 200

AGAIN = "copy or download the file again"

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
)
_SYNTAX = re.compile(r"^\w+://|[\[\]()|]|\+\d+$|^-$")
_MAGIC = (
    (b"BZh", "bzip2", "uncompress it, or use gzip or fpack"),
    (b"\xfd7zXZ", "xz", "uncompress it, or use gzip or fpack"),
    (b"\x28\xb5\x2f\xfd", "zstd", "uncompress it, or use gzip or fpack"),
    (b"\x1f\x9d", "compress (.Z)", "uncompress it, or use gzip or fpack"),
    (b"PK\x03\x04", "zip", "unpack it"),
    (b"\x89HDF", "HDF5", "convert it to FITS"),
    (b"\x89PNG", "PNG", "give the FITS file it was made from"),
    (b"#ASDF", "ASDF", "convert it to FITS"),
    (b"<!DOC", "an HTML page", "download the file again: this is a web server's answer"),
    (b"<html", "an HTML page", "download the file again: this is a web server's answer"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself with `git lfs pull`"),
)


class BadInput(DataError):
    """A file cannot be used: which one, which HDU and keyword, why, and what to try.

    Args:
        file: the path as the user gave it.
        reason: what is wrong.
        hdu: the HDU, as "2 (SCI)" or a number; None when the whole file is meant.
        keyword: the header keyword at fault; "" for none.
        fix: the one thing to try.
    """

    def __init__(self, file: str | Path, reason: str, *, hdu: object = None, keyword: str = "", fix: str = "") -> None:
        self.file, self.reason, self.hdu, self.keyword, self.fix = str(file), reason, hdu, keyword, fix
        where = escape(str(file), 400) + (f", HDU {escape(hdu)}" if hdu is not None else "") + (f", {escape(keyword)}" if keyword else "")
        super().__init__(f"{where}: {reason}" + (f"; try: {fix}" if fix else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.file, self.reason, self.hdu, self.keyword, self.fix)


def _rebuild(file: str, reason: str, hdu: object, keyword: str, fix: str) -> BadInput:
    return BadInput(file, reason, hdu=hdu, keyword=keyword, fix=fix)


def escape(text: object, limit: int = 200) -> str:
    """Return `text` on one line of printable characters: control and other unprintable ones as \\xNN, cut at `limit`."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in str(text))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


@contextmanager
def translated(file: str | Path, doing: str, *, hdu: object = None, keyword: str = "", fix: str = "", notes: list[str]) -> Iterator[None]:
    """Turn whatever a library raises into `BadInput`, and its warnings into `notes`.

    Running out of memory is not the file's fault, sizes having been checked, and passes through; so does any `DataError`.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        reason = f"{doing} failed with {type(error).__name__}: {escape(error)}"
        raise BadInput(file, reason, hdu=hdu, keyword=keyword, fix=fix) from error
    for warning in caught:
        # wcslib "fixes" almost every sound header that has a date; repeating it teaches people to ignore warnings.
        if warning.category.__name__ != "FITSFixedWarning":
            notes.append(escape(warning.message))


class Source:
    """The bytes of one FITS file, gzipped or not, read by offset.

    A gzipped file is inflated into an unlinked temporary file, only as far as it is asked for: a bomb
    is found out at the first header that is none, or by the size that its header declares.

    Raises:
        BadInput: not an existing regular file that starts like FITS.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        raw = self._raw = open_regular(path)
        self._gzip: gzip.GzipFile | None = None
        self.file: BinaryIO = raw
        self._ended = True
        self._size = stored = os.fstat(raw.fileno()).st_size
        self._limit = min(MAX_INFLATED, _ROOM + _RATIO * stored)
        try:
            start = raw.read(32)
            if start.startswith(b"\x1f\x8b"):
                raw.seek(0)
                self._gzip = gzip.GzipFile(fileobj=raw, mode="rb")
                self.file = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `close`)
                self._ended, self._size = False, 0
            _refuse_foreign(path, self.read(0, 32))
        except BaseException:
            self.close()
            raise

    @property
    def gzipped(self) -> bool:
        """Whether the file is gzipped as a whole."""
        return self._gzip is not None

    @property
    def size(self) -> int:
        """Bytes known to be there: all of a plain file, what was inflated so far of a gzipped one."""
        return self._size

    def holds(self, end: int) -> bool:
        """Return whether the file has at least `end` bytes, inflating no further than that.

        Raises:
            BadInput: the gzip stream is damaged, or `end` is above what it may hold.
        """
        if self._gzip is None or end <= self._size:
            return end <= self._size
        if end > self._limit:
            raise BadInput(
                self.path,
                f"would be {end} bytes when inflated; at most {self._limit} are read from a gzipped file of this size",
                fix="gunzip it, or store it tile-compressed (fpack)",
            )
        self.file.seek(self._size)
        while self._size < end and not self._ended:
            block = self._inflate(min(1 << 20, end - self._size))
            self.file.write(block)
            self._size += len(block)
            self._ended = not block
        self.file.flush()
        return end <= self._size

    def _inflate(self, count: int) -> bytes:
        assert self._gzip is not None
        try:
            return self._gzip.read(count)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadInput(self.path, f"the gzip stream is damaged or cut short ({escape(error)})", fix=AGAIN) from error

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer only at the end of the file."""
        self.holds(offset + count)
        self.file.seek(offset)
        return self.file.read(count)

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target` with the bytes from `offset`.

        Raises:
            BadInput: the file ends before that; it was cut while being read.
        """
        self.file.seek(offset)
        done = 0
        while done < len(target):
            got = self.file.readinto(target[done:])  # type: ignore[attr-defined]
            if not got:
                raise BadInput(self.path, "became shorter while it was read", fix="wait until it is written, then run again")
            done += got

    def close(self) -> None:
        """Close the file and drop the inflated copy."""
        if self._gzip is not None:
            self._gzip.close()
            self.file.close()
        self._raw.close()


def open_regular(path: str | Path) -> io.FileIO:
    """Open an existing regular file for reading, by its literal name and without ever blocking."""
    name = os.fspath(path)
    try:
        _require_regular(path, os.stat(name))  # before the open: opening a pipe can hang, opening a device can act
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        hint = "check the path and its permissions"
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        if missing and "://" in name:
            hint = "download the file first"
        elif missing and _SYNTAX.search(name):
            hint = "a file name is a literal path here: sections, filters and copies are no part of it"
        reason = "no such file" if missing else f"cannot be opened ({escape(getattr(error, 'strerror', None) or error)})"
        raise BadInput(path, reason, fix=hint) from error
    try:
        _require_regular(path, os.fstat(descriptor))  # what was opened, not what the name meant a moment ago
        return io.FileIO(descriptor, "rb", closefd=True)
    except BaseException:
        os.close(descriptor)
        raise


def _require_regular(path: str | Path, status: os.stat_result) -> None:
    for test, kind in _KINDS:
        if test(status.st_mode):
            raise BadInput(path, f"is {kind}, not a regular file", fix="give the path of a file")
    if status.st_size == 0:
        raise BadInput(path, "is empty", fix="copy or download it again")


def _refuse_foreign(path: str | Path, start: bytes) -> None:
    for magic, kind, fix in _MAGIC:
        if start.lower().startswith(magic.lower()):
            raise BadInput(path, f"is not FITS but {kind}", fix=fix)
    if not start.startswith(b"SIMPLE  ="):
        raise BadInput(
            path, "is not a FITS file: it does not start with `SIMPLE  =`", hdu=0, keyword="SIMPLE", fix="check that this is the right file"
        )
