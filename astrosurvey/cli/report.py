"""`astrosurvey report`: the HTML page of a run."""

from __future__ import annotations

from pathlib import Path

import click

from ._shared import json_option, print_json


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False))
@click.option("--open", "show", is_flag=True, help="Show it in the browser.")
@json_option
def report(run: str, show: bool, as_json: bool) -> None:
    """Write RUN/report/index.html, one self-contained page, from what is in the run directory.

    Works while the run goes on, and for runs that failed.
    """
    from ..report import write

    root = Path(run)
    if not ((root / "run.json").is_file() or (root / "products").is_dir()):
        raise click.UsageError(f"{run} is no run directory: it holds neither run.json nor products")
    try:
        path = write(root)
    except OSError as error:
        raise click.ClickException(f"the report cannot be written: {error}") from None
    if as_json:
        print_json({"report": str(path), "bytes": path.stat().st_size})
    else:
        click.echo(f"report: {path}")
    if show:
        click.launch(path.resolve().as_uri())
