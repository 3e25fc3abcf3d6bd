"""Groups that stand out more than a featureless field's would, and how they are nested."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .joins import Joins
from .null import Null

PURE = 0.5
"""A group with less than this mean probability of membership is mostly what surrounds it."""
FIELD = 0.5
"""A group of groups with more than this part of all points is the field itself."""


@dataclass(frozen=True)
class Found:
    """One significant group.

    Attributes:
        start: where it starts in the order of aggregation.
        size: its nodes.
        saddle: log density at which it joins its surroundings.
        excess: by how much it stands out, in units of noise.
        step: by how much the saddle lies below the one at which its own parts joined; the excess where no part is significant.
        whole: whether no part of it is significant.
        purity: mean probability of membership.
        parent: index of the smallest group around it; -1 for none.
    """

    start: int
    size: int
    saddle: float
    excess: float
    step: float
    whole: bool
    purity: float
    parent: int = -1

    @property
    def end(self) -> int:
        """Where it ends in the order."""
        return self.start + self.size


def significant(joins: Joins, null: Null, false_positive_rate: float) -> list[Found]:
    """Return the groups that stand out, the largest first.

    The smaller group at a join is one if a featureless field has any group of that excess with at most the probability
    `false_positive_rate`. So is then the larger group: if it stands out as much, when no part of it is one yet;
    otherwise, if its saddle lies as far below that at which its parts joined. A group of groups that hardly
    outlasts its parts is none, unless these are mostly made of what it adds; nor is one that holds most of all points.
    """
    unit = joins.unit(null.scale)
    excess = joins.clear / unit[:, None]
    least = np.log(false_positive_rate)
    stands = null.log_probability(excess, len(joins)) <= least
    found: list[Found] = []
    starts, ends, saddles = (np.empty(2 * int(stands[:, 0].sum()), kind) for kind in (np.int64, np.int64, np.float64))
    for i in np.flatnonzero(stands[:, 0]):
        for side in (0, 1):
            start, size, saddle = int(joins.start[i, side]), int(joins.size[i, side]), float(joins.saddle[i])
            known = len(found)
            parts = saddles[:known][(start <= starts[:known]) & (ends[:known] <= start + size)]
            if len(parts):
                step = (parts.min() - saddle) / unit[i]
                counts = size <= FIELD * len(joins.order) and (side == 0 or null.log_probability(step, len(joins)) <= least)
            else:
                step, counts = excess[i, side], stands[i, side]
            if counts:
                purity = float((1 - np.exp(saddle - joins.height[joins.order[start : start + size]])).mean())
                found.append(Found(start, size, saddle, float(excess[i, side]), float(step), not len(parts), purity))
                starts[known], ends[known], saddles[known] = start, start + size, saddle
    return _pruned(found, lambda group: bool(null.log_probability(group.step, len(joins)) <= least))


def _pruned(found: list[Found], outlasts) -> list[Found]:  # type: ignore[no-untyped-def]
    """Return the groups without those that neither outlast their parts nor hold parts that are mostly theirs."""
    while True:
        found = _nested(found)
        impure = {group.parent for group in found if group.purity < PURE}
        kept = [group for i, group in enumerate(found) if group.whole or i in impure or outlasts(group)]
        if len(kept) == len(found):
            return found
        found = kept


def _nested(found: list[Found]) -> list[Found]:
    """Return the groups, the largest first, each with its parent."""
    found = sorted(found, key=lambda group: (-group.size, group.start))
    nested: list[Found] = []
    around: list[int] = []
    parents = [-1] * len(found)
    for i in sorted(range(len(found)), key=lambda i: (found[i].start, -found[i].size, i)):
        while around and found[around[-1]].end < found[i].end:
            around.pop()
        parents[i] = around[-1] if around else -1
        around.append(i)
    nested = [replace(group, parent=parent) for group, parent in zip(found, parents, strict=True)]
    return nested
