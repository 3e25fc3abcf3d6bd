"""Pictures of clusters as SVG: the ordered-density plot over its hierarchy, maps, and panels of one cluster each.

They carry no style beyond class names, as the charts do, and hold a bounded number of points whatever the catalogue's size:
the ordered-density plot has a step for each place on the screen, maps show every k-th point. A cluster is told by its
number as well as by its colour.

References: Oliver et al. (2024), arXiv:2312.14632 (ordered-density plot); Hammer (1892), Petermanns Mitteilungen 38, 85 (equal-area map).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from .charts import ticks, uncut
from .text import decimal, visible

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1000, 46, 8, 10, 42
HEIGHT = 240
ROW = 15
"""Height of one level of the hierarchy."""
MOST_LEVELS = 10
STEPS = 946
"""Of the ordered-density plot: one for each unit of its width."""
MOST_BACKGROUND, MOST_MEMBERS = 3500, 6000
MAP, PANEL = (620, 330), (236, 210)
SKY_WIDE = 100.0
"""deg: a map of a wider piece of the sky shows all of it."""
MOST_NAMES = 24
"""Clusters, the first of the table, whose numbers stand in a map."""
COLOURS = (0, 1, 2, 3, 4, 7, 5)
"""Of the page's eight colours those that are no grey, which is for sources in no cluster."""
HUES = 2 * len(COLOURS)
"""Colours of clusters: each of these as it is, and deeper."""


@dataclass(frozen=True)
class Span:
    """One cluster as a stretch of the order of all points.

    Attributes:
        number: the cluster's number on the page, from 1.
        level: depth in the hierarchy.
        start, end: half-open stretch.
        said: for those who point at it.
    """

    number: int
    level: int
    start: int
    end: int
    said: str


def style(number: int) -> str:
    """Return the class that colours a cluster; 0 is none."""
    if number <= 0:
        return "field"
    deep, place = divmod((number - 1) % HUES, len(COLOURS))
    return f"c{COLOURS[place]}" + " deep" * deep


