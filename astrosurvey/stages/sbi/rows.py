"""Random numbers for simulations: each row has a stream of its own, so that no result depends on how many are made at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class RowRandom:
    """Random numbers for n simulations, the same for a row whatever the other rows are.

    Philox counts: the key is the seed, and the counter begins at the row and at how often numbers were asked for.

    Args:
        seed: of all rows.
        start: the first row's number.
        stop: the number after the last row's.
    """

    def __init__(self, seed: int, start: int, stop: int) -> None:
        self._philox = np.random.Philox(key=seed)
        self._generator = np.random.Generator(self._philox)
        self._state = self._philox.state
        self._rows, self._calls = range(start, stop), 0

    def __len__(self) -> int:
        return len(self._rows)

    def each(self) -> Iterator[np.random.Generator]:
        """Yield a generator for each row; each is good until the next one is asked for."""
        counter = self._state["state"]["counter"]
        self._calls += 1
        for row in self._rows:
            counter[:] = 0, 0, row, self._calls
            self._state["buffer_pos"] = 4  # nothing is left of the row before
            self._state["has_uint32"] = 0
            self._philox.state = self._state
            yield self._generator

    def normal(self, *shape: int) -> np.ndarray:
        """Return (n, …) standard normal numbers."""
        out = np.empty((len(self), *shape))
        for row, rng in zip(out.reshape(len(self), -1), self.each(), strict=True):
            rng.standard_normal(out=row)
        return out

    def uniform(self, *shape: int) -> np.ndarray:
        """Return (n, …) numbers that are even in [0, 1)."""
        out = np.empty((len(self), *shape))
        for row, rng in zip(out.reshape(len(self), -1), self.each(), strict=True):
            rng.random(out=row)
        return out

    def poisson(self, mean: np.ndarray) -> np.ndarray:
        """Return (n, …) Poisson numbers with the given (n, …) means."""
        return np.stack([rng.poisson(m) for m, rng in zip(mean, self.each(), strict=True)]).astype(np.float64)

    def binomial(self, number: int, probability: np.ndarray) -> np.ndarray:
        """Return (n, …) binomial numbers with the given (n, …) probabilities."""
        return np.stack([rng.binomial(number, p) for p, rng in zip(probability, self.each(), strict=True)]).astype(np.float64)


class RandomOfRows:
    """Random numbers for some rows, as `RowRandom` has them for a range.

    Args:
        seed: of all rows.
        rows: (m,) their numbers, rising.
    """

    def __init__(self, seed: int, rows: np.ndarray) -> None:
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        self._streams = [RowRandom(seed, int(run[0]), int(run[-1]) + 1) for run in runs]

    def uniform(self, *shape: int) -> np.ndarray:
        """Return (m, …) numbers that are even in [0, 1)."""
        return np.concatenate([stream.uniform(*shape) for stream in self._streams])

    def normal(self, *shape: int) -> np.ndarray:
        """Return (m, …) standard normal numbers."""
        return np.concatenate([stream.normal(*shape) for stream in self._streams])
