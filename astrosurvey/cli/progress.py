"""What a person sees while a run goes on: rich bars on a terminal, plain lines in a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from ..core.events import Event, Listener
from ._shared import plain


@contextlib.contextmanager
def listener(*, quiet: bool) -> Iterator[Listener]:
    """Give the listener that suits where standard error goes."""
    if quiet:
        yield lambda event: None
    elif sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        ]
        with Progress(*columns, console=Console(stderr=True)) as progress:
            yield _Bars(progress)
    else:
        yield _Lines()


class _Lines:
    """One line a finished task, and one every few seconds for long ones."""

    def __init__(self) -> None:
        self.total = self.finished = 0
        self.started = time.monotonic()
        self.last: dict[tuple[str, str | None], float] = {}
        self.cached: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        name = f"{event.stage}/{event.tile or 'survey'}"
        match event.kind:
            case "run_started":
                self.total = sum(event.data["tasks"].values())
                click.echo(
                    f"{self.total} tasks of {len(event.data['tasks'])} stages on {event.data['tiles']} tiles in {event.data['out']}",
                    err=True,
                )
            case "task_finished":
                self.finished += 1
                if event.data["state"] == "cached":
                    self.cached[event.stage] += 1
                    return
                seconds = f" in {event.data['seconds']:.2f} s" if "seconds" in event.data else ""
                why = f": {plain(event.data['message'])}" if event.data.get("message") else ""
                click.echo(f"[{self.finished}/{self.total}] {name} {event.data['state']}{seconds}{why}", err=True)
            case "task_retried":
                click.echo(f"{name} failed ({plain(event.data['message'])}); attempt {event.data['attempt'] + 1} follows", err=True)
            case "task_log" if event.data["line"].startswith("warning"):
                click.echo(f"{name} {plain(event.data['line'])}", err=True)
            case "task_note":
                click.echo(f"{name} {plain(event.data['line'])}", err=True)
            case "task_started":
                self.last[event.stage, event.tile] = time.monotonic()
            case "task_progress" if time.monotonic() - self.last.get((event.stage, event.tile), 0) > 5:
                self.last[event.stage, event.tile] = time.monotonic()
                click.echo(f"{name} {event.data['done']} of {event.data['total']}", err=True)
            case "run_finished" if self.cached:
                click.echo(f"{self.cached.total()} tasks were up to date", err=True)


class _Bars:
    """A bar a stage, with rate and time left; warnings and failures scroll above them."""

    def __init__(self, progress: Any) -> None:
        self.progress = progress
        self.bars: dict[str, Any] = {}
        self.done: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        name = f"{event.stage}/{event.tile or 'survey'}"
        match event.kind:
            case "run_started":
                for stage, total in event.data["tasks"].items():
                    self.bars[stage] = self.progress.add_task(stage, total=total, rate="")
            case "task_finished":
                self.done[event.stage] += 1
                self.seconds[event.stage] += event.data.get("seconds", 0)
                rate = f"{self.seconds[event.stage] / self.done[event.stage]:.2f} s a task"
                self.progress.update(self.bars[event.stage], advance=1, description=event.stage, rate=rate)
                if event.data["state"] == "failed":
                    self.say(f"{name} failed: {event.data.get('message', '')}", "red")
            case "task_progress":
                self.progress.update(self.bars[event.stage], description=f"{name} {event.data['done']}/{event.data['total']}")
            case "task_retried":
                self.say(f"{name} failed ({event.data['message']}); attempt {event.data['attempt'] + 1} follows", "yellow")
            case "task_log" if event.data["line"].startswith("warning"):
                self.say(f"{name} {event.data['line']}", "yellow")
            case "task_note":
                self.say(f"{name} {event.data['line']}", "blue")

    def say(self, text: str, colour: str) -> None:
        self.progress.console.print(plain(text), style=colour, markup=False, highlight=False)
