"""Fits of a family of radial models to sources: fluxes averaged over the models by their probability.

The flux of each model in each band is a linear least-squares fit, with a constant local sky of known prior width
taken out on the way. What it gains in chi-square, over the bands that shapes are taken from, makes the model's
likelihood.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._numba import cuda, download, empty, helper, inlined, launch, parallel, prange, upload
from .spec import KernelSpec, Launch

NEGLIGIBLE = 1e-4
"""Models less probable than this are left out of the mean model."""
THREADS = 32

Fit = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def reference(
    sums: tuple[np.ndarray, np.ndarray, np.ndarray], counts: np.ndarray, models: np.ndarray, ratio: np.ndarray,
    log_prior: np.ndarray, shape_from: np.ndarray, sky: np.ndarray, blunt: float,
) -> Fit:  # fmt: skip
    """Return fluxes and mean models.

    Args:
        sums: light, gram and cross, (n, band, node) each, from the kernel `radial`.
        counts: (n,) int32, the nodes of each source.
        models: (band, axis ratio, node, model) float32, of unit flux.
        ratio: (n,) int32, which axis ratio's models to use.
        log_prior: (model,) log of the models' probabilities before.
        shape_from: (band,) bool, the bands whose light decides between models.
        sky: (band,) inverse variance of the local sky's error, a constant under the whole source.
        blunt: relative error of the models. Where the signal-to-noise ratio is beyond its inverse, chi-square counts less.

    Returns:
        (n, band) float64 flux and its standard error, (n, model) float32 probabilities, and (n, band, node) float32 mean
        model. NaN flux where no pixel is usable in the band, or in any that shapes are taken from.

    References:
        Miller et al. (2007), MNRAS 382, 315 (shapes marginalised so).
    """
    light, gram, cross = (s.astype(float) for s in sums)
    n, bands, nodes = light.shape
    flux, error = np.full((n, bands), np.nan), np.full((n, bands), np.nan)
    chance, mean = np.zeros((n, models.shape[3]), np.float32), np.zeros((n, bands, nodes), np.float32)
    for i in range(n):
        amplitude, precision = np.full((bands, models.shape[3]), np.nan), np.zeros((bands, models.shape[3]))
        for b in range(bands):
            c = counts[i]
            own = models[b, ratio[i], :c].astype(float)
            matrix = np.diag(gram[i, b, :c]) + np.diag(cross[i, b, : c - 1], 1) + np.diag(cross[i, b, : c - 1], -1)
            level = matrix.sum() + sky[b]
            shared = own.T @ matrix.sum(1)
            a = np.einsum("km,kl,lm->m", own, matrix, own) - shared**2 / level
            p = own.T @ light[i, b, :c] - shared * light[i, b, :c].sum() / level
            seen = a > 0
            amplitude[b, seen], precision[b, seen] = p[seen] / a[seen], a[seen]
        if not (precision[shape_from] > 0).any():
            continue
        gain = 0.5 * np.sum(np.where(amplitude > 0, precision * amplitude**2, 0)[shape_from], 0)
        log_chance = gain / (1 + 2 * blunt**2 * gain.max()) + log_prior
        w = np.exp(log_chance - log_chance.max())
        w /= w.sum()
        chance[i] = w
        for b in range(bands):
            if (precision[b] > 0).all():
                flux[i, b] = w @ amplitude[b]
                error[i, b] = np.sqrt(max(w @ (1 / precision[b] + amplitude[b] ** 2) - flux[i, b] ** 2, 0))
                mean[i, b] = models[b, ratio[i]] @ np.where(w > NEGLIGIBLE, w * amplitude[b], 0)
    return flux, error, chance, mean


@inlined
def _row(light: Any, gram: Any, cross: Any, i: Any, b: Any, k: Any, last: Any) -> Any:
    """Return light, gram and cross of a node, and its row of the whole matrix summed."""
    d = np.float64(light[i, b, k])
    g = np.float64(gram[i, b, k])
    x = np.float64(0)
    s = g
    if k < last:
        x = np.float64(cross[i, b, k])
        s += x
    if k > 0:
        s += np.float64(cross[i, b, k - 1])
    return d, g, x, s


@inlined
def _solve(a: Any, p: Any, c: Any, light: Any, level: Any) -> Any:
    """Return the amplitude and its inverse variance, the sky taken out."""
    precision = a - c * c / level
    if precision > 0.0:
        return (p - c * light / level) / precision, precision
    return np.float64(np.nan), np.float64(0)


def _arrays(
    sums: Any, counts: np.ndarray, models: np.ndarray, ratio: np.ndarray, log_prior: np.ndarray, shape_from: np.ndarray, sky: np.ndarray
) -> Any:
    return (
        *(np.ascontiguousarray(s, np.float32) for s in sums), counts.astype(np.int32), np.ascontiguousarray(models, np.float32),
        ratio.astype(np.int32), log_prior.astype(np.float64), shape_from.astype(np.int32), sky.astype(np.float64),
    )  # fmt: skip


def cpu(
    sums: tuple[np.ndarray, np.ndarray, np.ndarray], counts: np.ndarray, models: np.ndarray, ratio: np.ndarray,
    log_prior: np.ndarray, shape_from: np.ndarray, sky: np.ndarray, blunt: float,
) -> Fit:  # fmt: skip
    """Return fluxes and mean models; see `reference`. Threaded over sources."""
    n, bands, nodes = sums[0].shape
    flux, error = np.full((n, bands), np.nan), np.full((n, bands), np.nan)
    chance, mean = np.zeros((n, models.shape[3]), np.float32), np.zeros((n, bands, nodes), np.float32)
    _all(*_arrays(sums, counts, models, ratio, log_prior, shape_from, sky), blunt, flux, error, chance, mean)
    return flux, error, chance, mean


@parallel
def _all(
    light: Any, gram: Any, cross: Any, counts: Any, models: Any, ratio: Any, log_prior: Any, shape_from: Any, sky: Any, blunt: Any,
    flux: Any, error: Any, chance: Any, mean: Any,
) -> None:  # fmt: skip
    for i in prange(len(counts)):
        _fit(i, light, gram, cross, counts, models, ratio, log_prior, shape_from, sky, blunt, flux, error, chance, mean)


@helper
def _fit(
    i: Any, light: Any, gram: Any, cross: Any, counts: Any, models: Any, ratio: Any, log_prior: Any, shape_from: Any, sky: Any,
    blunt: Any, flux: Any, error: Any, chance: Any, mean: Any,
) -> None:  # fmt: skip
    bands = models.shape[0]
    number = models.shape[3]
    q = ratio[i]
    last = counts[i] - 1
    amplitude = np.zeros((bands, number))
    precision = np.zeros((bands, number))
    gain = np.zeros(number)
    a = np.empty(number)
    p = np.empty(number)
    c = np.empty(number)
    for b in range(bands):
        a[:] = 0
        p[:] = 0
        c[:] = 0
        level = sky[b]
        total = 0.0
        for k in range(last + 1):
            d, g, x, s = _row(light, gram, cross, i, b, k, last)
            total += d
            level += s
            here = models[b, q, k]
            after = models[b, q, min(k + 1, last)]
            for m in range(number):  # models side by side: this loop is where the time goes, and it is vectorised
                v = np.float64(here[m])
                a[m] += v * (g * v + 2.0 * x * np.float64(after[m]))
                p[m] += d * v
                c[m] += s * v
        for m in range(number):
            amplitude[b, m], precision[b, m] = _solve(a[m], p[m], c[m], total, level)
            if shape_from[b] and amplitude[b, m] > 0.0:
                gain[m] += 0.5 * precision[b, m] * amplitude[b, m] ** 2
    seen = False
    for b in range(bands):
        seen = seen or (shape_from[b] and precision[b].max() > 0.0)
    if not seen:
        return
    soft = 1.0 / (1.0 + 2.0 * blunt * blunt * gain.max())
    for m in range(number):
        gain[m] = gain[m] * soft + log_prior[m]
    top = gain.max()
    norm = 0.0
    for m in range(number):
        gain[m] = math.exp(gain[m] - top)
        norm += gain[m]
    for m in range(number):
        gain[m] /= norm
        chance[i, m] = gain[m]
    for b in range(bands):
        if precision[b].min() > 0.0:
            first = 0.0
            second = 0.0
            for m in range(number):
                first += gain[m] * amplitude[b, m]
                second += gain[m] * (1.0 / precision[b, m] + amplitude[b, m] ** 2)
            flux[i, b] = first
            error[i, b] = math.sqrt(max(second - first * first, 0.0))
            for m in range(number):
                if gain[m] > NEGLIGIBLE:
                    part = np.float32(gain[m] * amplitude[b, m])
                    for k in range(mean.shape[2]):
                        mean[i, b, k] += part * models[b, q, k, m]


def on_cuda(
    sums: tuple[np.ndarray, np.ndarray, np.ndarray], counts: np.ndarray, models: np.ndarray, ratio: np.ndarray,
    log_prior: np.ndarray, shape_from: np.ndarray, sky: np.ndarray, blunt: float,
) -> Fit:  # fmt: skip
    """Return fluxes and mean models from the GPU, a block a source; see `reference`."""
    n, bands, nodes = sums[0].shape
    number = models.shape[3]
    if n == 0:
        return cpu(sums, counts, models, ratio, log_prior, shape_from, sky, blunt)
    arrays = [upload(a) for a in _arrays(sums, counts, models, ratio, log_prior, shape_from, sky)]
    flux, error = empty((n, bands), np.float64), empty((n, bands), np.float64)
    chance, mean = empty((n, number), np.float32), empty((n, bands, nodes), np.float32)
    scratch = [empty((n, bands, number), np.float64), empty((n, bands, number), np.float64), empty((n, number), np.float64)]
    launch(_fit_block, n, THREADS, *arrays, flux, error, chance, mean, *scratch, blunt)
    return download(flux), download(error), download(chance), download(mean)


def _fit_block(  # type: ignore[no-untyped-def]
    light, gram, cross, counts, models, ratio, log_prior, shape_from, sky, flux, error, chance, mean, amplitude, precision, gain, blunt
):
    i = cuda.blockIdx.x
    t = cuda.threadIdx.x
    highest = cuda.shared.array(THREADS, np.float64)
    firsts = cuda.shared.array(THREADS, np.float64)
    seconds = cuda.shared.array(THREADS, np.float64)
    bands = models.shape[0]
    number = models.shape[3]
    q = ratio[i]
    last = counts[i] - 1
    best = np.float64(0)
    seen = np.float64(0)
    for m in range(t, number, THREADS):
        gained = np.float64(0)
        for b in range(bands):
            a = np.float64(0)
            p = np.float64(0)
            c = np.float64(0)
            level = sky[b]
            total = np.float64(0)
            for k in range(last + 1):
                d, g, x, s = _row(light, gram, cross, i, b, k, last)
                total += d
                level += s
                v = np.float64(models[b, q, k, m])
                a += v * (g * v + 2.0 * x * np.float64(models[b, q, min(k + 1, last), m]))
                p += d * v
                c += s * v
            f, w = _solve(a, p, c, total, level)
            amplitude[i, b, m] = f
            precision[i, b, m] = w
            if shape_from[b] != 0:
                seen = max(seen, w)
                if f > 0.0:
                    gained += 0.5 * w * f * f
        gain[i, m] = gained
        best = max(best, gained)
    highest[t] = best
    firsts[t] = seen
    cuda.syncthreads()
    for k in range(THREADS):
        best = max(best, highest[k])
        seen = max(seen, firsts[k])
    cuda.syncthreads()
    soft = 1.0 / (1.0 + 2.0 * blunt * blunt * best)
    top = np.float64(-np.inf)
    for m in range(t, number, THREADS):
        gain[i, m] = gain[i, m] * soft + log_prior[m]
        top = max(top, gain[i, m])
    highest[t] = top
    cuda.syncthreads()
    for k in range(THREADS):
        top = max(top, highest[k])
    norm = np.float64(0)
    for m in range(t, number, THREADS):
        gain[i, m] = math.exp(gain[i, m] - top)
        norm += gain[i, m]
    cuda.syncthreads()
    firsts[t] = norm
    cuda.syncthreads()
    norm = np.float64(0)
    for k in range(THREADS):
        norm += firsts[k]
    cuda.syncthreads()
    for m in range(t, number, THREADS):
        gain[i, m] = gain[i, m] / norm if seen > 0.0 else np.float64(0)
        chance[i, m] = np.float32(gain[i, m])
    for b in range(bands):
        first = np.float64(0)
        second = np.float64(0)
        least = np.float64(np.inf)
        for m in range(t, number, THREADS):
            w = precision[i, b, m]
            least = min(least, w)
            if w > 0.0:
                first += gain[i, m] * amplitude[i, b, m]
                second += gain[i, m] * (1.0 / w + amplitude[i, b, m] * amplitude[i, b, m])
        firsts[t] = first
        seconds[t] = second
        highest[t] = least
        cuda.syncthreads()
        first = np.float64(0)
        second = np.float64(0)
        for k in range(THREADS):
            first += firsts[k]
            second += seconds[k]
            least = min(least, highest[k])
        known = least > 0.0 and seen > 0.0
        if t == 0:
            flux[i, b] = first if known else np.float64(np.nan)
            error[i, b] = math.sqrt(max(second - first * first, 0.0)) if known else np.float64(np.nan)
        for k in range(t, mean.shape[2], THREADS):
            value = np.float32(0)
            if known:
                for m in range(number):
                    if gain[i, m] > NEGLIGIBLE:
                        value += np.float32(gain[i, m] * amplitude[i, b, m]) * models[b, q, k, m]
            mean[i, b, k] = value
        cuda.syncthreads()


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    bands, ratios, nodes, number, n = 2, 2, 12, 40, 7
    width = np.geomspace(2.0, 6.0, number)
    models = np.exp(-0.5 * (np.arange(nodes)[:, None] / width) ** 2) / width**2 * np.ones((bands, ratios, 1, 1))
    light, gram, cross = (rng.normal(1.0, 0.3, (n, bands, nodes)).astype(np.float32) * s for s in (60.0, 40.0, 8.0))
    light[:4] *= models[0, 0, :, 20] * 200
    gram[5], cross[5], light[5] = 0, 0, 0
    gram[6, 1], cross[6, 1], light[6, 1] = 0, 0, 0
    counts = np.array([12, 9, 12, 2, 12, 12, 12], np.int32)
    prior = np.log(np.linspace(1.0, 2.0, number) / (1.5 * number))
    arguments = models.astype(np.float32), rng.integers(0, ratios, n), prior
    sums = light.astype(np.float32), gram.astype(np.float32), cross.astype(np.float32)
    none = tuple(s[:0] for s in sums)
    return [
        (sums, counts, *arguments, np.array([True, True]), np.array([4.0, 9.0]), 0.01),
        (sums, counts, *arguments, np.array([False, True]), np.array([4.0, 9.0]), 0.0),
        (none, counts[:0], arguments[0], arguments[1][:0], prior, np.array([True, True]), np.array([4.0, 9.0]), 0.01),
    ]


SUM = "float32[:,:,::1]"
KERNEL = KernelSpec(
    name="posterior",
    summary="Fit a family of radial models to every source and average over it.",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(
            _fit_block,
            f"void({SUM}, {SUM}, {SUM}, int32[::1], float32[:,:,:,::1], int32[::1], float64[::1], int32[::1], float64[::1], "
            f"float64[:,::1], float64[:,::1], float32[:,::1], {SUM}, float64[:,:,::1], float64[:,:,::1], float64[:,::1], float64)",
            THREADS,
        ),
    ),
    example=_example,
    rtol=1e-5,
    atol=1e-6,
    float64="the chi-squares of bright sources are large numbers whose small differences decide",
)
