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
"""Angles (radians) up to which a short series will do."""


@inlined
def _sector(ax: Any, ay: Any, bx: Any, by: Any) -> Any:
    """Return the signed area of the unit circle's sector between two directions: half the angle."""
    cross = ax * by - ay * bx
    dot = ax * bx + ay * by
    if abs(cross) < np.float32(SMALL) * dot:  # as nearly always; the series of the arc tangent, to 1e-7
        t = cross / dot
        s = t * t
        tail = np.float32(-1 / 11) + s * np.float32(1 / 13)
        tail = np.float32(1 / 5) + s * (np.float32(-1 / 7) + s * (np.float32(1 / 9) + s * tail))
        return t * (np.float32(1) + s * (np.float32(-1 / 3) + s * tail)) * np.float32(0.5)
    return math.atan2(cross, dot) * np.float32(0.5)


@helper
def edge(ax: Any, ay: Any, bx: Any, by: Any) -> Any:
    """Return the signed area that the unit circle shares with the triangle between its centre, a and b."""
    outer_a = ax * ax + ay * ay - np.float32(1)
    if outer_a <= np.float32(0) and bx * bx + by * by <= np.float32(1):
        return (ax * by - ay * bx) * np.float32(0.5)
    dx = bx - ax
    dy = by - ay
    square = dx * dx + dy * dy
    along = ax * dx + ay * dy
    root = along * along - square * outer_a
    if square <= np.float32(0):
        return square
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
    pu = (ux + uy) * np.float32(0.5)
    pv = (vx + vy) * np.float32(0.5)
    mu = (ux - uy) * np.float32(0.5)
    mv = (vx - vy) * np.float32(0.5)
    area = edge(u - pu, v - pv, u + mu, v + mv)
    area += edge(u + mu, v + mv, u + pu, v + pv)
    area += edge(u + pu, v + pv, u - mu, v - mv)
    area += edge(u - mu, v - mv, u - pu, v - pv)
    part = abs(area / (ux * vy - uy * vx))
    return min(part, r * np.float32(0) + np.float32(1))
