"""What observations leave of a prior: the box of all parameters that are not all but impossible.

References:
    Miller et al. (2021), arXiv:2107.01214, section 3.2; Deistler, Gonçalves & Macke (2022), arXiv:2210.04815 (by draws).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.stage import DataError
from ..priors import Prior

KEY = "truncated"
"""Where a model's card holds the prior of the next round."""


@dataclass(frozen=True, eq=False)
class Box:
    """Probabilities of the prior between which parameters are still possible.

    Attributes:
        low, high: (…, p) from 0 to 1.
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, log_ratios: np.ndarray, threshold: float) -> Box:
        """Return the boxes of (…, p, cell) log ratios: all cells with more than a part of the highest ratio, and one on either side."""
        cells = log_ratios.shape[-1]
        possible = log_ratios >= log_ratios.max(axis=-1, keepdims=True) + np.log(threshold)
        first, behind = possible.argmax(axis=-1), cells - possible[..., ::-1].argmax(axis=-1)
        return cls(np.maximum(first - 1, 0) / cells, np.minimum(behind + 1, cells) / cells)

    @classmethod
    def of_draws(cls, places: np.ndarray, log_density: np.ndarray, left_out: float, margin: float) -> Box:
        """Return the box of (draw, p) probabilities of draws, without the least dense of them, and somewhat wider.

        Args:
            places: in the prior.
            log_density: (draw,) up to a constant.
            left_out: part of the draws.
            margin: part of the box that is added on either side.
        """
        dense = places[log_density >= np.quantile(log_density, left_out)]
        low, high = dense.min(axis=0), dense.max(axis=0)
        more = margin * (high - low)
        return cls(np.maximum(low - more, 0.0), np.minimum(high + more, 1.0))

    def around(self) -> Box:
        """Return the one box, (p,), that holds all of (m, p) boxes."""
        return Box(self.low.min(axis=0), self.high.max(axis=0))

    def holds(self, probability: np.ndarray) -> np.ndarray:
        """Return (…,) bool: whether (…, p) places are within."""
        return np.asarray(((probability >= self.low) & (probability <= self.high)).all(axis=-1))

    @property
    def kept(self) -> np.ndarray:
        """(…, p) the part of the prior that is left of each parameter's."""
        return self.high - self.low

    def cut(self, prior: Prior) -> Prior:
        """Return what is left of a prior; an end that nothing was cut from stays as it is, be it infinite."""
        low, high = prior.quantile(self.low), prior.quantile(self.high)
        return prior.truncated(np.where(self.low > 0, low, -np.inf).tolist(), np.where(self.high < 1, high, np.inf).tolist())


def to_card(prior: Prior, box: Box, how: Mapping[str, float], observations: int) -> dict[str, Any]:
    """Return what a model's card says of the next round.

    Args:
        prior: of the next round.
        box: by which it was cut.
        how: the settings that it was cut with.
        observations: that are within.
    """
    return {
        "prior": prior.to_json(),
        "volume": float(f"{box.kept.prod():.5g}"),
        **how,
        "observations": observations,
    }


def of_card(card: Mapping[str, Any]) -> Prior:
    """Return the prior of the next round.

    Raises:
        DataError: the card is not that of a round.
    """
    if KEY not in card:
        raise DataError(f"a model of {card.get('method', 'another stage')} cuts no prior: wire the model of sbi.tmnre or sbi.restrict")
    return Prior.from_json(card[KEY]["prior"])
