"""Training of conditional flows and ratio networks on simulations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...networks.conditional_flow import FlowEnsemble
from ...networks.determinism import seeded
from ...networks.ratio import RatioNetwork
from ...networks.train import History, Recipe, fit
from ..models.load import ARCHITECTURES
from .data import Batches, Simulations, Split
from .scaling import DataScaling, ParameterScaling
from .summaries.tune import Tuned

FLOW, RATIO = "conditional flow", "ratio"
"""What is trained, as `models.load` names its architectures."""
Network = FlowEnsemble | RatioNetwork
CACHE = 1 << 30
"""Bytes of data up to which all of them are kept in memory, scaled; of more, each minibatch is read."""
VALIDATION = 4096
"""Simulations, at most, that a validation looks at."""
WARMUP, MEMORY, AVERAGE = 0.15, 0.99, 0.995
PATIENCE = 10
"""Validations, of some thirty, without gain after which training ends: simple posteriors are learnt soon, and then learnt by heart."""
MINIBATCHES, SMALLEST = 20, 32
"""Few simulations are cut into so many minibatches, of at least so many: weights need steps to learn at all."""


@dataclass(frozen=True)
class Settings:
    """What is trained, and how.

    Attributes:
        architecture: `FLOW` or `RATIO`.
        network: what it is built with beside the lengths of parameters and data.
        epochs: times that each member sees all simulations.
        batch: simulations, at most, that each member sees in a step.
        learning_rate: at its highest.
        weight_decay: of AdamW.
    """

    architecture: str
    network: Mapping[str, Any]
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        architecture: `FLOW` or `RATIO`, or the name of a plugin's stage.
        network: in evaluation mode, a `Network` or a plugin's.
        config: what it was built with.
        history: of the training.
        tuning: of flows that were then tuned together with the network whose summaries they hear.
    """

    architecture: str
    network: nn.Module
    config: dict[str, Any]
    history: History
    tuning: Tuned | None = None


class Pairs:
    """Parameters and data of simulations as networks see them, by row.

    Args:
        simulations: all of them.
        parameters, data: their scales.
        rng: places the values of categorical parameters within their cells.
        device: where the pairs are wanted.
    """

    def __init__(
        self,
        simulations: Simulations,
        parameters: ParameterScaling,
        data: DataScaling,
        rng: np.random.Generator,
        device: Literal["cpu", "cuda"],
    ) -> None:
        self._simulations, self._scaling, self._device = simulations, data, device
        z = parameters.to_flow(simulations.theta, rng.random(simulations.theta.shape))
        self.theta = torch.from_numpy(np.ascontiguousarray(z.T, np.float32)).to(device)
        self.data = None
        if simulations.bytes <= CACHE:
            everything = np.zeros((int(data.varies.sum()), len(simulations)), np.float32)
            for rows in simulations.blocks(np.flatnonzero(simulations.usable)):
                everything[:, rows] = self._read(rows)
            self.data = torch.from_numpy(everything).to(device)

    def __call__(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return (member, parameter, row) and (member, feature, row) of (member, row) rows."""
        if self.data is None:
            data = torch.from_numpy(self._read(rows.ravel())).to(self._device).unflatten(1, rows.shape)
        else:
            data = self.data[:, torch.from_numpy(rows).to(self._device)]
        theta = self.theta[:, torch.from_numpy(rows).to(self._device)]
        return theta.transpose(0, 1).contiguous(), data.transpose(0, 1).contiguous()

    def _read(self, rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(self._scaling(self._simulations.take(rows).reshape(len(rows), -1)).T)


def train(
    pairs: Pairs,
    split: Split,
    settings: Settings,
    *,
    of_data: bool,
    seed: int,
    device: Literal["cpu", "cuda"],
    progress: Callable[[int, int], None],
    log: Callable[[str], None],
    checkpoint: Path | None = None,
    build: Callable[..., FlowEnsemble] | None = None,
) -> Trained:
    """Train an ensemble and return its weights where they were best: of flows the mixture, of ratios the members on average.

    Args:
        pairs: parameters and data by row.
        split: rows to learn from and to validate on; those of training stand in for none of validation.
        settings: what is trained, and how.
        of_data: learn the density of data given parameters, the likelihood (or its ratio to the evidence), rather than that of
            parameters given data.
        seed: of the first weights and of the order of simulations.
        device, progress, log, checkpoint: see `networks.train.fit`.
        build: another flow with the same interface, for comparisons.
    """

    def asked(rows: np.ndarray) -> tuple[Tensor, Tensor]:
        theta, data = pairs(rows)
        return (data, theta) if of_data else (theta, data)

    held = (split.validation if len(split.validation) else split.training)[None, :VALIDATION]
    features, context = (part.shape[1] for part in asked(held[:, :1]))
    config: dict[str, Any] = {"features": features, "context": context, **settings.network}
    with seeded(seed):
        network = cast(Network, (build or ARCHITECTURES[settings.architecture])(**config))
    size = min(settings.batch, max(len(split.training) // MINIBATCHES, SMALLEST))
    batches = Batches(split.training, size, network.members, seed)
    held_back = asked(held)

    def validation(net: nn.Module) -> Mapping[str, float]:
        with torch.autocast(device, enabled=False):
            if isinstance(net, RatioNetwork):
                return {"contrast": float(net.contrast(*held_back))}
            mixture = torch.logsumexp(net(*held_back), dim=0) - np.log(network.members)
        return {"surprise": float(-mixture.mean())}

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        with torch.autocast(device, enabled=False):
            return {"contrast": net.contrast(*batch)} if isinstance(net, RatioNetwork) else {"surprise": -net(*batch).mean()}

    steps = settings.epochs * batches.epoch
    recipe = Recipe(
        steps,
        settings.learning_rate,
        warmup=WARMUP,
        weight_decay=settings.weight_decay,
        memory=MEMORY,
        average=AVERAGE,
        every=max(10, min(2 * batches.epoch, steps // 20)),
        patience=PATIENCE,
        best=True,
        fused=True,
    )
    trained, history = fit(
        network,
        lambda step: asked(batches(step)),
        loss,
        recipe,
        validation=validation,
        device=device,
        progress=progress,
        log=log,
        checkpoint=checkpoint,
    )
    if isinstance(trained, FlowEnsemble) and len(split.validation):
        trained.widen(*(part.cpu() for part in held_back))
    return Trained(settings.architecture, trained, config, history)
