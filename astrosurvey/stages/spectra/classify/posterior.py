"""From the networks' logits to calibrated probabilities, and to the peaks of the redshift's posterior.

The members' probabilities are averaged first and brought to the right confidence then, by one temperature for each
head. The posterior is the product of what the class is and what the redshift is if it is that class.

References:
    Guo et al. (2017), arXiv:1706.04599 (temperatures); Rahaman & Thiery (2021), arXiv:2007.08792 (averaged first, calibrated then).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ....networks.spectrum import BEFORE, STRIDE, Answer
from ..classes import COARSE, FINE, coarse_of
from .grid import FINE_STEP

BIN = math.log(10) * STRIDE * 2 * FINE_STEP
"""Width of the redshift's bins in ln(1 + z): 552 km/s."""
BINS = 1136
"""Of galaxies and quasars: up to z = 7.03."""
STAR_BINS = 2 * BEFORE + 1
KINDS = COARSE[:3]
"""Classes with a redshift, in the order of their bins: star, galaxy, quasar."""
PARENT = tuple(COARSE.index(coarse_of(label)) for label in FINE)
"""Coarse class of each fine one."""
PEAKS = 5
REACH = 6
"""Bins to either side of a peak that belong to it: 3300 km/s."""

QUASAR_SHIFT = 3.3e-4
"""Scatter of quasars' redshifts from line to line, in ln(1 + z): 100 km/s, which simulations lack.

Reference: Hewett & Wild (2010), MNRAS 405, 2302.
"""

_FLOOR = 1e-30
_UNKNOWN = COARSE.index("unknown")


@dataclass(frozen=True)
class Calibration:
    """What was learnt on spectra kept back.

    Attributes:
        coarse, fine, redshift: temperatures of the heads; above 1 the networks are less sure than they say.
        error_scale: factor on the errors of redshifts.
        error_floor: smallest error, in ln(1 + z), added in quadrature.
        quasar_shift: added in quadrature for quasars, whose lines are displaced against each other.
        unknown: factor on the odds of being unknown, which is rarer among real spectra than in training.
    """

    coarse: float = 1.0
    fine: float = 1.0
    redshift: float = 1.0
    error_scale: float = 1.0
    error_floor: float = 0.0
    quasar_shift: float = 0.0
    unknown: float = 1.0

    def to_card(self) -> dict[str, float]:
        """Return the calibration as JSON values."""
        return {name: round(float(value), 6) for name, value in vars(self).items()}

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Calibration:
        """Return the calibration that a card holds."""
        return replace(cls(), **{name: float(card[name]) for name in vars(cls())})


class Pooled(NamedTuple):
    """The members' probabilities averaged, as logarithms.

    Attributes:
        coarse: (row, coarse class).
        fine: (row, fine class), each given its coarse class.
        redshift: (row, bin) given the class: STAR_BINS of stars, BINS of galaxies, BINS of quasars.
        spread: (row, coarse class) standard deviation of the members' probabilities.
        fine_spread: (row, fine class) of those of fine classes, not given their coarse one.
    """

    coarse: Tensor
    fine: Tensor
    redshift: Tensor
    spread: Tensor
    fine_spread: Tensor


class Peaks(NamedTuple):
    """The highest peaks of the posterior; (row, PEAKS) each.

    Attributes:
        z: mean within the peak.
        z_err: standard deviation within the peak.
        probability: mass of the peak; all classes' bins, and the classes without a redshift, sum to 1.
        kind: index into KINDS.
    """

    z: Tensor
    z_err: Tensor
    probability: Tensor
    kind: Tensor


def given_parent(fine: Tensor) -> Tensor:
    """Return log probabilities of the fine classes given their coarse ones, from logits (row, fine class)."""
    out = torch.empty_like(fine)
    for parent in sorted(set(PARENT)):
        own = [k for k, other in enumerate(PARENT) if other == parent]
        out[:, own[0] : own[-1] + 1] = fine[:, own[0] : own[-1] + 1].log_softmax(dim=1)
    return out


