"""Training the deblending network on simulated blends, and finding out what it is worth on others."""

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
from ....networks.unet import UNet
from . import masks
from .examples import Examples, batch

COUNT = 32
"""Stamps in a batch."""
BRIGHT = 30.0
"""Signal to noise from which fluxes are judged."""
JUDGED = 16
"""Batches by which the network is watched and judged."""


@dataclass(frozen=True)
class Trained:
    """A trained network and what is known of it."""

    network: UNet
    config: dict[str, Any]
    history: History
    scores: Mapping[str, tuple[float, float]]
    """Name -> value, standard error, on the tiles kept back."""


def train(
    tiles: Sequence[Examples],
    kept_back: Sequence[Examples],
    *,
    recipe: Recipe,
    widths: Sequence[int],
    seed: int,
    device: Literal["cpu", "cuda"],
    progress: Callable[[int, int], None],
    log: Callable[[str], None],
    checkpoint: Path | None = None,
) -> Trained:
    """Train the network on scenes, and judge it on others.

    Args:
        tiles: to learn from.
        kept_back: to validate and judge on.
        recipe: steps and rates.
        widths: channels of the network's levels.
        seed: of the first weights, of the examples and of dropout.
        device, progress, log, checkpoint: see `networks.train.fit`.
    """
    config: dict[str, Any] = {
        "in_channels": len(masks.CHANNELS),
        "heads": [list(head) for head in masks.HEADS],
        "widths": list(widths),
        "dropout": 0.0,
    }
    with seeded(seed):
        network = UNet(**config)
    with torch.no_grad():  # it begins by changing nothing
        network.head.weight.mul_(0.1)
    held = [batch(kept_back, step, seed=seed + 1, count=COUNT) for step in range(JUDGED)]

    def moved(one: Any) -> Any:
        return masks.Planes(*(plane.to(device) for plane in one[0])), {name: tensor.to(device) for name, tensor in one[1].items()}

    def take(step: int) -> Any:
        return moved(batch(tiles, step, seed=seed, count=COUNT))

    def validation(net: nn.Module) -> Mapping[str, float]:
        with torch.inference_mode():
            rows = [masks.loss(net, moved(one)) for one in held[: JUDGED // 4]]
        return {name: float(np.mean([float(row[name]) for row in rows])) for name in rows[0]}

    with seeded(seed):
        trained, history = fit(
            network, take, masks.loss, recipe, validation=validation, device=device, progress=progress, log=log, checkpoint=checkpoint
        )
    assert isinstance(trained, UNet)
    return Trained(trained, config, history, judge(trained, held))


@torch.inference_mode()
def judge(network: UNet, batches: Sequence[tuple[masks.Planes, Mapping[str, torch.Tensor]]]) -> dict[str, tuple[float, float]]:
    """Return the errors of fluxes, of the network and of the templates it began with, and of shares, each with its standard error."""
    errors: list[np.ndarray] = []
    before: list[np.ndarray] = []
    bright, overlap = [], []
    for seen, truth in batches:
        change, gain = masks.maps(network, masks.channels(seen))
        part, plain = masks.share(seen.own, seen.total, change), masks.share(seen.own, seen.total, torch.zeros_like(change))
        for found, maps in ((errors, (part, gain)), (before, (plain, torch.zeros_like(gain)))):
            guess = masks.measured(seen, *maps, truth["whole"])
            found.append((guess / truth["flux"] - 1).abs().numpy())
        bright.append((truth["flux"] > BRIGHT * truth["flux_err"]).numpy())
        both = (torch.minimum(part, truth["fraction"]) * seen.total).sum((1, 2))
        either = (torch.maximum(part, truth["fraction"]) * seen.total).sum((1, 2)).clamp_min(1e-6)
        overlap.append((both / either).numpy())
    error, templates, is_bright, iou = (np.concatenate(values) for values in (errors, before, bright, overlap))
    return {
        "flux_error": _mean(error[is_bright]),
        "flux_error_of_templates": _mean(templates[is_bright]),
        "mask_overlap": _mean(iou),
    }


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard error; NaN where there is nothing."""
    return (float(values.mean()), float(values.std() / np.sqrt(len(values)))) if len(values) else (np.nan, np.nan)
