"""The site file: which engine runs the tasks, what its jobs ask for, and what belongs to the machine and not to the science."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..core import yaml
from ..core.problems import Mark, PipelineError, Problem, did_you_mean
from ..core.settings import validate
from .array.settings import ArraySettings

BATCH_SYSTEMS = ("slurm", "pbs", "htcondor", "lsf")

_UNITS = {"B": 1, **{f"{p}{i}B": (1024 if i else 1000) ** n for n, p in enumerate("kMGT", start=1) for i in ("", "i")}}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*((?:[kMGT]i?)?B)")

Amount = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?\s*([kMGT]i?)?B$")]
Clock = Annotated[str, StringConstraints(pattern=r"^(\d+-)?\d+:[0-5]\d:[0-5]\d$")]
Line = Annotated[str, StringConstraints(pattern=r"^[^\r\n]+$")]


class Workers(BaseModel):
    """How many workers there may be; they come when tasks wait for them and go when there are none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum: int = Field(0, ge=0, description="jobs that are kept though they have nothing to do")
    maximum: int = Field(10, ge=1, description="jobs that there are at most")


class Family(BaseModel):
    """What the jobs of a family of stages ask for, where it differs from what stands at the top of the site file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: Line | None = Field(None, description="the queue, or partition, of these jobs")
    account: Line | None = Field(None, description="the account, or project, that these jobs are charged to")
    cores: int | None = Field(None, ge=1, description="cores of a job, which are threads of the compiled loops")
    memory: Amount | None = Field(None, description="memory of a job, such as 16GB, and the limit of its worker")
    walltime: Clock | None = Field(None, description="how long a job may last, as 02:00:00 or 1-12:00:00")
    gpus: int | None = Field(None, ge=0, le=1, description="GPUs of a job: a worker uses none or one; more workers use more")
    disk: Amount | None = Field(None, description="disk of a job, which HTCondor wants to know")
    directives: list[Line] | None = Field(None, description="further options of the batch system, in its own words, in place of the site's")
    minimum: int | None = Field(None, ge=0, description="jobs of this kind that are kept though they have nothing to do")
    maximum: int | None = Field(None, ge=1, description="jobs of this kind that there are at most")
    time_limit: float | None = Field(None, gt=0, description="seconds that a task of these stages may take before it is ended")


_NOTHING = Family.model_validate({})


class BatchSite(BaseModel):
    """A batch system, to which jobs are submitted that hold a worker each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["slurm", "pbs", "htcondor", "lsf"] = Field(description="the batch system")
    queue: Line | None = Field(None, description="the queue, or partition; the system's default when left out")
    account: Line | None = Field(None, description="the account, or project, that jobs are charged to")
    cores: int = Field(1, ge=1, description="cores of a job, which are threads of the compiled loops")
    memory: Amount = Field(description="memory of a job, such as 4GB, and the limit of its worker")
    walltime: Clock = Field(description="how long a job may last, as 02:00:00 or 1-12:00:00")
    gpus: int = Field(0, ge=0, le=1, description="GPUs of a job: a worker uses none or one; more workers use more")
    gpu_directive: Line | None = Field(
        None, description="how this site wants GPUs asked for, with {gpus} for their number, such as --gpus-per-node=a100:{gpus}"
    )
    disk: Amount = Field("4GB", description="disk of a job, which HTCondor wants to know")
    directives: list[Line] = Field([], description="further options of the batch system, in its own words, such as --constraint=ib")
    workers: Workers = Field(Workers.model_validate({}), description="how many workers there may be of each kind")
    resources: dict[str, Family] = Field(
        {}, description="a pattern of stage classes, such as detection.*, → what their jobs ask for; the first that fits counts"
    )
    setup: list[Line] = Field([], description="shell lines before the worker starts, such as `module load cuda`")
    python: Line | None = Field(None, description="the Python of the jobs; the one that runs the coordinator when left out")
    scratch: Line | None = Field(
        None, description="the node's folder for temporary files, such as $TMPDIR; in the run directory when left out"
    )
    interface: Line | None = Field(None, description="the network interface, such as ib0, by which nodes and coordinator meet")
    host: Line | None = Field(None, description="the coordinator's host name or address as the nodes know it, instead of an interface")
    idle: float = Field(60, ge=5, description="seconds after which a worker with nothing to do is given back")
    time_limit: float | None = Field(None, gt=0, description="seconds that a task may take before it is ended")
    memory_factor: float = Field(2, gt=1, le=10, description="how much more memory a task gets that was ended for its memory")
    memory_max: Amount | None = Field(None, description="the most memory that a job may ask for")
    array: ArraySettings = Field(
        ArraySettings.model_validate({}), description="how `astrosurvey plan --slurm-array` cuts a run into job arrays; of Slurm alone"
    )

    def resources_for(self, use: str) -> Request:
        """Return what a job for stages of the class name `use` asks for."""
        return self.resources_of(self._family(use))

    def kinds(self) -> dict[str, Request]:
        """Return what is asked for under each pattern, by a short name; what is asked for twice stands under the first."""
        found: dict[str, Request] = {}
        for pattern, family in (*self.resources.items(), ("default", _NOTHING)):
            resources = self.resources_of(family)
            if resources not in found.values():
                name = re.sub(r"[^\w.-]+", "", pattern).strip(".") or "all"
                found[name if name not in found else f"{name}{len(found) + 1}"] = resources
        return found

    def time_limit_of(self, use: str) -> float | None:
        """Return how many seconds a task of the stage class `use` may take, None for as long as it likes."""
        return self._family(use).time_limit or self.time_limit

    def _family(self, use: str) -> Family:
        return next((f for p, f in self.resources.items() if fnmatch.fnmatchcase(use, p)), _NOTHING)

    def resources_of(self, family: Family) -> Request:
        """Return what the jobs of a family ask for."""

        def own(name: str) -> Any:
            value = getattr(family, name)
            return getattr(self, name) if value is None else value

        return Request(
            queue=own("queue"),
            account=own("account"),
            cores=own("cores"),
            memory=in_bytes(own("memory")),
            walltime=in_seconds(own("walltime")),
            gpus=own("gpus"),
            disk=in_bytes(own("disk")),
            directives=tuple(own("directives")),
            minimum=self.workers.minimum if family.minimum is None else family.minimum,
            maximum=self.workers.maximum if family.maximum is None else family.maximum,
        )


