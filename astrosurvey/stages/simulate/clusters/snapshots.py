"""A system of structures through time: the same objects at every moment, while structures are born, merge and dissolve.

Every object has a place in a structure and a place in the background, and is at one of them. Structures drift slowly. Changes
happen between two moments, so that at each moment it is certain what belongs to what.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .mock import Structure, populate, structures

DRIFT = 0.1
"""How far a structure's centre moves from the first moment to the last, at most along each axis."""


@dataclass(frozen=True, eq=False)
class History:
    """When each of s structures is there.

    Attributes:
        born: (s,) first moment at which it exists; 0 for those that always did.
        gone: (s,) first moment at which it exists no more; the number of moments for those that last.
        into: (s,) the structure that it has become part of from the moment `gone` on; -1 for none.
    """

    born: np.ndarray
    gone: np.ndarray
    into: np.ndarray


@dataclass(frozen=True, eq=False)
class System:
    """n objects that belong to s structures, or to none, at a number of moments.

    Attributes:
        home: (n,) the structure that an object belongs to while that exists; -1 for the background.
        inside: (n, d) its place when the structures are where they start.
        outside: (n, d) its place while its structure does not exist.
        drift: (s, d) how far each structure moves until the last moment.
        history: when structures exist.
        moments: how many.
        structures: what they are.
    """

    home: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    drift: np.ndarray
    history: History
    moments: int
    structures: tuple[Structure, ...]

    def at(self, moment: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (n, d) places at a moment, and (n,) the structure that each object then belongs to; -1 for none."""
        history = self.history
        s = len(self.structures)
        exists = (moment >= history.born) & (moment < history.gone)
        merged = (moment >= history.gone) & (history.into >= 0)
        time = moment / max(self.moments - 1, 1)
        shift = self.drift * time
        start = np.array([structure.track[1] for structure in self.structures]).reshape(s, self.inside.shape[1])
        for k in np.flatnonzero(history.into >= 0):
            # One that merges arrives at the other's place at the moment at which it is gone.
            other = history.into[k]
            part = min((moment - history.born[k]) / max(history.gone[k] - history.born[k], 1), 1.0)
            shift[k] = part * (start[other] + self.drift[other] * time - start[k])
        owner = np.concatenate([np.where(exists, np.arange(s), np.where(merged, history.into, -1)), [-1]])[self.home]
        places = np.where(
            (owner >= 0)[:, None], self.inside + np.concatenate([shift, np.zeros((1, shift.shape[1]))])[self.home], self.outside
        )
        return places, owner.astype(np.int32)


def system(
    rng: np.random.Generator,
    n: int,
    d: int,
    moments: int,
    *,
    clumps: int = 9,
    streams: int = 3,
    background: float = 0.5,
    births: int = 1,
    dissolutions: int = 1,
    mergers: int = 1,
) -> System:
    """Return a system drawn at random.

    Args:
        rng: all of its randomness.
        n: objects.
        d: dimensions.
        moments: how many snapshots there will be.
        clumps, streams, background: see `mock.mock`.
        births: clumps that are not there at first.
        dissolutions: clumps whose members go back to the background.
        mergers: clumps that become part of another one; each takes two of the clumps.
    """
    drawn = structures(rng, d, clumps=clumps, streams=streams)
    s = len(drawn)
    inside, home = populate(rng, drawn, n, d, background=background if drawn else 1.0)
    outside = np.where((home >= 0)[:, None], rng.random((n, d)), inside)
    born, gone, into = np.zeros(s, np.int64), np.full(s, moments), np.full(s, -1)
    changing = rng.permutation(clumps)[: births + dissolutions + 2 * mergers]
    # In the middle of the time, so that before and after can both be seen.
    early, late = moments // 4 + 1, max(3 * moments // 4, moments // 4 + 1)
    for k in changing[:births]:
        born[k] = rng.integers(early, late + 1)
    for k in changing[births : births + dissolutions]:
        gone[k] = rng.integers(early, late + 1)
    for first, second in changing[births + dissolutions :].reshape(-1, 2):
        small, large = sorted((first, second), key=lambda k: drawn[k].weight)
        gone[small], into[small] = rng.integers(early, late + 1), large
    drift = rng.uniform(-DRIFT, DRIFT, (s, d))
    return System(home, inside, outside, drift, History(born, gone, into), moments, drawn)
