"""From a pipeline file to a checked Pipeline: all problems at once, each with its place and a suggestion."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from . import settings, tiling, wiring
from . import yaml as strict_yaml
from .problems import Mark, PipelineError, Problem, did_you_mean
from .registry import Registry
from .tiles import Tile
from .wiring import DefaultModel, Node, Wire
from .yaml import Document

GRAMMAR = 1
SECTIONS = ("astrosurvey", "title", "tiles", "seed", "stages", "run")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_OVERRIDE = "-c"


class RunOptions(BaseModel):
    """The pipeline's `run:` section."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where kernels and networks run")
    retries: int = Field(2, ge=0, le=20, description="how often a failed task is tried again, unless its input is wrong")
    time_limit: float | None = Field(
        None, gt=0, description="seconds that a task may take before its worker is ended and it is tried again"
    )
    max_failures: str | int | None = Field(None, description="stop when more tasks than this have failed: a number, or a share such as 5%")

    @field_validator("max_failures")
    @classmethod
    def _share(cls, value: str | int | None) -> str | int | None:
        if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)?%", value):
            raise ValueError(f"must be a number or a share such as 5%, not {value!r}")
        if isinstance(value, int) and value < 0:
            raise ValueError("must not be negative")
        return value

    def failures_allowed(self, tasks: int) -> float:
        """Return how many of `tasks` may fail before the run stops."""
        if isinstance(self.max_failures, str):
            return float(self.max_failures[:-1]) / 100 * tasks
        return float("inf") if self.max_failures is None else self.max_failures


@dataclass
class Pipeline:
    """A checked graph of stages, ready to be planned and run.

    Attributes:
        nodes: the stages by name, each after all that it depends on.
        tiles_spec: `tiles:` with absolute paths.
        seed: the seed that `ctx.rng` derives from.
        name: the file's name without its ending; names the run directory.
    """

    nodes: dict[str, Node]
    tiles_spec: tiling.TilesSpec
    seed: int
    run: RunOptions
    title: str
    name: str
    registry: Registry = field(repr=False)
    tiles_mark: Mark = field(default=Mark("pipeline"), repr=False)
    files: tuple[tuple[Mark, str, str], ...] = field(default=(), repr=False)
    """Of every path in a stage's settings: where it stands, its key, and the path itself, absolute."""

    @classmethod
    def load(cls, path: str | Path, registry: Registry, *, overlays: Sequence[str | Path] = (), overrides: Sequence[str] = ()) -> Pipeline:
        """Return the pipeline of a YAML file.

        Args:
            path: the pipeline file.
            registry: the stages there are.
            overlays: further files, each merged deeply over what comes before (`-f`).
            overrides: settings such as "deblend.contrast=0.01" (`-c`); "run.retries=0", "seed=7" and
                "tiles=…" work too.

        Raises:
            PipelineError: with everything that is wrong.
        """
        return cls._from(_read(path), registry, str(path), _folder(path), overlays, overrides)

    @classmethod
    def build(
        cls,
        values: Mapping[str, Any],
        registry: Registry,
        *,
        name: str = "pipeline",
        base: str | Path = ".",
        overlays: Sequence[str | Path] = (),
        overrides: Sequence[str] = (),
    ) -> Pipeline:
        """Return the pipeline of a mapping that reads as the YAML file would; paths count from `base`.

        Raises:
            PipelineError: with everything that is wrong.
        """
        try:
            plain = json.loads(json.dumps(values, default=_plain))
        except (TypeError, ValueError) as error:
            hint = "use strings, numbers, true, false, null, lists, mappings and paths"
            raise PipelineError([Problem(Mark(name), "", f"holds a value that a pipeline cannot hold: {error}", hint)]) from None
        return cls._from(Document(plain, {(): Mark(name)}), registry, name, os.path.abspath(base), overlays, overrides)

    @classmethod
    def _from(
        cls, document: Document, registry: Registry, source: str, base: str, overlays: Sequence[str | Path], overrides: Sequence[str]
    ) -> Pipeline:
        bases = {source: base, _OVERRIDE: os.getcwd()}
        for overlay in overlays:
            document.merge(_read(overlay, may_be_empty=True))
            bases[str(overlay)] = _folder(overlay)
        problems: list[Problem] = []
        for override in overrides:
            _apply(document, override, problems)
        return _Checker(document, registry, bases, Path(source).stem, problems).pipeline()

    def tiles(self) -> list[Tile]:
        """Return the tiles, in order.

        Raises:
            PipelineError: `tiles:` names none, or impossible ones.
        """

        def extent(path: Path) -> tuple[int, int]:
            return self.registry.products["image"].extent(path)

        def count(path: Path) -> int:
            for node in self.nodes.values():
                if (rows := node.cls.count_rows(node.config, str(path))) is not None:
                    return rows
            raise tiling.TilesError(f"no stage reads {path} by rows; a stage such as io.spectra does")

        try:
            return tiling.make_tiles(self.tiles_spec, extent, count)
        except tiling.TilesError as error:
            raise PipelineError([Problem(self.tiles_mark, "tiles", *_split_hint(str(error)))]) from None

    def missing(self) -> list[Problem]:
        """Return what is named in the settings and is not there; a path with placeholders or a pattern is judged when its tile runs."""
        return [
            Problem(mark, key, f"there is no file or folder {path}", "check the path, or make it before the run")
            for mark, key, path in self.files
            if not re.search(r"\{\w+\}", path) and not glob.has_magic(path) and not os.path.exists(path)
        ]

    def resolved(self) -> dict[str, Any]:
        """Return the pipeline with every default filled in, as it would stand in a file."""
        stages: dict[str, Any] = {}
        for name, node in self.nodes.items():
            wires = {port: str(source) for port, source in node.wires.items() if isinstance(source, Wire)}
            stages[name] = {"use": node.cls.name, **({"in": wires} if wires else {}), **node.config.model_dump(mode="json")}
        head: dict[str, Any] = {"astrosurvey": GRAMMAR, "title": self.title}
        if self.tiles_spec is not None:
            head["tiles"] = tiling.spec_as_json(self.tiles_spec)
        return {**head, "seed": self.seed, "stages": stages, "run": self.run.model_dump(mode="json")}


