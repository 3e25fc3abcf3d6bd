"""Perceptrons of several members side by side, so that an ensemble of small networks costs little more than one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

TOGETHER = 32
"""Rows come in multiples of this where a row's answer must not depend, in its last bit, on how many others there are: BLAS and vector
instructions round what is left over otherwise."""


class Linear(nn.Module):
    """A linear layer of every member.

    Args:
        members: how many.
        inputs: length of what goes in.
        outputs: length of what comes out.
        zero: begin with zeros rather than at random.

    Shapes: (member or 1, inputs, row) -> (member, outputs, row).
    """

    def __init__(self, members: int, inputs: int, outputs: int, *, zero: bool = False) -> None:
        super().__init__()
        reach = 0.0 if zero else 1.0 / math.sqrt(max(inputs, 1))
        self.weight = nn.Parameter(torch.empty(members, outputs, inputs).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(members, outputs, 1).uniform_(-reach, reach))

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's answer."""
        return torch.baddbmm(self.bias, self.weight, x.expand(len(self.weight), -1, -1))


def filled(x: Tensor) -> Tensor:
    """Return (…, row) numbers with rows of zeros behind them, up to a multiple of `TOGETHER`."""
    missing = -x.shape[-1] % TOGETHER
    return functional.pad(x, (0, missing)) if missing else x


class Perceptron(nn.Module):
    """A network of linear layers with rectifiers between them, for every member.

    Args:
        members: how many.
        widths: lengths of input, hidden layers and output.
        zero: let the last layer begin with zeros.

    Shapes: (member or 1, widths[0], row) -> (member, widths[-1], row).
    """

    def __init__(self, members: int, widths: Sequence[int], *, zero: bool = False) -> None:
        super().__init__()
        last = len(widths) - 2
        self.layers = nn.ModuleList(Linear(members, a, b, zero=zero and k == last) for k, (a, b) in enumerate(pairwise(widths)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the networks' answers."""
        first, *others = self.layers
        x = first(x)
        for layer in others:
            x = layer(functional.silu(x))
        return x
