"""A spectrum as SVG: what was measured, the fitted template, the noise, and the named lines.

Like the charts, it has no style of its own beyond class names, and equal numbers give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from .charts import ticks
from .text import decimal, visible

WIDTH, HEIGHT = 1000, 312
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 88, 40
POINTS = 640
"""Pixels are averaged to at most this many points."""
APART = 13.0
"""Labels of lines that would lie nearer than this are left out; the line's mark stays."""


class Mark(NamedTuple):
    """A named line in a spectrum.

    Attributes:
        label: its name.
        wave: Å, as observed.
        absorption: whether it is one that stars absorb.
        seen: whether it was measured to be there; None when it was not measured.
        strength: the stronger is named where there is no room for all.
    """

    label: str
    wave: float
    absorption: bool
    seen: bool | None = None
    strength: float = 0.0


def averaged(wave: np.ndarray, flux: np.ndarray, ivar: np.ndarray, fit: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Return wavelengths, fluxes, noise and fit averaged over pixels with their weights; NaN where nothing is usable.

    Args:
        wave: (pixel,) Å.
        flux: (pixel,).
        ivar: (pixel,) 0 where it says nothing.
        fit: (pixel,) or None.

    Returns:
        four arrays (point,).
    """
    used = np.flatnonzero(ivar > 0)
    if not len(used):
        return (np.zeros(0),) * 4
    inside = slice(used[0], used[-1] + 1)
    wave, flux, ivar = wave[inside], np.where(ivar[inside] > 0, flux[inside], 0).astype(np.float64), ivar[inside].astype(np.float64)
    model = np.full(len(wave), np.nan) if fit is None else fit[inside].astype(np.float64)
    starts = np.arange(0, len(wave), math.ceil(len(wave) / POINTS))
    counts = np.diff(np.append(starts, len(wave)))
    weight = np.add.reduceat(ivar, starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(weight > 0, np.add.reduceat(flux * ivar, starts) / weight, np.nan)
        noise = np.where(weight > 0, weight**-0.5, np.nan)
    return np.add.reduceat(wave, starts) / counts, mean, noise, np.add.reduceat(model, starts) / counts


def picture(
    wave: np.ndarray, flux: np.ndarray, ivar: np.ndarray, fit: np.ndarray | None, marks: Sequence[Mark], unit: str, label: str
) -> Markup:
    """Return the picture of a spectrum.

    Args:
        wave, flux, ivar: (pixel,).
        fit: (pixel,) the fitted template; None when there is none.
        marks: lines; those outside are left out.
        unit: of the flux, for the axis.
        label: what it shows, for those who cannot see it.
    """
    x, y, noise, model = averaged(wave, flux, ivar, fit)
    seen = np.isfinite(y)
    if not seen.any():
        return Markup('<p class="quiet">There is nothing to draw: no pixel is usable.</p>')
    low, high = _range(y[seen], model[np.isfinite(model)])
    ends = float(x[0]), float(x[-1])
    if ends[1] <= ends[0]:
        ends = ends[0] - 0.5, ends[0] + 0.5

    def across(value: float) -> float:
        return LEFT + (value - ends[0]) / (ends[1] - ends[0]) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - (min(max(value, low), high) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def path(values: np.ndarray) -> str:
        parts, drawing = [], False
        for a, b in zip(x.tolist(), values.tolist(), strict=True):
            if math.isfinite(b):
                parts.append(f"{'L' if drawing else 'M'}{across(a):.1f} {up(b):.1f}")
            drawing = math.isfinite(b)
        return "".join(parts)

    parts = [_axes(ends, (low, high), across, up, unit), _marks(marks, ends, across)]
    parts.append(f'<path class="noise" d="{path(noise)}"/><path class="flux" d="{path(y)}"/>')
    if np.isfinite(model).any():
        parts.append(f'<path class="fit" d="{path(model)}"/>')
    said = escape(visible(label))
    svg = f'<svg class="chart spectrum" role="img" aria-label="{said}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'
    return Markup(svg)


def _range(flux: np.ndarray, model: np.ndarray) -> tuple[float, float]:
    """Return the ends of the vertical axis: what all but a few wild points and the fit need, and zero where that is near."""
    low, high = np.percentile(flux, [0.4, 99.6])
    if len(model):
        low, high = min(low, float(model.min())), max(high, float(model.max()))
    room = 0.08 * (high - low) or abs(high) * 0.1 or 0.5
    low, high = float(low - room), float(high + room)
    return min(low, 0.0) if low < 0.5 * high else low, high


def _axes(ends: tuple[float, float], heights: tuple[float, float], across: object, up: object, unit: str) -> str:
    assert callable(across)
    assert callable(up)
    base, parts = HEIGHT - BOTTOM, []
    for tick in ticks(*heights, 5):
        parts.append(f'<path class="grid" d="M{LEFT} {up(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 7}" y="{up(tick) + 4:.1f}">{decimal(tick)}</text>')
    for tick in ticks(*ends, 9):
        parts.append(f'<path class="axis" d="M{across(tick):.1f} {base}v4"/>')
        parts.append(f'<text class="tick middle" x="{across(tick):.1f}" y="{base + 17}">{decimal(tick)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>')
    parts.append(f'<text class="label middle" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 5}">wavelength in vacuum, Å</text>')
    middle = (TOP + base) / 2
    said = escape(visible(f"flux, {unit}" if unit else "flux"))
    parts.append(f'<text class="label middle" transform="translate(12 {middle:.0f}) rotate(-90)">{said}</text>')
    return "".join(parts)


def _marks(marks: Sequence[Mark], ends: tuple[float, float], across: object) -> str:
    """Return the lines' marks."""
    assert callable(across)
    inside = [mark for mark in marks if ends[0] < mark.wave < ends[1]]
    labelled: list[float] = []
    named = set()
    for mark in sorted(inside, key=lambda mark: (mark.seen is not True, -mark.strength, mark.absorption, mark.wave)):
        at = across(mark.wave)
        if all(abs(at - other) >= APART for other in labelled):
            labelled.append(at)
            named.add(mark)
    parts = []
    for mark in inside:
        at = across(mark.wave)
        style = "mark" + (" absorbs" if mark.absorption else "") + (" unseen" if mark.seen is False else "")
        parts.append(f'<g class="{style}"><path d="M{at:.1f} {TOP - 4}V{HEIGHT - BOTTOM}"><title>{escape(mark.label)}</title></path>')
        if mark in named:
            parts.append(f'<text transform="translate({at + 4:.1f} {TOP - 8}) rotate(-90)">{escape(mark.label)}</text>')
        parts.append("</g>")
    return "".join(parts)
