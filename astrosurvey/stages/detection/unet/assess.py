"""What a trained network is worth: its scores calibrated, and its catalogues judged, on tiles it has not seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ....networks.unet import UNet, folded
from ...evaluate.match import one_to_one
from .calibrate import RADIUS, Calibration, calibrate
from .decode import CANDIDATE, Peaks
from .examples import Scene
from .predict import predict
from .targets import FAINTEST

FIRM = 5.0
"""Signal to noise from which a true source counts in the completeness."""


def assess(network: UNet, scenes: Sequence[Scene], purity: float) -> tuple[Calibration, dict[str, tuple[float, float]]]:
    """Return a network's calibration, and its scores by name with standard errors.

    The calibration is learnt on all scenes. The scores are those of each half under what was learnt on the other one.

    Args:
        network: in evaluation mode.
        scenes: that it was not trained on.
        purity: see `calibrate.calibrate`.
    """
    found = list(detect(network, scenes))
    halves = [(scenes[k::2], found[k::2]) for k in (0, 1)]
    judged: list[tuple[Sequence[Scene], list[Peaks]]] = []
    for (learn, answers), (test, others) in ((halves[0], halves[1]), (halves[1], halves[0])):
        known = learnt(learn or test, answers or others, purity)
        judged.append((test, [sure(one, every, known) for one, every in zip(test, others, strict=True)]))
    tested = [one for test, _ in judged for one in test]
    return learnt(scenes, found, purity), judge(tested, [some for _, chosen in judged for some in chosen])


def learnt(scenes: Sequence[Scene], found: Sequence[Peaks], purity: float) -> Calibration:
    """Return the calibration that these detections teach."""
    real = [real_ones(scene, source) for scene, source in zip(scenes, found, strict=True)]
    conditions = [np.tile(scene.seen.mean_conditions, (len(source.x), 1)) for scene, source in zip(scenes, found, strict=True)]
    return calibrate(np.concatenate([f.score for f in found]), np.concatenate(real), np.concatenate(conditions), purity)


def detect(network: UNet, scenes: Iterable[Scene]) -> Iterator[Peaks]:
    """Yield what the network finds on scenes, down to candidates."""
    ready = folded(network)
    for one in scenes:
        maps = predict(
            ready, one.seen, window=1024, samples=0, seed=0, device="cpu", precision=torch.float32, progress=lambda done, total: None
        )
        yield maps.peaks(CANDIDATE)


def sure(scene: Scene, found: Peaks, calibration: Calibration) -> Peaks:
    """Return the detections above the calibration's threshold."""
    return found.take(calibration(found.score, scene.seen.mean_conditions) >= calibration.threshold)


def real_ones(scene: Scene, found: Peaks) -> np.ndarray:
    """Return which detections are true sources, (n,) bool; the surest choose first, so doubtful ones change nothing for them."""
    objects = scene.objects
    bright = objects.snr > FAINTEST
    truth, places = np.stack([objects.x, objects.y], axis=1)[bright], np.stack([found.x, found.y], axis=1)
    return one_to_one(places, truth, found.score, RADIUS) >= 0


def judge(scenes: Sequence[Scene], found: Sequence[Peaks]) -> dict[str, tuple[float, float]]:
    """Return purity, completeness and the rest of catalogues, each with its standard error."""
    parts: dict[str, list[Any]] = {"real": [], "complete": [], "distance": [], "right": []}
    for scene, some in zip(scenes, found, strict=True):
        objects = scene.objects
        bright = np.flatnonzero(objects.snr > FAINTEST)
        truth, places = np.stack([objects.x, objects.y], axis=1)[bright], np.stack([some.x, some.y], axis=1)
        match = np.full(len(objects.x), -1, np.int64)
        match[bright] = one_to_one(truth, places, objects.snr[bright], RADIUS)
        hit, firm = match >= 0, objects.snr > FIRM
        parts["real"].append(np.isin(np.arange(len(some.x)), match[hit]))
        parts["complete"].append(hit[firm])
        both = hit & firm
        parts["distance"].append(np.hypot(some.x[match[both]] - objects.x[both], some.y[match[both]] - objects.y[both]))
        parts["right"].append((some.star[match[both]] > 0.5) == objects.star[both])
    joined: Mapping[str, np.ndarray] = {name: np.concatenate(values) for name, values in parts.items()}
    away = joined["distance"]
    return {
        "purity": _fraction(joined["real"]),
        "completeness": _fraction(joined["complete"]),
        "star_galaxy_accuracy": _fraction(joined["right"]),
        "position_error": (float(np.median(away)), float(1.2533 * away.std() / np.sqrt(len(away)))) if len(away) else (np.nan, np.nan),
    }


def _fraction(values: np.ndarray) -> tuple[float, float]:
    if not len(values):
        return np.nan, np.nan
    p = float(values.mean())
    return p, float(np.sqrt(max(p * (1 - p), 1e-6) / len(values)))
