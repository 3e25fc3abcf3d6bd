"""Trained estimators of posteriors as Model products, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import nn

from ...core.stage import Context, DataError
from ...products import Model, Observations
from ..models.load import ARCHITECTURES, to_network, to_weights
from .calibration.check import Calibration
from .calibration.misspecification import Detector, Seen, among_weights, parted
from .data import Simulations
from .estimator import Estimator, PosteriorFlow
from .likelihood import LikelihoodFlow, LikelihoodRatio
from .priors import Prior, same_unit
from .rounds.marginals import MarginalRatio
from .scaling import DataScaling, ParameterScaling
from .sets import alike
from .summaries import model as moments
from .summaries.blocks import summarised
from .summaries.normal import NormalPosterior
from .train import FLOW, RATIO, Trained

TASK = "posterior"
"""What the card of a model for `sbi.posterior` says under `task`."""
METHODS: dict[str, tuple[str, Callable[..., Estimator]]] = {
    "sbi.npe": (FLOW, PosteriorFlow),
    "sbi.nle": (FLOW, LikelihoodFlow),
    "sbi.nre": (RATIO, LikelihoodRatio),
    "sbi.tmnre": (RATIO, MarginalRatio),
}
"""By the stage that trained it, the network's architecture, and what answers."""
SUMMARY = "summary"
"""Where the card of a model that summarises raw data by itself says how."""
NEEDS = ("method", "prior", "data", "calibration")
_SCALING, _SUMMARY = "scaling.", "summary_network."


@dataclass(frozen=True, eq=False)
class Opened:
    """A model that is ready to answer.

    Attributes:
        estimator: of posteriors.
        method: the stage that trained it.
        shape: of the data of one observation.
        names, units: of the features; may be empty.
        calibration: whether its posteriors mean what they say.
        simulator: name of the simulator; "" if nobody knows.
        detector: tells data unlike the simulations; None where no simulation was kept back.
        network: of whose answers the estimator takes a part in place of data; None where it takes the data themselves.
    """

    estimator: Estimator
    method: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    units: tuple[str, ...]
    calibration: Calibration
    simulator: str
    detector: Detector | None
    network: moments.Summariser | None = None

    @property
    def sets(self) -> bool:
        """Whether data are (row, column), and a row in which a value is missing is none."""
        return self.network is not None and self.network.sets

    def heard(self, ctx: Context, data: np.ndarray) -> tuple[np.ndarray, Seen]:
        """Return (m, …) float32 what the estimator takes of (m, …) data, and what the detector does."""
        if self.network is None:
            x = np.asarray(data, np.float32)
            return x, Seen(x)
        names = tuple(f"output_{k}" for k in range(self.network.length))
        outputs = summarised(ctx, Observations(data, np.arange(len(data))), names, self.network.outputs, sets=self.network.sets).data
        x, summary = self.network.inputs(outputs)
        # Rows of sets have no order, and what is learnt of their features one by one would mean nothing.
        return x, Seen(self.network.data.with_sizes(summary, data) if self.network.sets else data, summary)

    def require(self, observations: Observations) -> None:
        """Raise `DataError` unless the observations are of the kind that the model was trained on."""
        require_alike(observations, self.shape, self.names, self.units, sets=self.sets)

    def doubt(self, observations: Observations) -> str:
        """Return what `require` cannot see: the order of features of which one side has no names; "" where there is nothing to doubt."""
        if self.shape[-1] == 1 or bool(observations.names) == bool(self.names):
            return ""
        mute, named = ("the simulator does", observations.names) if observations.names else ("the observations do", self.names)
        return f"{mute} not name the features, so nobody has checked that they are {', '.join(named)}, in this order"


def require_alike(
    observations: Observations, shape: tuple[int, ...], names: tuple[str, ...], units: tuple[str, ...], *, sets: bool = False
) -> None:
    """Raise `DataError` unless an observation has the shape, and the features and units, where both sides say, of a simulation.

    Of sets only the columns count.
    """
    if observations.names and names and observations.names != names:
        raise DataError(
            f"the observations' features are {', '.join(observations.names)}, and the model was trained on {', '.join(names)}, in this "
            "order: name the columns that are meant where observations are read, or simulate these"
        )
    there = observations.data.shape[1:]
    if not alike(there, shape, sets=sets):
        raise DataError(f"an observation has the shape {there}, and the model was trained on {shape}: observe what was simulated")
    for name, ours, theirs in zip(observations.names or names, observations.units, units, strict=False):
        if ours and theirs and not same_unit(ours, theirs):
            raise DataError(
                f"{name!r} is observed in {ours!r}, and the model was trained on {theirs!r}: convert it, or simulate in {ours!r}"
            )


