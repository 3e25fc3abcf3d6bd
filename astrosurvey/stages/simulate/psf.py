"""The point-spread function: an elliptical Moffat profile whose width and shape drift across the sky.

References:
    Moffat (1969); Trujillo et al. (2001), arXiv:astro-ph/0109067.
"""

from __future__ import annotations

import numpy as np

from .lattice import Purpose, SmoothField
from .profiles import moffat_alpha

DRIFT = 2048.0
"""Distance of the nodes between which seeing and ellipticity vary (pixel)."""

NARROWEST, ROUNDEST = 0.7, 0.3
"""The width never falls below this part of the nominal one, and no ellipticity component exceeds this."""


def ellipse_form(major: np.ndarray, minor: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return (n, 3) the a, b, c of a kx^2 + 2 b kx ky + c ky^2: the squared wave number in units of an ellipse.

    Args:
        major: (n,) semi-major axis.
        minor: (n,) semi-minor axis.
        theta: (n,) rad, from +x to +y.
    """
    cosine, sine = np.cos(theta), np.sin(theta)
    a2, b2 = major * major, minor * minor
    return np.stack([a2 * cosine**2 + b2 * sine**2, (a2 - b2) * cosine * sine, a2 * sine**2 + b2 * cosine**2], axis=-1)


class MoffatField:
    """The point-spread function of one band at any place of the sky.

    Args:
        seed: the sky's seed.
        band: number of the band in `colours.BANDS`.
        fwhm: nominal full width at half maximum (pixel), before integration over the pixel.
        beta: the Moffat exponent.
        variation: scatter of the width across the sky, as a fraction.
        ellipticity: scatter of each component of (a - b) / (a + b) across the sky.
    """

    def __init__(self, seed: int, band: int, fwhm: float, beta: float, variation: float, ellipticity: float) -> None:
        self.beta = beta
        self.fwhm = fwhm
        self._amplitudes = (variation, ellipticity, ellipticity)
        self._fields = [SmoothField(seed, purpose, band, DRIFT) for purpose in (Purpose.PSF_FWHM, Purpose.PSF_E1, Purpose.PSF_E2)]

    def at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return width (pixel; geometric mean of both axes) and ellipticity components e1, e2 at points (n,)."""
        drift, e1, e2 = (a * f.at(x, y) for a, f in zip(self._amplitudes, self._fields, strict=True))
        width = self.fwhm * np.maximum(1.0 + drift, NARROWEST)
        return width, np.clip(e1, -ROUNDEST, ROUNDEST), np.clip(e2, -ROUNDEST, ROUNDEST)

    def form(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return (n, 3) the quadratic form that turns a wave vector into (k alpha)^2 at points (n,)."""
        width, e1, e2 = self.at(x, y)
        alpha2 = moffat_alpha(1.0, self.beta) ** 2 * width**2
        e = e1**2 + e2**2
        scale = alpha2 / (1.0 - e)
        return np.stack([scale * (1.0 + e + 2.0 * e1), scale * 2.0 * e2, scale * (1.0 + e - 2.0 * e1)], axis=-1)
