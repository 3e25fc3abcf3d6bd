"""Metrics products as tables and charts: completeness, purity, and whatever else a stage has measured."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    """

    title: str
    rows: list[tuple[str, Cell]] = field(default_factory=list)
    pivots: list[Pivot] = field(default_factory=list)
    matrices: list[Matrix] = field(default_factory=list)
    first: list[Chart] = field(default_factory=list)
    others: list[Chart] = field(default_factory=list)


def metric_groups(run: Run, notes: list[str]) -> list[Group]:
    """Return the metrics of every task that has some; what cannot be read is said in `notes`."""
    from ..products import Metrics

    groups = []
    found = [(stage, *product) for stage in run.stages for product in run.products(stage) if product[2].kind == "metrics"]
    if len(found) > MOST_PRODUCTS:
        notes.append(f"Metrics of {MOST_PRODUCTS} of {len(found)} tasks are shown.")
    for stage, tile, port, _, path in found[:MOST_PRODUCTS]:
        title = (stage if tile == SURVEY else f"{stage} on {tile}") + (f", {port}" if port != "metrics" else "")
        try:
            groups.append(make_group(title, Metrics.read(path)))
        except Exception as error:  # one odd product must not cost the page
            notes.append(f"The metrics of {title} cannot be shown: {error}")
    return groups


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
