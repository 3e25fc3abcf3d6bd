"""Cubic splines through the middles of a mesh's boxes, evaluated at pixels; for kernels that need a sky at full size."""

from __future__ import annotations

import numpy as np

from ._numba import helper

Pair = tuple[int, int]

PAD = 2
"""Coefficients beyond the mesh on every side, mirrored at its edge."""
FAR = 16


def reference(mesh: np.ndarray, shape: Pair, box: Pair, first: Pair) -> np.ndarray:
    """Return a mesh at full size.

    Args:
        mesh: (box, box) float32, finite.
        shape: height and width of the result in pixels.
        box: height and width of a box in pixels.
        first: row and column, within its box, of the first pixel.

    Returns:
        (y, x) float32. A spline overshoots beside a jump; beyond the mesh's extremes it is cut.
    """
    from scipy import ndimage

    # scipy's mode "reflect" evaluates a spline wrongly beside the edges, so the mesh is mirrored by hand.
    places = [(np.arange(n) + start + 0.5) / side - 0.5 + FAR for n, start, side in zip(shape, first, box, strict=True)]
    mirrored = np.pad(mesh.astype(np.float64), FAR, mode="symmetric")
    fine = ndimage.map_coordinates(mirrored, np.meshgrid(*places, indexing="ij"), order=3)
    return np.clip(fine, mesh.min(), mesh.max()).astype(np.float32)


def coefficients(mesh: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Return the coefficients of the cubic B-spline through the values of a mesh.

    Args:
        mesh: (box, box), finite.

    Returns:
        The coefficients, (box + 2 PAD, box + 2 PAD) float32, of what exceeds the mesh's median; and this median.
    """
    from scipy import ndimage

    pedestal = np.float32(np.median(mesh))
    # Mirrored so far out that the filter's own treatment of edges, which is none of a half-sample mirror, is not felt.
    far = np.pad(mesh - np.float64(pedestal), FAR, mode="symmetric")
    inside = slice(FAR - PAD, PAD - FAR)
    return np.ascontiguousarray(ndimage.spline_filter(far, order=3)[inside, inside], dtype=np.float32), pedestal


@helper
def weight(pixel: int, side: int, k: int) -> np.float32:
    """Return the k-th of the four weights at a pixel, counted from the edge of the first box of `side` pixels."""
    t = np.float32(2 * (pixel % side) + 1 - side) / np.float32(2 * side)
    if t < np.float32(0):
        t += np.float32(1)
    one, s = np.float32(1), np.float32(1) - t
    sixth = one / np.float32(6)
    if k == 0:
        return s * s * s * sixth
    if k == 1:
        return (np.float32(4) + np.float32(3) * t * t * (t - np.float32(2))) * sixth
    if k == 2:
        return (np.float32(4) + np.float32(3) * s * s * (s - np.float32(2))) * sixth
    return t * t * t * sixth


@helper
def before(pixel: int, side: int) -> int:
    """Return the index of the first of the four padded coefficients at a pixel, counted from the edge of the first box."""
    return pixel // side + PAD - (2 if pixel % side < side // 2 else 1)


@helper
def blend(
    w0: np.float32, w1: np.float32, w2: np.float32, w3: np.float32, a: np.float32, b: np.float32, c: np.float32, d: np.float32
) -> np.float32:
    """Return a weighted sum, added up in a fixed order."""
    return (w0 * a + w1 * b) + (w2 * c + w3 * d)


@helper
def within(value: np.float32, low: np.float32, high: np.float32) -> np.float32:
    """Return a value, or the limit that it is beyond."""
    value = value if value > low else low
    return value if value < high else high


@helper
def at_pixel(spline: np.ndarray, height: int, width: int, y: int, x: int) -> np.float32:
    """Return a spline at a pixel, counted from the edges of the first box."""
    j, i = before(y, height), before(x, width)
    w0, w1, w2, w3 = weight(x, width, 0), weight(x, width, 1), weight(x, width, 2), weight(x, width, 3)
    a = blend(w0, w1, w2, w3, spline[j, i], spline[j, i + 1], spline[j, i + 2], spline[j, i + 3])
    b = blend(w0, w1, w2, w3, spline[j + 1, i], spline[j + 1, i + 1], spline[j + 1, i + 2], spline[j + 1, i + 3])
    c = blend(w0, w1, w2, w3, spline[j + 2, i], spline[j + 2, i + 1], spline[j + 2, i + 2], spline[j + 2, i + 3])
    d = blend(w0, w1, w2, w3, spline[j + 3, i], spline[j + 3, i + 1], spline[j + 3, i + 2], spline[j + 3, i + 3])
    return blend(weight(y, height, 0), weight(y, height, 1), weight(y, height, 2), weight(y, height, 3), a, b, c, d)


@helper
def along_rows(spline: np.ndarray, width: int, x_first: int, nx: int) -> np.ndarray:
    """Return a spline's coefficients with those along x added up at every column: (box + 2 PAD, nx) float32, for `line`."""
    out = np.empty((spline.shape[0], nx), np.float32)
    across = np.empty((4, width), np.float32)
    for k in range(4):
        for pixel in range(width):
            across[k, pixel] = weight(pixel, width, k)
    for x in range(nx):
        i, pixel = before(x + x_first, width), (x + x_first) % width
        w0, w1, w2, w3 = across[0, pixel], across[1, pixel], across[2, pixel], across[3, pixel]
        for j in range(spline.shape[0]):
            out[j, x] = blend(w0, w1, w2, w3, spline[j, i], spline[j, i + 1], spline[j, i + 2], spline[j, i + 3])
    return out


@helper
def line(added: np.ndarray, height: int, y: int, pedestal: np.float32, low: np.float32, high: np.float32, out: np.ndarray) -> None:
    """Write a row of a spline's pixels: the same values as `at_pixel`, and quicker.

    `added` is what `along_rows` returns, and `y` counts from the edge of the first box.
    """
    j = before(y, height)
    v0, v1, v2, v3 = weight(y, height, 0), weight(y, height, 1), weight(y, height, 2), weight(y, height, 3)
    a, b, c, d = added[j], added[j + 1], added[j + 2], added[j + 3]
    for x in range(out.size):
        out[x] = within(blend(v0, v1, v2, v3, a[x], b[x], c[x], d[x]) + pedestal, low, high)
