"""The record of a run: `run.json`, and the resolved pipeline beside it."""

from __future__ import annotations

import json
import platform
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from .digests import write_atomically
from .pipeline import Pipeline
from .plan import State


def write_run(
    root: Path,
    pipeline: Pipeline,
    tiles: int,
    *,
    started: float,
    finished: float | None = None,
    device: str,
    command: Sequence[str],
    code: int | None = None,
    counts: Counter[tuple[str, State]] | None = None,
    stopped: str = "",
    retries: int = 0,
) -> None:
    """Write `run.json`; and `pipeline.yaml` at the start of a run, when there is no exit code yet."""
    table: dict[str, dict[str, int]] = {name: {} for name in pipeline.nodes}
    for (stage, state), number in (counts or Counter()).items():
        table[stage][state] = number
    record = {
        "command": list(command),
        "title": pipeline.title,
        "started": started,
        "finished": finished,
        "exit_code": code,
        "stopped": stopped,
        "device": device,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": _versions(),
        "plugins": [asdict(origin) for origin in pipeline.registry.plugins],
        "broken_plugins": [str(broken) for broken in pipeline.registry.broken],
        "tiles": tiles,
        "counts": table,
        "retries": retries,
    }
    if code is None:
        write_atomically(root / "pipeline.yaml", dump(pipeline.resolved()))
    write_atomically(root / "run.json", json.dumps(record, indent=1).encode())


@cache
def _versions() -> dict[str, str]:
    return dict(sorted((d.name, d.version) for d in distributions() if d.name))


def dump(values: dict[str, Any]) -> bytes:
    """Return a mapping as YAML. JSON is YAML 1.2, and its quoting leaves nothing to guess."""
    lines = []
    for key, value in values.items():
        if key != "stages":
            lines.append(f"{key}: {json.dumps(value, ensure_ascii=False)}")
            continue
        lines += ["stages:", *(f"  {name}: {json.dumps(stage, ensure_ascii=False)}" for name, stage in value.items())]
    return ("\n".join(lines) + "\n").encode()
