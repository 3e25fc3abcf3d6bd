"""Tasks, their content keys and their states: what is done, what would run, and why."""

from __future__ import annotations

import fnmatch
import hashlib
import heapq
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from .digests import FileDigests, digest_of
from .pipeline import Pipeline
from .problems import Mark, PipelineError, Problem, did_you_mean
from .settings import keyed_settings
from .stage import DataError, Stage
from .store import Record, Store
from .tiles import Tile
from .tiling import SURVEY
from .wiring import DefaultModel, Node, Wire


class State(StrEnum):
    """What has become of a task."""

    DONE = "done"
    CACHED = "cached"
    EMPTY = "empty"
    FAILED = "failed"
    BLOCKED = "blocked"
    PENDING = "pending"
    RUN = "run"
    """In a plan: would run."""
    MAYBE = "maybe"
    """In a plan: would run unless the tasks before it give the same bytes as last time."""


_WITH_PRODUCTS = (State.DONE, State.CACHED)
_UNKNOWN = (State.RUN, State.MAYBE)


@dataclass(eq=False, slots=True)
class Task:
    """One stage on one tile, or on the survey when `tile` is None."""

    node: Node
    tile: Tile | None
    rank: int
    state: State = State.PENDING
    record: Record | None = None
    key: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    waiting: int = 0
    attempts: int = 0
    selected: bool = True

    @property
    def name(self) -> tuple[str, str | None]:
        """The stage's name in the pipeline and the tile's name."""
        return self.node.name, self.tile.name if self.tile else None

    def __str__(self) -> str:
        return f"{self.node.name}/{self.tile.name if self.tile else SURVEY}"

    def __lt__(self, other: Task) -> bool:
        return self.priority < other.priority

    @property
    def priority(self) -> tuple[int, int]:
        """Depth first: a tile is finished before the next is begun; survey tasks go first of all."""
        return (self.tile.index if self.tile else -1, self.rank)


@dataclass(frozen=True)
class Selection:
    """Which tasks may run; the products of the others are used as they are.

    Attributes:
        first, last: run no stage that is not `first` or after it, or `last` or before it.
        only: run these stages alone.
        tiles: run tiles whose name matches this pattern alone (survey-scope tasks are not affected).
        rerun: run these stages again even if they are up to date.
        failed_only: run only what failed last time, and what depends on it.
    """

    first: str | None = None
    last: str | None = None
    only: tuple[str, ...] = ()
    tiles: str | None = None
    rerun: tuple[str, ...] = ()
    failed_only: bool = False


