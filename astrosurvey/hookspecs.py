"""The hooks a plugin may implement; every one is optional.

A plugin is a module named by an entry point of the group `astrosurvey`. It sets `astrosurvey_api = 1`
and implements any of these functions, decorated with `astrosurvey.hookimpl`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pluggy

hookspec = pluggy.HookspecMarker("astrosurvey")
hookimpl = pluggy.HookimplMarker("astrosurvey")


@hookspec
def register_stages(register: Callable[[type], None]) -> None:
    """Call `register(StageClass)` for each stage. The module it is in must import no torch and no numba."""


@hookspec
def register_products(register: Callable[[type], None]) -> None:
    """Call `register(ProductClass)` for each kind of product that edges may carry."""


@hookspec
def register_tables(register: Callable[[Path], None]) -> None:
    """Call `register(path)` with a schema fragment in YAML whose tables are named `x_<plugin>_<table>`."""


@hookspec
def register_models(register: Callable[[str, Path], None]) -> None:
    """Call `register(name, folder)` for each built-in model; a port then defaults to "builtin:<name>"."""


@hookspec
def register_estimators(register: Callable[[str, Callable[[], tuple[Callable[..., Any], Callable[..., Any]]]], None]) -> None:
    """Call `register(stage, load)` for each stage, by its name, that trains a model which `sbi.posterior` shall draw from.

    `load()` returns two functions: `build(**config)` makes the torch module whose weights the model holds, and
    `answers(network, parameters, data, device)` makes the `astrosurvey.stages.sbi.estimator.Estimator` that asks it.
    It is called where a model is opened, and is the place to import torch in.
    """


@hookspec
def register_engines(register: Callable[[str, Callable[..., Any]], None]) -> None:
    """Call `register(name, factory)`; `factory(settings)` returns an `astrosurvey.core.engine.Engine`."""


@hookspec
def register_commands(register: Callable[[Any], None]) -> None:
    """Call `register(command)` with a click command that `astrosurvey` then offers."""


@hookspec
def on_event(event: Any) -> None:
    """See every state change of a run as it happens (`astrosurvey.core.events.Event`); coordinator only."""


@hookspec
def report_sections(run: Path, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (title, HTML fragment) pairs to stand at the end of the report of the run directory `run`.

    `summary` holds the run's title, its exit code (None while it runs) and, by stage, `use` and `states`.
    A fragment stands in a frame of its own: its styles and `data:` pictures are shown, no script runs, and
    nothing is loaded from elsewhere. Text from catalogues or headers must be escaped by the plugin.
    """
    return []
