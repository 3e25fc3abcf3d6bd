"""A linear layer whose weights are distributions, trained by backpropagation.

References:
    Blundell et al. (2015), arXiv:1505.05424 (Bayes by Backprop); Kingma, Salimans & Welling (2015), arXiv:1506.02557 (drawing
    what comes out instead of the weights).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

PRIOR = 1.0
"""Standard deviation of the weights before training."""


class BayesLinear(nn.Module):
    """A linear layer with independent Gaussian weights.

    In training, and whenever `sample` is set, each row of a batch sees weights of its own draw; else all see the means.

    Shapes: (batch, n_in) -> (batch, n_out).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.sample = False
        self.mean = nn.Parameter(torch.empty(n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n_out))
        # softplus(-5) = 0.007: nearly certain at first, so that training begins as that of a plain layer.
        self.spread = nn.Parameter(torch.full((n_out, n_in), -5.0))
        nn.init.kaiming_uniform_(self.mean, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        out = functional.linear(x, self.mean, self.bias)
        if not self.sample:
            return out
        variance = functional.linear(x.square(), functional.softplus(self.spread).square())
        return out + torch.randn_like(out) * variance.clamp(min=1e-12).sqrt()

    def divergence(self) -> Tensor:
        """Return the Kullback-Leibler divergence of the weights' distribution from that before training."""
        sigma = functional.softplus(self.spread)
        return (math.log(PRIOR) - sigma.log() + (sigma.square() + self.mean.square()) / (2 * PRIOR**2) - 0.5).sum()