class Plan:
    """Every task of a pipeline over its tiles, and what is known of it.

    Tasks become ready when all they depend on is settled. `pop_ready` gives them out depth first, `decide`
    computes a task's key and looks for its record, and `settle` tells the plan how it ended.
    """

    def __init__(self, pipeline: Pipeline, store: Store, selection: Selection = Selection(), *, verify: bool = False) -> None:
        self.pipeline, self.store, self.selection, self.verify = pipeline, store, selection, verify
        self.tiles = pipeline.tiles()
        self.digests = FileDigests(store.root / "digests.json", trust=not verify)
        self.tasks: dict[tuple[str, str | None], Task] = {}
        self.children: dict[str, list[str]] = {name: [] for name in pipeline.nodes}
        self._ready: list[Task] = []
        stages, tiles = self._selected_stages(), self._selected_tiles()
        for rank, node in enumerate(pipeline.nodes.values()):
            for parent in node.parents():
                self.children[parent].append(node.name)
            for tile in self.tiles if node.cls.scope == "tile" else [None]:
                selected = node.name in stages and (tile is None or tile.name in tiles)
                task = Task(node, tile, rank, selected=selected)
                task.waiting = sum(1 for _ in self.parents(task, planned=False))
                self.tasks[task.name] = task
        if selection.failed_only:
            self._select_failed()
        self._ready = [task for task in self.tasks.values() if not task.waiting]
        heapq.heapify(self._ready)

    def parents(self, task: Task, *, planned: bool = True) -> Iterator[Any]:
        """Yield the tasks (or, before they are planned, their names) that a task takes products from."""
        for stage in task.node.parents():
            if self.pipeline.nodes[stage].cls.scope == "survey":
                names: Iterable[tuple[str, str | None]] = [(stage, None)]
            elif task.tile is not None:
                names = [(stage, task.tile.name)]
            else:
                names = ((stage, tile.name) for tile in self.tiles)
            for name in names:
                yield self.tasks[name] if planned else name

    def pop_ready(self) -> Task | None:
        """Return the most urgent task that can be decided upon, or None while there is none."""
        return heapq.heappop(self._ready) if self._ready else None

    def settle(self, task: Task, state: State, *, record: Record | None = None, reason: str = "") -> None:
        """Record how a task ended, and make ready what was waiting for it."""
        task.state, task.reason = state, reason
        if record is not None:
            task.record = record
        for stage in self.children[task.node.name]:
            scope = self.pipeline.nodes[stage].cls.scope
            names: Iterable[tuple[str, str | None]]
            if scope == "survey":
                names = [(stage, None)]
            else:
                names = [(stage, task.tile.name)] if task.tile else [(stage, tile.name) for tile in self.tiles]
            for name in names:
                child = self.tasks[name]
                child.waiting -= 1
                if not child.waiting:
                    heapq.heappush(self._ready, child)

    def decide(self, task: Task) -> State:
        """Return the state a ready task is in before anything is run: RUN when it has to be run.

        Sets the task's key and its fields where its inputs are known.
        """
        verdict = self._from_parents(task)
        if verdict is not None:
            task.reason = verdict[1]
            return verdict[0]
        try:
            task.fields = self._fields(task)
        except DataError as error:
            task.reason = str(error)
            return State.FAILED if task.selected else State.PENDING
        task.key = digest_of(task.fields)
        rerun = task.selected and task.node.name in self.selection.rerun
        record = self.store.record(*task.name)
        if record and record.key == task.key and not rerun and self.store.is_sound(*task.name, record, verify=self.verify):
            task.record = record
            return State.EMPTY if record.state == "empty" else State.CACHED
        task.reason = "" if task.selected else "not selected, and not up to date"
        return State.RUN if task.selected else State.PENDING

    def _from_parents(self, task: Task) -> tuple[State, str] | None:
        """Return the verdict that a task's parents pass on it, if they do."""
        parents = list(self.parents(task))
        gathered = {w.stage for port, w in task.node.wires.items() if isinstance(w, Wire) and task.node.inputs[port].gather}
        plain = [p for p in parents if p.node.name not in gathered or p.tile is None]
        usable = {p.node.name for p in parents if p.node.name in gathered and p.state in (*_WITH_PRODUCTS, *_UNKNOWN)}
        broken = [p for p in plain if p.state in (State.FAILED, State.BLOCKED, State.PENDING)]
        if broken:
            said = f"{broken[0]} {'is not up to date and not selected' if broken[0].state is State.PENDING else f'is {broken[0].state}'}"
            return (State.BLOCKED if task.selected else State.PENDING), said
        if any(p.state is State.EMPTY for p in plain):
            return State.EMPTY, "nothing came from the stage before"
        for stage in sorted(gathered - usable - {p.node.name for p in plain}):
            if all(p.state is State.EMPTY for p in parents if p.node.name == stage):
                return State.EMPTY, f"no tile has work from {stage}"
            return State.BLOCKED, f"no tile of {stage} is done"
        if any(p.state in _UNKNOWN for p in parents):
            return (State.MAYBE, "depends on tasks that would run") if task.selected else (State.PENDING, "not selected")
        return None

    def _fields(self, task: Task) -> dict[str, Any]:
        """Return what a task's content key is made from.

        Raises:
            DataError: a file it reads is not there.
        """
        node = task.node
        try:
            files = node.cls.external_files(node.config, task.tile)
        except KeyError as error:
            raise DataError(f"stages.{node.name}: {error.args[0]}") from None
        return {
            "stage": [node.name, node.cls.name],
            "version": node.cls.version,
            "source": source_digest(node.cls, self._package(node)),
            "config": keyed_settings(node.config),
            "inputs": {port: self._input_digest(task, port) for port in node.wires},
            "files": [self.digests.digest(path) for path in files],
            "seed": self.pipeline.seed,
            "tile": task.tile.identity() if task.tile else None,
        }

    def _package(self, node: Node) -> str:
        origin = self.pipeline.registry.origins.get(("stages", node.cls.name))
        return origin.package if origin else node.cls.__module__.partition(".")[0]

    def _input_digest(self, task: Task, port: str) -> Any:
        source = task.node.wires[port]
        if isinstance(source, DefaultModel):
            return self.digests.digest(str(self.pipeline.registry.models[source.name]))
        if source is None:
            return None
        found = [(name, record.outputs[source.port].sha256) for (_, name), record in self.sources(task, source)]
        if task.node.inputs[port].gather:
            return [[name or SURVEY, sha256] for name, sha256 in found]
        return found[0][1]

    def sources(self, task: Task, wire: Wire) -> list[tuple[tuple[str, str | None], Record]]:
        """Return the (stage, tile) and the record of every product behind a wire, in tile order."""
        parents = (p for p in self.parents(task) if p.node.name == wire.stage and p.state in _WITH_PRODUCTS)
        return [(p.name, p.record) for p in parents if p.record is not None]

    def preview(self) -> Counter[tuple[str, State]]:
        """Settle every task without running any; return how many of each stage are in each state."""
        counts: Counter[tuple[str, State]] = Counter()
        while (task := self.pop_ready()) is not None:
            state = self.decide(task)
            self.settle(task, state, reason=task.reason)
            counts[task.node.name, state] += 1
        return counts

    def explain(self, stage: str, tile: str | None) -> tuple[Task, list[str]]:
        """Return a task of a previewed plan, and in words what changed since its record was made.

        Raises:
            KeyError: there is no such task.
        """
        task = self.tasks[stage, tile]
        old = self.store.record(stage, tile)
        if task.state is State.MAYBE:
            return task, [line for root in self._roots(task) for line in (f"{root} runs first:", *self.explain(*root.name)[1])]
        if old is None:
            return task, ["it has never been run" if task.fields else task.reason]
        if not task.fields:
            return task, [task.reason]
        changes = [f"{path}: {_short(before)} → {_short(after)}" for path, before, after in _differences(old.fields, task.fields)]
        if not changes and not self.store.is_sound(stage, tile, old, verify=True):
            changes = ["its products are missing or damaged"]
        return task, changes or ["nothing: it is up to date"]

    def _roots(self, task: Task) -> list[Task]:
        """Return the tasks upstream of a MAYBE task that are the first to run."""
        found: dict[tuple[str, str | None], Task] = {}
        for parent in self.parents(task):
            if parent.state is State.RUN:
                found[parent.name] = parent
            elif parent.state is State.MAYBE:
                found.update((root.name, root) for root in self._roots(parent))
        return list(found.values())

    def _selected_stages(self) -> set[str]:
        nodes = self.pipeline.nodes
        for name in filter(None, (self.selection.first, self.selection.last, *self.selection.only, *self.selection.rerun)):
            if name not in nodes:
                hint = did_you_mean(name, nodes, otherwise=f"the stages are {', '.join(nodes)}")
                raise PipelineError([Problem(Mark("command line"), name, f"there is no stage {name!r}", hint)])
        selected = set(self.selection.only or nodes)
        if self.selection.first:
            selected &= self._closure(self.selection.first, down=True)
        if self.selection.last:
            selected &= self._closure(self.selection.last, down=False)
        return selected

    def _closure(self, start: str, *, down: bool) -> set[str]:
        """Return a stage with all that depends on it, or with all that it depends on."""
        found = {start}
        names = list(self.pipeline.nodes)
        for name in names if down else reversed(names):
            node = self.pipeline.nodes[name]
            if down and found & set(node.parents()):
                found.add(name)
            elif not down and name in found:
                found |= set(node.parents())
        return found

    def _selected_tiles(self) -> set[str]:
        names = [tile.name for tile in self.tiles]
        if self.selection.tiles is None:
            return set(names)
        matching = set(fnmatch.filter(names, self.selection.tiles))
        if not matching:
            hint = did_you_mean(self.selection.tiles, names[:1000], otherwise=f"the first of {len(names)} tiles is {names[0]}")
            raise PipelineError([Problem(Mark("command line"), "--tiles", f"no tile matches {self.selection.tiles!r}", hint)])
        return matching

    def _select_failed(self) -> None:
        failed = {(stage, None if tile == SURVEY else tile) for stage, tile in self.store.failures()}
        for stage in self.pipeline.nodes:
            for name, task in self.tasks.items():
                if name[0] == stage and name not in failed and not any(p.name in failed for p in self.parents(task)):
                    task.selected = False
                elif name[0] == stage:
                    failed.add(name)


def source_digest(cls: type[Stage], package: str) -> str | None:
    """Return a digest of the Python source of a stage whose package is installed editable, else None.

    A stage being worked on changes without its version; so its source counts, with all it may import from
    its own package. Of astrosurvey itself it is the folder of the stages.
    """
    if not _is_editable(package):
        return None
    parts = cls.__module__.split(".")
    root = sys.modules.get(".".join(parts[:2] if parts[0] == "astrosurvey" else parts[:1]))
    source = getattr(root, "__file__", None)
    if source is None:
        return None
    return _source_digest(Path(source).parent if hasattr(root, "__path__") else Path(source))


@cache
def _source_digest(path: Path) -> str:
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return digest_of([[f.name, hashlib.sha256(f.read_bytes()).hexdigest()] for f in files])


@cache
def _is_editable(package: str) -> bool:
    try:
        text = distribution(package).read_text("direct_url.json")
    except PackageNotFoundError:
        return False
    return bool(text) and bool(json.loads(text or "{}").get("dir_info", {}).get("editable"))


def _differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, before, after) for every leaf in which two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _differences(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))
    elif before != after:
        yield path, before, after


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return text if len(text) <= 60 else f"{text[:57]}…"
