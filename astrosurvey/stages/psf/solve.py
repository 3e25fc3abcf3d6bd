"""The empirical PSF: splines on nodes, polynomial over the field, fitted to all pixels of all stars at once.

Given places and fluxes of the stars, their pixels are linear in the spline coefficients, which are then
the solution of a least-squares problem with a prior: a Moffat profile fitted before, from which the PSF
may depart smoothly by a part of the profile. Where stars say much, in the core, the prior does not matter; where
they say little, in the wings and in sparse fields, it keeps noise out. Places, fluxes, outlying pixels and
outlying stars follow from the solution, and all is repeated.

References:
    Anderson & King (2000), PASP 112, 1360; Bertin (2011), ASP Conf. Ser. 442, 435.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .moffat import LEVEL, Moffat
from .moments import FWHM_PER_SIGMA, Moments, Stamps, offsets
from .spline import GUARD, Reader, normalised_basis, samples, spline_coefficients

ROUNDS = 5
DEPARTURE, FLOOR = 0.5, 1e-3
"""Prior standard deviation of the mean PSF about the Moffat profile: a part of the profile, and of its peak."""
VARIATION = 0.1
"""The same of a linear coefficient about zero, less for higher degrees by the degree's square: PSFs drift by some per cent, smoothly."""
SMOOTHNESS = 0.15
"""Departures from the prior are correlated over so many FWHM."""
PIXEL_CLIP = 5.0
"""Pixels so many standard deviations off the model are left out: neighbours nobody detected, cosmic rays."""
STAR_CLIP = 3.0
"""Stars whose chi square is so many standard deviations above the others' are left out."""
FEWEST_TO_CLIP = 5
CG_STEPS, CG_TOLERANCE = 15, 1e-3


@dataclass(frozen=True)
class Fit:
    """Stars and the PSF fitted to them.

    Attributes:
        coefficients: (coefficient, nodes, nodes) splines; the PSF's light in a pixel of side one.
        oversampling: nodes per pixel.
        dx, dy: (n,) places relative to the middles of the stamps, in pixels.
        flux: (n,) fluxes.
        chi2: (n,) reduced chi square in the core, with a floor of `LEVEL` of the model in the errors.
        kept: (n,) bool, stars that the PSF was fitted to.
        weight: (n, y, x) inverse variance, floor included; 0 in pixels left out.
    """

    coefficients: np.ndarray
    oversampling: int
    dx: np.ndarray
    dy: np.ndarray
    flux: np.ndarray
    chi2: np.ndarray
    kept: np.ndarray
    weight: np.ndarray

    def nodes(self) -> np.ndarray:
        """Return the basis (coefficient, y, x) at the nodes of the stamp, normalised: sums of `oversampling` squared, 0, 0, …."""
        edge = GUARD * self.oversampling
        basis = samples(self.coefficients)[:, edge:-edge, edge:-edge]
        return normalised_basis(basis, self.oversampling)


def fit(stamps: Stamps, moments: Moments, factors: np.ndarray, start: Moffat, oversampling: int) -> Fit:
    """Fit the PSF to stars.

    Args:
        stamps: the stars.
        moments: their moments, for first places and fluxes.
        factors: (n, coefficient) of the polynomial at each star.
        start: the profile to depart from.
        oversampling: nodes per pixel.
    """
    half = stamps.half
    profile = start.nodes(half + GUARD, oversampling)
    prior = np.zeros((factors.shape[1], *profile.shape))
    prior[0] = spline_coefficients(profile)
    degree = np.repeat(np.arange(4), np.arange(1, 5))[: len(prior), None, None]
    freedom = np.where(degree > 0, VARIATION / np.maximum(degree, 1) ** 2, DEPARTURE) * profile + FLOOR * profile.max()
    everywhere = np.ones(len(stamps), bool)
    state = Fit(prior, oversampling, moments.dx, moments.dy, moments.flux, np.full(len(stamps), np.nan), everywhere, stamps.ivar)
    core = _within(half, max(1.5 * start.fwhm, 1.5))
    unknowns = np.zeros_like(prior)
    for _ in range(ROUNDS):
        state = _refine(state, stamps, factors, core)
        reader = Reader(state.dx, state.dy, half, oversampling)
        coefficients, unknowns = _solve(state, stamps, factors, reader, prior, freedom, SMOOTHNESS * start.fwhm * oversampling, unknowns)
        state = _centred(replace(state, coefficients=coefficients), factors, half, start.fwhm)
    return _refine(state, stamps, factors, core)


def _within(half: int, radius: float) -> np.ndarray:
    gx, gy = offsets(half)
    return np.asarray(gx**2 + gy**2 <= radius**2)


def _model(state: Fit, factors: np.ndarray) -> np.ndarray:
    """Return (n, nodes, nodes), each star's own spline coefficients."""
    return np.einsum("nk,kyx->nyx", factors, state.coefficients)


