"""Fluxes in elliptical apertures, pixels counted by the exact part of their area inside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._boxes import place_box, seen_box
from ._examples import scene
from ._numba import cuda, download, empty, inlined, launch, parallel, prange, upload
from ._overlap import crossed_all, overlap
from ._pixels import Places, Planes, brightness, node, noise, radius2, taken
from .spec import KernelSpec, Launch

THREADS = 32

Sums = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def reference(planes: Planes, places: Places, axes: np.ndarray, radii: np.ndarray) -> Sums:
    """Return fluxes in concentric ellipses, growth curves among them.

    Args:
        planes: the image; where it has labels, pixels in other footprints are left out.
        places: the sources, and what of the model image is their own.
        axes: (n, 3) float64: axis ratio, and cosine and sine of the major axis' angle from +x to +y.
        radii: (n, radius) float64, semi-major axes in pixels; nothing is measured where one is not positive.

    Returns:
        flux, its variance, and area used in pixels, (n, band, radius) float64; (n, radius) area on the image.
    """
    from photutils.geometry import elliptical_overlap_grid

    n, bands, k = len(radii), len(planes.data), radii.shape[1]
    flux, variance, used, area = np.zeros((n, bands, k)), np.zeros((n, bands, k)), np.zeros((n, bands, k)), np.zeros((n, k))
    ny, nx = planes.data.shape[1:]
    y, x = np.mgrid[0:ny, 0:nx]
    usable = planes.usable()
    for i in range(n):
        px, py = places.position[i]
        free = np.ones((ny, nx), bool)
        if len(planes.labels):
            free = (planes.labels == 0) | (planes.labels == i + 1)
        r2 = places.radius2(i, x, y)
        for j, radius in enumerate(radii[i]):
            if not radius > 0:
                continue
            ratio, cosine, sine = axes[i]
            weight = elliptical_overlap_grid(
                -0.5 - px, nx - 0.5 - px, -0.5 - py, ny - 0.5 - py, nx, ny, radius, ratio * radius, float(np.arctan2(sine, cosine)), 1, 1
            )
            area[i, j] = weight.sum()
            for b in range(bands):
                values = planes.data[b].astype(float)
                if len(planes.model):
                    values = values + places.brightness(i, b, r2) - planes.model[b]
                good = usable[b] & free
                flux[i, b, j] = np.sum(weight[good] * values[good])
                variance[i, b, j] = np.sum(weight[good] ** 2 * planes.variance[b][good])
                used[i, b, j] = np.sum(weight[good])
    return flux, variance, used, area


@inlined
def _value(
    data: Any, variance: Any, mask: Any, unusable: Any, labels: Any, model: Any, models: Any, form: Any, core2: Any,
    pixels: Any, offsets: Any, i: Any, b: Any, y: Any, x: Any,
) -> Any:  # fmt: skip
    """Return the flux of a pixel without its neighbours', and its variance: 0 where it is of no use."""
    v = noise(data, variance, mask, unusable, b, y, x)
    if v == np.float32(0) or taken(labels, y, x, i + 1):
        return np.float32(0), np.float32(0)
    d = data[b, y, x]
    if model.shape[0] > 0:
        r2 = radius2(form, i, np.float32(x - pixels[i, 0]) - offsets[i, 0], np.float32(y - pixels[i, 1]) - offsets[i, 1])
        d += brightness(models, i, b, node(r2, core2)) - model[b, y, x]
    return d, v


@inlined
def _ends(pixel: Any, offset: Any, half: Any, size: Any) -> Any:
    """Return the first column or row that an ellipse touches on the image, and the one after the last."""
    return max(pixel + np.int32(math.floor(offset - half + np.float32(0.5))), np.int32(0)), min(
        pixel + np.int32(math.floor(offset + half + np.float32(0.5))) + np.int32(1), np.int32(size)
    )


def cpu(planes: Planes, places: Places, axes: np.ndarray, radii: np.ndarray) -> Sums:
    """Return fluxes in ellipses; see `reference`. Threaded over sources; overlaps in double precision."""
    n, bands, k = len(radii), len(planes.data), radii.shape[1]
    flux, variance, used = (np.zeros((n, bands, k)) for _ in range(3))
    area = np.zeros((n, k))
    _all(
        *planes.arrays(), places.models, places.form, places.core2, places.pixels, places.offsets,
        np.ascontiguousarray(axes, np.float64), np.ascontiguousarray(radii, np.float64), flux, variance, used, area,
    )  # fmt: skip
    return flux, variance, used, area


