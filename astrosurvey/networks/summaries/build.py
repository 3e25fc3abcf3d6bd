"""Moment networks by name, as a model's card describes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from .convolutions import Convolutions
from .deep_set import DeepSet
from .moments import MomentNetwork

Kind = Literal["convolutions", "deep_set", "perceptron"]
WIDTHS = (128, 64)
"""Hidden layers of a perceptron."""


class _Shaped(nn.Module):
    """A network that takes data of one shape, and gives them to another as that wants them."""

    def __init__(self, shape: Sequence[int], network: nn.Module) -> None:
        super().__init__()
        self.shape, self.network = tuple(shape), network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.reshape(len(x), *self.shape))


def moment_network(
    kind: Kind, shape: Sequence[int], features: int, parameters: int, *, channels: bool, stem: Sequence[int] | None
) -> MomentNetwork:
    """Return a network for data of a shape.

    Args:
        kind: what summarises them.
        shape: of one observation; of a deep set, (row, column).
        features: how many summaries there are.
        parameters: how many are inferred.
        channels: whether the first axis of data on a grid holds channels.
        stem: strides of the first convolution along each axis of the grid; None chooses them.
    """
    summary: nn.Module
    if kind == "convolutions":
        grid = tuple(shape[1:]) if channels else tuple(shape)
        number = shape[0] if channels else 1
        summary = _Shaped((number, *grid), Convolutions(grid, features, channels=number, stem=stem))
    elif kind == "deep_set":
        summary = DeepSet(shape[-1], features)
    else:
        length = math.prod(shape)
        layers = [layer for a, b in pairwise((length, *WIDTHS)) for layer in (nn.Linear(a, b), nn.GELU())]
        summary = _Shaped((length,), nn.Sequential(*layers, nn.Linear(WIDTHS[-1], features)))
    return MomentNetwork(summary, features, parameters)
