"""A posterior as a corner of small plots: each parameter alone, and each two together.

Like the charts it carries no style beyond class names, and holds a bounded number of points.

References: Foreman-Mackey (2016), JOSS 1, 24 (corner plots).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup, escape

from .charts import DIGIT, ticks
from .text import decimal, visible

MOST_PARAMETERS, MOST_POINTS = 6, 400
CELL, GAP, LEFT, TOP, BOTTOM = 104, 6, 58, 4, 36
MOST_BARS = 18
STEPS = 80
"""Of a prior's line."""

Density = Callable[[np.ndarray], np.ndarray]
"""From (n,) values of a parameter to (n,) densities."""


def corner(
    draws: np.ndarray, names: Sequence[str], truth: np.ndarray | None = None, priors: Sequence[Density | None] | None = None
) -> Markup:
    """Return the picture of (n, p) draws.

    Args:
        draws: of a posterior.
        names: of the parameters, with their units.
        truth: (p,) where it is known.
        priors: the prior density of each parameter, where it is known; drawn over its histogram, with the same area.
    """
    draws, names = draws[:, :MOST_PARAMETERS], list(names)[:MOST_PARAMETERS]
    draws = draws[np.isfinite(draws).all(axis=1)]
    p = len(names)
    if len(draws) < 2:
        return Markup('<p class="quiet">There is nothing to draw: the posterior has no draws.</p>')
    side = p * (CELL + GAP) - GAP
    ends = [_ends(draws[:, k], None if truth is None else float(truth[k])) for k in range(p)]
    thinned = draws[:: -(-len(draws) // MOST_POINTS)]
    parts = []
    for row in range(p):
        for column in range(row + 1):
            x0, y0 = LEFT + column * (CELL + GAP), TOP + row * (CELL + GAP)
            parts.append(f'<rect class="frame" x="{x0}" y="{y0}" width="{CELL}" height="{CELL}"/>')
            across = _place(thinned[:, column], ends[column]) * CELL + x0
            if row == column:
                parts.append(_bars(draws[:, row], ends[row], x0, y0, priors[row] if priors is not None else None))
            else:
                up = y0 + CELL - _place(thinned[:, row], ends[row]) * CELL
                inside = (across >= x0) & (across <= x0 + CELL) & (up >= y0) & (up <= y0 + CELL)
                dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(across[inside], up[inside], strict=True))
                parts.append(f'<g class="series s0"><path class="dots" d="{dots}"/></g>')
            if truth is not None and np.isfinite(truth[[row, column]]).all():
                x = x0 + float(_place(truth[column], ends[column])) * CELL
                y = y0 + CELL - float(_place(truth[row], ends[row])) * CELL
                level = "" if row == column else f"M{x0} {y:.1f}h{CELL}"
                parts.append(f'<path class="truth" d="M{x:.1f} {y0}v{CELL}{level}"/>')
    for k, name in enumerate(names):
        x0, y0, base = LEFT + k * (CELL + GAP), TOP + k * (CELL + GAP), TOP + side
        numbers = [(float(_place(tick, ends[k])) * CELL, decimal(tick, 3)) for tick in ticks(*ends[k], 4)]
        parts += [f'<text class="tick middle" x="{x0 + place:.1f}" y="{base + 14}">{said}</text>' for place, said in _apart(numbers)]
        if k:
            parts += [f'<text class="tick end" x="{LEFT - 4}" y="{y0 + CELL - place + 4:.1f}">{said}</text>' for place, said in numbers]
        said = escape(visible(name))
        parts.append(f'<text class="label middle" x="{x0 + CELL / 2}" y="{base + 30}">{said}</text>')
        if k:
            parts.append(f'<text class="label middle" transform="translate(11 {y0 + CELL / 2:.0f}) rotate(-90)">{said}</text>')
    width, height = LEFT + side + 10, TOP + side + BOTTOM
    label = escape(visible(f"Posterior of {', '.join(names)}"))
    return Markup(f'<svg class="chart corner" role="img" aria-label="{label}" viewBox="0 0 {width} {height}">{"".join(parts)}</svg>')


def _ends(values: np.ndarray, truth: float | None) -> tuple[float, float]:
    """Return the ends of an axis: nearly all draws, and the truth if it is near."""
    low, high = (float(v) for v in np.quantile(values, [0.005, 0.995]))
    room = (high - low) or abs(low) * 0.1 or 1.0
    if truth is not None and low - room < truth < high + room:
        low, high = min(low, truth), max(high, truth)
    return low - 0.06 * room, high + 0.06 * room


def _apart(numbers: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return the (place, number) pairs of an axis that touch neither one another nor those of the cell beside it."""
    kept, free = [], -GAP / 2
    for place, said in numbers:
        half = 0.5 * DIGIT * len(said)
        if place - half >= free and place + half <= CELL + GAP / 2:
            kept.append((place, said))
            free = place + half + GAP
    return kept


def _place(values: np.ndarray | float, ends: tuple[float, float]) -> np.ndarray:
    return (np.asarray(values, float) - ends[0]) / (ends[1] - ends[0])


def _bars(values: np.ndarray, ends: tuple[float, float], x0: int, y0: int, prior: Density | None) -> str:
    number = int(np.clip(2 * len(values) ** (1 / 3), 6, MOST_BARS))
    counts, _ = np.histogram(values, number, ends)
    step, top = CELL / number, max(float(counts.max()), 1.0)
    line = ""
    if prior is not None:
        at = ends[0] + (np.arange(STEPS + 1) / STEPS) * (ends[1] - ends[0])
        heights = prior(at) * len(values) * (ends[1] - ends[0]) / number
        top = max(top, float(heights[np.isfinite(heights)].max(initial=0.0)))
        places = zip(x0 + CELL * np.arange(STEPS + 1) / STEPS, y0 + CELL - 0.94 * CELL * heights / top, strict=True)
        line = f'<path class="prior" d="M{"L".join(f"{a:.1f} {b:.1f}" for a, b in places)}"/>'
    path = "".join(f"V{y0 + CELL - 0.94 * CELL * count / top:.1f}h{step:.2f}" for count in counts)
    path = f"M{x0} {y0 + CELL}{path}V{y0 + CELL}"
    return f'<g class="series s0"><path class="fill" d="{path}Z"/><path class="line" d="{path}"/></g>{line}'
