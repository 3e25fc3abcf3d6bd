"""The folder for a task's temporary files: in the run directory, or where the site has a disk for them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = "scratch"
VARIABLE = "ASTROSURVEY_SCRATCH"
"""The environment variable that names a folder for temporary files, such as a node's own disk."""


@contextlib.contextmanager
def scratch_folder(run: str) -> Iterator[Path]:
    """Give this process's scratch folder, empty, and empty it again; making one a task would cost more than most tasks."""
    folder = _make(run, os.environ.get(VARIABLE, ""))
    folder.mkdir(parents=True, exist_ok=True)  # the sweep of a later run in this process took it away
    try:
        yield folder
    finally:
        # A file that is still open stays on NFS, under another name and in its folder's way, until it is closed.
        for path in list(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()


@functools.cache
def _make(run: str, elsewhere: str) -> Path:
    parent = Path(elsewhere or Path(run) / FOLDER)
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="astrosurvey-" if elsewhere else "", dir=parent))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
