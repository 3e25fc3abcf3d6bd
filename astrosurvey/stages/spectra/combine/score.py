"""The candidates' probabilities, by a model's weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ....core.stage import DataError
from ....networks.candidates import CandidateScorer
from ....products import Model
from ...models.load import to_network
from .candidates import NONE, Evidence
from .features import NAMES, tensor_of


def probabilities(model: Model, evidence: Sequence[Evidence], unknown: float) -> np.ndarray:
    """Return (n, candidate) float64 probabilities, in the order of `tensor_of`; 0 where there is no candidate.

    Args:
        model: trained for this.
        evidence: on each spectrum.
        unknown: share of unknown things to be expected among them.

    Raises:
        DataError: the model was made for other features.
    """
    scorer = to_network(model)
    if not isinstance(scorer, CandidateScorer) or tuple(model.card.get("features", ())) != NAMES:
        raise DataError("the model scores candidates by other features than this version knows; train it anew with tools/fit_combine.py")
    features, there, heard = (torch.from_numpy(plane) for plane in tensor_of(evidence))
    with torch.no_grad():
        score = scorer.double()(features, there, heard)
    share = float(model.card["trained_on"]["unknown"])
    score[:, NONE.index("unknown")] += np.log(unknown / (1 - unknown)) - np.log(share / (1 - share))
    out: np.ndarray = torch.softmax(score, dim=1).numpy()
    return out
