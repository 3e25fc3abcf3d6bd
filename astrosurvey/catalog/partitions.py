"""Catalogues cut along the HEALPix index into partitions, each a file of a size that a program can hold.

Partitions are cells of the sky, deeper where sources are dense, in folders as HATS has them:
`Norder=5/Dir=0/Npix=1234.parquet`. Rows without a place on the sky have partitions of order -1, tile after tile.

References:
    Caplar et al. (2025), Using LSDB to enable large-scale catalog distribution, cross-matching, and analytics, arXiv:2501.02103
    Górski et al. (2005), ApJ 622, 759, doi:10.1086/427976
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .healpix import ORDER

DEEPEST = 13
"""The deepest order of a partition; its cells are 26 arcseconds wide."""
NOWHERE_ORDER = -1
"""The order of partitions of rows without a place on the sky."""
_FILES = 10_000
"""Files in a folder."""


@dataclass(frozen=True)
class Partition:
    """A cell of the sky.

    Attributes:
        order: the cell's HEALPix order; -1 for rows without a place on the sky.
        pixel: the cell's nested index in this order; for rows without a place, the partition's number.
    """

    order: int
    pixel: int

    @property
    def path(self) -> Path:
        """The partition's file, in the folder of the catalogue."""
        return Path(f"Norder={self.order}", f"Dir={self.pixel // _FILES * _FILES}", f"Npix={self.pixel}.parquet")

    @property
    def span(self) -> tuple[int, int]:
        """The first `_healpix_29` in the cell and the first one behind it."""
        shift = 2 * (ORDER - self.order)
        return self.pixel << shift, (self.pixel + 1) << shift


def cut_sky(pixels: np.ndarray, counts: np.ndarray, limit: int) -> list[Partition]:
    """Return the largest cells with at most `limit` rows, in the order of the index; empty ones are left out.

    A cell of the deepest order is not cut, however many rows it has.

    Args:
        pixels: (n,) ascending nested indices of order `DEEPEST`: the cells that have rows.
        counts: (n, tables) int64 numbers of rows in them, in each of several tables that are cut alike.
        limit: most rows of a table in a partition.
    """
    found = []
    for order in range(DEEPEST + 1):
        if not len(pixels):
            break
        cell = pixels >> 2 * (DEEPEST - order)
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        done = (np.add.reduceat(counts, first).max(axis=1) <= limit) | (order == DEEPEST)
        found += [Partition(order, pixel) for pixel in cell[first[done]].tolist()]
        rest = ~np.repeat(done, np.diff(first, append=len(cell)))
        pixels, counts = pixels[rest], counts[rest]
    return sorted(found, key=lambda partition: partition.span)


def cut_list(counts: np.ndarray, limit: int) -> list[tuple[int, int]]:
    """Return the ranges [first, last) into which neighbours are put together as long as they have at most `limit` rows.

    Args:
        counts: (n, tables) numbers of rows.
        limit: most rows of a table in a range of more than one entry.
    """
    ranges, first, total = [], 0, np.zeros(counts.shape[1:], np.int64)
    for index, more in enumerate(counts):
        if index > first and (total + more).max() > limit:
            ranges.append((first, index))
            first, total = index, np.zeros_like(total)
        total = total + more
    return [*ranges, (first, len(counts))] if len(counts) else []
