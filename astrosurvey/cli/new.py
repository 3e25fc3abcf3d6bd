"""`astrosurvey new`: a pipeline for images or spectra, or the package of a plugin."""

from __future__ import annotations

from pathlib import Path

import click

from ._shared import json_option, print_json


@click.group()
def new() -> None:
    """Write a pipeline for images or spectra, or a plugin package."""


@new.command()
@click.argument("name")
@click.option("--into", type=click.Path(file_okay=False, exists=True), default=".", help="The folder to make NAME in; this one by default.")
@json_option
def plugin(name: str, into: str, as_json: bool) -> None:
    """Write a plugin package called NAME, whose tests pass as written.

    NAME is what pip will call it, such as `astrosurvey-shapes` or `shapes`.
    """
    from .scaffold import ScaffoldError, names_for, write_plugin

    try:
        names = names_for(name)
        folder = Path(into) / names.distribution
        files = write_plugin(names, folder)
    except ScaffoldError as error:
        raise click.UsageError(str(error)) from None
    steps = [f"cd {folder}", 'pip install -e ".[test]"', "pytest", f"astrosurvey stages {names.family}.compactness"]
    if as_json:
        print_json({"folder": str(folder), "files": files, "package": names.package, "stage": f"{names.family}.compactness", "next": steps})
        return
    click.echo(f"wrote {len(files)} files in {folder}; next:")
    for step in steps:
        click.echo(f"  {step}")


@new.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE [FILE2 …]", type=click.Path(dir_okay=False))
@click.option("--out", type=click.Path(dir_okay=False), default="pipeline.yaml", show_default=True, help="The pipeline file to write.")
@click.option("--force", is_flag=True, help="Overwrite the pipeline file if there is one.")
@json_option
def pipeline(files: tuple[str, ...], out: str, force: bool, as_json: bool) -> None:
    """Read FITS images, or files of spectra, and write a commented pipeline for them.

    Several images are the bands of one tile, when their FILTER or BAND differs, or tiles of one band, when it
    does not. Several files of spectra must be all of a folder that begin and end alike. What was guessed, and why, stands in the comments.
    """
    from .. import DataError, api
    from .draft import draft
    from .draft_spectra import draft_of_spectra
    from .groups import NoPattern

    target = Path(out)
    if target.exists() and not force:
        raise click.UsageError(f"{target} exists; write another file with --out, or overwrite it with --force")
    try:
        paths = [Path(file) for file in files]
        made = draft_of_spectra(paths, target.parent) or draft(paths, target.parent)
    except (DataError, NoPattern) as error:
        raise click.UsageError(str(error)) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(made.text, encoding="utf-8")
    api.load(target)  # raises what is wrong with it
    if as_json:
        print_json({"pipeline": str(target), "tiles": made.tiles, "guesses": made.guesses, "to_do": made.missing})
        return
    click.echo(f"wrote {target}")
    for guess in made.guesses:
        click.echo(f"  {guess}")
    for line in made.missing:
        click.echo(f"  TO DO {line}")
    click.echo(f"next: {'mend the lines marked TO DO, then ' if made.missing else ''}astrosurvey run {target}")
