"""Brightness profiles as sums of Gaussians, seen through a PSF: the templates that a source is fitted with.

A profile of a galaxy is a non-negative sum of concentric, equally elongated Gaussians whose widths grow by a
constant factor. Convolved with the PSF in Fourier space they are the basis; Sérsic profiles of many sizes and
indices, and the PSF itself, are known sums of it, so that a whole library of them costs no more than the basis.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

STEP = 1.85
FIRST = 0.4
"""Widths of the basis: 0 (the PSF), FIRST, FIRST * STEP, … in units of the PSF's own standard deviation."""
INDICES = (0.5, 1.0, 2.0, 4.0)
PRIOR = (0.2, 0.4, 0.25, 0.15)
"""Sérsic indices in the library, and the chance of each among galaxies."""
STARS = 0.3
"""The chance that a source is a point source."""
RADII_STEP = 1.35
FARTHEST = -60.0
"""Exponents below count as this one: nothing in float32, but where exp() leaves the normal numbers it takes ten times as long."""
SIZE, SIZE_SCATTER = 1.2, 0.9
"""Half-light radii of galaxies in the library, in units of the PSF's sigma: steps, median and scatter (logarithm) of their chances."""


def widths(count: int) -> np.ndarray:
    """Return the standard deviations of the basis, in units of the PSF's; the first is 0."""
    return np.concatenate([[0.0], FIRST * STEP ** np.arange(count - 1)])


def count_for(size: int, psf_sigma: float) -> int:
    """Return how many Gaussians fit a stamp: the widest has a fifth of half its side."""
    return 2 + max(int(np.floor(np.log(max(0.2 * size / psf_sigma, FIRST) / FIRST) / np.log(STEP))), 1)


