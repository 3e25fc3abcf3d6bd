"""Which jobs of Slurm a run has, as `array/jobs.json` records them and the queue knows them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ...core.digests import write_atomically
from ...core.lock import LockHeld
from . import slurm
from .layout import FOLDER, ArrayError, ArrayPlan, is_array, read_plan


@dataclass(frozen=True)
class Job:
    """One array in Slurm: its job's number, its wave, and the element that its place 0 stands for."""

    id: str
    wave: int
    first: int


@dataclass
class Jobs:
    """The jobs of a plan.

    Attributes:
        submitted: when the first of them were, in seconds since the epoch; 0 when they were never.
        collected: whether their outcome has been gathered since.
    """

    path: Path
    submitted: float = 0.0
    collected: bool = False
    jobs: list[Job] = field(default_factory=list)

    def save(self) -> None:
        """Write `jobs.json`."""
        values = {"submitted": self.submitted, "collected": self.collected, "jobs": [asdict(job) for job in self.jobs]}
        write_atomically(self.path, json.dumps(values, indent=1).encode())

    @property
    def open(self) -> bool:
        """Whether there are jobs whose outcome has not been gathered."""
        return bool(self.jobs) and not self.collected


def read_jobs(root: Path) -> Jobs:
    """Return the jobs of a run directory; of one that was never submitted there are none."""
    path = root / FOLDER / "jobs.json"
    try:
        values = json.loads(path.read_text())
        return Jobs(path, values["submitted"], values["collected"], [Job(**job) for job in values["jobs"]])
    except (OSError, ValueError, KeyError, TypeError):
        return Jobs(path)


def queued_elements(plan: ArrayPlan, jobs: Jobs) -> set[int]:
    """Return the elements that are waiting, running or ending.

    Raises:
        ArrayError: the queue cannot be asked.
    """
    if not jobs.open:
        return set()
    first = {job.id: job.first for job in jobs.jobs}
    found = set()
    for name in slurm.queued(plan.name):
        job, _, place = name.partition("_")
        if job in first and place.isdecimal():
            found.add(first[job] + int(place))
    return found


def refuse_queued(root: Path) -> None:
    """Let nobody begin in a run directory while job arrays of it may be at work.

    Raises:
        LockHeld: there are jobs in the queue, or whether there are any cannot be seen from here.
    """
    jobs = read_jobs(root)
    if not jobs.open or not is_array(root):
        return
    try:
        names = slurm.queued(read_plan(root).name)
    except ArrayError as error:
        raise LockHeld(
            f"{root} was submitted to Slurm as job arrays, and whether they are still at work cannot be seen: {error}; "
            f"`astrosurvey collect {root}` there, or remove {jobs.path} if you know that they are gone"
        ) from None
    if names:
        raise LockHeld(
            f"{len(names)} jobs of {root} are in Slurm's queue, the first {names[0]}; "
            f"wait for them, or end them with `astrosurvey cancel {root}`"
        )
