"""From strange scores to a p-value: how large a part of the known objects of that brightness looks at least as strange.

Each statistic is ranked among known objects of similar signal-to-noise ratio; the smallest rank, weighted, is taken, and ranked
again among the known. So the result is meant to be uniform on known objects at every signal-to-noise ratio, whatever the statistics'
distributions (`benchmarks/anomaly.py` says how nearly it is), and one way of being strange is enough. A spectrum with less signal
than any known object is a case of its own: nothing tells what it is.

References:
    Tippett (1931), The Methods of Statistics (the smallest p-value); Genovese, Roeder & Wasserman (2006), Biometrika 93, 509
    (weights); Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World (ranks among held-back examples).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from .score import BINS

WEIGHTS = {"density": 1.0, "forest": 1.0, "residual_1": 1.0, "residual_8": 2.0, "residual_32": 4.0}
"""What ranks are divided by before they are compared: wide bins need be less rare. Chosen once on galaxies with
broad bumps added to them; real supernovae gained nothing by it."""
KNOTS = 12
"""Signal-to-noise ratios at which ranks are kept."""
LEVELS = np.concatenate([np.linspace(0.0, 0.9, 19), 1 - np.geomspace(0.09, 0.005, 13)])
"""Of the quantiles that are kept; beyond the last the tail falls exponentially."""
FAINT = 0.01
"""Part of the known objects that counts as the faintest."""
LEAST = 1e-12


@dataclass(frozen=True)
class Ranks:
    """The distribution of a statistic among the known, at several signal-to-noise ratios.

    Attributes:
        log_snr: (knot,) rising.
        quantiles: (knot, level) the statistic at `LEVELS`.
        tail: (knot,) how fast the tail falls beyond: the scale of an exponential.
    """

    log_snr: np.ndarray
    quantiles: np.ndarray
    tail: np.ndarray

    def __call__(self, value: np.ndarray, log_snr: np.ndarray) -> np.ndarray:
        """Return (n,) the part of the known of these signal-to-noise ratios at or above the values."""
        place = np.interp(log_snr, self.log_snr, np.arange(len(self.log_snr)))
        low = np.minimum(place.astype(int), max(len(self.log_snr) - 2, 0))
        high = np.minimum(low + 1, len(self.log_snr) - 1)
        part = (place - low)[:, None]
        quantiles = (1 - part) * self.quantiles[low] + part * self.quantiles[high]
        tail = (1 - part[:, 0]) * self.tail[low] + part[:, 0] * self.tail[high]
        p = np.array([1 - np.interp(v, q, LEVELS) for v, q in zip(value, quantiles, strict=True)])
        over = (value - quantiles[:, -1]) / tail
        return np.asarray(np.maximum(np.where(over > 0, (1 - LEVELS[-1]) * np.exp(-np.maximum(over, 0)), p), LEAST))


@dataclass(frozen=True)
class Calibration:
    """From statistics to p-values.

    Attributes:
        ranks: of each statistic.
        smallest: of minus the log of the smallest of them, weighted.
        faintest: signal-to-noise ratio per pixel that all but `FAINT` of the known objects exceed.
    """

    ranks: Mapping[str, Ranks]
    smallest: Ranks
    faintest: float

    def __call__(self, found: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return (n,) p-values: how large a part of the known objects looks at least as strange."""
        log_snr = np.log(np.maximum(found["snr"], 1e-6))
        return np.asarray(np.minimum(self.smallest(_surprise(self.ranks, found, log_snr), log_snr), self.enough(found)))

    def enough(self, found: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return (n,) the chance that the faintest of the known objects shows as little signal as this."""
        return np.asarray(np.maximum(norm.cdf((found["snr"] - self.faintest) * np.sqrt(np.maximum(found["pixels"], 1))), LEAST))

    def to_card(self) -> dict[str, Any]:
        """Return the calibration as JSON values."""

        def written(ranks: Ranks) -> dict[str, Any]:
            return {
                "log_snr": [round(float(v), 5) for v in ranks.log_snr],
                "quantiles": [[float(f"{v:.6g}") for v in row] for row in ranks.quantiles],
                "tail": [float(f"{v:.6g}") for v in ranks.tail],
            }

        named = {name: written(ranks) for name, ranks in self.ranks.items()}
        return {"ranks": named, "smallest": written(self.smallest), "faintest": round(self.faintest, 4)}

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Calibration:
        """Return the calibration that a card holds."""

        def read(ranks: Mapping[str, Any]) -> Ranks:
            return Ranks(*(np.array(ranks[name], float) for name in ("log_snr", "quantiles", "tail")))

        return cls({name: read(ranks) for name, ranks in card["ranks"].items()}, read(card["smallest"]), float(card["faintest"]))


def calibrate(found: Mapping[str, np.ndarray], density: str) -> Calibration:
    """Learn what is strange from the statistics of known objects that training has not seen.

    Args:
        found: statistics, each (n,).
        density: "flow" or "forest": what tells how rare a latent vector is.
    """
    log_snr = np.log(np.maximum(found["snr"], 1e-6))
    first = {"flow": "density", "forest": "forest"}[density]
    ranks = {name: _ranks(found[name], log_snr) for name in (first, *(f"residual_{width}" for width in BINS))}
    smallest = _ranks(_surprise(ranks, found, log_snr), log_snr)
    return Calibration(ranks, smallest, float(np.quantile(found["snr"], FAINT)))


def _surprise(ranks: Mapping[str, Ranks], found: Mapping[str, np.ndarray], log_snr: np.ndarray) -> np.ndarray:
    return -np.log(np.min([rank(found[name], log_snr) / WEIGHTS[name] for name, rank in ranks.items()], axis=0))


def _ranks(value: np.ndarray, log_snr: np.ndarray) -> Ranks:
    order = np.argsort(log_snr, kind="stable")
    # Each knot's objects reach half-way into its neighbours', so that the ranks change smoothly.
    knots = int(np.clip(len(order) // 100, 1, KNOTS))
    middle = (np.arange(knots) + 0.5) * len(order) / knots
    width = len(order) / knots
    groups = [order[max(0, int(m - width)) : int(m + width)] for m in middle]
    quantiles = np.array([np.quantile(value[g], LEVELS) for g in groups])
    beyond = int(np.searchsorted(LEVELS, 0.95))
    tail = np.array([max(np.mean(v[v > c] - c), 1e-6) for v, c in ((value[g], q[beyond]) for g, q in zip(groups, quantiles, strict=True))])
    return Ranks(np.array([log_snr[g].mean() for g in groups]), quantiles, tail)
