"""Tasks, their content keys and their states: what is done, what would run, and why."""

from __future__ import annotations

import fnmatch
import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .digests import FileDigests, digest_of
from .keys import Keys
from .pipeline import Pipeline
from .problems import Mark, PipelineError, Problem, did_you_mean
from .stage import DataError
from .store import Record, Store
from .tiles import Tile
from .tiling import SURVEY
from .wiring import Node, Wire


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
    """One stage on one tile, or on the survey when `tile` is None.

    There may be a million of them. So `fields`, what the key was made from, is there only until the task is settled; of the
    record there is then no more than tells its products.

    Attributes:
        priority: the lowest goes first.
    """

    node: Node
    tile: Tile | None
    priority: int
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

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        selection: Selection = Selection(),
        *,
        verify: bool = False,
        tiles: Sequence[Tile] | None = None,
    ) -> None:
        self.pipeline, self.store, self.selection, self.verify = pipeline, store, selection, verify
        self.tiles = pipeline.tiles() if tiles is None else tiles
        self.digests = FileDigests(store.root / "digests.json", trust=not verify)
        self.keys = Keys(pipeline, self.digests)
        self.tasks: dict[tuple[str, str | None], Task] = {}
        self.children: dict[str, list[str]] = {name: [] for name in pipeline.nodes}
        self._parents = {name: node.parents() for name, node in pipeline.nodes.items()}
        self._ready: list[Task] = []
        stages, selected_tiles = self._selected_stages(), self._selected_tiles()
        for rank, node in enumerate(pipeline.nodes.values()):
            for parent in self._parents[node.name]:
                self.children[parent].append(node.name)
            for tile in self.tiles if node.cls.scope == "tile" else [None]:
                selected = node.name in stages and (tile is None or tile.name in selected_tiles)
                # Depth first: a tile is finished before the next is begun; survey tasks go first of all.
                task = Task(node, tile, (tile.index + 1 if tile else 0) * len(pipeline.nodes) + rank, selected=selected)
                task.waiting = sum(len(self._behind(parent, tile)) for parent in self._parents[node.name])
                self.tasks[task.name] = task
        if selection.failed_only:
            self._select_failed()
        self._ready = [task for task in self.tasks.values() if not task.waiting]
        heapq.heapify(self._ready)

    def parents(self, task: Task) -> Iterator[Task]:
        """Yield the tasks that a task takes products from."""
        for stage in self._parents[task.node.name]:
            yield from self._tasks(stage, task.tile)

    def _tasks(self, stage: str, tile: Tile | None) -> Iterator[Task]:
        """Yield the tasks of a stage that a task on a tile (None: on the survey) depends on, or that depend on it."""
        return (self.tasks[stage, other.name if other else None] for other in self._behind(stage, tile))

    def _behind(self, stage: str, tile: Tile | None) -> Sequence[Tile | None]:
        if self.pipeline.nodes[stage].cls.scope == "survey":
            return (None,)
        return (tile,) if tile is not None else self.tiles

    def pop_ready(self) -> Task | None:
        """Return the most urgent task that can be decided upon, or None while there is none."""
        return heapq.heappop(self._ready) if self._ready else None

    def settle(self, task: Task, state: State, *, record: Record | None = None, reason: str = "") -> None:
        """Record how a task ended, and make ready what was waiting for it."""
        task.state, task.reason, task.fields = state, reason, {}
        if record is not None:
            task.record = record
        if task.record is not None:
            task.record = task.record.slim()
        for stage in self.children[task.node.name]:
            for child in self._tasks(stage, task.tile):
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
            task.fields = self.fields(task)
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
        if all(p.state in _WITH_PRODUCTS for p in parents):
            return None
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

    def fields(self, task: Task) -> dict[str, Any]:
        """Return what the key of a task is made from, as far as what it depends on is settled.

        Raises:
            DataError: a file it reads is not there.
        """

        def found(wire: Wire) -> list[tuple[str | None, str]]:
            return [(tile, record.outputs[wire.port].sha256) for (_, tile), record in self.sources(task, wire)]

        return self.keys.fields(task.node, task.tile, found)

    def sources(self, task: Task, wire: Wire) -> list[tuple[tuple[str, str | None], Record]]:
        """Return the (stage, tile) and the record of every product behind a wire, in tile order."""
        parents = self._tasks(wire.stage, task.tile)
        return [(p.name, p.record) for p in parents if p.state in _WITH_PRODUCTS and p.record is not None]

    def preview(self) -> Counter[tuple[str, State]]:
        """Settle every task without running any; return how many of each stage are in each state."""
        counts: Counter[tuple[str, State]] = Counter()
        while (task := self.pop_ready()) is not None:
            state = self.decide(task)
            self.settle(task, state, reason=task.reason)
            counts[task.node.name, state] += 1
        return counts

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
        for name, task in self.tasks.items():  # parents first, as the stages are
            if name not in failed and not any(p.name in failed for p in self.parents(task)):
                task.selected = False
            else:
                failed.add(name)
