"""Spectra on another wavelength grid: the exact integral over each new pixel, with its variance and what was missing.

A spectrum's flux density is taken as constant within a pixel. A new pixel gets the mean over that part of it which usable
old pixels cover, so that flux times the covered width is the exact integral there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._numba import cuda, download, empty, helper, inlined, launch, parallel, prange, read_only, upload
from .spec import KernelSpec, Launch

THREADS = 128
ROWS = 32
"""Rows that a thread of the CPU twin takes at a time."""
EVEN = 0.01
"""Half the difference between the widest and the narrowest pixel, in their mean, up to which pixels count as even."""
TOUCH = 1e-9
"""Parts of a new pixel up to this are rounding errors of its edges: no usable part at all, and no reason for a mask bit."""

Resampled = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def pixel_edges(wave: np.ndarray, length: np.ndarray | None = None) -> np.ndarray:
    """Return the edges of pixels from their centres: half-way between neighbours; the outermost pixels have theirs in the middle.

    Half-way is the geometric mean where a row's pixels are more even in the logarithm of the wavelength than in the
    wavelength itself, and even to 2 %, which allows for centres kept in single precision; elsewhere the arithmetic mean.

    Args:
        wave: (row, pixel) float64, centres.
        length: (row,) pixels of each row, all if None. What is behind them is filling and changes nothing before it.
            A row of one pixel has no width.

    Returns:
        (row, pixel + 1) float64; NaN in a row whose centres are fewer than two, not finite, not positive or not increasing.
    """
    rows, pixels = wave.shape
    edges = np.empty((rows, pixels + 1))
    _edges(*read_only(wave, np.full(rows, pixels) if length is None else length), edges)
    return edges


@parallel
def _edges(wave: Any, length: Any, edges: Any) -> None:
    pixels = wave.shape[1]
    for i in prange(wave.shape[0]):
        last = length[i] - 1
        fine = pixels > 1 and wave[i, 0] > 0 and wave[i, pixels - 1] < np.inf
        narrow = low = np.inf
        wide = high = 0.0
        for j in range(last):
            step = wave[i, j + 1] - wave[i, j]
            ratio = step / wave[i, j]
            fine &= step > 0
            narrow, wide = min(narrow, step), max(wide, step)
            low, high = min(low, ratio), max(high, ratio)
        for j in range(max(last, 0), pixels - 1):
            fine &= wave[i, j + 1] > wave[i, j]
        if not fine:
            edges[i] = np.nan
            continue
        spread = (high - low) / (high + low)
        geometric = spread < EVEN and spread < (wide - narrow) / (wide + narrow)
        for j in range(last):
            a, b = wave[i, j], wave[i, j + 1]
            edges[i, j + 1] = math.sqrt(a * b) if geometric else (a + b) / 2
        if last > 0:
            a, b = edges[i, 1], edges[i, last]
            edges[i, 0] = wave[i, 0] ** 2 / a if geometric else 2 * wave[i, 0] - a
            edges[i, last + 1] = wave[i, last] ** 2 / b if geometric else 2 * wave[i, last] - b
        else:
            edges[i, : last + 2] = wave[i, 0]
        for j in range(last + 1, pixels):
            edges[i, j + 1] = max(edges[i, j], wave[i, j])


def reference(
    flux: np.ndarray, ivar: np.ndarray, mask: np.ndarray, edges: np.ndarray, grid: np.ndarray, unusable: int, threshold: float
) -> Resampled:
    """Return spectra on another grid.

    A pixel is unusable where its flux or inverse variance is not finite, the inverse variance not positive, or the mask
    has one of the bits of `unusable`. With p the part of a new pixel that an old one covers and sums over usable old
    pixels, flux = sum(p f) / sum(p) and variance = sum(p^2 v) / sum(p)^2, as in Carnall (2017), whose factors P w are the
    overlaps. Sums are in double precision; the results have the precision of the flux.

    Args:
        flux: (row, pixel) float32 or float64, flux density.
        ivar: (row, pixel), of the same type, inverse variance.
        mask: (row, pixel) int32.
        edges: (row, pixel + 1) float64, edges of each row's pixels, increasing; or one row of them that all share.
        grid: (new + 1,) float64, edges of the new pixels, increasing.
        unusable: mask bits with which a pixel is left out; -1 for all.
        threshold: a mask bit is handed on where old pixels that have it cover more than this part of a new pixel.

    Returns:
        flux, ivar and masked, (row, new), of the flux's type, and mask, (row, new) int32. Masked is the part of
        a new pixel that unusable pixels cover, or none at all. Where nothing usable is left, flux is NaN and ivar 0.

    References: Carnall (2017), arXiv:1705.05165.
    """
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0) & ((mask & np.int32(unusable)) == 0)
    f = np.where(good, flux, 0).astype(np.float64)
    v = 1 / np.where(good, ivar, np.inf).astype(np.float64)
    out, weight, masked = (np.empty((len(flux), len(grid) - 1)) for _ in range(3))
    bits = np.zeros(out.shape, np.int32)
    for i in range(len(flux)):
        own = edges[i if len(edges) > 1 else 0]
        overlap = np.minimum(own[1:, None], grid[1:]) - np.maximum(own[:-1, None], grid[:-1])
        part = np.clip(overlap, 0, None) / np.diff(grid)
        beyond = np.clip(own[0] - grid[:-1], 0, np.diff(grid)) + np.clip(grid[1:] - own[-1], 0, np.diff(grid))
        used = good[i] @ part
        some = used > TOUCH
        safe = np.where(some, used, 1)
        out[i] = np.where(some, f[i] @ part / safe, np.nan)
        weight[i] = np.where(some, safe**2 / np.where(some, v[i] @ part**2, 1), 0)
        masked[i] = np.where(some, np.minimum(beyond / np.diff(grid) + ~good[i] @ part, 1), 1)
        for b in range(32):
            bit = np.uint32(1 << b).astype(np.int32)
            bits[i, ((mask[i] & bit) != 0) @ part > threshold + TOUCH] |= bit
    return out.astype(flux.dtype), weight.astype(flux.dtype), masked.astype(flux.dtype), bits


@inlined
def _usable(flux: Any, ivar: Any, mask: Any, unusable: Any, i: Any, j: Any) -> Any:
    v = ivar[i, j]
    return (abs(flux[i, j]) < np.inf) & (v > 0) & (v < np.inf) & ((mask[i, j] & unusable) == 0)


@inlined
def _part(edges: Any, e: Any, j: Any, low: Any, high: Any) -> Any:
    """Return the part of the new pixel from `low` to `high` that old pixel j covers, in row e of the edges."""
    return (min(edges[e, j + 1], high) - max(edges[e, j], low)) / (high - low)


@inlined
def _beyond(edges: Any, e: Any, low: Any, high: Any) -> Any:
    """Return the part of a new pixel that lies beyond the spectrum."""
    begin = min(max(edges[e, 0], low), high)
    end = max(min(edges[e, edges.shape[1] - 1], high), low)
    return ((begin - low) + (high - end)) / (high - low)


@inlined
def _result(light: Any, spread: Any, used: Any, lost: Any) -> Any:
    """Return flux, inverse variance and masked part of a new pixel from its sums."""
    some = used > TOUCH
    return light / used if some else np.float64(np.nan), used * used / spread if some else np.float64(0), min(lost, 1.0) if some else 1.0


@helper
def _bits(seen: Any, mask: Any, i: Any, edges: Any, e: Any, first: Any, last: Any, low: Any, high: Any, threshold: Any) -> Any:
    """Return those of the mask bits `seen` whose old pixels, of those from `first` to before `last`, cover more than `threshold`."""
    kept = np.int32(0)
    for b in range(32):
        if (seen >> b) & 1:
            covered = np.float64(0)
            for j in range(first, last):
                if (mask[i, j] >> b) & 1:
                    covered += _part(edges, e, j, low, high)
            if covered > threshold + TOUCH:
                kept = np.int32(kept | (1 << b))
    return kept


def cpu(
    flux: np.ndarray, ivar: np.ndarray, mask: np.ndarray, edges: np.ndarray, grid: np.ndarray, unusable: int, threshold: float
) -> Resampled:
    """Return spectra on another grid; see `reference`. Threaded over rows."""
    shape = (len(flux), len(grid) - 1)
    out, weight, masked = (np.empty(shape, flux.dtype) for _ in range(3))
    bits = np.empty(shape, np.int32)
    _rows(*read_only(flux, ivar, mask, edges, grid), np.int32(unusable), float(threshold), out, weight, masked, bits)
    return out, weight, masked, bits


@parallel
def _rows(
    flux: Any, ivar: Any, mask: Any, edges: Any, grid: Any, unusable: Any, threshold: Any, out: Any, weight: Any, masked: Any, bits: Any
) -> None:
    rows, new = out.shape
    for block in prange((rows + ROWS - 1) // ROWS):
        first = np.empty(new, np.int64)
        start = np.empty(new + 1, np.int64)
        part = np.empty(new + flux.shape[1], np.float64)
        beyond = np.empty(new, np.float64)
        usable = np.empty((3, flux.shape[1]), np.float64)
        sums = np.empty((4, new), np.float64)
        for i in range(block * ROWS, min((block + 1) * ROWS, rows)):
            e = i if edges.shape[0] > 1 else 0
            if e > 0 or i == block * ROWS:
                _plan(edges, e, grid, first, start, part, beyond)
            _add(flux, ivar, mask, i, unusable, first, start, part, beyond, usable, sums, bits)
            for k in range(new):
                out[i, k], weight[i, k], masked[i, k] = _result(sums[0, k], sums[1, k], sums[2, k], sums[3, k])
            for k in range(new):
                if bits[i, k] != 0:
                    last = first[k] + start[k + 1] - start[k]
                    bits[i, k] = _bits(bits[i, k], mask, i, edges, e, first[k], last, grid[k], grid[k + 1], threshold)


@helper
def _plan(edges: Any, e: Any, grid: Any, first: Any, start: Any, part: Any, beyond: Any) -> None:
    """Find the overlaps: new pixel k has the parts part[start[k] : start[k + 1]] of the old pixels from first[k] on."""
    j = 0
    n = 0
    pixels = edges.shape[1] - 1
    for k in range(len(grid) - 1):
        low, high = grid[k], grid[k + 1]
        while j < pixels and edges[e, j + 1] <= low:
            j += 1
        first[k] = j
        start[k] = n
        beyond[k] = _beyond(edges, e, low, high)
        last = j
        while last < pixels and edges[e, last] < high:
            part[n] = _part(edges, e, last, low, high)
            n += 1
            last += 1
    start[len(grid) - 1] = n


@helper
def _add(
    flux: Any, ivar: Any, mask: Any, i: Any, unusable: Any, first: Any, start: Any, part: Any, beyond: Any,
    usable: Any, sums: Any, bits: Any,
) -> None:  # fmt: skip
    """Add up a row's old pixels in its new ones, and gather their mask bits. The first loop has no branches: it becomes vectors."""
    light, spread, used = usable[0], usable[1], usable[2]
    for j in range(flux.shape[1]):
        good = _usable(flux, ivar, mask, unusable, i, j)
        light[j] = flux[i, j] if good else 0.0
        spread[j] = 1.0 / ivar[i, j] if good else 0.0
        used[j] = 1.0 if good else 0.0
    for k in range(len(first)):
        f = v = u = lost = 0.0
        seen = np.int32(0)
        for t in range(start[k], start[k + 1]):
            p = part[t]
            j = first[k] + t - start[k]
            f += p * light[j]
            v += p * p * spread[j]
            u += p * used[j]
            lost += p * (1.0 - used[j])
            seen |= mask[i, j]
        sums[0, k], sums[1, k], sums[2, k], sums[3, k] = f, v, u, beyond[k] + lost
        bits[i, k] = seen


