"""The stage protocol: what a method's author writes, and the checks made when it is registered."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic import Field as Field

from .product import Port
from .tiles import Tile, fill

if TYPE_CHECKING:
    import numpy as np

RESERVED = frozenset({"use", "in"})


class NoWork(Exception):
    """Raised by `Stage.run` when a tile holds nothing to do: success without output (state `empty`)."""


class DataError(Exception):
    """Raised when the input is wrong, so that a retry cannot mend it.

    Args:
        message: what is wrong, where it is, and the one thing to try.
    """


class StageError(TypeError):
    """A stage class breaks the stage protocol; found when it is registered."""


@dataclass(frozen=True)
class InputFile:
    """Marks a config field as a path to be read, keyed by the file's content and not by its name.

    In such a field `${NAME}` stands for an environment variable, a relative path counts from the
    pipeline file, and `{tile}` (and any column of a tile CSV) is filled in for each tile.
    """


FilePath = Annotated[str, InputFile()]


def _once_each(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is named twice")
    return names


Bands = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_once_each)]
"""Names of bands, one or more, each once."""

Place = tuple[str | int, ...]
"""Where a setting is: field names, list indices and mapping keys."""


class StageConfig(BaseModel):
    """The settings of a stage: frozen, typed, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, protected_namespaces=())

    def paths(self) -> list[str]:
        """Return every path set in a `FilePath` field of this config, or of what is nested in it."""
        found: list[str] = []

        def note(place: Place, path: str) -> str:
            found.append(path)
            return path

        self.with_paths(note)
        return found

    def with_paths(self, change: Callable[[Place, str], str], place: Place = ()) -> Self:
        """Return this config with every path in it, nested ones too, replaced by `change(place, path)`.

        A field is a path when `FilePath` stands anywhere in its type: alone, optional, in lists or mappings.
        """
        fields = _fields_with_paths(type(self))
        if not fields:
            return self
        changes = {name: _with_paths(getattr(self, name), change, (*place, name), is_path) for name, is_path in fields}
        return self.model_copy(update=changes)


@cache
def _fields_with_paths(config: type[StageConfig]) -> list[tuple[str, bool]]:
    """Return the fields of a config in which a path may be, and whether their own type says so; all others hold plain values."""
    kinds = {name: _names_files(field.annotation, *field.metadata) for name, field in config.model_fields.items()}
    return [(name, is_path) for name, is_path in kinds.items() if is_path or not _is_plain(config.model_fields[name].annotation)]


def _is_plain(annotation: Any) -> bool:
    """Tell whether a type is made of numbers, strings and the like alone, so that no config can be nested in it."""
    if get_origin(annotation) is Literal:
        return True
    parts = get_args(annotation)[: 1 if get_origin(annotation) is Annotated else None]
    return all(map(_is_plain, parts)) if parts else annotation in _PLAIN


_PLAIN = frozenset({int, float, str, bool, type(None), Ellipsis})


def _names_files(annotation: Any, *metadata: Any) -> bool:
    """Tell whether `FilePath` stands anywhere in a type."""
    if any(isinstance(m, InputFile) for m in (*metadata, *getattr(annotation, "__metadata__", ()))):
        return True
    return any(_names_files(part) for part in get_args(annotation))


def _with_paths(value: Any, change: Callable[[Place, str], str], place: Place, is_path: bool) -> Any:
    if isinstance(value, StageConfig):
        return value.with_paths(change, place)
    if isinstance(value, str):
        return change(place, value) if is_path and value else value
    if isinstance(value, list | tuple):
        return type(value)(_with_paths(item, change, (*place, index), is_path) for index, item in enumerate(value))
    if isinstance(value, dict):
        return {key: _with_paths(item, change, (*place, key), is_path) for key, item in value.items()}
    return value


@dataclass(frozen=True)
class Context:
    """What a running task gets from its surroundings; there is nothing else to reach for.

    Attributes:
        tile: the tile being worked on; None at survey scope.
        rng: the only source of randomness, seeded by the run's seed, the stage and the tile.
        device: "cpu" or "cuda"; decided once, when the run starts.
        log: this task's logger; warnings reach the report.
        progress: call `progress(done, total)` now and then in long loops.
        scratch: an empty folder for temporary files, emptied when the task ends.
        checkpoint: a folder's path in which a long task may keep its state: what it puts there is still there when
            the same task is tried again after a crash or an interrupt, and gone when it is done. None outside a run.
        batch: the fraction (1, 0.5, …) of its usual batch a stage should work in; halved after an
            out-of-memory retry. Results must not depend on it.
    """

    tile: Tile | None
    rng: np.random.Generator
    device: Literal["cpu", "cuda"]
    log: logging.Logger
    progress: Callable[[int, int], None]
    scratch: Path
    batch: float = 1.0
    checkpoint: Path | None = None