def to_model(
    trained: Trained,
    method: str,
    simulations: Simulations,
    data: DataScaling,
    calibration: Calibration,
    detector: Detector | None,
    training: Mapping[str, Any],
    network: moments.Summariser | None = None,
) -> Model:
    """Return what was trained as a Model; its weights in single precision, since narrow posteriors need their digits.

    Args:
        trained: the network.
        method: the stage that trained it.
        simulations: that it was trained on.
        data: their scaling.
        calibration: on simulations that were kept back.
        detector: learnt from the simulations.
        training: what the card shall say of it.
        network: whose summaries it was trained on; None where it has seen the data themselves.
    """
    weights = to_weights(trained.network)
    weights |= {f"{_SCALING}{name}": array for name, array in data.to_arrays().items()}
    weights |= among_weights(detector)
    summary: dict[str, Any] = {}
    if network is not None:
        summary = {SUMMARY: network.to_card()}
        weights |= {f"{_SUMMARY}{name}": array for name, array in to_weights(network.network).items()}
    card = {
        "task": TASK,
        "method": method,
        "title": f"Posteriors of {', '.join(simulations.prior.names)} by {method}",
        "prior": simulations.prior.to_json(),
        "simulator": simulations.simulator,
        "data": {"shape": list(simulations.shape), "names": list(simulations.names), "units": list(simulations.units)},
        "training": dict(training),
        "calibration": calibration.to_card(),
        "limits": "posteriors are right, if at all, for data that the simulator could have made with parameters from the prior",
        "licence": "that of the simulations",
        **summary,
    }
    return Model(trained.architecture, trained.config, weights, card)


def opened(model: Model, device: Literal["cpu", "cuda"]) -> Opened:
    """Return a model that is ready to answer.

    Raises:
        DataError: it is for another task, or lacks something.
    """
    card = model.card
    if card.get("task") == moments.TASK:
        return _of_moments(model, device)
    if card.get("task") != TASK:
        raise DataError(f"the model is for {card.get('task', 'something')!r}, not for {TASK!r}: wire the output of a stage such as sbi.npe")
    if missing := [key for key in NEEDS if key not in card]:
        raise DataError(f"the model's card says nothing of {', '.join(missing)}: wire a model as the stage that trains it writes it")
    architecture, build, answers = _method(card["method"])
    try:
        data = DataScaling.from_arrays(_those(model, _SCALING))
    except KeyError as error:
        raise DataError(f"the model lacks {_SCALING}{error.args[0]}: wire a model as the stage that trains it writes it") from error
    detector, others = parted(model.weights)
    weights = {name: array for name, array in others.items() if not name.startswith((_SCALING, _SUMMARY))}
    if model.architecture != architecture:
        raise DataError(f"the model is of the architecture {model.architecture!r}, and {card['method']} is one of a {architecture}")
    network = to_network(Model(model.architecture, model.config, weights, card), build)
    estimator = answers(network, ParameterScaling(Prior.from_json(card["prior"])), data, device)
    shape, names, units = (tuple(card["data"].get(key, ())) for key in ("shape", "names", "units"))
    calibration = Calibration.from_card(card["calibration"])
    hears = moments.Summariser.from_card(card[SUMMARY], _those(model, _SUMMARY), device) if SUMMARY in card else None
    return Opened(estimator, card["method"], shape, names, units, calibration, _simulator(model), detector, hears)


def _of_moments(model: Model, device: Literal["cpu", "cuda"]) -> Opened:
    """Return a moment network as what it also is, an estimator of normal posteriors."""
    network, card = moments.opened(model, device), model.card
    calibration = Calibration.from_card(card["calibration"])
    names, units = (tuple(card.get(key, ())) for key in ("names", "units"))
    estimator = NormalPosterior(network.parameters)
    return Opened(estimator, "sbi.moments", network.shape, names, units, calibration, _simulator(model), parted(model.weights)[0], network)


def _simulator(model: Model) -> str:
    return str(model.card.get("simulator", {}).get("name", ""))


def _those(model: Model, prefix: str) -> dict[str, np.ndarray]:
    """Return the weights whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in model.weights.items() if name.startswith(prefix)}


def _method(name: str) -> tuple[str, Callable[..., nn.Module], Callable[..., Estimator]]:
    """Return the architecture that a stage trains, what builds it and what answers, of a stage of ours or a plugin's.

    Raises:
        DataError: there is no such stage.
    """
    from ...plugins import load

    if name in METHODS:
        architecture, answers = METHODS[name]
        return architecture, ARCHITECTURES[architecture], answers
    estimators = load().estimators
    if name not in estimators:
        known = ", ".join((*METHODS, *estimators))
        raise DataError(f"the model's card names the method {name!r}, which is not known here ({known}); is a plugin missing?")
    build, answers = estimators[name]()
    return name, build, answers
