"""Known spectra in their rest frame, and views of them as a spectrograph would see the same object again.

A view moves the object to another redshift, so that another part of its rest frame is seen, makes it fainter, takes pixels away and
bends the flux calibration. Two views of one object must lead to one latent vector; what the object truly is beyond a view,
where that is known, the decoder learns to fill in.

References:
    Liang et al. (2023), arXiv:2302.02496 (latent vectors that do not follow the redshift).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...simulate.spectra.instrument import Instrument, observe
from .rest import FIRST, PIXELS, STEP

BLUE, WIDTH = 3600.0, 2304
"""What a view sees: from so many Å, observed, so many of the grid's pixels: to 10 400 Å."""
SHIFT = 0.16
"""A view moves an object by up to this in log10(1 + z); stars stay where they are."""
NEAR = 0.01
"""Redshift below which an object counts as a star in this."""
COVERED = 0.5
"""A view keeps at least this part of what it would see of the object where it is."""
JITTER = 0.7
"""Pixels, sigma, by which a view's redshift is off."""
SNR = (0.4, 60.0)
"""Least and greatest mean signal-to-noise ratio per pixel of views."""
MOST = 1e10
"""Inverse variance, in units of an object's mean flux, beyond which a pixel is none."""
MISJUDGED = 0.15
"""Scatter of ln(ivar) about the truth: surveys know their noise to a tenth."""


@dataclass(frozen=True)
class Corpus:
    """Known spectra on the rest-frame grid, on one device.

    Attributes:
        flux: (n, PIXELS) in any float type; NaN where nothing is known.
        variance: (n, PIXELS) of the flux; inf where nothing is known. None if the flux is noiseless.
        z: (n,) redshifts.
        shapes: (m, WIDTH) errors of real spectra over the observed window, for views of noiseless ones; see `simulate.spectra`.
    """

    flux: Tensor
    variance: Tensor | None
    z: Tensor
    shapes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.flux)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return flux (0 where nothing is known) and variance (inf there) of some spectra, in single precision, and their redshifts."""
        flux = self.flux[rows].float()
        variance = torch.zeros_like(flux) if self.variance is None else self.variance[rows].float()
        known = torch.isfinite(flux) & torch.isfinite(variance)
        return torch.where(known, flux, 0.0), torch.where(known, variance, torch.inf), self.z[rows]

    @classmethod
    def concatenate(cls, parts: Sequence[Corpus]) -> Corpus:
        """Return the spectra of several noisy corpora."""
        empty = torch.empty(0, PIXELS)
        flux = torch.cat([empty, *(part.flux for part in parts)])
        variance = torch.cat([empty, *(part.variance for part in parts if part.variance is not None)])
        return cls(flux, variance, torch.cat([empty[:, 0], *(part.z for part in parts)]))

    def to(self, device: str) -> Corpus:
        """Return the corpus on another device."""
        planes = (None if plane is None else plane.to(device) for plane in (self.flux, self.variance, self.z, self.shapes))
        return Corpus(*planes)  # type: ignore[arg-type]


def noiseless(flux: Tensor, z: Tensor, first: float, shapes: Tensor | None = None) -> Corpus:
    """Return the corpus of noiseless spectra on an observed grid of the rest frame's step, moved by whole pixels.

    Args:
        flux: (n, pixel), any float type, which is kept; NaN where there is none. Wider than the window of a view, so that views may move.
        z: (n,) redshifts.
        first: log10 of the first pixel's centre, Å.
        shapes: see `Corpus`.
    """
    moved = torch.full((len(flux), PIXELS), torch.nan, dtype=flux.dtype, device=flux.device)
    starts = torch.round((first - torch.log10(1 + z.double()) - FIRST) / STEP).long().tolist()
    for row, start in enumerate(starts):
        begin, end = max(start, 0), min(start + flux.shape[1], PIXELS)
        moved[row, begin:end] = flux[row, begin - start : end - start]
    return Corpus(moved, None, z, shapes)


def view(corpus: Corpus, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return objects as seen anew: flux and ivar (row, PIXELS), both 0 where nothing is seen.

    Args:
        corpus: noiseless spectra are observed by an instrument drawn for each; noisy ones become noisier, and lose pixels.
        rows: (row,) which objects.
        generator: of random numbers, on the corpus's device.
    """
    flux, variance, z = corpus.take(rows)
    known = torch.isfinite(variance)
    pixel = torch.arange(PIXELS, device=flux.device)

    def window(shift: Tensor) -> tuple[Tensor, Tensor]:
        start = torch.round((math.log10(BLUE) - torch.log10(1 + z) - shift - FIRST) / STEP).long()[:, None]
        return start, known & (pixel >= start) & (pixel < start + WIDTH)

    shift = torch.where(z > NEAR, SHIFT, 0.0) * (2 * torch.rand(len(z), generator=generator, device=z.device) - 1)
    # An object of which too little would be left is seen where it is.
    enough = window(shift)[1].sum(dim=1) >= COVERED * window(torch.zeros_like(shift))[1].sum(dim=1)
    start, here = window(torch.where(enough, shift, 0.0))
    if corpus.variance is None:
        seen, ivar = _observed(flux, start, corpus.shapes, generator)
    else:
        seen, ivar = _fainter(flux, variance, here, generator)
    ivar = ivar * torch.exp(MISJUDGED * torch.randn(len(z), 1, generator=generator, device=z.device))
    # Where next to nothing is seen of an object, its errors may be nothing, too.
    here &= (ivar > 0) & (ivar < MOST) & torch.isfinite(seen)
    return torch.where(here, seen, 0.0), torch.where(here, ivar, 0.0)


