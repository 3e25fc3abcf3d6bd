"""One card a stage: what it did, what it cost, what it warned of and what went wrong."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..core.store import Stored
from ..core.tiling import SURVEY
from . import text
from .gather import FailedTask, Run

STATES = ("done", "cached", "empty", "failed", "blocked", "pending", "running")
MOST_GROUPS = 12


@dataclass(frozen=True)
class Group:
    """Messages that differ only in numbers and in the tile they speak of."""

    count: int
    example: str
    where: str
    command: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class Flow:
    """The products of one port over all tiles.

    Attributes:
        source: for an input, "stage.port".
        facts: (name, value) pairs in words.
    """

    port: str
    kind: str
    number: int
    bytes: int
    rows: int | None
    facts: list[tuple[str, str]]
    source: str = ""


@dataclass(frozen=True)
class Card:
    """What the report says of one stage."""

    name: str
    use: str
    states: list[tuple[str, int]]
    total: int
    measures: list[tuple[str, str]]
    seconds: float
    inputs: list[Flow]
    outputs: list[Flow]
    warnings: list[Group] = field(default_factory=list)
    failures: list[Group] = field(default_factory=list)
    hidden: int = 0

    @property
    def failed(self) -> bool:
        """Whether anything went wrong."""
        return bool(self.failures)


def cards(run: Run) -> list[Card]:
    """Return a card for each stage of a run, in pipeline order."""
    outputs = {stage: _outputs(run, stage) for stage in run.stages}
    return [_card(run, stage, outputs) for stage in run.stages]


def _card(run: Run, stage: str, outputs: dict[str, list[Flow]]) -> Card:
    counts = run.counts(stage)
    facts = [run.records[stage, tile].facts for tile in run.tiles_of(stage)]
    facts = [f for f in facts if isinstance(f, dict)]
    seconds = _numbers(facts, "seconds")
    warned, warnings = _grouped((str(w), tile) for tile in run.tiles_of(stage) for w in _list(run.records[stage, tile].facts, "warnings"))
    failing, failures = _failures([f for f in run.failed if f.stage == stage])
    known = [(state, counts[state]) for state in STATES if counts[state]]
    known += sorted((state, number) for state, number in counts.items() if state not in STATES and number)
    return Card(
        name=stage,
        use=str(run.stages[stage].get("use", "")),
        states=known,
        total=counts.total(),
        measures=_measures(facts, seconds, run.history.retries[stage]),
        seconds=sum(seconds),
        inputs=_inputs(run, stage, outputs),
        outputs=outputs[stage],
        warnings=warnings,
        failures=failures,
        hidden=warned - len(warnings) + failing - len(failures),
    )


def _measures(facts: list[dict[str, Any]], seconds: list[float], retries: int) -> list[tuple[str, str]]:
    measures = []
    if seconds:
        measures.append(("time", text.duration(sum(seconds))))
        if len(seconds) > 1:
            measures.append(("median · longest", f"{text.duration(statistics.median(seconds))} · {text.duration(max(seconds))}"))
    cpu, peak = _numbers(facts, "cpu_seconds"), _numbers(facts, "peak_bytes")
    if cpu:
        measures.append(("CPU", text.duration(sum(cpu))))
    if peak:
        measures.append(("peak memory", text.size(max(peak))))
    devices = sorted({str(f["device"]) for f in facts if f.get("device")})
    if devices:
        measures.append(("device", ", ".join(devices)))
    gpus = sorted({str(f["gpu"]) for f in facts if f.get("device") == "cuda" and f.get("gpu")})
    if gpus:
        measures.append(("visible GPUs", " · ".join(gpus)))
    if retries:
        measures.append(("retries", text.number(retries)))
    return measures


def _outputs(run: Run, stage: str) -> list[Flow]:
    ports: dict[str, list[Stored]] = {}
    for _, port, stored, _ in run.products(stage):
        ports.setdefault(port, []).append(stored)
    return [_flow(port, stored) for port, stored in ports.items()]


def _inputs(run: Run, stage: str, outputs: dict[str, list[Flow]]) -> list[Flow]:
    known = {f"{name}.{flow.port}": flow for name, flows in outputs.items() for flow in flows}
    found = [(port, source, known.get(source)) for port, source in run.inputs(stage).items()]
    return [Flow(port, flow.kind, flow.number, flow.bytes, flow.rows, [], source) for port, source, flow in found if flow]


def _flow(port: str, stored: list[Stored]) -> Flow:
    summaries = [s.summary for s in stored if isinstance(s.summary, dict)]
    counted = [s["rows"] for s in summaries if type(s.get("rows")) is int]
    return Flow(
        port=port,
        kind=stored[0].kind,
        number=len(stored),
        bytes=sum(s.bytes for s in stored if type(s.bytes) is int),
        rows=sum(counted) if counted else None,
        facts=[(key, _together([s[key] for s in summaries if key in s])) for key in _keys(summaries) if key != "rows"],
    )


def _keys(summaries: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(key) for summary in summaries for key in summary))[:12]


def _together(values: list[Any]) -> str:
    """Return many tiles' values of one fact in words: the one value, or the range, or how many different ones."""
    different = list(dict.fromkeys(text.value(value) for value in values))
    if len(different) == 1:
        return different[0]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        return f"{text.value(min(numbers))} … {text.value(max(numbers))}"
    return ", ".join(different[:3]) + (f" and {len(different) - 3} others" if len(different) > 3 else "")


def _failures(failed: list[FailedTask]) -> tuple[int, list[Group]]:
    """Return how many kinds of failures there are, and the most frequent of them."""
    groups: dict[str, list[FailedTask]] = {}
    for failure in failed:
        groups.setdefault(_shape(f"{failure.kind}: {failure.message}", failure.tile), []).append(failure)
    ranked = sorted(groups.values(), key=len, reverse=True)
    return len(ranked), [
        Group(len(group), f"{group[0].kind}: {group[0].message}", _where([f.tile for f in group]), group[0].command, group[0].traceback)
        for group in ranked[:MOST_GROUPS]
    ]


def _grouped(messages: Iterable[tuple[str, str]]) -> tuple[int, list[Group]]:
    """Return how many kinds of messages there are, and the most frequent of them."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for message, tile in messages:
        groups.setdefault(_shape(message, tile), []).append((message, tile))
    ranked = sorted(groups.values(), key=len, reverse=True)
    return len(ranked), [Group(len(group), group[0][0], _where([tile for _, tile in group])) for group in ranked[:MOST_GROUPS]]


def _shape(message: str, tile: str) -> str:
    """Return a message without the tile's name and without numbers, by which like messages are known."""
    return re.sub(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?", "#", message.replace(tile, "TILE"))


def _where(tiles: list[str]) -> str:
    names = list(dict.fromkeys(tiles))
    if names == [SURVEY]:
        return "on the survey"
    shown = ", ".join(names[:4])
    return f"on {shown}" + (f" and {len(names) - 4} other tiles" if len(names) > 4 else "")


def _numbers(facts: list[dict[str, Any]], key: str) -> list[float]:
    return [float(f[key]) for f in facts if isinstance(f.get(key), int | float)]


def _list(facts: Any, key: str) -> list[Any]:
    value = facts.get(key) if isinstance(facts, dict) else None
    return value if isinstance(value, list) else []