def _refine(state: Fit, stamps: Stamps, factors: np.ndarray, core: np.ndarray) -> Fit:
    """Fit place and flux of every star to the PSF, and judge pixels and stars by what is left."""
    own = _model(state, factors)
    dx, dy, flux = state.dx, state.dy, state.flux
    known = stamps.ivar > 0
    variance = np.divide(1.0, stamps.ivar, out=np.zeros_like(stamps.ivar), where=known)
    kept_pixels, weight, model = known, stamps.ivar, stamps.data
    for step in range(3):
        reader = Reader(dx, dy, stamps.half, state.oversampling)
        model = reader.read(own)
        # Offsets grow as the star moves back.
        design = np.stack([model, -flux[:, None, None] * reader.read(own, "x"), -flux[:, None, None] * reader.read(own, "y")], axis=1)
        error = variance + (LEVEL * flux[:, None, None] * model) ** 2
        weight = np.divide(1.0, error, out=np.zeros_like(error), where=kept_pixels)
        weighted = design * weight[:, None]
        normal = np.einsum("niyx,njyx->nij", weighted, design)
        right = np.einsum("niyx,nyx->ni", weighted, stamps.data - flux[:, None, None] * model)
        scale = np.sqrt(np.maximum(np.einsum("nii->ni", normal), 1e-300))
        change = np.linalg.solve(normal / scale[:, :, None] / scale[:, None, :] + 1e-9 * np.eye(3), (right / scale)[..., None])[..., 0]
        change /= scale
        flux = flux + change[:, 0]
        dx, dy = (np.clip(d + np.clip(change[:, k], -0.5, 0.5), -0.99, 0.99) for d, k in ((dx, 1), (dy, 2)))
        if step < 2:
            off = np.abs(stamps.data - flux[:, None, None] * model) * np.sqrt(
                np.maximum(error, 0) ** -1, where=error > 0, out=np.zeros_like(error)
            )
            kept_pixels = known & (off < PIXEL_CLIP)
    model = Reader(dx, dy, stamps.half, state.oversampling).read(own)
    error = variance + (LEVEL * flux[:, None, None] * model) ** 2
    square = np.divide((stamps.data - flux[:, None, None] * model) ** 2, error, out=np.zeros_like(error), where=known)
    freedom = np.maximum((known & core).sum(axis=(1, 2)) - 3, 1)
    chi2 = (square * core).sum(axis=(1, 2)) / freedom
    kept = (flux > 0) & (np.hypot(dx, dy) < 0.98) & np.isfinite(chi2)
    if kept.sum() >= FEWEST_TO_CLIP:
        middle = np.median(chi2[kept])
        # Galaxies lie on one side of the stars, so the other side tells the scatter, which noise alone makes this large at least.
        scatter = 1.4826 * np.median(middle - chi2[kept & (chi2 <= middle)])
        kept &= chi2 <= middle + STAR_CLIP * np.maximum(scatter, middle * np.sqrt(2.0 / freedom))
    return replace(state, dx=dx, dy=dy, flux=flux, chi2=chi2, kept=kept, weight=weight)


def _solve(
    state: Fit,
    stamps: Stamps,
    factors: np.ndarray,
    reader: Reader,
    prior: np.ndarray,
    freedom: np.ndarray,
    correlation: float,
    start: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spline coefficients of the least squares with prior, by preconditioned conjugate gradients.

    The unknowns are white: the coefficients depart from the prior by `freedom` times unknowns smoothed
    over `correlation` nodes. They begin at `start` and are returned as well.
    """
    from scipy import ndimage

    flux = state.flux[:, None, None]
    weight = np.where(state.kept[:, None, None], state.weight * flux**2, 0.0)
    shape = np.divide(stamps.data, flux, out=np.zeros_like(stamps.data), where=flux > 0)
    impulse = np.zeros_like(prior[0])
    impulse[len(impulse) // 2, len(impulse) // 2] = 1.0
    norm = np.sqrt(np.square(ndimage.gaussian_filter(impulse, correlation, mode="constant")).sum())

    def spread(z: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(z, (0, correlation, correlation), mode="constant") / norm)

    def forward(z: np.ndarray) -> np.ndarray:
        return reader.read(np.einsum("nk,kyx->nyx", factors, freedom * spread(z)))

    def backward(pixels: np.ndarray) -> np.ndarray:
        return spread(freedom * reader.back(weight * pixels, factors))

    diagonal = 1.0 + freedom**2 * reader.back(weight, factors**2, squared=True)
    z = start
    residual = backward(shape - reader.read(np.einsum("nk,kyx->nyx", factors, prior + freedom * spread(z)))) - z
    scaled = residual / diagonal
    direction, product = scaled, float((residual * scaled).sum())
    enough = CG_TOLERANCE**2 * product
    for _ in range(CG_STEPS):
        if product <= enough:
            break
        image = direction + backward(forward(direction))
        step = product / float((direction * image).sum())
        z = z + step * direction
        residual = residual - step * image
        scaled = residual / diagonal
        product, before = float((residual * scaled).sum()), product
        direction = scaled + product / before * direction
    return prior + freedom * spread(z), z


def _centred(state: Fit, factors: np.ndarray, half: int, fwhm: float) -> Fit:
    """Move the stars so that the next PSF has its centroid, under a Gaussian of its own width, in the middle everywhere."""
    n = len(state.dx)
    model = Reader(np.zeros(n), np.zeros(n), half, state.oversampling).read(_model(state, factors))
    gx, gy = offsets(half)
    light = model * np.exp(-0.5 * (gx**2 + gy**2) * (FWHM_PER_SIGMA / max(fwhm, 1.0)) ** 2)
    total = light.sum(axis=(1, 2))
    # A matched weight sees half of a displacement.
    shift = [2 * (light * g).sum(axis=(1, 2)) / total for g in (gx, gy)]
    dx, dy = (np.clip(d + s, -0.99, 0.99) for d, s in zip((state.dx, state.dy), shift, strict=True))
    return replace(state, dx=dx, dy=dy)


def model_pixels(state: Fit, half: int, factors: np.ndarray) -> np.ndarray:
    """Return the pixels (n, y, x) of every star for unit flux."""
    return Reader(state.dx, state.dy, half, state.oversampling).read(_model(state, factors))
