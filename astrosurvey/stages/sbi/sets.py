"""Sets: each observation is a table of rows without an order, such as the stars of a field. A row in which a value is missing is none.

Sets of different sizes share an array, (set, row, column), whose rows that are left over are NaN.
"""

from __future__ import annotations

import numpy as np

from ...core.stage import DataError


def padded(rows: np.ndarray, number: int, what: str) -> np.ndarray:
    """Return (1, number, column) float32: rows (n, column) as one set, without those in which a value is missing.

    Args:
        rows: (n, column).
        number: of rows, some of them NaN where there are fewer.
        what: the rows are, for the message.

    Raises:
        DataError: there are more rows than that.
    """
    whole = rows[np.isfinite(rows).all(axis=1)]
    if len(whole) > number:
        raise DataError(f"there are {len(whole)} {what}, and a set has room for {number}: raise `rows`")
    found = np.full((1, number, rows.shape[1]), np.nan, np.float32)
    found[0, : len(whole)] = whole
    return found


def sizes(sets: np.ndarray) -> np.ndarray:
    """Return (n,) the numbers of rows of (n, row, column) sets."""
    return np.asarray(np.isfinite(sets).all(axis=2).sum(axis=1))


def alike(shape: tuple[int, ...], other: tuple[int, ...], *, sets: bool) -> bool:
    """Tell whether observations of two shapes are of one kind; sets are, of any size, where they have as many columns."""
    return len(shape) == len(other) and shape[-1] == other[-1] if sets else shape == other
