"""The matched filter: bands weighted, filtered, combined and turned into maps of flux and significance, in one pass.

A band's filter is separable and the same along both axes. With ivar the inverse variance (zero where a
pixel is unusable) and k the filter, a band contributes

    signal = k * (ivar data),   noise = k^2 * ivar,   weight = k * ivar,

zero outside the image. Signal / sqrt(noise) has unit variance in white noise, whatever the depth and the
gaps; signal / weight is the filtered flux. Filters belong to groups; a group's significance is the
greatest of its filters', its flux that of its first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ._filtering import (
    COLUMNS,
    HALF,
    HIGHEST,
    KNOTS,
    MIN_COVERAGE,
    ROWS,
    ZERO,
    filter_tile,
    inverse_variance,
    masked_weight,
    significance_of_sum,
    square,
)
from ._numba import cuda, download, empty, launch, parallel, prange, read_only, upload, zeros
from .spec import KernelSpec, Launch

THREADS = (16, 8)


class Bits(NamedTuple):
    """Mask bits: `unusable` pixels have no weight, unless all that is wrong with them is that they are `saturated`."""

    unusable: int
    saturated: int


def knots() -> np.ndarray:
    """Return the (KNOTS,) float64 arguments at which a table of significance is to be given."""
    return np.linspace(0, HIGHEST, KNOTS)


@parallel
def _all_tiles(data, variance, mask, typical, unusable, saturated, taps, reach, group, chi, flux, snr):  # type: ignore[no-untyped-def]
    ny, nx = data.shape[1:]
    across = (nx + COLUMNS - 1) // COLUMNS
    for tile in prange(((ny + ROWS - 1) // ROWS) * across):
        y0, x0 = (tile // across) * ROWS, (tile % across) * COLUMNS
        filter_tile(data, variance, mask, typical, unusable, saturated, taps, reach, group, chi, x0, y0, flux, snr)


def _outputs(data: np.ndarray, group: np.ndarray, make: Any = np.empty) -> tuple[Any, Any]:
    shape = (int(group.max()) + 1, *data.shape[1:])
    return make(shape, np.float32), make(shape, np.float32)


def cpu(
    data: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray,
    typical: np.ndarray,
    bits: Bits,
    taps: np.ndarray,
    reach: np.ndarray,
    group: np.ndarray,
    chi: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `reference` does, tile by tile and in as many threads as numba has."""
    flux, snr = _outputs(data, group)
    _all_tiles(
        *read_only(data, variance, mask, typical), *bits, np.stack([taps, taps * taps, taps, taps], axis=2), reach, group, chi, flux, snr
    )
    return flux, snr


# The CUDA twin ------------------------------------------------------------------------------------------


def weigh(data, variance, mask, unusable, saturated, typical, weighted):  # type: ignore[no-untyped-def]
    """Fill `weighted` with ivar data and ivar of one band."""
    x, y = cuda.grid(2)
    if y < data.shape[0] and x < data.shape[1]:
        if mask.shape[0] > 0:
            w = masked_weight(data[y, x], variance[y, x], mask[y, x], unusable, saturated, typical)
        else:
            w = inverse_variance(data[y, x], variance[y, x])
        weighted[1, y, x] = w
        weighted[0, y, x] = w * data[y, x] if w > ZERO else ZERO


def along_rows(weighted, taps, squared, filtered):  # type: ignore[no-untyped-def]
    """Filter signal, noise, weight and coverage of one band along x."""
    x, y = cuda.grid(2)
    ny, nx = weighted.shape[1:]
    if y >= ny or x >= nx:
        return
    r = taps.shape[0] // 2
    signal, noise, weight, cover = ZERO, ZERO, ZERO, ZERO
    for i in range(max(x - r, 0), min(x + r + 1, nx)):
        k, w = taps[i - x + r], weighted[1, y, i]
        signal += k * weighted[0, y, i]
        noise += squared[i - x + r] * w
        weight += k * w
        if w > ZERO:
            cover += k
    filtered[0, y, x], filtered[1, y, x], filtered[2, y, x], filtered[3, y, x] = signal, noise, weight, cover


def across_rows(filtered, taps, squared, sums, seen):  # type: ignore[no-untyped-def]
    """Filter one band along y and add it to the sums of signal, noise, weight and squares."""
    x, y = cuda.grid(2)
    ny, nx = seen.shape
    if y >= ny or x >= nx:
        return
    r = taps.shape[0] // 2
    signal, noise, weight, cover = ZERO, ZERO, ZERO, ZERO
    for i in range(max(y - r, 0), min(y + r + 1, ny)):
        k = taps[i - y + r]
        signal += k * filtered[0, i, x]
        noise += squared[i - y + r] * filtered[1, i, x]
        weight += k * filtered[2, i, x]
        cover += k * filtered[3, i, x]
    sums[0, y, x] += signal
    sums[1, y, x] += noise
    sums[2, y, x] += weight
    if cover > HALF:
        seen[y, x] += 1
        sums[3, y, x] += square(signal, noise)


