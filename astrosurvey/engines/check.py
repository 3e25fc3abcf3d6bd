"""`astrosurvey engine check`: one tiny job of each kind, and in one line what is wrong, or what a worker will find."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from .. import __version__
from ..core.engine import Stop
from . import script
from .batch import job_class, last_words, submit_error
from .jobs import Jobs
from .site import BatchSite, Request
from .systems import SYSTEMS, JobState, NoAnswer

_LOOK_EVERY = 1.0
"""Seconds between two looks at the queue."""

_GRACE = 5.0
"""Seconds in which a job that has ended shows what it wrote, on a network file system."""


Finding = tuple[str, bool, str]
"""The kind of job, whether a worker would work, and one line about it."""


def check(site: BatchSite, folder: Path, wait: float) -> list[Finding]:
    """Submit a job for each kind of resources and return what became of each.

    Args:
        site: the site file.
        folder: where runs are going to lie; a folder is made there, and taken away again.
        wait: seconds that a job may take from its submission to its answer.
    """
    with tempfile.TemporaryDirectory(prefix=".astrosurvey-check-", dir=folder) as workshop:
        return asyncio.run(_check(site, Path(workshop).absolute(), wait))


async def _check(site: BatchSite, workshop: Path, wait: float) -> list[Finding]:
    kinds = site.kinds()
    async with _listening(site) as (address, answers):
        probes = [_Probe(site, pool, request, workshop, address, answers) for pool, request in kinds.items()]
        return list(await asyncio.gather(*(probe.run(wait) for probe in probes)))


def address_of(site: BatchSite) -> str:
    """Return the host name or address at which nodes are told to find the coordinator.

    Raises:
        Stop: this host has no such network interface.
    """
    from distributed.utils import get_ip, get_ip_interface

    if site.interface is None:
        return site.host or str(get_ip())
    try:
        return str(get_ip_interface(site.interface))
    except (ValueError, OSError):
        import psutil

        there = ", ".join(sorted(psutil.net_if_addrs()))
        raise Stop(f"this host has no network interface {site.interface!r} with an address; it has {there}") from None


@contextlib.asynccontextmanager
async def _listening(site: BatchSite) -> AsyncIterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Give the address at which jobs answer, and what they have answered, by their key."""
    answers: dict[str, dict[str, Any]] = {}

    async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError, asyncio.TimeoutError):
            said = json.loads(await asyncio.wait_for(reader.readline(), 10))
            answers[said["key"]] = said
            writer.write(b"ok")
            await writer.drain()
        writer.close()

    host = address_of(site)
    try:
        server = await asyncio.start_server(heard, host, 0)
    except OSError as error:
        raise Stop(f"cannot listen at {host}: {error.strerror or error}; `host` is a name or an address of this host") from None
    async with server:
        yield f"tcp://{host}:{server.sockets[0].getsockname()[1]}", answers


