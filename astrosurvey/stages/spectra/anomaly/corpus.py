"""Known spectra in their rest frame, and views of them as a spectrograph would see the same object again.

A view moves the object to another redshift, so that another part of its rest frame is seen, makes it fainter, takes pixels away and
bends the flux calibration. Two views of one object must lead to one latent vector; what the object truly is beyond a view,
where that is known, the decoder learns to fill in.

References:
    Liang et al. (2023), arXiv:2302.02496 (latent vectors that do not follow the redshift).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .rest import FIRST, PIXELS, STEP

BLUE, RED = np.log10(3600.0), np.log10(9800.0)
"""log10 of the observed range of a view, Å."""
SHIFT = 0.12
"""A view moves an object by up to this in log10(1 + z)."""
COVERED = 0.5
"""A view keeps at least this part of what its window would hold."""
SNR = (0.4, 80.0)
"""Median signal-to-noise ratios per pixel of views."""
CUT = 0.15
"""Up to this part of a view's window is cut off at each end."""
WAVES = 4
"""Cosines over the window of which smooth random functions are made."""


@dataclass(frozen=True)
class Corpus:
    """Known spectra on the rest-frame grid, on one device.

    Attributes:
        flux: (n, PIXELS) in any float type; NaN where nothing is known.
        variance: (n, PIXELS) of the flux; inf where nothing is known. None if the flux is noiseless.
        z: (n,) redshifts.
    """

    flux: Tensor
    variance: Tensor | None
    z: Tensor

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
        return Corpus(self.flux.to(device), None if self.variance is None else self.variance.to(device), self.z.to(device))


def from_observed(flux: Tensor, variance: Tensor | None, z: Tensor, first: float) -> Corpus:
    """Return the corpus of spectra on an observed grid of the rest frame's step, moved by whole pixels.

    Args:
        flux: (n, pixel), NaN where there is none.
        variance: (n, pixel); None if the flux is noiseless.
        z: (n,) redshifts.
        first: log10 of the first pixel's centre, Å.
    """
    start = torch.round((first - torch.log10(1 + z) - FIRST) / STEP).long()
    place = torch.arange(PIXELS, device=flux.device) - start[:, None]
    there = (place >= 0) & (place < flux.shape[1])
    place = place.clamp(0, flux.shape[1] - 1)
    moved = torch.where(there, flux.gather(1, place), torch.nan)
    spread = None if variance is None else torch.where(there, variance.gather(1, place), torch.inf)
    return Corpus(moved, spread, z)


def view(flux: Tensor, variance: Tensor, z: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return objects as seen anew: flux and ivar (row, PIXELS), both 0 where nothing is seen.

    Args:
        flux, variance: (row, PIXELS) what is known of them; variance inf where nothing is.
        z: (row,) their redshifts.
        generator: of random numbers, on the tensors' device.
    """
    rows, device = len(flux), flux.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(rows, *shape, generator=generator, device=device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(rows, *shape, generator=generator, device=device)

    known = torch.isfinite(variance)
    pixel = torch.arange(PIXELS, device=device)
    width = (RED - BLUE) / STEP

    def seen(shift: Tensor) -> tuple[Tensor, Tensor]:
        first = (BLUE - torch.log10(1 + z) - shift - FIRST) / STEP
        return first, known & (pixel >= first[:, None]) & (pixel < first[:, None] + width)

    shift = (2 * uniform() - 1) * SHIFT
    # Where little would be left of it, an object is seen at its own redshift.
    enough = seen(shift)[1].sum(dim=1) >= COVERED * seen(torch.zeros_like(shift))[1].sum(dim=1)
    first, here = seen(torch.where(enough, shift, 0.0))
    x = (pixel - first[:, None]) / width  # 0 to 1 over the window
    here &= (x >= CUT * uniform(1)) & (x < 1 - CUT * uniform(1))
    gap, gap_width = uniform(1), 0.05 * uniform(1) * (uniform(1) < 0.3)
    here &= ((x - gap).abs() > gap_width) & (uniform(PIXELS) > 0.02 * uniform(1))

    phase = torch.pi * x[:, None] * torch.arange(1, WAVES + 1, device=device)[:, None]
    waves = torch.cos(phase.clamp(0, WAVES * torch.pi))
    fall = torch.arange(1, WAVES + 1, device=device, dtype=flux.dtype).reciprocal()
    bend = torch.einsum("rw,rwp->rp", normal(WAVES) * 0.08 * fall, waves).exp()
    step = torch.where(x < 0.35 + 0.3 * uniform(1), 1.0, 1.0 + 0.03 * normal(1))
    true = flux * bend * step

    level = torch.where(here, flux, torch.nan).nanmedian(dim=1, keepdim=True).values.nan_to_num().abs().clamp_min(1e-12)
    snr = SNR[0] * (SNR[1] / SNR[0]) ** uniform(1)
    shape = torch.einsum("rw,rwp->rp", normal(WAVES) * 0.5 * fall, waves).exp()
    # Night-sky lines: a forest of noisier pixels towards the red, and some isolated ones.
    lines = (uniform(PIXELS) < 0.02 + 0.1 * (x > 0.6)) * 3 * uniform(PIXELS)
    noise = (level / snr).square() * shape * (1 + lines.square())
    added = (noise - torch.where(here, variance, 0.0)).clamp_min(0.0)
    total = torch.where(here, variance, 0.0) + added
    made = true + added.sqrt() * normal(PIXELS)
    # Surveys know their noise to a tenth.
    claimed = total * (0.1 * normal(1)).exp()
    here &= claimed > 0
    return torch.where(here, made, 0.0), torch.where(here, claimed.clamp_min(1e-30).reciprocal(), 0.0)