@parallel
def _all(
    data: Any, variance: Any, mask: Any, unusable: Any, labels: Any, model: Any, models: Any, form: Any, core2: Any,
    pixels: Any, offsets: Any, axes: Any, radii: Any, flux: Any, spread: Any, used: Any, area: Any,
) -> None:  # fmt: skip
    bands = data.shape[0]
    for i in prange(radii.shape[0]):
        q = axes[i, 0]
        c = axes[i, 1]
        s = axes[i, 2]
        ox = np.float64(offsets[i, 0])
        oy = np.float64(offsets[i, 1])
        inverse = 1.0 / radii[i]
        largest = 0.0
        for j in range(radii.shape[1]):
            largest = max(largest, radii[i, j])
        x0, x1 = _ends(pixels[i, 0], ox, largest * math.sqrt(c * c + q * q * s * s), data.shape[2])
        y0, y1 = _ends(pixels[i, 1], oy, largest * math.sqrt(s * s + q * q * c * c), data.shape[1])
        # No point of a pixel is farther than this from its centre, as seen from the major axis.
        reach = 0.5 * math.sqrt((abs(c) + abs(s)) ** 2 * (1.0 + 1.0 / (q * q)))
        shape = (max(y1 - y0, 0), max(x1 - x0, 0))
        place = np.empty(shape, np.float32)
        values = np.empty((bands, *shape), np.float32)
        noises = np.empty((bands, *shape), np.float32)
        if model.shape[0] > 0:
            place_box(form, i, core2, x0 - pixels[i, 0], y0 - pixels[i, 1], offsets[i, 0], offsets[i, 1], place)
        for b in range(bands):
            seen_box(data, variance, mask, unusable, labels, model, models, i, b, x0, y0, place, np.float32(0), values[b], noises[b])
        count = np.zeros(radii.shape[1], np.int64)  # of pixels that each ellipse ends in, to be looked at together
        edge_u = np.empty((radii.shape[1], shape[0] * shape[1]))
        edge_v = np.empty_like(edge_u)
        edge_pixel = np.empty(edge_u.shape, np.int64)
        for y in range(shape[0]):
            dy = y + y0 - pixels[i, 1] - oy
            for x in range(shape[1]):
                dx = x + x0 - pixels[i, 0] - ox
                u = c * dx + s * dy
                v = (c * dy - s * dx) / q
                r = math.sqrt(u * u + v * v)
                if r >= largest + reach:
                    continue
                for j in range(radii.shape[1]):
                    a = radii[i, j]
                    if not (a > 0 and r < a + reach):
                        continue
                    if r <= a - reach:
                        area[i, j] += 1.0
                        for b in range(bands):
                            if noises[b, y, x] > 0:
                                flux[i, b, j] += values[b, y, x]
                                spread[i, b, j] += noises[b, y, x]
                                used[i, b, j] += 1.0
                    else:
                        edge_u[j, count[j]] = u * inverse[j]
                        edge_v[j, count[j]] = v * inverse[j]
                        edge_pixel[j, count[j]] = y * shape[1] + x
                        count[j] += 1
        parts = np.empty(count.max() if len(count) else 0)
        flat_values = values.reshape(bands, -1)
        flat_noises = noises.reshape(bands, -1)
        for j in range(radii.shape[1]):
            n = count[j]
            ux = c * inverse[j]
            uy = s * inverse[j]
            crossed_all(edge_u[j, :n], edge_v[j, :n], ux, uy, -uy / q, ux / q, parts[:n])
            for k in range(n):
                w = parts[k]
                p = edge_pixel[j, k]
                area[i, j] += w
                for b in range(bands):
                    if flat_noises[b, p] > 0:
                        flux[i, b, j] += w * flat_values[b, p]
                        spread[i, b, j] += w * w * flat_noises[b, p]
                        used[i, b, j] += w


