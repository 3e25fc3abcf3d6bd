"""The card of a model for `spectra.classify`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ....core.stage import DataError
from ....networks.spectrum import SpectrumEnsemble
from ....products import Metric, Model
from ...models.load import to_network
from ..classes import COARSE, FINE
from .posterior import Calibration

if TYPE_CHECKING:
    from .assess import Scores
    from .train import Trained

TASK = "spectra"
"""What the card of a model for these stages says under `task`."""
NEEDS = ("calibration", "distances", "classes", "trained_on")
"""What else it must hold."""
ARCHITECTURE = "spectrum"


def card(trained: Trained, trained_on: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card of trained networks.

    Args:
        trained: the networks.
        trained_on: what the data were.
        training: how they were trained, apart from what `trained` knows.
    """
    return {
        "task": TASK,
        "title": "Ensemble of networks for spectra: class and redshift",
        "inputs": "spectra with inverse variances, of any unit and grid; brought to steps of 2e-4 in log10(wavelength), 3600 to 9805 Å",
        "classes": {"coarse": list(COARSE), "fine": list(FINE)},
        "calibration": trained.calibration.to_card(),
        "distances": [round(value, 6) for value in trained.distances],
        "trained_on": {**trained_on, "shares": {name: round(value, 3) for name, value in trained.shares.items()}},
        "training": {"steps": trained.history.stopped, **training},
        "metrics": on_card(trained.scores),
        "limits": "trained on simulated spectra; probabilities are those of the simulation's mixture of classes and redshifts, in "
        "which each redshift in ln(1 + z) is as likely as another; stars of types without a fine class get the nearest one; "
        "resolution below that of SDSS is known only up to a factor of two",
        "licence": "BSD-3-Clause",
    }


def read(model: Model, unknown: float | None = None) -> tuple[Calibration, list[float]]:
    """Return what a card says of the calibration, and the quantiles of distances.

    Args:
        model: with the card.
        unknown: share of unknown spectra to expect; that of the training when None.

    Raises:
        DataError: the model is for something else, or its card lacks something.
    """
    if model.card.get("task") != TASK:
        raise DataError(f"the model is for {model.card.get('task', 'something')!r}, not for {TASK}: wire the output of spectra.train")
    missing = [key for key in NEEDS if key not in model.card]
    if missing:
        raise DataError(f"the model's card says nothing of {', '.join(missing)}: wire a model as spectra.train writes it")
    if model.card["classes"] != {"coarse": list(COARSE), "fine": list(FINE)}:
        raise DataError("the model was trained for other classes than those of this version: train it again with spectra.train")
    calibration = Calibration.from_card(model.card["calibration"])
    trained = float(model.card["trained_on"]["shares"]["unknown"])
    if unknown is not None and 0 < trained < 1:
        calibration = replace(calibration, unknown=unknown / (1 - unknown) * (1 - trained) / trained)
    return calibration, [float(value) for value in model.card["distances"]]


def to_ensemble(model: Model) -> SpectrumEnsemble:
    """Return the networks that a model describes.

    Raises:
        DataError: they are of another architecture, or the weights do not fit it.
    """
    network = to_network(model)
    if not isinstance(network, SpectrumEnsemble):
        raise DataError(f"the model is of the architecture {model.architecture!r}, and this stage needs {ARCHITECTURE!r}")
    return network


def on_card(scores: Scores) -> dict[str, dict[str, float]]:
    """Return scores as a card holds them; what could not be measured is left out."""
    return {name: {"value": round(v, 4), "error": round(e, 4)} for name, (v, e) in scores.items() if np.isfinite(v)}


def as_metrics(scores: Scores) -> tuple[Metric, ...]:
    """Return scores as metrics."""
    return tuple(Metric(name, v, error=e if np.isfinite(e) else None, unit="") for name, (v, e) in scores.items())
