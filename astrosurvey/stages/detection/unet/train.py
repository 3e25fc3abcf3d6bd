"""Training the detection network on simulated tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ....networks.determinism import seeded
from ....networks.train import History, Recipe, fit
from ....networks.unet import STEM, UNet
from ....products import Model
from ...models.load import to_unet
from .assess import assess
from .calibrate import Calibration
from .examples import Scene, batch
from .features import CHANNELS
from .targets import FAINTEST, HEADS, losses

SIZE, COUNT = 192, 8
"""Side of the squares in a batch, pixels, and their number."""
RARE = -4.0
"""Logit of the centre map before training."""


@dataclass(frozen=True)
class Trained:
    """A trained network and what is known of it."""

    network: UNet
    config: dict[str, Any]
    history: History
    calibration: Calibration
    scores: Mapping[str, tuple[float, float]]
    """Name -> value, standard error, on the tiles kept back."""


def train(
    scenes: Sequence[Scene],
    kept_back: Sequence[Scene],
    *,
    start: Model | None,
    recipe: Recipe,
    widths: Sequence[int],
    purity: float,
    seed: int,
    device: Literal["cpu", "cuda"],
    progress: Callable[[int, int], None],
    log: Callable[[str], None],
    checkpoint: Path | None = None,
) -> Trained:
    """Train the network on scenes, and calibrate and judge it on others.

    Args:
        scenes: to learn from.
        kept_back: to validate, calibrate and judge on.
        start: whose weights to start from; None starts from random ones.
        recipe: steps and rates.
        widths: channels of the levels of a network that starts from random weights.
        purity: see `calibrate`.
        seed: of the first weights, of the examples and of dropout.
        device, progress, log, checkpoint: see `networks.train.fit`.
    """
    config: dict[str, Any] = {
        "in_channels": len(scenes[0].seen.maps) * len(CHANNELS) // 2,
        "heads": [list(head) for head in HEADS],
        "widths": list(widths),
    }
    if start is None:
        with seeded(seed):
            network = UNet(**config)
        with torch.no_grad():  # sources are rare; told so, the network does not spend its first steps on learning it
            network.head.bias[: STEM**2] = RARE  # type: ignore[index]
    else:
        network, config = to_unet(start), dict(start.config)
    held = [batch(list(kept_back), step, seed=seed + 1, size=SIZE, count=COUNT, faintest=FAINTEST) for step in range(4)]

    def take(step: int) -> Any:
        x, targets = batch(list(scenes), step, seed=seed, size=SIZE, count=COUNT, faintest=FAINTEST)
        return x.to(device), {name: target.to(device) for name, target in targets.items()}

    def loss(net: nn.Module, examples: Any) -> Mapping[str, torch.Tensor]:
        return losses(net(examples[0]), examples[1])

    def validation(net: nn.Module) -> Mapping[str, float]:
        with torch.inference_mode():
            rows = [losses(net(x.to(device)), {name: t.to(device) for name, t in targets.items()}) for x, targets in held]
        return {name: float(np.mean([float(row[name]) for row in rows])) for name in rows[0]}

    with seeded(seed):
        trained, history = fit(
            network, take, loss, recipe, validation=validation, device=device, progress=progress, log=log, checkpoint=checkpoint
        )
    assert isinstance(trained, UNet)
    calibration, scores = assess(trained, kept_back, purity)
    return Trained(trained, config, history, calibration, scores)
