"""Least squares for lines that share velocities and widths: fluxes and continua are linear, the rest takes a few damped steps.

The model of a pixel is the mean over it of the sum of Gaussians in the logarithm of the wavelength, plus a level and a slope in
each window. For given velocities and widths the linear parameters are solved for exactly (variable projection), so that the
steps are in as many dimensions as there are velocities and widths, for whole batches at once.

References:
    Golub & Pereyra (1973), SIAM J. Numer. Anal. 10, 413; Kaufman (1975), BIT 15, 49, for the derivative;
    Bolton et al. (2012), AJ 144, 144, for lines tied by kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from ..velocity import LIGHT
from .blocks import Block, Problem
from .pixels import Pixels

STEPS = 25
DONE = 1e-3
"""Steps end when the expected gain in chi-square falls below this for every spectrum."""
COVERED = 0.5
"""A flux is fitted where usable pixels cover this part of the line's core."""
_ROOT = 2.0**-0.5
_NORM = (2 * torch.pi) ** -0.5


@dataclass(frozen=True)
class BlockFit:
    """One block's linear parameters: its fluxes first, then level and slope of each window.

    Attributes:
        values: (n, k), in the units of `Sampled.flux`.
        covariance: (n, k, k), with velocities and widths free.
        active: (n, column) fluxes that were fitted.
        covered, reached: as of `Pixels`.
        chi2: (n,).
        n_pixels: (n,).
    """

    values: torch.Tensor
    covariance: torch.Tensor
    active: torch.Tensor
    covered: torch.Tensor
    reached: torch.Tensor
    chi2: torch.Tensor
    n_pixels: torch.Tensor


@dataclass(frozen=True)
class Fit:
    """The solution of a problem for n spectra.

    Attributes:
        shape: (n, 2 g): of each group the velocity in km/s, and the natural logarithm of the width in km/s.
        covariance: (n, 2 g, 2 g).
        blocks: one for each block.
        chi2: (n,) without the priors.
        n_pixels: (n,).
    """

    shape: torch.Tensor
    covariance: torch.Tensor
    blocks: tuple[BlockFit, ...]
    chi2: torch.Tensor
    n_pixels: torch.Tensor


@dataclass(frozen=True)
class _Solved:
    """One block at given velocities and widths: the linear solution, and what the steps need of it."""

    values: torch.Tensor
    inverse: torch.Tensor
    leak: torch.Tensor
    chi2: torch.Tensor
    hessian: torch.Tensor
    gradient: torch.Tensor


@dataclass(frozen=True)
class _State:
    """Cost, Hessian and downhill gradient of velocities and widths, and the blocks behind them."""

    cost: torch.Tensor
    hessian: torch.Tensor
    gradient: torch.Tensor
    blocks: list[_Solved]

    def put(self, rows: torch.Tensor, other: _State, which: torch.Tensor) -> None:
        """Replace some rows by some of another state's."""
        for mine, its in zip(self._tensors(), other._tensors(), strict=True):
            mine[rows] = its[which]

    def _tensors(self) -> list[torch.Tensor]:
        return [self.cost, self.hessian, self.gradient, *(getattr(block, field.name) for block in self.blocks for field in fields(block))]


def fit(problem: Problem, pixels: Sequence[Pixels]) -> Fit:
    """Return the best fit of all spectra.

    Args:
        problem: which lines, and how they are tied.
        pixels: of each block.
    """
    device = pixels[0].flux.device
    shape, priors, lowest, highest = _priors(problem, len(pixels[0].flux), device)
    longest = _longest(problem, device)
    state = _evaluate(problem, pixels, shape, priors)
    damping = torch.full((len(shape), 1), 1e-2, dtype=shape.dtype, device=device)
    live, data = torch.arange(len(shape), device=device), list(pixels)
    for _ in range(STEPS):
        hessian, gradient = state.hessian[live], state.gradient[live]
        step = torch.linalg.solve(hessian + torch.diag_embed(damping[live] * torch.diagonal(hessian, dim1=1, dim2=2)), gradient)
        moving = (step * gradient).sum(1) > DONE
        if not moving.all():
            live, step, data = live[moving], step[moving], [each.take(moving) for each in data]
        if not len(live):
            break
        trial = torch.clamp(shape[live] + torch.clamp(step, -longest, longest), lowest, highest)
        tried = _evaluate(problem, data, trial, priors)
        better = tried.cost < state.cost[live]
        state.put(live[better], tried, better)
        shape[live[better]] = trial[better]
        damping[live] = torch.where(better[:, None], damping[live] / 8, damping[live] * 6).clamp(1e-9, 1e9)
    covariance = torch.linalg.inv(state.hessian)
    blocks = []
    for each, given in zip(state.blocks, pixels, strict=True):
        spread = each.inverse + each.leak @ covariance @ each.leak.transpose(1, 2)
        counts = (given.gain > 0).sum(1)
        blocks.append(BlockFit(each.values, spread, given.covered >= COVERED, given.covered, given.reached, each.chi2, counts))
    chi2 = torch.stack([block.chi2 for block in blocks]).sum(0)
    return Fit(shape, covariance, tuple(blocks), chi2, torch.stack([block.n_pixels for block in blocks]).sum(0))


