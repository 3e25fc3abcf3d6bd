"""Principal components of spectra of which parts are missing: where the decoder begins.

References:
    Yip et al. (2004), AJ 128, 2603 (eigenspectra of rest frames that are seen in part, by filling in and repeating).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ....networks.determinism import seeded
from .corpus import Corpus

OBJECTS = 3000
ROUNDS = 8
STRONGEST = 20.0
"""Fluxes are cut at this many times a spectrum's mean, lest a few lines take all components."""


@torch.no_grad()
def principal(corpus: Corpus, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean spectrum (pixel,), and (count, pixel) components times their standard deviation.

    Args:
        corpus: known objects; evenly many of all are used.
        count: of components; those that fewer objects cannot tell are 0.
    """
    rows = torch.linspace(0, len(corpus) - 1, min(OBJECTS, len(corpus)), device=corpus.z.device).long()
    flux, variance, _ = corpus.take(rows)
    known = torch.isfinite(variance)
    level = torch.where(known, flux, 0).sum(dim=1, keepdim=True).abs() / known.sum(dim=1, keepdim=True).clamp_min(1) + 1e-20
    flux = (flux / level).clamp(-STRONGEST, STRONGEST)
    mean = torch.where(known, flux, 0).sum(dim=0) / known.sum(dim=0).clamp_min(1)
    mean = torch.where(known.any(dim=0), mean, 1.0)
    filled = torch.where(known, flux, mean)
    components = flux.new_zeros(count, flux.shape[1])
    for step in range(ROUNDS):
        # Few components first: where little is known, many would follow the noise.
        rank = min(max(4, count * (step + 1) // ROUNDS), *filled.shape, count)
        with seeded(step):  # the projection is random
            u, s, v = torch.svd_lowrank(filled - mean, q=rank, niter=2)
        filled = torch.where(known, flux, mean + (u * s) @ v.T)
        mean = filled.mean(dim=0)
        components = torch.zeros_like(components)
        components[:rank] = (s / len(filled) ** 0.5)[:, None] * v.T
    return mean, components
