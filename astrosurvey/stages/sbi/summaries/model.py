"""Trained moment networks: what their card says, and what they say of data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ....core.stage import DataError
from ....networks.determinism import prediction_threads
from ....networks.summaries.moments import MomentNetwork
from ....networks.summaries.symmetries import Symmetry, orbit
from ....products import Model
from ...models.load import to_network
from ..priors import Prior
from ..scaling import ParameterScaling
from .scale import FieldScaling

ARCHITECTURE = "moment network"
"""What a model of these stages names as its architecture."""
TASK = "moments of posteriors"
"""What its card says under `task`."""


@dataclass(frozen=True, eq=False)
class Moments:
    """A moment network that is ready to be asked.

    Attributes:
        network: on the device.
        parameters, data: scales on which it sees them.
        shape: of one observation.
        symmetry: under which observations mean the same.
        features: how many summaries it makes.
        sets: whether data are (row, column), and a row in which a value is missing is none.
        device: where it runs.
    """

    network: MomentNetwork
    parameters: ParameterScaling
    data: FieldScaling
    shape: tuple[int, ...]
    symmetry: Symmetry
    features: int
    sets: bool
    device: Literal["cpu", "cuda"]

    @property
    def prior(self) -> Prior:
        """Of the parameters."""
        return self.parameters.prior

    def summaries(self, x: np.ndarray) -> np.ndarray:
        """Return (m, feature) float32 summaries of (m, …) observations, averaged over equivalent positions."""
        return np.asarray(self._mean(x, lambda seen: self.network.summary(seen)[None])[0])

    def moments(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (m, p) means and (m, p) standard deviations of the posteriors, on the scale that flows see."""
        mean, spread = self._mean(x, lambda seen: torch.stack(self.network(seen)))
        return mean, spread

    @torch.no_grad()
    def _mean(self, x: np.ndarray, ask: Any) -> np.ndarray:
        if x.shape[1:] != self.shape:
            raise DataError(f"the network was trained on data of the shape {self.shape}, and these have {x.shape[1:]}")
        with prediction_threads(torch.float32):
            seen = torch.from_numpy(self.data(x)).to(self.device)
            said: list[Tensor] = [ask(position.contiguous()) for position in orbit(seen, self.symmetry)]
            return np.asarray(torch.stack(said).mean(dim=0).cpu().numpy())


def opened(model: Model, device: Literal["cpu", "cuda"]) -> Moments:
    """Return the moment network that a model holds.

    Raises:
        DataError: it is another kind of model.
    """
    if model.card.get("task") != TASK:
        raise DataError(f"this is a model for {model.card.get('task', 'something else')!r}; train one with sbi.moments")
    network = to_network(model).to(device)
    assert isinstance(network, MomentNetwork)
    card = model.card
    prior, data = Prior.from_json(card["prior"]), FieldScaling.from_card(card["data"])
    config = model.config
    shape, sets = tuple(card["shape"]), config["kind"] == "deep_set"
    return Moments(network, ParameterScaling(prior), data, shape, card["symmetry"], int(config["features"]), sets, device)
