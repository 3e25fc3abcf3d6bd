"""The batch systems: how each is asked what became of jobs, and how it is told to forget them."""

from __future__ import annotations

import getpass
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

PATIENCE = 60
"""Seconds that a command of a batch system may take."""


@dataclass(frozen=True)
class JobState:
    """What the batch system says of a job that has not ended.

    Attributes:
        running: it has started.
        reason: why it waits, in the system's own words; "" where it says nothing.
    """

    running: bool
    reason: str = ""


class NoAnswer(Exception):
    """A command of the batch system failed; carries what it said."""


@dataclass(frozen=True)
class System:
    """A batch system.

    Attributes:
        name: as `engine:` has it.
        submit: the command that takes a job script.
        query: returns the command that lists jobs of these ids; it may list others, too.
        cancel: the command that ends jobs, to be followed by their ids.
        parse: returns the state of each job in what `query` printed, by its id; jobs that have ended are left out.
    """

    name: str
    submit: str
    query: Callable[[Sequence[str]], list[str]]
    cancel: tuple[str, ...]
    parse: Callable[[str], dict[str, JobState]]

    def states(self, ids: Sequence[str]) -> dict[str, JobState]:
        """Return the state of those of the jobs that have not ended, by their ids.

        Raises:
            NoAnswer: the system does not answer.
        """
        command = self.query(ids)
        done = run(command)
        # qstat, bjobs and condor_q fail when one of the jobs is unknown; what they print of the others counts.
        if done.returncode and not done.stdout and not _UNKNOWN.search(done.stderr):
            raise NoAnswer(f"{command[0]}: {last_line(done.stderr) or f'exit status {done.returncode}'}")
        return {job: state for job, state in self.parse(done.stdout).items() if job in set(ids)}

    def end(self, ids: Iterable[str]) -> None:
        """Cancel jobs; those that have ended are no trouble.

        Raises:
            NoAnswer: the command is not there, hangs, or fails.
        """
        listed = list(ids)
        for start in range(0, len(listed), 100):
            some = listed[start : start + 100]
            # One that is unknown may keep a command from ending those that it is given with.
            for job in some if run([*self.cancel, *some]).returncode else ():
                done = run([*self.cancel, job])
                if done.returncode and not _UNKNOWN.search(done.stderr):
                    raise NoAnswer(f"{self.cancel[0]}: {last_line(done.stderr) or f'exit status {done.returncode}'}")


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the batch system and return how it ended.

    Raises:
        NoAnswer: the command is not there, or hangs.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise NoAnswer(f"command {command[0]} not found") from None
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{shlex.join(command[:3])} has not answered in {PATIENCE} s") from None


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


_UNKNOWN = re.compile(
    r"unknown job|not found|does not exist|has (already )?finished|invalid job|already complet|couldn't find|no matching job", re.IGNORECASE
)


def _slurm(text: str) -> dict[str, JobState]:
    found = {}
    for line in text.splitlines():
        job, state, reason = [*line.split("|"), "", ""][:3]
        if state in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"):
            found[job] = JobState(False, reason if reason != "None" else "")
        elif state in ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"):
            found[job] = JobState(True)
    return found


def _pbs(text: str) -> dict[str, JobState]:
    found = {}
    for block in re.split(r"(?m)^Job Id:\s*", text)[1:]:
        values = dict(re.findall(r"(?m)^\s+(\w+) = (.*)$", block.replace("\n\t", "")))
        state = values.get("job_state", "")
        if state in ("Q", "H", "W", "T", "M"):
            found[re.split(r"\D", block, maxsplit=1)[0]] = JobState(False, values.get("comment", ""))
        elif state in ("R", "S", "U", "B"):
            found[re.split(r"\D", block, maxsplit=1)[0]] = JobState(True)
    return found


def _htcondor(text: str) -> dict[str, JobState]:
    found = {}
    for line in text.splitlines():
        words = line.split(maxsplit=3)
        if len(words) < 3:
            continue
        job, status = f"{words[0]}.{words[1]}", words[2]
        if status in ("2", "6", "7"):
            found[job] = JobState(True)
        elif status == "1":
            found[job] = JobState(False)
        elif status == "5":
            found[job] = JobState(False, f"held: {words[3]}" if len(words) > 3 else "held")
    return found


def _lsf(text: str) -> dict[str, JobState]:
    found = {}
    for line in text.splitlines():
        job, state, reason = [*line.split("|", 2), "", ""][:3]
        if state in ("PEND", "PSUSP", "WAIT"):
            found[job] = JobState(False, reason.strip(" -;"))
        elif state in ("RUN", "USUSP", "SSUSP", "PROV", "UNKWN"):
            found[job] = JobState(True)
    return found


SYSTEMS = {
    system.name: system
    for system in (
        System("slurm", "sbatch", lambda ids: ["squeue", "-h", "-u", getpass.getuser(), "-o", "%i|%T|%r"], ("scancel",), _slurm),
        System("pbs", "qsub", lambda ids: ["qstat", "-f", *ids], ("qdel",), _pbs),
        System(
            "htcondor",
            "condor_submit",
            lambda ids: ["condor_q", *ids, "-af", "ClusterId", "ProcId", "JobStatus", "HoldReason"],
            ("condor_rm",),
            _htcondor,
        ),
        System("lsf", "bsub", lambda ids: ["bjobs", "-noheader", "-o", "jobid stat pend_reason delimiter='|'", *ids], ("bkill",), _lsf),
    )
}
"""By name."""
