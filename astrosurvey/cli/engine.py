"""`astrosurvey engine`: try a site file before a survey depends on it."""

from __future__ import annotations

from pathlib import Path

import click

from ._shared import json_option, print_json


@click.group()
def engine() -> None:
    """Try a site file: submit one tiny job of each kind, or show the job scripts."""


_site = click.option("--engine", "site", metavar="FILE", required=True, type=click.Path(exists=True, dir_okay=False), help="The site file.")


@engine.command()
@_site
@click.option(
    "--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".", show_default=True, help="Where runs will lie."
)
@click.option("--wait", type=click.FloatRange(min=1), default=120, show_default=True, help="Seconds that a job may take to answer.")
@json_option
def check(site: str, folder: Path, wait: float, as_json: bool) -> int:
    """Submit one tiny job of each kind, and say in a line what it found or what is wrong.

    Exit status: 0 all is well; 2 something is not.
    """
    from ..api import try_engine

    findings = try_engine(site, folder, wait)
    if as_json:
        print_json([{"pool": pool, "ok": ok, "found": found} for pool, ok, found in findings])
    else:
        click.echo("\n".join(f"{'ok' if ok else '!!'}  {pool}: {found}" for pool, ok, found in findings))
    return 0 if all(ok for _, ok, _ in findings) else 2


@engine.command("script")
@_site
@click.option("--name", default="run", show_default=True, help="The run's name, which the jobs bear.")
def show(site: str, name: str) -> None:
    """Print the job script of each kind, and submit nothing."""
    from ..api import job_scripts

    for pool, text in job_scripts(site, name).items():
        click.echo(f"# {pool}\n{text}")
