"""Moment networks: mean and standard deviation of each parameter's posterior, by a loss that needs no likelihood.

References:
    Jeffrey & Wandelt (2020), arXiv:2011.05991 (moment networks); Villaescusa-Navarro et al. (2022), arXiv:2201.01300, eq. 8 (the
    logarithms, which weigh all parameters and both moments alike).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST = 1e-12
"""Added under the logarithms of the loss."""
MEMORY = 0.9
"""Of the residuals of minibatches before, in the mean that standard deviations are relative to."""


class MomentNetwork(nn.Module):
    """A summary network with a head that reads mean and standard deviation of each parameter off the summaries.

    Args:
        summary: data -> (batch, features).
        features: how many summaries there are.
        parameters: how many are inferred, in units of their prior's spread.

    Standard deviations are learnt relative to the residuals of late, for the loss is flat where they are far too small.

    Shapes: data -> (batch, parameters) means and (batch, parameters) standard deviations.
    """

    residual: Tensor

    def __init__(self, summary: nn.Module, features: int, parameters: int) -> None:
        super().__init__()
        self.summary = summary
        self.register_buffer("residual", torch.ones(parameters))
        self.head = nn.Sequential(nn.Linear(features, 64), nn.GELU(), nn.Linear(64, 2 * parameters))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations."""
        return self.read(self.summary(x))

    def read(self, summary: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations of (batch, features) summaries."""
        mean, spread = self.head(summary).chunk(2, dim=1)
        return mean, functional.softplus(spread) * self.residual.clone()

    @torch.no_grad()
    def remember(self, truth: Tensor, mean: Tensor) -> None:
        """Take note of the residuals of a minibatch: (batch, parameters) each."""
        self.residual.lerp_((truth - mean).square().mean(dim=0).sqrt(), 1 - MEMORY)


def moment_loss(truth: Tensor, mean: Tensor, spread: Tensor) -> Mapping[str, Tensor]:
    """Return the terms of the loss whose least is at the posterior's mean and standard deviation.

    Args:
        truth: (batch, parameters).
        mean: (batch, parameters).
        spread: (batch, parameters), positive.
    """
    square = (truth - mean).square()
    # The second moment is asked for about a mean that it must not drag along.
    second = (square.detach() - spread.square()).square()
    return {
        "mean": (square.mean(dim=0) + LEAST).log().mean(),
        "spread": (second.mean(dim=0) + LEAST).log().mean(),
    }
