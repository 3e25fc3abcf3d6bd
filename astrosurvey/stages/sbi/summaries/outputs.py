"""What a network says of simulations: for its calibration, and to tell data that are unlike them."""

from __future__ import annotations

import numpy as np

from ..calibration.features import features
from ..calibration.misspecification import Detector, Seen, learn
from ..data import Simulations, Split
from .model import Summariser

EVERY, STRANGERS = 5, 2000
"""Of the simulations that it has learnt from one in so many, and at most so many, tell how data should look: a network is dear to ask."""


class Outputs:
    """What a network says of some simulations, read block by block.

    Args:
        network: that is asked.
        simulations: all of them.
        rows: (n,) rising, at least one.

    Attributes:
        rows: the same.
        seen: features of the data (of sets, whose rows have no order, summaries and sizes), and summaries.
    """

    def __init__(self, network: Summariser, simulations: Simulations, rows: np.ndarray) -> None:
        self.rows = rows
        data, outputs = list[np.ndarray](), list[np.ndarray]()
        for some in simulations.blocks(rows):
            block = simulations.take(some)
            outputs.append(network.outputs(block))
            summary = outputs[-1][:, : network.features]
            data.append(network.data.with_sizes(summary, block) if network.sets else features(block))
        self._inputs, summary = network.inputs(np.concatenate(outputs))
        self.seen = Seen(np.concatenate(data), summary)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return (m, …) what an estimator takes of some of the rows."""
        return np.asarray(self._inputs[np.searchsorted(self.rows, rows)])


def detector_and_outputs(network: Summariser, simulations: Simulations, split: Split) -> tuple[Detector | None, Outputs]:
    """Return what tells data unlike the simulations, and what a network says of those that were kept back.

    Where none was, there is nothing to tell by, and some that were learnt from stand in.

    Args:
        network: that is asked.
        simulations: all of them.
        split: their rows.
    """
    learnt = Outputs(network, simulations, split.training[:: max(EVERY, -(-len(split.training) // STRANGERS))])
    kept = np.sort(np.concatenate([split.validation, split.test]))
    if not len(kept):
        return None, learnt
    known = Outputs(network, simulations, kept)
    return learn(learnt.seen, known.seen), known
