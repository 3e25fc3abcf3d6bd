"""How much wider than a point each source is: the light under a slightly extended model against that under the PSF.

References:
    Desai et al. (2012), ApJ 757, 83 (SPREAD_MODEL); Bouy et al. (2013), A&A 554, A101 (its error).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...products import Image, PsfModel
from .moments import Stamps, cut, offsets
from .spline import GUARD, Reader, samples, spline_coefficients

DISC = 0.15
"""Half-light radius, in FWHM, of the exponential disc that makes the extended model: small, the way in which sources begin to grow."""
RADIUS = 1.75
"""Pixels within so many FWHM of a source are looked at; stars and galaxies differ in the core."""
ROUNDS = 4
FURTHEST = 0.9
"""The fit finds the source within so many pixels of the catalogue's place along each axis."""
BATCH = 1024
DOUBTFUL = 0.1
"""Where more of the weight is missing, for a neighbour or a mask, the spread may well be wrong."""


@dataclass(frozen=True)
class Spread:
    """What was found of n sources; every array is (n,).

    Attributes:
        value: the spread, 0 for a point, mean over the bands by inverse variance; NaN where it could not be measured.
        error: its standard deviation from the pixel noise.
        snr: signal-to-noise ratio of the best-fitting point source, all bands together.
        missing: the part of the point source's weight that lies on unusable or foreign pixels, in the band that counts most.
    """

    value: np.ndarray
    error: np.ndarray
    snr: np.ndarray
    missing: np.ndarray


@dataclass(frozen=True)
class _Models:
    """Spline coefficients (coefficient, nodes, nodes) of the PSF and of the extended model in one band."""

    point: np.ndarray
    disc: np.ndarray


def measure_spread(
    image: Image, labels: np.ndarray, x: np.ndarray, y: np.ndarray, model: PsfModel, batch: float, progress: Callable[[int, int], None]
) -> Spread:
    """Measure the spread of every source.

    Args:
        image: with variance, in the bands of the model.
        labels: (y, x), label i is source i - 1.
        x, y: (n,) places in pixels.
        model: the PSF.
        batch: part of the usual number of sources to work on at a time.
        progress: called with (done, total).
    """
    half = int(np.ceil(RADIUS * float(model.fwhm.max()))) + 1
    models = [_models(model, b, half) for b in range(len(image.bands))]
    good = image.usable()
    n = len(x)
    found = [np.full(n, np.nan) for _ in range(4)]
    step = max(int(BATCH * batch), 1)
    for first in range(0, n, step):
        here = slice(first, min(first + step, n))
        own = np.arange(here.start, here.stop) + 1
        assert image.variance is not None
        stamps = [cut(image.data[b], image.variance[b], good[b], labels, own, x[here], y[here], half) for b in range(len(models))]
        for to, values in zip(found, _of_some(stamps, models, x[here], y[here], model), strict=True):
            to[here] = values
        progress(here.stop, n)
    return Spread(*found)