def pooled(answers: Sequence[Answer]) -> Pooled:
    """Return what the members say together; each of `answers` is a member's, or one of its draws."""
    coarse = torch.stack([answer.coarse.log_softmax(dim=1) for answer in answers])
    fine = torch.stack([given_parent(answer.fine) for answer in answers])
    parents = list(PARENT)
    star = torch.stack([answer.star.softmax(1) for answer in answers]).mean(dim=0)
    others = torch.stack([answer.redshift.softmax(2) for answer in answers]).mean(dim=0)
    both = (coarse[:, :, parents] + fine).exp()
    single = len(answers) < 2
    return Pooled(
        _mean(coarse),
        _mean(fine),
        torch.cat([star, others.flatten(1)], dim=1).clamp(min=_FLOOR).log(),
        torch.zeros_like(coarse[0]) if single else coarse.exp().std(dim=0),
        torch.zeros_like(both[0]) if single else both.std(dim=0),
    )


def calibrated(pool: Pooled, calibration: Calibration) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities.

    Returns:
        coarse: (row, coarse class), sum 1.
        fine: (row, fine class), of being in the class; they sum to the probability of being a star, galaxy or quasar.
        redshift: (row, bin) as in `Pooled`, of being of the class and in the bin.
    """
    coarse = pool.coarse / calibration.coarse
    coarse[:, _UNKNOWN] += math.log(calibration.unknown)
    coarse = coarse.softmax(dim=1)
    fine = given_parent(pool.fine / calibration.fine).exp() * coarse[:, list(PARENT)]
    pieces = (pool.redshift / calibration.redshift).split([STAR_BINS, BINS, BINS], dim=1)
    redshift = torch.cat([piece.softmax(dim=1) * coarse[:, k, None] for k, piece in enumerate(pieces)], dim=1)
    return coarse, fine, redshift


def peaks(redshift: Tensor, calibration: Calibration) -> Peaks:
    """Return the highest peaks of posteriors as `calibrated` returns them; peaks are local maxima that are REACH bins apart."""
    room = redshift.new_zeros((len(redshift), REACH))
    star, galaxy, quasar = redshift.split([STAR_BINS, BINS, BINS], dim=1)
    height = torch.cat([room, star, room, galaxy, room, quasar, room], dim=1)
    kind, place = _layout(redshift.device)
    tops = torch.nn.functional.max_pool1d(height[:, None], 3, 1, 1)[:, 0]
    candidates = torch.where(height >= tops, height, 0.0)
    around = torch.arange(-REACH, REACH + 1, device=redshift.device)
    found = []
    for _ in range(PEAKS):
        top = candidates.argmax(dim=1, keepdim=True).clamp(REACH, height.shape[1] - REACH - 1)
        window = top + around
        part = height.gather(1, window).clamp(min=_FLOOR)
        mass = part.sum(dim=1)
        offset = (part @ around.to(part.dtype)) / mass
        variance = (part @ around.square().to(part.dtype)) / mass - offset.square()
        # A spike between two bins is shared by both, which is no error of its own.
        between = offset - offset.floor()
        width = (variance - between * (1 - between)).clamp(min=0).sqrt() * BIN * calibration.error_scale
        whose = kind[top[:, 0]]
        shift = calibration.quasar_shift * (whose == KINDS.index("quasar"))
        error = (width.square() + calibration.error_floor**2 + shift.square()).sqrt()
        z = torch.expm1((place[top[:, 0]] + offset) * BIN)
        found.append((z, error * (1 + z), mass.clamp(max=1.0), whose))
        candidates.scatter_(1, window, 0.0)
        height = height.scatter(1, window, 0.0)
    return Peaks(*(torch.stack(columns, dim=1) for columns in zip(*found, strict=True)))


def bin_of(z: Tensor) -> Tensor:
    """Return the place of redshifts among the bins of one class; whole numbers are the middles of bins."""
    return torch.log1p(z) / BIN + BEFORE


def _layout(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return class and place (bins from redshift 0) of each column of the padded posterior; 0 where there is padding."""
    kind, place = [torch.zeros(REACH, dtype=torch.int64)], [torch.zeros(REACH)]
    for number, bins in enumerate((STAR_BINS, BINS, BINS)):
        kind += [torch.full((bins + REACH,), number, dtype=torch.int64)]
        place += [torch.arange(bins + REACH, dtype=torch.float32) - BEFORE]
    return torch.cat(kind).to(device), torch.cat(place).to(device)


def _mean(logs: Tensor) -> Tensor:
    return torch.logsumexp(logs, dim=0) - math.log(len(logs))
