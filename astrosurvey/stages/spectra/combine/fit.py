"""The weights of the features, from spectra of which the truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ....networks.candidates import CandidateScorer
from .candidates import KINDS, NONE, Evidence, same
from .features import NAMES, tensor_of

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


def fit(evidence: Sequence[Evidence], kinds: Sequence[str], z: np.ndarray) -> torch.Tensor:
    """Return (feature,) the weights that make the truth most likely.

    Args:
        evidence: on each spectrum: of all the network has spoken, or of none.
        kinds: (n,) true coarse classes.
        z: (n,) true redshifts, NaN without.
    """
    features, there, heard = (torch.from_numpy(plane) for plane in tensor_of(evidence))
    wrong = torch.from_numpy(~right_ones(evidence, kinds, z))
    log_right, log_wrong = (torch.tensor(share, dtype=torch.float64).log() for share in (1 - MISLABELLED, MISLABELLED))
    scorer = CandidateScorer(len(NAMES)).double()
    optimizer = torch.optim.LBFGS(scorer.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        truth = torch.logsumexp(scorer(features, there, heard).masked_fill(wrong, -torch.inf), dim=1)
        kept = torch.logaddexp(truth + log_right, log_wrong)
        total = PRIOR * (scorer.weights**2).sum() - kept.mean()
        total.backward()
        return total

    optimizer.step(loss)
    return scorer.weights.detach()[int(heard[0])]
