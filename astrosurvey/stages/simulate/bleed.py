"""Saturated stars: charge that a full pixel cannot hold spills along its column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trail:
    """Full pixels in one column, and what is left of the charge for the pixels at their two ends.

    Attributes:
        column: in pixels of the sky, as are the rows.
        first: the lowest full row.
        last: the highest full row.
        below: electrons that spill into row `first - 1` besides its own.
        above: electrons that spill into row `last + 1`.
    """

    column: int
    first: int
    last: int
    below: float
    above: float


def bleed(light: np.ndarray, sky: float, full_well: float, reach: int, origin: tuple[int, int]) -> list[Trail]:
    """Return the bleed trails of one object.

    Half of each column's excess runs up and half runs down, filling pixel after pixel, so that the
    column keeps its charge; only what gets farther than `reach` rows from the centre is lost.

    Args:
        light: (y, x) electrons expected from the object, without the sky.
        sky: electrons expected from the sky.
        full_well: electrons a pixel can hold.
        reach: rows above and below the middle of the stamp that a trail may cover.
        origin: column and row of the stamp's first pixel, in pixels of the sky.
    """
    total = light + sky
    trails = []
    for column in np.flatnonzero(total.max(axis=0) > full_well).tolist():
        charge = total[:, column]
        over = np.flatnonzero(charge > full_well)
        lowest, highest = int(over[0]), int(over[-1])
        excess = float(np.sum(charge[lowest : highest + 1] - full_well))
        middle = len(charge) // 2
        up, above = _fill(charge[highest + 1 :], sky, full_well, middle + reach - 1 - highest, 0.5 * excess)
        down, below = _fill(charge[:lowest][::-1], sky, full_well, lowest - (middle - reach), 0.5 * excess)
        trails.append(Trail(origin[0] + column, origin[1] + lowest - down, origin[1] + highest + up, below, above))
    return trails


def _fill(charge: np.ndarray, sky: float, full_well: float, rows: int, excess: float) -> tuple[int, float]:
    """Return how many of the next `rows` pixels an excess fills, and what remains for the one after them."""
    room = np.full(max(rows, 0), full_well - sky)
    room[: len(charge)] = full_well - charge[: len(room)]
    filled = np.cumsum(np.maximum(room, 0.0))
    count = int(np.searchsorted(filled, excess, side="right"))
    if count == len(filled):
        return count, 0.0
    return count, excess - (float(filled[count - 1]) if count else 0.0)
