"""`astrosurvey doctor`: is this installation sound, and what is this machine?"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import click

from ._shared import json_option, print_json, table


@click.command()
@click.option("--compile", "ahead", is_flag=True, help="Compile all kernels now, so that no run has to wait for the compiler.")
@json_option
def doctor(ahead: bool, as_json: bool) -> int:
    """Check this installation and this machine; exit status 1 when something needs mending."""
    if ahead:
        _compile(quiet=as_json)
    rows = [*_machine(), *_kernels(), *_packages(), *_plugins()]
    if as_json:
        print_json([{"check": name, "ok": ok, "found": found} for name, ok, found in rows])
    else:
        click.echo(table(["", "check", "found"], [["ok" if ok else "!!", name, found] for name, ok, found in rows]))
    return 0 if all(ok for _, ok, _ in rows) else 1


def _machine() -> list[tuple[str, bool, str]]:
    import psutil

    from ..core.device import cuda_devices

    count, why_not = cuda_devices()
    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(Path.cwd())
    return [
        ("python", tuple(map(int, platform.python_version_tuple()[:2])) >= (3, 11), platform.python_version()),
        ("cores", True, str(len(os.sched_getaffinity(0)))),
        ("memory", True, f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"),
        ("disk of the working directory", disk.free > 2**30, f"{disk.free / 2**30:.1f} GiB free"),
        ("device", True, f"{count} CUDA devices" if count else f"cpu ({why_not})"),
        ("file locks", *_locks()),
    ]


def _compile(quiet: bool) -> None:
    """Compile every kernel, with a line for each."""
    from ..kernels.ahead import compile_all

    compile_all(lambda done, total, name: None if quiet else click.echo(f"[{done + 1}/{total}] kernel {name}", err=True))


def _kernels() -> list[tuple[str, bool, str]]:
    """Say where kernels run and what is compiled; a kernel that is not is compiled when it is first used."""
    from ..core.device import cuda_devices
    from ..kernels.ahead import cache_state

    rows = [("kernels", True, str(cache_state()))]
    if cuda_devices()[0]:
        try:
            rows.append(("numba-cuda", True, version("numba-cuda")))
        except PackageNotFoundError:
            rows.append(("numba-cuda", False, "not installed, so kernels cannot use the GPU; pip install 'astrosurvey[gpu]'"))
    return rows


def _locks() -> tuple[bool, str]:
    from ..core.lock import LockHeld, RunLock

    try:
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".astrosurvey-") as folder:
            with RunLock(Path(folder) / "run.lock"):
                try:
                    RunLock(Path(folder) / "run.lock").acquire()
                except LockHeld:
                    return True, "work in the working directory"
            return False, "the working directory's file system grants one lock twice; use another disk for runs"
    except OSError as error:
        return False, f"cannot write to the working directory: {error.strerror}"


def _packages() -> list[tuple[str, bool, str]]:
    from packaging.requirements import Requirement

    rows = []
    for text in requires("astrosurvey") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            rows.append((requirement.name, False, f"not installed; pip install '{requirement}'"))
            continue
        good = requirement.specifier.contains(found, prereleases=True)
        rows.append((requirement.name, good, found if good else f"{found}, but {requirement.specifier} is needed"))
    return rows


def _plugins() -> list[tuple[str, bool, str]]:
    from ..plugins import load

    registry = load()
    rows: list[tuple[str, bool, Any]] = [(f"plugin {p.plugin}", True, str(p)) for p in registry.plugins]
    return rows + [(f"plugin {b.origin.plugin}", False, b.error) for b in registry.broken]