def observed_grid() -> np.ndarray:
    """Return (WIDTH,) wavelengths of a view's window, Å."""
    return np.asarray(BLUE * 10 ** (STEP * np.arange(WIDTH)))


def _observed(flux: Tensor, start: Tensor, shapes: Tensor | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return what instruments make of noiseless spectra whose windows begin at the pixels `start`, (row, 1)."""
    place = start + torch.arange(WIDTH, device=flux.device)
    inside = (place >= 0) & (place < PIXELS)
    drawn = torch.where(inside, flux.gather(1, place.clamp(0, PIXELS - 1)), 0.0)
    seen = observe(drawn, observed_grid(), generator, Instrument(snr=SNR), shapes)
    off = torch.round(JITTER * torch.randn(start.shape, generator=generator, device=flux.device)).long()
    back = torch.arange(PIXELS, device=flux.device) - start - off
    there = (back >= 0) & (back < WIDTH)
    back = back.clamp(0, WIDTH - 1)
    return torch.where(there, seen.flux.gather(1, back), 0.0), torch.where(there, seen.ivar.gather(1, back), 0.0)


def _fainter(flux: Tensor, variance: Tensor, here: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return noisy spectra with noise added, and without a stretch of their pixels."""
    rows, device = len(flux), flux.device
    chance = torch.rand(rows, 4, generator=generator, device=device)
    level = torch.where(here, flux, torch.nan).nanmedian(dim=1, keepdim=True).values.nan_to_num().abs()
    typical = torch.where(here, variance, torch.nan).nanmedian(dim=1, keepdim=True).values.nan_to_num(nan=1.0).clamp_min(1e-30)
    # As the noise is distributed over the pixels, so is what is added; half of the views are as bright as they were.
    snr = SNR[0] * (SNR[1] / SNR[0]) ** chance[:, :1]
    wanted = torch.where(chance[:, 1:2] < 0.5, (level / snr).square() / typical, 0.0)
    added = torch.where(here, variance, 0.0) * (wanted - 1).clamp_min(0.0)
    noise = added.sqrt() * torch.randn(flux.shape, generator=generator, device=device)
    middle, reach = chance[:, 2:3] * PIXELS, 0.03 * PIXELS * chance[:, 3:]
    left = (torch.arange(PIXELS, device=device) - middle).abs() > reach
    return flux + noise, torch.where(here & left, 1.0 / (torch.where(here, variance, 1.0) + added), 0.0)
