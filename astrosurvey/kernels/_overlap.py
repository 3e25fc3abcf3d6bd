"""Exact overlaps of pixels with ellipses.

In coordinates in which the ellipse is the unit circle a pixel is a parallelogram, and its overlap the sum over its
edges of the circle's overlap with the triangle between edge and centre: part triangle, part sector.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._numba import helper, inlined

SMALL = 0.35
"""Tangents of angles up to which a short series will do."""
LONGEST = 0.28
"""The longest edge of a pixel, where the ellipse is the unit circle, that never spans a larger angle near the ellipse."""


@inlined
def _angle(t: Any) -> Any:
    """Return the arc tangent of a small number, to 1e-7: a series."""
    s = t * t
    tail = np.float32(-1 / 11) + s * np.float32(1 / 13)
    tail = np.float32(1 / 5) + s * (np.float32(-1 / 7) + s * (np.float32(1 / 9) + s * tail))
    return t * (np.float32(1) + s * (np.float32(-1 / 3) + s * tail))


@inlined
def _sector(ax: Any, ay: Any, bx: Any, by: Any) -> Any:
    """Return the signed area of the unit circle's sector between two directions: half the angle."""
    cross = ax * by - ay * bx
    dot = ax * bx + ay * by
    if abs(cross) < np.float32(SMALL) * dot:  # as nearly always
        return _angle(cross / dot) * np.float32(0.5)
    return math.atan2(cross, dot) * np.float32(0.5)


@helper
def edge(ax: Any, ay: Any, bx: Any, by: Any) -> Any:
    """Return the signed area that the unit circle shares with the triangle between its centre, a and b."""
    outer_a = ax * ax + ay * ay - np.float32(1)
    outer_b = bx * bx + by * by - np.float32(1)
    if outer_a <= np.float32(0) and outer_b <= np.float32(0):
        return (ax * by - ay * bx) * np.float32(0.5)
    dx = bx - ax
    dy = by - ay
    square = dx * dx + dy * dy
    along = ax * dx + ay * dy
    if square <= np.float32(0):
        return square
    if outer_a >= np.float32(0) and outer_b >= np.float32(0) and (along >= np.float32(0) or along + square <= np.float32(0)):
        return _sector(ax, ay, bx, by)  # it leads away from the circle, or towards it without getting there
    root = along * along - square * outer_a
    if root <= np.float32(0):
        return _sector(ax, ay, bx, by)
    root = math.sqrt(root)
    inverse = np.float32(1) / square
    enter = max((-along - root) * inverse, np.float32(0))
    leave = min((-along + root) * inverse, np.float32(1))
    if enter >= leave:
        return _sector(ax, ay, bx, by)
    area = (ax * dy - ay * dx) * (leave - enter) * np.float32(0.5)
    if enter > np.float32(0):
        area += _sector(ax, ay, ax + enter * dx, ay + enter * dy)
    if leave < np.float32(1):
        area += _sector(ax + leave * dx, ay + leave * dy, bx, by)
    return area


@helper
def overlap(dx: Any, dy: Any, ux: Any, uy: Any, vx: Any, vy: Any) -> Any:
    """Return the fraction of a pixel inside an ellipse.

    Args:
        dx, dy: the pixel's centre from the ellipse's.
        ux, uy: the unit vector of the major axis divided by the semi-major axis.
        vx, vy: that of the minor axis divided by the semi-minor axis.
    """
    u = ux * dx + uy * dy
    v = vx * dx + vy * dy
    r = math.sqrt(u * u + v * v)
    # No point of the pixel is farther from its centre than this.
    reach = math.sqrt((abs(ux) + abs(uy)) * (abs(ux) + abs(uy)) + (abs(vx) + abs(vy)) * (abs(vx) + abs(vy))) * np.float32(0.5)
    if r >= np.float32(1) + reach:
        return r * np.float32(0)
    if r <= np.float32(1) - reach:
        return r * np.float32(0) + np.float32(1)
    return crossed(u, v, ux, uy, vx, vy)


@helper
def crossed(u: Any, v: Any, ux: Any, uy: Any, vx: Any, vy: Any) -> Any:
    """Return the fraction of a pixel inside an ellipse that may end in it; (u, v) is its centre where that is the unit circle."""
    pu = (ux + uy) * np.float32(0.5)
    pv = (vx + vy) * np.float32(0.5)
    mu = (ux - uy) * np.float32(0.5)
    mv = (vx - vy) * np.float32(0.5)
    area = edge(u - pu, v - pv, u + mu, v + mv)
    area += edge(u + mu, v + mv, u + pu, v + pv)
    area += edge(u + pu, v + pv, u - mu, v - mv)
    area += edge(u - mu, v - mv, u - pu, v - pv)
    part = abs(area / (ux * vy - uy * vx))
    return min(part, u * np.float32(0) + np.float32(1))


@helper
def crossed_all(u: Any, v: Any, ux: Any, uy: Any, vx: Any, vy: Any, parts: Any) -> None:
    """Write what `crossed` returns for many pixels: without branches, which the processor would guess wrong half the time.

    Args:
        u, v: (n,) centres of the pixels where the ellipse is the unit circle.
        ux, uy, vx, vy: see `overlap`.
        parts: (n,) to be written.
    """
    if max(ux * ux + vx * vx, uy * uy + vy * vy) > LONGEST * LONGEST:  # no series for the angles of edges so near the centre
        for k in range(len(u)):
            parts[k] = crossed(u[k], v[k], ux, uy, vx, vy)
        return
    parts[:] = 0
    for side in range(4):
        along_x = side % 2 == 0
        sign = 1.0 if side < 2 else -1.0
        dx = sign * (ux if along_x else uy)
        dy = sign * (vx if along_x else vy)
        # The edge begins half a pixel back along itself, and half a pixel to its right.
        ox = -0.5 * dx - 0.5 * sign * (uy if along_x else -ux)
        oy = -0.5 * dy - 0.5 * sign * (vy if along_x else -vx)
        square = dx * dx + dy * dy
        inverse = 1.0 / square
        for k in range(len(u)):
            ax = u[k] + ox
            ay = v[k] + oy
            inner = ax * ax + ay * ay
            along = ax * dx + ay * dy
            cross = ax * dy - ay * dx
            root = math.sqrt(max(along * along - square * (inner - 1.0), 0.0))
            enter = min(max((-along - root) * inverse, 0.0), 1.0)
            leave = max(min((-along + root) * inverse, 1.0), enter)
            rest = 1.0 - leave
            end = inner + leave * (2.0 * along + leave * square)
            parts[k] += cross * (leave - enter)
            parts[k] += _angle(enter * cross / (inner + enter * along)) + _angle(rest * cross / (end + rest * (along + leave * square)))
    area = 0.5 / abs(ux * vy - uy * vx)
    for k in range(len(u)):
        parts[k] = min(abs(parts[k]) * area, 1.0)
