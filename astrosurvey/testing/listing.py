"""What is imported with a stage, seen in a process that knows no other stage.

Such a process is forked from one that has imported what all stages import, NumPy and pydantic among it: nobody waits for these again.
"""

from __future__ import annotations

import functools
import importlib
import multiprocessing
import sys
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection

from ..core import stage as stage  # for the process that others are forked from

SECONDS = 120.0
"""What an import may take."""


def imported_with(module: str, name: str, packages: Sequence[str]) -> tuple[list[str], str]:
    """Import a stage, and have the schema of its settings made, in a process of its own.

    Args:
        module: where the stage is.
        name: of its class, with dots.
        packages: what is looked for.

    Returns:
        which of the packages were imported, and a traceback, empty if all went well.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_look, args=(theirs, module, name, tuple(packages)))
    process.start()
    theirs.close()
    try:
        found: tuple[list[str], str] = ours.recv() if ours.poll(SECONDS) else ([], f"it took more than {SECONDS:.0f} s")
    except EOFError:
        found = [], "the process ended"
    process.kill()
    process.join()
    return found


def _look(to: Connection, module: str, name: str, packages: tuple[str, ...]) -> None:
    try:
        cls = functools.reduce(getattr, name.split("."), importlib.import_module(module))
        cls.Config.model_json_schema()
    except BaseException:
        to.send(([], traceback.format_exc()))
    else:
        to.send(([package for package in packages if package in sys.modules], ""))
