"""From strange scores to a p-value: how large a part of the known objects of that brightness looks at least as strange.

Up to three witnesses speak of a spectrum: the autoencoder's explanation of it, the template that fits it best, and a classifier. Each
statistic is ranked among known objects of similar signal-to-noise ratio. Of a witness with several of them the smallest rank is taken
(Tippett), so that one way of being strange is enough; of several witnesses the logarithms of the ranks are added (Fisher), so that what
two of them find a little strange is strange. Both are ranked again among the known, since neither statistics nor witnesses are independent
of each other: the result is meant to be uniform on known objects at every signal-to-noise ratio, whichever witnesses speak
(`benchmarks/anomaly.py` says how nearly it is). A spectrum with less signal than any known object is a case of its own: nothing tells
what it is.

References:
    Tippett (1931), The Methods of Statistics (the smallest p-value); Fisher (1932), Statistical Methods for Research Workers
    (their product); Brown (1975), Biometrics 31, 987 (when they are not independent); Vovk, Gammerman & Shafer (2005), Algorithmic
    Learning in a Random World (ranks among held-back examples).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import norm

from .score import BINS

RESIDUALS = tuple(f"residual_{width}" for width in BINS)
WITNESSES: Mapping[str, tuple[str, ...]] = {
    "explanation": ("density", "forest", *RESIDUALS),
    "templates": ("misfit",),
    "classes": ("nothing_known",),
}
"""Who speaks, and the statistics by which; of `density` and `forest` one. The explanation always speaks."""
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
        witnesses: of minus the log of the smallest of them, for witnesses with more than one.
        together: of the sum of minus the logs of what witnesses say, by their names with a `+` between.
        faintest: signal-to-noise ratio per pixel that all but `FAINT` of the known objects exceed.
    """

    ranks: Mapping[str, Ranks]
    witnesses: Mapping[str, Ranks]
    together: Mapping[str, Ranks]
    faintest: float

    def __call__(self, found: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return (n,) p-values: how large a part of the known objects looks at least as strange.

        Args:
            found: statistics, each (n,). Of witnesses other than the explanation they may be missing, wholly or, as NaN, in part.
        """
        log_snr = _log_snr(found)
        said = {name: self.said(name, found) for name in WITNESSES if self.knows(name) and set(WITNESSES[name]) & set(found)}
        p = said["explanation"].copy()
        spoke = {name: np.isfinite(one) for name, one in said.items()}
        for names in _together(list(said)):
            # The longest comes last, so each spectrum ends with all that speak of it.
            rows = np.all([spoke[name] for name in names], axis=0)
            total = np.sum([-np.log(said[name][rows]) for name in names], axis=0)
            p[rows] = self.together["+".join(names)](total, log_snr[rows])
        return np.asarray(np.minimum(p, self.enough(found)))

    def knows(self, witness: str) -> bool:
        """Return whether it has learnt what a witness says of the known."""
        return any(name in self.ranks for name in WITNESSES[witness])

    def said(self, witness: str, found: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return (n,) the p-values of one witness alone; NaN where it does not speak."""
        log_snr = _log_snr(found)
        p = _smallest(self.ranks, witness, found, log_snr)
        if witness in self.witnesses:
            p = self.witnesses[witness](-np.log(p), log_snr)
        return p

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

        parts = {"ranks": self.ranks, "witnesses": self.witnesses, "together": self.together}
        return {part: {name: written(one) for name, one in held.items()} for part, held in parts.items()} | {
            "faintest": round(self.faintest, 4)
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Calibration:
        """Return the calibration that a card holds."""

        def read(ranks: Mapping[str, Any]) -> Ranks:
            return Ranks(*(np.array(ranks[name], float) for name in ("log_snr", "quantiles", "tail")))

        ranks, witnesses, together = ({name: read(one) for name, one in card[part].items()} for part in ("ranks", "witnesses", "together"))
        return cls(ranks, witnesses, together, float(card["faintest"]))


def calibrate(found: Mapping[str, np.ndarray], density: str) -> Calibration:
    """Learn what is strange from the statistics of known objects that training has not seen.

    Args:
        found: statistics, each (n,); of witnesses other than the explanation they may be missing, wholly or, as NaN, in part.
        density: "flow" or "forest": what tells how rare a latent vector is.
    """
    log_snr = _log_snr(found)
    first = {"flow": "density", "forest": "forest"}[density]
    others = [name for witness in ("templates", "classes") for name in WITNESSES[witness] if np.isfinite(found.get(name, np.nan)).any()]
    ranks = {name: _ranks(found[name], log_snr) for name in (first, *RESIDUALS, *others)}
    smallest = -np.log(_smallest(ranks, "explanation", found, log_snr))
    alone = Calibration(ranks, {"explanation": _ranks(smallest, log_snr)}, {}, float(np.quantile(found["snr"], FAINT)))
    said = {name: -np.log(alone.said(name, found)) for name in WITNESSES if alone.knows(name)}
    together = {"+".join(names): _ranks(np.sum([said[name] for name in names], axis=0), log_snr) for names in _together(list(said))}
    return Calibration(ranks, alone.witnesses, together, alone.faintest)


def _log_snr(found: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.log(np.maximum(found["snr"], 1e-6))


def _together(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all sets of two and more that the explanation is in, fewer first."""
    return [("explanation", *others) for k in range(1, len(names)) for others in combinations(names[1:], k)]


def _smallest(ranks: Mapping[str, Ranks], witness: str, found: Mapping[str, np.ndarray], log_snr: np.ndarray) -> np.ndarray:
    """Return (n,) the smallest rank of a witness's statistics; NaN where one is."""
    return np.asarray(np.min([ranks[name](found[name], log_snr) for name in WITNESSES[witness] if name in ranks], axis=0))


def _ranks(value: np.ndarray, log_snr: np.ndarray) -> Ranks:
    there = np.isfinite(value)
    value, log_snr = value[there], log_snr[there]
    order = np.argsort(log_snr, kind="stable")
    # Each knot's objects reach half-way into its neighbours', so that the ranks change smoothly.
    knots = int(np.clip(len(order) // 100, 1, KNOTS))
    middle = (np.arange(knots) + 0.5) * len(order) / knots
    width = len(order) / knots
    groups = [order[max(0, int(m - width)) : int(m + width)] for m in middle]
    quantiles = np.array([np.quantile(value[g], LEVELS) for g in groups])
    beyond = int(np.searchsorted(LEVELS, 0.95))
    over = [value[g][value[g] > q[beyond]] - q[beyond] for g, q in zip(groups, quantiles, strict=True)]
    tail = np.array([max(float(one.mean()), 1e-6) if len(one) else 1e-6 for one in over])
    return Ranks(np.array([log_snr[g].mean() for g in groups]), quantiles, tail)
