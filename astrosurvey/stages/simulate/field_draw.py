"""What a random field holds: its point-spread function, and its objects with their places, fluxes and shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .render import Bodies, Moffat

if TYPE_CHECKING:
    from .field import SimulateField, Span

BAND_SEEING = 0.05
"""Scatter of the PSF's width from band to band, as a fraction."""

SIZE_SCATTER = 0.5
"""Scatter of the natural logarithm of the half-light radius."""


INDEX_SCATTER = 0.5
"""Scatter of the natural logarithm of the Sérsic index."""


@dataclass(frozen=True)
class Field:
    """One field's conditions and objects.

    Attributes:
        psf: the point-spread function.
        correlation: sigma of the Gaussian that smooths the noise (pixel).
        gradient: rise of the sky from edge to edge, as a part of its level.
        direction: in which the sky rises (rad).
        bodies: the objects, the brightest first.
        pair: (n,) number of the pair that an object belongs to, -1 for none.
    """

    psf: Moffat
    correlation: float
    gradient: float
    direction: float
    bodies: Bodies
    pair: np.ndarray


def drawn(rng: np.random.Generator, span: Span) -> float:
    """Return a number, or one drawn from a range."""
    return float(rng.uniform(*span)) if isinstance(span, tuple) else float(span)


def draw_psf(rng: np.random.Generator, config: SimulateField.Config) -> Moffat:
    """Return the point-spread function of one field; bands differ a little."""
    n = len(config.bands)
    # Widths are compared by their ratios: a range holds as many PSFs of 2 to 3 pixels as of 4 to 6.
    low, high = config.seeing if isinstance(config.seeing, tuple) else (config.seeing, config.seeing)
    fwhm = np.full(n, low * math.exp(drawn(rng, (0.0, math.log(high / low)))))
    if n > 1:
        fwhm = fwhm * np.exp(BAND_SEEING * rng.standard_normal(n))
    beta = drawn(rng, config.psf_beta)
    ellipticity = np.array([drawn(rng, config.psf_ellipticity) for _ in range(n)])
    return Moffat(beta, fwhm, ellipticity, np.full(n, rng.uniform(0.0, math.pi)))


def draw_field(rng: np.random.Generator, config: SimulateField.Config, shape: tuple[int, int], n_templates: int = 0) -> Field:
    """Return a field of (ny, nx) pixels; with real galaxies, some objects are told to look like one of them."""
    psf = draw_psf(rng, config)
    area = shape[0] * shape[1] / 1e6
    depth = drawn(rng, config.depth)
    n_single = int(rng.poisson(drawn(rng, config.density) * area))
    n_pairs = int(rng.poisson(drawn(rng, config.pairs) * area))
    size = np.array([shape[1], shape[0]], float)
    place = rng.random((n_single, 2)) * size - 0.5
    flux = power_law(rng, n_single, config.faint, config.bright, config.slope)

    unit = float(np.mean(psf.fwhm)) if config.pair_unit == "seeing" else 1.0
    first = rng.random((n_pairs, 2)) * size - 0.5
    second = partners(rng, first, rng.uniform(*config.pair_separation, n_pairs) * unit, size)
    brighter = np.exp(rng.uniform(math.log(config.pair_flux[0]), math.log(config.pair_flux[1]), n_pairs))
    fainter = brighter * rng.uniform(*config.pair_ratio, n_pairs)

    place = np.concatenate([place, first, second])
    flux = np.concatenate([flux, brighter, fainter]) * depth
    number = np.arange(n_pairs)
    pair = np.concatenate([np.full(n_single, -1), number, number])
    order = np.argsort(-flux, kind="stable")
    place, flux, pair = place[order], flux[order], pair[order]
    bodies = Bodies(place[:, 0], place[:, 1], in_bands(rng, flux, config), *draw_shapes(rng, len(flux), config))
    if n_templates:
        bodies = replace(bodies, template=draw_templates(rng, bodies.half_light > 0.0, n_templates, config.real_fraction))
    gradient, direction = drawn(rng, config.sky_gradient), float(rng.uniform(0.0, 2.0 * math.pi))
    return Field(psf, drawn(rng, config.noise_correlation), gradient, direction, bodies, pair)


def power_law(rng: np.random.Generator, n: int, faint: float, bright: float, slope: float) -> np.ndarray:
    """Return n fluxes between two ends of which those above F are as many as F^-slope."""
    rarest = (faint / max(bright, faint)) ** slope
    return faint * rng.uniform(rarest, 1.0, n) ** (-1.0 / slope)


def partners(rng: np.random.Generator, first: np.ndarray, separation: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return places (n, 2) at given distances from others in random directions, turned back where they would leave the image."""
    angle = rng.uniform(0.0, 2.0 * math.pi, len(first))
    step = separation[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ends = first + step
    step = np.where((ends < -0.5) | (ends >= size - 0.5), -step, step)
    return np.clip(first + step, -0.5, size - 0.501)


def draw_shapes(rng: np.random.Generator, n: int, config: SimulateField.Config) -> tuple[np.ndarray, ...]:
    """Return half-light radius (0 for stars), Sérsic index, axis ratio and position angle of n objects."""
    star = rng.random(n) < config.star_fraction
    radius = np.clip(config.half_light_median * np.exp(SIZE_SCATTER * rng.standard_normal(n)), *config.half_light)
    index = np.clip(config.sersic_median * np.exp(INDEX_SCATTER * rng.standard_normal(n)), *config.sersic)
    ratio = rng.uniform(*config.axis_ratio, n)
    theta = rng.uniform(0.0, math.pi, n)
    return np.where(star, 0.0, radius), index, ratio, theta


def draw_templates(rng: np.random.Generator, galaxy: np.ndarray, n_templates: int, fraction: float) -> np.ndarray:
    """Return (n,) numbers of real galaxies, -1 for stars and for the galaxies that stay profiles."""
    number = rng.integers(0, n_templates, len(galaxy))
    return np.where(galaxy & (rng.random(len(galaxy)) < fraction), number, -1)


def in_bands(rng: np.random.Generator, flux: np.ndarray, config: SimulateField.Config) -> np.ndarray:
    """Return (n, band) fluxes whose colours scatter, the mean magnitude over the bands kept."""
    n_bands = len(config.bands)
    if n_bands == 1:
        return flux[:, None]
    slope = config.colours * rng.standard_normal((len(flux), 1))
    bend = 0.5 * config.colours * rng.standard_normal((len(flux), n_bands))
    colour = slope * (np.arange(n_bands) - 0.5 * (n_bands - 1)) + bend - bend.mean(axis=1, keepdims=True)
    return np.asarray(flux[:, None] * 10.0 ** (-0.4 * colour))
