"""Writing the plan of a run as job arrays: waves cut into elements, job scripts, the script that submits them."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from ...core.digests import write_atomically
from ...core.lock import RunLock
from ...core.pipeline import Pipeline
from ...core.run_record import dump
from ..site import BatchSite, Request, in_bytes
from . import slurm
from .jobs import refuse_queued
from .layout import SHARD, ArrayPlan, Wave
from .script import job_script, submit_script
from .settings import ArraySettings
from .waves import group_stages

_USUAL_SIZE = 1000
"""Elements of an array at most, where nobody says; Slurm's own default is 1001."""


def write_array(pipeline: Pipeline, root: Path, site: BatchSite, *, name: str | None = None) -> ArrayPlan:
    """Write the plan of a run into `array/` of its run directory, in place of an older one.

    Args:
        pipeline: the checked pipeline.
        root: the run directory.
        site: the site's settings.
        name: of the jobs; one that no other run has when left out.

    Raises:
        PipelineError: `tiles:` names none.
        LockHeld: somebody works there, or jobs of an older plan are in the queue.
    """
    tiles = pipeline.tiles()
    name = name or f"astrosurvey-{uuid.uuid4().hex[:8]}"
    plan, resources = _cut(pipeline, root.absolute(), site, len(tiles), name)
    with RunLock(plan.root / "run.lock"):
        refuse_queued(plan.root)
        shutil.rmtree(plan.folder, ignore_errors=True)
        plan.folder.mkdir(parents=True)
        write_atomically(plan.folder / "pipeline.yaml", dump(pipeline.resolved()))
        for wave, asked in zip(plan.waves, resources, strict=True):
            _write_script(plan.folder / f"wave-{wave.number}.sh", job_script(plan, wave, asked, site))
        _write_script(plan.folder / "submit.sh", submit_script(plan, site))
        plan.save(tiles)
    return plan


def _cut(pipeline: Pipeline, root: Path, site: BatchSite, tiles: int, name: str) -> tuple[ArrayPlan, list[Request]]:
    """Return the plan, and what the jobs of each wave ask for."""
    settings: ArraySettings = site.array
    size = settings.max_size or slurm.max_array_size() or _USUAL_SIZE
    part = min(size, SHARD)
    waves: list[Wave] = []
    resources = []
    first = 0
    for number, group in enumerate(group_stages(pipeline, site.resources_for), start=1):
        each = tiles if group.scope == "survey" else settings.tiles or -(-tiles // size)
        elements = -(-tiles // each)
        uses = {pipeline.nodes[stage].cls.name for stage in group.stages}
        limits = {use: seconds for use in sorted(uses) if (seconds := site.time_limit_of(use)) is not None}
        asked = group.resources
        waves.append(
            Wave(
                number=number,
                stages=group.stages,
                scope=group.scope,
                first=first,
                elements=elements,
                tiles=each,
                running=max(1, asked.maximum // -(-elements // part)),
                after=tuple(place + 1 for place in group.after),
                memory=asked.memory,
                more=asked.with_memory(site.memory_factor, in_bytes(site.memory_max) if site.memory_max else None).memory,
                gpus=asked.gpus,
                time_limits=limits,
            )
        )
        resources.append(asked)
        first += elements
    return ArrayPlan(root, name, pipeline.title, tiles, part, settings.signal, tuple(waves)), resources


def _write_script(path: Path, text: str) -> None:
    write_atomically(path, text.encode())
    path.chmod(0o755)
