"""Workers of a Dask scheduler that somebody else runs: Kubernetes, MPI, a cluster that is always up. It is never shut down."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..core.engine import Stop
from .dask import DaskEngine, OnePool, Open, Pool
from .site import AddressSite

_NO_SCHEDULER = "no Dask scheduler answers"

_COUNT_EVERY = 2.0
"""Seconds for which the number of workers is believed."""


@dataclass(frozen=True)
class _Somebodys(OnePool):
    """One pool, with the time limits of a site file."""

    site: AddressSite

    def time_limit(self, use: str) -> float | None:
        """Return the site's limit on the seconds of a task, None where it has none."""
        return self.site.time_limit_of(use)


class AddressEngine(DaskEngine):
    """Runs tasks on as many workers as a scheduler has at the time.

    Args:
        site: the site file.
        run: the run directory, which workers must see.
    """

    _no_start = _NO_SCHEDULER

    def __init__(self, site: AddressSite, run: Path) -> None:
        super().__init__(_Somebodys(Pool("", 1, lambda: site.address or _written(Path(str(site.scheduler_file)))), site))
        self._site, self._run = site, run
        self._counted, self._count = 0.0, 0

    def free(self, pool: str) -> int:
        """Return how many workers have nothing to do; before the scheduler has been asked, one."""
        opened = self._open.get(pool)
        if opened is None:
            return 1
        if time.monotonic() - self._counted > _COUNT_EVERY:
            self._counted, self._count = time.monotonic(), len(opened.client.nthreads())
        return self._count - len(opened.orders)

    def _start(self, pool: Pool) -> Open:
        opened = super()._start(pool)
        if problem := _Check(opened.client, self._site.wait).problem(self._run):
            opened.client.close(timeout=5)
            raise Stop(f"stopped: {problem}")
        return opened


def look(site: AddressSite, folder: Path) -> tuple[bool, str]:
    """Tell whether a scheduler's workers can work on runs in a folder, and in one line what there is or what is wrong."""
    from distributed import Client

    try:
        address = site.address or _written(Path(str(site.scheduler_file)))
        with Client(address, timeout=min(site.wait, 30), set_as_default=False) as client:
            problem = _Check(client, site.wait).problem(folder)
            number = len(client.nthreads())
            return not problem, problem or f"{number} worker{'s' * (number != 1)} at {address}"
    except Stop as stop:
        return False, str(stop).removeprefix("stopped: ")
    except (OSError, ValueError) as error:
        return False, f"{_NO_SCHEDULER}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


class _Check:
    """Asks the workers of a scheduler whether they can work on a run."""

    def __init__(self, client: Any, wait: float) -> None:
        self._client, self._wait = client, wait

    def problem(self, run: Path) -> str:
        """Return in one line why these workers cannot work on a run; "" when they can."""
        from distributed import TimeoutError as NoWorkers

        try:
            self._client.wait_for_workers(1, timeout=self._wait)
        except NoWorkers:
            address = self._client.scheduler.address
            return f"the scheduler at {address} has no worker, and none came in {self._wait:g} s; start some, or raise `wait`"
        threads = self._client.nthreads()
        several = sorted(worker for worker, number in threads.items() if number != 1)
        if several:
            worker = several[0]
            return f"the worker {worker} works on {threads[worker]} tasks at once{_more(several)}; start it with --nthreads 1"
        return self._other_versions() or self._blind(run)

    def _other_versions(self) -> str:
        """Return which workers have another astrosurvey or another Python, in one line."""
        python = ".".join(platform.python_version_tuple()[:2])
        for worker, about in sorted(self._client.get_versions(packages=["astrosurvey"])["workers"].items()):
            packages = about["packages"]
            found = packages.get("astrosurvey")
            if found is None:
                return f"the worker {worker} has no astrosurvey; install astrosurvey {__version__} there"
            if found != __version__:
                return f"the worker {worker} has astrosurvey {found}, and here it is {__version__}; install the same version"
            if not packages["python"].startswith(f"{python}."):
                there = ".".join(packages["python"].split(".")[:2])
                return f"the worker {worker} runs Python {there}, and here it is {python}; use the same"
        return ""

    def _blind(self, run: Path) -> str:
        """Return which workers do not see the run directory, in one line."""
        token = run / f".seen-{os.urandom(8).hex()}"
        token.touch()
        try:
            seen = self._client.run(_sees, str(token))
        finally:
            token.unlink()
        blind = sorted(worker for worker, there in seen.items() if not there)
        return (
            f"the worker {blind[0]} cannot see or write the run directory {run}{_more(blind)}; use a folder that all share" if blind else ""
        )


def _more(workers: list[str]) -> str:
    return f" (and {len(workers) - 1} more)" if len(workers) > 1 else ""


def _sees(token: str) -> bool:
    """Tell, on a worker, whether a file is there, in a folder that can be written."""
    return os.path.exists(token) and os.access(os.path.dirname(token), os.W_OK)


def _written(path: Path) -> str:
    """Return the address in a scheduler file.

    Raises:
        Stop: there is none.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        return str(values["address"])
    except OSError as error:
        raise Stop(f"stopped: cannot read the scheduler file {path}: {error.strerror}; is the scheduler running?") from None
    except (ValueError, KeyError, TypeError):
        raise Stop(f"stopped: {path} is no scheduler file; `dask scheduler --scheduler-file` writes one") from None
