"""A choice between candidates by a weighted sum of their features: conditional logit."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CandidateScorer(nn.Module):
    """Gives each candidate of an object the probability that it is the right one.

    The probability is the softmax, over an object's candidates, of weighted sums of features. There are two sets of weights: for objects
    of which a classifier has spoken, and for those of which it has not.

    Args:
        features: how many a candidate has.

    References: McFadden (1974), in Frontiers in Econometrics, 105.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(2, features))

    def forward(self, features: Tensor, there: Tensor, heard: Tensor) -> Tensor:
        """Return (n, candidate) logarithms of probabilities, minus infinity where there is no candidate.

        Args:
            features: (n, candidate, feature).
            there: (n, candidate) bool, which are candidates at all; one of each object at least.
            heard: (n,) bool, of which objects a classifier has spoken.
        """
        chosen = self.weights[heard.long()]
        score = torch.einsum("ncf,nf->nc", features, chosen)
        return torch.log_softmax(score.masked_fill(~there, -torch.inf), dim=1)
