"""`astrosurvey task`: what a job of a job array runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("index", type=click.IntRange(0))
def task(run: Path, index: int) -> int:
    """Run the tasks of element INDEX of the job arrays planned in directory RUN, as far as they are not done.

    Exit status: 0 all done; 1 some tasks failed; 2 the plan or the pipeline is wrong; 3 an earlier element has not
    ended, or the disk is full; 75 told to stop before it was done, run it again; 76 the same, with more memory.
    """
    from ..engines.array.element import run_element
    from .progress import listener

    with listener(quiet=False) as progress:
        return run_element(run.resolve(), index, [progress])