class Stage:
    """One processing step: three facts (name, inputs, outputs), a Config, and `run`.

    Subclasses set the class attributes below and implement `run(self, ctx, *, <input ports>)`, which
    returns `{<output port>: product}`. Randomness comes from `ctx.rng` alone, and nothing may be kept
    on `self` between runs except what `setup` puts there.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    scope: ClassVar[Literal["tile", "survey"]] = "tile"
    inputs: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, Any]] = {}

    class Config(StageConfig):
        """Settings; a subclass without settings leaves this out."""

    def __init__(self, config: Any = None) -> None:
        self.config: Any = config if config is not None else self.Config()

    def setup(self, ctx: Context) -> None:
        """Load what is costly, such as weights onto `ctx.device`; called once in each worker."""

    def run(self, ctx: Context, *args: Any, **inputs: Any) -> Mapping[str, Any]:
        """Process one tile (or the survey) and return a product for every output port."""
        raise NotImplementedError

    @classmethod
    def external_files(cls, config: Any, tile: Tile | None) -> list[str]:
        """Return the paths this task reads besides its input ports, filled in for the tile.

        By default these are the config's `FilePath` settings. Override it where the stage decides what
        is read, such as one file a band.
        """
        return [fill(path, tile) for path in config.paths()]

    @classmethod
    def check_inputs(cls, config: Any, wired: Mapping[str, tuple[type[Stage], Any]]) -> Iterable[tuple[str, str]]:
        """Yield (what is wrong, what to do) of the stages that are wired, as far as settings tell before anything runs.

        By default nothing. Override it where settings of two stages must agree, such as the parameters of a prior and a simulator.

        Args:
            config: this stage's settings.
            wired: by input port, the stage whose output is wired to it, and its settings.
        """
        return ()

    @classmethod
    def details(cls) -> Mapping[str, Mapping[str, str]]:
        """Return further tables for the stage's help, beside ports and settings: title -> name -> what is said of it."""
        return {}

    @classmethod
    def count_rows(cls, config: Any, path: str) -> int | None:
        """Return how many rows a file has that this stage reads by blocks of rows; None when it reads none so.

        `tiles: {file: …, rows: …}` is cut by the first stage of the pipeline that answers.
        """
        return None


def ports(stage: type[Stage], direction: Literal["inputs", "outputs"]) -> dict[str, Port]:
    """Return the input or output ports of a stage class, by name."""
    return {name: Port.declared(name, declared) for name, declared in getattr(stage, direction).items()}


def check_stage(stage: Any) -> None:
    """Raise `StageError`, naming every rule the class breaks, unless it follows the stage protocol."""
    if not (isinstance(stage, type) and issubclass(stage, Stage)):
        raise StageError(f"{stage!r} is not a subclass of astrosurvey.Stage")
    problems = [*_identity_problems(stage), *_port_problems(stage), *_config_problems(stage)]
    if problems:
        raise StageError(f"{stage.__module__}.{stage.__qualname__}: " + "; ".join(problems))


def _identity_problems(stage: type[Stage]) -> list[str]:
    problems = []
    name = stage.__dict__.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", name):
        problems.append(f"`name` must be like 'family.method' in lower case, not {name!r}")
    if type(stage.version) is not int or stage.version < 1:
        problems.append(f"`version` must be a positive integer, not {stage.version!r}")
    if stage.scope not in ("tile", "survey"):
        problems.append(f"`scope` must be 'tile' or 'survey', not {stage.scope!r}")
    if not (stage.__dict__.get("__doc__") or "").strip():
        problems.append("it needs a docstring; its first line is the stage's help")
    return problems


def _port_problems(stage: type[Stage]) -> list[str]:
    problems = []
    for direction in ("inputs", "outputs"):
        for name, declared in getattr(stage, direction).items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                problems.append(f"port {name!r} of `{direction}` must be a lower-case identifier")
            try:
                port = Port.declared(name, declared)
            except TypeError as error:
                problems.append(f"port {name!r} of `{direction}`: {error}")
                continue
            problems += [f"port {name!r} of `{direction}`: {problem}" for problem in port.contract.problems()]
            if direction == "outputs" and (port.gather or port.optional):
                problems.append(f"output port {name!r} can be neither optional nor a gather")
            if port.gather and stage.scope == "tile":
                problems.append(f"input port {name!r} gathers tiles, which only a stage with scope 'survey' may do")
    if not stage.outputs:
        problems.append("it has no outputs")
    if stage.run is Stage.run:
        problems.append("it does not implement `run`")
        return problems
    parameters = list(inspect.signature(stage.run).parameters.values())[2:]
    keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    if len(keywords) != len(parameters) or keywords != set(stage.inputs):
        problems.append(
            f"`run` must be run(self, ctx, *, {', '.join(stage.inputs) or '…'}): its keywords are the input ports, "
            f"but it has ({', '.join(p.name for p in parameters)})"
        )
    return problems


def _config_problems(stage: type[Stage]) -> list[str]:
    config = stage.Config
    if not (isinstance(config, type) and issubclass(config, StageConfig)):
        return ["`Config` must be a subclass of StageConfig"]
    problems = []
    for name, field in config.model_fields.items():
        if name in RESERVED or field.alias in RESERVED:
            problems.append(f"config field {name!r} is a reserved word")
        if name in stage.inputs:
            problems.append(f"config field {name!r} is also an input port")
        if not field.description:
            problems.append(f"config field {name!r} needs a description")
    return problems
