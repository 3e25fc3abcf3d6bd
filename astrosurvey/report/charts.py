"""Small charts as SVG: curves with their intervals, and histograms.

They carry no style of their own beyond class names, so that the page's style sheet, dark or light, holds
for them; no fonts, no random identifiers: equal numbers give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from .text import decimal, visible

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 40
DIGIT = 7.0
"""Width of a digit of a tick, nearly."""


@dataclass(frozen=True)
class Curve:
    """Points of one curve. NaN breaks the line.

    Attributes:
        low, high: the interval at each point.
        colour: which of the eight colours; that of its place among the curves when left out.
        dashed: draw it as a broken line, beside another one of its colour.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    colour: int | None = None
    dashed: bool = False


def curves(
    series: Sequence[Curve],
    *,
    x: str,
    y: str,
    y_range: tuple[float, float] | None = None,
    log: bool = False,
) -> Markup:
    """Return a chart of several curves.

    Args:
        series: the curves; at most eight have colours of their own.
        x, y: the axis labels.
        y_range: the vertical axis's ends; from the data when left out.
        log: draw the horizontal axis logarithmically; its values are positive then.
    """
    xs = [v for s in series for v in s.x if math.isfinite(v)]
    ys = [v for s in series for part in (s.y, s.low or (), s.high or ()) for v in part if math.isfinite(v)]
    if not xs or not ys:
        return Markup('<p class="quiet">There is nothing to draw: no finite value.</p>')
    frame = _Frame((min(xs), max(xs)) if log else _widened(min(xs), max(xs), 0.0), y_range or _widened(min(ys), max(ys), 0.06), log)
    parts = [frame.axes(x, y)]
    styles = []
    for place, s in enumerate(series):
        style = f"s{(place if s.colour is None else s.colour) % 8}" + (" dashed" if s.dashed else "")
        styles.append((style, s.name))
        parts.append(f'<g class="series {style}">{_band(frame, s)}{_line(frame, s)}{_dots(frame, s)}</g>')
    return _figure(parts, styles, f"{y} against {x}")


def histogram(
    edges: Sequence[float],
    counts: Mapping[str, Sequence[float]],
    *,
    x: str,
    y: str,
    band: tuple[str, Sequence[float], Sequence[float]] | None = None,
) -> Markup:
    """Return step histograms on common bin edges.

    Args:
        edges: (n + 1) bin edges.
        counts: name -> (n) heights.
        x, y: the axis labels.
        band: name, and (n) lower and upper ends of where heights may be expected.
    """
    top = max((v for heights in (*counts.values(), band[2] if band else ()) for v in heights), default=0)
    if len(edges) < 2 or top <= 0:
        return Markup('<p class="quiet">There is nothing to draw: all bins are empty.</p>')
    frame = _Frame((edges[0], edges[-1]), (0.0, top * 1.06))
    parts = [frame.axes(x, y)]
    keys = [(f"s{place % 8}", name) for place, name in enumerate(counts)]
    if band:
        boxes = "".join(
            f"M{frame.x(left):.1f} {frame.y(low):.1f}H{frame.x(right):.1f}V{frame.y(high):.1f}H{frame.x(left):.1f}Z"
            for left, right, low, high in zip(edges, edges[1:], band[1], band[2], strict=False)
        )
        parts.append(f'<g class="series s7"><path class="fill" d="{boxes}"/></g>')
        keys.append(("s7", band[0]))
    for place, (name, heights) in enumerate(counts.items()):
        steps = [f"M{frame.x(edges[0]):.1f} {frame.y(0):.1f}"]
        for left, right, height in zip(edges, edges[1:], heights, strict=False):
            steps.append(f"L{frame.x(left):.1f} {frame.y(height):.1f}H{frame.x(right):.1f}")
        steps.append(f"V{frame.y(0):.1f}")
        path = "".join(steps)
        fill = f'<path class="fill" d="{path}Z"/>'
        parts.append(f'<g class="series s{place % 8}">{fill}<path class="line" d="{path}"><title>{_text(name)}</title></path></g>')
    return _figure(parts, keys, f"{y} against {x}")


def scatter(points: Mapping[str, Sequence[tuple[float, float]]], *, x: str, y: str, diagonal: bool = False) -> Markup:
    """Return a chart of points.

    Args:
        points: name -> (x, y) pairs.
        x, y: the axis labels.
        diagonal: draw the line on which both are equal, over axes of one range.
    """
    finite = {name: [pair for pair in pairs if math.isfinite(pair[0]) and math.isfinite(pair[1])] for name, pairs in points.items()}
    xs, ys = ([pair[k] for pairs in finite.values() for pair in pairs] for k in (0, 1))
    if not xs:
        return Markup('<p class="quiet">There is nothing to draw: no finite value.</p>')
    ends = _widened(min(xs), max(xs), 0.03), _widened(min(ys), max(ys), 0.03)
    if diagonal:
        ends = ((min(ends[0][0], ends[1][0]), max(ends[0][1], ends[1][1])),) * 2
    frame = _Frame(*ends)
    parts = [frame.axes(x, y)]
    if diagonal:
        low, high = ends[0]
        parts.append(f'<path class="grid" d="M{frame.x(low):.1f} {frame.y(low):.1f}L{frame.x(high):.1f} {frame.y(high):.1f}"/>')
    for place, pairs in enumerate(finite.values()):
        # A line of no length with round ends is a dot: one path holds them all.
        dots = "".join(f"M{frame.x(a):.1f} {frame.y(b):.1f}h0" for a, b in pairs)
        parts.append(f'<g class="series s{place % 8}"><path class="dots" d="{dots}"/></g>')
    return _figure(parts, [(f"s{place % 8}", name) for place, name in enumerate(finite)], f"{y} against {x}")


