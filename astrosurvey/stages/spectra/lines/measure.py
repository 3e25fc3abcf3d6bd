"""From the pixels of a batch of spectra to what is told of each of their lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
import torch

from ....catalog.flags import SPECTRAL_LINE
from ..velocity import LIGHT
from .blocks import BROAD_BALMER, Block, Group, Problem, Profile, balmer_problem, narrow_problem, quasar_problems
from .fit import Fit, fit
from .linelist import BY_KEY, DOUBLETS
from .pixels import Sampled, gather

FWHM = 2.3548
WINGS = 1500.0, 3500.0
"""km/s from Hβ and Hα to where narrow lines do not reach. A broad component is tried where these wings have this S/N:"""
WINGS_SNR = 4.0
EVIDENCE = 10.0
"""And kept where it makes the Bayesian information criterion smaller by this, and is itself an emission line of this S/N:"""
BROAD_SURE = 5.0
WHOLE = 0.999
"""More of a line's core than this is all of it."""
CHANCE = 3.0
"""Chi-square may exceed what is expected by this many times its scatter before it counts."""
CONTINUUM_SNR = 3.0
"""The continuum must be this many of its errors above zero for an equivalent width."""

PROBLEMS = cache(lambda: (narrow_problem(), balmer_problem(broad=False), balmer_problem(broad=True), quasar_problems()))
"""Made once: narrow lines, the wide windows around Balmer lines without and with broad components, and the quasars' lines."""


