"""The score of detections on a scene of known objects: purity, completeness, pairs, fluxes and places.

The evaluation stages and `benchmarks/images.py` share it. Distances are in pixels. A true object counts as real from a
signal-to-noise ratio of `REAL` on: what a detection lies on below that is no merit. It is isolated when no other true object is
nearer than `ISOLATED`.

References:
    Wilson (1927), JASA 22, 209.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from .match import one_to_one, robust, wilson

REAL = 1.5
ISOLATED = 12.0
OUTLIER = 0.5
"""A flux that is wrong by more than this part of the truth is an outlier."""

SNR_BINS = (3.0, 4.0, 5.0, 7.0, 10.0, 20.0)
SEPARATION_BINS = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0)
SEEING_BINS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
RATIO_BINS = (0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Known:
    """True objects; arrays (n,).

    Attributes:
        points: (n, d) places.
        flux: by which the bright choose first.
        snr: matched-filter signal-to-noise ratio of each object as if it were alone.
        pair: number of the pair that it belongs to, -1 for none.
    """

    points: np.ndarray
    flux: np.ndarray
    snr: np.ndarray
    pair: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Detected:
    """Detections; arrays (m,).

    Attributes:
        points: (m, d) places, in the space of the true ones.
        rank: how sure a detection is: significance or probability; inf where it is certain.
    """

    points: np.ndarray
    rank: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Fraction:
    """How many of how many, and the 68.3 % Wilson interval."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The fraction; NaN of nothing."""
        return self.hits / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Its lower and upper end."""
        return wilson(self.hits, self.of)

    @classmethod
    def among(cls, hit: np.ndarray, which: np.ndarray) -> Fraction:
        """Return the fraction of hits among the objects of a mask."""
        return cls(int(np.count_nonzero(hit & which)), int(np.count_nonzero(which)))


@dataclass(frozen=True)
class Matched:
    """Truth and detections, matched one to one, the bright choosing first.

    Attributes:
        known, detected: the objects.
        match: (n,) index of the detection of each true object, -1 for none, and for those that are not real.
        pixel: length of a pixel in the space of the points.
    """

    known: Known
    detected: Detected
    match: np.ndarray
    pixel: float = 1.0

    @property
    def hit(self) -> np.ndarray:
        """(n,) whether a true object was found."""
        return self.match >= 0

    @cached_property
    def neighbour(self) -> np.ndarray:
        """(n,) distance of the nearest other true object (pixel)."""
        if len(self.known) < 2:
            return np.full(len(self.known), np.inf)
        return np.asarray(cKDTree(self.known.points).query(self.known.points, k=2)[0][:, 1]) / self.pixel

    @property
    def isolated(self) -> np.ndarray:
        """(n,) whether a true object stands alone."""
        return self.neighbour > ISOLATED

    @property
    def purity(self) -> Fraction:
        """Which of the detections are real."""
        return Fraction(int(np.count_nonzero(self.hit)), len(self.detected))


def match(known: Known, detected: Detected, radius: float = 3.0, pixel: float = 1.0) -> Matched:
    """Match true objects and detections no more than `radius` pixels apart."""
    real = np.flatnonzero(known.snr > REAL)
    result = np.full(len(known), -1, np.int64)
    result[real] = one_to_one(known.points[real], detected.points, known.flux[real], radius * pixel)
    return Matched(known, detected, result, pixel)


def match_at_purity(known: Known, detected: Detected, purity: float, radius: float = 3.0, pixel: float = 1.0) -> tuple[Matched, float]:
    """Match the most detections, in the order of their rank, that are as pure as wanted.

    Purity is taken to rise with the rank, as it does but for chance.

    Returns:
        the match, whose detections are those left (`Matched.match` counts among them), and the lowest rank left: -inf where
        nothing had to go, NaN where no cut reaches the purity and so nothing was cut.
    """
    everything = match(known, detected, radius, pixel)
    if len(detected) == 0 or everything.purity.value >= purity:
        return everything, -np.inf
    ranks = np.unique(detected.rank)
    low, high = 0, len(ranks)
    best, cut = everything, np.nan
    while low < high:
        middle = (low + high) // 2
        trial = match(known, strongest(detected, float(ranks[middle])), radius, pixel)
        if trial.purity.value >= purity:
            high, best, cut = middle, trial, float(ranks[middle])
        else:
            low = middle + 1
    return best, cut


def strongest(detected: Detected, cut: float) -> Detected:
    """Return the detections of at least that rank."""
    keep = detected.rank >= cut
    return replace(detected, points=detected.points[keep], rank=detected.rank[keep])


def completeness(matched: Matched, edges: Sequence[float] = SNR_BINS, *, isolated: bool = True) -> list[Fraction]:
    """Return the found fraction of true objects in bins of signal-to-noise ratio."""
    which = matched.isolated if isolated else np.ones(len(matched.known), bool)
    return in_bins(matched.hit, matched.known.snr, edges, which)


def in_bins(hit: np.ndarray, values: np.ndarray, edges: Sequence[float], which: np.ndarray | None = None) -> list[Fraction]:
    """Return fractions in bins; each holds its lower edge, the last its upper one too."""
    chosen = np.ones(len(hit), bool) if which is None else which
    bins = list(pairwise(edges))
    result = []
    for number, (low, high) in enumerate(bins):
        inside = (values >= low) & ((values <= high) if number == len(bins) - 1 else (values < high))
        result.append(Fraction.among(hit, chosen & inside))
    return result


@dataclass(frozen=True)
class Pairs:
    """Pairs of true objects; arrays (k,).

    Attributes:
        members: (k, 2) indices of the true objects, the brighter first.
        separation: pixel.
        ratio: flux of the fainter over the brighter.
        found: whether each member has a detection of its own.
    """

    members: np.ndarray
    separation: np.ndarray
    ratio: np.ndarray
    found: np.ndarray

    def __len__(self) -> int:
        return len(self.separation)

    def take(self, which: np.ndarray) -> Pairs:
        """Return some of the pairs."""
        return Pairs(self.members[which], self.separation[which], self.ratio[which], self.found[which])


def pairs(matched: Matched) -> Pairs:
    """Return the pairs of which both members are known."""
    known = matched.known
    _, place, counts = np.unique(known.pair, return_inverse=True, return_counts=True)
    whole = np.flatnonzero((known.pair >= 0) & (counts[place] == 2))
    order = whole[np.lexsort((-known.flux[whole], known.pair[whole]))]
    members = order.reshape(-1, 2)
    apart = np.linalg.norm(known.points[members[:, 0]] - known.points[members[:, 1]], axis=1) / matched.pixel
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = known.flux[members[:, 1]] / known.flux[members[:, 0]]
    return Pairs(members, apart, ratio, np.asarray(matched.hit[members].all(axis=1)))


def close_pairs(points: np.ndarray, flux: np.ndarray, eligible: np.ndarray, reach: float) -> np.ndarray:
    """Return (n,) numbers of pairs for objects that are each other's nearest and have no third one as near; -1 for the others.

    Args:
        points: (n, d) places.
        flux: (n,); of a pair, the fainter holds at least a tenth of the brighter's.
        eligible: (n,) the objects that count.
        reach: greatest distance of the two.
    """
    pair = np.full(len(points), -1, np.int64)
    some = np.flatnonzero(eligible)
    if len(some) < 3:
        return pair
    distance, nearest = cKDTree(points[some]).query(points[some], k=3)
    first = np.arange(len(some))
    partner = nearest[:, 1]
    third = distance[:, 2] > 2.0 * distance[:, 1]
    mutual = (partner[partner] == first) & (first < partner) & (distance[:, 1] <= reach) & third & third[partner]
    one, two = some[first[mutual]], some[partner[mutual]]
    alike = np.minimum(flux[one], flux[two]) >= 0.1 * np.maximum(flux[one], flux[two])
    one, two = one[alike], two[alike]
    pair[one] = pair[two] = np.arange(len(one))
    return pair


@dataclass(frozen=True)
class FluxErrors:
    """Relative flux errors: median, 1.48 MAD, standard error of the median, part of outliers, and how many they are.

    `pull` is the 1.48 MAD of the errors in units of the stated ones; NaN where none is stated.
    """

    bias: float
    scatter: float
    error: float
    outliers: Fraction
    pull: float
    n: int


def flux_errors(true: np.ndarray, measured: np.ndarray, stated: np.ndarray | None = None) -> FluxErrors:
    """Return how measured fluxes differ from the true ones; NaN among them is left out."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = measured / true - 1.0
    usable = np.isfinite(relative)
    bias, scatter, error = robust(relative[usable])
    pull = np.nan
    if stated is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            pulls = (measured - true) / stated
        pull = robust(pulls[usable & np.isfinite(pulls)])[1]
    return FluxErrors(bias, scatter, error, Fraction.among(np.abs(relative) > OUTLIER, usable), pull, int(usable.sum()))


def position_error(matched: Matched, which: np.ndarray) -> float:
    """Return the median distance (pixel) of the detections of some true objects from where these are."""
    at = np.flatnonzero(which & matched.hit)
    if not len(at):
        return float("nan")
    apart = matched.detected.points[matched.match[at]] - matched.known.points[at]
    return float(np.median(np.linalg.norm(apart, axis=1))) / matched.pixel
