"""Numbers of sources by magnitude and by flag, as the page shows them."""

from __future__ import annotations

from dataclasses import dataclass

from ..catalog.flags import SOURCE
from . import text
from .charts import histogram
from .figures import Chart
from .statistics import Statistics


@dataclass(frozen=True)
class FlagCount:
    """How many sources have a flag, and what part of all that is."""

    name: str
    meaning: str
    number: int
    part: float


@dataclass(frozen=True)
class Counts:
    """Charts and flags over all sources."""

    sources: int
    unflagged: int
    charts: list[Chart]
    flags: list[FlagCount]


def make_counts(statistics: Statistics) -> Counts | None:
    """Return what the page says of all sources together; None where there are none."""
    total = statistics.sources
    if not total:
        return None
    counted = ((flag, statistics.flags[flag.name]) for flag in SOURCE.flags)
    flags = [FlagCount(flag.name, flag.meaning, number, round(number / total, 4)) for flag, number in counted if number]
    charts = [chart for method in statistics.methods()[:1] if (chart := _magnitudes(statistics, method))]
    return Counts(total, total - statistics.flagged, charts, flags)


def _magnitudes(statistics: Statistics, method: str) -> Chart | None:
    edges, counts = statistics.histogram(method)
    if not edges:
        return None
    svg = histogram(edges, counts, x="AB magnitude", y="sources")
    faint = [f"{text.number(n)} in {band}" for (m, band), n in statistics.faint.items() if m == method and n]
    rows = [[text.decimal(edge), *(text.number(heights[place]) for heights in counts.values())] for place, edge in enumerate(edges[:-1])]
    note = f"Without a positive flux: {', '.join(faint)}." if faint else ""
    return Chart(f"Number against magnitude, {method.replace('_', ' ')}", svg, ["from", *counts], rows, note)
