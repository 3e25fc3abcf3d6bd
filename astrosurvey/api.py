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
        return Pipeline.build(source, registry)
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
    from .plugins import tell_plugins

    checked = pipeline if isinstance(pipeline, Pipeline) else load(pipeline)
    chosen, _, gpus = decide(device or checked.run.device)
    return run_pipeline(
        checked,
        out or Path("runs") / checked.name,
        engine=engine_factory(engine, workers, gpus if chosen == "cuda" else 0),
        device=chosen,
        selection=selection or Selection(),
        listeners=[*listeners, tell_plugins],
        **options,
    )


def engine_factory(name: str, workers: int = 1, gpus: int = 0) -> Callable[[], Engine]:
    """Return a function that makes the engine of that name.

    Args:
        name: "inline", "local", a name that a plugin registers, or the path of a site file, a YAML
            mapping of `engine: NAME` and that engine's settings.
        workers: for `local`.
        gpus: for `local`: GPUs to share out among the workers.

    Raises:
        EngineError: there is no such engine, or its settings are wrong.
    """
    from .core.engine import InlineEngine, LocalEngine
    from .core.problems import did_you_mean
    from .plugins import load as load_plugins

    if name.endswith((".yaml", ".yml")):
        return _from_site_file(Path(name), gpus)
    if name == "inline":
        return InlineEngine
    if name == "local":
        return lambda: LocalEngine(workers, gpus=gpus, preload=_PRELOAD)
    factories = load_plugins().engines
    if name not in factories:
        known = ["inline", "local", *factories]
        raise EngineError(f"there is no engine {name!r}; {did_you_mean(name, known, otherwise='use inline, local or a site file')}")
    return lambda: factories[name]({"workers": workers, "gpus": gpus})


def _from_site_file(path: Path, gpus: int) -> Callable[[], Engine]:
    from .core import yaml
    from .core.engine import LocalEngine
    from .core.problems import PipelineError
    from .plugins import load as load_plugins

    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), str(path)).data
    except OSError as error:
        raise EngineError(f"cannot read the site file {path}: {error.strerror}") from None
    except PipelineError as error:
        raise EngineError(str(error)) from None
    if not isinstance(settings, dict) or not isinstance(settings.get("engine"), str):
        raise EngineError(f"{path}: a site file is a mapping that begins with `engine: NAME`")
    settings = dict(settings)
    name = settings.pop("engine")
    if name == "local":
        unknown = set(settings) - {"workers", "memory_limit"}
        if unknown:
            raise EngineError(f"{path}: engine local has no setting {sorted(unknown)[0]!r}; it has workers and memory_limit")
        return lambda: LocalEngine(settings.get("workers", 1), settings.get("memory_limit", "auto"), gpus, _PRELOAD)
    factories = load_plugins().engines
    if name not in factories:
        raise EngineError(f"{path}: there is no engine {name!r}; there are local and {', '.join(factories) or 'no others'}")
    return lambda: factories[name](settings)
