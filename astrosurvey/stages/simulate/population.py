"""What stands in the sky: number counts, redshifts, sizes, shapes and types of galaxies and stars.

Counts are tables through published data, good to about 0.1 dex: galaxies from Yasuda et al. (2001) at the
bright end, McCracken et al. (2003) and Capak et al. (2007) beyond; stars at high galactic latitude from
the model of Bahcall & Soneira (1980). Redshifts follow the distribution of the LSST Science Book (2009,
section 3.8), sizes the median half-light radii of COSMOS (Leauthaud et al. 2007) with 0.2 dex of scatter.

References:
    Yasuda et al. (2001), arXiv:astro-ph/0105545; McCracken et al. (2003), arXiv:astro-ph/0306254;
    Capak et al. (2007), arXiv:0704.2430; Bahcall & Soneira (1980); LSST Science Book (2009),
    arXiv:0912.0201; Leauthaud et al. (2007), arXiv:astro-ph/0702359.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from .colours import galaxy_flux, star_flux

BRIGHTEST_GALAXY = 16.0
BRIGHTEST_STAR = 12.0

# log10 of objects per square degree and magnitude, at r (AB)
_GALAXIES = np.array(
    [[14.0, -0.45], [16.0, 0.72], [18.0, 1.85], [20.0, 2.87], [22.0, 3.76], [24.0, 4.52], [26.0, 5.13], [28.0, 5.60], [30.0, 5.95]]
)
_STARS = np.array(
    [[12.0, 1.65], [14.0, 2.10], [16.0, 2.45], [18.0, 2.75], [20.0, 3.00], [22.0, 3.20], [24.0, 3.38], [26.0, 3.48], [30.0, 3.50]]
)


@dataclass(frozen=True)
class Counts:
    """Numbers by magnitude: how many there are, and magnitudes drawn as they are distributed."""

    magnitude: np.ndarray
    cumulative: np.ndarray

    @classmethod
    def between(cls, knots: np.ndarray, bright: float, faint: float) -> Counts:
        """Integrate counts given as (r, log10 per square degree and magnitude) from `bright` to `faint`."""
        grid = np.linspace(bright, max(faint, bright), 401)
        density = 10.0 ** np.interp(grid, knots[:, 0], knots[:, 1])
        steps = 0.5 * (density[1:] + density[:-1]) * np.diff(grid)
        return cls(grid, np.concatenate([[0.0], np.cumsum(steps)]))

    @property
    def total(self) -> float:
        """Objects per square degree."""
        return float(self.cumulative[-1])

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return `n` magnitudes."""
        return np.interp(rng.random(n) * self.cumulative[-1], self.cumulative, self.magnitude)


def galaxy_counts(bright: float, faint: float) -> Counts:
    """Return the galaxy counts in r between two magnitudes."""
    return Counts.between(_GALAXIES, max(bright, BRIGHTEST_GALAXY), faint)


def star_counts(bright: float, faint: float) -> Counts:
    """Return the star counts in r between two magnitudes, at high galactic latitude."""
    return Counts.between(_STARS, max(bright, BRIGHTEST_STAR), faint)