def cuda_twin(
    flux: np.ndarray, ivar: np.ndarray, mask: np.ndarray, edges: np.ndarray, grid: np.ndarray, unusable: int, threshold: float
) -> Resampled:
    """Return spectra on another grid; see `reference`. A thread a new pixel."""
    shape = (len(flux), len(grid) - 1)
    out, weight, masked = (empty(shape, flux.dtype) for _ in range(3))
    bits = empty(shape, np.int32)
    if len(flux):
        blocks = (-(-shape[1] // THREADS), min(shape[0], 65535))
        arrays = [upload(a) for a in (flux, ivar, mask, edges, grid)]
        launch(_resample_pixels, blocks, (THREADS, 1), *arrays, np.int32(unusable), float(threshold), out, weight, masked, bits)
    return download(out), download(weight), download(masked), download(bits)


def _resample_pixels(  # type: ignore[no-untyped-def]
    flux, ivar, mask, edges, grid, unusable, threshold, out, weight, masked, bits
):
    # An overlap is calculated sooner than fetched, so there is no plan here; rows that share their edges are searched once.
    k = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if k >= out.shape[1]:
        return
    low = grid[k]
    high = grid[k + 1]
    first = np.int32(-1)
    for i in range(cuda.blockIdx.y, out.shape[0], cuda.gridDim.y):
        e = i if edges.shape[0] > 1 else 0
        if e > 0 or first < 0:
            first = _search(edges, e, low)
        light = np.float64(0)
        spread = np.float64(0)
        used = np.float64(0)
        lost = np.float64(0)
        seen = np.int32(0)
        last = first
        while last < flux.shape[1] and edges[e, last] < high:
            p = _part(edges, e, last, low, high)
            good = _usable(flux, ivar, mask, unusable, i, last)
            if good:
                light += p * flux[i, last]
                spread += p * p * (np.float64(1) / ivar[i, last])
                used += p
            else:
                lost += p
            seen |= mask[i, last]
            last += np.int32(1)
        out[i, k], weight[i, k], masked[i, k] = _result(light, spread, used, _beyond(edges, e, low, high) + lost)
        bits[i, k] = _bits(seen, mask, i, edges, e, first, last, low, high, threshold) if seen != 0 else np.int32(0)


@inlined
def _search(edges: Any, e: Any, low: Any) -> Any:
    """Return the first pixel whose upper edge lies beyond `low`; the number of pixels if there is none."""
    begin = np.int32(0)
    end = np.int32(edges.shape[1] - 1)
    while begin < end:
        middle = (begin + end) // np.int32(2)
        if edges[e, middle + 1] <= low:
            begin = middle + np.int32(1)
        else:
            end = middle
    return begin


def example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Return coarser, finer, equal and displaced grids, shared and of each row's own, dirt, one pixel, one row, and none."""
    edges = pixel_edges(_fixed(4000 * 10 ** (3e-4 * np.arange(60)))[None])
    flux = rng.normal(10, 3, (9, 60)).astype(np.float32)
    ivar = rng.gamma(4, 0.1, flux.shape).astype(np.float32)
    mask = np.where(rng.random(flux.shape) < 0.2, 1 << rng.integers(0, 32, flux.shape), 0).astype(np.uint32).view(np.int32)
    flux[1, 5:9] = np.nan
    flux[1, 20] = np.inf
    ivar[2, 30:] = 0
    ivar[2, :2] = np.nan
    mask[3] = 5
    own = edges + rng.uniform(0, 40, (9, 1))
    coarse, fine = np.linspace(3990, 4180, 26), np.linspace(4040, 4100, 131)
    clean = np.zeros_like(mask)
    found = [
        (flux, ivar, mask, edges, coarse, -1, 0.5),
        (flux, ivar, mask, own, coarse, -1, 0.0),
        (flux, ivar, mask, edges, fine, 0b101, 0.3),
        (flux, ivar, mask, own, fine, 0, 0.9),
        (flux, ivar, clean, edges, edges[0], -1, 0.5),
        (flux, ivar, clean, edges, coarse + 300, -1, 0.5),
        (flux[:1], ivar[:1], mask[:1], own[:1], coarse[:2], -1, 0.5),
        (flux[:, :1].copy(), ivar[:, :1].copy(), mask[:, :1].copy(), edges[:, :2].copy(), coarse, -1, 0.5),
        (flux[:0], ivar[:0], mask[:0], edges, coarse, -1, 0.5),
    ]
    return [(*(_fixed(plane) for plane in arguments[:3]), *arguments[3:]) for arguments in found]


def _fixed(array: np.ndarray) -> np.ndarray:
    """Return an array read-only, as products are: to the compiler that is another type."""
    array.flags.writeable = False
    return array


def large(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return a plate of spectra on SDSS's grid, for a grid of 2 Å."""
    edges = 10 ** (3.55 + 1e-4 * np.arange(4601))[None]
    flux = rng.normal(1, 1, (1000, 4600)).astype(np.float32)
    mask = (rng.random(flux.shape) < 0.01).astype(np.int32)
    return _fixed(flux), _fixed(np.ones_like(flux)), _fixed(mask), edges, np.arange(3600.0, 10000.0, 2.0), -1, 0.5


KERNEL = KernelSpec(
    name="resample",
    summary="spectra on another wavelength grid: exact integrals, variance, and the part of each pixel that was missing",
    reference=reference,
    cpu=cpu,
    cuda=cuda_twin,
    launches=(
        Launch(
            _resample_pixels,
            "void(float32[:, ::1], float32[:, ::1], int32[:, ::1], float64[:, ::1], float64[::1], int32, float64, "
            "float32[:, ::1], float32[:, ::1], float32[:, ::1], int32[:, ::1])",
            THREADS,
        ),
    ),
    example=example,
    large=large,
    rtol=1e-6,
    float64="wavelengths differ in digits that single precision does not have, and flux is conserved to its last digit",
)
