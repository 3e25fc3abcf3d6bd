"""Whether an observation looks as if the simulator could have made it: a p-value for each.

A network answers for any data, also for such as it has never seen. Four scores tell those. In the space of the data: how far all features
together are from the simulations (Mahalanobis' distance, which sees more noise than was simulated), and how far single features, or runs
of features, stand out from what all others make of them (matched filters, which see a line that was not simulated). In the space
of the summaries that the posterior rests on: Mahalanobis' distance again, and that to the nearest simulations (which sees what lies in
a hole between them). A summary that has thrown a feature away cannot see it, hence the data's own scores. The highest of the scores, each
in units of how far it reaches among simulations, is ranked among those of simulations that were kept back. So the p-values of new
simulations are uniform by construction, whatever the shape of their distribution, and the least is 1 / (n + 1) by n of them.

A small p-value says that this observation is rare under prior and simulator together; which of the two is at fault it cannot say.

References:
    Mahalanobis (1936); Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World (conformal p-values);
    Schmitt et al. (2021), arXiv:2112.08866, and Elsemüller et al. (2024), arXiv:2406.03154 (misspecification seen in summaries).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from threadpoolctl import threadpool_limits

from ....products._npy import forget
from .features import Whitening, features

NEIGHBOURS = 10
SUMMARIES = 32
"""Numbers, at most, between which distances to neighbours are told."""
POINTS = 2000
"""Simulations, at most, that neighbours are looked for among."""
BLOCK = 2**22
"""Values of data that are looked at at once."""
LEVEL = 0.01
"""An observation with a p-value up to this is flagged; of fewer than a hundred simulations kept back, none has one."""
STORED = "misspecification."
"""What its arrays are called among a model's weights begins with this."""
SCORES = ("data", "outstanding", "summary", "neighbours")
BEHIND = np.array([1.0, 0.0, 1.0, 1.0])
"""What the scores stand back by, in units of their scatter: distances grow far beyond all bounds where something is wrong all over, and
few of the false alarms are enough for them; a single line is near what chance does somewhere."""
HIGH, SIGMAS = 0.975, 1.96
"""A score's scatter is told by where so many of the simulations are below it, as if that were so many standard deviations above the
median: scores whose tails are unlike are then alike where alarms are raised."""
APART = 8
"""One in so many of the training's simulations says how the scores scatter; the others are what they are scores of."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Simulations or observations as misspecification sees them.

    Attributes:
        data: (n, …).
        summary: (n, s) what the posterior rests on; None where it rests on the data themselves.
    """

    data: np.ndarray
    summary: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: slice) -> Seen:
        """Return some rows."""
        return Seen(self.data[rows], None if self.summary is None else self.summary[rows])


