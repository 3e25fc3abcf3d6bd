"""An elliptical Moffat profile, integrated over pixels: what the empirical model starts from, and falls back to.

References:
    Moffat (1969), A&A 3, 455; Trujillo et al. (2001), MNRAS 328, 977.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .moments import FWHM_PER_SIGMA, Moments, Stamps, offsets

BETA = (1.3, 12.0)
"""The exponents allowed: the lower hold no finite flux, the higher are Gaussians."""
USUAL_BETA = 3.5
NARROWEST_FWHM = 0.5
ROUNDEST = 0.8
LEVEL = 0.01
"""What a Moffat profile may leave of a star's peak, so that a single bright star does not decide by itself."""
ENOUGH = 30
"""Stars that the fit looks at, the brightest first."""


@dataclass(frozen=True)
class Moffat:
    """Full width at half maximum in pixels before the integration over pixels, exponent, and (a - b) / (a + b) by component."""

    fwhm: float
    beta: float = USUAL_BETA
    e1: float = 0.0
    e2: float = 0.0

    def pixels(self, rx: np.ndarray, ry: np.ndarray) -> np.ndarray:
        """Return the light of a unit profile in the pixel (of side one) at each offset from its centre, in pixels.

        Args:
            rx, ry: offsets that broadcast against each other.
        """
        alpha2 = self.fwhm**2 / (4.0 * (2.0 ** (1.0 / self.beta) - 1.0))
        e = self.e1**2 + self.e2**2
        xx, yy, xy = 1.0 + e - 2.0 * self.e1, 1.0 + e + 2.0 * self.e1, -2.0 * self.e2
        total = 0.0
        # Gauss-Legendre in the pixel; a narrow profile needs more points.
        points, weights = np.polynomial.legendre.leggauss(3 if self.fwhm > 3 else 5)
        for py, wy in zip(points, weights, strict=True):
            for px, wx in zip(points, weights, strict=True):
                x, y = rx + 0.5 * px, ry + 0.5 * py
                form = (xx * x * x + 2.0 * xy * x * y + yy * y * y) / ((1.0 - e) * alpha2)
                total = total + 0.25 * wx * wy * (1.0 + form) ** -self.beta
        return np.asarray(total * (self.beta - 1.0) / (np.pi * alpha2))

    def nodes(self, half: int, oversampling: int) -> np.ndarray:
        """Return the profile at the nodes of a stamp of `half` pixels on every side, (y, x), normalised on it."""
        step = np.arange(-half * oversampling, half * oversampling + 1) / oversampling
        nodes = self.pixels(step[None, :], step[:, None])
        return nodes * (oversampling**2 / nodes.sum())


def fit(stamps: Stamps, moments: Moments) -> Moffat:
    """Fit one profile to all stars, each with a flux of its own, at the places that the moments give.

    Args:
        stamps: the stars, at least one.
        moments: theirs.
    """
    from scipy.optimize import least_squares

    first = np.argsort(-moments.snr, kind="stable")[:ENOUGH]
    stars = stamps.take(first)
    gx, gy = offsets(stars.half)
    rx, ry = gx - moments.dx[first][:, None, None], gy - moments.dy[first][:, None, None]
    peak = moments.flux[first] / (2 * np.pi * moments.sigma[first] ** 2)
    floor = (LEVEL * peak[:, None, None]) ** 2
    weight = np.divide(1.0, 1.0 / np.where(stars.ivar > 0, stars.ivar, 1.0) + floor, out=np.zeros_like(stars.ivar), where=stars.ivar > 0)
    root = np.sqrt(weight)

    def residuals(parameters: np.ndarray) -> np.ndarray:
        model = profile(parameters).pixels(rx, ry)
        flux = (weight * model * stars.data).sum(axis=(1, 2)) / np.maximum((weight * model**2).sum(axis=(1, 2)), 1e-300)
        return np.asarray((root * (stars.data - flux[:, None, None] * model)).ravel())

    def profile(parameters: np.ndarray) -> Moffat:
        return Moffat(float(np.exp(parameters[0])), float(np.exp(parameters[1])), float(parameters[2]), float(parameters[3]))

    e1, e2 = np.clip([np.median(moments.e1), np.median(moments.e2)], -0.5, 0.5)
    width = np.clip(FWHM_PER_SIGMA * np.median(moments.sigma), NARROWEST_FWHM * 1.1, 2.0 * stars.half)
    start = np.array([np.log(width), np.log(USUAL_BETA), e1, e2])
    edge = ROUNDEST / np.sqrt(2)
    bounds = [np.log(NARROWEST_FWHM), np.log(BETA[0]), -edge, -edge], [np.log(4.0 * stars.half), np.log(BETA[1]), edge, edge]
    return profile(least_squares(residuals, start, bounds=bounds, loss="soft_l1", max_nfev=30).x)
