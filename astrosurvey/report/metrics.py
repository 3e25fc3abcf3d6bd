"""Metrics products as tables and charts: completeness, purity, and whatever else a stage has measured."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ..core.tiling import SURVEY
from . import text
from .charts import Curve, curves
from .gather import Run

if TYPE_CHECKING:
    from ..products import Metrics

MOST_PRODUCTS = 12


@dataclass(frozen=True)
class Row:
    """One number in words."""

    name: str
    value: str
    unit: str
    bar: str
    passed: bool | None
    description: str


@dataclass(frozen=True)
class Chart:
    """A picture with the numbers in it."""

    title: str
    svg: Markup
    header: list[str]
    rows: list[list[str]]
    note: str = ""


@dataclass
class Group:
    """The metrics of one task."""

    title: str
    rows: list[Row] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)


def metric_groups(run: Run, notes: list[str]) -> list[Group]:
    """Return the metrics of every task that has some; what cannot be read is said in `notes`."""
    from ..products import Metrics

    groups = []
    found = [(stage, *product) for stage in run.stages for product in run.products(stage) if product[2].kind == "metrics"]
    if len(found) > MOST_PRODUCTS:
        notes.append(f"Metrics of {MOST_PRODUCTS} of {len(found)} tasks are shown.")
    for stage, tile, port, _, path in found[:MOST_PRODUCTS]:
        title = stage if tile == SURVEY else f"{stage} on {tile}"
        try:
            groups.append(_group(f"{title}: {port}" if port != "metrics" else title, Metrics.read(path)))
        except Exception as error:  # one odd product must not cost the page
            notes.append(f"The metrics of {title} cannot be shown: {error}")
    return groups


def _group(title: str, metrics: Metrics) -> Group:
    rows = [
        Row(
            m.name.replace("_", " "),
            text.decimal(m.value) + (f" ± {text.decimal(m.error, 2)}" if m.error is not None else ""),
            m.unit,
            f"{'≥' if m.better == 'higher' else '≤'} {text.decimal(m.bar)}" if m.bar is not None else "",
            m.passed,
            m.description,
        )
        for m in metrics.values
    ]
    charts = [chart for name, columns in metrics.curves.items() if columns for chart in [curve_chart(name, columns)] if chart]
    return Group(title, rows, charts)


def curve_chart(name: str, columns: Mapping[str, Sequence[Any]]) -> Chart | None:
    """Return the chart of one figure of a Metrics product.

    "completeness by magnitude" is drawn over the column `magnitude`; without such a column, over the first
    that only rises. Columns called `<y>_low` and `<y>_high`, or `<y>_error`, are the intervals of `<y>`, and
    columns of counts (`n`, `n_…`, `number…`) stand in the table alone.
    """
    values = {key: [float(v) if isinstance(v, int | float) else math.nan for v in column] for key, column in columns.items()}
    across = _across(name, values)
    if across is None:
        return None
    drawn = [key for key in values if key != across and not _is_aside(key, values)]
    series = [Curve(key.replace("_", " "), values[across], values[key], *_interval(key, values)) for key in drawn]
    finite = [v for s in series for v in s.y if math.isfinite(v)]
    fraction = bool(finite) and all(0 <= v <= 1 for v in finite) and max(finite) > 0.3
    label = drawn[0].replace("_", " ") if len(drawn) == 1 else ""
    svg = curves(series, x=across.replace("_", " "), y=label, y_range=(0.0, 1.04) if fraction else None)
    header = [across, *(key for key in values if key != across)]
    rows = [[text.decimal(values[key][place]) for key in header] for place in range(len(values[across]))]
    return Chart(name.replace("_", " "), svg, [key.replace("_", " ") for key in header], rows)


def _across(name: str, values: Mapping[str, Sequence[float]]) -> str | None:
    """Return the column to draw over."""
    match = re.search(r"\b(?:by|against|over|versus)[ _](\w+)", name)
    if match:
        near = [key for key in values if key == match[1] or match[1] in key.split("_") or key in match[1].split("_")]
        if near:
            return near[0]
    rising = [
        key for key, column in values.items() if len(column) > 1 and all(b > a for a, b in zip(column, column[1:], strict=False))
    ]
    return next((key for key in rising if not _is_aside(key, values)), None)


def _is_aside(key: str, values: Mapping[str, Sequence[float]]) -> bool:
    stem, _, ending = key.rpartition("_")
    return (ending in ("low", "high", "error", "lower", "upper") and stem in values) or bool(re.fullmatch(r"n|n_\w+|number\w*|count\w*", key))


def _interval(key: str, values: Mapping[str, Sequence[float]]) -> tuple[list[float] | None, list[float] | None]:
    low, high = (next((list(values[f"{key}_{e}"]) for e in ends if f"{key}_{e}" in values), None) for ends in (("low", "lower"), ("high", "upper")))
    if low is None and f"{key}_error" in values:
        pairs = list(zip(values[key], values[f"{key}_error"], strict=True))
        return [v - e for v, e in pairs], [v + e for v, e in pairs]
    return low, high
