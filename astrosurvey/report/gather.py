"""What a run directory says about its run, however the run ended and whatever is missing from it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..core import yaml
from ..core.events import read_log
from ..core.history import History
from ..core.problems import PipelineError
from ..core.store import Record, Store, Stored

_FACTS = ("seconds", "cpu_seconds", "peak_bytes", "device", "gpu", "attempt", "warnings")
WITH_PRODUCTS = frozenset({"done", "cached", "empty"})


@dataclass(frozen=True)
class FailedTask:
    """What `failures/<stage>/<tile>/` tells about a task; what is long is read when it is asked for."""

    stage: str
    tile: str
    kind: str
    message: str
    attempts: int
    folder: Path

    @property
    def traceback(self) -> str:
        """Where in the stage it went wrong."""
        try:
            return str(json.loads((self.folder / "error.json").read_bytes()).get("traceback", ""))
        except (OSError, ValueError, AttributeError):
            return ""

    @property
    def command(self) -> str:
        """The command line that runs the task alone: what is left of its script without comments."""
        try:
            lines = (self.folder / "reproduce.sh").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(line for line in lines if line.strip() and not line.startswith("#"))


@dataclass
class Run:
    """A run directory, read once.

    Tasks are named (stage, tile), with "survey" in the tile's place at survey scope.

    Attributes:
        about: the content of run.json.
        pipeline: the resolved pipeline.
        text: the resolved pipeline as it is stored.
        history: what the events of the last run tell.
        records: the records of the tasks whose products are up to date.
        failed: the failures that still stand.
        problems: what could not be read, in words.
    """

    root: Path
    about: dict[str, Any] = field(default_factory=dict)
    pipeline: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    history: History = field(default_factory=History)
    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    failed: list[FailedTask] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _products: dict[str, list[tuple[str, str, Stored, Path]]] = field(default_factory=dict)

    @cached_property
    def store(self) -> Store:
        """The run directory as the core sees it."""
        return Store(self.root)

    @cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        """The settings of each stage, in pipeline order; of a run without a readable pipeline, what products there are."""
        declared = self.pipeline.get("stages")
        if isinstance(declared, dict) and declared:
            return {str(name): value if isinstance(value, dict) else {} for name, value in declared.items()}
        return {name: {} for name in dict.fromkeys(stage for stage, _ in [*self.records, *((f.stage, f.tile) for f in self.failed)])}

    @cached_property
    def states(self) -> dict[tuple[str, str], str]:
        """The state of every task that anything is known of."""
        states = {name: record.state for name, record in self.records.items()}
        states |= {(failure.stage, failure.tile): "failed" for failure in self.failed}
        return states | self.history.states

    @property
    def _complete(self) -> bool:
        """Whether the last run came to its end, and so has said the state of every task it has."""
        return self.history.exit_code in (0, 1)

    def counts(self, stage: str) -> Counter[str]:
        """Return how many tasks of a stage are in each state; those that nothing is known of are pending."""
        counts = self._counts.get(stage, Counter()).copy()
        missing = self.history.expected.get(stage, 0) - counts.total()
        if missing > 0:
            counts["pending"] += missing
        return counts

    @cached_property
    def _counts(self) -> dict[str, Counter[str]]:
        counts: dict[str, Counter[str]] = {}
        for (stage, _), state in self.states.items():
            counts.setdefault(stage, Counter())[state] += 1
        return counts

    def tiles_of(self, stage: str) -> list[str]:
        """Return the tiles of a stage that have a record, in tile order."""
        return self._tiles.get(stage, [])

    @cached_property
    def _tiles(self) -> dict[str, list[str]]:
        tiles: dict[str, list[str]] = {}
        for stage, tile in self.records:
            tiles.setdefault(stage, []).append(tile)
        order = {tile: place for place, (_, tile) in enumerate(self.history.states)}
        for names in tiles.values():
            names.sort(key=lambda tile: (order.get(tile, len(order)), tile))
        return tiles

    def products(self, stage: str) -> list[tuple[str, str, Stored, Path]]:
        """Return (tile, port, what is recorded of it, its path) of every product of a stage; it is read from `store.get(path)`."""
        if stage not in self._products:
            folders = ((tile, self.store.folder(stage, tile)) for tile in self.tiles_of(stage))
            self._products[stage] = [
                (tile, port, stored, folder / stored.file)
                for tile, folder in folders
                for port, stored in self.records[stage, tile].outputs.items()
            ]
        return self._products[stage]

    def inputs(self, stage: str) -> dict[str, str]:
        """Return where a stage's inputs come from: {port: "stage.port"}."""
        wires = self.stages.get(stage, {}).get("in")
        return {str(port): str(source) for port, source in wires.items()} if isinstance(wires, dict) else {}

    @property
    def title(self) -> str:
        """The pipeline's title, or the folder's name."""
        return str(self.about.get("title") or self.pipeline.get("title") or self.root.resolve().name)