class _Frame:
    """The two axes: from values to places in the picture."""

    def __init__(self, xs: tuple[float, float], ys: tuple[float, float], log: bool = False) -> None:
        self.xs, self.ys, self.log = xs, ys, log

    def x(self, value: float) -> float:
        low, high = self.xs
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.ys
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def axes(self, x: str, y: str) -> str:
        parts = []
        for tick in ticks(*self.ys, 5):
            at = self.y(tick)
            parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(f'<text class="tick end" x="{LEFT - 7}" y="{at + 4:.1f}">{decimal(tick)}</text>')
        base = HEIGHT - BOTTOM
        for tick in powers(*self.xs) if self.log else ticks(*self.xs, 7):
            at, said = self.x(tick), decimal(tick)
            parts.append(f'<path class="axis" d="M{at:.1f} {base}v4"/>')
            parts.append(f'<text class="tick middle" x="{uncut(at, said, WIDTH):.1f}" y="{base + 17}">{said}</text>')
        parts.append(f'<path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="label middle" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 5}">{_text(x)}</text>')
        middle = (TOP + base) / 2
        parts.append(f'<text class="label middle" transform="translate(12 {middle:.0f}) rotate(-90)">{_text(y)}</text>')
        return "".join(parts)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round values between two ends."""
    span = (high - low) / most
    power = 10.0 ** math.floor(math.log10(span))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= span * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def uncut(at: float, said: str, width: float) -> float:
    """Return where the middle of a number under an axis must stand, so that a picture so wide does not cut it."""
    half = 0.5 * DIGIT * len(said)
    return min(max(at, half), width - half)


def powers(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten between two positive ends, or the powers alone if those are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
    inside = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    return inside if len(inside) <= 9 else [value for value in inside if value in {10.0**decade for decade in decades}]


def _widened(low: float, high: float, part: float) -> tuple[float, float]:
    if high <= low:
        room = abs(low) * 0.1 or 0.5
        return low - room, high + room
    return low - part * (high - low), high + part * (high - low)


def _runs(*columns: Sequence[float]) -> list[list[tuple[float, ...]]]:
    """Return the stretches of rows without a NaN."""
    runs: list[list[tuple[float, ...]]] = [[]]
    for row in zip(*columns, strict=True):
        if all(math.isfinite(v) for v in row):
            runs[-1].append(row)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _line(frame: _Frame, s: Curve) -> str:
    paths = ["M" + "L".join(f"{frame.x(a):.1f} {frame.y(b):.1f}" for a, b in run) for run in _runs(s.x, s.y)]
    return f'<path class="line" d="{"".join(paths)}"/>' if paths else ""


def _band(frame: _Frame, s: Curve) -> str:
    if s.low is None or s.high is None:
        return ""
    shapes = []
    for run in _runs(s.x, s.low, s.high):
        up = "L".join(f"{frame.x(a):.1f} {frame.y(high):.1f}" for a, _, high in run)
        down = "L".join(f"{frame.x(a):.1f} {frame.y(low):.1f}" for a, low, _ in reversed(run))
        shapes.append(f"M{up}L{down}Z")
    return f'<path class="fill" d="{"".join(shapes)}"/>' if shapes else ""


def _dots(frame: _Frame, s: Curve) -> str:
    if len(s.x) > 80:
        return ""
    dots = []
    for place, (a, b) in enumerate(zip(s.x, s.y, strict=True)):
        if math.isfinite(a) and math.isfinite(b):
            interval = f" ({decimal(s.low[place])} … {decimal(s.high[place])})" if s.low is not None and s.high is not None else ""
            said = _text(f"{s.name}: {decimal(b)}{interval} at {decimal(a)}")
            dots.append(f'<circle class="dot" cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}" r="2.4"><title>{said}</title></circle>')
    return "".join(dots)


def _figure(parts: list[str], names: list[tuple[str, str]], label: str) -> Markup:
    svg = f'<svg class="chart" role="img" aria-label="{_text(label)}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'
    keys = "".join(f'<li class="{style}">{_text(name)}</li>' for style, name in names if name)
    legend = f'<ul class="legend">{keys}</ul>' if len(names) > 1 else ""
    return Markup(svg + legend)


def _text(text: str) -> Markup:
    return escape(visible(text))
