"""Networks of the package sbi, several side by side, behind the interface of astrosurvey's own.

They are built by sbi, without its standardisation: astrosurvey's scales are there already, and know outliers and the prior.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from sbi.neural_nets import classifier_nn, posterior_nn
from sbi.neural_nets.estimators import ZukoFlow
from torch import Tensor, nn


class Flows(nn.Module):
    """Densities over vectors given others.

    Args:
        features: length of the vectors, at least 1.
        context: length of what is given.
        members: flows in the ensemble.
        flow: sbi's name of the flow.
        hidden: width of the hidden layers.
        layers: transforms of each flow.
        bins: of each spline.

    Shapes: as of `astrosurvey.networks.conditional_flow.FlowEnsemble`.
    """

    def __init__(self, features: int, context: int, *, members: int, flow: str, hidden: int, layers: int, bins: int) -> None:
        super().__init__()
        self.members = members
        build = posterior_nn(flow, "none", "none", hidden_features=hidden, num_transforms=layers, num_bins=bins)
        with quiet():
            self.nets = nn.ModuleList(build(torch.zeros(2, features), torch.zeros(2, context)) for _ in range(members))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return (member, row * draw) logs of the densities.

        Args:
            x: (member or 1, feature, row * draw), with the draws of a row side by side.
            context: (1, context, row).
        """
        given = _each(context, x.shape[-1])
        x = x.expand(self.members, -1, -1)
        with quiet():
            return torch.stack([net.log_prob(one.T[None], given)[0] for net, one in zip(self.nets, x, strict=True)])

    @torch.no_grad()
    def sample(self, noise: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return draws, as the noise, and the (member, row * draw) logs of their densities by the member that drew them.

        Args:
            noise: (member, feature, row * draw) standard normal numbers, with the draws of a row side by side.
            context: (1, context, row).
        """
        given = _each(context, noise.shape[-1])
        with quiet():
            drawn = [_pushed(net, one.T, given) for net, one in zip(self.nets, noise, strict=True)]
        x, log_slope = (torch.stack(part) for part in zip(*drawn, strict=True))
        return x.transpose(1, 2), _normal(noise) - log_slope


class Ratios(nn.Module):
    """Log ratios of likelihood to evidence.

    Args:
        features: length of the data.
        context: how many parameters there are.
        members: networks in the ensemble.
        classifier: sbi's name of the network.
        hidden: width of the hidden layers.

    Shapes: data (1, features, row) and parameters (1, context, row) -> (member, row).
    """

    def __init__(self, features: int, context: int, *, members: int, classifier: str, hidden: int) -> None:
        super().__init__()
        self.members = members
        build = classifier_nn(classifier, "none", "none", hidden_features=hidden)
        self.nets = nn.ModuleList(build(torch.zeros(2, context), torch.zeros(2, features)) for _ in range(members))

    def forward(self, data: Tensor, theta: Tensor) -> Tensor:
        """Return the log ratios."""
        return torch.stack([net.unnormalized_log_ratio(theta[0].T, data[0].T) for net in self.nets])


@contextmanager
def quiet() -> Iterator[None]:
    """Hear nothing of what sbi and its flows warn of: functions of torch that are out of date, data that they do not standardise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _each(context: Tensor, number: int) -> Tensor:
    """Return (row * draw, context) of (1, context, row)."""
    return context[0].T.repeat_interleave(number // context.shape[-1], dim=0)


def _pushed(net: nn.Module, noise: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
    """Return (n, feature) draws that a flow makes of noise, and (n,) the logs of its slopes."""
    if isinstance(net, ZukoFlow):
        x, log_slope = net.net(given).transform.inv.call_and_ladj(noise)
        return x, log_slope
    x, log_slope = net.net._transform.inverse(noise, context=given)
    return x, log_slope


def _normal(x: Tensor) -> Tensor:
    """Return (member, row) the log of the standard normal density."""
    return -0.5 * (x * x + math.log(2 * math.pi)).sum(dim=1)