@dataclass(eq=False)
class Lines:
    """What was measured of one line in n spectra; arrays (n,), NaN where nothing was. See the table `spectral_line`."""

    flux: np.ndarray
    flux_err: np.ndarray
    equivalent_width: np.ndarray
    equivalent_width_err: np.ndarray
    sigma: np.ndarray
    sigma_err: np.ndarray
    velocity: np.ndarray
    velocity_err: np.ndarray
    continuum: np.ndarray
    continuum_err: np.ndarray
    reduced_chi2: np.ndarray
    flags: np.ndarray

    @property
    def snr(self) -> np.ndarray:
        """Flux over its error."""
        return self.flux / self.flux_err

    @classmethod
    def none(cls, n: int) -> Lines:
        """Return lines of which nothing is known; what is missing is a broad component."""
        return cls(**{f.name: np.zeros(n, np.int32) if f.name == "flags" else np.full(n, np.nan) for f in fields(cls)})

    def take(self, rows: np.ndarray) -> Lines:
        """Return those of some spectra."""
        return Lines(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def put(self, rows: np.ndarray, other: Lines) -> None:
        """Replace some rows."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)


@dataclass(frozen=True)
class Batch:
    """Spectra whose lines are to be measured.

    Attributes:
        sampled: without their continua.
        continuum: (n, pixel) smooth continua, in the same units, to which equivalent widths refer.
        z: (n,) redshifts.
        resolution: (n,) resolving powers; NaN where unknown.
    """

    sampled: Sampled
    continuum: np.ndarray
    z: np.ndarray
    resolution: np.ndarray


def measure_lines(
    batch: Batch, wide: Callable[[np.ndarray], Batch], quasar: np.ndarray, candidate: np.ndarray, device: str
) -> dict[str, Lines]:
    """Return all lines by key; broad components, which most spectra do not have, as `halpha_broad` and so on.

    Args:
        batch: the spectra.
        wide: returns some of them with a continuum that leaves room for broad lines.
        quasar: (n,) whether broad lines are to be expected.
        candidate: (n,) whether a broad component may be tried.
        device: where the fits run.
    """
    narrow, without, with_broad, ultraviolet = PROBLEMS()
    found = {f"{key}_broad": Lines.none(len(batch.z)) for key in BROAD_BALMER}
    for problem in (narrow, *ultraviolet):
        found |= _told(problem, _fitted(problem, batch, device), batch)
    tried = np.flatnonzero(candidate)
    rows = tried[quasar[tried] | (_wings(wide(tried)) > WINGS_SNR)] if len(tried) else tried
    if not len(rows):
        return found
    some = wide(rows)
    one, two = _fitted(without, some, device), _fitted(with_broad, some, device)
    told = _told(with_broad, two, some)
    more = _fluxes(two) - _fluxes(one)
    gain = (one.chi2 - two.chi2).cpu().numpy() - more * np.log(np.maximum(two.n_pixels.cpu().numpy(), 1))
    strongest = np.max([np.nan_to_num(told[f"{key}_broad"].snr) for key in BROAD_BALMER], axis=0)
    better = np.flatnonzero((gain > EVIDENCE) & (strongest > BROAD_SURE))
    for key, lines in told.items():
        chosen = lines.take(better)
        if key in BROAD_BALMER:
            chosen.flags[np.isfinite(told[f"{key}_broad"].flux[better])] |= SPECTRAL_LINE["HAS_BROAD"]
        found[key].put(rows[better], chosen)
    return found


def _fitted(problem: Problem, batch: Batch, device: str) -> Fit:
    return fit(problem, [gather(block, batch.sampled, device) for block in problem.blocks])


def _wings(batch: Batch) -> np.ndarray:
    """Return (n,) the S/N of the wings of Hβ or Hα, the better of the two."""
    sampled = batch.sampled
    centre = (sampled.low + sampled.high) / 2
    found = []
    for key in ("hbeta", "halpha"):
        away = np.abs(centre - np.log(BY_KEY[key].wave)) * LIGHT
        weight = np.where((away > WINGS[0]) & (away < WINGS[1]), sampled.weight, 0)
        total = weight.sum(axis=1)
        found.append((weight * sampled.flux).sum(axis=1) / np.sqrt(np.where(total > 0, total, 1)))
    return np.max(found, axis=0)


def _fluxes(result: Fit) -> np.ndarray:
    """Return (n,) how many fluxes were fitted."""
    return np.asarray(torch.stack([block.active.sum(1) for block in result.blocks]).sum(0).cpu().numpy())


def _told(problem: Problem, result: Fit, batch: Batch) -> dict[str, Lines]:
    """Return what a fit says of its lines."""
    widths = _widths(problem, result, batch.resolution)
    scale = batch.sampled.scale
    found = {}
    for block, fitted in zip(problem.blocks, result.blocks, strict=True):
        values, covariance = fitted.values.cpu().numpy(), fitted.covariance.cpu().numpy()
        reduced, raised = _reduced(fitted.chi2, fitted.n_pixels, values.shape[1])
        covariance = covariance * raised[:, None, None]
        active, covered, reached = (each.cpu().numpy() for each in (fitted.active, fitted.covered, fitted.reached))
        flags = np.where(active, 0, np.where(reached, SPECTRAL_LINE["MASKED"], SPECTRAL_LINE["OUTSIDE"]))
        flags |= np.where(active & (covered < WHOLE), SPECTRAL_LINE["PARTLY_MASKED"], 0)
        flags |= np.where((raised > 1)[:, None], SPECTRAL_LINE["POOR_FIT"], 0)
        for key, profile in zip(_keys(block), block.profiles, strict=True):
            basis = _continuum_basis(block, profile.log_wave, values.shape)
            under = scale * _at(batch.sampled, batch.continuum, profile.log_wave)
            numbers = _strengths(values, covariance, profile, basis, under, scale, batch.z)
            shape, more = widths[profile.group]
            tied = SPECTRAL_LINE["TIED"] if profile.ratio != 1 else 0
            here = flags[:, profile.column] | np.where(active[:, profile.column], more | tied, 0)
            known = active[:, profile.column]
            here |= np.where(known & np.isnan(numbers["equivalent_width"]), SPECTRAL_LINE["NO_CONTINUUM"], 0)
            numbers |= shape | {"reduced_chi2": reduced}
            found[key] = Lines(**{name: np.where(known, each, np.nan) for name, each in numbers.items()}, flags=here.astype(np.int32))
    return found


def _keys(block: Block) -> list[str]:
    """Return the key of each of a block's profiles: the weaker of tied lines are not among its columns."""
    weak = {doublet.strong: doublet.weak for doublet in DOUBLETS}
    return [block.columns[p.column] if p.ratio == 1 else weak[block.columns[p.column]] for p in block.profiles]


def _reduced(chi2: torch.Tensor, n_pixels: torch.Tensor, parameters: int) -> tuple[np.ndarray, np.ndarray]:
    """Return chi-square per degree of freedom, and by how much variances are raised: only where noise alone does not make it that large."""
    dof = np.maximum(n_pixels.cpu().numpy() - parameters, 1)
    reduced = chi2.cpu().numpy() / dof
    return reduced, np.where(reduced > 1 + CHANCE * np.sqrt(2 / dof), reduced, 1.0)


def _widths(problem: Problem, result: Fit, resolution: np.ndarray) -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Return velocity and width of each group, with errors and flags; the instrument's width is taken out in squares."""
    shape, covariance = result.shape.cpu().numpy(), result.covariance.cpu().numpy()
    linear = sum(block.values.shape[1] for block in result.blocks)
    raised = _reduced(result.chi2, result.n_pixels, shape.shape[1] + linear)[1]
    error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2) * raised[:, None])
    known = np.isfinite(resolution) & (resolution > 0)
    instrument = np.where(known, LIGHT / (FWHM * np.where(known, resolution, 1)), 0.0)
    found = []
    for number, group in enumerate(problem.groups):
        velocity, observed, relative = shape[:, 2 * number], np.exp(shape[:, 2 * number + 1]), error[:, 2 * number + 1]
        square = observed**2 - instrument**2
        # The error of the square is 2 observed^2 relative: below two of them the line is not known to be wider than a point.
        unresolved = known & (square < 4 * observed**2 * relative)
        sigma = np.sqrt(np.maximum(square, 0))
        sigma_err = observed**2 * relative / np.maximum(sigma, observed * np.sqrt(relative))
        flags = np.where(known, 0, SPECTRAL_LINE["INSTRUMENT_WIDTH"]) | np.where(unresolved, SPECTRAL_LINE["UNRESOLVED"], 0)
        flags |= np.where(_at_bound(group, velocity, observed), SPECTRAL_LINE["WIDTH_AT_BOUND"], 0)
        numbers = {"sigma": sigma, "sigma_err": sigma_err, "velocity": velocity, "velocity_err": error[:, 2 * number]}
        found.append((numbers, flags))
    return found