_Priors = tuple[torch.Tensor, torch.Tensor]
"""Centre and inverse variance of velocities and widths, (2 g,)."""


def _priors(problem: Problem, n: int, device: torch.device) -> tuple[torch.Tensor, _Priors, torch.Tensor, torch.Tensor]:
    """Return where the steps begin, (n, 2 g), the priors, and lower and upper bounds, (2 g,)."""
    columns = []
    for group in problem.groups:
        columns.append((0.0, 0.0, group.velocity**-2, -group.fastest, group.fastest))
        begin, typical, narrowest, widest = (math.log(width) for width in (group.sigma, group.typical, group.narrowest, group.widest))
        columns.append((begin, typical, group.scatter**-2, narrowest, widest))
    made = torch.tensor(columns, dtype=torch.float64, device=device).T.contiguous()
    return made[0].repeat(n, 1), (made[1], made[2]), made[3], made[4]


def _longest(problem: Problem, device: torch.device) -> torch.Tensor:
    """Return the longest step: the width with which the fit begins, and a factor of 2.7 in width."""
    return torch.tensor([each for group in problem.groups for each in (group.sigma, 1.0)], dtype=torch.float64, device=device)


def _evaluate(problem: Problem, pixels: Sequence[Pixels], shape: torch.Tensor, priors: _Priors) -> _State:
    solved = [_solve(block, data, shape) for block, data in zip(problem.blocks, pixels, strict=True)]
    centre, weight = priors
    off = shape - centre
    cost = torch.stack([(off**2 * weight).sum(1), *(each.chi2 for each in solved)]).sum(0)
    hessian = torch.stack([torch.diag(weight).expand(len(shape), -1, -1), *(each.hessian for each in solved)]).sum(0)
    gradient = torch.stack([-off * weight, *(each.gradient for each in solved)]).sum(0)
    return _State(cost, hessian, gradient, solved)


def _solve(block: Block, data: Pixels, shape: torch.Tensor) -> _Solved:
    """Solve for a block's fluxes and continua at given velocities and widths."""
    n, p = data.flux.shape
    rows = torch.zeros((n, len(block.columns) + data.base.shape[1], p), dtype=data.flux.dtype, device=data.flux.device)
    rows[:, len(block.columns) :] = data.base
    slopes = []
    for profile in block.profiles:
        sigma = shape[:, 2 * profile.group + 1, None].exp()
        x = ((data.edges - profile.log_wave) * LIGHT - shape[:, 2 * profile.group, None]) / sigma
        density = _NORM * torch.exp(-0.5 * x * x)
        gain = data.gain * (profile.ratio * (data.covered[:, profile.column, None] >= COVERED))
        rows[:, profile.column] += gain * (0.5 * torch.special.erf(x * _ROOT)).diff(dim=1)
        slopes.append((-gain / sigma * density.diff(dim=1), -gain * (x * density).diff(dim=1)))
    values, inverse = _linear(rows @ rows.transpose(1, 2), rows @ data.flux[..., None])
    residual = data.flux - (values[:, None] @ rows)[:, 0]
    derivative = torch.zeros((n, shape.shape[1], p), dtype=rows.dtype, device=rows.device)
    for profile, (by_velocity, by_width) in zip(block.profiles, slopes, strict=True):
        height = values[:, profile.column, None]
        derivative[:, 2 * profile.group] += height * by_velocity
        derivative[:, 2 * profile.group + 1] += height * by_width
    cross = rows @ derivative.transpose(1, 2)
    leak = inverse @ cross
    hessian = derivative @ derivative.transpose(1, 2) - cross.transpose(1, 2) @ leak
    gradient = (derivative @ residual[..., None])[..., 0]
    chi2 = (residual[:, None] @ residual[..., None])[:, 0, 0]
    return _Solved(values, inverse, leak, chi2, hessian, gradient)


def _linear(normal: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return solution and inverse of normal equations, zero for parameters that no pixel speaks of."""
    diagonal = torch.diagonal(normal, dim1=1, dim2=2)
    keep = diagonal > 1e-12 * diagonal.amax(1, keepdim=True)
    root = torch.where(keep, diagonal, 1).rsqrt() * keep
    scaled = normal * root[:, :, None] * root[:, None, :]
    # What is left out has a one on the diagonal; the rest a grain, for two lines may lie on one pixel.
    scaled = scaled + torch.diag_embed(torch.where(keep, 1e-12, 1.0).to(normal.dtype))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(scaled)) * root[:, :, None] * root[:, None, :]
    return (inverse @ right)[..., 0], inverse
