"""Observations in, observations of summaries out: block by block, so that more data than there is memory go through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....core.stage import Context
from ....products import Observations
from ....products._npy import forget
from ..data import whole

VALUES = 1 << 24
"""Values of the data that are summarised at a time."""


def summarised(
    ctx: Context,
    observations: Observations,
    names: tuple[str, ...],
    summarise: Callable[[np.ndarray], np.ndarray],
    *,
    sets: bool = False,
) -> Observations:
    """Return observations with (n, feature) summaries in place of their data.

    An observation in which a value is missing has missing summaries: what a gap does to them is not known.

    Args:
        ctx: what reports progress and takes warnings.
        observations: (n, …) data.
        names: of the summaries.
        summarise: (m, …) float32 data without gaps -> (m, feature).
        sets: data are (row, column), and a row in which a value is missing is none.
    """
    count = len(observations)
    rows = max(1, round(VALUES * ctx.batch) // max(observations.data[0].size, 1))
    out = np.full((count, len(names)), np.nan, np.float32)
    for start in range(0, count, rows):
        block = np.asarray(observations.data[start : start + rows], np.float32)
        there = whole(block, sets=sets)
        if there.any():
            out[start : start + rows][there] = summarise(block[there])
        forget(observations.data)
        ctx.progress(min(start + rows, count), count)
    if missing := int(np.isnan(out).any(axis=1).sum()):
        ctx.log.warning("%d of %d observations have missing values, and so have their summaries", missing, count)
    return Observations(out, observations.ids, observations.about, names, observations.parameters, observations.meta)
