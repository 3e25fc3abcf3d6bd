"""The Python way in: load or build a pipeline, run it, and read what it made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.engine import Engine
    from .core.events import Listener
    from .core.pipeline import Pipeline
    from .core.plan import Selection
    from .core.run import RunResult
    from .engines.local import LocalSettings
    from .engines.site import AddressSite, BatchSite


_PRELOAD = ("astrosurvey.plugins",)
"""What Dask workers import before their first task: the plugins, whose tables they must know."""


_UNNAMEABLE = re.compile(r"""[\s"'`\\$%&;|<>(){}\[\]*?!#~^]""")
"""What means something to a shell or a batch system: dask-jobqueue writes paths into job scripts as they are."""


class EngineError(ValueError):
    """The engine asked for does not exist, or cannot be used here."""


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
    from .engines.takeover import take_over
    from .plugins import tell_plugins

    checked = pipeline if isinstance(pipeline, Pipeline) else load(pipeline)
    chosen, _, gpus = decide(device or checked.run.device)
    root = Path(out or Path("runs") / checked.name)
    return run_pipeline(
        checked,
        root,
        engine=engine_factory(engine, workers, gpus if chosen == "cuda" else 0, root),
        device=chosen,
        selection=selection or Selection(),
        take_over=take_over,
        listeners=[*listeners, tell_plugins],
        **options,
    )


def engine_factory(name: str, workers: int = 1, gpus: int = 0, run: str | Path = ".") -> Callable[[], Engine]:
    """Return a function that makes the engine of that name.

    Args:
        name: "inline", "local", a name that a plugin registers, or the path of a site file, a YAML
            mapping of `engine: NAME` and that engine's settings.
        workers: how many workers; a site file says it itself.
        gpus: GPUs to share out among local workers.
        run: the run directory, in which an engine on a batch system keeps the ids and the output of its jobs.

    Raises:
        EngineError: there is no such engine, or it cannot be used here.
        PipelineError: the site file is wrong, with everything that is.
    """
    if name.endswith((".yaml", ".yml")):
        return _site_engine(Path(name), gpus, Path(run).absolute())
    if name == "inline":
        return _inline(workers)
    if name == "local":
        from .engines.local import LocalSettings

        return _local(LocalSettings.model_validate({"workers": workers}), gpus)
    return _plugin_engine(name, {"workers": workers, "gpus": gpus})


def _site_engine(path: Path, gpus: int, run: Path) -> Callable[[], Engine]:
    from .engines import site
    from .engines.local import LocalSettings

    document = site.read_document(path)
    name = document.data["engine"]
    if name in site.SITES:
        checked = site.check(document, site.SITES[name])
        return _address(checked, run) if isinstance(checked, site.AddressSite) else _batch(checked, run)
    del document.data["engine"]
    if name == "inline":
        return _inline(document.data.get("workers", 1))
    if name == "local":
        return _local(site.check(document, LocalSettings), gpus)
    return _plugin_engine(name, document.data)


def _inline(workers: int) -> Callable[[], Engine]:
    from .core.engine import InlineEngine

    if workers != 1:
        raise EngineError("engine inline works in this process alone; leave workers out, or use --engine local")
    return InlineEngine


def _local(settings: LocalSettings, gpus: int) -> Callable[[], Engine]:
    from .engines.local import LocalEngine

    return lambda: LocalEngine(settings.workers, settings.memory_limit, gpus, _PRELOAD)


def try_engine(path: str | Path, folder: str | Path = ".", wait: float = 120) -> list[tuple[str, bool, str]]:
    """Try a site file, by one tiny job for each kind of resources or by asking the scheduler at its address.

    Args:
        path: the site file.
        folder: where runs are going to lie.
        wait: seconds that a job may take to answer.

    Returns:
        Of each kind of job: its name, whether all is well, and one line about it.

    Raises:
        EngineError: the engine cannot be used here.
        PipelineError: the site file is wrong, with everything that is.
    """
    from .core.engine import Stop
    from .engines.site import AddressSite, read_site

    site = read_site(path)
    where = Path(folder).absolute()
    if isinstance(site, AddressSite):
        from .engines.address import look

        return [("address", *look(site, where))]
    _need_jobqueue(site.engine)
    from .engines.check import check

    try:
        return check(site, where, wait)
    except Stop as stop:
        raise EngineError(f"engine {site.engine}: {stop}") from None


def job_scripts(path: str | Path, name: str = "run") -> dict[str, str]:
    """Return the job script of each kind of job that a site file makes, by the kind's name.

    Args:
        path: the site file.
        name: the run's name.

    Raises:
        EngineError: the site file has no jobs, or dask-jobqueue is not there.
        PipelineError: the site file is wrong, with everything that is.
    """
    from .engines.site import AddressSite, read_site

    site = read_site(path)
    if isinstance(site, AddressSite):
        raise EngineError("engine address submits no jobs")
    _need_jobqueue(site.engine)
    from .engines.batch import LOGS, job_class
    from .engines.jobs import Jobs
    from .engines.script import job_script

    job = job_class(site.engine, Jobs(Path(name), site.engine), "")
    return {pool: job_script(job, site, request, f"{name}-{pool}", Path(name).absolute() / LOGS) for pool, request in site.kinds().items()}


def _need_jobqueue(engine: str) -> None:
    from importlib.util import find_spec

    if find_spec("dask_jobqueue") is None:
        raise EngineError(f"engine {engine} needs dask-jobqueue; pip install 'astrosurvey[cluster]'")


def _batch(site: BatchSite, run: Path) -> Callable[[], Engine]:
    _need_jobqueue(site.engine)
    if bad := _UNNAMEABLE.search(str(run)):
        what = "a blank" if bad[0].isspace() else bad[0]
        raise EngineError(f"job scripts cannot name the run directory {str(run)!r}: it has {what} in it; choose another with --out")

    def make() -> Engine:
        from .engines.batch import BatchResources
        from .engines.dask import DaskEngine

        return DaskEngine(BatchResources(site, run))

    return make


def _address(site: AddressSite, run: Path) -> Callable[[], Engine]:
    def make() -> Engine:
        from .engines.address import AddressEngine

        return AddressEngine(site, run)

    return make


def _plugin_engine(name: str, settings: Mapping[str, Any]) -> Callable[[], Engine]:
    from .core.problems import did_you_mean
    from .engines.site import SITES
    from .plugins import load as load_plugins

    factories = load_plugins().engines
    if name in SITES:
        raise EngineError(f"engine {name} needs a site file; `--engine site.yaml`, with `engine: {name}` in it")
    if name not in factories:
        known = ["inline", "local", *SITES, *factories]
        raise EngineError(f"there is no engine {name!r}; {did_you_mean(name, known, otherwise='use inline, local or a site file')}")
    return lambda: factories[name](settings)
