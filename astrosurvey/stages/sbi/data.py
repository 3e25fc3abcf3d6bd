"""Simulations gathered from many tiles, read as they are needed, so that there may be more of them than memory holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.product import Tiles
from ...core.stage import DataError, NoWork
from ...products import Observations
from ...products._npy import forget
from .priors import Prior
from .simulator import SIMULATOR

BLOCK = 1 << 24
"""Values of data that are read at once."""
SCALES = 20_000
"""Simulations, at most, that scales are learnt from; fewer where these are more than `BLOCK` values."""


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of simulations, each in one part; a row's part depends on its id alone.

    Attributes:
        training: (n,) rows to learn from.
        validation: (n,) rows that say when to stop.
        test: (n,) rows to calibrate on, which nothing else has seen.
    """

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Simulations:
    """The simulations of all tiles, as rows.

    Args:
        tiles: simulations with their parameters, all of one simulator and prior.
        sets: data are (row, column), and a row in which a value is missing is none.

    Attributes:
        prior: of the parameters.
        shape: of the data of one simulation.
        names, units: of the features or columns; may be empty.
        simulator: what its stage says of itself; empty if it says nothing.
        usable: (n,) bool: no value is missing; of sets, some row is whole.

    Raises:
        DataError: the parameters are unknown, or tiles do not belong together.
        NoWork: there are none.
    """

    def __init__(self, tiles: Tiles[Observations], *, sets: bool = False) -> None:
        self._parts: list[Observations] = []
        self.prior: Prior
        self.shape: tuple[int, ...] = ()
        for tile, part in tiles.items():
            if not len(part):
                continue
            if part.parameters is None:
                raise DataError(f"tile {tile}: nobody knows the parameters of these observations; wire the output of a simulator")
            prior = Prior.of(part.parameters)
            if self._parts and (prior != self.prior or part.data.shape[1:] != self.shape):
                raise DataError(f"tile {tile} has another prior, or data of another shape, than the ones before; simulate all alike")
            self.prior, self.shape = prior, part.data.shape[1:]
            self._parts.append(part)
        if not self._parts:
            raise NoWork("there are no simulations")
        if sets and len(self.shape) != 2:
            raise DataError(f"a set has data of two axes, (row, column), not of {len(self.shape)}")
        self.names, self.units = self._parts[0].names, self._parts[0].units
        self.simulator: dict[str, Any] = dict(self._parts[0].meta.get(SIMULATOR, {}))
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])
        self.theta = np.concatenate([part.parameters.draws for part in self._parts])  # type: ignore[union-attr]
        self.ids = np.concatenate([part.ids for part in self._parts])
        some = self.blocks(np.arange(len(self)))
        self.usable = np.concatenate([whole(self.take(rows), sets=sets) for rows in some]) & np.isfinite(self.theta).all(axis=1)

    def __len__(self) -> int:
        return len(self.theta)

    @property
    def bytes(self) -> int:
        """What all data take in single precision."""
        return 4 * len(self) * int(np.prod(self.shape))

    @property
    def at_once(self) -> int:
        """Simulations whose data are `BLOCK` values, or a single one."""
        return max(1, BLOCK // int(np.prod(self.shape)))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return (n, …) float32 data of some rows."""
        found = np.empty((len(rows), *self.shape), np.float32)
        part = np.searchsorted(self._starts, rows, side="right") - 1
        for k in np.unique(part):
            here = part == k
            found[here] = self._parts[k].data[rows[here] - self._starts[k]]
            forget(self._parts[k].data)
        return found

    def blocks(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield some rows, `at_once` of them at a time."""
        for first in range(0, len(rows), self.at_once):
            yield rows[first : first + self.at_once]

    def split(self, keep_back: float) -> Split:
        """Return which of the usable rows are learnt from, and which are kept back: half to validate, half to test.

        Neighbouring rows of the same parameters, such as maps of one simulation, stay together.

        Args:
            keep_back: fraction of them.
        """
        rows = np.flatnonzero(self.usable)
        first = np.flatnonzero(np.append(True, (self.theta[1:] != self.theta[:-1]).any(axis=1)))
        place = scattered(self.ids[first[np.searchsorted(first, rows, side="right") - 1]])
        return Split(rows[place >= keep_back], rows[place < keep_back / 2], rows[(place >= keep_back / 2) & (place < keep_back)])

    def sample(self, rows: np.ndarray) -> np.ndarray:
        """Return the data of at most `SCALES` of some rows, evenly chosen, as (n, feature)."""
        most = min(SCALES, self.at_once)
        chosen = rows[:: max(1, -(-len(rows) // most))]
        return self.take(chosen).reshape(len(chosen), -1)


def whole(data: np.ndarray, *, sets: bool) -> np.ndarray:
    """Return (n,) bool: in which of (n, …) data no value is missing, or, of sets, not one in every row."""
    there = np.isfinite(data)
    return np.asarray(there.all(axis=-1).any(axis=1) if sets else there.reshape(len(data), -1).all(axis=1))


def scattered(ids: np.ndarray) -> np.ndarray:
    """Return (n,) numbers in [0, 1) that depend on nothing but the ids, and look like chance.

    References: Steele, Lea & Flood (2014), doi:10.1145/2660193.2660195 (the mixing of SplitMix64).
    """
    with np.errstate(over="ignore"):
        x = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return np.asarray((x >> np.uint64(11)) / float(1 << 53))


class Batches:
    """Rows by step: every epoch each member goes through all of them, in an order of its own.

    What a step sees depends on its number alone, so that a training that goes on sees what an uninterrupted one would have seen.

    Args:
        rows: (n,) to choose from.
        size: of a minibatch.
        members: of the ensemble.
        seed: of the orders.
    """

    def __init__(self, rows: np.ndarray, size: int, members: int, seed: int) -> None:
        self._rows, self._size, self._members, self._seed = rows, min(size, len(rows)), members, seed
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def epoch(self) -> int:
        """Steps in an epoch; what is left over after the last whole minibatch waits for another epoch's order."""
        return max(1, len(self._rows) // self._size)

    def __call__(self, step: int) -> np.ndarray:
        """Return (member, size) rows."""
        epoch, place = divmod(step, self.epoch)
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng((self._seed, epoch))
            self._order = epoch, np.stack([rng.permutation(self._rows) for _ in range(self._members)])
        return self._order[1][:, place * self._size : (place + 1) * self._size]
