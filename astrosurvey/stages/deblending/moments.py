"""Centres and shapes of sources on stamps: moments under an elliptical Gaussian that adapts to the source."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from .profiles import FARTHEST, centred

ROUNDS = 4
FURTHEST = 1.0
"""How far, in standard deviations of the PSF, a centre may move from where the source was found."""
ELLIPTICITY = 0.3
"""Scatter of the ellipticities of galaxies, to which measured ones are drawn as far as noise demands."""


class Moments(NamedTuple):
    """What was measured of each source: (b,) centres relative to the middle pixel, (b, 3) xx, xy, yy in pixels squared."""

    dx: torch.Tensor
    dy: torch.Tensor
    shape: torch.Tensor


def adaptive(stamps: torch.Tensor, size: int, start: Moments, origin: torch.Tensor, psf_var: float) -> Moments:
    """Measure centre and second moments under a Gaussian of the same centre and moments, by iteration.

    Under a matched Gaussian weight the moments of a Gaussian are half its own; doubled, they are the next weight's. A
    source on which this leads nowhere keeps the PSF's moments.

    Args:
        stamps: (b, size * size) flux per pixel, neighbours taken away; 0 where there is none.
        size: side of the stamps.
        start: where to begin.
        origin: (b, 2) centres (x, y) from which none moves further than `FURTHEST`.
        psf_var: variance of the PSF as a Gaussian, pixels squared.

    References:
        Bernstein & Jarvis (2002), AJ 123, 583; Hirata & Seljak (2003), MNRAS 343, 459.
    """
    side = torch.arange(size, device=stamps.device) - float(size // 2)
    image = stamps.view(-1, size, size)
    ones = torch.ones(len(image), size, device=stamps.device)
    dx, dy, shape = start
    least, most = 0.5 * psf_var, (size / 5) ** 2
    limit = FURTHEST * psf_var**0.5
    for _ in range(ROUNDS):
        x, y = side - dx[:, None], side - dy[:, None]
        xx, xy, yy = shape.unbind(1)
        powers_x, powers_y = torch.stack([ones, x, x * x], 2), torch.stack([ones, y, y * y], 1)
        scale = -0.5 / (xx * yy - xy**2)
        exponent = (yy * scale)[:, None, None] * powers_x[:, None, :, 2] + (xx * scale)[:, None, None] * powers_y[:, 2, :, None]
        exponent.addcmul_(y[:, :, None], (-2 * xy * scale)[:, None, None] * x[:, None, :])
        weighted = exponent.clamp_min_(FARTHEST).exp_().mul_(image)
        sums = torch.bmm(powers_y, torch.bmm(weighted, powers_x))  # of y^i x^j, over columns first
        flux = sums[:, 0, 0]
        good = flux > 1e-3 * torch.linalg.vector_norm(weighted, 1, (1, 2))  # less is noise, and its moments are anything
        norm = torch.where(good, flux, 1.0)
        mx, my = sums[:, 0, 1] / norm, sums[:, 1, 0] / norm
        mxx, mxy, myy = sums[:, 0, 2] / norm - mx**2, sums[:, 1, 1] / norm - mx * my, sums[:, 2, 0] / norm - my**2
        dx = torch.where(good, torch.clamp(dx + 2 * mx, origin[:, 0] - limit, origin[:, 0] + limit), origin[:, 0])
        dy = torch.where(good, torch.clamp(dy + 2 * my, origin[:, 1] - limit, origin[:, 1] + limit), origin[:, 1])
        shape = bounded(torch.stack([2 * mxx, 2 * mxy, 2 * myy], 1), least, most)
        shape = torch.where(good[:, None], shape, torch.tensor([psf_var, 0.0, psf_var], device=shape.device))
    return Moments(dx, dy, shape)


def of_psf(psf: np.ndarray, sigma: float) -> torch.Tensor:
    """Return the (3,) moments of a PSF stamp, measured as a source's are.

    Args:
        psf: (y, x) odd-sided stamp.
        sigma: its standard deviation as a Gaussian, pixels.
    """
    size = 2 * (int(np.ceil(6 * sigma)) + 1)
    stamp = torch.from_numpy(centred(psf, size)).roll((size // 2, size // 2), (0, 1)).reshape(1, -1)
    zero = torch.zeros(1)
    start = Moments(zero, zero, torch.tensor([[sigma**2, 0.0, sigma**2]], dtype=torch.float32))
    return adaptive(stamp, size, start, torch.zeros(1, 2), sigma**2).shape[0]


def bounded(shape: torch.Tensor, least: float, most: float) -> torch.Tensor:
    """Return (b, 3) symmetric matrices with their eigenvalues brought between two limits."""
    xx, xy, yy = shape.unbind(1)
    mean, half = (xx + yy) / 2, torch.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    low, high = (mean - half).clamp(least, most), (mean + half).clamp(least, most)
    ratio = torch.where(half > 0, (high - low) / 2 / half.clamp_min(1e-12), 0.0)
    new, turn = (high + low) / 2, (xx - yy) / 2 * ratio
    return torch.stack([new + turn, xy * ratio, new - turn], 1)


def intrinsic(shape: torch.Tensor, psf: torch.Tensor, snr: torch.Tensor) -> torch.Tensor:
    """Return the axis ratio and angle before the PSF as (b, 3) covariances of unit determinant.

    The ellipticity, its noise grown by what the PSF rounded off, is drawn to zero in proportion to that noise.

    Args:
        shape: (b, 3) measured moments.
        psf: (3,) the PSF's, measured alike.
        snr: (b,) signal-to-noise ratio of the source.
    """
    own = shape - psf
    size, size_seen = own[:, 0] + own[:, 2], shape[:, 0] + shape[:, 2]
    resolved = size > 0.02 * size_seen
    size = torch.where(resolved, size, size_seen)
    e1, e2 = (own[:, 0] - own[:, 2]) / size, 2 * own[:, 1] / size
    noise = 2.0 / snr.clamp_min(1.0) * size_seen / size
    keep = torch.where(resolved, ELLIPTICITY**2 / (ELLIPTICITY**2 + noise**2), 0.0)
    e1, e2 = e1 * keep, e2 * keep
    length = torch.sqrt(e1**2 + e2**2)
    shorten = torch.clamp(0.95 / length.clamp_min(1e-6), max=1.0)  # an axis ratio of 0.16 at least
    e1, e2 = e1 * shorten, e2 * shorten
    root = torch.sqrt(1 - e1**2 - e2**2)
    return torch.stack([(1 + e1) / root, e2 / root, (1 - e1) / root], 1)
