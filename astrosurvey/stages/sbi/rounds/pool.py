"""Simulations of two rounds as one set of draws from the later round's prior."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....catalog.ids import object_ids
from ....core.stage import Context, DataError
from ....products import Observations
from ....products._npy import NpyWriter, forget, map_npy, rows_at_once
from ..priors import Prior
from ..simulator import FAILED, SIMULATOR


def pooled(ctx: Context, observations: Observations, earlier: Observations) -> Observations:
    """Return all simulations of this round, and those of an earlier one that are within its prior.

    Args:
        ctx: the task's surroundings.
        observations: simulations of this round.
        earlier: of a round with a wider prior, by the same simulator.

    Raises:
        DataError: these are not two rounds of one inference.
    """
    prior, before = (_prior(name, part) for name, part in (("observations", observations), ("earlier", earlier)))
    _require(prior, before, observations, earlier)
    assert observations.parameters is not None
    assert earlier.parameters is not None
    rows = np.flatnonzero(prior.inside(earlier.parameters.draws))
    theta = np.concatenate([observations.parameters.draws, earlier.parameters.draws[rows]])
    path = _written(ctx.scratch / "pooled.npy", observations.data, earlier.data, rows)
    tile = ctx.tile.number if ctx.tile is not None else 0
    data = map_npy(path)
    failed = int(np.isnan(data.reshape(len(data), -1)).all(axis=1).sum())
    ctx.log.info("%d of %d earlier simulations are within this round's prior", len(rows), len(earlier))
    meta = {**observations.meta, FAILED: failed}
    return Observations(data, object_ids(tile, len(data)), "", observations.names, prior.samples(theta), meta, observations.units)


def _prior(name: str, part: Observations) -> Prior:
    if part.parameters is None:
        raise DataError(f"nobody knows the parameters of `{name}`; wire the output of a simulator")
    return Prior.of(part.parameters)


def _require(prior: Prior, before: Prior, observations: Observations, earlier: Observations) -> None:
    """Raise `DataError` unless the one set is a later round of the other."""
    if not prior.cut_of(before):
        raise DataError("the prior of `observations` is no part of that of `earlier`; wire the later round to `observations`")
    if observations.data.shape[1:] != earlier.data.shape[1:] or observations.names != earlier.names:
        raise DataError("`observations` and `earlier` hold data of other features; simulate all rounds alike")
    if observations.meta.get(SIMULATOR) != earlier.meta.get(SIMULATOR):
        raise DataError("`observations` and `earlier` were simulated in other ways; simulate all rounds with the same settings")


def _written(path: Path, first: np.ndarray, second: np.ndarray, rows: np.ndarray) -> Path:
    """Write one array and some rows of another to a file, block by block, and return its path."""
    with NpyWriter(path, first.dtype, (len(first) + len(rows), *first.shape[1:])) as file:
        for data, chosen in ((first, np.arange(len(first))), (second, rows)):
            step = rows_at_once(data)
            for start in range(0, len(chosen), step):
                file.write(np.ascontiguousarray(data[chosen[start : start + step]], first.dtype))
                forget(data)
    return path
