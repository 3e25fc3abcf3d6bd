"""What a job asks for, in the words of each batch system: the options of dask-jobqueue's jobs."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from . import tls
from .dask import WORKER_OPTIONS
from .site import BatchSite, Request

DEATH_TIMEOUT = 60
"""Seconds after which a worker that finds no coordinator ends its job."""

_THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LONGEST = {"pbs": 15}
"""The longest name of a job that every version of a system takes."""


def options(site: BatchSite, request: Request, name: str, logs: Path) -> dict[str, Any]:
    """Return how dask-jobqueue makes a job: one worker of one thread that holds what the job asks for.

    Args:
        site: the site file.
        request: what the job asks for.
        name: the job's name; what a batch system does not take is changed.
        logs: the folder for what jobs print.
    """
    common = {
        "cores": request.cores,
        "memory": f"{request.memory}B",
        "processes": 1,
        "nanny": True,
        "python": python_of(site),
        "interface": site.interface,
        "death_timeout": DEATH_TIMEOUT,
        "local_directory": site.scratch,
        "log_directory": str(logs),
        "job_script_prologue": prologue(site, request),
        "worker_extra_args": [*WORKER_OPTIONS, "--no-dashboard"],
        "job_directives_skip": [],
        "job_name": job_name(site.engine, name),
    }
    return common | _BY_SYSTEM[site.engine](site, request)


def python_of(site: BatchSite) -> str:
    """Return the Python of the jobs as a shell takes it."""
    return shlex.quote(site.python or sys.executable)


def job_name(engine: str, name: str) -> str:
    """Return a name as every batch system takes it: it begins with a letter and has no blanks."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
    return (plain if plain[:1].isalpha() else f"r{plain}")[: _LONGEST.get(engine, 60)]


def prologue(site: BatchSite, request: Request, *, lifetime: bool = True) -> list[str]:
    """Return the shell lines before the worker: the site's, then what the worker finds in its environment.

    Args:
        site: the site file.
        request: what the job asks for.
        lifetime: say when its worker is to leave.
    """
    lines = [*site.setup, "export " + " ".join(f"{variable}={request.cores}" for variable in _THREADS)]
    if lifetime:
        lines.append(f"export ASTROSURVEY_LIFETIME={request.walltime - max(60, request.walltime // 10)}")
    if site.scratch:
        lines += [f'export ASTROSURVEY_SCRATCH="{site.scratch}"', 'mkdir -p "$ASTROSURVEY_SCRATCH"']
    if (plugins := os.environ.get("ASTROSURVEY_PLUGINS")) is not None:
        lines.append(f"export ASTROSURVEY_PLUGINS={shlex.quote(plugins)}")
    return lines


def gpu_directives(site: BatchSite, request: Request) -> list[str]:
    """Return the directives that ask for the job's GPUs."""
    if not request.gpus:
        return []
    return [(site.gpu_directive or _GPUS[site.engine]).format(gpus=request.gpus)]


_GPUS = {"slurm": "--gres=gpu:{gpus}", "pbs": "", "htcondor": "request_gpus = {gpus}", "lsf": '-gpu "num={gpus}"'}
"""How GPUs are asked for; PBS has them in `select`."""


def mebibytes(amount: int) -> int:
    """Return bytes in MiB, rounded up: a job is to hold what it asks for."""
    return math.ceil(amount / 2**20)


def clock(seconds: int) -> str:
    """Return a time as hours:minutes:seconds."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _slurm(site: BatchSite, request: Request) -> dict[str, Any]:
    return {
        "queue": request.queue,
        "account": request.account,
        "walltime": clock(request.walltime),
        "job_mem": f"{mebibytes(request.memory)}M",
        "job_extra_directives": [*gpu_directives(site, request), *request.directives],
    }


def _pbs(site: BatchSite, request: Request) -> dict[str, Any]:
    own = gpu_directives(site, request) if site.gpu_directive else []
    gpus = f":ngpus={request.gpus}" if request.gpus and not own else ""
    return {
        "queue": request.queue,
        "account": request.account,
        "walltime": clock(request.walltime),
        "resource_spec": f"select=1:ncpus={request.cores}:mem={mebibytes(request.memory)}mb{gpus}",
        "job_extra_directives": [*own, *request.directives],
    }


def _htcondor(site: BatchSite, request: Request) -> dict[str, Any]:
    account = [f"accounting_group = {request.account}"] if request.account else []
    limit = f"periodic_remove = (JobStatus == 2) && (time() - EnteredCurrentStatus > {request.walltime})"
    lines = [limit, *account, *gpu_directives(site, request), *request.directives]
    pairs = (line.partition("=")[::2] for line in lines)
    return {"disk": f"{request.disk}B", "job_extra_directives": {key.strip(): value.strip() for key, value in pairs}}


def _lsf(site: BatchSite, request: Request) -> dict[str, Any]:
    unit = _lsf_unit()
    amount = math.ceil(request.memory / 1000 ** (1 + "KMGT".index(unit[0])))
    return {
        "queue": request.queue,
        "project": request.account,
        "walltime": clock(request.walltime + 59)[:-3],
        "lsf_units": unit,
        "job_extra_directives": [f'-R "rusage[mem={amount}]"', *gpu_directives(site, request), *request.directives],
    }


def _lsf_unit() -> str:
    """Return the unit in which this site's LSF wants memory; KB where its configuration names none."""
    folder = os.environ.get("LSF_ENVDIR") or os.environ.get("LSF_CONFDIR") or "/etc"
    with contextlib.suppress(OSError):
        named = re.findall(r"(?m)^\s*LSF_UNIT_FOR_LIMITS\s*=\s*([KMGT]B?)\b", Path(folder, "lsf.conf").read_text(encoding="utf-8"))
        return named[-1] if named else "KB"
    return "KB"


_BY_SYSTEM = {"slurm": _slurm, "pbs": _pbs, "htcondor": _htcondor, "lsf": _lsf}


def job_script(job: Any, site: BatchSite, request: Request, name: str, logs: Path, *, scheduler: str = "tls://COORDINATOR:PORT") -> str:
    """Return the script that is submitted for a job.

    Args:
        job: the class of dask-jobqueue's job.
        site: the site file.
        request: what the job asks for.
        name: the job's name.
        logs: the folder for what it prints.
        scheduler: the address at which the worker finds the coordinator.
    """
    with tempfile.TemporaryDirectory() as folder:  # dask-jobqueue makes the folder; a script that is only looked at shall leave none
        secure = {"protocol": "tls", "security": tls.security_in(logs.parent / tls.FOLDER)}
        made: str = job(scheduler, name=f"{name}-0", **options(site, request, name, Path(folder)), **secure).job_script()
        return made.replace(folder, str(logs))
