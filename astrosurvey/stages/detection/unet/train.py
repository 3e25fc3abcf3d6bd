"""Training the detection network on simulated tiles, and finding out what it is worth on others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ....networks.determinism import seeded
from ....networks.train import History, Recipe, fit
from ....networks.unet import STEM, UNet, folded
from ...evaluate.match import one_to_one
from .calibrate import RADIUS, Calibration, calibrate
from .decode import Peaks, peaks
from .examples import Scene, batch
from .features import CHANNELS
from .predict import predict
from .targets import FAINTEST, HEADS, losses

CANDIDATE = 0.05
"""Score from which a peak takes part in the calibration."""
SIZE, COUNT = 192, 8
"""Side of the squares in a batch, pixels, and their number."""
RARE = -4.0
"""Logit of the centre map before training."""
FIRM = 5.0
"""Signal to noise from which a true source counts in the completeness on the card."""


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
        recipe: steps and rates.
        widths: channels of the network's levels.
        purity: see `calibrate`.
        seed: of the first weights, of the examples and of dropout.
        device, progress, log, checkpoint: see `networks.train.fit`.
    """
    config: dict[str, Any] = {
        "in_channels": len(scenes[0].seen.maps) * len(CHANNELS) // 2,
        "heads": [list(head) for head in HEADS],
        "widths": list(widths),
    }
    with seeded(seed):
        network = UNet(**config)
    with torch.no_grad():  # sources are rare; told so, the network does not spend its first steps on learning it
        network.head.bias[: STEM**2] = RARE  # type: ignore[index]
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
    found = list(detect(trained, kept_back))
    real = [matched(scene, source)[1] for scene, source in zip(kept_back, found, strict=True)]
    calibration = calibrate(np.concatenate([f.score for f in found]), np.concatenate(real), purity)
    return Trained(trained, config, history, calibration, judge(kept_back, found, calibration))


def detect(network: UNet, scenes: Iterable[Scene]) -> Iterable[Peaks]:
    """Yield what the network finds on scenes, down to candidates."""
    ready = folded(network)
    for one in scenes:
        maps = predict(
            ready, one.seen, window=1024, samples=0, seed=0, device="cpu", precision=torch.float32, progress=lambda done, total: None
        )
        yield peaks(maps.centre, maps.offset, maps.star, CANDIDATE)


def matched(scene: Scene, found: Peaks) -> tuple[np.ndarray, np.ndarray]:
    """Return the detection of every true object (-1 for none), and which detections are real."""
    objects = scene.objects
    bright = objects.snr > FAINTEST
    which = np.full(len(objects.x), -1, np.int64)
    which[bright] = one_to_one(
        np.stack([objects.x, objects.y], axis=1)[bright], np.stack([found.x, found.y], axis=1), objects.snr[bright], RADIUS
    )
    real = np.zeros(len(found.x), bool)
    real[which[which >= 0]] = True
    return which, real


def judge(scenes: Sequence[Scene], found: Sequence[Peaks], calibration: Calibration) -> dict[str, tuple[float, float]]:
    """Return purity, completeness and the rest at the calibrated threshold, each with its standard error."""
    real, complete, distance, right = [], [], [], []
    cut = calibration.least(calibration.threshold)
    for scene, every in zip(scenes, found, strict=True):
        some = every.take(every.score >= cut)
        which, ok = matched(scene, some)
        firm = scene.objects.snr > FIRM
        hit = firm & (which >= 0)
        real.append(ok)
        complete.append(which[firm] >= 0)
        distance.append(np.hypot(some.x[which[hit]] - scene.objects.x[hit], some.y[which[hit]] - scene.objects.y[hit]))
        right.append((some.star[which[hit]] > 0.5) == scene.objects.star[hit])
    away = np.concatenate(distance)
    return {
        "purity": _fraction(np.concatenate(real)),
        "completeness": _fraction(np.concatenate(complete)),
        "star_galaxy_accuracy": _fraction(np.concatenate(right)),
        "position_error": (float(np.median(away)), float(1.2533 * away.std() / np.sqrt(len(away)))) if len(away) else (np.nan, np.nan),
    }


def _fraction(values: np.ndarray) -> tuple[float, float]:
    if not len(values):
        return np.nan, np.nan
    p = float(values.mean())
    return p, float(np.sqrt(max(p * (1 - p), 1e-6) / len(values)))