class TimeLimit(BaseModel):
    """What may be said of a family of stages where the workers are somebody else's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time_limit: float = Field(gt=0, description="seconds that a task of these stages may take before it is ended")


class AddressSite(BaseModel):
    """A Dask scheduler that somebody else runs, and whose workers this run may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["address"] = Field(description="a Dask scheduler that runs already")
    address: Line | None = Field(None, description="the scheduler's address, such as tcp://login1:8786")
    scheduler_file: Line | None = Field(None, description="the file in which the scheduler has written its address, instead")
    wait: float = Field(60, gt=0, description="seconds to wait for the first worker")
    time_limit: float | None = Field(None, gt=0, description="seconds that a task may take before it is ended")
    resources: dict[str, TimeLimit] = Field({}, description="a pattern of stage classes → their time limit; the first that fits counts")

    def time_limit_of(self, use: str) -> float | None:
        """Return how many seconds a task of the stage class `use` may take, None for as long as it likes."""
        return next((f.time_limit for p, f in self.resources.items() if fnmatch.fnmatchcase(use, p)), self.time_limit)


@dataclass(frozen=True)
class Request:
    """What a job asks for; jobs that ask for the same are of one pool.

    Attributes:
        memory: of the job, bytes.
        walltime: of the job, s.
        disk: of the job, bytes.
        minimum, maximum: how many of these jobs there may be.
    """

    queue: str | None
    account: str | None
    cores: int
    memory: int
    walltime: int
    gpus: int
    disk: int
    directives: tuple[str, ...]
    minimum: int
    maximum: int

    def with_memory(self, factor: float, most: int | None) -> Request:
        """Return the same with more memory, but at most `most` bytes; such jobs are not kept when idle."""
        memory = round(self.memory * factor)
        return replace(self, memory=max(self.memory, memory if most is None else min(memory, most)), minimum=0)


SITES: dict[str, type[BatchSite] | type[AddressSite]] = {**dict.fromkeys(BATCH_SYSTEMS, BatchSite), "address": AddressSite}


def in_bytes(amount: str) -> int:
    """Return an amount such as 16GB or 4GiB in bytes."""
    match = _AMOUNT.fullmatch(amount)
    if match is None:
        raise ValueError(f"must be like 16GB, not {amount!r}")
    return round(float(match[1]) * _UNITS[match[2]])


