"""Cubic splines through the middles of a mesh's boxes, evaluated at pixels; for kernels that need a sky at full size."""

from __future__ import annotations

import numpy as np

from ._numba import helper

PAD = 2
"""Coefficients beyond the mesh on every side, mirrored at its edge."""
FAR = 16


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
    v0, v1, v2, v3 = weight(y, height, 0), weight(y, height, 1), weight(y, height, 2), weight(y, height, 3)
    a = blend(v0, v1, v2, v3, spline[j, i], spline[j + 1, i], spline[j + 2, i], spline[j + 3, i])
    b = blend(v0, v1, v2, v3, spline[j, i + 1], spline[j + 1, i + 1], spline[j + 2, i + 1], spline[j + 3, i + 1])
    c = blend(v0, v1, v2, v3, spline[j, i + 2], spline[j + 1, i + 2], spline[j + 2, i + 2], spline[j + 3, i + 2])
    d = blend(v0, v1, v2, v3, spline[j, i + 3], spline[j + 1, i + 3], spline[j + 2, i + 3], spline[j + 3, i + 3])
    return blend(weight(x, width, 0), weight(x, width, 1), weight(x, width, 2), weight(x, width, 3), a, b, c, d)


@helper
def weights(side: int) -> np.ndarray:
    """Return the weights of all pixels of a box: (4, side) float32."""
    table = np.empty((4, side), np.float32)
    for k in range(4):
        for pixel in range(side):
            table[k, pixel] = weight(pixel, side, k)
    return table


@helper
def line(
    spline: np.ndarray, height: int, across: np.ndarray, y: int, x_first: int,
    pedestal: np.float32, low: np.float32, high: np.float32, out: np.ndarray,
) -> None:  # fmt: skip
    """Write a row of a spline's pixels: the same values as `at_pixel`, and quicker.

    `across` are the `weights` of a box's width, and `y` counts from the edge of the first box.
    """
    j = before(y, height)
    v0, v1, v2, v3 = weight(y, height, 0), weight(y, height, 1), weight(y, height, 2), weight(y, height, 3)
    row = np.empty(spline.shape[1], np.float32)
    for i in range(row.size):
        row[i] = blend(v0, v1, v2, v3, spline[j, i], spline[j + 1, i], spline[j + 2, i], spline[j + 3, i])
    width = across.shape[1]
    x = 0
    while x < out.size:  # half a box at a time, within which the coefficients are the same
        pixel = (x + x_first) % width
        stop = width // 2 if pixel < width // 2 else width
        n = min(stop - pixel, out.size - x)
        i = before(x + x_first, width)
        a, b, c, d = row[i], row[i + 1], row[i + 2], row[i + 3]
        w0, w1 = across[0, pixel : pixel + n], across[1, pixel : pixel + n]
        w2, w3 = across[2, pixel : pixel + n], across[3, pixel : pixel + n]
        part = out[x : x + n]
        for k in range(n):
            part[k] = within(blend(w0[k], w1[k], w2[k], w3[k], a, b, c, d) + pedestal, low, high)
        x += n
