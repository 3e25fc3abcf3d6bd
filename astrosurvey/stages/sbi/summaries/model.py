"""Trained moment networks: what their card says, and what they say of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ....core.stage import DataError
from ....networks.determinism import prediction_threads
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
        return self._mean(x, self.network.summary)

    def told(self, x: np.ndarray) -> np.ndarray:
        """Return (m, feature + 2 p) float32 all that it says of (m, …) observations, averaged over equivalent positions.

        These are summaries, and means and standard deviations of the posteriors on the scale that flows see.
        """

        def ask(seen: Tensor) -> Tensor:
            summary = self.network.summary(seen)
            return torch.cat([summary, *self.network.read(summary)], dim=1)

        return self._mean(x, ask)

    @torch.no_grad()
    def _mean(self, x: np.ndarray, ask: Callable[[Tensor], Tensor]) -> np.ndarray:
        if not alike(x.shape[1:], self.shape, sets=self.sets):
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
    network = to_network(replace(model, weights=parted(model.weights)[1])).to(device)
    assert isinstance(network, MomentNetwork)
    card = model.card
    prior, data = Prior.from_json(card["prior"]), FieldScaling.from_card(card["data"])
    config = model.config
    shape, sets = tuple(card["shape"]), config["kind"] == "deep_set"
    return Moments(network, ParameterScaling(prior), data, shape, card["symmetry"], int(config["features"]), sets, device)