def finish(sums, seen, chi, first, flux, snr):  # type: ignore[no-untyped-def]
    """Turn a filter's sums into significance and flux of its group, and clear them."""
    x, y = cuda.grid(2)
    if y >= seen.shape[0] or x >= seen.shape[1]:
        return
    covered = seen[y, x] > 0
    if chi.shape[0] > 0:
        new = significance_of_sum(sums[3, y, x], seen[y, x], chi)
    else:
        new = sums[0, y, x] / math.sqrt(sums[1, y, x]) if covered else ZERO
    if first:
        flux[y, x] = sums[0, y, x] / sums[2, y, x] if covered else ZERO
    else:
        new = max(new, snr[y, x])
    snr[y, x] = new
    sums[0, y, x], sums[1, y, x], sums[2, y, x], sums[3, y, x] = ZERO, ZERO, ZERO, ZERO
    seen[y, x] = 0


def cuda_twin(
    data: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray,
    typical: np.ndarray,
    bits: Bits,
    taps: np.ndarray,
    reach: np.ndarray,
    group: np.ndarray,
    chi: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `reference` does, filter by filter and band by band on the device."""
    ny, nx = data.shape[1:]
    middle = taps.shape[2] // 2
    threads = THREADS
    blocks = (-(-nx // threads[0]), -(-ny // threads[1]))
    bands = [[upload(plane[b]) for plane in (data, variance, mask)] for b in range(len(data))]
    table = upload(chi)
    flux, snr = _outputs(data, group, empty)
    weighted, filtered = empty((2, ny, nx), np.float32), empty((4, ny, nx), np.float32)
    sums, seen = zeros((4, ny, nx), np.float32), zeros((ny, nx), np.int32)
    for f, g in enumerate(group):
        for b, planes in enumerate(bands):
            reached = taps[f, b, middle - reach[f, b] : middle + reach[f, b] + 1]
            kernel, squared = upload(reached), upload(reached * reached)
            launch(weigh, blocks, threads, *planes, *bits, typical[b], weighted)
            launch(along_rows, blocks, threads, weighted, kernel, squared, filtered)
            launch(across_rows, blocks, threads, filtered, kernel, squared, sums, seen)
        launch(finish, blocks, threads, sums, seen, table, f == 0 or g != group[f - 1], flux[g], snr[g])
    return download(flux), download(snr)


# The reference ------------------------------------------------------------------------------------------


def reference(
    data: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray,
    typical: np.ndarray,
    bits: Bits,
    taps: np.ndarray,
    reach: np.ndarray,
    group: np.ndarray,
    chi: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return filtered flux and significance of every group of filters.

    Args:
        data: (band, y, x) float32.
        variance: (band, y, x) float32; not positive or not finite where nothing is known.
        mask: (band, y, x) int32, or (band, 0, 0) for none.
        typical: (band,) float32, the variance that stands in for a saturated pixel's unknown one; 0 for none.
        bits: which mask bits make a pixel unusable, and which one says saturated.
        taps: (filter, band, n) float32, n odd: the filters along x and along y, the middle at n // 2.
        reach: (filter, band) int64, taps on either side of the middle that are used.
        group: (filter,) int64, rising from 0 without gaps: the group of each filter.
        chi: (band + 1, KNOTS) float32, the significance of the root of a sum of the positive squared S/N
            of so many bands at `knots()`; (0, KNOTS) to add the bands with inverse-variance weights instead.

    Returns:
        flux: (group, y, x) float32, filtered flux per pixel of the group's first filter, the mean over the
            bands; 0 where nothing is known.
        snr: (group, y, x) float32, its significance in standard deviations; 0 where nothing is known.
    """
    from scipy import ndimage

    def filtered(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            plane = ndimage.correlate1d(plane, kernel, axis=axis, mode="constant")
        return plane

    shape = data.shape[1:]
    middle = taps.shape[2] // 2
    known = np.isfinite(variance) & (variance > 0)
    bad, saturated = np.zeros(data.shape, bool), np.zeros(data.shape, bool)
    if mask.size:
        bad, saturated = (mask & bits.unusable & ~bits.saturated) != 0, (mask & bits.saturated) != 0
    stands_in = np.broadcast_to(typical[:, None, None], data.shape)
    used = np.where(known, variance, np.where(saturated & (stands_in > 0), stands_in, np.inf))
    ivar = np.where(np.isfinite(data) & ~bad, np.float32(1) / used, np.float32(0))
    values = np.where(ivar > 0, data, np.float32(0))

    flux, snr = _outputs(data, group, np.zeros)
    for f, g in enumerate(group):
        signal, noise, weight, squares = (np.zeros(shape, np.float32) for _ in range(4))
        seen = np.zeros(shape, np.int64)
        for b in range(len(data)):
            kernel = taps[f, b, middle - reach[f, b] : middle + reach[f, b] + 1]
            band_signal, band_noise = filtered(ivar[b] * values[b], kernel), filtered(ivar[b], kernel**2)
            inside = filtered((ivar[b] > 0).astype(np.float32), kernel) > MIN_COVERAGE
            ratio = np.divide(band_signal, np.sqrt(band_noise), out=np.zeros(shape, np.float32), where=inside)
            signal, noise, weight = signal + band_signal, noise + band_noise, weight + filtered(ivar[b], kernel)
            squares += np.maximum(ratio, 0) ** 2
            seen += inside
        new = np.divide(signal, np.sqrt(noise), out=np.zeros(shape, np.float32), where=seen > 0)
        if len(chi):
            root = np.sqrt(squares)
            new = np.where(seen > 0, np.maximum(np.choose(seen, [_looked_up(row, root) for row in chi]), 0), 0)
        if f == 0 or g != group[f - 1]:
            snr[g] = new
            flux[g] = np.divide(signal, weight, out=np.zeros(shape, np.float32), where=seen > 0)
        else:
            snr[g] = np.maximum(snr[g], new)
    return flux, snr


def _looked_up(table: np.ndarray, value: np.ndarray) -> np.ndarray:
    return np.asarray(np.interp(value, knots(), table) + np.maximum(value - HIGHEST, 0), np.float32)


def example(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Return small images: dirt in three bands, one row, a filter larger than the image, nothing usable."""
    bits = Bits(0b1111, 0b0010)

    def filters(groups: Sequence[int], n_bands: int, sigmas: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        reach = np.repeat(np.ceil(3 * np.array(sigmas)).astype(np.int64)[:, None], n_bands, axis=1)
        steps = np.arange(-reach.max(), reach.max() + 1)
        taps = np.exp(-0.5 * (steps / np.maximum(np.array(sigmas), 1e-3)[:, None]) ** 2)
        taps /= taps.sum(axis=1, keepdims=True)
        return np.repeat(taps[:, None], n_bands, axis=1).astype(np.float32), reach, np.array(groups, np.int64)

    def image(n_bands: int, ny: int, nx: int) -> list[np.ndarray]:
        data = rng.normal(0, 5, (n_bands, ny, nx)).astype(np.float32)
        data[:, ny // 2 : ny // 2 + 1, nx // 2] += 300
        return [
            data,
            rng.uniform(20, 30, data.shape).astype(np.float32),
            np.zeros((n_bands, 0, 0), np.int32),
            np.zeros(n_bands, np.float32),
        ]

    chi = np.stack([np.maximum(knots() - 0.3 * n, 0) for n in range(3)]).astype(np.float32)
    none = np.zeros((0, KNOTS), np.float32)

    dirty = image(2, 16, 15)
    dirty[0][0, 2:5, 8:14] = np.nan
    dirty[1][1, 12:, :] = np.inf
    dirty[1][1, :4] = 0
    dirty[2] = (rng.uniform(size=dirty[0].shape) < 0.03) * rng.integers(1, 32, dirty[0].shape, dtype=np.int32)
    dirty[2][0, 7:10, 6:9] = 0b0010
    dirty[1][0, 7:10, 6:9] = np.inf
    dirty[3][:] = 25
    nothing = image(1, 8, 9)
    nothing[0][:] = np.nan
    return (
        (*dirty, bits, *filters((0, 0, 1), 2, (1.7, 2.4, 0.8)), none),
        (*dirty, bits, *filters((0, 1), 2, (1.3, 0.0)), chi),
        (*image(1, 1, 50), bits, *filters((0,), 1, (1.5,)), none),
        (*image(1, 12, 10), bits, *filters((0,), 1, (9.0,)), none),
        (*nothing, bits, *filters((0, 0), 1, (1.0, 2.0)), none),
        (*image(2, 0, 7), bits, *filters((0,), 2, (1.0,)), none),
    )


KERNEL = KernelSpec(
    name="matched_filter",
    summary="Weight, filter and combine bands into maps of flux and significance.",
    reference=reference,
    cpu=cpu,
    cuda=cuda_twin,
    launches=(
        Launch(weigh, "void(float32[:,::1], float32[:,::1], int32[:,::1], int64, int64, float32, float32[:,:,::1])", 128),
        Launch(along_rows, "void(float32[:,:,::1], float32[::1], float32[::1], float32[:,:,::1])", 128),
        Launch(across_rows, "void(float32[:,:,::1], float32[::1], float32[::1], float32[:,:,::1], int32[:,::1])", 128),
        Launch(finish, "void(float32[:,:,::1], int32[:,::1], float32[:,::1], boolean, float32[:,::1], float32[:,::1])", 128),
    ),
    example=example,
    rtol=1e-4,
    atol=1e-4,
)
