"""A summary network and the flows that hear it as one network, so that both can be trained together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..conditional_flow import FlowEnsemble
from .symmetries import Symmetry, orbit


class JointFlow(nn.Module):
    """Densities over parameters given raw data, by the members of an ensemble that share one summary network.

    Summaries are means over equivalent positions of the data. Only the first position has a gradient: where it is a random one, that is on
    average the gradient of the mean, and costs one pass back instead of up to eight.

    Args:
        summary: data -> (row, feature).
        flow: hears the summaries.
        scale: (row, feature) summaries -> as the flow sees them.
        symmetry: under which the data mean the same.
    """

    def __init__(self, summary: nn.Module, flow: FlowEnsemble, scale: Callable[[Tensor], Tensor], symmetry: Symmetry) -> None:
        super().__init__()
        self.summary, self.flow, self.scale, self.symmetry = summary, flow, scale, symmetry

    def context(self, data: Tensor) -> Tensor:
        """Return (1, feature, row) what the flow hears of (row, …) data."""
        first, *others = orbit(data, self.symmetry)
        told = self.summary(first)
        if others:
            with torch.no_grad():
                mean = torch.stack([told, *(self.summary(other.contiguous()) for other in others)]).mean(dim=0)
            told = told + (mean - told).detach()
        return self.scale(told).T[None].contiguous()

    def forward(self, theta: Tensor, data: Tensor) -> Tensor:
        """Return (member, row) logs of the densities of (1, parameter, row) parameters given (row, …) data."""
        return self.flow(theta, self.context(data))
