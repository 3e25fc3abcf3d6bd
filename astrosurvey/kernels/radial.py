"""Radial sums: all that a fit of radial models to a source's pixels needs of them.

A model is straight between its nodes, so that a pixel's expected flux is a mix of two of them, and both the scalar
product of data and model and that of two models are sums over nodes: of the light at each, and of the squared
weights at each and between neighbours.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._boxes import place_box, seen_box
from ._examples import NODES, scene
from ._numba import cuda, download, empty, helper, inlined, launch, parallel, prange, upload
from ._pixels import Places, Planes, brightness, half_extent, node, node_places, node_radii, noise, radius2, taken
from .spec import KernelSpec, Launch

THREADS = 32

Sums = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def reference(planes: Planes, places: Places, counts: np.ndarray, nodes: int, trust: float) -> Sums:
    """Return the radial sums of every source in every band, each pixel weighted by its inverse variance.

    Args:
        planes: the image.
        places: the sources.
        counts: (n,) int32, nodes of each source, at least 2; pixels beyond the last are left out.
        nodes: nodes in the result.
        trust: the relative error of neighbours' models; where they are bright, pixels count less.

    Returns:
        light, gram and cross, (n, band, node) float32: the sums of w p d, of w p^2, and of w p p' with the next node,
        where w is the inverse variance, p a node's part in the pixel's model, and d the pixel's flux without neighbours';
        and (n, 1 + band) int32, the pixels of the source's ellipse on the image, and those used in each band.
    """
    n, bands = len(places.pixels), len(planes.data)
    sums, pixels = np.zeros((3, n, bands, nodes)), np.zeros((n, 1 + bands), np.int32)
    y, x = np.mgrid[0 : planes.data.shape[1], 0 : planes.data.shape[2]]
    usable = planes.usable()
    for i in range(n):
        r2 = places.radius2(i, x, y)
        place = node_places(places.core, r2)
        free = place < counts[i] - 1
        pixels[i, 0] = free.sum()
        if len(planes.labels):
            free &= (planes.labels == 0) | (planes.labels == i + 1)
        for b in range(bands):
            use = free & usable[b]
            pixels[i, 1 + b] = use.sum()
            flux, variance = planes.data[b].astype(float), planes.variance[b].astype(float)
            if len(planes.model):
                others = planes.model[b] - places.brightness(i, b, r2)
                flux, variance = flux - others, variance + trust * trust * others**2
            low = place[use].astype(int)
            part = place[use] - low
            w = 1 / variance[use]
            np.add.at(sums[0, i, b], low, w * (1 - part) * flux[use])
            np.add.at(sums[0, i, b], low + 1, w * part * flux[use])
            np.add.at(sums[1, i, b], low, w * (1 - part) ** 2)
            np.add.at(sums[1, i, b], low + 1, w * part**2)
            np.add.at(sums[2, i, b], low, w * part * (1 - part))
    light, gram, cross = sums.astype(np.float32)
    return light, gram, cross, pixels


def _reach2(places: Places, counts: np.ndarray) -> np.ndarray:
    reach2: np.ndarray = (node_radii(places.core, counts - 1.0) ** 2).astype(np.float32)
    return reach2


@inlined
def _weighted(
    data: Any, variance: Any, mask: Any, unusable: Any, model: Any, models: Any, i: Any, b: Any, y: Any, x: Any, place: Any, trust: Any
) -> Any:
    """Return the flux of a pixel without its neighbours', and its weight."""
    v = noise(data, variance, mask, unusable, b, y, x)
    if v == np.float32(0):
        return np.float32(0), np.float32(0)
    d = data[b, y, x]
    if model.shape[0] > 0:
        others = model[b, y, x] - brightness(models, i, b, place)
        d -= others
        v += trust * trust * others * others
    return d, np.float32(1) / v


@inlined
def _box(pixels: Any, offsets: Any, form: Any, i: Any, reach2: Any, axis: Any, size: Any) -> Any:
    """Return the first column (axis 0) or row (axis 1) of the source's ellipse on the image, and the one after the last."""
    half = half_extent(form, i, reach2, axis)
    first = pixels[i, axis] + np.int32(math.ceil(offsets[i, axis] - half))
    last = pixels[i, axis] + np.int32(math.floor(offsets[i, axis] + half))
    return max(first, np.int32(0)), min(last + np.int32(1), np.int32(size))


