"""Conditional normalizing flows: the density of some numbers given others, by an ensemble that is evaluated at once.

Each layer leaves some of the dimensions as they are and bends each of the others by a rising spline, whose knots are a small
network's function of the first and of the context. Members are evaluated together, so an ensemble costs little more than one of them.

References:
    Durkan et al. (2019), arXiv:1906.04032 (neural spline flows); Papamakarios & Murray (2016), arXiv:1605.06376 (for posteriors);
    Lakshminarayanan et al. (2017), arXiv:1612.01474 (ensembles).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .perceptron import Linear, Perceptron, filled
from .sinh_arsinh import SinhArsinh
from .spline import spline


class FlowEnsemble(nn.Module):
    """Densities over vectors given others, of several members side by side.

    Args:
        features: length of the vectors, at least 1.
        context: length of what is given.
        members: flows in the ensemble.
        layers: couplings of each.
        bins: of each spline.
        hidden: widths of the networks that place the knots.
        summary: widths of a network that condenses the context first; empty for none.
    """

    def __init__(
        self,
        features: int,
        context: int,
        *,
        members: int = 4,
        layers: int = 5,
        bins: int = 8,
        hidden: Sequence[int] = (64, 64),
        summary: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.features, self.members = features, members
        self.summary = Perceptron(members, (context, *summary)) if summary else nn.Identity()
        heard = summary[-1] if summary else context
        self.base = SinhArsinh()
        self.couplings = nn.ModuleList(_Coupling(given, features, heard, members, bins, hidden) for given in _givens(features, layers))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return (member, row * draw) logs of the densities.

        Args:
            x: (member or 1, feature, row * draw), with the draws of a row side by side.
            context: (member or 1, context, row).
        """
        z, log_slope = self._unbent(x, context)
        return (log_slope + self.base(z))[..., : x.shape[-1]]

    @torch.no_grad()
    def widen(self, x: Tensor, context: Tensor) -> None:
        """Choose the width and tails, for all members alike, by which members on average find vectors that were kept back most probable.

        Trained flows are too sure of themselves, in the tails above all. That the members, rather than their mixture, decide makes
        the mixture a little wider than is most probable, and its regions of high density cover what they should.

        Args:
            x: (member or 1, feature, row).
            context: (member or 1, context, row).
        """
        self.base.fit(self._unbent(x, context)[0][..., : x.shape[-1]])

    def _unbent(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return (member, feature, row * draw) what is bent into x, and (member, row * draw) the log of the slope, both `filled`."""
        draws = x.shape[-1] // context.shape[-1]
        x, context = filled(x).expand(self.members, -1, -1), self.summary(filled(context))
        log_slope = x.new_zeros(())
        for coupling in self.couplings:
            x, gained = coupling(x, context, draws)
            log_slope = log_slope + gained
        return x, log_slope

    @torch.no_grad()
    def sample(self, noise: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return draws, as the noise, and the (member, row * draw) logs of their densities by the member that drew them.

        Args:
            noise: (member, feature, row * draw) standard normal numbers, with the draws of a row side by side.
            context: (member or 1, context, row).
        """
        rows, draws = noise.shape[-1], noise.shape[-1] // context.shape[-1]
        context = self.summary(filled(context))
        x, log_density = self.base.bend(filled(noise))
        for coupling in reversed(self.couplings):
            x, gained = coupling(x, context, draws, inverse=True)
            log_density = log_density - gained
        return x[..., :rows], log_density[..., :rows]


class _Coupling(nn.Module):
    """Bends some features given the others and the context."""

    def __init__(self, given: Sequence[int], features: int, context: int, members: int, bins: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.bins = bins
        self.given, self.bent = list(given), [k for k in range(features) if k not in given]
        self.back = [(*given, *self.bent).index(k) for k in range(features)]
        self.hears = Linear(members, context, hidden[0])
        self.sees = nn.Parameter(Linear(members, len(given), hidden[0]).weight.detach())
        self.knots = Perceptron(members, (*hidden, len(self.bent) * (3 * bins - 1)), zero=True)

    def forward(self, x: Tensor, context: Tensor, draws: int, *, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Return the features, bent, and (member, row) the log of the slope; rows are `draws` of each row of the context."""
        left, right = x[:, self.given], x[:, self.bent]
        heard = self.hears(context)  # the same for all draws of a row
        if draws != 1:  # of no more rows than are looked at: those that fill up the context would be repeated as well
            heard = heard[..., : -(-x.shape[-1] // draws)].repeat_interleave(draws, dim=-1)
        heard = heard[..., : x.shape[-1]]
        knots = self.knots(functional.silu(torch.baddbmm(heard, self.sees, left)))
        knots = knots.unflatten(1, (3 * self.bins - 1, len(self.bent)))
        right, log_slope = spline(right, knots, self.bins, steep=True, inverse=inverse)
        return torch.cat([left, right], dim=1)[:, self.back], log_slope.sum(dim=1)


def _givens(features: int, layers: int) -> list[list[int]]:
    """Return which features each layer leaves as they are: of every two layers a random half, and the other half."""
    generator = torch.Generator().manual_seed(features)
    givens: list[list[int]] = []
    order: list[int] = []
    for layer in range(layers):
        if layer % 2 == 0:
            order = torch.randperm(features, generator=generator).tolist()
        half = features // 2
        givens.append(sorted(order[:half] if layer % 2 == 0 else order[half:]) if features > 1 else [])
    return givens
