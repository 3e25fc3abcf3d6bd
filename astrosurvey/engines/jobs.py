"""The jobs that a run has in the queue of a batch system, written down so that none outlives the run's driver."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

from ..core.digests import write_atomically
from .systems import SYSTEMS, NoAnswer

FILE = "engine.json"
"""Beside the run's `run.json`: `{"engine": NAME, "jobs": {id: pool}}`; gone when no job is left."""


class Jobs:
    """What a driver has submitted and not seen ended; every change is on the disk before the driver goes on."""

    def __init__(self, run: Path, engine: str) -> None:
        self.engine = engine
        self._path = run / FILE
        self._jobs: dict[str, str] = self._not_cancelled()
        self._lock = threading.Lock()  # each pool has a thread of its own

    def add(self, job: str, pool: str) -> None:
        """Write down a job that has been submitted."""
        with self._lock:
            self._jobs[job] = pool
            self._write()

    def remove(self, job: str) -> None:
        """Forget a job that has ended, or has been cancelled."""
        with self._lock:
            if self._jobs.pop(job, None) is not None:
                self._write()

    def _not_cancelled(self) -> dict[str, str]:
        """Return the jobs of an earlier driver that `cancel_left` could not cancel: the next driver tries again."""
        try:
            left = json.loads(self._path.read_text(encoding="utf-8"))
            return dict(left["jobs"]) if left["engine"] == self.engine else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write(self) -> None:
        if self._jobs:
            write_atomically(self._path, json.dumps({"engine": self.engine, "jobs": self._jobs}).encode())
        else:
            self._path.unlink(missing_ok=True)


def cancel_left(run: Path) -> list[str]:
    """Cancel what an earlier driver of a run, one that was killed, has left in the queue; return the jobs' ids.

    To be called by who holds the lock of the run: nobody else's jobs are in the file then.
    """
    path = run / FILE
    try:
        left = json.loads(path.read_text(encoding="utf-8"))
        system, jobs = SYSTEMS[left["engine"]], list(left["jobs"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError):
        logging.getLogger("astrosurvey").warning("%s cannot be read; look yourself whether jobs of an earlier driver are queued", path)
        return []
    try:
        system.end(jobs)
    except NoAnswer as error:
        logging.getLogger("astrosurvey").warning("jobs %s of an earlier driver cannot be cancelled: %s", ", ".join(jobs), error)
        return []
    path.unlink(missing_ok=True)
    return jobs
