"""The matched filter in cutouts: smoothed flux and its noise in boxes of an image, which are put side by side.

Islands cover a tenth of an image. What `matched_filter` makes of the whole, each filter a map of its own, is
made here of the boxes around them. A box is filtered as one long row, first across its rows and then along
them: what runs over from one row into the next falls into the margin, where nothing is kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._filtering import HALF, INFINITE, ONE, ZERO, inverse_variance, masked_weight
from ._islands import deal
from ._numba import cuda, download, helper, launch, parallel, prange, read_only, upload
from .matched_filter import Bits
from .spec import KernelSpec, Launch

THREADS = 128
STRIP = 1 << 14
"""Large boxes are filtered in strips of about so many pixels, which stay in the cache."""


def reference(
    data: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray,
    typical: np.ndarray,
    bits: Bits,
    taps: np.ndarray,
    reach: np.ndarray,
    box: np.ndarray,
    place: np.ndarray,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return filtered flux and its noise in boxes.

    Args:
        data: (band, y, x) float32.
        variance: (band, y, x) float32; not positive or not finite where nothing is known.
        mask: (band, y, x) int32, or (band, 0, 0) for none.
        typical: (band,) float32, the variance that stands in for a saturated pixel's unknown one; 0 for none.
        bits: which mask bits make a pixel unusable, and which one says saturated.
        taps: (filter, band, n) float32, n odd: the filters along x and along y, the middle at n // 2.
        reach: (filter, band) int64, taps on either side of the middle that are used.
        box: (n, 4) int32, y0, x0, y1, x1 of each box in the image, half-open.
        place: (n, 2) int32, row and column of each box in the result, where boxes must not overlap.
        shape: (v, u) of the result.

    Returns:
        flux: (filter, v, u) float32, the filtered mean over the bands under inverse-variance weights; 0 where nothing is
            known, and between boxes.
        noise: (filter, v, u) float32, its standard deviation; inf there.
    """
    from scipy import ndimage

    def filtered(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            plane = ndimage.correlate1d(plane, kernel, axis=axis, mode="constant")
        return plane

    weight = weights(data, variance, mask, typical, bits)
    values = weight * np.where(weight > 0, data, np.float32(0))
    flux, noise = np.zeros((len(taps), *shape), np.float32), np.full((len(taps), *shape), np.inf, np.float32)
    middle = taps.shape[2] // 2
    for f in range(len(taps)):
        sums, seen = np.zeros((3, *data.shape[1:]), np.float32), np.zeros(data.shape[1:], bool)
        for b, r in enumerate(reach[f]):
            kernel = taps[f, b, middle - r : middle + r + 1]
            sums += np.array([filtered(values[b], kernel), filtered(weight[b], kernel**2), filtered(weight[b], kernel)])
            seen |= filtered((weight[b] > 0).astype(np.float32), kernel) > HALF
        mean = np.divide(sums[0], sums[2], out=np.zeros_like(sums[0]), where=seen)
        scatter = np.divide(np.sqrt(sums[1]), sums[2], out=np.full_like(sums[0], np.inf), where=seen)
        for (y0, x0, y1, x1), (v, u) in zip(box, place, strict=True):
            there = (f, slice(v, v + y1 - y0), slice(u, u + x1 - x0))
            flux[there], noise[there] = mean[y0:y1, x0:x1], scatter[y0:y1, x0:x1]
    return flux, noise


def weights(data: np.ndarray, variance: np.ndarray, mask: np.ndarray, typical: np.ndarray, bits: Bits) -> np.ndarray:
    """Return the inverse variance of all pixels, (band, y, x) float32, 0 for unusable ones; see `reference` for the arguments."""
    known = np.isfinite(variance) & (variance > 0)
    bad, saturated = np.zeros(data.shape, bool), np.zeros(data.shape, bool)
    if mask.size:
        bad, saturated = (mask & bits.unusable & ~bits.saturated) != 0, (mask & bits.saturated) != 0
    stands_in = np.broadcast_to(typical[:, None, None], data.shape)
    used = np.where(known, variance, np.where(saturated & (stands_in > 0), stands_in, np.inf))
    return np.asarray(np.where(np.isfinite(data) & ~bad, np.float32(1) / used, np.float32(0)))


@helper
def correlate(source, offset, step, taps, out):  # type: ignore[no-untyped-def]
    """Let out[j] be the sum over t of taps[t] source[offset + t step + j]."""
    n, size = taps.size, out.size
    out[:] = ZERO
    t = 0
    while t + 4 <= n:  # four taps at a time, so that a value is loaded and stored a quarter as often
        a, b, c, d = taps[t], taps[t + 1], taps[t + 2], taps[t + 3]
        at = offset + t * step
        first, second = source[at : at + size], source[at + step : at + step + size]
        third, fourth = source[at + 2 * step : at + 2 * step + size], source[at + 3 * step : at + 3 * step + size]
        for j in range(size):
            out[j] += a * first[j] + b * second[j] + c * third[j] + d * fourth[j]
        t += 4
    while t < n:
        a, at = taps[t], offset + t * step
        first = source[at : at + size]
        for j in range(size):
            out[j] += a * first[j]
        t += 1


@helper
def _weigh(data, variance, mask, unusable, saturated, typical, y0, x0, wide, planes):  # type: ignore[no-untyped-def]
    """Fill rows of ivar data, ivar and (ivar > 0) from (y0, x0) on; return whether all pixels are usable."""
    ny, nx = data.shape
    signal, ivar, usable = planes[0], planes[1], planes[2]
    planes[:] = ZERO
    begin, end = max(x0, 0), min(x0 + wide, nx)
    n = 0
    for row in range(signal.size // wide):
        y = y0 + row
        if y < 0 or y >= ny:
            continue
        at = row * wide + begin - x0
        values, variances = data[y, begin:end], variance[y, begin:end]
        here = ivar[at : at + end - begin]
        if mask.shape[0] == 0:
            for j in range(end - begin):
                here[j] = inverse_variance(values[j], variances[j])
        else:
            bits = mask[y, begin:end]
            for j in range(end - begin):
                here[j] = masked_weight(values[j], variances[j], bits[j], unusable, saturated, typical)
        weighted, known = signal[at : at + end - begin], usable[at : at + end - begin]
        for j in range(end - begin):
            product = here[j] * values[j]
            weighted[j] = product if here[j] > ZERO else ZERO
            known[j] = ONE if here[j] > ZERO else ZERO
            n += here[j] > ZERO
    return n == signal.size


@helper
def _filter_strip(data, variance, mask, typical, unusable, saturated, taps, squares, reach, box, flux, noise):  # type: ignore[no-untyped-def]
    """Filter a strip of a box, of which flux and noise, (filter, rows, columns), are the result."""
    most, middle = reach.max(), taps.shape[2] // 2
    high, width = flux.shape[1:]
    wide = width + 2 * most
    n_bands = data.shape[0]
    planes = np.empty((n_bands, 3, (high + 2 * most) * wide), np.float32)
    whole = np.empty(n_bands, np.bool_)
    for b in range(n_bands):
        place = box[0] - most, box[1] - most
        whole[b] = _weigh(data[b], variance[b], mask[b], unusable, saturated, typical[b], *place, wide, planes[b])
    size = high * wide - 2 * most  # no more is kept of the last row
    across, sums = np.empty(high * wide, np.float32), np.empty((4, size), np.float32)
    along, seen = np.empty(size, np.float32), np.empty(size, np.bool_)
    for f in range(taps.shape[0]):
        sums[:] = ZERO
        seen[:] = False
        for b in range(n_bands):
            r = reach[f, b]
            used = slice(middle - r, middle + r + 1)
            for what in range(3 if whole[b] else 4):
                kernel = squares[f, b, used] if what == 1 else taps[f, b, used]
                correlate(planes[b, (0, 1, 1, 2)[what]], (most - r) * wide, wide, kernel, across)
                correlate(across, most - r, 1, kernel, along)
                if what < 3:
                    total = sums[what]
                    for j in range(size):
                        total[j] += along[j]
                else:
                    for j in range(size):
                        seen[j] |= along[j] > HALF
            if whole[b]:
                seen[:] = True
        for row in range(high):
            here = slice(row * wide, row * wide + width)
            signals, noises, weights, known = sums[0, here], sums[1, here], sums[2, here], seen[here]
            mean, scatter = flux[f, row], noise[f, row]
            for j in range(width):
                average, deviation = signals[j] / weights[j], math.sqrt(noises[j]) / weights[j]
                mean[j] = average if known[j] else ZERO
                scatter[j] = deviation if known[j] else INFINITE


@parallel
def _all_boxes(  # type: ignore[no-untyped-def]
    order, lanes, data, variance, mask, typical, unusable, saturated, taps, squares, reach, box, place, flux, noise
):
    most = reach.max()
    for lane in prange(lanes.size - 1):
        for i in order[lanes[lane] : lanes[lane + 1]]:
            y0, x0, y1, x1 = box[i]
            rows = max(2 * most, STRIP // (x1 - x0 + 2 * most), 1)
            for y in range(y0, y1, rows):
                v, high = place[i, 0] + y - y0, min(rows, y1 - y)
                here = (slice(None), slice(v, v + high), slice(place[i, 1], place[i, 1] + x1 - x0))
                _filter_strip(data, variance, mask, typical, unusable, saturated, taps, squares, reach, (y, x0), flux[here], noise[here])


def cpu(
    data: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray,
    typical: np.ndarray,
    bits: Bits,
    taps: np.ndarray,
    reach: np.ndarray,
    box: np.ndarray,
    place: np.ndarray,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `reference` does. Threaded over boxes."""
    flux, noise = np.zeros((len(taps), *shape), np.float32), np.full((len(taps), *shape), np.inf, np.float32)
    lanes = deal((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]))
    _all_boxes(*lanes, *read_only(data, variance, mask, typical), *bits, taps, taps * taps, reach, box, place, flux, noise)
    return flux, noise


def cuda_twin(
    data: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray,
    typical: np.ndarray,
    bits: Bits,
    taps: np.ndarray,
    reach: np.ndarray,
    box: np.ndarray,
    place: np.ndarray,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `reference` does, a box a block."""
    flux, noise = np.zeros((len(taps), *shape), np.float32), np.full((len(taps), *shape), np.inf, np.float32)
    if len(box) == 0:
        return flux, noise
    sent = [upload(plane) for plane in (data, variance, mask, typical)]
    filters = [upload(array) for array in (taps, taps * taps, reach, box, place)]
    results = upload(flux), upload(noise)
    launch(_filter_box, len(box), THREADS, *sent, *bits, *filters, *results)
    return download(results[0]), download(results[1])


def _filter_box(data, variance, mask, typical, unusable, saturated, taps, squares, reach, box, place, flux, noise):  # type: ignore[no-untyped-def]
    i = cuda.blockIdx.x
    ny, nx = data.shape[1:]
    middle = taps.shape[2] // 2
    width = box[i, 3] - box[i, 1]
    for pixel in range(cuda.threadIdx.x, (box[i, 2] - box[i, 0]) * width, THREADS):
        row, column = pixel // width, pixel % width
        y, x = box[i, 0] + row, box[i, 1] + column
        for f in range(taps.shape[0]):
            signal, ivar, weight, seen = ZERO, ZERO, ZERO, False
            for b in range(data.shape[0]):
                r, cover = reach[f, b], ZERO
                for u in range(max(x - r, 0), min(x + r + 1, nx)):
                    at = middle + u - x
                    sums = _column(data, variance, mask, typical, unusable, saturated, taps, squares, r, f, b, y, u, ny)
                    signal += taps[f, b, at] * sums[0]
                    ivar += squares[f, b, at] * sums[1]
                    weight += taps[f, b, at] * sums[2]
                    cover += taps[f, b, at] * sums[3]
                seen = seen or cover > HALF
            flux[f, place[i, 0] + row, place[i, 1] + column] = signal / weight if seen else ZERO
            noise[f, place[i, 0] + row, place[i, 1] + column] = math.sqrt(ivar) / weight if seen else INFINITE


@helper
def _column(data, variance, mask, typical, unusable, saturated, taps, squares, r, f, b, y, u, ny):  # type: ignore[no-untyped-def]
    """Return the sums of a filter over a column."""
    signal, noise, weight, cover = ZERO, ZERO, ZERO, ZERO
    for v in range(max(y - r, 0), min(y + r + 1, ny)):
        at = taps.shape[2] // 2 + v - y
        if mask.shape[1] > 0:
            w = masked_weight(data[b, v, u], variance[b, v, u], mask[b, v, u], unusable, saturated, typical[b])
        else:
            w = inverse_variance(data[b, v, u], variance[b, v, u])
        if w > ZERO:
            signal += taps[f, b, at] * (w * data[b, v, u])
            cover += taps[f, b, at]
        noise += squares[f, b, at] * w
        weight += taps[f, b, at] * w
    return signal, noise, weight, cover


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    bits = Bits(0b1111, 0b0010)

    def filters(n_bands: int, sigmas: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
        reach = np.repeat(np.ceil(3 * np.array(sigmas)).astype(np.int64)[:, None], n_bands, axis=1)
        steps = np.arange(-reach.max(), reach.max() + 1)
        taps = np.exp(-0.5 * (steps / np.maximum(np.array(sigmas), 1e-3)[:, None]) ** 2)
        taps /= taps.sum(axis=1, keepdims=True)
        return np.repeat(taps[:, None], n_bands, axis=1).astype(np.float32), reach

    data = rng.normal(3, 5, (2, 25, 30)).astype(np.float32)
    variance = rng.uniform(20, 30, data.shape).astype(np.float32)
    none, nothing = np.zeros((2, 0, 0), np.int32), np.zeros(2, np.float32)
    box = np.array([[0, 0, 5, 7], [3, 4, 20, 6], [24, 29, 25, 30], [10, 10, 12, 30], [0, 0, 25, 30]], np.int32)
    place = np.array([[0, 0], [1, 9], [6, 0], [20, 13], [22, 13]], np.int32)
    dirty, unsure = data.copy(), variance.copy()
    dirty[0, 2:5, 8:14] = np.nan
    unsure[1, 12:] = np.inf
    mask = (rng.uniform(size=data.shape) < 0.05) * rng.integers(1, 32, data.shape, dtype=np.int32)
    mask[0, 7:10, 6:9] = 0b0010
    unsure[0, 7:10, 6:9] = np.inf
    line = np.array([[0, 0, 1, 30]], np.int32)
    one = (data[:1], variance[:1], none[:1], nothing[:1], bits)
    return [
        (data, variance, none, nothing, bits, *filters(2, (1.0, 1.7, 2.1)), box[:4], place[:4], (24, 40)),
        (dirty, unsure, mask, nothing + 25, bits, *filters(2, (0.0, 1.3)), box, place, (48, 44)),
        (*one, *filters(1, (9.0,)), box[:4], place[:4], (24, 40)),
        (data[:1, :1].copy(), variance[:1, :1].copy(), *one[2:], *filters(1, (1.5,)), line, line[:, :2] + 1, (2, 31)),
        (data[:1] * np.nan, *one[1:], *filters(1, (1.0,)), box[:1], place[:1], (5, 7)),
        (*one, *filters(1, (1.0,)), box[:0], place[:0], (3, 4)),
    ]


KERNEL = KernelSpec(
    name="cutouts",
    summary="Filtered flux and its noise in boxes of an image, side by side.",
    reference=reference,
    cpu=cpu,
    cuda=cuda_twin,
    launches=(
        Launch(
            _filter_box,
            "void(float32[:,:,::1], float32[:,:,::1], int32[:,:,::1], float32[::1], int64, int64, float32[:,:,::1], float32[:,:,::1],"
            " int64[:,::1], int32[:,::1], int32[:,::1], float32[:,:,::1], float32[:,:,::1])",
            THREADS,
        ),
    ),
    example=_example,
    rtol=1e-4,
    atol=1e-4,
)
