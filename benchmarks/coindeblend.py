"""Pairs of real galaxies as Boucaud et al. (2020) made them of CANDELS, for the variant `cosmos` of `images.py`.

Each square of 128 pixels holds one pair and nothing else, the first galaxy in its middle. Magnitudes, their differences, radii and the
separation in units of the sum of the radii follow the table of results that the authors published (4776 pairs; the
deciles are below). Their stamps are not public, so the galaxies have the looks of the real ones that are given (Hubble, F814W),
shrunk to the radius drawn and turned at random, behind a Moffat PSF as wide as Hubble's at 1.6 micron in pixels of 0.06".

References:
    Boucaud et al. (2020), MNRAS 491, 2481, arXiv:1905.01324; Grogin et al. (2011), arXiv:1105.3753 (CANDELS: depth).
"""

from __future__ import annotations

import math

import numpy as np

from astrosurvey.stages.simulate.field_draw import Field
from astrosurvey.stages.simulate.render import Bodies, Moffat

SQUARE = 128
DECILES = np.linspace(0.0, 1.0, 11)
MAGNITUDE = (18.02, 19.94, 20.64, 21.04, 21.41, 21.72, 21.96, 22.17, 22.42, 22.63, 22.98)
DIFFERENCE = (-2.0, -1.3, -0.87, -0.55, -0.26, 0.03, 0.32, 0.64, 1.03, 1.47, 2.0)
RADIUS = (0.81, 2.09, 3.71, 4.64, 5.46, 6.08, 7.11, 8.2, 9.63, 11.55, 15.0)
"""Pixels of 0.06"; the last decile of the table ends at 48, but such a galaxy does not fit a square."""
SEPARATION = (0.18, 0.64, 0.77, 0.83, 0.91, 1.0, 1.1, 1.23, 1.38, 1.56, 1.97)
"""In units of the sum of both radii."""
FAINTEST = 23.5
FWHM, BETA = 3.0, 3.5
LIMIT, LIMIT_RADIUS, LIMIT_SIGMA = 27.0, 0.17 / 0.06, 5.0
"""A point source of 27.0 mag has five times the noise of a circle of 0.17" radius."""


def draw(rng: np.random.Generator, shape: tuple[int, int], noise: float, n_templates: int) -> Field:
    """Return as many pairs as squares fit into an image.

    Args:
        rng: draws everything.
        shape: (ny, nx) of the image.
        noise: standard deviation of a pixel, in the unit of the fluxes.
        n_templates: number of real galaxies to choose from.
    """
    rows, columns = shape[0] // SQUARE, shape[1] // SQUARE
    n = rows * columns
    middle = SQUARE * (np.stack([np.arange(n) % columns, np.arange(n) // columns], axis=1) + 0.5) - 0.5

    def drawn(table: tuple[float, ...], *size: int) -> np.ndarray:
        return np.interp(rng.random(size), DECILES, table)

    radius = drawn(RADIUS, n, 2)
    apart = np.minimum(drawn(SEPARATION, n) * radius.sum(axis=1), 0.4 * SQUARE)
    angle = rng.uniform(0.0, 2.0 * math.pi, n)
    first = middle + rng.uniform(-0.5, 0.5, (n, 2))
    second = first + apart[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    bright = drawn(MAGNITUDE, n)
    magnitude = np.minimum(np.stack([bright, bright + drawn(DIFFERENCE, n)], axis=1), FAINTEST)
    faintest_flux = LIMIT_SIGMA * noise * math.sqrt(math.pi) * LIMIT_RADIUS
    flux = (faintest_flux * 10.0 ** (0.4 * (LIMIT - magnitude))).ravel()
    place = np.stack([first, second], axis=1).reshape(-1, 2)
    order = np.argsort(-flux, kind="stable")
    one = np.ones(2 * n)
    bodies = Bodies(
        place[order, 0], place[order, 1], flux[order, None], radius.ravel()[order], one, one, rng.uniform(0.0, 2.0 * math.pi, 2 * n),
        rng.integers(0, n_templates, 2 * n),
    )  # fmt: skip
    psf = Moffat(BETA, np.array([FWHM]), np.zeros(1), np.zeros(1))
    return Field(psf, 0.0, 0.0, 0.0, bodies, np.repeat(np.arange(n), 2)[order])
