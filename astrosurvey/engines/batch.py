"""Workers in the jobs of a batch system, by dask-jobqueue: as many as there are tasks, and a new job for each that is lost."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
from dask_jobqueue.core import JobQueueCluster
from dask_jobqueue.htcondor import HTCondorJob
from dask_jobqueue.lsf import LSFJob
from dask_jobqueue.pbs import PBSJob
from dask_jobqueue.slurm import SLURMJob
from distributed.core import Status
from distributed.deploy.adaptive import Adaptive

from . import script, tls
from .dask import Pool
from .jobs import Jobs
from .site import BatchSite, Request, in_bytes
from .systems import SYSTEMS, NoAnswer, System, last_line

LOGS = "jobs"
"""The folder of the run directory that holds what jobs print."""

_INTERVAL = 2.0
"""Seconds between two looks at how many tasks wait."""

_FIRST_LOOK, _LATER_LOOKS = 2.0, 30.0
"""Seconds until the batch system is asked for a job whose worker is gone; and between further questions, which grow to this."""

_TRIES = 3
"""So often in succession jobs may be refused, or end without a worker, until the engine gives up."""

_SUBMIT_AT_ONCE = 8
"""Jobs that are submitted at the same time."""


class _WorkerJob:
    """What all jobs of ours have in common: one thread, and a line in the run directory for as long as they live."""

    jobs: Jobs
    pool: str
    gate: asyncio.Semaphore
    refusal: Exception | None = None

    @property
    def worker_process_threads(self) -> int:
        """The tasks that the worker runs at once; the job's other cores are threads of a task."""
        return 1

    async def start(self) -> None:
        """Submit the job and write down its id."""
        try:
            async with self.gate:
                await super().start()  # type: ignore[misc]
        except Exception as error:
            self.refusal = error
            self.status = Status.failed
            raise
        self.jobs.add(self.job_id, self.pool)  # type: ignore[attr-defined]

    async def close(self) -> None:
        """Cancel the job."""
        with contextlib.suppress(OSError):  # no such command: it was said when the job was submitted
            await super().close()  # type: ignore[misc]
        if self.job_id:  # type: ignore[attr-defined]
            self.jobs.remove(self.job_id)  # type: ignore[attr-defined]


class _Bash(HTCondorJob):
    """A job whose set-up lines are bash's, as on the other systems."""

    executable = "/bin/bash"


class _Bsub(LSFJob):
    """A job whose refusal can be read: dask-jobqueue's own sends what bsub says to /dev/null."""

    async def _submit_job(self, script_filename: str) -> str:
        said: str = await self._call([f"{self.submit_command} < {shlex.quote(script_filename)}"], shell=True)
        return said


_JOBS: dict[str, Any] = {"slurm": SLURMJob, "pbs": PBSJob, "htcondor": _Bash, "lsf": _Bsub}


def job_class(engine: str, jobs: Jobs, pool: str) -> Any:
    """Return dask-jobqueue's job of a batch system as one that is written down in `jobs`."""
    return type("Job", (_WorkerJob, _JOBS[engine]), {"jobs": jobs, "pool": pool, "gate": asyncio.Semaphore(_SUBMIT_AT_ONCE)})


class Demand(Adaptive):
    """One worker for each task that waits or runs, within bounds; and an eye on jobs that have no worker."""

    cluster: BatchCluster

    async def adapt(self) -> None:
        """Look after the jobs, then submit or cancel some."""
        with contextlib.suppress(NoAnswer):  # is asked again; nothing is lost meanwhile
            await self.cluster.look_after_jobs()
        if time.monotonic() < self.cluster.submit_from:
            return
        idle = 0.0 if self.cluster.keeps_others_waiting() else self.cluster.idle
        self.wait_count = max(1, round(idle / _INTERVAL))
        await super().adapt()


class BatchCluster(JobQueueCluster):
    """The jobs of one pool.

    Attributes:
        trouble: why there will be no worker, in one line; "" while all is well.
        queued: a job of this pool waits in the queue.
        submit_from: when jobs are submitted again, after one was refused.
        idle: seconds after which a worker with nothing to do is given back.
    """

    def __init__(self, system: System, pool: str, idle: float, run: list[BatchCluster], **options: Any) -> None:
        self.trouble, self.queued, self.submit_from = "", False, 0.0
        self.system, self.pool, self.idle = system, pool, idle
        self._run = run
        self._failures = 0
        self._refused_pause = _INTERVAL
        self._came: set[str] = set()
        self._missing: set[str] = set()
        self._look, self._pause = 0.0, _FIRST_LOOK
        super().__init__(**options)

    async def look_after_jobs(self) -> None:
        """Forget jobs that ended though their workers are wanted, so that others are submitted in their place."""
        here = {str(worker["name"]) for worker in self.scheduler_info["workers"].values()}
        self._came |= here
        if here:
            self._failures = 0
        refused = {name: job.refusal for name, job in self.workers.items() if job.refusal is not None}
        if refused:  # Dask raises it where nobody listens
            self.submit_from = time.monotonic() + self._refused_pause
            self._refused_pause = min(2 * self._refused_pause, _LATER_LOOKS)
            self._failed(submit_error(self.system, next(iter(refused.values()))))
            for name in refused:
                self._forget(name)
        missing = {name for name in self.workers if str(name) not in here}
        if missing - self._missing:
            self._look, self._pause = time.monotonic() + _FIRST_LOOK, _FIRST_LOOK
            self._refused_pause = _INTERVAL
        self._missing = missing
        self.queued = self.queued and bool(missing)
        if not missing or time.monotonic() < self._look:
            return
        self._pause = min(2 * self._pause, _LATER_LOOKS)
        self._look = time.monotonic() + self._pause
        ids = {self.workers[name].job_id: name for name in missing}
        states = await asyncio.to_thread(self.system.states, list(ids))
        self.queued = any(not state.running for state in states.values())
        early = ""
        for job, name in ids.items():
            state = states.get(job)
            if name in self.workers and (state is None or state.reason.startswith("held")):
                await self.workers[name].close()
                self._forget(name)
                if str(name) not in self._came:
                    early = f"job {job} {state.reason if state else f'ended before its worker came up; {self._last_words(job)}'}"
        if early:
            self._failed(early)

    def keeps_others_waiting(self) -> bool:
        """Tell whether jobs of other pools of the run wait in the queue, perhaps for what idle workers of this one hold."""
        return any(other.queued for other in self._run if other is not self)

    def _failed(self, why: str) -> None:
        """Count a time at which jobs were refused, or ended without a worker, while there is no worker at all."""
        self._failures += 1
        if self._failures >= _TRIES:
            self.trouble = f"{self.system.name}, pool {self.pool}: {why}"

    def _forget(self, name: Any) -> None:
        self.workers.pop(name, None)
        self.worker_spec.pop(name, None)

    def _last_words(self, job: str) -> str:
        return last_words(Path(self._job_kwargs["log_directory"]), job)