@dataclass(frozen=True, eq=False)
class Detector:
    """What p-values are made of.

    Attributes:
        data, summary: maps to white features and summaries.
        points: (n, s) white summaries of simulations, among which neighbours are looked for.
        kept: (n, s) the same of simulations that were kept back, for the test of many observations at once.
        middle, width: (score,) median of the logs of the scores, and their scatter above it.
        known: (n,) rising highest scores of simulations that were kept back.
    """

    data: Whitening
    summary: Whitening
    points: np.ndarray
    kept: np.ndarray
    middle: np.ndarray
    width: np.ndarray
    known: np.ndarray

    def p_values(self, seen: Seen) -> np.ndarray:
        """Return (n,) how large a part of the simulations looks at least as strange; NaN where a value is missing."""
        return self.ranked(self.highest(seen))

    @threadpool_limits.wrap(limits=1)  # a sum over threads depends on their number
    def highest(self, seen: Seen) -> np.ndarray:
        """Return (n,) the highest of the scores, above its median among simulations and in units of its scatter there, less `BEHIND`."""
        rows = max(1, BLOCK // max(seen.data[0].size, 1)) if len(seen) else 1
        found = np.empty(len(seen))
        for first in range(0, len(seen), rows):
            score = self.scores(seen.take(slice(first, first + rows)))
            found[first : first + rows] = ((score - self.middle) / self.width - BEHIND).max(axis=1)
            forget(seen.data)
        return found

    def ranked(self, highest: np.ndarray) -> np.ndarray:
        """Return (n,) p-values of what `highest` returned."""
        above = len(self.known) - np.searchsorted(self.known, highest.astype(np.float32), side="left")
        return np.asarray(np.where(np.isnan(highest), np.nan, (1 + above) / (1 + len(self.known))))

    @threadpool_limits.wrap(limits=1)
    def together(self, seen: Seen, rng: np.random.Generator) -> float:
        """Return how often as many simulations are as unlike those that were kept back (MMD); NaN of fewer than two observations.

        Objects of a survey seldom follow the prior, so that a small p-value may be nothing but their own distribution.
        """
        from .mmd import MOST, mmd_test

        # No more than the test looks at: a tile may hold more data than memory.
        white = self.white_summary(seen.take(slice(None, None, max(1, -(-len(seen) // MOST)))))
        white = white[np.isfinite(white).all(axis=1)]
        return mmd_test(self.kept, white, rng)[1] if min(len(white), len(self.kept)) > 1 else float("nan")

    def scores(self, seen: Seen) -> np.ndarray:
        """Return (n, score) logs of `SCORES`."""
        from scipy.spatial import cKDTree

        values = features(seen.data)
        white = self.data(values)
        near = self.white_summary(seen)
        ok = np.isfinite(near).all(axis=1)
        apart = np.where(ok, 0.0, np.nan)
        if ok.any() and self.points.size:
            distance, _ = cKDTree(self.points).query(near[ok], min(NEIGHBOURS, len(self.points)))
            apart[ok] = np.reshape(distance, (ok.sum(), -1)).mean(axis=1)
        parts = [
            np.where(self.data.impossible(values), np.inf, (white**2).sum(axis=1)),
            self.data.outstanding(white),
            (near**2).sum(axis=1),
            apart,
        ]
        limits = np.finfo(np.float32)
        return np.log(np.clip(np.stack(parts, axis=1), limits.tiny, limits.max))

    def white_summary(self, seen: Seen) -> np.ndarray:
        """Return (n, s) white summaries, or data where there is no summary: the components of largest variance."""
        values = features(seen.data if seen.summary is None else seen.summary)
        return self.summary(values)[:, -SUMMARIES:]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return it as named arrays, for a model's weights."""
        found = {
            f"{part}.{field.name}": getattr(getattr(self, part), field.name) for part in ("data", "summary") for field in fields(Whitening)
        }
        found |= {name: getattr(self, name) for name in ("points", "kept", "middle", "width", "known")}
        return {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Detector:
        """Return the detector that arrays hold."""
        data, summary = (
            Whitening(*(np.asarray(arrays[f"{part}.{field.name}"], float) for field in fields(Whitening))) for part in ("data", "summary")
        )
        return cls(data, summary, *(np.asarray(arrays[name], float) for name in ("points", "kept", "middle", "width", "known")))


def among_weights(detector: Detector | None) -> dict[str, np.ndarray]:
    """Return the arrays of a detector, if there is one, as a model's weights name them."""
    return {} if detector is None else {f"{STORED}{name}": array for name, array in detector.to_arrays().items()}


def parted(weights: Mapping[str, np.ndarray]) -> tuple[Detector | None, dict[str, np.ndarray]]:
    """Return the detector that is among a model's weights, if there is one, and the others."""
    learnt = {name.removeprefix(STORED): array for name, array in weights.items() if name.startswith(STORED)}
    others = {name: array for name, array in weights.items() if not name.startswith(STORED)}
    return Detector.from_arrays(learnt) if learnt else None, others


@threadpool_limits.wrap(limits=1)
def learn(training: Seen, kept: Seen) -> Detector:
    """Return a detector.

    Args:
        training: simulations that the estimator was trained on, or some of them; a few thousand do.
        kept: simulations that it was not trained on; the more, the smaller the p-values that can be told.
    """
    most = len(training) - len(training) // APART
    first, second = training.take(slice(0, most)), training.take(slice(most, None))
    data = Whitening.learnt(features(first.data))
    summary = Whitening.learnt(features(first.data if first.summary is None else first.summary))
    nothing = np.zeros(len(SCORES))
    raw = Detector(data, summary, np.empty((0, 0)), np.empty((0, 0)), nothing, nothing + 1, np.empty(0))
    points = raw.white_summary(first.take(slice(0, POINTS)))
    # What is written is what is asked: in single precision from here on.
    raw = Detector.from_arrays({**raw.to_arrays(), "points": points.astype(np.float32), "kept": raw.white_summary(kept).astype(np.float32)})
    score = raw.scores(second if len(second) else first)
    middle, high = np.quantile(score, [0.5, HIGH], axis=0)
    width = np.where(high > middle, (high - middle) / SIGMAS, 1.0)
    scaled = Detector.from_arrays({**raw.to_arrays(), "middle": middle.astype(np.float32), "width": width.astype(np.float32)})
    return Detector.from_arrays({**scaled.to_arrays(), "known": np.sort(scaled.highest(kept))})