class _Probe:
    """One job that looks around."""

    def __init__(
        self, site: BatchSite, pool: str, request: Request, workshop: Path, address: str, answers: dict[str, dict[str, Any]]
    ) -> None:
        self.site, self.pool, self.request, self.address, self.answers = site, pool, request, address, answers
        self.system = SYSTEMS[site.engine]
        self.logs = workshop / pool
        self.answer = workshop / f"{pool}-{os.urandom(8).hex()}.json"
        options = script.options(site, request, f"check-{pool}", self.logs)
        options["worker_command"] = "astrosurvey.engines.probe"
        options["worker_extra_args"] = ["--answer", str(self.answer), "--gpus", str(request.gpus)]
        self.job = job_class(site.engine, Jobs(workshop, site.engine), pool)(address, name=f"check-{pool}", **options)

    async def run(self, wait: float) -> Finding:
        """Submit the job, wait for its answer, and say what it means."""
        try:
            await self.job.start()
        except Exception as error:  # whatever it was, it is what the user wants to read
            return self.wrong(submit_error(self.system, error))
        try:
            return await self.outcome(wait)
        except NoAnswer as error:
            return self.wrong(str(error))
        finally:
            await self.job.close()

    async def outcome(self, wait: float) -> Finding:
        """Wait for the answer, or for the end of the job."""
        began = time.monotonic()
        ended: float | None = None
        state: JobState | None = None
        while time.monotonic() - began < wait:
            await asyncio.sleep(_LOOK_EVERY)
            if seen := self.answers.get(self.answer.name) or self.in_file():
                return self.judge(seen, time.monotonic() - began)
            state = (await asyncio.to_thread(self.system.states, [self.job.job_id])).get(self.job.job_id)
            if state is not None and state.reason.startswith("held"):
                return self.wrong(f"job {self.job.job_id} is {state.reason}")
            ended = None if state else ended or time.monotonic()
            if ended and time.monotonic() - ended > _GRACE:
                return self.wrong(self.explain(last_words(self.logs, self.job.job_id)))
        if state is None or not state.running:
            why = f": {state.reason}" if state and state.reason else ""
            return self.wrong(f"job {self.job.job_id} has waited {wait:g} s in the queue{why}")
        return self.wrong(f"job {self.job.job_id} runs, but has not answered in {wait:g} s; {last_words(self.logs, self.job.job_id)}")

    def in_file(self) -> dict[str, Any]:
        """Return the answer of a job that could not reach this host."""
        try:
            seen: dict[str, Any] = json.loads(self.answer.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return seen

    def explain(self, said: str) -> str:
        """Return why a job ended without an answer."""
        python = self.site.python or sys.executable
        if module := re.search(r"No module named '?([\w.]+)", said):
            lacks = "has another version of astrosurvey" if module[1].startswith("astrosurvey.") else f"lacks {module[1]}"
            do = f"install astrosurvey {__version__} there, or set `python`"
            return f"job {self.job.job_id} started, but its Python, {python}, {lacks}; {do}"
        if python in said and ("No such file" in said or "not found" in said):
            return f"job {self.job.job_id} started, but there is no Python {python} on the node; set `python`, or make it in `setup`"
        return f"job {self.job.job_id} ended without an answer; {said}"

    def judge(self, seen: dict[str, Any], seconds: float) -> Finding:
        """Return what an answer means."""
        host, request = seen["host"], self.request
        python, here = (".".join(version.split(".")[:2]) for version in (seen["python"], platform.python_version()))
        if seen["version"] != __version__:
            problem = f"{host} has astrosurvey {seen['version']}, and here it is {__version__}; install the same version there"
        elif python != here:
            problem = f"{host} runs Python {python}, and here it is {here}; set `python`"
        elif seen.get("network"):
            problem = f"{host} cannot reach this host at {self.address}: {seen['network']}; set `interface` or `host` to what nodes reach"
        elif seen["folder"]:
            problem = f"{host} cannot write to {self.answer.parents[1]}: {seen['folder']}; put runs on a disk that nodes share"
        elif seen["scratch_error"]:
            problem = f"{host} cannot write to the scratch folder {seen['scratch']}: {seen['scratch_error']}; set `scratch`"
        elif request.gpus and not seen["visible"]:
            problem = f"{host} gave the job no GPU (CUDA_VISIBLE_DEVICES is not set); set `queue`, or how to ask with `gpu_directive`"
        elif seen["gpus"] < request.gpus:
            problem = f"{host} gave the job GPU {seen['visible']}, but CUDA cannot use it: {seen['gpu_error'] or 'no CUDA device'}"
        else:
            gpu = f"GPU {seen['visible']}" if request.gpus else "no GPU"
            scratch = f", scratch {seen['scratch']}" if seen["scratch"] else ""
            text = (
                f"started on {host} after {seconds:.0f} s: {request.cores} of {seen['cores']} cores, "
                f"{request.memory / 1e9:.1f} of {seen['memory'] / 1e9:.0f} GB, {gpu}{scratch}"
            )
            return self.pool, True, text
        return self.wrong(problem)

    def wrong(self, text: str) -> Finding:
        """Return a finding that something is wrong."""
        return self.pool, False, text
