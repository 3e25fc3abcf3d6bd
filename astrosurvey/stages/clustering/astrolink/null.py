"""What a featureless field shows by chance: how often one of its groups has an excess as large as a given one.

The chance S(t) that a join of such a field has an excess above t is exp(-(a + b t + c t^2)) in the tail, nearly the same for
uniform and for Gaussian fields once excesses are in units of a field's own noise. With J joins the chance that
any of them reaches t is 1 - exp(-J S(t)): extreme values of many nearly independent trials.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

TABLE = Path(__file__).with_name("null.json")
"""Made by tools/cluster_null.py."""
START = 1.5
"""The tail begins at this excess."""
FEWEST = 10
"""Joins above an excess for its rate to count in the fit."""
FIELD_POINTS = (2_000, 20_000)
"""Points at least and at most of a field that is simulated: more points are more joins, and do not change the rate."""
JOINS = 10_000
"""Joins of simulated fields that make a tail."""


@dataclass(frozen=True)
class Null:
    """The noise of featureless fields of one dimension and number of neighbours.

    Attributes:
        tail: a, b, c of the rate exp(-(a + b t + c t^2)) of joins with an excess above t.
        scale: of the prominences in a uniform field, in log density; see `joins.QUANTILE`.
    """

    tail: tuple[float, float, float]
    scale: float

    def log_rate(self, excess: Any) -> Any:
        """Return log S of excesses; below the tail's beginning the rate is that at it, or higher."""
        a, b, c = self.tail
        t = np.maximum(excess, 0.0)
        return np.minimum(-(a + b * t + c * t * t), 0.0)

    def log_probability(self, excess: Any, joins: int) -> Any:
        """Return the log of the probability that a featureless field with so many joins has any as large an excess."""
        expected = np.log(max(joins, 1)) + self.log_rate(excess)
        return np.where(expected < -20, expected, np.log(-np.expm1(-np.exp(np.maximum(expected, -20)))))

    def significance(self, excess: Any, joins: int) -> Any:
        """Return the same as standard deviations of a normal distribution."""
        from scipy.special import ndtri_exp

        return -ndtri_exp(np.minimum(self.log_probability(excess, joins), -1e-300))


def fitted(excess: np.ndarray, scale: float) -> Null:
    """Return the tail of excesses of featureless fields, fitted to their rate by weighted least squares."""
    ordered = np.sort(excess)
    last = ordered[-FEWEST] if len(ordered) > FEWEST else START
    at = np.linspace(START, max(last, START + 1), 30)
    above = len(ordered) - np.searchsorted(ordered, at)
    enough = above >= FEWEST
    if enough.sum() < 3:
        raise ValueError(f"{len(ordered)} joins are too few for a tail; simulate more or larger fields")
    weight, rate = np.sqrt(above[enough]), -np.log(above[enough] / len(ordered))
    c, b, a = np.polyfit(at[enough], rate, 2, w=weight)
    if c < 0:  # a tail that would turn up again
        c, (b, a) = 0.0, np.polyfit(at[enough], rate, 1, w=weight)
    elif b < 0:
        b, (c, a) = 0.0, np.polyfit(at[enough] ** 2, rate, 1, w=weight)
    return Null((float(a), float(b), float(c)), scale)


@cache
def _table() -> dict[str, Any]:
    return dict(json.loads(TABLE.read_text(encoding="utf-8")))


def tabulated(dimension: int, k: int) -> Null:
    """Return the null of a dimension and a number of neighbours, between entries of the table linear in their logarithms."""
    table = _table()
    rows = _between(table["dimension"], dimension)
    columns = _between(table["k"], k)
    tail, scale = np.zeros(3), 0.0
    for i, u in rows:
        for j, v in columns:
            tail += u * v * np.asarray(table["tail"][i][j])
            scale += u * v * table["scale"][i][j]
    return Null((float(tail[0]), float(tail[1]), float(tail[2])), float(scale))


def covers(dimension: int) -> bool:
    """Return whether the table goes up to a dimension."""
    return bool(dimension <= _table()["dimension"][-1])


def _between(places: Sequence[float], value: float) -> list[tuple[int, float]]:
    """Return the entries on both sides of a value, and their weights; beyond the ends the last one."""
    x = np.log(np.clip(value, places[0], places[-1]))
    grid = np.log(places)
    i = int(np.clip(np.searchsorted(grid, x, side="right") - 1, 0, len(grid) - 2))
    part = float((x - grid[i]) / (grid[i + 1] - grid[i]))
    return [(i, 1 - part), (i + 1, part)]


def featureless(rng: np.random.Generator, n: int, dimension: int, kind: int) -> np.ndarray:
    """Return (n, dimension) points of a field with one maximum at most: uniform in a box if `kind` is even, else Gaussian."""
    return rng.standard_normal((n, dimension)) if kind % 2 else rng.random((n, dimension))


def simulated(
    rng: np.random.Generator,
    n: int,
    dimension: int,
    k: int,
    weights: np.ndarray | None = None,
    joins: int = JOINS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Null:
    """Return the null of featureless fields like the one at hand: as many points, neighbours and, in random order, its weights.

    Args:
        rng: all of its randomness.
        n: points of the field at hand; those simulated at a time are within FIELD_POINTS.
        dimension: of the space.
        k: neighbours.
        weights: (n,) of the points.
        joins: simulate until there are so many.
        progress: called with joins done and wanted.
    """
    from ..features import Points
    from ..graph import build
    from .joins import Joins, joins_of

    if weights is not None:
        weights = np.sort(weights)  # so that the order of the rows does not matter
    rows = min(max(n, FIELD_POINTS[0]), FIELD_POINTS[1])
    fields: list[Joins] = []
    done = 0
    while done < joins or len(fields) < 2:
        values = featureless(rng, rows, dimension, len(fields))
        points = Points(values, np.arange(rows), rows, dimension, np.zeros(dimension), ())
        weight = None if weights is None else rng.choice(weights, rows, replace=rows > n)
        fields.append(joins_of(build(points, k, weights=weight)))
        done += max(len(fields[-1]), 1)
        progress(min(done, joins), joins)
    scale = float(np.mean([field.measured for field in fields[::2]]))
    return fitted(np.concatenate([field.clear[:, 0] / field.unit(scale) for field in fields]), scale)
