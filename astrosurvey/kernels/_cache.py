"""Where compiled CPU twins are kept, and saying so when one has to be compiled.

numba keeps compiled functions on disk, but looks only at the time stamp of a function's own file: it
would go on using code with an old helper in it. So the folder is named by a hash of all kernel sources.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numba
from numba.core import event

DAY = 86400.0
KEEP = 30 * DAY
"""The folder of another version of the sources is deleted when it has not been used for so many seconds."""

log = logging.getLogger("astrosurvey.notes")
"""What is logged here at level INFO is shown at once by the command that runs; see `core.task.execute`."""


def key(sources: Iterable[Path]) -> str:
    """Return the name that a cache folder has with these sources and this numba."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sources:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def home() -> Path:
    """Return the folder of all versions' folders: NUMBA_CACHE_DIR, or the user's cache folder."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "astrosurvey" / "kernels"


def make_folder() -> Path:
    """Return this version's cache folder, made if need be; a private temporary one where the disk cannot be written."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    try:
        folder = home() / key(sources)
        fresh = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        folder = Path(tempfile.mkdtemp(prefix="astrosurvey-kernels-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder
    if fresh:
        _sweep(folder)
    return folder


def _sweep(folder: Path) -> None:
    """Delete the folders of other versions that nobody has used for long."""
    with contextlib.suppress(OSError):
        for other in others(folder):
            if time.time() - other.stat().st_mtime > KEEP:
                shutil.rmtree(other, ignore_errors=True)


def others(folder: Path) -> list[Path]:
    """Return the cache folders of other versions beside one."""
    if folder.parent != home():
        return []
    named = (path for path in folder.parent.iterdir() if len(path.name) == len(folder.name) and set(path.name) <= set("0123456789abcdef"))
    return sorted(path for path in named if path != folder and path.is_dir())


class Announcer(event.Listener):
    """Says once a kernel that it is being compiled; numba tells of real compilations only, not of loads from disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._said: set[str] = set()
        self._depth = 0  # numba compiles under a lock, so one counter is enough

    def on_start(self, event: Any) -> None:
        """Say what is compiled; what it calls is compiled within it, and is not worth a line of its own."""
        self._depth += 1
        name = event.data["dispatcher"].py_func.__module__.rpartition(".")[2].lstrip("_")  # what kernels share is in files like _spline.py
        if self._depth == 1 and name not in self._said:
            self._said.add(name)
            log.info("compiling the kernel %s for this machine, once; kept in %s", name, self.folder)

    def on_end(self, event: Any) -> None:
        """Note that a function is done."""
        self._depth -= 1
