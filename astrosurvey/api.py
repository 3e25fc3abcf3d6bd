"""The Python way in: load or build a pipeline, run it, and read what it made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.engine import Engine
    from .core.events import Listener
    from .core.pipeline import Pipeline
    from .core.plan import Selection
    from .core.run import RunResult


_PRELOAD = ("astrosurvey.plugins",)
"""What Dask workers import before their first task: the plugins, whose tables they must know."""


class EngineError(ValueError):
    """The engine asked for does not exist, or its settings are wrong."""


def load(source: str | Path | Mapping[str, Any], *, overlays: Sequence[str | Path] = (), overrides: Sequence[str] = ()) -> Pipeline:
    """Return the checked pipeline of a YAML file, or of a mapping that reads like one.

    Args:
        source: the file, or the mapping; the paths in a mapping count from the working directory.
        overlays: further files merged over it, as `-f` does.
        overrides: settings such as "deblend.contrast=0.01", as `-c` does.

    Raises:
        PipelineError: with everything that is wrong, each with its place and a suggestion.
    """
    from . import plugins
    from .core.pipeline import Pipeline

    registry = plugins.load()
    if isinstance(source, Mapping):
        return Pipeline.build(source, registry, overlays=overlays, overrides=overrides)
    return Pipeline.load(source, registry, overlays=overlays, overrides=overrides)


def run(
    pipeline: Pipeline | str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    *,
    engine: str = "inline",
    workers: int = 1,
    device: str | None = None,
    selection: Selection | None = None,
    listeners: Sequence[Listener] = (),
    **options: Any,
) -> RunResult:
    """Run a pipeline, or resume it, and return how it ended.

    Args:
        pipeline: a pipeline, or what `load` makes one from.
        out: the run directory; `runs/<name>` when left out.
        engine: "inline", "local", one that a plugin registers, or a site file.
        workers: the number of local workers.
        device: "auto", "cpu" or "cuda"; the pipeline's own wish when left out.
        selection: which tasks may run; all when left out.
        listeners: called with each `astrosurvey.core.events.Event`.
        options: `verify`, `force_unlock` and `command`, as `run_pipeline` has them.

    Returns:
        Its `exit_code`, `counts`, `failures`, and `read(stage, port, product, tile)`.
    """
    from .core.device import decide
    from .core.pipeline import Pipeline
    from .core.plan import Selection
    from .core.run import run_pipeline
    from .engines.array.jobs import refuse_queued
    from .plugins import tell_plugins

    checked = pipeline if isinstance(pipeline, Pipeline) else load(pipeline)
    chosen, _, gpus = decide(device or checked.run.device)
    return run_pipeline(
        checked,
        out or Path("runs") / checked.name,
        engine=engine_factory(engine, workers, gpus if chosen == "cuda" else 0),
        device=chosen,
        selection=selection or Selection(),
        refuse=refuse_queued,
        listeners=[*listeners, tell_plugins],
        **options,
    )


def engine_factory(name: str, workers: int = 1, gpus: int = 0) -> Callable[[], Engine]:
    """Return a function that makes the engine of that name.

    Args:
        name: "inline", "local", a name that a plugin registers, or the path of a site file, a YAML
            mapping of `engine: NAME` and that engine's settings.
        workers: how many workers; a site file says it itself.
        gpus: GPUs to share out among local workers.

    Raises:
        EngineError: there is no such engine, or its settings are wrong.
    """
    if name.endswith((".yaml", ".yml")):
        name, settings = _site_file(Path(name))
    else:
        settings = {"workers": workers} if name in ("inline", "local") else {"workers": workers, "gpus": gpus}
    if name == "inline":
        if settings.get("workers", 1) != 1:
            raise EngineError("engine inline works in this process alone; leave workers out, or use --engine local")
        return _inline
    if name == "local":
        return _local(settings, gpus)
    return _plugin_engine(name, settings)


def _inline() -> Engine:
    from .core.engine import InlineEngine

    return InlineEngine()


def _local(settings: Mapping[str, Any], gpus: int) -> Callable[[], Engine]:
    from .core.settings import validate
    from .engines.local import LocalEngine, LocalSettings

    problems: list[str] = []
    checked = validate(
        LocalSettings, settings, lambda place, message, hint: problems.append(f"{'.'.join(map(str, place))}: {message}; {hint}")
    )
    if problems:
        raise EngineError(f"engine local: {problems[0]}")
    return lambda: LocalEngine(checked.workers, checked.memory_limit, gpus, _PRELOAD)


def _plugin_engine(name: str, settings: Mapping[str, Any]) -> Callable[[], Engine]:
    from .core.problems import did_you_mean
    from .plugins import load as load_plugins

    factories = load_plugins().engines
    if name not in factories:
        known = ["inline", "local", *factories]
        raise EngineError(f"there is no engine {name!r}; {did_you_mean(name, known, otherwise='use inline, local or a site file')}")
    return lambda: factories[name](settings)


def _site_file(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the engine's name and its settings."""
    from .core import yaml
    from .core.problems import PipelineError

    try:
        values = yaml.load(path.read_text(encoding="utf-8"), str(path)).data
    except OSError as error:
        raise EngineError(f"cannot read the site file {path}: {error.strerror}") from None
    except (PipelineError, UnicodeDecodeError) as error:
        raise EngineError(f"the site file {path} cannot be read: {error}") from None
    if not isinstance(values, dict) or not isinstance(values.get("engine"), str):
        raise EngineError(f"{path}: a site file is a mapping that begins with `engine: NAME`")
    return values.pop("engine"), values
