"""Finding and loading plugins: one guarded loop, so that a broken plugin is a warning and not a crash."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy

from . import hookspecs
from .catalog.schema import register_fragment
from .core.registry import BrokenPlugin, Origin, Registry
from .core.stage import check_stage

_log = logging.getLogger("astrosurvey.plugins")

GROUP = "astrosurvey"
OLDEST_API = 1
CURRENT_API = 1


@cache
def load() -> Registry:
    """Return the registry of all installed plugins, loading them when first called.

    The environment variable ASTROSURVEY_PLUGINS, when set, names the plugins to load besides the
    built-in one, separated by commas; empty means none.
    """
    allowed = os.environ.get("ASTROSURVEY_PLUGINS")
    names = None if allowed is None else {"builtin", *filter(None, (n.strip() for n in allowed.split(",")))}
    found = sorted(entry_points(group=GROUP), key=lambda e: (e.name != "builtin", e.name, e.value))
    return load_from([entry for entry in found if names is None or entry.name in names])


def dask_setup(worker: Any) -> None:
    """Load the plugins in a Dask worker, which needs to know their tables; Dask calls this by its name."""
    load()


def load_from(entries: Iterable[EntryPoint]) -> Registry:
    """Return the registry of the plugins that the entry points name, in their order."""
    registry = Registry()
    for entry in entries:
        origin = Origin(entry.name, *(_distribution(entry)))
        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(hookspecs)
        try:
            module = entry.load()
            _check_api(module)
            manager.register(module, entry.name)
            _check_hooks(manager)
            _collect(registry, manager, origin)
        except (Exception, SystemExit) as error:
            registry.broken.append(BrokenPlugin(origin, f"{type(error).__name__}: {error}", traceback.format_exc()))
        else:
            registry.plugins.append(origin)
            registry.hooks[origin] = manager.hook
    return registry


def hook_results(hook: str, **arguments: Any) -> list[Any]:
    """Call a hook of every loaded plugin in the coordinator; return what they answered.

    A plugin that fails in a hook is warned of once, and not asked again: a run does not end because
    somebody who looks on stumbles.
    """
    results: list[Any] = []
    for origin, hooks in load().hooks.items():
        if (origin, hook) in _silenced:
            continue
        try:
            results += getattr(hooks, hook)(**arguments)
        except Exception as error:
            _silenced.add((origin, hook))
            _log.warning(
                "plugin %r of %s failed in %s and is not asked again: %s: %s", origin.plugin, origin, hook, type(error).__name__, error
            )
    return results


_silenced: set[tuple[Origin, str]] = set()


def tell_plugins(event: Any) -> None:
    """Hand an event to every plugin that listens."""
    hook_results("on_event", event=event)


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    if entry.dist is None:
        return entry.value.partition(".")[0], "unknown version"
    return entry.dist.name, entry.dist.version


def _check_api(module: Any) -> None:
    api = getattr(module, "astrosurvey_api", None)
    if type(api) is not int:
        raise TypeError(f"the module sets no `astrosurvey_api`; write `astrosurvey_api = {CURRENT_API}` at its top")
    if not OLDEST_API <= api <= CURRENT_API:
        wish = "upgrade astrosurvey" if api > CURRENT_API else "upgrade the plugin"
        raise TypeError(f"the plugin is written for plugin API {api}, this astrosurvey has {OLDEST_API} to {CURRENT_API}; {wish}")


def _check_hooks(manager: pluggy.PluginManager) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        known = [name for name, value in vars(hookspecs).items() if hasattr(value, "astrosurvey_spec")]
        raise TypeError(f"{error}; the hooks are {', '.join(known)}") from None


def _collect(registry: Registry, manager: pluggy.PluginManager, origin: Origin) -> None:
    """Ask one plugin for what it registers; nothing of it is kept when any of it is wrong."""
    fresh = Registry(origins=dict(registry.origins))
    stores: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        hook: (getattr(registry, hook), getattr(fresh, hook))
        for hook in ("stages", "products", "models", "engines", "estimators", "commands")
    }

    def adder(hook: str) -> Callable[[str, Any], None]:
        taken, mine = stores[hook]

        def add(name: str, value: Any) -> None:
            if name in taken:
                fresh.add(hook, {name: taken[name]}, name, value, origin)
            fresh.add(hook, mine, name, value, origin)

        return add

    def stage(cls: type) -> None:
        check_stage(cls)
        adder("stages")(cls.name, cls)  # type: ignore[attr-defined]

    def table(path: str | Path) -> None:
        register_fragment(Path(path), origin.plugin)
        fresh.tables.append(Path(path))

    hooks = manager.hook
    hooks.register_tables(register=table)  # first: the stages' columns are looked up in them
    hooks.register_stages(register=stage)
    hooks.register_products(register=lambda cls: adder("products")(cls.kind, cls))
    hooks.register_models(register=lambda name, folder: adder("models")(name, Path(folder)))
    hooks.register_engines(register=adder("engines"))
    hooks.register_estimators(register=adder("estimators"))
    hooks.register_commands(register=lambda command: adder("commands")(command.name, command))
    for taken, mine in stores.values():
        taken.update(mine)
    registry.tables += fresh.tables
    registry.origins.update(fresh.origins)