def cpu(planes: Planes, places: Places, counts: np.ndarray, nodes: int, trust: float) -> Sums:
    """Return radial sums; see `reference`. Threaded over sources."""
    light, gram, cross = (np.zeros((len(counts), len(planes.data), nodes), np.float32) for _ in range(3))
    used = np.zeros((len(counts), 1 + len(planes.data)), np.int32)
    _all(
        *planes.arrays(), places.models, places.form, places.core2, places.pixels, places.offsets,
        _reach2(places, counts), counts.astype(np.int32), np.float32(trust), light, gram, cross, used,
    )  # fmt: skip
    return light, gram, cross, used


@parallel
def _all(
    data: Any, variance: Any, mask: Any, unusable: Any, labels: Any, model: Any, models: Any, form: Any, core2: Any,
    pixels: Any, offsets: Any, reach2: Any, counts: Any, trust: Any, light: Any, gram: Any, cross: Any, used: Any,
) -> None:  # fmt: skip
    for i in prange(len(pixels)):
        x0, x1 = _box(pixels, offsets, form, i, reach2[i], 0, data.shape[2])
        y0, y1 = _box(pixels, offsets, form, i, reach2[i], 1, data.shape[1])
        shape = (max(y1 - y0, 0), max(x1 - x0, 0))
        place = np.empty(shape, np.float32)
        flux = np.empty(shape, np.float32)
        spread = np.empty(shape, np.float32)
        place_box(form, i, core2, x0 - pixels[i, 0], y0 - pixels[i, 1], offsets[i, 0], offsets[i, 1], place)
        for b in range(data.shape[0]):
            seen_box(data, variance, mask, unusable, labels, model, models, i, b, x0, y0, place, trust, flux, spread)
            sums = np.zeros((counts[i], 5), np.float32)
            used[i, 0], used[i, 1 + b] = _add(place, flux, spread, sums)
            for k in range(counts[i] - 1):
                high2 = sums[k, 2]
                light[i, b, k] += sums[k, 3] - sums[k, 4]
                light[i, b, k + 1] += sums[k, 4]
                gram[i, b, k] += sums[k, 0] - np.float32(2) * sums[k, 1] + high2
                gram[i, b, k + 1] += high2
                cross[i, b, k] += sums[k, 1] - high2


@helper
def _add(place: Any, flux: Any, spread: Any, sums: Any) -> Any:
    """Add pixels to the sums of w, w p, w p^2, w d and w p d between nodes, p the part of the outer; return pixels inside, and used."""
    inside = np.int32(0)
    used = np.int32(0)
    for r in range(place.shape[0]):
        for j in range(place.shape[1]):
            low = np.int32(place[r, j])
            if low + 1 < len(sums):
                inside += np.int32(1)
                v = spread[r, j]
                if v > np.float32(0):
                    used += np.int32(1)
                    high = place[r, j] - np.float32(low)
                    w = np.float32(1) / v
                    d = w * flux[r, j]
                    k = np.uint64(low)
                    sums[k, 0] += w
                    sums[k, 1] += w * high
                    sums[k, 2] += w * high * high
                    sums[k, 3] += d
                    sums[k, 4] += d * high
    return inside, used


def on_cuda(planes: Planes, places: Places, counts: np.ndarray, nodes: int, trust: float) -> Sums:
    """Return radial sums from the GPU, a block a source; see `reference`."""
    n, bands = len(counts), len(planes.data)
    if n == 0:
        return cpu(planes, places, counts, nodes, trust)
    data, variance, mask, unusable, labels, model = planes.arrays()
    arrays = [upload(a) for a in (data, variance, mask, labels, model, places.models, places.form, places.pixels, places.offsets)]
    per_source = [upload(a) for a in (_reach2(places, counts), counts.astype(np.int32))]
    sums = [empty((n, bands, nodes), np.float32) for _ in range(3)]
    used = empty((n, 1 + bands), np.int32)
    launch(_sum_block, n, THREADS, *arrays, *per_source, *sums, used, unusable, places.core2, np.float32(trust))
    light, gram, cross = (download(a) for a in sums)
    return light, gram, cross, download(used)


