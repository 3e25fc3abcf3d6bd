"""Training of moment networks: the loss that pre-trains summaries, and gives means and standard deviations by the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....core.stage import Context
from ....networks.determinism import chance, seeded, threads
from ....networks.summaries.build import moment_network
from ....networks.summaries.moments import moment_loss
from ....networks.summaries.symmetries import Symmetry, moved
from ....networks.train import History, Recipe, fit
from ..data import Batches, Simulations, Split
from ..scaling import ParameterScaling
from .scale import FieldScaling

VALIDATION = 2048
"""Simulations, at most, that a validation looks at."""


def train(
    ctx: Context,
    simulations: Simulations,
    split: Split,
    scaling: FieldScaling,
    config: Mapping[str, Any],
    *,
    symmetry: Symmetry,
    epochs: int,
    batch: int,
    learning_rate: float,
    seed: int,
) -> tuple[nn.Module, History]:
    """Return a trained network and the history of its training.

    Args:
        ctx: device, progress, log and checkpoint.
        simulations: all of them; read as they are needed.
        split: rows to learn from and to validate on.
        scaling: of the data.
        config: what `moment_network` builds.
        symmetry: under which the data mean the same; each minibatch is seen in a random position.
        epochs: times that all simulations are seen.
        batch: simulations in a step.
        learning_rate: at its highest.
        seed: of weights, order and positions.
    """
    with seeded(seed):
        network = moment_network(**config)
    truth = torch.from_numpy(np.ascontiguousarray(ParameterScaling(simulations.prior).to_flow(simulations.theta), np.float32))
    batches = Batches(split.training, batch, 1, seed)
    held = (split.validation if len(split.validation) else split.training)[:VALIDATION]
    together = min(batch, simulations.at_once)

    def read(rows: np.ndarray) -> Tensor:
        return torch.from_numpy(scaling(simulations.take(rows))).to(ctx.device)

    def seen(step: int) -> tuple[Tensor, Tensor]:
        rows = batches(step)[0]
        return moved(read(rows), symmetry, chance(seed, step)), truth[rows].to(ctx.device)

    def loss(net: Any, seen: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        data, answer = seen
        mean, spread = net(data)
        net.remember(answer, mean.float())
        return moment_loss(answer, mean.float(), spread.float())

    def validation(net: nn.Module) -> Mapping[str, float]:
        # In blocks, for data may be large; the loss is one of all of them, as its logarithms are of means.
        said = [net(read(rows)) for rows in np.array_split(held, -(-len(held) // together))]
        mean, spread = (torch.cat(parts).float() for parts in zip(*said, strict=True))
        return {name: float(term) for name, term in moment_loss(truth[held].to(mean.device), mean, spread).items()}

    steps = epochs * batches.epoch
    recipe = Recipe(steps, learning_rate, every=max(1, steps // 20), best=True)
    with threads(1):
        return fit(
            network,
            seen,
            loss,
            recipe,
            validation=validation,
            device=ctx.device,
            progress=ctx.progress,
            log=ctx.log.info,
            checkpoint=Path(ctx.checkpoint) if ctx.checkpoint is not None else None,
        )
