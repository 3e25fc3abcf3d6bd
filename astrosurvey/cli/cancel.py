"""`astrosurvey cancel`."""

from __future__ import annotations

from pathlib import Path

import click

from ._shared import json_option, print_json


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--patience", type=click.FloatRange(1), default=600, show_default=True, metavar="SECONDS", help="How long to wait.")
@json_option
def cancel(run: Path, patience: float, as_json: bool) -> None:
    """End the run in directory RUN, wherever it is at work: its Slurm jobs, or the process that runs it.

    Returns when all has ended. What is done stays, what was half done is removed, and the run can be gone on with.
    """
    from ..engines.array.cancel import cancel as end

    ended = end(run.resolve(), patience=patience)
    if as_json:
        print_json({"ended": ended})
    else:
        click.echo(f"ended {' and '.join(ended)}" if ended else f"nothing is at work in {run}")