def _sum_block(  # type: ignore[no-untyped-def]
    data, variance, mask, labels, model, models, form, pixels, offsets, reach2, counts, light, gram, cross, used, unusable, core2, trust
):
    # As many pixels at a time as there are threads are looked at, a pixel a thread, and then added up, a node a
    # thread: each node's sum has one owner, who adds in the order of the pixels.
    i = cuda.blockIdx.x
    t = cuda.threadIdx.x
    places = cuda.shared.array(THREADS, np.float32)
    fluxes = cuda.shared.array(THREADS, np.float32)
    weights = cuda.shared.array(THREADS, np.float32)
    seen = cuda.shared.array((2, THREADS), np.int32)
    x0, x1 = _box(pixels, offsets, form, i, reach2[i], 0, data.shape[2])
    y0, y1 = _box(pixels, offsets, form, i, reach2[i], 1, data.shape[1])
    total = max(x1 - x0, np.int32(0)) * max(y1 - y0, np.int32(0))
    for b in range(data.shape[0]):
        for k in range(t, light.shape[2], THREADS):
            light[i, b, k] = np.float32(0)
            gram[i, b, k] = np.float32(0)
            cross[i, b, k] = np.float32(0)
        seen[0, t] = 0
        seen[1, t] = 0
        for start in range(0, total, THREADS):
            place = np.float32(-2)
            d = np.float32(0)
            w = np.float32(0)
            if start + t < total:
                x = x0 + (start + t) % (x1 - x0)
                y = y0 + (start + t) // (x1 - x0)
                r2 = radius2(form, i, np.float32(x - pixels[i, 0]) - offsets[i, 0], np.float32(y - pixels[i, 1]) - offsets[i, 1])
                there = node(r2, core2)
                inside = np.int32(there) + 1 < counts[i]
                if inside:
                    seen[0, t] += 1
                if inside and not taken(labels, y, x, i + 1):
                    d, w = _weighted(data, variance, mask, unusable, model, models, i, b, y, x, there, trust)
                    place = there
                    if w > np.float32(0):
                        seen[1, t] += 1
            places[t] = place
            fluxes[t] = d
            weights[t] = w
            cuda.syncthreads()
            for k in range(t, light.shape[2], THREADS):
                for j in range(THREADS):
                    low = np.int32(places[j])
                    if places[j] >= np.float32(0) and k - 1 <= low <= k:
                        high = places[j] - np.float32(low)
                        part = np.float32(1) - high if low == k else high
                        light[i, b, k] += weights[j] * part * fluxes[j]
                        gram[i, b, k] += weights[j] * part * part
                        if low == k:
                            cross[i, b, k] += weights[j] * part * high
            cuda.syncthreads()
        cuda.syncthreads()
        if t < 2:
            number = np.int32(0)
            for j in range(THREADS):
                number += seen[t, j]
            if t == 0:
                used[i, 0] = number
            else:
                used[i, 1 + b] = number
        cuda.syncthreads()


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    return [
        (planes, places, np.minimum(8 + 2 * np.arange(len(places.pixels)), NODES).astype(np.int32), NODES + 1, 0.05)
        for planes, places in scene(rng)
    ]


IMAGE = "float32[:,:,::1], float32[:,:,::1], int32[:,:,::1], int32[:,::1], float32[:,:,::1]"
KERNEL = KernelSpec(
    name="radial",
    summary="Sums over elliptical radii: all that fits of radial models need of the pixels.",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(
            _sum_block,
            f"void({IMAGE}, float32[:,:,::1], float32[:,::1], int32[:,::1], float32[:,::1], float32[::1], int32[::1], "
            "float32[:,:,::1], float32[:,:,::1], float32[:,:,::1], int32[:,::1], int32, float32, float32)",
            THREADS,
        ),
    ),
    example=_example,
    rtol=1e-3,
    atol=2e-2,
)
