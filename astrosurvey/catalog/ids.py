"""Identifiers of objects: deterministic, below 2^53, and made of the tile's number and a counter.

Below 2^53 every integer is exact in JSON, JavaScript and float64, through which catalogues travel.
"""

from __future__ import annotations

import numpy as np

from .schema import SchemaError

TILE_BITS = 26
COUNTER_BITS = 27


def object_ids(tile_number: int, n: int) -> np.ndarray:
    """Return the ids of a tile's objects, which are numbered in (y, x) order of their centres.

    Args:
        tile_number: the tile's number, below 2^26.
        n: how many objects the tile has, at most 2^27.

    Returns:
        (n,) int64, ascending.

    Raises:
        SchemaError: the tile's number or that of its objects does not fit.
    """
    if not 0 <= tile_number < 1 << TILE_BITS:
        raise SchemaError(f"tile number {tile_number} is not in [0, 2^{TILE_BITS})")
    if not 0 <= n <= 1 << COUNTER_BITS:
        raise SchemaError(f"a tile can hold 2^{COUNTER_BITS} = {1 << COUNTER_BITS} objects, not {n}; cut the survey into smaller tiles")
    return (np.int64(tile_number) << COUNTER_BITS) + np.arange(n, dtype=np.int64)


def split_id(ids: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Return the tile numbers and the counters that ids were made of.

    Args:
        ids: int64 ids, of any shape.
    """
    ids = np.asarray(ids, dtype=np.int64)
    return ids >> COUNTER_BITS, ids & ((1 << COUNTER_BITS) - 1)