@lru_cache(maxsize=16)
def library(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a library of profiles of unit flux as sums of the basis, and the prior chance of each.

    Args:
        count: members of the basis.

    Returns:
        (profile, count) non-negative coefficients, each row summing to one, a point source first; (profile,) chances.

    References:
        Emsellem, Monnet & Bacon (1994), A&A 285, 723; Hogg & Lang (2013), PASP 125, 719.
    """
    sigma = widths(count)
    radii = np.exp(np.arange(np.log(0.3), np.log(1.3 * sigma[-1]), np.log(RADII_STEP)))
    of_size = np.exp(-0.5 * (np.log(radii / SIZE) / SIZE_SCATTER) ** 2)
    rows, chances = [np.eye(count)[0]], [STARS]
    for index, chance in zip(INDICES, PRIOR, strict=True):
        rows += [sersic_coefficients(index, radius, count) for radius in radii.tolist()]
        chances += ((1 - STARS) * chance * of_size / of_size.sum()).tolist()
    return np.array(rows), np.array(chances)


def sersic_coefficients(index: float, radius: float, count: int) -> np.ndarray:
    """Return the (count,) part of a Sérsic profile's flux in each member of the basis.

    Args:
        index: Sérsic index.
        radius: half-light radius in standard deviations of the PSF.
        count: members of the basis.
    """
    from scipy.optimize import nnls

    k, weight, basis = _least_squares(count)
    total = 30.0 * np.sqrt(weight.sum())
    found, _ = nnls(np.vstack([basis, np.full(count, total)]), np.append(sersic_transform(index, k * radius) * weight, total))
    return np.asarray(found / found.sum())


@lru_cache(maxsize=16)
def _least_squares(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return wave numbers, their weights, and the weighted transforms of the basis.

    Seen through a Gaussian PSF, and with the weight of an area: least squares as in the image (Parseval).
    """
    k = np.linspace(1e-3, 6.0, 160)
    weight = np.exp(-0.5 * k**2) * np.sqrt(k)
    return k, weight, np.exp(-0.5 * np.square(k[:, None] * widths(count))) * weight[:, None]


@lru_cache(maxsize=2)
def _transform_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return indices, log k, and (index, k) Fourier transforms of round Sérsic profiles of unit half-light radius and flux."""
    from scipy.special import gammaincinv, j0

    indices = np.arange(0.5, 4.01, 0.25)
    k = np.geomspace(1e-3, 300.0, 160)
    rows = []
    for index in indices.tolist():
        b = gammaincinv(2 * index, 0.5)
        u = np.linspace(0, (b + 22 + 12 * index) ** 0.5, 3_000)  # r = (u^2 / b)^index makes the integrand smooth at both ends
        r = (u**2 / b) ** index
        density = np.exp(-(u**2)) * r * np.gradient(r, u)
        rows.append((density / density.sum()) @ j0(k * r[:, None]))
    return indices, np.log(k), np.array(rows)


def sersic_transform(index: float, k: np.ndarray) -> np.ndarray:
    """Return the Fourier transform of a round Sérsic profile of unit flux and half-light radius.

    Args:
        index: Sérsic index, 0.5 to 4.
        k: wave numbers times the half-light radius.

    References:
        Graham & Driver (2005), PASA 22, 118.
    """
    indices, log_k, table = _transform_table()
    place = np.clip((index - indices[0]) / (indices[1] - indices[0]), 0, len(indices) - 1)
    low = min(int(place), len(indices) - 2)
    row = (1 - (place - low)) * table[low] + (place - low) * table[low + 1]
    return np.interp(np.log(np.maximum(k, 1e-3)), log_k, row)


class Basis:
    """The PSF-convolved Gaussians on stamps of one size.

    Args:
        psf: (y, x) the PSF, odd-sided, centred on the middle pixel.
        psf_sigma: its standard deviation as a Gaussian, pixels: the unit of the widths.
        size: the stamps' side, pixels.
        device: where the tensors live.
    """

    def __init__(self, psf: np.ndarray, psf_sigma: float, size: int, device: torch.device) -> None:
        self.size, self.side = size, fast_side(size * 9 // 8)  # room around the stamp: what is beyond would wrap into it
        self.count = count_for(size, psf_sigma)
        self.sigma = torch.tensor(widths(self.count) * psf_sigma, dtype=torch.float32, device=device)
        self.kx = torch.fft.rfftfreq(self.side, 1 / (2 * np.pi), device=device)
        self.ky = torch.fft.fftfreq(self.side, 1 / (2 * np.pi), device=device)
        self.psf = torch.fft.rfft2(torch.from_numpy(centred(psf, self.side)).to(device))

    def render(self, dx: torch.Tensor, dy: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
        """Return every Gaussian of every source, (b, count, size * size), each of unit flux.

        Args:
            dx, dy: (b,) positions relative to the stamp's middle pixel size // 2.
            shape: (b, 3) xx, xy, yy of the covariance of unit determinant that gives axis ratio and angle.
        """
        form = self._form(shape)
        exponent = form[:, None] * (-0.5 * torch.square(self.sigma))[:, None, None]
        spectrum = exponent.clamp_min_(FARTHEST).exp_() * self._place(dx, dy)[:, None]
        return self._stamps(spectrum)

    def mix(self, dx: torch.Tensor, dy: torch.Tensor, shape: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
        """Return the sum of the Gaussians with given (b, count) coefficients, (b, size * size)."""
        form = self._form(shape)
        total = coefficients[:, 0, None, None].expand_as(form).clone()
        for k in range(1, self.count):
            total += coefficients[:, k, None, None] * (-0.5 * self.sigma[k] ** 2 * form).clamp_min_(FARTHEST).exp_()
        return self._stamps((total * self._place(dx, dy))[:, None])[:, 0]

    def _form(self, shape: torch.Tensor) -> torch.Tensor:
        xx, xy, yy = (shape[:, i, None, None] for i in range(3))
        return xx * self.kx**2 + 2 * xy * self.kx * self.ky[:, None] + yy * self.ky[:, None] ** 2

    def _place(self, dx: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
        """Return the transform of the PSF at the sources' places."""
        middle = self.size // 2
        along_x = torch.exp(-1j * (dx + middle)[:, None] * self.kx)
        along_y = torch.exp(-1j * (dy + middle)[:, None] * self.ky)
        return self.psf * along_y[:, :, None] * along_x[:, None, :]

    def _stamps(self, spectrum: torch.Tensor) -> torch.Tensor:
        stamps = torch.fft.irfft2(spectrum, s=(self.side, self.side))[..., : self.size, : self.size]
        return stamps.flatten(-2)


def fast_side(least: int) -> int:
    """Return the least even number, not less than `least`, without prime factors above 5: Fourier transforms of that length are fast."""
    side = least + least % 2
    while 30**16 % side:
        side += 2
    return side


def centred(psf: np.ndarray, side: int) -> np.ndarray:
    """Return a PSF on a grid of that side with its middle pixel at (0, 0), wrapped around, cut where it does not fit."""
    ny, nx = (min(n, side - 1 + side % 2) for n in psf.shape)
    cy, cx = psf.shape[0] // 2, psf.shape[1] // 2
    cut = psf[cy - ny // 2 : cy + ny // 2 + 1, cx - nx // 2 : cx + nx // 2 + 1]
    grid = np.zeros((side, side), np.float32)
    grid[: cut.shape[0], : cut.shape[1]] = cut / cut.sum()
    return np.roll(grid, (-(cut.shape[0] // 2), -(cut.shape[1] // 2)), (0, 1))