def gather(root: Path) -> Run:
    """Return what a run directory holds; what cannot be read is listed in `problems`."""
    run = Run(root)
    run.about = _json(run, "run.json")
    broken = run.about.get("broken_plugins")
    run.problems += map(str, broken) if isinstance(broken, list) else []
    run.text, run.pipeline = _pipeline(run)
    run.history = _history(run)
    failed = {(f.stage, f.tile): f for f in _failures(run)}
    declared = set(run.pipeline.get("stages") or {}) if isinstance(run.pipeline.get("stages"), dict) else set()
    said, shared = run.history.states, dict[str, Any]()
    unsaid = "gone" if run._complete else "done"
    for stage, tile in run.store.published():
        # A run directory outlives pipelines: what the last run did not count as its own is left out.
        if (declared and stage not in declared) or said.get((stage, tile), unsaid) not in WITH_PRODUCTS:
            continue
        record = run.store.record(stage, tile)
        if record is None:
            where = run.store.folder(stage, tile).relative_to(root)
            run.problems.append(f"{where}/task.json cannot be read")
        else:
            run.records[stage, tile] = _slim(record, shared)
    for name, failure in failed.items():
        if name not in run.records and (not declared or failure.stage in declared) and (name in said or not run._complete):
            run.failed.append(failure)
    return run


def _json(run: Run, name: str) -> dict[str, Any]:
    try:
        value = json.loads((run.root / name).read_bytes())
    except FileNotFoundError:
        run.problems.append(f"{name} is missing")
        return {}
    except (OSError, ValueError) as error:
        run.problems.append(f"{name} cannot be read: {error}")
        return {}
    if not isinstance(value, dict):
        run.problems.append(f"{name} does not hold what it should")
        return {}
    return value


def _pipeline(run: Run) -> tuple[str, dict[str, Any]]:
    try:
        text = (run.root / "pipeline.yaml").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        run.problems.append(f"pipeline.yaml cannot be read: {getattr(error, 'strerror', None) or error}")
        return "", {}
    try:
        value = yaml.load(text, "pipeline.yaml").data
    except PipelineError as error:
        run.problems.append(f"pipeline.yaml is not a pipeline: {error}")
        return text, {}
    return text, value if isinstance(value, dict) else {}


def _history(run: Run) -> History:
    try:
        return History.of(read_log(run.root / "events.jsonl"))
    except FileNotFoundError:
        return History()
    except OSError as error:
        run.problems.append(f"events.jsonl cannot be read: {error.strerror or error}")
        return History()


def _slim(record: Record, shared: dict[str, Any]) -> Record:
    """Return a record with what the report tells of it alone, and values that others have too only once in memory."""

    def once(values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {
            sys.intern(key): value if isinstance(value, int | float) else shared.setdefault(json.dumps(value), value)
            for key, value in values.items()
        }

    facts = {key: record.facts[key] for key in _FACTS if key in record.facts} if isinstance(record.facts, dict) else record.facts
    fields = {"tile": record.fields.get("tile")} if isinstance(record.fields, dict) else record.fields
    outputs = {sys.intern(port): replace(stored, summary=once(stored.summary)) for port, stored in record.outputs.items()}
    return Record(record.key, fields, record.state, outputs, once(facts))


def _failures(run: Run) -> Iterator[FailedTask]:
    for stage, tile in run.store.failures():
        folder = run.store.failure_folder(stage, tile)
        try:
            error = json.loads((folder / "error.json").read_bytes())
            kind, message, attempts = str(error["kind"]), str(error["message"]), int(error["attempts"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            run.problems.append(f"{folder.relative_to(run.root)}/error.json cannot be read")
            kind, message, attempts = "unknown", "the record of the failure cannot be read", 0
        yield FailedTask(stage, tile, kind, message, attempts, folder)
