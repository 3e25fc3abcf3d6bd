"""Runs on the Slurm of the tests, seen from outside: a site file, the command line, and what the run directory tells."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "toyplugin")))
"""PYTHONPATH of what is not started by the fixture `command`."""

DEMO = ROOT / "examples" / "demo.yaml"
SMALL = ("-c", "tiles.count=6", "-c", "tiles.size=192", "-c", "tiles.overlap=64", "-c", "sky.box=32")
"""What makes of the demo six tiles, with their merged catalogue at the end, that take seconds."""

SITE = {
    "engine": "slurm",
    "queue": "debug",
    "cores": 1,
    "memory": "800MB",
    "walltime": "00:10:00",
    "workers": {"minimum": 0, "maximum": 2},
    "host": "127.0.0.1",
}


def site(folder: Path, **values: Any) -> Path:
    """Write a site file for the Slurm of the tests; JSON is YAML."""
    path = folder / "site.yaml"
    path.write_text(json.dumps(SITE | values))
    return path


def pipeline(folder: Path, **values: Any) -> Path:
    """Write a pipeline file."""
    path = folder / "p.yaml"
    path.write_text(json.dumps({"astrosurvey": 1, "seed": 5, **values}))
    return path


def events(out: Path) -> list[dict[str, Any]]:
    """Return the events of all that has ever happened in a run directory; what a killed driver left half written is left out."""
    found = []
    for line in (out / "events.jsonl").read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def finished(out: Path) -> int:
    """Return how many tasks have ended well, as the run directory has it now."""
    return len(list(out.glob("products/*/*/task.json")))


def started_again(out: Path) -> int:
    """Return how many times a task was started that had been started before: the work that was lost."""
    starts = Counter((event["stage"], event["tile"]) for event in events(out) if event["kind"] == "task_started")
    return sum(number - 1 for number in starts.values())


def retried(out: Path) -> list[str]:
    """Return why tasks were tried again, in all that has ever happened in a run directory."""
    return [event["data"]["message"] for event in events(out) if event["kind"] == "task_retried"]
