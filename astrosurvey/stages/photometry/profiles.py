"""Radial profiles of Sérsic galaxies as a point-spread function shows them, tabulated for fitting.

In coordinates stretched along the minor axis a galaxy is circular, and the mean over the position angle of
its convolution with the PSF is the convolution of its profile with the mean of the stretched PSF. So the
mean profile in the galaxy's own ellipses is one Hankel integral over products of transforms, for every size,
Sérsic index and axis ratio.

References:
    Sérsic (1963); Graham & Driver (2005), PASA 22, 118.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gamma, gammaincinv, j0, j1

from ...kernels._pixels import PER_OCTAVE, node_radii
from ..detection.filter import FWHM_PER_SIGMA

AXIS_RATIOS = (1.0, 0.8, 0.65, 0.5, 0.38, 0.28, 0.2)
INDICES = (0.5, 0.8, 1.3, 2.2, 4.0)
HALF_LIGHT_PER_SIGMA = float(np.sqrt(2 * np.log(2)))
"""Of a Gaussian, which stands for every galaxy where its ellipse before the PSF is inferred from that after it."""
SMALLEST, LARGEST = 0.12, 12.0
"""Half-light radii of the models, in FWHM of the PSF."""
SIZES = 24
STEP = 0.004
"""Step in log r of the quadrature of a Sérsic transform."""
PER_WAVE = 10
"""So many of these steps are one step in log k of its table."""
LEAST_WAVE = -7.0
WAVES, ANGLES, FINE = 512, 8, 5
"""Nodes of the Hankel integral, of the mean over a quarter turn, and of each interval between two radii."""


@lru_cache
def sersic_transform(n: float) -> tuple[float, np.ndarray]:
    """Return the transform of a unit-flux Sérsic profile, tabulated in the log of wave number times half-light radius.

    The profile is a pile of discs, each with the transform of a disc, r J1(k r) / k.

    Returns:
        the first log k, and (m,) the transform at equal steps from there.
    """
    b = float(gammaincinv(2.0 * n, 0.5))
    log_r = np.arange(np.log(1e-5), n * np.log(60.0 / b), STEP)
    brightness = np.exp(-b * np.exp(log_r / n))
    discs = -np.diff(brightness, append=0.0)
    log_k = LEAST_WAVE + np.arange(0, np.log(4e5), PER_WAVE * STEP)
    edge = log_r + STEP / 2
    # log (k r) takes few values on these two grids, so the Bessel function is asked once for each.
    bessel = j1(np.exp(log_k[0] + edge[0] + STEP * np.arange(PER_WAVE * (len(log_k) - 1) + len(edge))))
    weight = discs * np.exp(edge)
    total = n * gamma(2.0 * n) * b ** (-2.0 * n)
    values = np.array([weight @ bessel[i * PER_WAVE : i * PER_WAVE + len(edge)] for i in range(len(log_k))]) / np.exp(log_k) / total
    return LEAST_WAVE, values


def psf_transform(psf: np.ndarray, k: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Return the transform of a PSF stamp's mean over the position angle at wave numbers `k` (rad / pixel), after a map of (2, 2) steps."""
    ny, nx = psf.shape
    x, y = np.meshgrid(np.arange(nx) - nx // 2, np.arange(ny) - ny // 2)
    radius = np.hypot(*np.tensordot(rounding, np.stack([x, y]), 1)).round(6)
    radii, place = np.unique(radius, return_inverse=True)
    weight = np.bincount(place.ravel(), psf.ravel().astype(float))
    result: np.ndarray = j0(k[:, None] * radii) @ weight / weight.sum()
    return result


def resized(size: np.ndarray, point: float, rounder: np.ndarray) -> np.ndarray:
    """Return the half-light semi-major axis, before the PSF, of a galaxy drawn with another axis ratio and the same area.

    Args:
        size: (n,) it was, pixels.
        point: see `build`.
        rounder: (n,) axis ratio after the PSF that `size` goes with, over the other one.
    """
    result: np.ndarray = np.sqrt(np.maximum((size**2 + HALF_LIGHT_PER_SIGMA**2 * point) * rounder - HALF_LIGHT_PER_SIGMA**2 * point, 0))
    return result


@dataclass(frozen=True)
class Models:
    """Unit-flux models of one PSF, by axis ratio, node and model.

    Attributes:
        core: px; see `kernels._pixels.node`.
        values: (axis ratio, node, model) brightness per pixel at the nodes.
        log_size: (model,) log of the half-light semi-major axis in pixels, before the PSF; -inf for a star.
        index: (model,) Sérsic index; NaN for a star.
        half_light: (axis ratio, model) semi-major axis that holds half of the light, as observed, pixels.
        growth: (axis ratio, node, model) the part of the light within each node.
    """

    core: float
    values: np.ndarray
    log_size: np.ndarray
    index: np.ndarray
    half_light: np.ndarray
    growth: np.ndarray

    @property
    def linked(self) -> np.ndarray:
        """(model,) bool, whether the next model is the next size of the same index."""
        following = np.diff(self.log_size, append=-np.inf) > 0
        following[:1] = False  # the star
        return following


def _interpolate(log_k: np.ndarray, start: float, values: np.ndarray) -> np.ndarray:
    place = np.clip((log_k - start) * (1 / (PER_WAVE * STEP)), 0, len(values) - 1.001).astype(np.float32)
    index = place.astype(np.int32)
    place -= index
    low = values[index]
    return low + place * (values[index + 1] - low)


def _projection(core: float, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return radii, and the matrix that turns a profile at these into node values: the least squares of the light.

    Simple interpolation would lie above a profile that is hollow seen from above, nearly everywhere.
    """
    t = np.arange(FINE * (n_nodes - 1) + 1) / FINE
    radii = node_radii(core, t)
    hats = np.maximum(0, 1 - np.abs(t[:, None] - np.arange(n_nodes)))
    weighted = hats.T * 2 ** (t / PER_OCTAVE * 0.5)
    return radii, np.linalg.solve(weighted @ hats, weighted)


def build(
    psf: np.ndarray, point: float, core: float, n_nodes: int, sizes: np.ndarray | None = None, rounding: np.ndarray | None = None
) -> Models:
    """Return the models of a PSF. The last few are kept: tiles of a survey may share theirs.

    Args:
        psf: (y, x) stamp, centred, as sampled by pixels.
        point: pixel^2, the variance along an axis of a star's matched Gaussian in the image the ellipses were measured in.
        core: the scale of the nodes in pixels.
        n_nodes: how many nodes.
        sizes: (s,) half-light semi-major axes in pixels; those of the family when left out.
        rounding: (2, 2) map of steps to where the PSF is round, there models are of; none when left out.
    """
    if sizes is None:
        sizes = np.geomspace(SMALLEST, LARGEST, SIZES) * np.sqrt(point) * FWHM_PER_SIGMA
    plain = np.ascontiguousarray(psf, np.float64)
    xx, xy, yy = (1.0, 0.0, 1.0) if rounding is None else (float(rounding[0, 0]), float(rounding[0, 1]), float(rounding[1, 1]))
    return _built(plain.tobytes(), plain.shape, float(point), float(core), int(n_nodes), tuple(sizes.tolist()), (xx, xy, yy))


@lru_cache(maxsize=16)
def _built(
    stamp: bytes, shape: tuple[int, int], point: float, core: float, n_nodes: int, half_lights: tuple[float, ...],
    rounding: tuple[float, float, float],
) -> Models:  # fmt: skip
    psf, sizes = np.frombuffer(stamp).reshape(shape), np.array(half_lights)
    u = (np.arange(WAVES) + 0.5) / WAVES
    k = np.pi * u**1.5
    weight = 0.75 * u**0.5 * k / WAVES  # k dk / 2 pi
    fine = np.linspace(0, np.pi, 512)
    xx, xy, yy = rounding
    table = psf_transform(psf, fine, np.array([[xx, xy], [xy, yy]]))
    cosine, sine = np.cos((np.arange(ANGLES) + 0.5) * np.pi / (2 * ANGLES)), np.sin((np.arange(ANGLES) + 0.5) * np.pi / (2 * ANGLES))
    radii, projection = _projection(core, n_nodes)
    hankel = projection @ (j0(radii[:, None] * k) * weight)
    area = np.pi * node_radii(core, np.arange(n_nodes)) ** 2
    values = np.empty((len(AXIS_RATIOS), n_nodes, 1 + len(sizes) * len(INDICES)))
    half = np.empty((len(AXIS_RATIOS), values.shape[2]))
    growths = np.empty_like(values)
    for i, q in enumerate(AXIS_RATIOS):
        seen = np.interp(k[:, None] * np.hypot(cosine, sine / q), fine, table, right=0.0)
        transforms = [seen.mean(1)]
        # The axis ratio before the PSF, for the moments to have this one after it.
        own = np.sqrt(np.maximum(q**2 + (q**2 - 1) * point / (sizes / HALF_LIGHT_PER_SIGMA) ** 2, 0.1**2))
        log_k = np.log(k[:, None] * sizes[:, None, None] * np.hypot(cosine, own[:, None, None] * sine / q))
        for n in INDICES:
            start, values_n = sersic_transform(n)
            transforms.extend(np.mean(_interpolate(log_k, start, values_n) * seen, axis=2))
        profile = hankel @ np.array(transforms).T  # per stretched pixel
        growth = np.concatenate([np.zeros((1, profile.shape[1])), np.cumsum((profile[1:] + profile[:-1]) / 2 * np.diff(area)[:, None], 0)])
        half[i] = [np.sqrt(np.interp(0.5, g, area / np.pi)) for g in growth.T]
        values[i] = profile / q
        growths[i] = growth
    for array in (values, half, growths):
        array.flags.writeable = False  # others will be given the same
    return Models(
        core,
        values,
        np.concatenate([[-np.inf], np.tile(np.log(sizes), len(INDICES))]),
        np.concatenate([[np.nan], np.repeat(INDICES, len(sizes))]),
        half,
        growths,
    )
