"""The networks over a block of spectra, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ....networks.determinism import seeded, threads
from ....networks.spectrum import Answer, SpectrumEnsemble
from ....products import Spectra
from ..classes import COARSE, FINE
from .features import features
from .grid import on_grid
from .posterior import PEAKS, Calibration, calibrated, peaks, pooled

ROWS = 128
"""Spectra at a time: more no longer fit a core's cache, fewer leave it waiting."""
ROWS_ON_GPU = 2048
TOGETHER = 8
"""Spectra that share a seed where answers are drawn; a batch is a multiple of it, so that its size changes no draw."""


@dataclass(frozen=True)
class Predictions:
    """What networks say of spectra.

    Attributes:
        coarse, coarse_err: (n, coarse class) float32, probabilities and their scatter over members and draws.
        fine, fine_err: (n, fine class), the same of the fine classes.
        distance: (n,) from what the networks were trained on, mean over members.
        z, z_err, z_probability: (n, peak) float64, peaks of the redshift's posterior, the highest first.
        z_class: (n, peak) int64, index into `posterior.KINDS`.
        coverage: (n,) part of the networks' pixels that were usable.
    """

    coarse: np.ndarray
    coarse_err: np.ndarray
    fine: np.ndarray
    fine_err: np.ndarray
    distance: np.ndarray
    z: np.ndarray
    z_err: np.ndarray
    z_probability: np.ndarray
    z_class: np.ndarray
    coverage: np.ndarray


def predict(
    network: SpectrumEnsemble,
    spectra: Spectra,
    calibration: Calibration,
    *,
    samples: int,
    seed: int,
    device: Literal["cpu", "cuda"],
    precision: torch.dtype,
    batch: float = 1.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """Run networks over spectra.

    Args:
        network: as `networks.spectrum.folded` returns it, on `device`, in `precision`.
        spectra: on any grid.
        calibration: of the networks.
        samples: how often each member answers under dropout, or with weights drawn anew; 0 for once, with neither.
        seed: of that.
        device: where the network is.
        precision: of the network's weights.
        batch: fraction of the usual number of spectra at a time.
        progress: called with (done, total).
    """
    total = len(spectra.flux)
    count = TOGETHER * max(1, int((ROWS_ON_GPU if device == "cuda" else ROWS) * batch) // TOGETHER)
    parts = []
    # One thread: the pieces are too small to share, and so the results are those of any machine. Cores are for tiles.
    with torch.inference_mode(), threads(1):
        for begin in range(0, total, count):
            flux, ivar = on_grid(spectra, slice(begin, begin + count), device)
            x = features(torch.from_numpy(flux).to(device), torch.from_numpy(ivar).to(device)).to(precision)
            parts.append((*_answered(network, x, calibration, samples, seed + begin), (ivar > 0).mean(axis=1)))
            progress(min(begin + count, total), total)
    if not parts:
        return _nothing()
    return Predictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _answered(network: SpectrumEnsemble, x: torch.Tensor, calibration: Calibration, samples: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return all but the last of `Predictions`."""
    encoded = [member.encode(x) for member in network]
    answers = _drawn(network, encoded, samples, seed) if samples else [m.read(each) for m, each in zip(network, encoded, strict=True)]
    pool = pooled(answers)
    coarse, fine, redshift = calibrated(pool, calibration)
    best = peaks(redshift, calibration)
    distance = torch.stack([m.distance(each[0].float()) for m, each in zip(network, encoded, strict=True)]).mean(dim=0)
    found = (coarse, pool.spread, fine, pool.fine_spread, distance, *(plane.double() for plane in best[:3]), best.kind)
    return tuple(plane.cpu().numpy() for plane in found)


def _drawn(network: SpectrumEnsemble, encoded: Sequence[tuple[torch.Tensor, ...]], samples: int, seed: int) -> list[Answer]:
    """Return `samples` answers of each member, under dropout or with weights drawn anew."""
    pieces = []
    for member in network:
        member.sample = True
    for begin in range(0, len(encoded[0][0]), TOGETHER):
        rows = slice(begin, begin + TOGETHER)
        with seeded(seed + begin):
            some = [(latent[rows], star[rows], redshift[rows]) for latent, star, redshift in encoded]
            pieces.append([member.read(each) for member, each in zip(network, some, strict=True) for _ in range(samples)])
    for member in network:
        member.sample = False
    return [Answer(*(torch.cat(planes) for planes in zip(*answers, strict=True))) for answers in zip(*pieces, strict=True)]


def _nothing() -> Predictions:
    coarse, fine, peak = np.zeros((0, len(COARSE))), np.zeros((0, len(FINE))), np.zeros((0, PEAKS))
    none = np.zeros(0)
    return Predictions(coarse, coarse, fine, fine, none, peak, peak, peak, peak.astype(np.int64), none)
