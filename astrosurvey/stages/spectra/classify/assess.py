"""What trained networks are worth: temperatures, errors of redshifts and scores, on spectra that training did not see."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ....networks.spectrum import SpectrumEnsemble
from ...evaluate.spectra.calibration import calibration_error, calibration_scatter
from ..classes import COARSE, FINE
from .augment import Batch
from .examples import taken
from .features import features
from .posterior import (
    BINS,
    QUASAR_SHIFT,
    STAR_BINS,
    Calibration,
    Pooled,
    bin_of,
    calibrated,
    given_parent,
    peaks,
    pooled,
)

ROWS = 256
CLOSE, FAR = 0.0033, 0.05
"""In |dz| / (1 + z): a redshift within the first is right, beyond the second it is catastrophic."""

Scores = dict[str, tuple[float, float]]
"""Name -> value, standard error."""


@dataclass(frozen=True)
class Verdicts:
    """What the networks say of labelled spectra, before calibration.

    Attributes:
        pool: of all spectra.
        coarse, fine, z: labels, as in `augment.Batch`.
    """

    pool: Pooled
    coarse: Tensor
    fine: Tensor
    z: Tensor

    def take(self, rows: slice) -> Verdicts:
        """Return some of them."""
        return Verdicts(Pooled(*(plane[rows] for plane in self.pool)), self.coarse[rows], self.fine[rows], self.z[rows])


def verdicts(network: SpectrumEnsemble, examples: Batch) -> Verdicts:
    """Return what networks say of examples, on the network's device.

    Args:
        network: in evaluation mode.
        examples: on any device.
    """
    device = next(network.parameters()).device
    pools = []
    with torch.inference_mode():
        for begin in range(0, len(examples), ROWS):
            part = taken(examples, slice(begin, begin + ROWS)).to(device)
            pools.append(Pooled(*(plane.cpu() for plane in pooled(network(features(part.flux, part.ivar))))))
    together = Pooled(*(torch.cat(planes) for planes in zip(*pools, strict=True)))
    return Verdicts(together, examples.coarse.cpu(), examples.fine.cpu(), examples.z.cpu())


def assess(found: Verdicts) -> tuple[Calibration, Scores]:
    """Return the calibration, learnt on all spectra, and scores: those of each half under what the other one taught."""
    halves = [found.take(slice(k, None, 2)) for k in (0, 1)]
    known = [calibrate(half) for half in halves]
    parts = [judge(halves[1], known[0]), judge(halves[0], known[1])]
    return calibrate(found), {name: _together([part[name] for part in parts if name in part]) for name in {**parts[0], **parts[1]}}


def calibrate(found: Verdicts) -> Calibration:
    """Return temperatures of maximum likelihood, and what makes the redshifts' errors right.

    The errors are scaled and floored so that 68.3 % of the right redshifts lie within one and 95.4 % within two of them.
    """
    pool = found.pool
    coarse = _temperature(pool.coarse, found.coarse)
    labelled = found.fine >= 0
    fine = _fine_temperature(pool.fine[labelled], found.fine[labelled])
    redshift = _redshift_temperature(found)
    first = Calibration(coarse, fine, redshift, quasar_shift=QUASAR_SHIFT)
    error, width = _errors(found, first)
    if len(error) < 50:
        return first
    best = min(
        ((scale, floor) for scale in np.geomspace(0.3, 3.0, 41) for floor in np.geomspace(1e-5, 1e-3, 31)),
        key=lambda pair: _misfit(error, np.hypot(width * pair[0], pair[1])),
    )
    return replace(first, error_scale=float(best[0]), error_floor=float(best[1]))


def judge(found: Verdicts, calibration: Calibration) -> Scores:
    """Return scores of calibrated answers."""
    coarse, fine, _ = calibrated(found.pool, calibration)
    right, sure = (coarse.argmax(dim=1) == found.coarse).numpy(), coarse.amax(dim=1).numpy()
    scores = {"coarse_accuracy": _fraction(right), "coarse_ece": (calibration_error(sure, right), calibration_scatter(sure))}
    for k, name in enumerate(COARSE):
        mine = (found.coarse == k).numpy()
        if mine.any():
            scores[f"{name}_accuracy"] = _fraction(right[mine])
    labelled = found.fine >= 0
    if labelled.any():
        told = fine[labelled].argmax(dim=1)
        true = found.fine[labelled]
        diagonal = [_fraction((told[true == k] == k).numpy()) for k in range(len(FINE)) if (true == k).any()]
        scores["fine_accuracy"] = (
            float(np.mean([value for value, _ in diagonal])),
            float(np.sqrt(sum(error**2 for _, error in diagonal)) / len(diagonal)),
        )
        scores["fine_least_accuracy"] = min(diagonal)
    error, width = _errors(found, calibration)
    if len(error):
        sigma = np.hypot(width * calibration.error_scale, calibration.error_floor)
        scores["redshift_right"] = _fraction(np.abs(error) < CLOSE)
        scores["redshift_catastrophic"] = _fraction(np.abs(error) > FAR)
        close = np.abs(error) < CLOSE
        scores["redshift_within_1_sigma"] = _fraction((np.abs(error) < sigma)[close])
        scores["redshift_within_2_sigma"] = _fraction((np.abs(error) < 2 * sigma)[close])
    return scores


def _errors(found: Verdicts, calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of galaxies' and quasars' redshifts, in ln(1 + z), and the widths of their peaks before calibration."""
    mine = torch.isfinite(found.z) & ((found.coarse == 1) | (found.coarse == 2))
    pool = Pooled(*(plane[mine] for plane in found.pool))
    plain = replace(calibration, error_scale=1.0, error_floor=0.0, quasar_shift=0.0)
    best = peaks(calibrated(pool, plain)[2], plain)
    z = found.z[mine].double()
    error = torch.log1p(best.z[:, 0].double()) - torch.log1p(z)
    return error.numpy(), (best.z_err[:, 0] / (1 + best.z[:, 0])).numpy()