def in_seconds(clock: str) -> int:
    """Return a time such as 02:00:00 or 1-12:00:00 in seconds."""
    days, _, rest = clock.rpartition("-")
    hours, minutes, seconds = map(int, rest.split(":"))
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def read_document(path: str | Path) -> yaml.Document:
    """Return a site file as a document that begins with the engine's name.

    Raises:
        PipelineError: it cannot be read, or does not say which engine.
    """
    try:
        document = yaml.load(Path(path).read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise PipelineError([Problem(Mark(str(path)), "", f"cannot read the site file: {error.strerror}", "check the name")]) from None
    except UnicodeDecodeError:
        raise PipelineError([Problem(Mark(str(path)), "", "the file is not UTF-8 text", "a site file is a YAML file")]) from None
    if not isinstance(document.data, dict) or not isinstance(document.data.get("engine"), str):
        raise PipelineError(
            [Problem(document.mark(("engine",)), "engine", "a site file says which engine", "begin it with `engine: NAME`")]
        )
    return document


def check(document: yaml.Document, model: type[BaseModel]) -> Any:
    """Return the checked settings of a site file as an instance of `model`.

    Raises:
        PipelineError: with everything that is wrong, each with its place and a suggestion.
    """
    problems: list[Problem] = []

    def report(place: tuple[str | int, ...], message: str, hint: str) -> None:
        problems.append(Problem(document.mark(place), ".".join(map(str, place)), message, hint))

    site = validate(model, document.data, _in_plain_words(report))
    if isinstance(site, BatchSite):
        _check_batch(site, report)
    elif isinstance(site, AddressSite) and (site.address is None) == (site.scheduler_file is None):
        report(("engine",), "one of address and scheduler_file is needed", "give address: tcp://HOST:PORT, or scheduler_file: PATH")
    if problems:
        raise PipelineError(problems)
    return site


_Report = Callable[[tuple[str | int, ...], str, str], None]

_FORMS = {
    Amount.__metadata__[0].pattern: "must be an amount such as 16GB or 500MiB",  # type: ignore[attr-defined]
    Clock.__metadata__[0].pattern: "must be a time such as 02:00:00 or 1-12:00:00",  # type: ignore[attr-defined]
    Line.__metadata__[0].pattern: "must be one line of text",  # type: ignore[attr-defined]
}


_ELSEWHERE = {
    **dict.fromkeys(("partition", "q", "qos"), "queue"),
    **dict.fromkeys(("project", "allocation"), "account"),
    **dict.fromkeys(("time", "timeout", "runtime"), "walltime"),
    **dict.fromkeys(("mem", "ram", "memory_limit"), "memory"),
    **dict.fromkeys(("cpus", "ncpus", "threads", "cpus_per_task"), "cores"),
    **dict.fromkeys(("gres", "ngpus", "request_gpus"), "gpus"),
    **dict.fromkeys(("env", "modules", "prologue", "job_script_prologue"), "setup"),
    **dict.fromkeys(("extra", "options", "sbatch", "job_extra_directives"), "directives"),
    **dict.fromkeys(("jobs", "max_jobs", "n_workers"), "workers"),
}
"""What others call some settings."""


def _in_plain_words(report: _Report) -> _Report:
    """Return `report` with what a regular expression asks for in words, and the words of other tools in ours."""

    def said(place: tuple[str | int, ...], message: str, hint: str) -> None:
        if message == "unknown setting" and place[-1] in _ELSEWHERE:
            hint = f"did you mean {_ELSEWHERE[place[-1]]!r}?"
        for pattern, words in _FORMS.items():
            message = message.replace(f"String should match pattern '{pattern}'", words)
        report(place, message, hint)

    return said


def _check_batch(site: BatchSite, report: _Report) -> None:
    """Report what no single setting shows."""
    if site.engine == "htcondor":
        queues = [((), site.queue), *((("resources", pattern), family.queue) for pattern, family in site.resources.items())]
        for place in [place for place, queue in queues if queue is not None]:
            hint = "say what the job needs in directives, such as `+JobFlavour = longlunch`"
            report((*place, "queue"), "HTCondor has no queues", hint)
        for index in [index for index, line in enumerate(site.setup) if "$(" in line]:
            report(("setup", index), "HTCondor takes $(…) for a macro of its own", "write `…` instead, as older shells have it")
    most = in_bytes(site.memory_max) if site.memory_max else None
    for place, family in (((), _NOTHING), *((("resources", p), f) for p, f in site.resources.items())):
        resources = site.resources_of(family)
        if resources.minimum > resources.maximum:
            report(
                (*place, *(() if place else ("workers",)), "minimum"),
                f"{resources.minimum} is more than the maximum, {resources.maximum}",
                "raise the maximum",
            )
        if most is not None and resources.memory > most:
            report((*place, "memory"), f"is more than memory_max, {site.memory_max}", "raise memory_max")
        if resources.walltime < 120:
            report((*place, "walltime"), "is less than two minutes", "a worker needs some time to start; give hours:minutes:seconds")
    if site.engine != "slurm" and "array" in site.model_fields_set:
        report(("array",), f"job arrays are Slurm's, and the engine is {site.engine}", "leave it out")
    if site.engine == "htcondor":
        for place, lines in (((), site.directives), *((("resources", p), f.directives or []) for p, f in site.resources.items())):
            for index in (k for k, line in enumerate(lines) if "=" not in line):
                report((*place, "directives", index), "is no line of a submit file", "write NAME = VALUE")
    if site.interface and site.host:
        report(("host",), "interface and host are both given", "keep one of the two")
    if site.gpu_directive and "{gpus}" not in site.gpu_directive:
        report(("gpu_directive",), "does not say where the number goes", "write {gpus} in its place")


def schema() -> dict[str, Any]:
    """Return the JSON Schema of site files."""
    from pydantic.json_schema import models_json_schema

    models: list[type[BaseModel]] = [BatchSite, AddressSite]
    _, top = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "astrosurvey site",
        "oneOf": [{"$ref": f"#/$defs/{model.__name__}"} for model in models],
        "$defs": top["$defs"],
    }


def read_site(path: str | Path) -> BatchSite | AddressSite:
    """Return the checked site of a file.

    Raises:
        PipelineError: with everything that is wrong.
    """
    document = read_document(path)
    name = document.data["engine"]
    if name not in SITES:
        hint = did_you_mean(name, SITES, otherwise=f"the engines with a site file are {', '.join(SITES)}")
        raise PipelineError([Problem(document.mark(("engine",)), "engine", f"there is no engine {name!r} here", hint)])
    site: BatchSite | AddressSite = check(document, SITES[name])
    return site
