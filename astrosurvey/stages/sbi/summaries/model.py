"""Trained moment networks, and networks that summarise alone: what their card says, and what they say of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ....core.stage import DataError
from ....networks.determinism import prediction_threads
from ....networks.summaries.build import moment_network
from ....networks.summaries.moments import MomentNetwork
from ....networks.summaries.symmetries import Symmetry, orbit
from ....products import Model
from ...models.load import to_network
from ..calibration.misspecification import parted
from ..priors import Prior
from ..scaling import ParameterScaling
from ..sets import alike
from .scale import FieldScaling

ARCHITECTURE = "moment network"
"""What a model of these stages names as its architecture."""
TASK = "moments of posteriors"
"""What its card says under `task`."""


@dataclass(frozen=True, eq=False)
class Summariser:
    """A network that summarises data, ready to be asked.

    Attributes:
        config: of the moment network that it is a part of, as `moment_network` takes it.
        network: data -> (batch, feature), on the device.
        data: the scale on which it sees them.
        symmetry: under which observations mean the same.
        device: where it runs.
    """

    config: Mapping[str, Any]
    network: nn.Module
    data: FieldScaling
    symmetry: Symmetry
    device: Literal["cpu", "cuda"]

    @classmethod
    def from_card(cls, card: Mapping[str, Any], weights: Mapping[str, np.ndarray], device: Literal["cpu", "cuda"]) -> Summariser:
        """Return the network that a card describes, with its weights.

        Raises:
            DataError: the weights do not fit.
        """
        network = to_network(Model(ARCHITECTURE, card["config"], weights, {}), lambda **config: moment_network(**config).summary)
        return cls(card["config"], network.to(device), FieldScaling.from_card(card["data"]), card["symmetry"], device)

    @property
    def bare(self) -> Summariser:
        """What only summarises, whatever else this can do."""
        return Summariser(self.config, self.network, self.data, self.symmetry, self.device)

    def to_card(self) -> dict[str, Any]:
        """Return all but the weights as JSON values."""
        return {"config": dict(self.config), "data": self.data.to_card(), "symmetry": self.symmetry}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one observation."""
        return tuple(self.config["shape"])

    @property
    def features(self) -> int:
        """How many summaries it makes."""
        return int(self.config["features"])

    @property
    def sets(self) -> bool:
        """Whether data are (row, column), and a row in which a value is missing is none."""
        return bool(self.config["kind"] == "deep_set")

    @property
    def length(self) -> int:
        """Of all that it says of an observation: the summaries come first."""
        return self.features

    def summaries(self, x: np.ndarray) -> np.ndarray:
        """Return (m, feature) float32 summaries of (m, …) observations, averaged over equivalent positions."""
        return self._mean(x, self.network)

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Return (m, length) float32 all that it says of (m, …) observations, averaged over equivalent positions."""
        return self.summaries(x)

    def inputs(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (m, …) what an estimator takes of (m, length) outputs, and (m, feature) the summaries."""
        return outputs, outputs

    @torch.no_grad()
    def _mean(self, x: np.ndarray, ask: Callable[[Tensor], Tensor]) -> np.ndarray:
        if not alike(x.shape[1:], self.shape, sets=self.sets):
            raise DataError(f"the network was trained on data of the shape {self.shape}, and these have {x.shape[1:]}")
        with prediction_threads(torch.float32):
            seen = torch.from_numpy(self.data(x)).to(self.device)
            said: list[Tensor] = [ask(position.contiguous()) for position in orbit(seen, self.symmetry)]
            return np.asarray(torch.stack(said).mean(dim=0).cpu().numpy())


@dataclass(frozen=True, eq=False)
class Moments(Summariser):
    """A moment network, ready to be asked: `network` is the part of it that summarises.

    Attributes:
        read: (batch, feature) summaries -> means and standard deviations of the posteriors, on the scale that flows see.
        parameters: that scale.
    """

    read: Callable[[Tensor], tuple[Tensor, Tensor]]
    parameters: ParameterScaling

    @property
    def prior(self) -> Prior:
        """Of the parameters."""
        return self.parameters.prior

    @property
    def length(self) -> int:
        """Of the summaries, and means and standard deviations of all parameters."""
        return self.features + 2 * len(self.prior)

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Return (m, length) float32 summaries, means and standard deviations, averaged over equivalent positions."""

        def ask(seen: Tensor) -> Tensor:
            summary = self.network(seen)
            return torch.cat([summary, *self.read(summary)], dim=1)

        return self._mean(x, ask)

    def inputs(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (m, 2 p) the means and standard deviations, which are what `NormalPosterior` takes, and (m, feature) the summaries."""
        summary, moments = np.split(outputs, [self.features], axis=1)
        return moments, summary


def opened(model: Model, device: Literal["cpu", "cuda"]) -> Moments:
    """Return the moment network that a model holds.

    Raises:
        DataError: it is another kind of model.
    """
    if model.card.get("task") != TASK:
        raise DataError(f"this is a model for {model.card.get('task', 'something else')!r}; train one with sbi.moments")
    network = to_network(replace(model, weights=parted(model.weights)[1])).to(device)
    assert isinstance(network, MomentNetwork)
    card = model.card
    parameters, data = ParameterScaling(Prior.from_json(card["prior"])), FieldScaling.from_card(card["data"])
    return Moments(model.config, network.summary, data, card["symmetry"], device, network.read, parameters)
