"""Metrics products as tables and charts: completeness, purity, and whatever else a stage has measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.tiling import SURVEY
from . import text
from .figures import Chart, figures
from .gather import Run
from .inference import OWN
from .matrices import Matrix, matrices

if TYPE_CHECKING:
    from ..products import Metrics
    from ..products.metrics import Metric

MOST_PRODUCTS = 12
MOST_TILES = 20
"""Rows of a table of the same numbers for each tile."""


@dataclass(frozen=True)
class Cell:
    """One number in words, and whether it reaches its bar."""

    value: str
    unit: str = ""
    bar: str = ""
    passed: bool | None = None
    description: str = ""


@dataclass(frozen=True)
class Pivot:
    """Numbers of many kinds for the same things: "flux_bias.kron.g", "flux_bias.kron.r", … in one row."""

    header: list[str]
    rows: list[tuple[str, list[Cell]]]


@dataclass
class Group:
    """The metrics of one task.

    Attributes:
        rows: the numbers that stand alone.
        pivots: the others, a table for each set of columns.
        matrices: confusion matrices.
        first: the figures to show at once.
        others: the same for further methods.
        notes: what the numbers are, where a table has no room for it.
    """

    title: str
    rows: list[tuple[str, Cell]] = field(default_factory=list)
    pivots: list[Pivot] = field(default_factory=list)
    matrices: list[Matrix] = field(default_factory=list)
    first: list[Chart] = field(default_factory=list)
    others: list[Chart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def metric_groups(run: Run, notes: list[str]) -> list[Group]:
    """Return the metrics of every task that has some; what cannot be read is said in `notes`."""
    from ..products import Metrics

    found: dict[tuple[str, str], list[tuple[str, Path]]] = {}
    for stage in run.stages:
        for tile, port, stored, path in run.products(stage):
            if stored.kind == "metrics":
                found.setdefault((stage, port), []).append((tile, path))
    groups: list[Group] = []
    left_out = 0
    for (stage, port), products in found.items():
        said = f", {port}" if port != "metrics" else ""
        shown, read = products[:MOST_TILES], list[tuple[str, Metrics]]()
        for tile, path in shown:
            try:
                read.append((tile, Metrics.read(run.store.get(path))))
            except Exception as error:  # one odd product must not cost the page
                notes.append(f"The metrics of {_titled(stage, tile)}{said} cannot be shown: {error}")
        if len(read) > 1 and _alike([metrics for _, metrics in read]):
            left_out += len(products) - len(shown)
            groups.append(_by_tile(f"{stage}{said}", read))
            continue
        room = max(0, MOST_PRODUCTS - len(groups))
        left_out += max(0, len(products) - len(shown) + len(read) - room)
        groups += [make_group(f"{_titled(stage, tile)}{said}", metrics) for tile, metrics in read[:room]]
    if left_out:
        notes.append(f"Metrics of {left_out} further tasks are not shown.")
    return groups


def _titled(stage: str, tile: str) -> str:
    return stage if tile == SURVEY else f"{stage} on {tile}"


def _alike(some: list[Metrics]) -> bool:
    """Tell whether these are the same few numbers, without curves or matrices."""
    names = {tuple(metric.name for metric in metrics.values) for metrics in some}
    return len(names) == 1 and not any(metrics.curves or matrices(metrics.meta) for metrics in some)


def _by_tile(title: str, read: list[tuple[str, Metrics]]) -> Group:
    """Return the same numbers of several tiles as one table."""
    first = read[0][1].values
    rows = [(tile, [_cell(metric) for metric in metrics.values]) for tile, metrics in read]
    told = [f"{_named(metric.name)}: {metric.description}" for metric in first if metric.description]
    return Group(title, pivots=[Pivot([_named(metric.name) for metric in first], rows)], notes=told)


def make_group(title: str, metrics: Metrics) -> Group:
    """Return a Metrics product as tables and charts."""
    lines: dict[str, dict[str, Metric]] = {}
    for metric in metrics.values:
        stem, _, last = metric.name.rpartition(".")
        lines.setdefault(stem or metric.name, {})[last if stem else ""] = metric
    group = Group(title)
    tables: dict[tuple[str, ...], Pivot] = {}
    for stem, members in lines.items():
        if len(members) == 1:
            (metric,) = members.values()
            group.rows.append((_named(metric.name), _cell(metric)))
            continue
        columns = tuple(members)
        pivot = tables.setdefault(columns, Pivot(list(columns), []))
        pivot.rows.append((_named(stem), [_cell(metric) for metric in members.values()]))
    group.pivots = list(tables.values())
    for pivot in group.pivots:
        pivot.rows.sort(key=lambda row: ", aperture" in row[0])  # total fluxes first, as in the figures
    group.matrices = matrices(metrics.meta)
    group.first, group.others = figures({name: curve for name, curve in metrics.curves.items() if not name.startswith(OWN)})
    return group


def _cell(metric: Metric) -> Cell:
    bar = f"{'≥' if metric.better == 'higher' else '≤'} {text.decimal(metric.bar)}" if metric.bar is not None else ""
    return Cell(text.measured(metric.value, metric.error), metric.unit, bar, metric.passed, metric.description)


def _named(name: str) -> str:
    return ", ".join(part.replace("_", " ") for part in name.split("."))