def _split_hint(text: str) -> tuple[str, str]:
    message, _, hint = text.partition("; ")
    return message, hint


def _plain(value: Any) -> Any:
    """Return a path or a NumPy number as JSON has it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _folder(path: str | Path) -> str:
    return os.path.dirname(os.path.abspath(path))


def _read(path: str | Path, *, may_be_empty: bool = False) -> Document:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise PipelineError([Problem(Mark(str(path)), "", "the file is not UTF-8 text", "a pipeline is a YAML file")]) from None
    except OSError as error:
        near = did_you_mean(Path(path).name, (p.name for p in Path(path).parent.glob("*.y*ml")), otherwise="check the name")
        raise PipelineError([Problem(Mark(str(path)), "", f"cannot read the file: {error.strerror}", near)]) from None
    if may_be_empty and not re.sub(r"(?m)^\s*#.*$", "", text).strip():
        return Document({}, {(): Mark(str(path), 1, 1)})
    document = strict_yaml.load(text, str(path))
    if not isinstance(document.data, dict):
        raise PipelineError(
            [Problem(document.mark(()), "", "a pipeline file is a mapping", "begin it with `astrosurvey: 1` and `stages:`")]
        )
    return document


def _apply(document: Document, override: str, problems: list[Problem]) -> None:
    key, equals, text = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        problems.append(Problem(Mark(_OVERRIDE), override, "an override is STAGE.KEY=VALUE", "for example -c deblend.contrast=0.01"))
        return
    path = tuple(steps) if steps[0] in SECTIONS else ("stages", *steps)
    stages = document.data.get("stages")
    if path[0] == "stages" and isinstance(stages, dict) and len(path) > 1 and path[1] not in stages:
        problems.append(
            Problem(
                Mark(_OVERRIDE),
                key,
                f"there is no stage {path[1]!r}",
                did_you_mean(path[1], stages, otherwise=f"the stages are {', '.join(stages)}"),
            )
        )
        return
    for depth in range(1, len(path)):
        if isinstance(document.at(path[:depth]), list):
            example = f"-c {'.'.join(path[:depth])}='[…, …]'"
            problems.append(Problem(Mark(_OVERRIDE), key, "an item of a list cannot be set by itself", f"give the whole list: {example}"))
            return
    document.set(path, _override_value(text), Mark(_OVERRIDE))


def _override_value(text: str) -> Any:
    """Return what the text of an override means: a YAML value, or the text itself where it is none.

    A shell user writes globs and templates without quotes, which YAML would take for aliases and mappings.
    """
    if not text.strip():
        return None
    if re.match(r"\{\w+\}", text.strip()):
        return text.strip()
    try:
        return strict_yaml.load(text, _OVERRIDE).data
    except PipelineError:
        return text


class _Checker:
    """Turns a document into a Pipeline, collecting every problem on the way."""

    def __init__(self, document: Document, registry: Registry, bases: Mapping[str, str], name: str, problems: list[Problem]) -> None:
        self.document, self.registry, self.bases, self.name = document, registry, bases, name
        self.problems = problems
        self.files: list[tuple[Mark, str, str]] = []
        self.values: dict[str, Any] = document.data

    def report(self, path: Iterable[str | int], message: str, hint: str = "") -> None:
        path = tuple(path)
        self.problems.append(Problem(self.document.mark(path), ".".join(map(str, path)), message, hint))

    def pipeline(self) -> Pipeline:
        title, seed = self.head()
        options = settings.validate(RunOptions, self.mapping("run"), lambda p, m, h: self.report(("run", *p), m, h))
        spec = self.tiles()
        nodes = self.stages()
        if self.problems:
            raise PipelineError(self.problems)
        return Pipeline(nodes, spec, seed, options, title, self.name, self.registry, self.document.mark(("tiles",)), tuple(self.files))

    def head(self) -> tuple[str, int]:
        values = self.values
        for key in values:
            if key not in SECTIONS:
                self.report((key,), "unknown section", did_you_mean(key, SECTIONS, otherwise=f"the sections are {', '.join(SECTIONS)}"))
        grammar = values.get("astrosurvey")
        if type(grammar) is not int or grammar < 1:
            said = "is missing" if grammar is None else f"must be {GRAMMAR}, not {grammar!r}"
            self.report(("astrosurvey",), f"the grammar version {said}", f"begin the file with `astrosurvey: {GRAMMAR}`")
        elif grammar > GRAMMAR:
            self.report(
                ("astrosurvey",), f"the file is written for grammar {grammar}, this astrosurvey reads {GRAMMAR}", "upgrade astrosurvey"
            )
        title, seed = values.get("title", self.name), values.get("seed", 0)
        if not isinstance(title, str):
            self.report(("title",), f"must be a string, not {title!r}", "quote it")
        if type(seed) is not int or not 0 <= seed < 2**63:
            self.report(("seed",), f"must be an integer from 0 to 2^63 - 1, not {seed!r}", "for example seed: 20261120")
        return title, seed

    def mapping(self, section: str) -> dict[str, Any]:
        value = self.values.get(section)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.report((section,), f"must be a mapping, not {value!r}", f"write {section}: {{…}}")
            return {}
        return value

    def tiles(self) -> tiling.TilesSpec:
        spec, errors = tiling.parse_spec(self.values.get("tiles"))
        for place, detail in errors:
            message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            hint = 'for example tiles: "tiles/*_r.fits"'
            if isinstance(self.values["tiles"], dict) and place:
                known = tiling.form_of(self.values["tiles"]).model_fields
                message = "unknown setting" if detail["type"] == "extra_forbidden" else message
                hint = did_you_mean(str(place[-1]), known, otherwise=f"it has {', '.join(known)}")
                if place[-1] in known:
                    hint = f"{place[-1]}: {known[place[-1]].description}"
            self.report(("tiles", *place), message, hint)
        if errors:
            return None
        if isinstance(spec, tiling.Cut):
            return spec.model_copy(update={"image": self.absolute(("tiles", "image"), spec.image)})
        if isinstance(spec, tiling.Blocks):
            return spec.model_copy(update={"file": self.absolute(("tiles", "file"), spec.file)})
        if isinstance(spec, str):
            # The folder of the pipeline file is a name, not a pattern, whatever characters are in it.
            literal = spec.lower().endswith(".csv")
            return self.absolute(("tiles",), spec, base_as=str if literal else glob.escape)
        return spec

    def absolute(self, place: tuple[str | int, ...], path: str, base_as: Callable[[str], str] = str) -> str:
        base = self.bases.get(self.document.mark(place).file, next(iter(self.bases.values())))
        try:
            return settings.expand(path, base_as(base))
        except settings.UnsetVariable as error:
            key = ".".join(map(str, place[1:] if place[0] == "stages" else place))
            message = f"the environment variable {error} in {path!r} is not set"
            self.report(place, message, f"export {error}=…, or give the path with -c {key}=…")
            return path

    def file(self, place: tuple[str | int, ...], path: str) -> str:
        found = self.absolute(place, path)
        self.files.append((self.document.mark(place), ".".join(map(str, place)), found))
        return found

    def stages(self) -> dict[str, Node]:
        declared = self.mapping("stages")
        if not declared:
            self.report(("stages",), "the pipeline has no stages", "add one, such as `image: {use: io.image, path: a.fits, bands: [r]}`")
        nodes = {name: node for name, value in declared.items() if (node := self.node(name, value)) is not None}
        unsound = frozenset(declared) - frozenset(nodes)
        for name, node in nodes.items():
            wiring.wire(
                node,
                declared[name].get("in"),
                nodes,
                unsound=unsound,
                models=self.registry.models,
                report=partial(self.below, name),
            )
        order = wiring.order(nodes, lambda stage, message, hint: self.report(("stages", stage, "in"), message, hint))
        for name in order:
            report = partial(self.below, name)
            wiring.check_types(nodes[name], nodes, report)
            wiring.check_settings(nodes[name], nodes, report)
        return {name: nodes[name] for name in order}

    def below(self, stage: str, path: tuple[str | int, ...], message: str, hint: str = "") -> None:
        self.report(("stages", stage, *path), message, hint)

    def node(self, name: str, value: Any) -> Node | None:
        before = len(self.problems)
        path = ("stages", name)
        if not _STAGE_NAME.fullmatch(name):
            self.report(path, f"{name!r} cannot be a stage's name", "use lower-case letters, digits and _, beginning with a letter")
        if not isinstance(value, dict):
            self.report(path, f"must be a mapping, not {value!r}", "write it as {use: family.method, in: …}")
            return None
        use = value.get("use")
        cls = self.registry.stages.get(use) if isinstance(use, str) else None
        if cls is None:
            self.unknown_stage(path, value, use)
            return None
        given = {key: item for key, item in value.items() if key not in ("use", "in")}
        help_is_at = f"see `astrosurvey stages {cls.name}`"
        config = settings.validate(cls.Config, given, lambda p, m, h: self.report((*path, *p), m, h or help_is_at))
        if config is not None:
            config = config.with_paths(lambda place, text: self.file((*path, *place), text))
        # A stage with wrong settings still offers its ports, so that its neighbours are judged too.
        return Node(name, cls, config) if config is not None or len(self.problems) > before else None

    def unknown_stage(self, path: tuple[str, ...], value: dict[str, Any], use: Any) -> None:
        if use is None:
            near = next((did_you_mean(key, ["use"]) for key in value if did_you_mean(key, ["use"])), "")
            self.report(path, "it does not say which stage to `use`", near or "add use: family.method")
        elif not isinstance(use, str):
            self.report((*path, "use"), f"must be a stage's name, not {use!r}", "`astrosurvey stages` lists them")
        else:
            broken = "; ".join(map(str, self.registry.broken))
            near = did_you_mean(use, self.registry.stages, otherwise="`astrosurvey stages` lists the stages there are")
            self.report((*path, "use"), f"there is no stage {use!r}", f"{near} ({broken})" if broken else near)


__all__ = ["DefaultModel", "Node", "Pipeline", "RunOptions", "Wire"]
