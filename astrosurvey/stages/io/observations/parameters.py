"""Simulations that exist already: the parameters that made them, from columns of a table, and the prior that they were drawn from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ....core.tiles import Tile
from ....products import Observations
from ....products._fits import BadInput, escape
from ...sbi.priors import Prior, same_unit
from ..catalog.formats import FileTable, opened
from ..paths import path_of
from .columns import called, require_numbers

if TYPE_CHECKING:
    from .stage import ReadObservations

    Config = ReadObservations.Config

UNLIKELY = 1e-4
"""Probability below which rows are no draws of the prior (Kolmogorov & Smirnov)."""


def with_parameters(found: Observations, config: Config, tile: Tile, log: logging.Logger) -> Observations:
    """Return observations with the parameters that made them, which stand in columns of the same file or another.

    A table with fewer rows than there are observations has one for each so many in a row, such as the maps of one simulation.

    Args:
        found: without parameters.
        config: their prior, and the file.
        tile: whose file it is.
        log: takes warnings.

    Raises:
        DataError: a column is missing or of another unit, its rows do not fit, or one lies where the prior has no density.
    """
    path = Path(path_of(config.parameter_file or config.path, tile))
    prior = Prior.declared(dict(sorted(config.parameters.items())))
    with opened(path, config.hdu if config.parameter_file is None else None) as table:
        columns = [called(path, table, name) for name in prior.names]
        _require_units(path, table, columns, prior)
        held = table.read(columns, 0, table.rows)
    for name in columns:
        require_numbers(path, name, held[name], wanted=True)
    theta = np.stack([np.asarray(held[name].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)) for name in columns], axis=1)
    if not len(theta) or len(found) % len(theta):
        raise BadInput(
            path,
            f"has {len(theta)} rows of parameters for {len(found)} observations",
            fix="give one for each, or for each so many in a row",
        )
    _require_inside(path, theta, prior)
    draws = np.unique(theta, axis=0)  # rows of several maps of one simulation are one draw
    _compare(draws, prior, log)
    if len(draws) < _runs(theta) and any(m.kind != "categorical" for m in prior.marginals):
        # Only neighbours are learnt from, or kept back, together.
        log.warning("rows of the same parameters do not follow one another: training and calibration share some; sort the observations")
    return replace(found, parameters=prior.samples(np.repeat(theta, len(found) // len(theta), axis=0)))


def _require_units(path: Path, table: FileTable, columns: Sequence[str], prior: Prior) -> None:
    for column, marginal in zip(columns, prior.marginals, strict=True):
        if (unit := table.units.get(column, "")) and not same_unit(unit, marginal.unit):
            said = f"the column {escape(column, 40)!r} is in {escape(unit, 40)!r}, and its prior in {marginal.unit or 'no unit'!r}"
            raise BadInput(path, said, fix="correct `unit` and the numbers of the prior")


def _require_inside(path: Path, theta: np.ndarray, prior: Prior) -> None:
    """Raise `BadInput` naming the first row beyond the prior, and how many there are."""
    outside = ~np.stack([m.inside(theta[:, k]) for k, m in enumerate(prior.marginals)], axis=1)
    if not outside.any():
        return
    row, k = np.argwhere(outside)[0]
    marginal, rows = prior.marginals[k], int(outside.any(axis=1).sum())
    value = f"{theta[row, k]:.6g}" if np.isfinite(theta[row, k]) else "no number"
    said = f"row {row + 1} holds {value} in {marginal.name!r}, beyond its prior, {marginal.kind} {list(marginal.args)}"
    raise BadInput(path, f"{said} ({rows} of {len(theta)} rows lie beyond)", fix="correct the prior, or leave these simulations out")


def _compare(draws: np.ndarray, prior: Prior, log: logging.Logger) -> None:
    """Warn of parameters that are not distributed as their prior says."""
    from scipy.stats import kstest

    for k, marginal in enumerate(prior.marginals):
        if marginal.kind != "categorical" and kstest(marginal.probability(draws[:, k]), "uniform").pvalue < UNLIKELY:
            message = "%s is not distributed as its prior says, %s %s: posteriors will follow the simulations, not the prior"
            log.warning(message, marginal.name, marginal.kind, list(marginal.args))


def _runs(theta: np.ndarray) -> int:
    """Return how many runs of equal neighbours there are among rows."""
    return 1 + int((theta[1:] != theta[:-1]).any(axis=1).sum())
