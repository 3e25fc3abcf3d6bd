"""`astrosurvey status`: how a run is going, from its files alone."""

from __future__ import annotations

import json
import time
from collections.abc import Sized
from itertools import islice
from pathlib import Path
from typing import Any

import click

from ._shared import json_option, plain, print_json, table

_MOST = 20
"""So many tasks are named; `--json` names all."""


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False))
@json_option
def status(run: str, as_json: bool) -> None:
    """Say how the run in directory RUN is going, or how it ended."""
    values = read_status(Path(run))
    if as_json:
        print_json(values)
        return
    head = f"{values['title']} in {run}: {values['state']}"
    if values["owner"]:
        head += f" (process {values['owner']['pid']} on {values['owner']['host']})"
    click.echo(head)
    states = sorted({state for counts in values["counts"].values() for state in counts})
    rows = [[stage, *(counts.get(state, "·") for state in states)] for stage, counts in values["counts"].items()]
    click.echo(table(["stage", *states], rows, right=range(1, len(states) + 1)))
    if values["retries"]:
        click.echo(f"retries: {values['retries']}")
    if values["running"]:
        longest = sorted(values["running"].items(), key=lambda item: -item[1])
        click.echo("running: " + ", ".join(f"{name} for {seconds:.0f} s" for name, seconds in longest[:_MOST]) + _more(longest))
    if values["remaining_seconds"] is not None:
        click.echo(f"about {values['remaining_seconds']:.0f} s to go")
    for name, message in islice(values["failed"].items(), _MOST):
        click.echo(f"failed: {name}: {plain(message)}")
    if more := _more(values["failed"]):
        click.echo(f"failed:{more}")
    if values["stopped"]:
        click.echo(plain(values["stopped"]))


def _more(tasks: Sized) -> str:
    return f" and {len(tasks) - _MOST} more" if len(tasks) > _MOST else ""


def read_status(root: Path) -> dict[str, Any]:
    """Return what the files of a run directory say of it, as JSON values.

    Raises:
        click.UsageError: it is no run directory.
    """
    from ..core.events import read_log
    from ..core.history import History
    from ..core.lock import holder
    from ..engines.array.status import current

    array = current(root)
    try:
        record = json.loads((root / "run.json").read_text())
        history = History.of(array.events() if array else read_log(root / "events.jsonl"))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or not record.keys() >= {"title", "started", "exit_code", "stopped"}:
        raise click.UsageError(f"{root} is no run directory; it holds no run.json and events.jsonl that can be read")
    owner = holder(root / "run.lock")
    live = (array or owner) is not None and record["exit_code"] is None
    now = time.time()
    left = sum(history.expected.values()) - len(history.states)
    remaining = (now - record["started"]) / history.worked * left if live and history.worked > 1 and left > 0 else None
    ended = {None: "broken off; run it again to resume", 0: "done", 1: "finished, some tasks failed", 3: "stopped", 130: "interrupted"}
    return {
        "title": record["title"],
        "state": array.state
        if array
        else "running"
        if live
        else ended.get(record["exit_code"], f"ended with exit status {record['exit_code']}"),
        "exit_code": record["exit_code"],
        "owner": owner if live else None,
        "counts": history.counts(),
        "retries": history.retries.total(),
        "running": {"/".join(name): now - since for name, since in history.running.items()} if live else {},
        "failed": {"/".join(name): message for name, message in history.failed.items()},
        "remaining_seconds": remaining,
        "stopped": record["stopped"],
    }