def on_cuda(planes: Planes, places: Places, axes: np.ndarray, radii: np.ndarray) -> Sums:
    """Return fluxes in ellipses from the GPU, a block a source and radius, overlaps in single precision; see `reference`."""
    n, bands, k = len(radii), len(planes.data), radii.shape[1]
    if n == 0 or k == 0:
        return cpu(planes, places, axes, radii)
    data, variance, mask, unusable, labels, model = planes.arrays()
    arrays = [upload(a) for a in (data, variance, mask, labels, model, places.models, places.form, places.pixels, places.offsets)]
    shapes = [upload(np.ascontiguousarray(a, np.float32)) for a in (axes, radii)]
    sums, area = empty((3, n, bands, k), np.float32), empty((n, k), np.float32)
    launch(_sum_ellipse, n * k, THREADS, *arrays, *shapes, sums, area, unusable, places.core2)
    flux, spread, used = download(sums).astype(np.float64)
    return flux, spread, used, download(area).astype(np.float64)


def _sum_ellipse(  # type: ignore[no-untyped-def]
    data, variance, mask, labels, model, models, form, pixels, offsets, axes, radii, sums, area, unusable, core2
):
    i = cuda.blockIdx.x // radii.shape[1]
    j = cuda.blockIdx.x % radii.shape[1]
    t = cuda.threadIdx.x
    parts = cuda.shared.array((4, THREADS), np.float32)
    a = radii[i, j]
    q = axes[i, 0]
    c = axes[i, 1]
    s = axes[i, 2]
    x0 = np.int32(0)
    x1 = np.int32(0)
    y0 = np.int32(0)
    y1 = np.int32(0)
    if a > np.float32(0):
        x0, x1 = _ends(pixels[i, 0], offsets[i, 0], a * math.sqrt(c * c + q * q * s * s), data.shape[2])
        y0, y1 = _ends(pixels[i, 1], offsets[i, 1], a * math.sqrt(s * s + q * q * c * c), data.shape[1])
    wide = max(x1 - x0, np.int32(0))
    total = wide * max(y1 - y0, np.int32(0))
    for b in range(data.shape[0]):
        flux = np.float32(0)
        spread = np.float32(0)
        used = np.float32(0)
        seen = np.float32(0)
        for p in range(t, total, THREADS):
            x = x0 + p % wide
            y = y0 + p // wide
            w = overlap(
                np.float32(x - pixels[i, 0]) - offsets[i, 0],
                np.float32(y - pixels[i, 1]) - offsets[i, 1],
                c / a,
                s / a,
                -s / (q * a),
                c / (q * a),
            )
            if w > np.float32(0):
                seen += w
                d, v = _value(data, variance, mask, unusable, labels, model, models, form, core2, pixels, offsets, i, b, y, x)
                if v > np.float32(0):
                    flux += w * d
                    spread += w * w * v
                    used += w
        parts[0, t] = flux
        parts[1, t] = spread
        parts[2, t] = used
        parts[3, t] = seen
        cuda.syncthreads()
        if t < 4:
            value = np.float32(0)
            for k in range(THREADS):
                value += parts[t, k]
            if t < 3:
                sums[t, i, b, j] = value
            else:
                area[i, j] = value
        cuda.syncthreads()


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    examples: list[tuple[Any, ...]] = []
    for planes, places in scene(rng):
        n = len(places.pixels)
        angle = rng.uniform(0, np.pi, n)
        axes = np.stack([rng.uniform(0.2, 1.0, n), np.cos(angle), np.sin(angle)], 1)
        axes[::2] = 1, 1, 0
        radii = np.tile([0.3, 2.5, 7.0], (n, 1))
        radii[1:2, 1] = np.nan
        examples.append((planes, places, axes, radii))
    return examples


IMAGE = "float32[:,:,::1], float32[:,:,::1], int32[:,:,::1], int32[:,::1], float32[:,:,::1]"
KERNEL = KernelSpec(
    name="aperture",
    summary="Fluxes in ellipses and circles with exact pixel overlap, neighbours removed.",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(
            _sum_ellipse,
            f"void({IMAGE}, float32[:,:,::1], float32[:,::1], int32[:,::1], float32[:,::1], float32[:,::1], float32[:,::1], "
            "float32[:,:,:,::1], float32[:,::1], int32, float32)",
            THREADS,
        ),
    ),
    example=_example,
    rtol=2e-4,
    atol=1e-2,
)
