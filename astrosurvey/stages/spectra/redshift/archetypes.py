"""Chi-square of single templates times a polynomial, at every shift of a small range.

The model t(i - s) sum_m c_m P_m(i) takes up whatever a calibration does to a star's continuum. Products of Legendre polynomials
are sums of Legendre polynomials, so the normal matrix of each template at each shift is made of 2 M - 1 sums of w P_j t^2, and
all of them are one product of matrices.
"""

from __future__ import annotations

import numpy as np
import torch

from .block import Block
from .sets import ScanSet
from .solve import gains

BINNED = 2
"""Pixels that are averaged to one: stars are told apart well at this resolution, at a quarter of the cost."""
STRIDE = 2
"""Binned pixels between the shifts that are tried."""
RIDGE = 1e-6


class ArchetypeScan:
    """Templates and their squares at all shifts, for spectra on one grid.

    Args:
        templates: fitted one at a time.
        first: number of the spectra's first pixel.
        pixels: of the spectra.
        terms: of the polynomial that multiplies them.
        device: to work on.
    """

    def __init__(self, templates: ScanSet, first: int, pixels: int, terms: int, device: str) -> None:
        low, high = templates.shifts
        step = BINNED * STRIDE
        reach = -(-max(-low, high) // step)
        self.shifts = step * np.arange(-reach, reach + 1)
        self.count, self.terms = len(templates.flux), terms
        binned = pixels // BINNED
        shifted = []
        for shift in self.shifts:
            segment = templates.segment(first - int(shift), binned * BINNED)
            shifted.append(segment.reshape(self.count, binned, BINNED).mean(axis=2))
        values = torch.from_numpy(np.concatenate(shifted).astype(np.float32)).to(device)  # (shift x template, pixel)
        self.values, self.squares = values.T.contiguous(), (values**2).T.contiguous()
        self.couplings = torch.from_numpy(_couplings(terms)).to(device)

    def curve(self, block: Block) -> torch.Tensor:
        """Return (row, shift, template) float64: by how much chi-square falls from that of no model at all."""
        rows = len(block)
        basis = block.polynomials[:, : 2 * self.terms - 1].float()
        weight, flux = block.ivar.float(), (block.ivar * block.flux).float()
        right = _binned(basis[:, : self.terms] * flux[:, None]).reshape(rows * self.terms, -1) @ self.values
        sums = _binned(basis * weight[:, None]).reshape(rows * basis.shape[1], -1) @ self.squares
        y = right.reshape(rows, self.terms, -1).double()
        moments = sums.reshape(rows, basis.shape[1], -1).double()
        matrix = {}
        for k in range(self.terms):
            for m in range(k + 1):
                there = torch.nonzero(self.couplings[k, m]).flatten()
                entry = torch.einsum("j,bjs->bs", self.couplings[k, m, there], moments[:, there])
                matrix[k, m] = entry * (1 + RIDGE) if k == m else entry
        return gains(matrix, list(y.unbind(dim=1))).reshape(rows, len(self.shifts), self.count)


def _binned(plane: torch.Tensor) -> torch.Tensor:
    pixels = plane.shape[-1] // BINNED * BINNED
    return plane[..., :pixels].reshape(*plane.shape[:-1], -1, BINNED).sum(dim=-1)


def _couplings(terms: int) -> np.ndarray:
    """Return (terms, terms, 2 terms - 1): the product of two Legendre polynomials as a sum of them."""
    table = np.zeros((terms, terms, 2 * terms - 1))
    for k in range(terms):
        for m in range(terms):
            product = np.polynomial.legendre.legmul(np.eye(terms)[k], np.eye(terms)[m])
            table[k, m, : len(product)] = np.where(np.abs(product) > 1e-12, product, 0)
    return table