@dataclass(frozen=True)
class Objects:
    """Stars and galaxies by column; lengths in arcsec along the major axis, fluxes in nJy.

    A galaxy is an exponential disk and a de Vaucouleurs bulge with one position angle and axis ratios of
    their own. A star has all its flux in `point`.
    """

    r: np.ndarray
    """(n,) AB magnitude in the reference band."""
    point: np.ndarray
    bulge: np.ndarray
    disk: np.ndarray
    """(n, band) flux of the part, in all of `colours.BANDS`."""
    bulge_radius: np.ndarray
    disk_radius: np.ndarray
    """(n,) half-light radius of the part."""
    bulge_axis_ratio: np.ndarray
    disk_axis_ratio: np.ndarray
    theta: np.ndarray
    """(n,) rad, from +x to +y."""
    redshift: np.ndarray
    """(n,), 0 for stars."""

    def __len__(self) -> int:
        return len(self.r)

    def take(self, which: np.ndarray) -> Objects:
        """Return the objects that an index or a boolean array picks."""
        return Objects(*(getattr(self, f.name)[which] for f in fields(self)))

    @classmethod
    def concatenate(cls, parts: list[Objects]) -> Objects:
        """Return the objects of all parts, in order."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def nanojansky(magnitude: np.ndarray | float) -> np.ndarray:
    """Return the flux of an AB magnitude."""
    return np.asarray(10.0 ** (0.4 * (31.4 - magnitude)))


def draw_stars(rng: np.random.Generator, r: np.ndarray) -> Objects:
    """Return stars of the given r magnitudes: blue turn-off stars of the halo and red dwarfs of the disk."""
    n = len(r)
    red_share = np.interp(r, [14.0, 18.0, 21.0, 25.0], [0.15, 0.35, 0.60, 0.75])
    red = rng.random(n) < red_share
    bluest = np.interp(r, [14.0, 18.0, 20.0], [0.65, 0.55, 0.42])
    blue_colour = bluest + 0.25 * rng.standard_exponential(n)
    red_colour = 2.3 + 0.4 * rng.standard_normal(n)
    flux = star_flux(np.clip(np.where(red, red_colour, blue_colour), 0.2, 3.4)) * nanojansky(r)[:, None]
    zero, none, one = np.zeros(n), np.zeros_like(flux), np.ones(n)
    return Objects(r, flux, none, none, zero, zero, one, one, zero, zero)


def draw_galaxies(rng: np.random.Generator, r: np.ndarray) -> Objects:
    """Return galaxies of the given r magnitudes: early types, spirals with a bulge, and bulgeless blue ones."""
    n = len(r)
    redshift = np.clip(rng.standard_gamma(3.0, n) * _redshift_scale(r), 0.005, 6.0)
    kind = rng.random(n)
    early = kind < np.interp(r, [18.0, 22.0, 26.0], [0.30, 0.20, 0.07])
    spiral = ~early & (kind < np.interp(r, [18.0, 22.0, 26.0], [0.88, 0.70, 0.42]))

    fraction_spiral = rng.beta(1.3, 4.0, n)
    fraction_early = 0.6 + 0.4 * rng.random(n)
    bulge_share = np.where(early, fraction_early, np.where(spiral, fraction_spiral, 0.0))

    # stars were younger then: every population is bluer at a higher redshift
    scatter = rng.standard_normal((2, n))
    bulge_type = np.clip(0.1 + 0.15 * scatter[0] + 0.25 * redshift, 0.0, 3.0)
    disk_type = np.clip(np.where(early, 0.3, np.where(spiral, 1.8, 2.5)) + 0.4 * scatter[1] + 0.2 * redshift, 0.0, 3.0)

    # thin disks of thickness 0.2 seen from any side; bulges are rounder than the disks they sit in
    cosine, roundness = rng.random(n), rng.random(n)
    disk_axis_ratio = np.where(early, 0.5 + 0.5 * roundness, np.sqrt(0.04 + 0.96 * cosine**2))
    bulge_axis_ratio = np.where(early, disk_axis_ratio, 0.5 + 0.5 * disk_axis_ratio)

    size = 10.0 ** (_log_radius(r) + 0.2 * rng.standard_normal(n))
    compactness = 10.0 ** (0.1 * rng.standard_normal(n))
    bulge_radius = size * np.where(early, 0.9, 0.35 * compactness)
    disk_radius = size * np.where(early, 1.3, 1.05)

    flux = nanojansky(r)
    bulge = galaxy_flux(bulge_type, redshift) * (bulge_share * flux)[:, None]
    disk = galaxy_flux(disk_type, redshift) * ((1.0 - bulge_share) * flux)[:, None]
    theta = math.pi * rng.random(n)
    return Objects(r, np.zeros_like(disk), bulge, disk, bulge_radius, disk_radius, bulge_axis_ratio, disk_axis_ratio, theta, redshift)


def _redshift_scale(r: np.ndarray) -> np.ndarray:
    """Return z0 of p(z) ~ z^2 exp(-z/z0): linear in magnitude beyond r = 20 (with r - i = 0.45), a power law before."""
    return np.where(r > 20.0, 0.0417 * (r - 0.45) - 0.744, 0.0713 * 10.0 ** (0.135 * (np.minimum(r, 20.0) - 20.0)))


def _log_radius(r: np.ndarray) -> np.ndarray:
    """Return log10 of the median half-light radius (arcsec) at magnitude r."""
    return np.interp(r, [14.0, 18.0, 20.0, 22.0, 24.0, 26.0, 28.0], [0.75, 0.18, -0.10, -0.35, -0.57, -0.77, -0.95])
