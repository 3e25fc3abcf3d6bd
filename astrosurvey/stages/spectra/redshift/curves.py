"""Chi-square at every redshift, by correlations in Fourier space.

At a shift s the model is sum_k a_k t_k(i - s) + sum_p b_p P_p(i). With the polynomials P made orthonormal under the inverse
variances w, and taken out of the flux, the normal matrix of the templates is

    G_kl(s) = sum_i w t_k t_l - sum_p (sum_i w P_p t_k) (sum_i w P_p t_l),     y_k(s) = sum_i w f t_k,

in which every sum over pixels is a correlation with w, w P_p or w f: one Fourier transform gives it at all shifts. What is left
is a system of a few unknowns at each.

The forest in front of quasars multiplies templates blueward of Lyα by a transmission F(i) that depends on the observed pixel
alone. So templates are cut in two there, and the blue parts are correlated with w F^2, w F P_p and w F f; as the parts do not
overlap, the transforms add.

References: Glazebrook, Offer & Deeley (1998), ApJ 492, 98; Bolton et al. (2012), AJ 144, 144.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .block import Block
from .sets import ScanSet
from .solve import gains

RIDGE = 1e-9
"""Added to the diagonal, relative: far above what the transforms leave of rounding errors, far below what noise does. The transforms
are in double precision, for templates of quasars are a thousand times brighter at one end than at the other."""


class BasisScan:
    """The Fourier transforms of a set of basis vectors and of their products, for spectra on one grid.

    Args:
        templates: fitted together.
        first: number of the spectra's first pixel.
        pixels: of the spectra.
        device: to work on.
    """

    def __init__(self, templates: ScanSet, first: int, pixels: int, device: str) -> None:
        self.low, self.high = templates.shifts
        self.shifts = self.high - self.low + 1
        segment = templates.segment(first - self.high, pixels + self.shifts - 1)
        self.size = fast_size(segment.shape[1])
        number = np.arange(first - self.high, first - self.high + segment.shape[1])
        parts = [number >= templates.edge, number < templates.edge] if templates.absorbed else [np.ones(len(number), bool)]
        self.pairs = [(k, m) for k in range(len(segment)) for m in range(k + 1)]
        self.vectors, self.products = [], []
        for part in parts:
            values = torch.from_numpy(segment * part).to(device)
            self.vectors.append(torch.fft.rfft(values, n=self.size))
            self.products.append(torch.fft.rfft(torch.stack([values[k] * values[m] for k, m in self.pairs]), n=self.size))

    def curve(self, prepared: Prepared) -> torch.Tensor:
        """Return (row, shift): by how much chi-square falls from the polynomials' when the templates join them."""
        weight, flux, nuisance = prepared.planes
        through = [None, prepared.forest][: len(self.vectors)]
        weights = self._along([weight if f is None else weight * f**2 for f in through])
        fluxes, nuisances = (self._along([plane if f is None else plane * f for f in through]) for plane in (flux, nuisance))
        vectors = list(zip(*self.vectors, strict=True))
        right = [self._back(fluxes, vector) for vector in vectors]
        mixed = [self._back(nuisances, vector) for vector in vectors]
        matrix = {}
        for (k, m), product in zip(self.pairs, zip(*self.products, strict=True), strict=True):
            entry = self._back(weights, product)
            if k == m:
                entry = entry * (1 + RIDGE)
            for p in range(prepared.planes[2].shape[1]):
                entry = torch.addcmul(entry, mixed[k][:, p], mixed[m][:, p], value=-1)
            matrix[k, m] = entry
        return gains(matrix, right).flip(-1)

    def _along(self, planes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [torch.fft.rfft(plane, n=self.size).conj() for plane in planes]

    def _back(self, planes: Sequence[torch.Tensor], templates: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the sum of the parts' correlations."""
        total = planes[0] * templates[0]
        for plane, template in zip(planes[1:], templates[1:], strict=True):
            total = torch.addcmul(total, plane, template)
        return torch.fft.irfft(total, n=self.size)[..., : self.shifts]


class Prepared:
    """What the scans of a block share: weights, flux and polynomials.

    Args:
        block: of spectra.
        terms: of the additive polynomial.
        smooth: terms of the polynomial that stands for a spectrum without features; not fewer.

    Attributes:
        chi2: (row,) float64, of the additive polynomial alone.
        smooth: (row,) float64, of the other one.
        nothing: (row,) float64, of no model at all.
        planes: w and w f (row, pixel), and w P (row, term, pixel), with P orthonormal and taken out of f.
        forest: see `block.Block`.
    """

    def __init__(self, block: Block, terms: int, smooth: int) -> None:
        weighted = block.ivar * block.flux
        basis = orthonormal(block, smooth)
        along = (basis @ weighted[..., None])[..., 0]
        self.nothing = (weighted * block.flux).sum(dim=1)
        self.chi2 = self.nothing - (along[:, :terms] ** 2).sum(dim=1)
        self.smooth = self.nothing - (along**2).sum(dim=1)
        kept = basis[:, :terms]
        rest = block.flux - (along[:, None, :terms] @ kept)[:, 0]
        self.planes = (block.ivar, block.ivar * rest, block.ivar[:, None] * kept)
        self.forest = block.forest


def orthonormal(block: Block, terms: int) -> torch.Tensor:
    """Return (row, term, pixel) Legendre polynomials made orthonormal under the weights, each from those before it."""
    basis = block.polynomials[:, :terms]
    normal = (basis * block.ivar[:, None]) @ basis.transpose(1, 2)
    ridge = 1e-10 * normal.diagonal(dim1=1, dim2=2).mean(dim=1)
    normal = normal + ridge[:, None, None] * torch.eye(terms, dtype=normal.dtype, device=normal.device)
    lower = torch.linalg.cholesky(normal)
    return torch.linalg.solve_triangular(lower, basis, upper=False)


def fast_size(least: int) -> int:
    """Return the smallest product of powers of 2, 3 and 5 that is not below `least`."""
    sizes = (2**a * 3**b * 5**c for a in range(24) for b in range(4) for c in range(3))
    return min(size for size in sizes if size >= least)