def _at_bound(group: Group, velocity: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    near = 1e-3
    wide = (sigma < group.narrowest * (1 + near)) | (sigma > group.widest * (1 - near))
    return np.asarray(wide | (np.abs(velocity) > group.fastest * (1 - near)))


def _continuum_basis(block: Block, log_wave: float, shape: tuple[int, int]) -> np.ndarray:
    """Return (k,) the factors with which a block's linear parameters add up to its continuum at a wavelength."""
    basis = np.zeros(shape[1])
    number = int(np.flatnonzero((block.windows[:, 0] < log_wave) & (log_wave < block.windows[:, 1]))[0])
    start, stop = block.windows[number]
    level = len(block.columns) + 2 * number
    basis[level : level + 2] = 1.0, (log_wave - (start + stop) / 2) / (stop - start)
    return basis


def _at(sampled: Sampled, plane: np.ndarray, log_wave: float) -> np.ndarray:
    """Return the value of the pixel that holds a wavelength; of the nearest if none does."""
    pixel = np.minimum((sampled.high <= log_wave).sum(axis=1), plane.shape[1] - 1)
    return np.asarray(np.take_along_axis(plane, pixel[:, None], axis=1)[:, 0])


def _strengths(
    values: np.ndarray, covariance: np.ndarray, profile: Profile, basis: np.ndarray, under: np.ndarray, scale: np.ndarray, z: np.ndarray
) -> dict[str, np.ndarray]:
    """Return flux, continuum and equivalent width, with errors.

    Args:
        values, covariance: the block's linear parameters, in units of `scale`.
        profile: the line's.
        basis: see `_continuum_basis`.
        under: (n,) the smooth continuum at the line.
        scale: (n,).
        z: (n,) redshifts.
    """
    at = profile.column
    flux = profile.ratio * scale * values[:, at]
    flux_var = (profile.ratio * scale) ** 2 * covariance[:, at, at]
    level = under + scale * (values @ basis)
    level_var = scale**2 * np.einsum("i,nij,j->n", basis, covariance, basis)
    both = profile.ratio * scale**2 * (covariance[:, at] @ basis)
    with np.errstate(divide="ignore", invalid="ignore"):
        width = flux / level
        width_var = (flux_var + width**2 * level_var - 2 * width * both) / level**2
        there = level > CONTINUUM_SNR * np.sqrt(level_var)
        return {
            "flux": flux,
            "flux_err": np.sqrt(flux_var),
            "equivalent_width": np.where(there, width / (1 + z), np.nan),
            "equivalent_width_err": np.where(there, np.sqrt(np.maximum(width_var, 0)) / (1 + z), np.nan),
            "continuum": level,
            "continuum_err": np.sqrt(level_var),
        }
