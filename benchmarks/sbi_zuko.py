"""The flows of zuko, behind the interface of `astrosurvey.networks.conditional_flow.FlowEnsemble`: what ours are compared with.

Couplings of rational-quadratic splines (zuko's `NICE` and `MonotonicRQSTransform`), one flow after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from zuko.flows.coupling import NICE
from zuko.transforms import MonotonicRQSTransform


class ZukoEnsemble(nn.Module):
    """Densities over vectors given others, of several members; arguments and shapes are those of `FlowEnsemble`."""

    def __init__(
        self,
        features: int,
        context: int,
        *,
        members: int,
        layers: int,
        bins: int,
        hidden: Sequence[int],
        summary: Sequence[int],
    ) -> None:
        super().__init__()
        self.members = members
        splines = {"univariate": MonotonicRQSTransform, "shapes": [(bins,), (bins,), (bins - 1,)]}
        self.flows = nn.ModuleList(
            NICE(features, context, transforms=layers, hidden_features=tuple(hidden), activation=nn.SiLU, **splines) for _ in range(members)
        )

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return (member, row * draw) logs of the densities."""
        given = self._given(context, x.shape[-1])
        x = x.expand(self.members, -1, -1)
        return torch.stack([flow(c).log_prob(one.T) for flow, one, c in zip(self.flows, x, given, strict=True)])

    @torch.no_grad()
    def sample(self, noise: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return draws, as the noise, and the (member, row * draw) logs of their densities by the member that drew them."""
        draws, logs = [], []
        for flow, one, given in zip(self.flows, noise, self._given(context, noise.shape[-1]), strict=True):
            distribution = flow(given)
            x, gained = distribution.transform.inv.call_and_ladj(one.T)
            draws.append(x.T)
            logs.append(distribution.base.log_prob(one.T) - gained)
        return torch.stack(draws), torch.stack(logs)

    def _given(self, context: Tensor, rows: int) -> Tensor:
        """Return (member, row * draw, context) what is given for each draw."""
        return context.repeat_interleave(rows // context.shape[-1], dim=-1).expand(self.members, -1, -1).transpose(1, 2)
