"""The Gaussian window of `centroid`: its weights, its next place and shape, and how well its place is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._numba import helper, inlined

EXTENT = 3.0
"""The window ends so many standard deviations from its centre."""
ROUNDS = 18
"""From a third of these on, steps are halved, which ends all swinging."""
DIM = 50.0
"""Squared signal-to-noise ratio at which the window's shape is half the source's own, half the PSF's."""
THINNEST = 0.8
"""The least variance along the minor axis, in units of the PSF's."""


@helper
def half_width(most: Any) -> Any:
    """Return how far from its start the window may see, in pixels."""
    return np.int32(math.ceil(np.float32(EXTENT) * math.sqrt(most))) + np.int32(1)


@inlined
def gauss(rho2: Any) -> Any:
    """Return exp(-rho2 / 2) for rho2 up to 9, to 1e-6: a short series for its eighth root."""
    u = rho2 * np.float32(-0.0625)
    e = np.float32(1) + u * (
        np.float32(1) + u * (np.float32(0.5) + u * (np.float32(1 / 6) + u * (np.float32(1 / 24) + u * np.float32(1 / 120))))
    )
    e *= e
    e *= e
    return e * e


@inlined
def first(centre: Any, m: Any, wide: Any) -> Any:
    """Return the first column (or row) of a window of variance m along it."""
    return max(np.int32(math.ceil(centre - np.float32(EXTENT) * math.sqrt(m))), -wide)


@inlined
def last(centre: Any, m: Any, wide: Any) -> Any:
    """Return the last column (or row) of a window of variance m along it."""
    return min(np.int32(math.floor(centre + np.float32(EXTENT) * math.sqrt(m))), wide)


def bounds(point: np.ndarray) -> np.ndarray:
    """Return the PSF's moments xx, xy, yy, and the least variances of the window along major and minor axis that follow, (5,) float32."""
    xx, xy, yy = point.tolist()
    minor = (xx + yy) / 2 - math.hypot((xx - yy) / 2, xy)
    return np.array([xx, xy, yy, math.sqrt(xx * yy - xy * xy), minor], np.float32)


@helper
def advance(
    s: Any, sx: Any, sy: Any, sxx: Any, sxy: Any, syy: Any, v: Any, mxx: Any, mxy: Any, myy: Any, point: Any, most: Any, late: Any
) -> Any:
    """Return half the step of the centre, the next window and whether it is at rest; `point` is what `bounds` gives."""
    ux = sx / s
    uy = sy / s
    wxx = sxx / s - ux * ux
    wxy = sxy / s - ux * uy
    wyy = syy / s - uy * uy
    det_m = mxx * myy - mxy * mxy
    det_w = wxx * wyy - wxy * wxy
    doubled = np.float32(2) * (mxx + myy)
    scale = doubled / max(wxx + wyy, np.float32(0.01) * doubled)
    cxx = scale * wxx
    cxy = scale * wxy
    cyy = scale * wyy
    if det_w > np.float32(0) and wxx > np.float32(0):
        ixx = wyy / det_w - myy / det_m
        ixy = mxy / det_m - wxy / det_w
        iyy = wxx / det_w - mxx / det_m
        det_i = ixx * iyy - ixy * ixy
        if ixx > np.float32(0) and det_i > np.float32(0):
            scale = min(np.float32(1) / det_i, doubled / (ixx + iyy))
            cxx = scale * iyy
            cxy = -scale * ixy
            cyy = scale * ixx
    part = s * s / (s * s + np.float32(DIM) * v)
    cxx = point[0] + part * (cxx - point[0])
    cxy = point[1] + part * (cxy - point[1])
    cyy = point[2] + part * (cyy - point[2])
    mean = np.float32(0.5) * (cxx + cyy)
    half = math.sqrt(np.float32(0.25) * (cxx - cyy) * (cxx - cyy) + cxy * cxy)
    major = min(max(mean + half, point[3]), most)
    minor = min(max(mean - half, np.float32(THINNEST) * point[4]), major)
    scale = np.float32(0)
    if half > np.float32(0):
        scale = (major - minor) / (np.float32(2) * half)
    difference = np.float32(0.5) * (cxx - cyy) * scale
    middle = np.float32(0.5) * (major + minor)
    cxx = middle + difference
    cyy = middle - difference
    cxy = cxy * scale
    if late:
        ux *= np.float32(0.5)
        uy *= np.float32(0.5)
        cxx = np.float32(0.5) * (cxx + mxx)
        cxy = np.float32(0.5) * (cxy + mxy)
        cyy = np.float32(0.5) * (cyy + myy)
    blur = v / (s * s)
    moved = np.float32(4) * (ux * ux + uy * uy)
    changed = abs(cxx - mxx) + abs(cyy - myy) + np.float32(2) * abs(cxy - mxy)
    size = mxx + myy
    rest = moved < np.float32(1e-6) + np.float32(0.005) * blur * size
    rest = rest and changed < (np.float32(0.02) + np.float32(0.15) * math.sqrt(blur)) * size
    return ux, uy, cxx, cxy, cyy, rest


@helper
def centre_covariance(s: Any, sxx: Any, sxy: Any, syy: Any, vxx: Any, vxy: Any, vyy: Any, mxx: Any, mxy: Any, myy: Any) -> Any:
    """Return the covariance of the centre: that of the first moment, through how this changes with the centre."""
    det = mxx * myy - mxy * mxy
    jxx = s - (sxx * myy - sxy * mxy) / det
    jxy = -(sxy * mxx - sxx * mxy) / det
    jyx = -(sxy * myy - syy * mxy) / det
    jyy = s - (syy * mxx - sxy * mxy) / det
    det_j = jxx * jyy - jxy * jyx
    if not (jxx > np.float32(0.2) * s and jyy > np.float32(0.2) * s and det_j > np.float32(0.05) * s * s):
        jxx = np.float32(0.5) * s
        jyy = jxx
        jxy = np.float32(0)
        jyx = np.float32(0)
        det_j = jxx * jyy
    axx = jyy / det_j
    axy = -jxy / det_j
    ayx = -jyx / det_j
    ayy = jxx / det_j
    bxx = axx * vxx + axy * vxy
    bxy = axx * vxy + axy * vyy
    byx = ayx * vxx + ayy * vxy
    byy = ayx * vxy + ayy * vyy
    return bxx * axx + bxy * axy, bxx * ayx + bxy * ayy, byx * ayx + byy * ayy
