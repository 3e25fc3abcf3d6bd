"""The exact fit of templates to a spectrum near one redshift, in double precision, between the pixels.

The model is linear: templates, their products with polynomials, additive polynomials. The derivative of the fitted object with
respect to the shift joins the columns, and its coefficient is the shift that is left. So one fit gives the redshift and its
error with every other parameter free. All of it follows from one matrix of products of columns.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from .block import Block
from .sets import FRACTIONS, ScanSet

ROUNDS = 3
"""A fit is repeated from where it led to, up to this often,"""
FAR = 0.5
"""while it leads further than this, pixels."""
LIMIT = 2.0
"""A fit is not followed further than this, pixels."""
RIDGE = 1e-10
"""Added to the normal matrix of columns of norm 1."""


@dataclass(frozen=True)
class Orders:
    """How many polynomial terms a model has: those that multiply single templates, and those that are added to basis vectors."""

    multiplicative: int
    additive: int

    def parameters(self, templates: ScanSet, mates: int) -> int:
        """Return how many parameters a fit of this set has, the redshift counted."""
        return 1 + (self.multiplicative + mates if templates.single else len(templates.flux) + self.additive)


@dataclass(frozen=True, eq=False)
class Fits:
    """Fits of candidates, (candidate,) float64 where nothing else is said.

    Attributes:
        shift: pixels of the grid.
        shift_err: its standard error, if the inverse variances are right.
        chi2: of the fit.
        settled: bool, whether the shift has come to rest.
        start: the shift at which the columns are taken, a multiple of 1 / FRACTIONS.
        answer: (candidate, column) coefficients: of the values, of their slopes, of the additive polynomials.
    """

    shift: torch.Tensor
    shift_err: torch.Tensor
    chi2: torch.Tensor
    settled: torch.Tensor
    start: torch.Tensor
    answer: torch.Tensor

    def put(self, places: torch.Tensor, other: Fits) -> None:
        """Write other fits over those at some places."""
        for entry in fields(self):
            getattr(self, entry.name)[places] = getattr(other, entry.name)


def refined(templates: ScanSet, block: Block, rows: torch.Tensor, which: torch.Tensor, shift: torch.Tensor, orders: Orders) -> Fits:
    """Return fits near given shifts.

    Args:
        templates: the set that all candidates are of.
        block: the spectra.
        rows: (candidate,) int64, which spectrum.
        which: (candidate, k) int64, which templates: all of a basis, or the best single one and those that may join it.
        shift: (candidate,) float64, where to begin, pixels.
        orders: of the polynomials.
    """
    fits = _fit(templates, block, rows, which, shift, orders)
    for _ in range(ROUNDS - 1):
        again = torch.nonzero(~fits.settled).flatten()
        if not len(again):
            break
        fits.put(again, _fit(templates, block, rows[again], which[again], fits.shift[again], orders))
    return fits


def models(
    templates: ScanSet, block: Block, rows: torch.Tensor, which: torch.Tensor, fits: Fits, orders: Orders
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (candidate, pixel) the object's own light, and the model with the additive polynomial."""
    columns = _columns(templates, block, rows, which, torch.round(fits.start * FRACTIONS).long(), orders)
    added = _additive(templates, orders)
    light = (fits.answer[:, None, : columns.shape[1] - added] @ columns[:, : columns.shape[1] - added])[:, 0]
    if not added:
        return light, light
    return light, light + (fits.answer[:, None, -added:] @ columns[:, -added:])[:, 0]


def _additive(templates: ScanSet, orders: Orders) -> int:
    return 0 if templates.single else orders.additive


def _columns(
    templates: ScanSet, block: Block, rows: torch.Tensor, which: torch.Tensor, parts: torch.Tensor, orders: Orders
) -> torch.Tensor:
    """Return (candidate, column, pixel) float64: values, their slopes with the shift, additive polynomials."""
    values, slopes = _gathered(templates, block, which, parts)
    if templates.absorbed:
        number = block.first + torch.arange(block.pixels, device=block.flux.device) - parts[:, None] / FRACTIONS
        through = torch.where(number < templates.edge, block.forest, torch.ones_like(block.forest))[:, None]
        values, slopes = values * through, slopes * through
    if not templates.single:
        return torch.cat([values, slopes, block.polynomials[rows, : orders.additive]], dim=1)
    times = block.polynomials[rows, : orders.multiplicative]
    both = [torch.cat([plane[:, :1] * times, plane[:, 1:]], dim=1) for plane in (values, slopes)]
    return torch.cat(both, dim=1)


