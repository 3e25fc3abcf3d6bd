"""The scan of one block: every set of templates at every redshift, and the exact fits of its best peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .archetypes import ArchetypeScan
from .block import Block
from .curves import BasisScan, Prepared
from .peaks import Peaks, basis_peaks, near_seeds, single_peaks
from .refine import Fits, Orders, models, refined
from .sets import LIGHT, STEP, ScanSet

SMOOTH = 10
"""Terms of the polynomial that stands for a spectrum without features."""
EDGE = 1.0
"""Pixels within which a fit is at the edge of its range."""
VELOCITIES = 200.0
"""km/s, the standard deviation of the prior on the velocities of stars: about that of the halo."""
OUTLIER = 25.0
"""Squared deviation in sigma of a pixel that counts as an outlier."""


@dataclass(frozen=True)
class Choices:
    """How a scan goes about it.

    Attributes:
        orders: of the polynomials.
        peaks: of each set of basis vectors that are fitted exactly, for each spectrum; of stars one fewer.
        mates: other templates that may join the best single one.
        sky_weight: see `block.blocks`.
    """

    orders: Orders
    peaks: int
    mates: int
    sky_weight: float


@dataclass(frozen=True, eq=False)
class Candidates:
    """Exact fits of one set's candidates in a block, (candidate,) each.

    Attributes:
        templates: the set.
        rows: which spectrum of the block.
        names: of the best template.
        z, z_err: redshift, and its standard error if the inverse variances are right.
        velocity: km/s from the nearest end of what is distinct; ln(1 + z) times the speed of light.
        chi2: of the fit.
        penalty: what is added to chi-square to compare classes: parameters times ln(pixels), and -2 ln(prior).
        parameters: of the model.
        edge, settled: bool, whether it is at the edge of its range, and whether it came to rest.
    """

    templates: ScanSet
    rows: np.ndarray
    names: list[str]
    z: np.ndarray
    z_err: np.ndarray
    velocity: np.ndarray
    chi2: np.ndarray
    penalty: np.ndarray
    parameters: int
    edge: np.ndarray
    settled: np.ndarray
    peaks: Peaks
    fits: Fits

    def light(self, block: Block, chosen: np.ndarray, orders: Orders) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Return of some candidates the model (candidate, pixel), and which parts of its light are negative and of its pixels outliers."""
        at = torch.from_numpy(chosen).to(block.flux.device)
        fits = Fits(*(getattr(self.fits, name)[at] for name in ("shift", "shift_err", "chi2", "settled", "start", "answer")))
        rows = self.peaks.rows[at]
        own, model = models(self.templates, block, rows, self.peaks.which[at], fits, orders)
        used = block.ivar[rows] > 0
        below = (-own.clamp(max=0) * used).sum(dim=1) / (own.abs() * used).sum(dim=1).clamp(min=1e-300)
        off = (block.ivar[rows] * (block.flux[rows] - model) ** 2 > OUTLIER).sum(dim=1) / block.used[rows]
        return model, below.cpu().numpy(), off.cpu().numpy()


class Scanner:
    """Scans blocks with sets of templates; what depends on the grid alone is kept from block to block.

    Args:
        sets: of templates.
        choices: see there.
        device: to work on.
    """

    def __init__(self, sets: Sequence[ScanSet], choices: Choices, device: str) -> None:
        self.sets, self.choices, self.device = sets, choices, device
        self._grid: tuple[int, int] | None = None
        self._scans: list[BasisScan | ArchetypeScan] = []

    def scan(self, block: Block, seeds: np.ndarray) -> tuple[list[Candidates], np.ndarray]:
        """Return each set's candidates, and (row,) chi-square of a smooth curve.

        Args:
            block: of spectra.
            seeds: (row, seed) redshifts near which the best fit is a candidate as well; NaN for none.
        """
        choices = self.choices
        prepared = Prepared(block, choices.orders.additive, SMOOTH)
        found = []
        for templates, scan in zip(self.sets, self._on_grid(block), strict=True):
            if isinstance(scan, ArchetypeScan):
                peaks = single_peaks(scan, scan.curve(block), max(choices.peaks - 1, 1), choices.mates)
            else:
                curve = scan.curve(prepared)
                peaks = near_seeds(templates, curve, seeds, block.offset, basis_peaks(templates, curve, choices.peaks))
            if len(peaks.rows):
                found.append(self._candidates(templates, block, peaks))
        return found, prepared.smooth.cpu().numpy()

    def _on_grid(self, block: Block) -> list[BasisScan | ArchetypeScan]:
        grid = block.first, block.pixels
        if grid != self._grid:
            terms = self.choices.orders.multiplicative
            self._scans = [ArchetypeScan(s, *grid, terms, self.device) if s.single else BasisScan(s, *grid, self.device) for s in self.sets]
            self._grid = grid
        return self._scans

    def _candidates(self, templates: ScanSet, block: Block, peaks: Peaks) -> Candidates:
        orders = self.choices.orders
        fits = refined(templates, block, *peaks, orders)
        rows = peaks.rows.cpu().numpy()
        shift, error = fits.shift.cpu().numpy(), fits.shift_err.cpu().numpy()
        log = (shift + block.offset) * STEP
        parameters = orders.parameters(templates, peaks.which.shape[1] - 1)
        joined = peaks.which.shape[1] - 1 if templates.single else 0
        penalty = (parameters - joined) * np.log(block.used.cpu().numpy()[rows]) + 2.0 * joined
        if templates.spectral_class == "star":
            penalty = penalty + (LIGHT * log / VELOCITIES) ** 2
        low, high = templates.shifts
        return Candidates(
            templates,
            rows,
            [templates.names[k] if templates.single else templates.name for k in peaks.which[:, 0].tolist()],
            np.expm1(log),
            np.exp(log) * STEP * error,
            LIGHT * log,
            fits.chi2.cpu().numpy(),
            penalty,
            parameters,
            (shift < low + EDGE) | (shift > high - EDGE),
            fits.settled.cpu().numpy(),
            peaks,
            fits,
        )
