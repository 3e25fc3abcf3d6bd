"""Submitting the elements of a plan, wave after wave; `submit.sh` runs this module."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import click

from ... import plugins
from ...core.events import JsonLog
from ...core.lock import LockHeld, RunLock
from ...core.pipeline import Pipeline
from ...core.run import ExitCode
from ...core.run_record import write_run
from ...core.store import Store
from ..jobs import cancel_left
from . import slurm
from .gather import start_of
from .jobs import Job, Jobs, read_jobs, refuse_queued
from .layout import ArrayError, ArrayPlan, Wave, read_plan


def submit(
    root: Path,
    *,
    elements: Collection[int] | None = None,
    hungry: Collection[int] = (),
    dry_run: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Submit the elements of a run's plan, each wave to begin when those it reads from have ended.

    Args:
        root: the run directory.
        elements: these alone, and what the others have done stays; all of them, begun anew, when left out.
        hungry: those that ask for more memory, because they were ended for it.
        dry_run: only say what would be submitted.
        say: called with a line about each array.

    Raises:
        ArrayError: there is no plan, or Slurm refuses; then nothing is submitted.
        LockHeld: jobs of this run are in the queue, or somebody works there.
    """
    plan = read_plan(root.absolute())
    with RunLock(plan.root / "run.lock"):
        refuse_queued(plan.root)
        jobs = read_jobs(plan.root) if elements is not None else Jobs(plan.folder / "jobs.json")
        if not dry_run:
            _begin(plan, jobs, anew=elements is None)
        before = len(jobs.jobs)
        try:
            for wave in plan.waves:
                for line in _submit_wave(plan, wave, jobs, before, elements or plan.elements, hungry, dry_run=dry_run):
                    say(line)
        except BaseException:
            if not dry_run:
                with contextlib.suppress(ArrayError):  # that of the submission says why
                    slurm.cancel(plan.name, [])
            raise


def _begin(plan: ArrayPlan, jobs: Jobs, *, anew: bool) -> None:
    """Make the run directory ready, as the coordinator does that has its lock."""
    cancel_left(plan.root)
    store = Store(plan.root)
    store.sweep()
    store.arrange(plan.tiles)
    if anew:
        shutil.rmtree(plan.folder / "log", ignore_errors=True)
        shutil.rmtree(plan.folder / "output", ignore_errors=True)
        jobs.submitted = time.time()
    pipeline = Pipeline.load(plan.folder / "pipeline.yaml", plugins.load())
    command = ["astrosurvey", "plan", "--slurm-array"]
    write_run(plan.root, pipeline, plan.tiles, started=jobs.submitted, device=pipeline.run.device, command=command)
    with contextlib.closing(JsonLog(plan.root / "events.jsonl")) as log:
        log(start_of(plan, jobs.submitted, pipeline.run.device))
    jobs.collected = False
    jobs.save()


def _submit_wave(
    plan: ArrayPlan, wave: Wave, jobs: Jobs, before: int, elements: Collection[int], hungry: Collection[int], *, dry_run: bool
) -> Iterator[str]:
    """Submit the arrays of a wave, yielding a line about each."""
    script = plan.folder / f"wave-{wave.number}.sh"
    after = [job.id for job in jobs.jobs[before:] if job.wave in wave.after]
    for part, first, count in plan.parts(wave):
        for memory, wanted in ((wave.memory, False), (wave.more, True)):
            places = [e - first for e in range(first, first + count) if e in elements and (e in hungry) is wanted]
            if not places:
                continue
            output = f"output/{wave.number}-{part}"
            if dry_run:
                id = f"JOB{len(jobs.jobs) + 1}"
            else:
                (plan.folder / output).mkdir(parents=True, exist_ok=True)
                id = slurm.submit(script, first, places, running=wave.running, output=f"{output}/%a.txt", after=after, memory=memory)
            jobs.jobs.append(Job(id, wave.number, first))
            waits = f", after {', '.join(after)}" if after else ""
            if not dry_run:
                jobs.save()
            yield f"job {id}: {len(places)} elements of wave {wave.number} ({', '.join(wave.stages)}){waits}"


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what would be submitted.")
def main(run: Path, dry_run: bool) -> None:
    """Submit all elements of the plan in directory RUN."""
    try:
        submit(run.resolve(), dry_run=dry_run, say=click.echo)
    except (ArrayError, LockHeld) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(ExitCode.STOPPED if isinstance(error, LockHeld) else ExitCode.USAGE)


if __name__ == "__main__":
    main()
