"""Windowed centroids and adaptive second moments: a Gaussian window that takes the source's own place and shape.

The window's centre moves by twice the windowed first moment, as SExtractor's XWIN does, and its covariance to
that of the Gaussian which would show the windowed second moments, until both rest. A window of the source's
own shape weighs the pixels nearly as well as its profile would.

References: Bertin & Arnouts (1996), A&AS 117, 393; Bernstein & Jarvis (2002), AJ 123, 583; Hirata & Seljak (2003), MNRAS 343, 459.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._boxes import place_box, seen_box
from ._examples import scene
from ._numba import cuda, download, empty, helper, inlined, launch, parallel, prange, upload
from ._pixels import Places, Planes, brightness, node, noise, radius2, taken
from ._window import DIM, EXTENT, ROUNDS, THINNEST, advance, bounds, centre_covariance, first, gauss, half_width, last
from .spec import KernelSpec, Launch

FOUND, NO_LIGHT, DRIFTED = 0, 1, 2
THREADS = 32
SUMS = 10

Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def reference(planes: Planes, places: Places, weights: np.ndarray, point: np.ndarray, most: np.ndarray, window: np.ndarray) -> Found:
    """Return windowed centroids and the windows they were found with.

    A pixel that is of no use, or another source's, is replaced by the one opposite about the start, or by nothing.

    Args:
        planes: the image.
        places: where to start, and what of the model image is the source's own.
        weights: (band,) weights of the bands in the mean that is centred on; 0 leaves a band out.
        point: (3,) pixel^2, second moments xx, xy, yy of the PSF: the window's where the source is faint, and nearly its least.
        most: (n,) pixel^2, the largest; also the largest squared distance of the centroid from its start.
        window: (n, 3) pixel^2, the windows to start with: xx, xy, yy.

    Returns:
        (n, 2) float32, centroid minus `places.pixels`; (n, 3) its covariance from the noise of the pixels, xx, xy, yy;
        (n, 3) the window's last covariance; (n,) the signal-to-noise ratio in it; (n,) int32: 0, or 1 where there is no
        positive light in the window, or 2 where it drifted off. In these two cases centroid and window are the last ones.
    """
    n = len(places.pixels)
    centre, covariance, moments = np.zeros((n, 2), np.float32), np.full((n, 3), np.nan, np.float32), np.zeros((n, 3), np.float32)
    strength, status = np.zeros(n, np.float32), np.zeros(n, np.int32)
    for i in range(n):
        flux, spread, x, y = _cutout(planes, places, weights, i, most[i])
        start = places.offsets[i].astype(float)
        at, m = start.copy(), np.array([[window[i, 0], window[i, 1]], [window[i, 1], window[i, 2]]], float)
        for turn in range(ROUNDS):
            d = np.stack([x - at[0], y - at[1]])
            rho2 = np.einsum("iyx,ij,jyx->yx", d, np.linalg.inv(m), d)
            w = np.where(rho2 < EXTENT**2, np.exp(-0.5 * rho2), 0)
            s, v = np.sum(w * flux), np.sum(w**2 * spread)
            if not s > 0:
                status[i] = NO_LIGHT
                break
            first, second = np.einsum("yx,iyx->i", w * flux, d), np.einsum("yx,iyx,jyx->ij", w * flux, d, d)
            noise2 = np.einsum("yx,iyx,jyx->ij", w**2 * spread, d, d)
            jacobian = s * np.eye(2) - second @ np.linalg.inv(m)
            if not (np.diag(jacobian) > 0.2 * s).all() or not np.linalg.det(jacobian) > 0.05 * s**2:
                jacobian = 0.5 * s * np.eye(2)
            inverse = np.linalg.inv(jacobian)
            c = inverse @ noise2 @ inverse.T
            covariance[i] = c[0, 0], c[0, 1], c[1, 1]
            strength[i] = s / np.sqrt(v) if v > 0 else np.inf
            step = first / s
            new = _matched(second / s - np.outer(step, step), m, s**2 / (s**2 + DIM * v), bounds(point).astype(float), most[i])
            if turn >= ROUNDS // 3:
                step, new = step / 2, (new + m) / 2
            blur = v / s**2
            size = np.trace(m)
            changed = np.abs(new - m).sum()
            rest = 4 * step @ step < 1e-6 + 0.005 * blur * size and changed < (0.02 + 0.15 * np.sqrt(blur)) * size
            at, m = at + 2 * step, new
            if np.sum((at - start) ** 2) > most[i]:
                status[i] = DRIFTED
                break
            if rest:
                break
        centre[i], moments[i] = at, (m[0, 0], m[0, 1], m[1, 1])
    return centre, covariance, moments, strength, status


def _matched(seen: np.ndarray, m: np.ndarray, part: float, point: np.ndarray, most: float) -> np.ndarray:
    """Return the covariance of the Gaussian that shows the second moments `seen` in the window `m`, within bounds."""
    doubled = 2 * np.trace(m)  # from one round to the next a window at most doubles
    new = seen * doubled / max(np.trace(seen), 0.01 * doubled)
    if np.linalg.det(seen) > 0 and seen[0, 0] > 0:
        inverse = np.linalg.inv(seen) - np.linalg.inv(m)
        if inverse[0, 0] > 0 and np.linalg.det(inverse) > 0:
            new = np.linalg.inv(inverse)
            new *= min(1.0, doubled / np.trace(new))
    star = np.array([[point[0], point[1]], [point[1], point[2]]])
    new = star + part * (new - star)
    values, axes = np.linalg.eigh(new)
    major = min(max(values[1], point[3]), most)
    matched: np.ndarray = axes @ np.diag([min(max(values[0], THINNEST * point[4]), major), major]) @ axes.T
    return matched


def _cutout(planes: Planes, places: Places, weights: np.ndarray, i: int, most: float) -> tuple[np.ndarray, ...]:
    """Return flux, variance, x and y of the pixels about a source, neighbours removed."""
    wide = half_width(np.float32(most))
    reach = np.arange(-wide, wide + 1)
    x, y = np.meshgrid(reach, reach)
    flux, spread = np.zeros(x.shape), np.zeros(x.shape)
    px, py = x + places.pixels[i, 0], y + places.pixels[i, 1]
    ny, nx = planes.data.shape[1:]
    inside = (px >= 0) & (px < nx) & (py >= 0) & (py < ny)
    at = np.clip(py, 0, ny - 1), np.clip(px, 0, nx - 1)
    good = inside.copy()
    for b in np.flatnonzero(weights).tolist():
        good &= planes.usable()[b][at]
        values = planes.data[b][at].astype(float)
        if len(planes.model):
            values += places.brightness(i, b, places.radius2(i, px, py)) - planes.model[b][at]
        flux += weights[b] * values
        spread += weights[b] ** 2 * planes.variance[b][at]
    if len(planes.labels):
        good &= (planes.labels[at] == 0) | (planes.labels[at] == i + 1)
    flux, spread = np.where(good, flux, 0), np.where(good, spread, 0)
    mx, my = (np.floor(2 * places.offsets[i, k] - v + np.float32(0.5)).astype(int) for k, v in ((0, x), (1, y)))
    there = (np.abs(mx) <= wide) & (np.abs(my) <= wide)
    mirror = np.clip(my + wide, 0, 2 * wide), np.clip(mx + wide, 0, 2 * wide)
    replaced = ~good & there
    return np.where(replaced, flux[mirror], flux), np.where(replaced, spread[mirror], spread), x, y


@inlined
def _pixel(
    data: Any, variance: Any, mask: Any, unusable: Any, labels: Any, model: Any, models: Any, form: Any, core2: Any,
    weights: Any, i: Any, ix: Any, iy: Any, fx: Any, fy: Any, x: Any, y: Any,
) -> Any:  # fmt: skip
    """Return flux and variance of the mean over the bands of pixel (x, y) from (ix, iy); no variance: no use."""
    total = np.float32(0)
    spread = np.float32(0)
    for b in range(data.shape[0]):
        w = weights[b]
        if w == np.float32(0):
            continue
        v = noise(data, variance, mask, unusable, b, iy + y, ix + x)
        if v == np.float32(0) or taken(labels, iy + y, ix + x, i + 1):
            return np.float32(0), np.float32(0)
        d = data[b, iy + y, ix + x]
        if model.shape[0] > 0:
            r2 = radius2(form, i, np.float32(x) - fx, np.float32(y) - fy)
            d += brightness(models, i, b, node(r2, core2)) - model[b, iy + y, ix + x]
        total += w * d
        spread += w * w * v
    return total, spread


@inlined
def _opposite(centre: Any, x: Any) -> Any:
    """Return the column (or row) of the pixel opposite."""
    return np.int32(math.floor(np.float32(2) * centre - np.float32(x) + np.float32(0.5)))


def cpu(planes: Planes, places: Places, weights: np.ndarray, point: np.ndarray, most: np.ndarray, window: np.ndarray) -> Found:
    """Return windowed centroids; see `reference`. Threaded over sources."""
    out, status = _all(
        *planes.arrays(), places.models, places.form, places.core2, weights.astype(np.float32), places.pixels, places.offsets,
        bounds(point), most.astype(np.float32), window.astype(np.float32),
    )  # fmt: skip
    return _split(out, status)


def _split(out: np.ndarray, status: np.ndarray) -> Found:
    return out[:, 0:2].copy(), out[:, 2:5].copy(), out[:, 5:8].copy(), out[:, 8].copy(), status


@parallel
def _all(
    data: Any, variance: Any, mask: Any, unusable: Any, labels: Any, model: Any, models: Any, form: Any, core2: Any,
    weights: Any, pixels: Any, offsets: Any, point: Any, most: Any, window: Any,
) -> Any:  # fmt: skip
    out = np.empty((len(pixels), 9), np.float32)
    status = np.zeros(len(pixels), np.int32)
    for i in prange(len(pixels)):
        wide = half_width(most[i])
        side = 2 * wide + 1
        place = np.empty((side, side), np.float32)
        flux = np.empty((side, side), np.float32)
        spread = np.empty((side, side), np.float32)
        total = np.zeros((side, side), np.float32)
        noise2 = np.zeros((side, side), np.float32)
        ox = offsets[i, 0]
        oy = offsets[i, 1]
        if model.shape[0] > 0:
            place_box(form, i, core2, -wide, -wide, ox, oy, place)
        begun = False
        for b in range(data.shape[0]):
            if weights[b] != np.float32(0):
                x0, y0 = pixels[i, 0] - wide, pixels[i, 1] - wide
                seen_box(data, variance, mask, unusable, labels, model, models, i, b, x0, y0, place, np.float32(0), flux, spread)
                _mix(flux, spread, weights[b], total, noise2, begun)
                begun = True
        _mirror(total, noise2, wide, ox, oy)
        status[i] = _settle(total, noise2, wide, ox, oy, point, most[i], window[i], out[i])
    return out, status


@helper
def _mix(flux: Any, spread: Any, weight: Any, total: Any, noise2: Any, begun: Any) -> None:
    """Add a band to the mean; a pixel that is of no use in one band is of none."""
    for r in range(flux.shape[0]):
        for k in range(flux.shape[1]):
            good = (spread[r, k] > np.float32(0)) & ((noise2[r, k] > np.float32(0)) | (not begun))
            total[r, k] = total[r, k] + weight * flux[r, k] if good else np.float32(0)
            noise2[r, k] = noise2[r, k] + weight * weight * spread[r, k] if good else np.float32(0)


@helper
def _mirror(flux: Any, spread: Any, wide: Any, fx: Any, fy: Any) -> None:
    """Put the opposite pixels in the place of those without variance, which have none of their own."""
    replaced = spread == np.float32(0)
    for r in range(2 * wide + 1):
        for k in range(2 * wide + 1):
            if replaced[r, k]:
                mx = _opposite(fx, k - wide) + wide
                my = _opposite(fy, r - wide) + wide
                if 0 <= mx <= 2 * wide and 0 <= my <= 2 * wide and not replaced[my, mx]:
                    flux[r, k] = flux[my, mx]
                    spread[r, k] = spread[my, mx]


@helper
def _settle(flux: Any, spread: Any, wide: Any, fx: Any, fy: Any, point: Any, most: Any, window: Any, out: Any) -> Any:
    """Iterate on one cut-out; writes a row of the result and returns the status."""
    ox = fx
    oy = fy
    mxx = window[0]
    mxy = window[1]
    myy = window[2]
    status = FOUND
    for k in range(2, 5):
        out[k] = np.float32(np.nan)
    out[8] = np.float32(0)
    for turn in range(ROUNDS):
        det = mxx * myy - mxy * mxy
        axx = myy / det
        axy = np.float32(-2) * mxy / det
        ayy = mxx / det
        s = np.float32(0)
        sx = np.float32(0)
        sy = np.float32(0)
        sxx = np.float32(0)
        sxy = np.float32(0)
        syy = np.float32(0)
        v0 = np.float32(0)
        vxx = np.float32(0)
        vxy = np.float32(0)
        vyy = np.float32(0)
        x0 = first(ox, mxx, wide)
        x1 = last(ox, mxx, wide) + 1
        for y in range(first(oy, myy, wide), last(oy, myy, wide) + 1):
            dy = np.float32(y) - oy
            # sums over the row of flux and variance, times powers of dx
            f0 = np.float32(0)
            f1 = np.float32(0)
            f2 = np.float32(0)
            n0 = np.float32(0)
            n1 = np.float32(0)
            n2 = np.float32(0)
            r = np.uint64(y + wide)
            for x in range(x0, x1):
                dx = np.float32(x) - ox
                rho2 = axx * dx * dx + axy * dx * dy + ayy * dy * dy
                if rho2 < np.float32(EXTENT * EXTENT):
                    w = gauss(rho2)
                    d = w * flux[r, np.uint64(x + wide)]
                    v = w * w * spread[r, np.uint64(x + wide)]
                    f0 += d
                    f1 += d * dx
                    f2 += d * dx * dx
                    n0 += v
                    n1 += v * dx
                    n2 += v * dx * dx
            s += f0
            sx += f1
            sy += f0 * dy
            sxx += f2
            sxy += f1 * dy
            syy += f0 * dy * dy
            v0 += n0
            vxx += n2
            vxy += n1 * dy
            vyy += n0 * dy * dy
        if not s > np.float32(0):
            status = NO_LIGHT
            break
        out[2], out[3], out[4] = centre_covariance(s, sxx, sxy, syy, vxx, vxy, vyy, mxx, mxy, myy)
        out[8] = s / math.sqrt(v0)
        ux, uy, mxx, mxy, myy, rest = advance(s, sx, sy, sxx, sxy, syy, v0, mxx, mxy, myy, point, most, turn >= ROUNDS // 3)
        ox += np.float32(2) * ux
        oy += np.float32(2) * uy
        if (ox - fx) * (ox - fx) + (oy - fy) * (oy - fy) > most:
            status = DRIFTED
            break
        if rest:
            break
    out[0] = ox
    out[1] = oy
    out[5] = mxx
    out[6] = mxy
    out[7] = myy
    return status


def on_cuda(planes: Planes, places: Places, weights: np.ndarray, point: np.ndarray, most: np.ndarray, window: np.ndarray) -> Found:
    """Return windowed centroids from the GPU, a block a source; see `reference`."""
    n = len(places.pixels)
    if n == 0:
        return _split(np.empty((0, 9), np.float32), np.empty(0, np.int32))
    data, variance, mask, unusable, labels, model = planes.arrays()
    arrays = [upload(a) for a in (data, variance, mask, labels, model, places.models, places.form)]
    per_source = [
        upload(a)
        for a in (
            weights.astype(np.float32), places.pixels, places.offsets, most.astype(np.float32), window.astype(np.float32), bounds(point),
        )
    ]  # fmt: skip
    out, status = empty((n, 9), np.float32), empty(n, np.int32)
    launch(_settle_block, n, THREADS, *arrays, *per_source, out, status, unusable, places.core2)
    return _split(download(out), download(status))


def _settle_block(  # type: ignore[no-untyped-def]
    data, variance, mask, labels, model, models, form, weights, pixels, offsets, most, window, point, out, status, unusable, core2
):
    i = cuda.blockIdx.x
    t = cuda.threadIdx.x
    parts = cuda.shared.array((SUMS, THREADS), np.float32)
    ix = pixels[i, 0]
    iy = pixels[i, 1]
    fx = offsets[i, 0]
    fy = offsets[i, 1]
    wide = half_width(most[i])
    ox = fx
    oy = fy
    mxx = window[i, 0]
    mxy = window[i, 1]
    myy = window[i, 2]
    ended = FOUND
    if t == 0:
        for k in range(2, 5):
            out[i, k] = np.float32(np.nan)
        out[i, 8] = np.float32(0)
    for turn in range(ROUNDS):
        det = mxx * myy - mxy * mxy
        axx = myy / det
        axy = np.float32(-2) * mxy / det
        ayy = mxx / det
        x0 = first(ox, mxx, wide)
        y0 = first(oy, myy, wide)
        nx = last(ox, mxx, wide) + 1 - x0
        ny = last(oy, myy, wide) + 1 - y0
        for k in range(SUMS):
            parts[k, t] = np.float32(0)
        for p in range(t, nx * ny, THREADS):
            x = x0 + p % nx
            y = y0 + p // nx
            dx = np.float32(x) - ox
            dy = np.float32(y) - oy
            rho2 = axx * dx * dx + axy * dx * dy + ayy * dy * dy
            if rho2 < np.float32(EXTENT * EXTENT):
                d, v = _pixel(data, variance, mask, unusable, labels, model, models, form, core2, weights, i, ix, iy, fx, fy, x, y)
                if v == np.float32(0):
                    mx = _opposite(fx, x)
                    my = _opposite(fy, y)
                    if abs(mx) <= wide and abs(my) <= wide:
                        d, v = _pixel(
                            data, variance, mask, unusable, labels, model, models, form, core2, weights, i, ix, iy, fx, fy, mx, my
                        )
                w = gauss(rho2)
                d = w * d
                v = w * w * v
                parts[0, t] += d
                parts[1, t] += d * dx
                parts[2, t] += d * dy
                parts[3, t] += d * dx * dx
                parts[4, t] += d * dx * dy
                parts[5, t] += d * dy * dy
                parts[6, t] += v
                parts[7, t] += v * dx * dx
                parts[8, t] += v * dx * dy
                parts[9, t] += v * dy * dy
        cuda.syncthreads()
        if t < SUMS:  # one thread a sum, in the threads' order
            total = np.float32(0)
            for k in range(THREADS):
                total += parts[t, k]
            parts[t, 0] = total
        cuda.syncthreads()
        s = parts[0, 0]
        v0 = parts[6, 0]
        if not s > np.float32(0):
            ended = NO_LIGHT
            break
        if t == 0:
            cxx, cxy, cyy = centre_covariance(
                s, parts[3, 0], parts[4, 0], parts[5, 0], parts[7, 0], parts[8, 0], parts[9, 0], mxx, mxy, myy
            )
            out[i, 2] = cxx
            out[i, 3] = cxy
            out[i, 4] = cyy
            out[i, 8] = s / math.sqrt(v0)
        ux, uy, mxx, mxy, myy, rest = advance(
            s, parts[1, 0], parts[2, 0], parts[3, 0], parts[4, 0], parts[5, 0], v0, mxx, mxy, myy, point, most[i], turn >= ROUNDS // 3
        )
        cuda.syncthreads()  # the sums have been read; the next round may write
        ox += np.float32(2) * ux
        oy += np.float32(2) * uy
        if (ox - fx) * (ox - fx) + (oy - fy) * (oy - fy) > most[i]:
            ended = DRIFTED
            break
        if rest:
            break
    if t == 0:
        out[i, 0] = ox
        out[i, 1] = oy
        out[i, 5] = mxx
        out[i, 6] = mxy
        out[i, 7] = myy
        status[i] = ended


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    examples: list[tuple[Any, ...]] = []
    for planes, places in scene(rng):
        n, bands = len(places.pixels), len(planes.data)
        weights = np.ones(bands) / bands
        window = np.tile([2.0, 0.1, 2.0], (n, 1))
        examples.append((planes, places, weights, np.array([1.7, 0.3, 1.4]), np.full(n, 7.0), window))
    return examples


IMAGE = "float32[:,:,::1], float32[:,:,::1], int32[:,:,::1], int32[:,::1], float32[:,:,::1]"
KERNEL = KernelSpec(
    name="centroid",
    summary="Windowed centroids and adaptive second moments, neighbours removed.",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(
            _settle_block,
            f"void({IMAGE}, float32[:,:,::1], float32[:,::1], float32[::1], int32[:,::1], float32[:,::1], float32[::1], "
            "float32[:,::1], float32[::1], float32[:,::1], int32[::1], int32, float32)",
            THREADS,
        ),
    ),
    example=_example,
    rtol=2e-3,
    atol=2e-3,
)
