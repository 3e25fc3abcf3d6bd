"""Model images: the sum of all sources' radial models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._examples import scene
from ._numba import cuda, download, empty, helper, inlined, launch, parallel, prange, upload
from ._pixels import Places, brightness, half_extent, node, node_radii, radius2
from .spec import KernelSpec, Launch

SIDE = 32
"""The image is drawn in squares of so many pixels a side, each by one thread or block, source after source."""
THREADS = 32


def reference(shape: tuple[int, int], places: Places, counts: np.ndarray) -> np.ndarray:
    """Return the sum of the models of all sources.

    Args:
        shape: (y, x) of the image.
        places: sources and their models.
        counts: (n,) int32, how many of the nodes to draw, at least 2.

    Returns:
        (band, y, x) float32.
    """
    n, bands, _ = places.models.shape
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    image = np.zeros((bands, *shape))
    for i in range(n):
        r2 = places.radius2(i, x, y)
        for b in range(bands):
            image[b] += np.where(r2 < node_radii(places.core, counts[i] - 1.0) ** 2, places.brightness(i, b, r2), 0)
    return image.astype(np.float32)


def _dealt(shape: tuple[int, int], places: Places, reach2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sources that reach into each square: where each square's begin, and their numbers, ascending."""
    form = places.form.astype(float)
    det = form[:, 0] * form[:, 2] - form[:, 1] ** 2
    ends = []
    for axis in (0, 1):
        half = np.sqrt(reach2 * form[:, 2 - 2 * axis] / det) + 1
        squares = -(-shape[1 - axis] // SIDE)
        low, high = ((places.position[:, axis] + sign * half) // SIDE for sign in (-1, 1))
        ends.append((np.clip(low, 0, squares).astype(np.int64), np.clip(high, -1, squares - 1).astype(np.int64), squares))
    (x0, x1, across), (y0, y1, down) = ends
    wide, tall = np.maximum(x1 - x0 + 1, 0), np.maximum(y1 - y0 + 1, 0)
    number = wide * tall
    source = np.repeat(np.arange(len(number)), number)
    k = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    square = (y0[source] + k // wide[source]) * across + x0[source] + k % wide[source]
    order = np.argsort(square, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(square, minlength=across * down))])
    return starts.astype(np.int32), source[order].astype(np.int32)


@inlined
def _light(models: Any, form: Any, core2: Any, pixels: Any, offsets: Any, reach2: Any, i: Any, b: Any, y: Any, x: Any) -> Any:
    """Return the model of source i at a pixel."""
    r2 = radius2(form, i, np.float32(x - pixels[i, 0]) - offsets[i, 0], np.float32(y - pixels[i, 1]) - offsets[i, 1])
    if r2 >= reach2[i]:
        return np.float32(0)
    return brightness(models, i, b, node(r2, core2))


def _arguments(shape: tuple[int, int], places: Places, counts: np.ndarray) -> tuple[np.ndarray, ...]:
    reach2 = (node_radii(places.core, counts - 1.0) ** 2).astype(np.float32)
    return (places.models, places.form, places.pixels, places.offsets, reach2, *_dealt(shape, places, reach2))


def cpu(shape: tuple[int, int], places: Places, counts: np.ndarray) -> np.ndarray:
    """Return the sum of all models; see `reference`. Threaded over squares of the image."""
    image = np.zeros((places.models.shape[1], *shape), np.float32)
    _all(*_arguments(shape, places, counts), places.core2, image)
    return image


@parallel
def _all(models: Any, form: Any, pixels: Any, offsets: Any, reach2: Any, starts: Any, members: Any, core2: Any, image: Any) -> None:
    across = -(-image.shape[2] // SIDE)
    for square in prange(len(starts) - 1):
        y0 = square // across * SIDE
        x0 = square % across * SIDE
        for j in range(starts[square], starts[square + 1]):
            i = members[j]
            half_x = half_extent(form, i, reach2[i], 0)
            half_y = half_extent(form, i, reach2[i], 1)
            first_x = max(x0, pixels[i, 0] + np.int32(math.ceil(offsets[i, 0] - half_x)))
            first_y = max(y0, pixels[i, 1] + np.int32(math.ceil(offsets[i, 1] - half_y)))
            last_x = min(min(x0 + SIDE, image.shape[2]) - 1, pixels[i, 0] + np.int32(math.floor(offsets[i, 0] + half_x)))
            last_y = min(min(y0 + SIDE, image.shape[1]) - 1, pixels[i, 1] + np.int32(math.floor(offsets[i, 1] + half_y)))
            for b in range(image.shape[0]):
                _add(models, form, core2, pixels, offsets, reach2[i], i, b, first_x, last_x + 1, first_y, last_y + 1, image)


@helper
def _add(
    models: Any, form: Any, core2: Any, pixels: Any, offsets: Any, reach2: Any, i: Any, b: Any, x0: Any, x1: Any, y0: Any, y1: Any,
    image: Any,
) -> None:  # fmt: skip
    """Add the model of source i to a box of pixels of the image; what `_light` does, looking at no array twice."""
    ix = pixels[i, 0]
    iy = pixels[i, 1]
    ox = offsets[i, 0]
    oy = offsets[i, 1]
    xx = form[i, 0]
    xy = np.float32(2) * form[i, 1]
    yy = form[i, 2]
    end = models.shape[2] - 1
    for y in range(y0, y1):
        dy = np.float32(y - iy) - oy
        for x in range(x0, x1):
            dx = np.float32(x - ix) - ox
            r2 = xx * dx * dx + xy * dx * dy + yy * dy * dy
            place = node(r2, core2)
            low = np.int32(place)
            if r2 < reach2 and low < end:
                inner = models[i, b, np.uint64(low)]
                outer = models[i, b, np.uint64(low + 1)]
                image[b, np.uint64(y), np.uint64(x)] += inner + (place - np.float32(low)) * (outer - inner)


def on_cuda(shape: tuple[int, int], places: Places, counts: np.ndarray) -> np.ndarray:
    """Return the sum of all models from the GPU, a block a square of the image; see `reference`."""
    arguments = [upload(a) for a in _arguments(shape, places, counts)]
    image = empty((places.models.shape[1], *shape), np.float32)
    launch(_draw_square, -(-shape[1] // SIDE) * -(-shape[0] // SIDE), THREADS, *arguments, places.core2, image)
    return download(image)


def _draw_square(models, form, pixels, offsets, reach2, starts, members, core2, image):  # type: ignore[no-untyped-def]
    square = cuda.blockIdx.x
    across = -(-image.shape[2] // SIDE)
    y0 = square // across * SIDE
    x0 = square % across * SIDE
    for b in range(image.shape[0]):
        for p in range(cuda.threadIdx.x, SIDE * SIDE, THREADS):
            y = y0 + p // SIDE
            x = x0 + p % SIDE
            if y < image.shape[1] and x < image.shape[2]:
                total = np.float32(0)
                for j in range(starts[square], starts[square + 1]):
                    total += _light(models, form, core2, pixels, offsets, reach2, members[j], b, y, x)
                image[b, y, x] = total


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    return [
        (planes.data.shape[1:], places, np.minimum(6 + 2 * np.arange(len(places.pixels)), places.models.shape[2]).astype(np.int32))
        for planes, places in scene(rng)
    ]


KERNEL = KernelSpec(
    name="render",
    summary="Draw the radial models of all sources.",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(
            _draw_square,
            "void(float32[:,:,::1], float32[:,::1], int32[:,::1], float32[:,::1], float32[::1], int32[::1], int32[::1], float32, "
            "float32[:,:,::1])",
            THREADS,
        ),
    ),
    example=_example,
    rtol=1e-3,
    atol=1e-2,
)
