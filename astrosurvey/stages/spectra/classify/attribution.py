"""Why the networks give a class: how much each pixel, and each named line, adds to its log odds.

The comparison is the spectrum's own continuum, so what is told apart is what stands out of it.

References:
    Sundararajan, Taly & Yan (2017), arXiv:1703.01365 (integrated gradients).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....networks.spectrum import SpectrumEnsemble
from ..lines.linelist import LINES, Line
from ..velocity import LIGHT
from .features import continuum, features
from .grid import WAVE

STEPS = 24
WINDOW = {"broad": 5000.0, "balmer": 2500.0}
"""km/s to either side of a line that count as its own, by its kind; a pixel belongs to the nearest line."""
NARROW = 900.0
ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Attribution:
    """What speaks for one class in one spectrum.

    Attributes:
        weight: (pixel,) what each pixel adds to the log odds of the class, mean over members.
        lines: the same summed over the windows of named lines, by their labels, the strongest first; and `elsewhere`.
        odds: log odds of the class in the spectrum, and in its continuum.
    """

    weight: np.ndarray
    lines: Mapping[str, float]
    odds: tuple[float, float]


def attribution(network: SpectrumEnsemble, flux: np.ndarray, ivar: np.ndarray, label: int, z: float) -> Attribution:
    """Return integrated gradients of a class's log odds, from the continuum to the spectrum.

    Args:
        network: in evaluation mode, single precision, on the CPU.
        flux, ivar: (pixel,) on the networks' grid.
        label: index of the coarse class.
        z: redshift at which lines are looked for.
    """
    here, weight = torch.from_numpy(flux)[None], torch.from_numpy(ivar)[None]
    x = features(here, weight)
    plain = features(torch.where(weight > 0, continuum(here, weight), 0.0), weight, like=(here, weight))
    total = torch.zeros_like(x)
    for step in range(STEPS):
        point = (plain + (step + 0.5) / STEPS * (x - plain)).detach().requires_grad_(True)
        gradient = torch.autograd.grad(_odds(network, point, label), point)[0]
        total += gradient / STEPS
    with torch.no_grad():
        odds = float(_odds(network, x, label)), float(_odds(network, plain, label))
    weights = ((x - plain) * total).sum(dim=(0, 1, 2)).numpy()
    return Attribution(weights, by_line(weights, z), odds)


def by_line(weight: np.ndarray, z: float) -> dict[str, float]:
    """Return the weights summed over the windows of named lines, the strongest first, and what is left elsewhere."""
    owner = np.full(len(weight), -1)
    nearest = np.full(len(weight), np.inf)
    for number, line in enumerate(LINES):
        away = np.abs(WAVE / (line.wave * (1 + z)) - 1) * LIGHT
        mine = (away < _reach(line)) & (away < nearest)
        owner[mine], nearest[mine] = number, away[mine]
    sums = {LINES[k].label: float(weight[owner == k].sum()) for k in np.unique(owner[owner >= 0])}
    ordered = dict(sorted(sums.items(), key=lambda item: -abs(item[1])))
    return {**ordered, ELSEWHERE: float(weight[owner < 0].sum())}


def _reach(line: Line) -> float:
    return WINDOW.get(line.kind, NARROW)


def _odds(network: SpectrumEnsemble, x: Tensor, label: int) -> Tensor:
    """Return the mean over members of the log odds of a class."""
    logits = torch.stack([member(x).coarse[0] for member in network])
    others = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
    return (logits[:, label] - others.logsumexp(dim=1)).mean()