def ordered(log_density: np.ndarray, numbers: np.ndarray, spans: Sequence[Span]) -> Markup:
    """Return the ordered-density plot with the hierarchy below it.

    Args:
        log_density: (n,) natural logarithm of the density, in the plot's order.
        numbers: (n,) the smallest cluster of each point; 0 for none.
        spans: the clusters.
    """
    n = len(log_density)
    steps = min(STEPS, n)
    edges = np.arange(steps + 1) * n // max(steps, 1)
    if not n or not np.isfinite(log_density).any():
        return Markup('<p class="quiet">There is nothing to draw: no density is known.</p>')
    good = np.isfinite(log_density)
    total = np.add.reduceat(np.where(good, log_density, 0.0), edges[:-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / np.add.reduceat(good.astype(np.int64), edges[:-1])
    middle = numbers[(edges[:-1] + edges[1:]) // 2]
    low, high = float(np.nanmin(mean)), float(np.nanmax(mean))
    room = 0.06 * (high - low) or 0.5
    low, high = low - room, high + room
    base = HEIGHT - BOTTOM

    def across(place: float) -> float:
        return LEFT + place / n * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return base - (value - low) / (high - low) * (base - TOP)

    levels = min(max((span.level for span in spans), default=-1) + 1, MOST_LEVELS)
    height = HEIGHT + levels * (ROW + 2) + 4
    parts = []
    for tick in ticks(low, high, 5):
        parts.append(f'<path class="grid" d="M{LEFT} {up(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 7}" y="{up(tick) + 4:.1f}">{decimal(tick)}</text>')
    heights = [None if math.isnan(value) else up(value) for value in mean.tolist()]
    starts = np.flatnonzero(np.diff(middle, prepend=middle[0] - 1))
    for first, last in zip(starts.tolist(), [*starts[1:].tolist(), steps], strict=True):
        path = [f"M{across(edges[first]):.1f} {base}"]
        path += [f"V{y:.1f}H{across(edges[k + 1]):.1f}" for k in range(first, last) if (y := heights[k]) is not None]
        parts.append(f'<path class="area {style(int(middle[first]))}" d="{"".join(path)}V{base}Z"/>')
    parts.append(f'<path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>')
    for tick in ticks(0, n, 8):
        parts.append(f'<path class="axis" d="M{across(tick):.1f} {base}v4"/>')
        said = decimal(tick, 7)
        parts.append(f'<text class="tick middle" x="{uncut(across(tick), said, WIDTH):.1f}" y="{base + 16}">{said}</text>')
    parts.append(f'<text class="label middle" transform="translate(11 {(TOP + base) / 2:.0f}) rotate(-90)">ln density</text>')
    parts.append(
        f'<text class="label middle" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{base + 33}">place in the order of aggregation</text>'
    )
    for span in spans:
        if span.level >= levels:
            continue
        x, y = across(span.start), HEIGHT + span.level * (ROW + 2)
        width = max(across(span.end) - x, 1.5)
        parts.append(f'<g class="{style(span.number)}"><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW}" rx="2"/>')
        parts.append(f"<title>{escape(visible(span.said))}</title>")
        if width > 9 * len(str(span.number)) + 4:
            parts.append(f'<text class="inside middle" x="{x + width / 2:.1f}" y="{y + 11.5}">{span.number}</text>')
        parts.append("</g>")
    return _figure(parts, WIDTH, height, f"Ordered density of {n} sources, with {len(spans)} clusters below it", "ordered")


@dataclass(frozen=True)
class Axis:
    """One axis of a map or a panel.

    Attributes:
        label: what it shows, with its unit.
        reverse: whether values grow to the left, or downwards: right ascensions and magnitudes.
    """

    label: str
    reverse: bool = False


def panel(
    x: np.ndarray, y: np.ndarray, numbers: np.ndarray, axes: tuple[Axis, Axis], ends: tuple[tuple[float, float], tuple[float, float]],
    *, size: tuple[int, int] = PANEL, equal: bool = False, names: bool = False,
) -> Markup:  # fmt: skip
    """Return points in a frame, those in no cluster below the others.

    Args:
        x, y: (n,) values; those outside of the ends, and NaN, are left out.
        numbers: (n,) the cluster whose colour a point has; 0 for none.
        axes: horizontal and vertical.
        ends: of the axes.
        size: of the picture.
        equal: one unit is equally long on both axes; the ends are widened to fit.
        names: write each cluster's number at the median of its points.
    """
    width, height = size
    # Room for the numbers at the vertical axis, as wide as they are.
    left, bottom = 26 + 6 * max(len(decimal(tick)) for tick in (0, *ticks(*ends[1], 5))), 36
    inner = width - left - 8, height - bottom - 8
    (x0, x1), (y0, y1) = ends
    if equal:
        unit = max((x1 - x0) / inner[0], (y1 - y0) / inner[1])
        (x0, x1), (y0, y1) = (
            ((a + b - unit * length) / 2, (a + b + unit * length) / 2) for (a, b), length in zip(((x0, x1), (y0, y1)), inner, strict=True)
        )
    place = np.asarray(x, float), np.asarray(y, float)
    inside = (place[0] >= x0) & (place[0] <= x1) & (place[1] >= y0) & (place[1] <= y1)

    def across(value: np.ndarray | float) -> np.ndarray | float:
        part = (value - x0) / (x1 - x0)
        return left + (1 - part if axes[0].reverse else part) * inner[0]

    def up(value: np.ndarray | float) -> np.ndarray | float:
        part = (value - y0) / (y1 - y0)
        return 8 + (part if axes[1].reverse else 1 - part) * inner[1]

    base = height - bottom
    parts = [f'<rect class="frame" x="{left}" y="8" width="{inner[0]}" height="{inner[1]}"/>']
    for tick in ticks(x0, x1, 4):
        at, said = float(across(tick)), decimal(tick)
        parts.append(f'<path class="axis" d="M{at:.1f} {base}v4"/>')
        parts.append(f'<text class="tick middle" x="{uncut(at, said, width):.1f}" y="{base + 16}">{said}</text>')
    for tick in ticks(y0, y1, 5):
        parts.append(f'<path class="axis" d="M{left} {up(tick):.1f}h-4"/>')
        parts.append(f'<text class="tick end" x="{left - 7}" y="{up(tick) + 4:.1f}">{decimal(tick)}</text>')
    parts.append(f'<text class="label middle" x="{left + inner[0] / 2:.0f}" y="{height - 4}">{escape(visible(axes[0].label))}</text>')
    parts.append(
        f'<text class="label middle" transform="translate(11 {8 + inner[1] / 2:.0f}) rotate(-90)">{escape(visible(axes[1].label))}</text>'
    )
    shown = np.flatnonzero(inside)
    parts += dots(across(place[0][shown]), up(place[1][shown]), numbers[shown], names=names)  # type: ignore[arg-type]
    return _figure(parts, width, height, f"{axes[1].label} against {axes[0].label}", "points")


def sky_map(ra: np.ndarray, dec: np.ndarray, numbers: np.ndarray, centre: int = 0) -> Markup:
    """Return all of the sky on Hammer's equal-area map, right ascension growing to the left.

    Args:
        ra, dec: (n,) deg.
        numbers: (n,) cluster of each; 0 for none.
        centre: right ascension in the middle, deg.
    """
    width, height = MAP
    middle, scale = (width / 2, height / 2), (height / 2 - 6) / math.sqrt(2)

    def project(longitude: np.ndarray, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turned = np.radians((np.asarray(longitude, float) - centre + 180) % 360 - 180)
        phi = np.radians(latitude)
        depth = np.sqrt(1 + np.cos(phi) * np.cos(turned / 2))
        x = -2 * math.sqrt(2) * np.cos(phi) * np.sin(turned / 2) / depth
        return middle[0] + scale * x, middle[1] - scale * math.sqrt(2) * np.sin(phi) / depth

    fine = np.linspace(-90, 90, 61)
    parts = [
        f'<ellipse class="frame" cx="{middle[0]}" cy="{middle[1]}" rx="{2 * math.sqrt(2) * scale:.1f}" ry="{math.sqrt(2) * scale:.1f}"/>'
    ]
    for longitude in (-120, -60, 0, 60, 120):
        parts.append(f'<path class="grid" d="{_path(*project(np.full(61, centre + longitude), fine))}"/>')
    for latitude in (-60, -30, 0, 30, 60):
        parts.append(f'<path class="grid" d="{_path(*project(centre + np.linspace(-179.99, 179.99, 91), np.full(91, latitude)))}"/>')
    for longitude in ((centre + turn) % 360 for turn in (-120, -60, 0, 60, 120)):
        x, y = project(np.array([longitude]), np.array([0.0]))
        parts.append(f'<text class="tick middle halo" x="{x[0]:.1f}" y="{y[0] - 3:.1f}">{longitude}°</text>')
    good = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    x, y = project(ra[good], dec[good])
    parts += dots(x, y, numbers[good], names=True)
    return _figure(parts, width, height, "Map of the sky, right ascension growing to the left", "points")


def dots(x: np.ndarray, y: np.ndarray, numbers: np.ndarray, *, names: bool = False) -> list[str]:
    """Return points as SVG, of many every k-th, in a path for each colour."""
    parts = []
    for number, rows in _by_colour(numbers):
        # A line of no length with round ends is a dot: one path holds them all.
        places = np.unique(np.stack([np.round(x[rows], 1), np.round(y[rows], 1)], axis=1), axis=0)
        path = "".join(f"M{a:g} {b:g}h0" for a, b in places.tolist())
        parts.append(f'<path class="dots {style(number)}" d="{path}"/>')
    if names:
        for number in np.unique(numbers[(numbers > 0) & (numbers <= MOST_NAMES)]).tolist():
            rows = numbers == number
            parts.append(
                f'<text class="number middle {style(number)}" x="{np.median(x[rows]):.1f}" y="{np.median(y[rows]) - 6:.1f}">{number}</text>'
            )
    return parts


def _by_colour(numbers: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return (a cluster's number, rows to draw) of each colour; of sources in no cluster first, so that they lie below."""
    field, members = np.flatnonzero(numbers == 0), np.flatnonzero(numbers > 0)
    groups = [(0, field[:: -(-len(field) // MOST_BACKGROUND) or 1])]
    members = members[:: -(-len(members) // MOST_MEMBERS) or 1]
    colour = (numbers[members] - 1) % HUES
    groups += [(number + 1, members[colour == number]) for number in range(HUES)]
    return [(number, rows) for number, rows in groups if len(rows)]


def _path(x: np.ndarray, y: np.ndarray) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def _figure(parts: Sequence[str], width: int, height: float, label: str, kind: str) -> Markup:
    said = escape(visible(label))
    return Markup(
        f'<svg class="chart clusters {kind}" role="img" aria-label="{said}" viewBox="0 0 {width} {height:g}">{"".join(parts)}</svg>'
    )
