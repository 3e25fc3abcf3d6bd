"""What `astrosurvey engine check` runs in a job: it looks around on the node and tells the coordinator what it sees.

It stands where the worker stands in the job script, and takes the same arguments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import __version__

_PATIENCE = 20
"""Seconds that the coordinator may take to answer."""


def main(arguments: list[str]) -> None:
    """Send what is seen to the coordinator, and leave it in a file for the case that it cannot be reached."""
    parser = argparse.ArgumentParser(prog="probe")
    parser.add_argument("address")
    parser.add_argument("--answer", type=Path, required=True)
    parser.add_argument("--gpus", type=int, default=0)
    given, _ = parser.parse_known_args(arguments)
    seen = look(given.gpus) | {"key": given.answer.name, "folder": _written(given.answer, "{}")}
    seen["network"] = send(given.address, seen)
    if not seen["folder"]:
        temporary = given.answer.with_suffix(".part")
        temporary.write_text(json.dumps(seen), encoding="utf-8")
        temporary.replace(given.answer)


def look(gpus: int) -> dict[str, Any]:
    """Return what a task would find on this node; GPUs are looked for only where some were asked for."""
    import psutil

    scratch = os.environ.get("ASTROSURVEY_SCRATCH", "")
    seen = {
        "host": socket.gethostname(),
        "version": __version__,
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": psutil.virtual_memory().total,
        "scratch": scratch,
        "scratch_error": _usable(scratch) if scratch else "",
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "gpus": 0,
        "gpu_error": "",
    }
    if gpus:
        from ..core.device import cuda_devices

        seen["gpus"], seen["gpu_error"] = cuda_devices()
    return seen


def send(address: str, seen: dict[str, Any]) -> str:
    """Send a line of JSON to the coordinator; return why that failed, "" when it did not."""
    where = urlsplit(address)
    try:
        with socket.create_connection((where.hostname, where.port), timeout=_PATIENCE) as connection:
            connection.sendall(json.dumps(seen).encode() + b"\n")
            return "" if connection.recv(2) == b"ok" else "it does not answer as the coordinator would"
    except OSError as error:
        return error.strerror or str(error)


def _written(answer: Path, text: str) -> str:
    """Return why nothing can be written beside the answer; "" when it can."""
    try:
        with tempfile.TemporaryFile(dir=answer.parent) as stream:
            stream.write(text.encode())
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _usable(folder: str) -> str:
    with contextlib.suppress(OSError):
        Path(folder).mkdir(parents=True, exist_ok=True)
    return _written(Path(folder) / "answer", "")


if __name__ == "__main__":
    main(sys.argv[1:])
