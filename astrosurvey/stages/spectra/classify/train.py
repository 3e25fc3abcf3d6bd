"""Training the networks of `spectra.classify`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ....networks.determinism import seeded
from ....networks.spectrum import SpectrumEnsemble
from ....networks.train import History, Recipe, fit
from ..classes import COARSE, FINE
from .assess import Scores, assess, verdicts
from .augment import Batch, harder
from .examples import Source, taken
from .features import CHANNELS, features
from .grid import PIXELS
from .losses import divergence, losses
from .posterior import BINS, KINDS, Calibration

QUANTILES = 65
"""Knots of the distribution of distances on the card."""
STUDIED = 20_000
"""Most spectra from which the scatter of the latent values is learnt."""
WATCHED = 2000
"""Most spectra kept back on which training is watched."""

_ROWS = 500


@dataclass(frozen=True)
class Trained:
    """Trained networks and what is known of them."""

    network: SpectrumEnsemble
    config: dict[str, Any]
    history: History
    calibration: Calibration
    distances: list[float]
    """Quantiles, evenly from 0 to 1, of the mean distance of known spectra that were kept back."""
    scores: Scores
    shares: dict[str, float]
    """Of the coarse classes among the spectra kept back."""


def build(members: int, *, bayesian: bool, seed: int, width: int = 32, dropout: float = 0.1) -> tuple[SpectrumEnsemble, dict[str, Any]]:
    """Return new networks and the config they are built with."""
    config: dict[str, Any] = {
        "members": members,
        "channels": len(CHANNELS),
        "pixels": PIXELS,
        "bins": BINS,
        "coarse": len(COARSE),
        "fine": len(FINE),
        "width": width,
        "groups": len(FINE) + len(KINDS),
        "dropout": dropout,
        "bayesian": bayesian,
    }
    with seeded(seed):
        return SpectrumEnsemble(**config), config


def train(
    source: Source,
    kept_back: Batch,
    *,
    start: tuple[SpectrumEnsemble, dict[str, Any]],
    recipe: Recipe,
    batch: int,
    seed: int,
    device: Literal["cpu", "cuda"],
    progress: Callable[[int, int], None] = lambda done, total: None,
    log: Callable[[str], None] = lambda line: None,
    checkpoint: Path | None = None,
) -> Trained:
    """Train networks, each on spectra of its own, and calibrate and judge them.

    Args:
        source: of spectra to learn from.
        kept_back: to validate, calibrate and judge on.
        start: networks and their config; changed in place.
        recipe: steps and rates.
        batch: spectra that each member sees in a step.
        seed: of the examples and of dropout.
        device, progress, log, checkpoint: see `networks.train.fit`.
    """
    network, config = start
    watched = [taken(kept_back, slice(begin, begin + _ROWS)) for begin in range(0, min(len(kept_back), WATCHED), _ROWS)]

    def take(step: int) -> list[Batch]:
        with torch.autocast(device, enabled=False), torch.no_grad():
            return drawn(source, step, seed=seed, rows=batch, members=len(network), device=device)

    def loss(net: nn.Module, parts: list[Batch]) -> Mapping[str, torch.Tensor]:
        return ensemble_losses(net, parts, weight=1 / max(1, recipe.steps * batch))

    def validation(net: nn.Module) -> Mapping[str, float]:
        return watch(net, watched, device)

    with seeded(seed):
        trained, history = fit(
            network, take, loss, recipe, validation=validation, device=device, progress=progress, log=log, checkpoint=checkpoint
        )
    assert isinstance(trained, SpectrumEnsemble)
    trained.to(device)
    learn_groups(trained, drawn(source, recipe.steps, seed=seed, rows=min(STUDIED, len(kept_back) * 4), members=1, device=device)[0])
    found = verdicts(trained, kept_back)
    calibration, scores = assess(found)
    distances = known_distances(trained, kept_back)
    shares = {name: float((kept_back.coarse == k).double().mean()) for k, name in enumerate(COARSE)}
    return Trained(trained.cpu(), config, history, calibration, distances, scores, shares)


def drawn(source: Source, step: int, *, seed: int, rows: int, members: int, device: str) -> list[Batch]:
    """Return each member's batch of a step.

    Depends on source, step and seed alone.
    """
    draw = torch.Generator(device)
    draw.manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1)[0]))
    whole = harder(source.batch(rows * members, draw), draw)
    return [taken(whole, slice(k * rows, (k + 1) * rows)) for k in range(members)]


def ensemble_losses(network: nn.Module, parts: list[Batch], weight: float) -> dict[str, torch.Tensor]:
    """Return the terms of the loss.

    Args:
        network: a SpectrumEnsemble.
        parts: a batch for each member.
        weight: of the divergence of Bayesian layers: one over the number of spectra they learn from.
    """
    assert isinstance(network, SpectrumEnsemble)
    answers = [member(_channels(part)) for member, part in zip(network, parts, strict=True)]
    out = losses(answers, [part.coarse for part in parts], [part.fine for part in parts], [part.z for part in parts])
    kl = divergence(network)
    return out if kl is None else {**out, "divergence": weight * kl}


def watch(network: nn.Module, parts: list[Batch], device: str) -> dict[str, float]:
    """Return the mean terms of the loss on spectra kept back."""
    assert isinstance(network, SpectrumEnsemble)
    rows = []
    with torch.inference_mode():
        for part in parts:
            terms = ensemble_losses(network, [part.to(torch.device(device))] * len(network), 0.0)
            rows.append({name: float(term) for name, term in terms.items()})
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "divergence"}


def learn_groups(network: SpectrumEnsemble, known: Batch) -> None:
    """Teach networks where the latent values of spectra of known kinds lie, of each fine class and of the rest of each coarse one."""
    known = taken(known, known.coarse < len(KINDS))
    group = torch.where(known.fine >= 0, known.fine, len(FINE) + known.coarse)
    with torch.no_grad():
        for member in network:
            latent = torch.cat([member(_channels(part)).latent for part in _pieces(known)])
            member.learn_groups(latent, group)


def known_distances(network: SpectrumEnsemble, kept_back: Batch) -> list[float]:
    """Return quantiles of the distances of known spectra."""
    known = taken(kept_back, kept_back.coarse < len(KINDS)).to(next(network.parameters()).device)
    with torch.inference_mode():
        parts = [torch.stack([m.distance(m(_channels(part)).latent) for m in network]).mean(dim=0) for part in _pieces(known)]
    if not parts:
        return [0.0, 1.0]
    distance = torch.cat(parts).double()
    return [float(value) for value in np.quantile(distance.cpu().numpy(), np.linspace(0, 1, QUANTILES))]


def _channels(part: Batch) -> torch.Tensor:
    with torch.autocast(part.flux.device.type, enabled=False):
        return features(part.flux, part.ivar)


def _pieces(batch: Batch) -> list[Batch]:
    return [taken(batch, slice(begin, begin + _ROWS)) for begin in range(0, len(batch), _ROWS)]
