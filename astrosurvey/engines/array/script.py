"""The shell scripts of a plan: one that each job of a wave runs, and the one that submits them all."""

from __future__ import annotations

from ..script import clock, gpu_directives, mebibytes, prologue, python_of
from ..site import BatchSite, Request
from .layout import ArrayPlan, Wave
from .settings import ArraySettings

RETRY = 75
"""Exit status of an element that has more to do: the job is put back into the queue (EX_TEMPFAIL of sysexits.h)."""

MORE_MEMORY = 76
"""Exit status of an element one of whose tasks was ended for its memory: the job is put back and asks for more."""

_JOB = """\
#!/bin/bash
# Wave {number} of {waves}: {what}.
# Written by `astrosurvey plan --slurm-array`; submitted by submit.sh, in this folder.
{directives}
{setup}
# A signal goes on to the supervisor, and this shell waits on. After SIGTERM somebody wants the job to be gone.
supervisor=
gone=
trap '[ -z "$supervisor" ] || kill -USR1 "$supervisor"' USR1
trap 'gone=1; [ -z "$supervisor" ] || kill -TERM "$supervisor"' TERM
{python} -m astrosurvey task .. $((${{1:-{first}}} + SLURM_ARRAY_TASK_ID)) &
supervisor=$!
while wait "$supervisor"; kill -0 "$supervisor" 2>/dev/null; do :; done
wait "$supervisor"
code=$?

if [ -z "$gone" ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {requeues} ]; then
    trap '' TERM  # which Slurm sends when it takes the job back
    case $code in
    {retry})
        scontrol requeue "$SLURM_JOB_ID"
        ;;
    {more_memory} | 137)  # 137: the kernel itself ended the supervisor
        scontrol requeuehold "$SLURM_JOB_ID"
        scontrol update JobId="$SLURM_JOB_ID" MinMemoryNode={more}
        scontrol release "$SLURM_JOB_ID"
        ;;
    esac
fi
exit "$code"
"""

_SUBMIT = """\
#!/bin/bash
# Submits the {elements} elements of this run in {waves}; a wave begins when those that it reads from have ended:
{table}
# Refuses while jobs of this run are in the queue, or somebody else works in the run directory. With --dry-run it only
# says what it would do. Written by `astrosurvey plan --slurm-array`.
cd "$(dirname "$0")" || exit
{setup}
exec {python} -m astrosurvey.engines.array.submit .. "$@"
"""


def job_script(plan: ArrayPlan, wave: Wave, resources: Request, site: BatchSite) -> str:
    """Return the script that the jobs of a wave run; the number of an element is all that it passes on.

    Args:
        plan: the plan.
        wave: the wave.
        resources: what its jobs ask for.
        site: the site's settings.
    """
    settings: ArraySettings = site.array
    _, _, count = next(plan.parts(wave))
    directives = [
        f"--job-name={plan.name}",
        f"--array=0-{count - 1}%{wave.running}",
        f"--output=output/{wave.number}-0/%a.txt",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR1@{settings.signal}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={resources.cores}",
        f"--mem={mebibytes(wave.memory)}M",
        f"--time={clock(resources.walltime)}",
        *([f"--partition={resources.queue}"] if resources.queue else []),
        *([f"--account={resources.account}"] if resources.account else []),
        *gpu_directives(site, resources),
        *resources.directives,
    ]
    return _JOB.format(
        number=wave.number,
        waves=len(plan.waves),
        what=_what(wave),
        directives="\n".join(f"#SBATCH {line}" for line in directives),
        setup="".join(f"{line}\n" for line in ("", *prologue(site, resources, lifetime=False))),
        python=python_of(site),
        first=wave.first,
        requeues=settings.requeues,
        retry=RETRY,
        more_memory=MORE_MEMORY,
        more=mebibytes(wave.more),
    )


def submit_script(plan: ArrayPlan, site: BatchSite) -> str:
    """Return `submit.sh`."""
    rows = [f"#   {w.number}. {_what(w)}" + (f", after {', '.join(map(str, w.after))}" if w.after else "") for w in plan.waves]
    return _SUBMIT.format(
        elements=len(plan.elements),
        waves=f"{len(plan.waves)} waves" if len(plan.waves) > 1 else "one wave",
        table="\n".join(rows),
        setup="".join(f"{line}\n" for line in site.setup),
        python=python_of(site),
    )


def _what(wave: Wave) -> str:
    """Return in words what a wave does."""
    stages = ", ".join(wave.stages)
    if wave.scope == "survey":
        return f"{stages} on the survey"
    each = "one tile" if wave.tiles == 1 else f"{wave.tiles} tiles"
    return f"{stages} in {wave.elements} elements of {each}"
