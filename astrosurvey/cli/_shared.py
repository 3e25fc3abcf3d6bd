"""What several commands share: options, output as text or JSON, and loading a pipeline."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..core.pipeline import Pipeline
    from ..core.plan import Selection

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text for people.")

out_option = click.option("--out", type=click.Path(file_okay=False), help="The run directory; runs/NAME when left out.")


def pipeline_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument PIPELINE and the options that change it."""

    @click.argument("pipeline", type=click.Path(dir_okay=False))
    @click.option("-c", "overrides", multiple=True, metavar="STAGE.KEY=VALUE", help="Override a setting; may be given often.")
    @click.option("-f", "overlays", multiple=True, type=click.Path(dir_okay=False), help="Merge another YAML file over the pipeline.")
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return command(*args, **kwargs)

    return wrapped


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which tasks may run."""

    @click.option("--from", "first", metavar="STAGE", help="Run only STAGE and what depends on it.")
    @click.option("--to", "last", metavar="STAGE", help="Run only STAGE and what it depends on.")
    @click.option("--only", multiple=True, metavar="STAGE", help="Run only this stage; may be given often.")
    @click.option("--tiles", metavar="GLOB", help="Run only tiles whose names match.")
    @click.option("--rerun", multiple=True, metavar="STAGE", help="Run this stage again even if it is up to date.")
    @click.option("--retry-failed", is_flag=True, help="Run only what failed last time and what depends on it.")
    @functools.wraps(command)
    def wrapped(*args: Any, first: Any, last: Any, only: Any, tiles: Any, rerun: Any, retry_failed: bool, **kwargs: Any) -> Any:
        from ..core.plan import Selection

        selection = Selection(first, last, only, tiles, rerun, retry_failed)
        return command(*args, selection=selection, **kwargs)

    return wrapped


def load(pipeline: str, overlays: Sequence[str], overrides: Sequence[str]) -> Pipeline:
    """Return the checked pipeline of the command line, and warn of plugins that could not be loaded."""
    from .. import api, plugins

    for broken in plugins.load().broken:
        click.echo(f"warning: {broken}", err=True)
    return api.load(pipeline, overlays=overlays, overrides=overrides)


def print_json(value: Any) -> None:
    """Print a JSON value."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[int] = ()) -> str:
    """Return rows as aligned columns of text; `right` names the columns aligned to the right."""
    texts = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    lines = []
    for row in texts:
        cells = [cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def plain(text: str) -> str:
    """Return text with control characters escaped: headers and file names may hold any."""
    return "".join(c if c.isprintable() or c == " " else repr(c)[1:-1] for c in text)


__all__ = ["Selection", "json_option", "load", "out_option", "pipeline_options", "plain", "print_json", "selection_options", "table"]
