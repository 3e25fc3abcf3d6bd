"""`astrosurvey pack` and `unpack`: a run's products in few files, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._shared import json_option, plain, print_json

if TYPE_CHECKING:
    from ..core.packing import Packing

_run_argument = click.argument("run", type=click.Path(exists=True, file_okay=False))
_unlock_option = click.option(
    "--force-unlock", is_flag=True, help="Take over from another host's coordinator that is gone, and whose heartbeat stands still."
)
MOST = 10
"""How many of the tasks that were left are named."""


@click.command()
@_run_argument
@_unlock_option
@json_option
def pack(run: str, force_unlock: bool, as_json: bool) -> None:
    """Put the finished tasks of RUN into few files, for file systems that allow only so many.

    The run stays as good as it was: it can be read, reported on, verified and resumed. Refused while a run is going on.
    """
    from ..core.packing import pack as work

    _do(work, "packed", run, force_unlock, as_json)


@click.command()
@_run_argument
@_unlock_option
@json_option
def unpack(run: str, force_unlock: bool, as_json: bool) -> None:
    """Bring back the folders of the packed tasks of RUN, byte for byte."""
    from ..core.packing import unpack as work

    _do(work, "unpacked", run, force_unlock, as_json)


def _do(work: Callable[..., Packing], verb: str, run: str, force_unlock: bool, as_json: bool) -> None:
    root = Path(run)
    if not (root / "run.json").is_file():
        raise click.UsageError(f"{run} is no run directory; it holds no run.json")

    from ..engines.takeover import take_over

    def tell(stage: str, tasks: int) -> None:
        if tasks and not as_json:
            click.echo(f"{stage}: {tasks} tasks {verb}", err=True)

    done = work(root, tell, force_unlock=force_unlock, take_over=take_over)
    if as_json:
        print_json(as_values(done))
        return
    before, after = done.before, done.after
    click.echo(f"{done.tasks} tasks {verb}")
    click.echo(f"files and folders of products: {before.entries} before, {after.entries} after")
    click.echo(f"bytes in them: {before.bytes} before, {after.bytes} after")
    for name, reason in list(done.left.items())[:MOST]:
        click.echo(f"left as it was: {plain(name)}: {plain(reason)}")
    if len(done.left) > MOST:
        click.echo(f"and {len(done.left) - MOST} more")


def as_values(done: Packing) -> dict[str, Any]:
    """Return what was done as JSON values."""
    return {"tasks": done.tasks, "before": vars(done.before), "after": vars(done.after), "left": done.left}
