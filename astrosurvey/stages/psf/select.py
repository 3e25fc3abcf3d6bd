"""Which sources are stars fit to measure the PSF on.

Stars of all fluxes have one size, the smallest there is, so in sizes they are a narrow peak, while galaxies
spread. The peak is found by its density, not by its mean, and may drift over the field as seeing does.
"""

from __future__ import annotations

import numpy as np

from ...products.psf import terms
from .moments import NARROWEST, Moments

BANDWIDTH = 0.02
"""Least width of the kernel in ln sigma for the density of sizes: real PSFs drift by some per cent."""
CONSPICUOUS = 0.4
"""The stars' peak is the one of the smallest size among those at least so high, relative to the highest."""
CAPTURE = 0.2
"""Sources within so much of the peak, in ln sigma, may be stars."""
CLIP = 3.0
LEAST_SCATTER = 0.012
SHAPE_SCATTER = 0.01


def stellar_locus(size: np.ndarray, snr: np.ndarray) -> float:
    """Return ln sigma of the stars: the smallest conspicuous peak in the density of sizes.

    Args:
        size: (n,) ln sigma.
        snr: (n,) signal-to-noise ratios; the better a size is known, the sharper it adds to the density.
    """
    grid = np.arange(size.min() - 0.05, size.max() + 0.05, 0.004)
    width = np.hypot(BANDWIDTH, 1.0 / np.maximum(snr, 1.0))
    density = (np.exp(-0.5 * ((grid[:, None] - size) / width) ** 2) / width).sum(axis=1)
    inner = density[1:-1]
    peaks = np.flatnonzero((inner >= density[:-2]) & (inner > density[2:])) + 1
    conspicuous = peaks[density[peaks] >= CONSPICUOUS * density.max()]
    return float(grid[conspicuous[0]]) if conspicuous.size else float(grid[density.argmax()])


def on_locus(moments: Moments, locus: float, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return which sources have the stars' size and shape, both of which may drift over the field.

    Args:
        moments: of n sources.
        locus: the stars' ln sigma.
        u, v: (n,) places, from -1 to 1 over the tile.
    """
    size = np.log(moments.sigma)
    error = 1.0 / np.maximum(moments.snr, 1.0)
    chosen = np.abs(size - locus) < CAPTURE + error
    for _ in range(6):
        n = int(chosen.sum())
        if n < 4:
            break
        degree = 0 if n < 12 else 1 if n < 40 else 2
        keep = chosen
        # Galaxies lie on one side of the stars' size, so the other side tells its scatter; shapes go both ways.
        shapes = ((moments.e1, 0.0, SHAPE_SCATTER, False), (moments.e2, 0.0, SHAPE_SCATTER, False))
        for value, middle, least, one_sided in ((size, locus, LEAST_SCATTER, True), *shapes):
            off = value - (middle + surface(value - middle, error, chosen, u, v, degree))
            inside = off[chosen & (off <= 0)] if one_sided else off[chosen]
            scatter = 1.4826 * np.median(np.abs(inside)) if inside.size else 0.0
            keep = keep & (np.abs(off) < CLIP * np.hypot(max(scatter, least), error))
        keep &= np.abs(size - locus) < CAPTURE + error
        if (keep == chosen).all() or keep.sum() < 3:
            break
        chosen = keep
    return chosen


def surface(value: np.ndarray, error: np.ndarray, use: np.ndarray, u: np.ndarray, v: np.ndarray, degree: int) -> np.ndarray:
    """Return a polynomial over the field, fitted to the values in use about their median, at every place."""
    middle = float(np.median(value[use]))
    if degree == 0:
        return np.full(len(value), middle)
    factors = terms(u, v, degree)
    weight = np.where(use, 1.0 / np.hypot(error, 0.02), 0.0)[:, None]
    # A little ridge keeps a corner without stars from running away.
    ridge = np.eye(factors.shape[1]) * 1e-3 * float((weight**2).sum())
    ridge[0, 0] = 0.0
    square = np.einsum("ni,nj->ij", factors * weight, factors * weight) + ridge
    solution = np.linalg.solve(square, np.einsum("ni,n->i", factors * weight, (value - middle) * weight[:, 0]))
    return middle + np.einsum("ni,i->n", factors, solution)


def isolated(x: np.ndarray, y: np.ndarray, flux: np.ndarray, candidates: np.ndarray, fwhm: float, limit: float) -> np.ndarray:
    """Return which candidates have so little of their neighbours' light in the middle that a model will not feel it.

    Args:
        x, y, flux: (n,) of all sources.
        candidates: (m,) their places among all.
        fwhm: of the PSF, in pixels.
        limit: the most light of neighbours at the star's centre, as a part of the star's own there.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(np.column_stack([x, y]))
    positive = np.maximum(np.nan_to_num(flux), 0.0)
    quiet = np.zeros(len(candidates), bool)
    for k, i in enumerate(candidates.tolist()):
        near = np.array([j for j in sorted(tree.query_ball_point([x[i], y[i]], 12.0 * fwhm)) if j != i], int)
        r2 = ((x[near] - x[i]) ** 2 + (y[near] - y[i]) ** 2) / fwhm**2
        # The wings of a Moffat profile with beta = 2.5, the widest of the usual ones.
        light = (positive[near] * (1.0 + 1.28 * r2) ** -2.5).sum()
        quiet[k] = light <= limit * positive[i]
    return quiet


def well_behaved(moments: Moments, half: int) -> np.ndarray:
    """Return which moments are those of a source, neither a single hot pixel nor wider than the stamp can hold."""
    return (moments.sigma > 1.5 * NARROWEST) & (moments.sigma < half / 2.5) & (moments.flux > 0) & (np.hypot(moments.dx, moments.dy) < 1.4)