def _misfit(error: np.ndarray, sigma: np.ndarray) -> float:
    close = np.abs(error) < CLOSE
    pull = np.abs(error[close]) / sigma[close]
    return float((np.mean(pull < 1) - 0.683) ** 2 + (np.mean(pull < 2) - 0.954) ** 2)


def _together(values: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the mean of independent scores with its error."""
    return sum(value for value, _ in values) / len(values), math.hypot(*(error for _, error in values)) / len(values)


def _temperature(logs: Tensor, labels: Tensor) -> float:
    return _best(lambda t: _entropy(logs / t, labels))


def _entropy(logits: Tensor, labels: Tensor) -> float:
    return float(torch.nn.functional.cross_entropy(logits, labels))


def _fine_temperature(logs: Tensor, labels: Tensor) -> float:
    if not len(labels):
        return 1.0
    return _best(lambda t: float(-given_parent(logs / t).gather(1, labels[:, None]).mean()))


def _redshift_temperature(found: Verdicts) -> float:
    """Return the temperature of the bins given the class; a redshift between two bins is in either."""
    place = bin_of(torch.nan_to_num(found.z))
    mine = torch.isfinite(found.z) & ((found.coarse == 1) | (found.coarse == 2)) & (place >= 0) & (place < BINS - 1)
    if not mine.any():
        return 1.0
    pieces = found.pool.redshift.split([STAR_BINS, BINS, BINS], dim=1)
    logs = torch.where((found.coarse == 1)[:, None], pieces[1], pieces[2])[mine]
    low = place[mine].long()[:, None]

    def cost(t: float) -> float:
        every = (logs / t).log_softmax(dim=1)
        return float(-torch.logaddexp(every.gather(1, low), every.gather(1, low + 1)).mean())

    return _best(cost)


def _best(cost: Callable[[float], float]) -> float:
    """Return the temperature of the least cost."""
    found = minimize_scalar(lambda log_t: cost(math.exp(log_t)), bounds=(-2.0, 2.0), method="bounded", options={"xatol": 1e-3})
    return float(math.exp(found.x))


def _fraction(values: np.ndarray) -> tuple[float, float]:
    if not len(values):
        return math.nan, math.nan
    p = float(values.mean())
    return p, math.sqrt(max(p * (1 - p), 1e-6) / len(values))


def columns(scores: Mapping[str, tuple[float, float]]) -> str:
    """Return scores as lines of text."""
    return "\n".join(f"{name:28s} {value:.4f} +- {error:.4f}" for name, (value, error) in scores.items())
