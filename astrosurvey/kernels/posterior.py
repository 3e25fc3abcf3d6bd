"""Fits of a family of radial models to sources: fluxes averaged over the models by their probability.

The flux of each model in each band is a linear least-squares fit, with a constant local sky of known prior width
taken out on the way. What it gains in chi-square, over the bands that shapes are taken from, makes the model's
likelihood. Between models of neighbouring sizes mixtures of the two are fitted as well, the more of them the
better the data can tell sizes apart: all they take is the scalar product of the two.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._mixtures import (
    HALVINGS,
    NEGLIGIBLE,
    RARE,
    REACH,
    STEPS,
    TAIL,
    gained,
    gains,
    half_width,
    mixed,
    normal,
    products,
    quantile,
    row,
    steps_for,
)
from ._numba import cuda, download, empty, helper, launch, parallel, prange, upload
from .spec import KernelSpec, Launch

THREADS = 32

Fit = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def reference(
    sums: tuple[np.ndarray, np.ndarray, np.ndarray], counts: np.ndarray, models: np.ndarray, linked: np.ndarray, ratio: np.ndarray,
    log_prior: np.ndarray, shape_from: np.ndarray, sky: np.ndarray, blunt: float,
) -> Fit:  # fmt: skip
    """Return fluxes and mean models.

    Args:
        sums: light, gram and cross, (n, band, node) each, from the kernel `radial`.
        counts: (n,) int32, the nodes of each source.
        models: (band, axis ratio, node, model) float32, of unit flux.
        linked: (model,) bool, whether between this model and the next there are others, their mixtures; not the last.
        ratio: (n,) int32, which axis ratio's models to use.
        log_prior: (model,) log of the models' probabilities before; mixtures share it.
        shape_from: (band,) bool, the bands whose light decides between models.
        sky: (band,) inverse variance of the local sky's error, a constant under the whole source.
        blunt: relative error of the models. Where the signal-to-noise ratio is beyond its inverse, chi-square counts less.

    Returns:
        (n, band) float64 flux and its error, half the width of the middle 68 per cent of its distribution, (n, model)
        float32 probabilities, mixtures' shared out, and (n, band, node) float32 mean model. NaN flux where no pixel is
        usable in the band, or in any that shapes are taken from.

    References:
        Miller et al. (2007), MNRAS 382, 315 (shapes marginalised so).
    """
    light, gram, cross = (s.astype(float) for s in sums)
    n, bands, nodes = light.shape
    number = models.shape[3]
    flux, error = np.full((n, bands), np.nan), np.full((n, bands), np.nan)
    chance, mean = np.zeros((n, number), np.float32), np.zeros((n, bands, nodes), np.float32)
    for i in range(n):
        # The scalar products of all pairs of models, and of models and light, with the sky projected out.
        product, shown = np.zeros((bands, number, number)), np.zeros((bands, number))
        for b in range(bands):
            c = counts[i]
            own = models[b, ratio[i], :c].astype(float)
            matrix = np.diag(gram[i, b, :c]) + np.diag(cross[i, b, : c - 1], 1) + np.diag(cross[i, b, : c - 1], -1)
            level = matrix.sum() + sky[b]
            shared = own.T @ matrix.sum(1)
            product[b] = own.T @ matrix @ own - np.outer(shared, shared) / level
            shown[b] = own.T @ light[i, b, :c] - shared * light[i, b, :c].sum() / level
        precision = np.einsum("bmm->bm", product)
        if not (precision[shape_from] > 0).any():
            continue
        best = gains(precision, shown)[shape_from].sum(0).max()
        soft = 1 / (1 + 2 * blunt**2 * best)
        steps = steps_for(soft * best)
        mixtures, log_weight = [], []
        chained = linked | np.concatenate([[False], linked[:-1]])
        for m in range(number):
            for j in range(steps if linked[m] else 1):
                mixture = np.zeros(number)
                mixture[m] = 1 - j / steps
                if j:
                    mixture[m + 1] = j / steps
                mixtures.append(mixture)
                log_weight.append(mixture @ log_prior - (np.log(steps) if chained[m] else 0))
        mix = np.array(mixtures)
        precision = np.einsum("km,bml,kl->bk", mix, product, mix)
        projected = shown @ mix.T
        log_chance = soft * gains(precision, projected)[shape_from].sum(0) + log_weight
        w = np.exp(log_chance - log_chance.max())
        w[w < RARE] = 0
        w /= w.sum()
        chance[i] = w @ mix
        for b in range(bands):
            if (np.diag(product[b]) > 0).all():
                amplitude = projected[b] / precision[b]
                flux[i, b] = w @ amplitude
                spread = np.sqrt(max(w @ (1 / precision[b] + amplitude**2) - flux[i, b] ** 2, 0))
                error[i, b] = half_width(flux[i, b], spread, amplitude, np.sqrt(precision[b]), np.where(w < NEGLIGIBLE, 0, w))
                mean[i, b] = models[b, ratio[i]] @ ((w * amplitude) @ mix)
    return flux, error, chance, mean


def _arrays(
    sums: Any, counts: np.ndarray, models: np.ndarray, linked: np.ndarray, ratio: np.ndarray, log_prior: np.ndarray,
    shape_from: np.ndarray, sky: np.ndarray,
) -> Any:  # fmt: skip
    return (
        *(np.ascontiguousarray(s, np.float32) for s in sums), counts.astype(np.int32), np.ascontiguousarray(models, np.float32),
        linked.astype(np.int32), ratio.astype(np.int32), log_prior.astype(np.float64), shape_from.astype(np.int32), sky.astype(np.float64),
    )  # fmt: skip


def cpu(
    sums: tuple[np.ndarray, np.ndarray, np.ndarray], counts: np.ndarray, models: np.ndarray, linked: np.ndarray, ratio: np.ndarray,
    log_prior: np.ndarray, shape_from: np.ndarray, sky: np.ndarray, blunt: float,
) -> Fit:  # fmt: skip
    """Return fluxes and mean models; see `reference`. Threaded over sources."""
    n, bands, nodes = sums[0].shape
    flux, error = np.full((n, bands), np.nan), np.full((n, bands), np.nan)
    chance, mean = np.zeros((n, models.shape[3]), np.float32), np.zeros((n, bands, nodes), np.float32)
    _all(*_arrays(sums, counts, models, linked, ratio, log_prior, shape_from, sky), blunt, flux, error, chance, mean)
    return flux, error, chance, mean


@parallel
def _all(
    light: Any, gram: Any, cross: Any, counts: Any, models: Any, linked: Any, ratio: Any, log_prior: Any, shape_from: Any, sky: Any,
    blunt: Any, flux: Any, error: Any, chance: Any, mean: Any,
) -> None:  # fmt: skip
    for i in prange(len(counts)):
        _fit(i, light, gram, cross, counts, models, linked, ratio, log_prior, shape_from, sky, blunt, flux, error, chance, mean)


@helper
def _fit(
    i: Any, light: Any, gram: Any, cross: Any, counts: Any, models: Any, linked: Any, ratio: Any, log_prior: Any, shape_from: Any,
    sky: Any, blunt: Any, flux: Any, error: Any, chance: Any, mean: Any,
) -> None:  # fmt: skip
    bands = models.shape[0]
    number = models.shape[3]
    q = ratio[i]
    product = np.empty((bands, number))
    between = np.empty((bands, number))
    shown = np.empty((bands, number))
    products(i, light, gram, cross, counts[i] - 1, models, q, sky, product, between, shown)
    seen = False
    for b in range(bands):
        seen = seen or (shape_from[b] and product[b].max() > 0.0)
    if not seen:
        return
    best = 0.0
    for m in range(number):
        gain = 0.0
        for b in range(bands):
            if shape_from[b]:
                gain += gained(product[b, m], shown[b, m])
        best = max(best, gain)
    soft = 1.0 / (1.0 + 2.0 * blunt * blunt * best)
    steps = steps_for(soft * best)
    crowd = math.log(np.float64(steps))
    weight = np.empty((number, STEPS))
    top = -np.inf
    for m in range(number):
        chained = linked[m] or (m > 0 and linked[m - 1])
        for j in range(steps if linked[m] else 1):
            f = np.float64(j) / steps
            gain = 0.0
            for b in range(bands):
                if shape_from[b]:
                    a, p = mixed(product[b], between[b], shown[b], m, f)
                    gain += gained(a, p)
            prior = log_prior[m]
            if j > 0:
                prior += f * (log_prior[m + 1] - log_prior[m])
            weight[m, j] = soft * gain + prior - (crowd if chained else 0.0)
            top = max(top, weight[m, j])
    norm = 0.0
    rare = math.log(RARE)
    for m in range(number):
        for j in range(steps if linked[m] else 1):
            above = weight[m, j] - top
            weight[m, j] = math.exp(above) if above > rare else 0.0
            norm += weight[m, j]
    for m in range(number):
        for j in range(steps if linked[m] else 1):
            weight[m, j] /= norm
            f = np.float64(j) / steps
            chance[i, m] += np.float32((1.0 - f) * weight[m, j])
            if j > 0:
                chance[i, m + 1] += np.float32(f * weight[m, j])
    many = number * STEPS
    fluxes = np.empty(many)
    sharp = np.empty(many)
    parts = np.empty(many)
    own = np.empty(number)
    for b in range(bands):
        if not product[b].min() > 0.0:
            continue
        first = 0.0
        second = 0.0
        kept = 0
        whole = 0.0
        own[:] = 0
        for m in range(number):
            for j in range(steps if linked[m] else 1):
                w = weight[m, j]
                if w == 0.0:
                    continue
                f = np.float64(j) / steps
                a, p = mixed(product[b], between[b], shown[b], m, f)
                amplitude = p / a
                first += w * amplitude
                second += w * (1.0 / a + amplitude * amplitude)
                own[m] += (1.0 - f) * w * amplitude
                if j > 0:
                    own[m + 1] += f * w * amplitude
                if w >= NEGLIGIBLE:
                    fluxes[kept] = amplitude
                    sharp[kept] = math.sqrt(a)
                    parts[kept] = w
                    whole += w
                    kept += 1
        flux[i, b] = first
        spread = math.sqrt(max(second - first * first, 0.0))
        low = quantile(first, spread, fluxes[:kept], sharp[:kept], parts[:kept], TAIL * whole)
        high = quantile(first, spread, fluxes[:kept], sharp[:kept], parts[:kept], (1.0 - TAIL) * whole)
        error[i, b] = 0.5 * (high - low)
        for m in range(number):
            if own[m] != 0.0:
                part = np.float32(own[m])
                for k in range(mean.shape[2]):
                    mean[i, b, k] += part * models[b, q, k, m]


def on_cuda(
    sums: tuple[np.ndarray, np.ndarray, np.ndarray], counts: np.ndarray, models: np.ndarray, linked: np.ndarray, ratio: np.ndarray,
    log_prior: np.ndarray, shape_from: np.ndarray, sky: np.ndarray, blunt: float,
) -> Fit:  # fmt: skip
    """Return fluxes and mean models from the GPU, a block a source; see `reference`."""
    n, bands, nodes = sums[0].shape
    number = models.shape[3]
    if n == 0:
        return cpu(sums, counts, models, linked, ratio, log_prior, shape_from, sky, blunt)
    arrays = [upload(a) for a in _arrays(sums, counts, models, linked, ratio, log_prior, shape_from, sky)]
    flux, error = empty((n, bands), np.float64), empty((n, bands), np.float64)
    chance, mean = empty((n, number), np.float32), empty((n, bands, nodes), np.float32)
    scalars = empty((3, n, bands, number), np.float64)
    scratch = [empty((n, number, STEPS), np.float64), empty((n, number), np.float64)]
    launch(_fit_block, n, THREADS, *arrays, flux, error, chance, mean, scalars, *scratch, blunt)
    return download(flux), download(error), download(chance), download(mean)


def _fit_block(  # type: ignore[no-untyped-def]
    light, gram, cross, counts, models, linked, ratio, log_prior, shape_from, sky, flux, error, chance, mean, scalars, weight, own, blunt
):
    i = cuda.blockIdx.x
    t = cuda.threadIdx.x
    one = cuda.shared.array(THREADS, np.float64)
    two = cuda.shared.array(THREADS, np.float64)
    bands = models.shape[0]
    number = models.shape[3]
    q = ratio[i]
    last = counts[i] - 1
    best = np.float64(0)
    seen = np.float64(0)
    for m in range(t, number, THREADS):
        n = min(m + 1, number - 1)
        gain = np.float64(0)
        for b in range(bands):
            a = np.float64(0)
            e = np.float64(0)
            p = np.float64(0)
            c = np.float64(0)
            h = np.float64(0)
            level = sky[b]
            total = np.float64(0)
            for k in range(last + 1):
                d, g, x, s = row(light, gram, cross, i, b, k, last)
                total += d
                level += s
                v = np.float64(models[b, q, k, m])
                u = np.float64(models[b, q, k, n])
                after = np.float64(models[b, q, min(k + 1, last), m])
                p += d * v
                c += s * v
                h += s * u
                a += v * (g * v + 2.0 * x * after)
                e += v * (g * u + x * np.float64(models[b, q, min(k + 1, last), n])) + x * u * after
            p -= c * total / level
            a -= c * c / level
            e -= c * h / level
            scalars[0, i, b, m] = a
            scalars[1, i, b, m] = e
            scalars[2, i, b, m] = p
            if shape_from[b] != 0:
                seen = max(seen, a)
                gain += gained(a, p)
        best = max(best, gain)
    one[t] = best
    two[t] = seen
    cuda.syncthreads()
    for k in range(THREADS):
        best = max(best, one[k])
        seen = max(seen, two[k])
    cuda.syncthreads()
    soft = 1.0 / (1.0 + 2.0 * blunt * blunt * best)
    steps = steps_for(soft * best)
    crowd = math.log(np.float64(steps))
    top = np.float64(-np.inf)
    for m in range(t, number, THREADS):
        chained = linked[m] != 0 or (m > 0 and linked[m - 1] != 0)
        for j in range(steps if linked[m] != 0 else 1):
            f = np.float64(j) / steps
            gain = np.float64(0)
            for b in range(bands):
                if shape_from[b] != 0:
                    a, p = mixed(scalars[0, i, b], scalars[1, i, b], scalars[2, i, b], m, f)
                    gain += gained(a, p)
            prior = log_prior[m]
            if j > 0:
                prior += f * (log_prior[m + 1] - log_prior[m])
            weight[i, m, j] = soft * gain + prior - (crowd if chained else 0.0)
            top = max(top, weight[i, m, j])
    one[t] = top
    cuda.syncthreads()
    for k in range(THREADS):
        top = max(top, one[k])
    norm = np.float64(0)
    rare = math.log(RARE)
    for m in range(t, number, THREADS):
        for j in range(steps if linked[m] != 0 else 1):
            above = weight[i, m, j] - top
            weight[i, m, j] = math.exp(above) if above > rare else 0.0
            norm += weight[i, m, j]
    two[t] = norm
    cuda.syncthreads()
    norm = np.float64(0)
    for k in range(THREADS):
        norm += two[k]
    for m in range(t, number, THREADS):
        for j in range(steps if linked[m] != 0 else 1):
            weight[i, m, j] = weight[i, m, j] / norm if seen > 0.0 else 0.0
    cuda.syncthreads()
    for m in range(t, number, THREADS):
        total = np.float64(0)
        for j in range(steps if linked[m] != 0 else 1):
            total += (1.0 - np.float64(j) / steps) * weight[i, m, j]
        if m > 0 and linked[m - 1] != 0:
            for j in range(1, steps):
                total += np.float64(j) / steps * weight[i, m - 1, j]
        chance[i, m] = np.float32(total)
    for b in range(bands):
        product = scalars[0, i, b]
        between = scalars[1, i, b]
        shown = scalars[2, i, b]
        least = np.float64(np.inf)
        for m in range(t, number, THREADS):
            least = min(least, product[m])
        one[t] = least
        cuda.syncthreads()
        for k in range(THREADS):
            least = min(least, one[k])
        known = least > 0.0 and seen > 0.0
        first = np.float64(0)
        second = np.float64(0)
        if known:
            for m in range(t, number, THREADS):
                total = np.float64(0)
                for j in range(steps if linked[m] != 0 else 1):
                    w = weight[i, m, j]
                    f = np.float64(j) / steps
                    a, p = mixed(product, between, shown, m, f)
                    first += w * p / a
                    second += w * (1.0 / a + p / a * p / a)
                    total += (1.0 - f) * w * p / a
                if m > 0 and linked[m - 1] != 0:
                    for j in range(1, steps):
                        f = np.float64(j) / steps
                        a, p = mixed(product, between, shown, m - 1, f)
                        total += f * weight[i, m - 1, j] * p / a
                own[i, m] = total
        cuda.syncthreads()
        one[t] = first
        two[t] = second
        cuda.syncthreads()
        first = np.float64(0)
        second = np.float64(0)
        for k in range(THREADS):
            first += one[k]
            second += two[k]
        spread = math.sqrt(max(second - first * first, 0.0))
        low = first - REACH * spread
        high = low
        for side in range(2):
            part = TAIL if side == 0 else 1.0 - TAIL
            lower = first - REACH * spread
            upper = first + REACH * spread
            for _ in range(HALVINGS):
                middle = 0.5 * (lower + upper)
                below = np.float64(0)
                whole = np.float64(0)
                if known:
                    for m in range(t, number, THREADS):
                        for j in range(steps if linked[m] != 0 else 1):
                            w = weight[i, m, j]
                            if w >= NEGLIGIBLE:
                                a, p = mixed(product, between, shown, m, np.float64(j) / steps)
                                below += w * normal((middle - p / a) * math.sqrt(a))
                                whole += w
                cuda.syncthreads()
                one[t] = below
                two[t] = whole
                cuda.syncthreads()
                below = np.float64(0)
                whole = np.float64(0)
                for k in range(THREADS):
                    below += one[k]
                    whole += two[k]
                if below < part * whole:
                    lower = middle
                else:
                    upper = middle
            if side == 0:
                low = 0.5 * (lower + upper)
            else:
                high = 0.5 * (lower + upper)
        if t == 0:
            flux[i, b] = first if known else np.float64(np.nan)
            error[i, b] = 0.5 * (high - low) if known else np.float64(np.nan)
        for k in range(t, mean.shape[2], THREADS):
            value = np.float32(0)
            if known:
                for m in range(number):
                    value += np.float32(own[i, m]) * models[b, q, k, m]
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
    linked = (np.arange(number) % 13 != 0) & (np.arange(number) < number - 1)
    arguments = models.astype(np.float32), linked, rng.integers(0, ratios, n), prior
    sums = light.astype(np.float32), gram.astype(np.float32), cross.astype(np.float32)
    none = tuple(s[:0] for s in sums)
    return [
        (sums, counts, *arguments, np.array([True, True]), np.array([4.0, 9.0]), 0.01),
        (sums, counts, *arguments, np.array([False, True]), np.array([4.0, 9.0]), 0.0),
        (none, counts[:0], *arguments[:2], arguments[2][:0], prior, np.array([True, True]), np.array([4.0, 9.0]), 0.01),
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
            f"void({SUM}, {SUM}, {SUM}, int32[::1], float32[:,:,:,::1], int32[::1], int32[::1], float64[::1], int32[::1], float64[::1], "
            f"float64[:,::1], float64[:,::1], float32[:,::1], {SUM}, float64[:,:,:,::1], float64[:,:,::1], float64[:,::1], float64)",
            THREADS,
        ),
    ),
    example=_example,
    rtol=1e-5,
    atol=1e-6,
    float64="the chi-squares of bright sources are large numbers whose small differences decide",
)