def submit_error(system: System, error: Exception) -> str:
    """Return in one line why a job was not taken: the command is missing, or what it said."""
    if isinstance(error, FileNotFoundError) and error.filename == system.submit:
        return f"command {system.submit} not found; submit from a host of the cluster, or see that it is in PATH"
    if isinstance(error, RuntimeError) and "stderr:\n" in str(error):
        said = str(error).partition("stderr:\n")[2]
        return f"{system.submit} refused the job: {' '.join(said.split()) or 'without a word'}"
    return f"{system.submit}: {type(error).__name__}: {error}"


def last_words(logs: Path, job: str) -> str:
    """Return the last line that a job has printed."""
    number = job.partition(".")[0]
    found = [path for path in sorted(logs.glob(f"*{number}*")) if path.suffix != ".log"]
    said = [last_line(path.read_text(encoding="utf-8", errors="replace")) for path in found]
    return next((f"it said: {line}" for line in said if line), f"it left nothing in {logs}")


@dataclass
class BatchResources:
    """The pools of a batch system: one for each kind of job, made when a task first needs it.

    Attributes:
        site: the site file.
        run: the run directory.
    """

    site: BatchSite
    run: Path
    _pools: dict[Request, Pool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._jobs = Jobs(self.run, self.site.engine)
        self._clusters: list[BatchCluster] = []
        self._names = {request: name for name, request in self.site.kinds().items()}
        self._most = in_bytes(self.site.memory_max) if self.site.memory_max else None

    def pool(self, use: str, memory: float) -> Pool:
        """Return the pool of jobs that a stage of class name `use` asks for, with `memory` times the memory."""
        usual = self.site.resources_for(use)
        request = usual if memory == 1 else usual.with_memory(memory, self._most)
        if request not in self._pools:
            name = self._names[usual] + ("" if request == usual else f"-{request.memory // 10**6}MB")
            self._pools[request] = Pool(name, request.maximum, lambda: self._start(name, request))
        return self._pools[request]

    def more_memory(self, use: str, memory: float) -> float:
        """Return the multiple of memory after `memory`; the same where jobs may not ask for more."""
        usual = self.site.resources_for(use)
        more = usual.with_memory(memory * self.site.memory_factor, self._most)
        return more.memory / usual.memory

    def time_limit(self, use: str) -> float | None:
        """Return the site's limit on the seconds of a task, None where it has none."""
        return self.site.time_limit_of(use)

    def _secure(self) -> Any:
        """Return the run's certificate, made when the first pool starts."""
        if not self._clusters:
            self._security = tls.make(self.run)
        return self._security

    def _start(self, pool: str, request: Request) -> BatchCluster:
        dask.config.set({"distributed.deploy.lost-worker-timeout": "60s"})  # a nanny needs a while to start a worker anew
        logs = self.run / LOGS
        logs.mkdir(exist_ok=True)
        name = f"{self.run.name}-{pool}"
        security = self._secure()
        cluster = BatchCluster(
            SYSTEMS[self.site.engine],
            pool,
            self.site.idle,
            self._clusters,
            name=name,
            job_cls=job_class(self.site.engine, self._jobs, pool),
            security=security,
            protocol="tls" if security else None,  # with "tls://", as dask-jobqueue would say, a worker takes another address than with tcp
            scheduler_options=scheduler_options(self.site),
            silence_logs="critical",
            **script.options(self.site, request, name, logs),
        )
        self._clusters.append(cluster)
        # The shortest of target durations: a worker for each task, however long tasks take.
        cluster.adapt(
            Adaptive=Demand,
            minimum=request.minimum,
            maximum=request.maximum,
            interval=_INTERVAL,
            target_duration="1us",
        )
        return cluster


def scheduler_options(site: BatchSite) -> dict[str, Any]:
    """Return where the pool's scheduler listens: where nodes reach it; its dashboard on this machine only."""
    where = {"host": site.host} if site.host else {"interface": site.interface} if site.interface else {}
    return {**where, "dashboard_address": "127.0.0.1:0"}
