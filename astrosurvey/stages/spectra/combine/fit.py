"""The weights of the features, from spectra of which the truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .candidates import KINDS, NONE, Evidence, same
from .features import AGAINST, NAMES, tensor_of

PRIOR = 1e-4
"""Weight of the sum of squared weights: keeps those finite that decide what never happens."""
STEPS = 200
MISLABELLED = 0.03
"""Share of wrong labels to be expected, which no weights shall be bent for: of SDSS's quasars, a few in a hundred."""


def right_ones(evidence: Sequence[Evidence], kinds: Sequence[str], z: np.ndarray) -> np.ndarray:
    """Return (n, candidate) bool: which candidates are right, in the order of `tensor_of`.

    Args:
        evidence: on each spectrum.
        kinds: (n,) true coarse classes.
        z: (n,) true redshifts, NaN without.
    """
    most = len(NONE) + max((len(one.candidates) for one in evidence), default=0)
    right = np.zeros((len(evidence), most), bool)
    for n, (one, kind, redshift) in enumerate(zip(evidence, kinds, z.tolist(), strict=True)):
        hits = [kind in KINDS and candidate.kind == kind and same(candidate.z, redshift) for candidate in one.candidates]
        if any(hits):
            right[n, len(NONE) : len(NONE) + len(hits)] = hits
        elif kind in NONE:
            right[n, NONE.index(kind)] = True
        else:
            right[n, NONE.index("unknown")] = True
    return right


def fit(evidence: Sequence[Evidence], kinds: Sequence[str], z: np.ndarray, share: np.ndarray | None = None) -> torch.Tensor:
    """Return (feature,) the weights that make the truth most likely; none of those `AGAINST` is positive.

    Args:
        evidence: on each spectrum: of all the network has spoken, or of none.
        kinds: (n,) true coarse classes.
        z: (n,) true redshifts, NaN without.
        share: (n,) how much each spectrum counts; the same when None.
    """
    features, there, _ = (torch.from_numpy(plane) for plane in tensor_of(evidence))
    wrong = torch.from_numpy(~right_ones(evidence, kinds, z))
    counts = torch.ones(len(evidence), dtype=torch.float64) if share is None else torch.from_numpy(np.asarray(share, float))
    counts = counts / counts.sum()
    log_right, log_wrong = (torch.tensor(part, dtype=torch.float64).log() for part in (1 - MISLABELLED, MISLABELLED))
    against = torch.tensor([name in AGAINST for name in NAMES])
    free = torch.where(against, 0.5, 0.0).double().requires_grad_()
    optimizer = torch.optim.LBFGS([free], max_iter=STEPS, line_search_fn="strong_wolfe")

    def weights() -> torch.Tensor:
        return torch.where(against, -(free**2), free)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        score = torch.log_softmax((features @ weights()).masked_fill(~there, -torch.inf), dim=1)
        truth = torch.logsumexp(score.masked_fill(wrong, -torch.inf), dim=1)
        kept = torch.logaddexp(truth + log_right, log_wrong)
        total = PRIOR * (weights() ** 2).sum() - (counts * kept).sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weights().detach()
