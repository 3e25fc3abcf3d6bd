"""Ratios of likelihood to evidence by classification: of all parameters, and of one or two at a time.

A network that tells parameters with the data they made from parameters with other data has learnt log p(x | theta) - log p(x). The loss
here, of a right pair among wrong ones and of wrong ones alone, leaves no constant open. For a part of the parameters it is the ratio of
their marginal likelihood, a far simpler function, and all parts are learnt side by side.

References:
    Hermans, Begy & Louppe (2020), arXiv:1903.04057; Miller, Weniger & Forré (2022), arXiv:2210.06170 (the contrast without a constant);
    Miller et al. (2021), arXiv:2107.01214 (marginals).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

from .perceptron import Linear, Perceptron, filled

CONTRASTS = 8
"""Pairs of which one may be right; fewer in minibatches of fewer than twice as many rows."""


class RatioNetwork(nn.Module):
    """Log ratios of some subsets of the parameters, by several members.

    What condenses the data is one network of a member's for all subsets, since what tells of one parameter tells of others.

    Args:
        features: length of the data.
        context: how many parameters there are.
        subsets: the indices of each subset; None for one subset of all parameters.
        members: of the ensemble.
        hidden: widths of the hidden layers.
        summary: widths of a network that condenses the data first; empty for none.

    Shapes: data (member or 1, features, row) and parameters (member or 1, context, row) -> (subset x member, row), the members of a subset
    one after the other. One row of data is compared with all rows of parameters; these may be others for each subset and member.
    """

    seen: Tensor

    def __init__(
        self,
        features: int,
        context: int,
        *,
        subsets: Sequence[Sequence[int]] | None = None,
        members: int = 4,
        hidden: Sequence[int] = (64, 64),
        summary: Sequence[int] = (),
    ) -> None:
        super().__init__()
        chosen = [list(subset) for subset in subsets] if subsets is not None else [list(range(context))]
        self.subsets, self.members = chosen, members
        each = [subset for subset in chosen for _ in range(members)]
        seen = torch.zeros(len(each), context, 1)
        for k, subset in enumerate(each):
            seen[k, subset] = 1.0
        self.register_buffer("seen", seen, persistent=False)
        self.condense = Perceptron(members, (features, *summary)) if summary else nn.Identity()
        self.listens = Linear(len(each), summary[-1] if summary else features, hidden[0])
        self.looks = Linear(len(each), context, hidden[0])
        self.judges = Perceptron(len(each), (*hidden, 1))

    def forward(self, data: Tensor, theta: Tensor) -> Tensor:
        """Return the log ratios."""
        heard = self._heard(filled(data))
        heard = heard[..., :1] if data.shape[-1] == 1 else heard
        return self._judged(heard, filled(theta))[..., : theta.shape[-1]]

    def contrast(self, data: Tensor, theta: Tensor) -> Tensor:
        """Return the loss of a minibatch, the mean of all members: rows of both belong together, and are wrong pairs for each other.

        A row alone has no wrong pair but itself, which teaches that all ratios are one.
        """
        heard, rows = self._heard(data), theta.shape[-1]
        count = max(1, min(CONTRASTS, rows // 2))
        right = self._judged(heard, theta)
        wrong = torch.stack([self._judged(heard, theta.roll(k + 1, dims=-1)) for k in range(2 * count - 1)])
        # One right pair among wrong ones, and as many wrong ones and no right one; that is as probable.
        among, level = torch.cat([right[None], wrong[: count - 1]]), math.log(count)
        some = functional.softplus(torch.logsumexp(among, dim=0) - level) + level - right
        none = functional.softplus(torch.logsumexp(wrong[count - 1 :], dim=0) - level)
        return (some + none).mean() / 2

    def only(self, chosen: Sequence[int]) -> RatioNetwork:
        """Return the networks of some subsets alone, which cost that much less; `chosen` are places in `subsets`."""
        rows = [k * self.members + member for k in chosen for member in range(self.members)]
        part = deepcopy(self)
        for layer in (part.listens, part.looks, *part.judges.layers):
            layer.weight, layer.bias = (nn.Parameter(w.detach()[rows], requires_grad=False) for w in (layer.weight, layer.bias))
        part.seen, part.subsets = self.seen[rows], [self.subsets[k] for k in chosen]
        return part

    def _heard(self, data: Tensor) -> Tensor:
        return self.listens(self._each(self.condense(data)))

    def _judged(self, heard: Tensor, theta: Tensor) -> Tensor:
        return self.judges(functional.silu(heard + self.looks(self._each(theta) * self.seen)))[:, 0]

    def _each(self, rows: Tensor) -> Tensor:
        """Return what is one for each member for each subset as well."""
        return rows.repeat(len(self.subsets), 1, 1) if 1 < len(rows) == self.members else rows