def spread_of(
    stamps: Stamps, coefficients: np.ndarray, factors: np.ndarray, dx: np.ndarray, dy: np.ndarray, fwhm: float, oversampling: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return spread and error, (n,) each, of sources in one band under a PSF and at places that are known.

    Args:
        stamps: the sources.
        coefficients: (coefficient, nodes, nodes) splines of the PSF, for stamps of that size.
        factors: (n, coefficient) of the polynomial at each source.
        dx, dy: (n,) places relative to the middles of the stamps, in pixels.
        fwhm: of the PSF, in pixels.
        oversampling: nodes per pixel.
    """
    disc = np.stack([spline_coefficients(one) for one in _extended(samples(coefficients), fwhm, oversampling)])
    points = np.einsum("nk,kyx->nyx", factors, coefficients)
    value, error, _, _ = _combined([stamps], [_Models(coefficients, disc)], [points], factors, dx, dy, [fwhm], oversampling)
    return value, error


def _models(model: PsfModel, band: int, half: int) -> _Models:
    """Return both models on the nodes of smaller (or larger) stamps."""
    nodes = model.basis[band].astype(float)
    steps = model.oversampling
    want = 2 * (half + GUARD) * steps + 1
    # A margin for the convolution, cut off afterwards.
    margin = int(np.ceil(4 * DISC * model.fwhm[band] * steps))
    nodes = _resized(nodes, want + 2 * margin)
    disc = _resized(_extended(nodes, float(model.fwhm[band]), steps), want)
    point = np.stack([spline_coefficients(one) for one in _resized(nodes, want)])
    return _Models(point, np.stack([spline_coefficients(one) for one in disc]))


def _extended(nodes: np.ndarray, fwhm: float, oversampling: int) -> np.ndarray:
    """Return a PSF's nodes (coefficient, y, x) convolved with the disc of the extended model; beyond its edge the PSF is zero."""
    from scipy import ndimage

    half_light = DISC * fwhm * oversampling
    kernel = disc_kernel(half_light, int(np.ceil(4 * half_light)))
    return np.stack([ndimage.convolve(one, kernel, mode="constant") for one in nodes])


def _resized(nodes: np.ndarray, side: int) -> np.ndarray:
    """Return stamps (coefficient, y, x) cut or padded with zeros to a square of an odd side about the same middle."""
    out = np.zeros((len(nodes), side, side))
    reach = [min(side, have) // 2 for have in nodes.shape[1:]]
    (ty, tx), (fy, fx) = (side // 2, side // 2), (nodes.shape[1] // 2, nodes.shape[2] // 2)
    out[:, ty - reach[0] : ty + reach[0] + 1, tx - reach[1] : tx + reach[1] + 1] = nodes[
        :, fy - reach[0] : fy + reach[0] + 1, fx - reach[1] : fx + reach[1] + 1
    ]
    return out


def disc_kernel(half_light: float, reach: int) -> np.ndarray:
    """Return an exponential disc of that half-light radius in nodes, (y, x), out to `reach` nodes, summing to one.

    Every node holds the mean over its square, so that discs smaller than a node are right as well.
    """
    fine = 5
    part = (np.arange(fine) - fine // 2) / fine
    axis = (np.arange(-reach, reach + 1)[:, None] + part).ravel()
    profile = np.exp(-1.6783 / half_light * np.hypot(axis[:, None], axis))
    kernel = profile.reshape(2 * reach + 1, fine, 2 * reach + 1, fine).mean(axis=(1, 3))
    return np.asarray(kernel / kernel.sum())


def _of_some(stamps: list[Stamps], models: list[_Models], x: np.ndarray, y: np.ndarray, model: PsfModel) -> tuple[np.ndarray, ...]:
    factors = model.coefficients(x, y)
    half = stamps[0].half
    gx, gy = offsets(half)
    dx, dy = x - stamps[0].x, y - stamps[0].y
    # A window that moves with the source keeps the measurement independent of where in a pixel it lies.
    width = [float(fwhm) for fwhm in model.fwhm]
    start_x, start_y = dx.copy(), dy.copy()
    points = [np.einsum("nk,kyx->nyx", factors, one.point) for one in models]
    for _ in range(ROUNDS):
        reader = Reader(dx, dy, half, model.oversampling)
        normal, right = np.zeros((len(x), 2, 2)), np.zeros((len(x), 2))
        for band, own, fwhm in zip(stamps, points, width, strict=True):
            weight = band.ivar * _window(gx, gy, dx, dy, fwhm)
            p, px, py = (reader.read(own, slope) for slope in ("", "x", "y"))
            pp = np.maximum((weight * p * p).sum(axis=(1, 2)), 1e-300)
            amplitude = np.maximum((weight * p * band.data).sum(axis=(1, 2)) / pp, 0.0)
            # Slopes with what a change of flux would do taken out; a source that moves on leaves them behind.
            slopes = [-(s - p * ((weight * p * s).sum(axis=(1, 2)) / pp)[:, None, None]) for s in (px, py)]
            rest = band.data - amplitude[:, None, None] * p
            for i, one in enumerate(slopes):
                right[:, i] += amplitude * (weight * one * rest).sum(axis=(1, 2))
                for j, other in enumerate(slopes):
                    normal[:, i, j] += amplitude**2 * (weight * one * other).sum(axis=(1, 2))
        # As if the place were known to half a pixel: a faint source stays where the catalogue has it.
        normal += 4.0 * np.eye(2)
        right -= 4.0 * np.stack([dx - start_x, dy - start_y], axis=1)
        change = np.clip(np.linalg.solve(normal, right[..., None])[..., 0], -0.4, 0.4)
        dx, dy = (np.clip(d + change[:, k], -FURTHEST, FURTHEST) for k, d in enumerate((dx, dy)))
    return _combined(stamps, models, points, factors, dx, dy, width, model.oversampling)


def _window(gx: np.ndarray, gy: np.ndarray, dx: np.ndarray, dy: np.ndarray, fwhm: float) -> np.ndarray:
    """Return a soft-edged circle about each source, (n, y, x)."""
    distance = np.hypot(gx - dx[:, None, None], gy - dy[:, None, None])
    return np.clip(RADIUS * fwhm + 0.5 - distance, 0.0, 1.0)


def _combined(
    stamps: list[Stamps],
    models: list[_Models],
    points: list[np.ndarray],
    factors: np.ndarray,
    dx: np.ndarray,
    dy: np.ndarray,
    width: list[float],
    oversampling: int,
) -> tuple[np.ndarray, ...]:
    """Return spread, error, S/N and missing part of every source from all bands."""
    n, half = len(dx), stamps[0].half
    gx, gy = offsets(half)
    reader = Reader(dx, dy, half, oversampling)
    total, precision, snr2, best, missing = (np.zeros(n) for _ in range(5))
    for band, one, own, fwhm in zip(stamps, models, points, width, strict=True):
        window = _window(gx, gy, dx, dy, fwhm)
        weight = band.ivar * window
        p = reader.read(own)
        g = reader.read(np.einsum("nk,kyx->nyx", factors, one.disc))
        pd, gd, pp, pg, gg = ((weight * a * b).sum(axis=(1, 2)) for a, b in ((p, band.data), (g, band.data), (p, p), (p, g), (g, g)))
        with np.errstate(divide="ignore", invalid="ignore"):
            value = gd / pd - pg / pp
            variance = (gg * pd**2 + pp * gd**2 - 2 * pg * gd * pd) / pd**4
            significance = pd / np.sqrt(pp)
        use = (pd > 0) & (variance > 0) & np.isfinite(value) & np.isfinite(variance)
        inverse = np.divide(1.0, variance, out=np.zeros(n), where=use)
        total += np.where(use, np.nan_to_num(value) * inverse, 0.0)
        precision += inverse
        snr2 += np.where(use, np.maximum(np.nan_to_num(significance), 0.0) ** 2, 0.0)
        whole = (window * p * p).sum(axis=(1, 2))
        part = 1.0 - (window * p * p * (band.ivar > 0)).sum(axis=(1, 2)) / np.maximum(whole, 1e-300)
        missing = np.where(inverse >= best, part, missing)
        best = np.maximum(best, inverse)
    known = precision > 0
    value = np.divide(total, precision, out=np.full(n, np.nan), where=known)
    error = np.sqrt(np.divide(1.0, precision, out=np.full(n, np.nan), where=known))
    return value, error, np.sqrt(snr2), np.where(known, missing, 1.0)
