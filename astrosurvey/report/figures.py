"""The curves of a Metrics product as charts: those of one kind in one figure, a line each.

A curve is called "completeness by magnitude, g": what is drawn, over what, and then what tells it from the
others; curves whose names differ after the last comma alone share a figure. Its columns are

- the one that the name speaks of, or bins of it: `magnitude`, or `magnitude_min` and `magnitude_max`;
- `low` and `high`, or `error`: the interval of the first thing drawn (or `<name>_low`, …: of that one);
- counts: `n`, or names that begin with `n_`, and the learning `rate` of a training, in the table alone;
- everything else is drawn.

The horizontal axis is logarithmic where bins widen or values span a wide range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from . import text
from .charts import Curve, curves

FEWEST = 3
"""A bin at either end with fewer objects than this is in the table but not in the picture."""
WIDENING = 5.0
"""Bins of which the last is so many times as wide as the first are drawn on a logarithmic axis."""
SPAN = 50.0
"""And so are values of which the greatest is so many times the least."""
_ASIDE = re.compile(r"(?:.+_)?(?:low|high|error)|n|n_.+|rate|.+_(?:min|max)")

Columns = dict[str, list[float]]


@dataclass(frozen=True)
class Chart:
    """A picture with the numbers in it, and a note below."""

    title: str
    svg: Markup
    header: list[str]
    rows: list[list[str]]
    note: str = ""


def figures(stored: Mapping[str, Mapping[str, Sequence[object]]]) -> tuple[list[Chart], list[Chart]]:
    """Return the charts of a Metrics product's curves: first one of each kind, and the others.

    Where a kind has a figure for each photometric method, that of a total flux comes first.
    """
    panels: dict[str, dict[str, Columns]] = {}
    for name, columns in stored.items():
        panel, _, line = name.rpartition(", ")
        numbers = {str(key): [float(v) if isinstance(v, int | float) else math.nan for v in column] for key, column in columns.items()}
        panels.setdefault(panel or name, {})[line if panel else ""] = numbers
    kinds: dict[str, list[str]] = {}
    for panel in panels:
        kinds.setdefault(panel.partition(", ")[0], []).append(panel)
    first: list[Chart] = []
    others: list[Chart] = []
    for members in kinds.values():
        members.sort(key=lambda panel: ", aperture" in panel)
        for place, panel in enumerate(members):
            chart = figure(panel, panels[panel])
            if chart is not None:
                (others if place else first).append(chart)
    return first, others


def figure(title: str, lines: Mapping[str, Columns]) -> Chart | None:
    """Return the chart of the curves that share a figure, by what tells them apart; None when none can be drawn."""
    series: list[Curve] = []
    header: list[str] = []
    rows: list[list[str]] = []
    drawn: list[str] = []
    axis = _axis(title)
    bins = [found[1:] for columns in lines.values() if (found := _bins(columns))]
    positive = min((a for low, _ in bins for a in low if math.isfinite(a)), default=0.0) > 0
    wide = positive and any(_widening(low, high) for low, high in bins)
    beyond: set[str] = set()
    for place, (line, columns) in enumerate(lines.items()):
        across, label = _across(axis, columns, wide)
        if across is None:
            continue
        axis = axis or label
        drawn = [key for key in columns if key != label and not _ASIDE.fullmatch(key)]
        inside = _well_filled(columns, len(across))
        beyond |= _open(columns, inside)
        for number, key in enumerate(drawn):
            low, high = _interval(key, columns, alone=key == _first(drawn, title))
            name = ", ".join(part for part in (line, key.replace("_", " ") if len(drawn) > 1 or not line else "") if part)
            cut = [None if part is None else part[inside] for part in (across, columns[key], low, high)]
            colour = place if len(lines) > 1 else number
            series.append(Curve(name, cut[0] or [], cut[1] or [], cut[2], cut[3], colour, dashed=number > 0 and len(lines) > 1))
        keys = sorted(columns, key=lambda key: (key != label and not key.endswith(("_min", "_max")), key not in drawn))
        header = [*([""] if line else []), *(key.replace("_", " ") for key in keys)]
        rows += [[*([line] if line else []), *(text.decimal(columns[key][i]) for key in keys)] for i in range(len(across))]
    if not series:
        return None
    finite = [v for s in series for v in s.y if math.isfinite(v)]
    fraction = bool(finite) and min(finite) >= 0 and 0.3 < max(finite) <= 1
    at = [v for s in series for v in s.x if math.isfinite(v)]
    wide = bool(at) and min(at) > 0 and (wide or max(at) > SPAN * min(at))
    svg = curves(
        series,
        x=axis or "",
        y=_common(drawn) or title.partition(" by ")[0],
        y_range=(0.0, 1.04) if fraction else None,
        log=wide,
    )
    note = f"The last point is of all over {' or '.join(sorted(beyond))}." if beyond else ""
    return Chart(title[:1].upper() + title[1:], svg, header, rows, note)


def _common(drawn: list[str]) -> str:
    """Return what all names of columns begin with, such as "loss" of "loss" and "loss.validation"; "" where there is nothing."""
    stems = {name.partition(".")[0] for name in drawn}
    return stems.pop().replace("_", " ") if len(stems) == 1 else ""


def _axis(title: str) -> str:
    match = re.search(r"\b(?:by|against|over) ([^,]+)", title)
    return match[1].replace("_", " ") if match else ""


def _bins(columns: Columns) -> tuple[str, list[float], list[float]] | None:
    """Return what the bins are of, and their lower and upper ends, NaN where they are open; None where there are none."""
    stems = [key.removesuffix("_min") for key in columns if key.endswith("_min") and f"{key[:-4]}_max" in columns]
    return (stems[0], columns[f"{stems[0]}_min"], columns[f"{stems[0]}_max"]) if stems else None


def _widening(low: list[float], high: list[float]) -> bool:
    widths = [b - a for a, b in zip(low, high, strict=True) if math.isfinite(b - a)]
    return len(widths) > 1 and widths[-1] >= WIDENING * widths[0] * (1 - 1e-9)


def _middles(low: list[float], high: list[float], wide: bool) -> list[float]:
    """Return the middles of bins, on a logarithmic axis if it is `wide`; an open one is as wide as the closed one next to it."""
    to, back = (math.log, math.exp) if wide else (float, float)
    ends = [(to(a), to(b)) for a, b in zip(low, high, strict=True)]
    widths = [b - a for a, b in ends if math.isfinite(b - a)] or [0.0]
    return [back(b - widths[0] / 2 if math.isnan(a) else a + widths[-1] / 2 if math.isnan(b) else (a + b) / 2) for a, b in ends]


def _open(columns: Columns, inside: slice) -> set[str]:
    """Return, in words, where the last of the bins that are drawn begins, if it has no end."""
    bins = _bins(columns)
    drawn = list(zip(bins[1][inside], bins[2][inside], strict=True)) if bins else []
    return {text.decimal(drawn[-1][0])} if drawn and math.isnan(drawn[-1][1]) else set()


def _across(axis: str, columns: Columns, wide: bool) -> tuple[list[float] | None, str]:
    """Return where the points lie on the axis, and the column it is; of bins, their middles, which depend on whether it is `wide`."""
    if bins := _bins(columns):
        return _middles(*bins[1:], wide), bins[0]
    plain = [key for key in columns if not _ASIDE.fullmatch(key)]
    named = [key for key in plain if key.replace("_", " ") == axis]
    rising = [key for key in plain if len(columns[key]) > 1 and all(b > a for a, b in zip(columns[key], columns[key][1:], strict=False))]
    chosen = next(iter([*named, *rising]), None)
    return (columns[chosen], chosen) if chosen else (None, "")


def _first(drawn: list[str], title: str) -> str:
    """Return the column that `low`, `high` and `error` belong to: the one the title names, else the only one, else a bias."""
    named = [key for key in drawn if title.startswith(key.replace("_", " "))]
    return next(iter([*named, *(key for key in drawn if key in ("bias", "median", "mean")), *drawn]), "")


def _interval(key: str, columns: Columns, *, alone: bool) -> tuple[list[float] | None, list[float] | None]:
    prefix = f"{key}_" if f"{key}_low" in columns or f"{key}_error" in columns else "" if alone else None
    if prefix is None:
        return None, None
    if f"{prefix}low" in columns and f"{prefix}high" in columns:
        return columns[f"{prefix}low"], columns[f"{prefix}high"]
    if f"{prefix}error" in columns:
        pairs = list(zip(columns[key], columns[f"{prefix}error"], strict=True))
        return [v - e for v, e in pairs], [v + e for v, e in pairs]
    return None, None


def _well_filled(columns: Columns, length: int) -> slice:
    """Return the stretch between the first and the last bin that holds enough objects."""
    filled = [i for i, n in enumerate(columns.get("n", [])) if n >= FEWEST]
    return slice(filled[0], filled[-1] + 1) if filled else slice(0, length)
