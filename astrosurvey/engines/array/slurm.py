"""What is asked of Slurm: sbatch, squeue, scancel and scontrol, never its accounting."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..script import mebibytes
from ..systems import NoAnswer, last_line, run
from .layout import ArrayError


def max_array_size() -> int | None:
    """Return how many elements an array may have; None where there is no Slurm to ask."""
    try:
        said = _ask("scontrol", "show", "config")
    except ArrayError:
        return None
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", said, re.MULTILINE)
    return int(match[1]) if match else None


def queued(name: str) -> list[str]:
    """Return the jobs of a name that are waiting, running or ending, as `squeue` writes them.

    Raises:
        ArrayError: the queue cannot be asked.
    """
    return _ask("squeue", "--noheader", "--array", "--format=%i", f"--name={name}").split()


def submit(script: Path, first: int, places: Sequence[int], *, running: int, output: str, after: Sequence[str], memory: int) -> str:
    """Submit an array and return the number of its job.

    Args:
        script: the job script; its folder is where the jobs begin.
        first: the element that place 0 of the array stands for.
        places: the places of the array.
        running: how many may run at once.
        output: where the jobs' output goes, from the script's folder, as Slurm has it.
        after: the jobs that have to end first, however they end.
        memory: bytes.

    Raises:
        ArrayError: Slurm refuses.
    """
    words = [f"--array={_ranges(places)}%{running}", f"--output={output}", f"--mem={mebibytes(memory)}M"]
    if after:
        words.append(f"--dependency=afterany:{':'.join(after)}")
    said = _ask("sbatch", "--parsable", f"--chdir={script.parent}", *words, str(script), str(first))
    return said.strip().partition(";")[0]


def cancel(name: str, jobs: Sequence[str]) -> None:
    """End the jobs of a name, and those of these numbers; that some are gone already is no error.

    Raises:
        ArrayError: there is no such command, or it hangs.
    """
    # A number that Slurm has forgotten makes scancel refuse all that it is given with it.
    for words in ([f"--name={name}"], *([job] for job in jobs)):
        _run("scancel", "--quiet", *words)


def _ask(*words: str) -> str:
    done = _run(*words)
    if done.returncode:
        raise ArrayError(f"{words[0]} refuses: {last_line(done.stderr) or f'exit status {done.returncode}'}")
    return done.stdout


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return run([*words])
    except NoAnswer as error:
        raise ArrayError(f"{error}; do this where Slurm's commands are, and answer") from None


def _ranges(places: Sequence[int]) -> str:
    """Return numbers as Slurm has them: 0-4,7,9-11."""
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][1] + 1:
            runs[-1][1] = place
        else:
            runs.append([place, place])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
