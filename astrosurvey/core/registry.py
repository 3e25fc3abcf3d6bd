"""What is known to a run: stages, products, models and engines, each with the package it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .stage import Stage


@dataclass(frozen=True)
class Origin:
    """The plugin a thing was registered by."""

    plugin: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that could not be loaded, and why."""

    origin: Origin
    error: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"plugin {self.origin.plugin!r} of {self.origin} could not be loaded: {self.error}"


@dataclass
class Registry:
    """Everything plugins have registered, by name."""

    stages: dict[str, type[Stage]] = field(default_factory=dict)
    products: dict[str, type[Any]] = field(default_factory=dict)
    models: dict[str, Path] = field(default_factory=dict)
    tables: list[Path] = field(default_factory=list)
    engines: dict[str, Callable[..., Any]] = field(default_factory=dict)
    estimators: dict[str, Callable[[], Any]] = field(default_factory=dict)
    commands: dict[str, Any] = field(default_factory=dict)
    origins: dict[tuple[str, str], Origin] = field(default_factory=dict)
    """(hook, name) -> who registered it."""
    plugins: list[Origin] = field(default_factory=list)
    broken: list[BrokenPlugin] = field(default_factory=list)
    hooks: dict[Origin, Any] = field(default_factory=dict, repr=False)
    """Each loaded plugin's hooks, as functions that return a list of answers."""

    def add(self, hook: str, into: dict[str, Any], name: str, value: Any, origin: Origin) -> None:
        """Register `value` under `name`.

        Raises:
            ValueError: the name is taken; the message names both packages.
        """
        if name in into:
            raise ValueError(f"{hook}: {name!r} is registered by both {self.origins[hook, name]} and {origin}; uninstall one of them")
        into[name] = value
        self.origins[hook, name] = origin
