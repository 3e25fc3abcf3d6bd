"""Mean brightness in squares around given pixels: how bright the surroundings of a peak are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._filtering import INFINITE, ZERO, inverse_variance, masked_weight, read_only
from ._numba import cuda, download, empty, helper, launch, parallel, prange, upload
from .cutouts import weights
from .matched_filter import Bits
from .spec import KernelSpec, Launch

THREADS = 128


def reference(
    data: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray,
    typical: np.ndarray,
    bits: Bits,
    y: np.ndarray,
    x: np.ndarray,
    half: int,
) -> np.ndarray:
    """Return the mean over a square around each of a number of pixels.

    A pixel's brightness is the mean over its usable bands, weighted by inverse variance; 0 where none is
    usable, and outside the image.

    Args:
        data: (band, y, x) float32.
        variance: (band, y, x) float32; not positive or not finite where nothing is known.
        mask: (band, y, x) int32, or (band, 0, 0) for none.
        typical: (band,) float32, the variance that stands in for a saturated pixel's unknown one; 0 for none.
        bits: which mask bits make a pixel unusable, and which one says saturated.
        y: (n,) int64, rows of the pixels, in the image.
        x: (n,) int64, columns.
        half: the square has sides of 2 half + 1 pixels.

    Returns:
        (n,) float32.
    """
    ivar = weights(data, variance, mask, typical, bits)
    weight = ivar.sum(axis=0)
    signal = np.where(ivar > 0, ivar * np.where(ivar > 0, data, 0), 0).sum(axis=0)
    mean = np.pad(np.divide(signal, weight, out=np.zeros_like(signal), where=weight > 0), half)
    side = 2 * half + 1
    return np.array([mean[v : v + side, u : u + side].sum(dtype=float) / side**2 for v, u in zip(y, x, strict=True)], np.float32)


@helper
def _weight(value, variance, mask, v, u, typical, unusable, saturated):  # type: ignore[no-untyped-def]
    if mask.shape[0] > 0:
        return masked_weight(value, variance, mask[v, u], unusable, saturated, typical)
    return inverse_variance(value, variance)


@helper
def _mean_of(signal, weight):  # type: ignore[no-untyped-def]
    return signal / weight if weight > ZERO else ZERO


@helper
def _add_row(data, variance, mask, typical, unusable, saturated, v, left, lines, columns):  # type: ignore[no-untyped-def]
    """Add a row of the brightness to columns; loops that a compiler can vectorise."""
    signal, weight = lines[0], lines[1]
    n = columns.size
    signal[:] = ZERO
    weight[:] = ZERO
    for b in range(data.shape[0]):
        values, variances = data[b, v, left : left + n], variance[b, v, left : left + n]
        if mask.shape[1] > 0:
            bits = mask[b, v, left : left + n]
            for j in range(n):
                w = masked_weight(values[j], variances[j], bits[j], unusable, saturated, typical[b])
                signal[j] += w * values[j] if w > ZERO else ZERO
                weight[j] += w
        else:
            for j in range(n):
                w = inverse_variance(values[j], variances[j])
                signal[j] += w * values[j] if w > ZERO else ZERO
                weight[j] += w
    for j in range(n):
        columns[j] += _mean_of(signal[j], weight[j])


@helper
def _add_plain_row(values, variances, columns):  # type: ignore[no-untyped-def]
    """Add a row of a single band without a mask, of which the mean is the value itself."""
    for j in range(columns.size):
        usable = (variances[j] > ZERO) & (variances[j] < INFINITE) & (values[j] - values[j] == ZERO)
        columns[j] += values[j] if usable else ZERO


@parallel
def _all_means(data, variance, mask, typical, unusable, saturated, y, x, half, mean):  # type: ignore[no-untyped-def]
    ny, nx = data.shape[1:]
    for i in prange(y.size):
        left, right = max(x[i] - half, 0), min(x[i] + half + 1, nx)
        columns, lines = np.zeros(right - left, np.float32), np.empty((2, right - left), np.float32)
        for v in range(max(y[i] - half, 0), min(y[i] + half + 1, ny)):
            if data.shape[0] == 1 and mask.shape[1] == 0:
                _add_plain_row(data[0, v, left:right], variance[0, v, left:right], columns)
            else:
                _add_row(data, variance, mask, typical, unusable, saturated, v, left, lines, columns)
        total = ZERO
        for value in columns:
            total += value
        mean[i] = total / np.float32((2 * half + 1) * (2 * half + 1))


def cpu(
    data: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray,
    typical: np.ndarray,
    bits: Bits,
    y: np.ndarray,
    x: np.ndarray,
    half: int,
) -> np.ndarray:
    """Return what `reference` does. Threaded over pixels."""
    mean = np.empty(len(y), np.float32)
    _all_means(*read_only(data, variance, mask, typical), *bits, np.asarray(y, np.int64), np.asarray(x, np.int64), half, mean)
    return mean


def cuda_twin(
    data: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray,
    typical: np.ndarray,
    bits: Bits,
    y: np.ndarray,
    x: np.ndarray,
    half: int,
) -> np.ndarray:
    """Return what `reference` does, a pixel a thread."""
    if len(y) == 0:
        return np.zeros(0, np.float32)
    planes = [upload(plane) for plane in (data, variance, mask, typical)]
    mean = empty(len(y), np.float32)
    places = upload(np.asarray(y, np.int64)), upload(np.asarray(x, np.int64))
    launch(_mean, -(-len(y) // THREADS), THREADS, *planes, *bits, *places, half, mean)
    return download(mean)


def _mean(data, variance, mask, typical, unusable, saturated, y, x, half, mean):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i >= y.size:
        return
    ny, nx = data.shape[1:]
    total = ZERO
    for u in range(max(x[i] - half, 0), min(x[i] + half + 1, nx)):
        column = ZERO
        for v in range(max(y[i] - half, 0), min(y[i] + half + 1, ny)):
            signal, weight = ZERO, ZERO
            for b in range(data.shape[0]):
                w = _weight(data[b, v, u], variance[b, v, u], mask[b], v, u, typical[b], unusable, saturated)
                signal += w * data[b, v, u] if w > ZERO else ZERO
                weight += w
            column += _mean_of(signal, weight)
        total += column
    mean[i] = total / np.float32((2 * half + 1) * (2 * half + 1))


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    bits = Bits(0b1111, 0b0010)
    data = rng.normal(3, 5, (2, 21, 30)).astype(np.float32)
    variance = rng.uniform(20, 30, data.shape).astype(np.float32)
    none, nothing = np.zeros((2, 0, 0), np.int32), np.zeros(2, np.float32)
    y, x = rng.integers(0, 21, 40), rng.integers(0, 30, 40)
    y[:4], x[:4] = (0, 0, 20, 20), (0, 29, 0, 29)
    dirty, unsure = data.copy(), variance.copy()
    dirty[0, 2:5, 8:14] = np.nan
    unsure[1, 12:] = np.inf
    mask = (rng.uniform(size=data.shape) < 0.05) * rng.integers(1, 32, data.shape, dtype=np.int32)
    mask[0, 7:10, 6:9] = 0b0010
    unsure[0, 7:10, 6:9] = np.inf
    row = np.arange(30)
    return [
        (data, variance, none, nothing, bits, y, x, 3),
        (dirty, unsure, mask, nothing + 25, bits, y, x, 5),
        (data[:1], variance[:1], none[:1], nothing[:1], bits, y, x, 40),
        (data[:1, :1].copy(), variance[:1, :1].copy(), none[:1], nothing[:1], bits, row * 0, row, 2),
        (data * np.nan, variance, none, nothing, bits, y, x, 0),
        (data, variance, none, nothing, bits, y[:0], x[:0], 3),
    ]


KERNEL = KernelSpec(
    name="surroundings",
    summary="Mean brightness in squares around given pixels.",
    reference=reference,
    cpu=cpu,
    cuda=cuda_twin,
    launches=(
        Launch(
            _mean,
            "void(float32[:,:,::1], float32[:,:,::1], int32[:,:,::1], float32[::1], int64, int64, int64[::1], int64[::1], int64,"
            " float32[::1])",
            THREADS,
        ),
    ),
    example=_example,
    rtol=1e-4,
    atol=1e-4,
)