def _fit(templates: ScanSet, block: Block, rows: torch.Tensor, which: torch.Tensor, shift: torch.Tensor, orders: Orders) -> Fits:
    parts = torch.round(shift * FRACTIONS)
    start = parts / FRACTIONS
    columns = _columns(templates, block, rows, which, parts.long(), orders)
    added = _additive(templates, orders)
    half = (columns.shape[1] - added) // 2
    root = torch.sqrt(block.ivar[rows])
    columns = torch.cat([columns, block.flux[rows][:, None]], dim=1) * root[:, None]
    products = columns @ columns.transpose(1, 2)
    last = products.shape[1] - 1
    linear = torch.tensor([*range(half), *range(2 * half, last)], device=products.device)
    normal, right, square = products[:, linear][:, :, linear], products[:, linear, last], products[:, last, last]
    first, _ = _solved(normal, right)
    share = first[:, :half]
    slopes = slice(half, 2 * half)
    cross = (share[:, None] @ products[:, slopes][:, :, linear])[:, 0]
    bend = (share[:, None] @ products[:, slopes, slopes] @ share[..., None])[:, 0, 0]
    along = (share[:, None] @ products[:, slopes, last, None])[:, 0, 0]
    normal = torch.cat([torch.cat([bend[:, None, None], cross[:, None]], dim=2), torch.cat([cross[..., None], normal], dim=2)], dim=1)
    right = torch.cat([along[:, None], right], dim=1)
    answer, error = _solved(normal, right)
    moved = answer[:, 0].clamp(-LIMIT, LIMIT)
    answer = torch.cat([answer[:, 1 : half + 1], moved[:, None] * share, answer[:, half + 1 :]], dim=1)
    chi2 = square - 2 * (answer * products[:, :last, last]).sum(dim=1)
    chi2 = chi2 + (answer[:, None] @ products[:, :last, :last] @ answer[..., None])[:, 0, 0]
    return Fits(start + moved, error, chi2.clamp(min=0), moved.abs() <= FAR, start, answer)


def _gathered(templates: ScanSet, block: Block, which: torch.Tensor, parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return templates and their slopes with the shift, (candidate, k, pixel) float64, at shifts in parts of a pixel."""
    length = templates.flux.shape[1]
    tables = templates.between
    out = torch.empty((2, *which.shape, block.pixels), dtype=torch.float32)
    chosen = which.tolist()
    for c, part in enumerate(parts.tolist()):
        shift, f = divmod(part, FRACTIONS)
        begin = block.first - templates.first - shift
        if begin >= 0 and begin + block.pixels <= length:
            at = slice(begin, begin + block.pixels)
            for plane, table in zip(out, tables, strict=True):
                for k, template in enumerate(chosen[c]):
                    plane[c, k] = table[f, template, at]
        else:
            place = torch.arange(begin, begin + block.pixels).clamp(0, length - 1)
            for plane, table in zip(out, tables, strict=True):
                plane[c] = table[f][which[c].cpu()][:, place]
    values, slopes = out.to(block.flux.device).double()
    return values, -slopes


def _solved(normal: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the coefficients (candidate, column), and the first one's standard error (candidate,).

    A column of no length, such as the slope of a flat template, gets the coefficient 0; the error is infinite then.
    """
    norm = torch.sqrt(normal.diagonal(dim1=1, dim2=2).clamp(min=0))
    none = norm <= 1e-12 * norm.amax(dim=1, keepdim=True)
    safe = torch.where(none, torch.ones_like(norm), norm)
    usable = (~none).to(normal.dtype)
    scaled = normal / (safe[:, :, None] * safe[:, None, :]) * usable[:, :, None] * usable[:, None, :]
    scaled = scaled + torch.diag_embed(RIDGE + 1 - usable)
    lower, failed = torch.linalg.cholesky_ex(scaled)
    if failed.any():
        lower, _ = torch.linalg.cholesky_ex(scaled + 1e-6 * torch.eye(scaled.shape[1], dtype=scaled.dtype, device=scaled.device))
    answer = torch.cholesky_solve((right / safe * usable)[..., None], lower)[..., 0] / safe
    unit = torch.zeros_like(right)
    unit[:, 0] = 1
    first = torch.cholesky_solve(unit[..., None], lower)[:, 0, 0].clamp(min=0)
    error = torch.sqrt(first) / safe[:, 0]
    return answer, torch.where(none[:, 0], torch.full_like(error, float("inf")), error)
