"""What training minimises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ....networks.bayes import BayesLinear
from ....networks.spectrum import Answer, SpectrumEnsemble
from .posterior import BINS, STAR_BINS, bin_of, given_parent


def losses(answers: Sequence[Answer], coarse: Sequence[Tensor], fine: Sequence[Tensor], z: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the terms of the loss, each a mean over members and spectra.

    Args:
        answers: of each member.
        coarse, fine, z: for each member, (row,) as in `augment.Batch`.
    """
    rows = [terms(*each) for each in zip(answers, coarse, fine, z, strict=True)]
    return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}


def terms(answer: Answer, coarse: Tensor, fine: Tensor, z: Tensor) -> dict[str, Tensor]:
    """Return the terms of one member's loss: cross entropies of the coarse class, of the fine one given it, and of class and redshift."""
    known = (fine >= 0).to(z.dtype)
    of_fine = given_parent(answer.fine).gather(1, fine.clamp(min=0)[:, None])[:, 0]
    return {
        "coarse": functional.cross_entropy(answer.coarse, coarse),
        "fine": -(of_fine * known).sum() / known.sum().clamp(min=1),
        "redshift": _of_redshift(answer, coarse, z),
    }


def _of_redshift(answer: Answer, coarse: Tensor, z: Tensor) -> Tensor:
    """Return the cross entropy of the bins; a redshift between two bins' middles is shared by both."""
    logs = torch.cat([answer.star, answer.redshift.flatten(1)], dim=1).log_softmax(dim=1)
    place = bin_of(torch.nan_to_num(z))
    last = torch.where(coarse == 0, STAR_BINS, BINS) - 1
    known = torch.isfinite(z) & (coarse <= 2) & (place >= 0) & (place <= last)
    low = place.floor().clamp(min=0).minimum((last - 1).to(place.dtype))
    part = (place - low).clamp(0, 1)
    first = torch.where(coarse == 0, 0, STAR_BINS + BINS * (coarse - 1).clamp(0, 1)) + low.long()
    shared = (1 - part) * logs.gather(1, first[:, None])[:, 0] + part * logs.gather(1, first[:, None] + 1)[:, 0]
    weight = known.to(logs.dtype)
    return -(shared * weight).sum() / weight.sum().clamp(min=1)


def divergence(network: SpectrumEnsemble) -> Tensor | None:
    """Return the mean over members of the divergence of their Bayesian layers; None if they have none."""
    layers = [layer for layer in network.modules() if isinstance(layer, BayesLinear)]
    return torch.stack([layer.divergence() for layer in layers]).sum() / len(network) if layers else None
