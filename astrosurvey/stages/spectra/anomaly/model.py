"""From a Model product to all that `spectra.anomaly` needs, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ....core.stage import DataError
from ....networks.spectral_autoencoder import SpectralAutoencoder
from ....products import Model
from ...models import load
from .calibrate import Calibration
from .forest import Forest
from .rest import FIRST, PIXELS, STEP
from .stage import TASK
from .train import Trained


@dataclass(frozen=True)
class Known:
    """What is known of known spectra."""

    network: SpectralAutoencoder
    calibrations: Mapping[str, Calibration]
    forest: Forest


def opened(model: Model, device: Literal["cpu", "cuda"]) -> Known:
    """Return what a model knows, its network on the device.

    Raises:
        DataError: the model is for another task or of another grid, or lacks something.
    """
    if model.card.get("task") != TASK:
        raise DataError(
            f"the model is for {model.card.get('task', 'something')!r}, not for {TASK!r}: wire the output of spectra.train_anomaly"
        )
    if model.card.get("grid") != grid():
        raise DataError(f"the model's rest-frame grid is {model.card.get('grid')}, and this version's is {grid()}: train it again")
    if "calibrations" not in model.card:
        raise DataError("the model's card says nothing of its calibrations: wire a model as spectra.train_anomaly writes it")
    network = load.to_network(model)
    if not isinstance(network, SpectralAutoencoder):
        raise DataError(f"the model is of the architecture {model.architecture!r}, and this stage needs a spectral autoencoder")
    try:
        calibrations = {name: Calibration.from_card(card) for name, card in model.card["calibrations"].items()}
    except KeyError as error:
        raise DataError(f"the calibrations on the model's card lack {error}, as an older version wrote them: train it again") from error
    return known(network.to(device), calibrations)


def known(network: SpectralAutoencoder, calibrations: Mapping[str, Calibration]) -> Known:
    """Return what a network and its calibrations know."""
    return Known(network, calibrations, Forest(network.split_feature.cpu().numpy().copy(), network.split_value.cpu().numpy().copy()))


def grid() -> dict[str, float]:
    """Return the rest-frame grid as a card holds it."""
    return {"first": FIRST, "step": STEP, "pixels": PIXELS}


def to_model(trained: Trained, about: Mapping[str, Any], learning_rate: float) -> Model:
    """Return what was trained as a Model.

    Args:
        trained: the result of `train`.
        about: what the card shall say of the data.
        learning_rate: of the recipe.
    """
    card = {
        "task": TASK,
        "title": "Probabilistic autoencoder of stars, galaxies and quasars at rest",
        "inputs": "spectra with inverse variances, moved to rest and resampled to an even grid of log10(wavelength / Å)",
        "grid": grid(),
        "calibrations": {name: calibration.to_card() for name, calibration in trained.calibrations.items()},
        "trained_on": dict(about),
        "training": {"steps": trained.history.stopped, "learning_rate": learning_rate},
        "metrics": {name: {"value": round(v, 4), "error": round(e, 4)} for name, (v, e) in trained.scores.items()},
        "limits": "p-values are relative to the known objects it was trained on: real spectra that a simulation does not "
        "reproduce look strange too; the redshift must be right",
        "licence": "BSD-3-Clause",
    }
    return load.to_model(trained.network, "spectral autoencoder", trained.config, card)
