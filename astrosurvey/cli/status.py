"""`astrosurvey status`: how a run is going, from its files alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from ._shared import json_option, plain, print_json, table


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
    if values["running"]:
        click.echo("running: " + ", ".join(f"{name} for {seconds:.0f} s" for name, seconds in values["running"].items()))
    if values["remaining_seconds"] is not None:
        click.echo(f"about {values['remaining_seconds']:.0f} s to go")
    for name, message in values["failed"].items():
        click.echo(f"failed: {name}: {plain(message)}")
    if values["stopped"]:
        click.echo(plain(values["stopped"]))


def read_status(root: Path) -> dict[str, Any]:
    """Return what the files of a run directory say of it, as JSON values.

    Raises:
        click.UsageError: it is no run directory.
    """
    from ..core.events import read_log
    from ..core.lock import holder

    try:
        record = json.loads((root / "run.json").read_text())
        events = read_log(root / "events.jsonl")
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or not record.keys() >= {"title", "started", "exit_code", "stopped"}:
        raise click.UsageError(f"{root} is no run directory; it holds no run.json and events.jsonl that can be read")
    owner = holder(root / "run.lock")
    counts: dict[str, Counter[str]] = {}
    running: dict[str, float] = {}
    failed: dict[str, str] = {}
    settled = total = 0
    worked: list[float] = []
    for event in events:
        name = f"{event.stage}/{event.tile or 'survey'}"
        if event.kind == "run_started":
            total = sum(event.data["tasks"].values())
            counts = {stage: Counter(pending=number) for stage, number in event.data["tasks"].items()}
        elif event.kind == "task_started":
            running[name] = event.time
        elif event.kind == "task_retried":
            running.pop(name, None)
        elif event.kind == "task_finished":
            settled += 1
            counts[event.stage]["pending"] -= 1
            counts[event.stage][event.data["state"]] += 1
            if running.pop(name, None) is not None:
                worked.append(event.time)
            if event.data["state"] == "failed":
                failed[name] = event.data.get("message", "")
    live = owner is not None and record["exit_code"] is None
    now = time.time()
    remaining = None
    if live and len(worked) > 1 and total > settled:
        remaining = (now - record["started"]) / len(worked) * (total - settled)
    ended = {None: "broken off; run it again to resume", 0: "done", 1: "finished, some tasks failed", 3: "stopped", 130: "interrupted"}
    return {
        "title": record["title"],
        "state": "running" if live else ended.get(record["exit_code"], f"ended with exit status {record['exit_code']}"),
        "exit_code": record["exit_code"],
        "owner": owner if live else None,
        "counts": {stage: {state: n for state, n in counter.items() if n} for stage, counter in counts.items()},
        "running": {name: now - since for name, since in running.items()} if live else {},
        "failed": failed,
        "remaining_seconds": remaining,
        "stopped": record["stopped"],
    }
