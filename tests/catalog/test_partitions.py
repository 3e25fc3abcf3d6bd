"""How catalogues are cut along the HEALPix index."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.catalog.partitions import DEEPEST, Partition, cut_list, cut_sky


@pytest.mark.parametrize("limit", [1, 7, 100, 10**6])
def test_cells_hold_every_row_once_and_at_most_the_limit(limit):
    rng = np.random.default_rng(limit)
    at = np.concatenate([rng.integers(0, 12 << 2 * DEEPEST, 400), (5 << 2 * DEEPEST) + rng.integers(0, 3000, 600)])
    pixels, counts = np.unique(at, return_counts=True)
    found = cut_sky(pixels, counts[:, None], limit)
    spans = np.array([part.span for part in found]) >> 2 * (29 - DEEPEST)
    inside = [counts[(pixels >= low) & (pixels < high)].sum() for low, high in spans]
    assert sum(inside) == 1000
    assert all(n <= limit or part.order == DEEPEST for n, part in zip(inside, found, strict=True))
    assert min(inside) > 0
    assert (spans[1:, 0] >= spans[:-1, 1]).all()
    for part in found:  # the cell around it would have been too full
        if part.order:
            low, high = np.array(Partition(part.order - 1, part.pixel // 4).span) >> 2 * (29 - DEEPEST)
            assert counts[(pixels >= low) & (pixels < high)].sum() > limit


def test_the_fuller_of_two_tables_decides():
    pixels = np.arange(16) << 2 * (DEEPEST - 2)
    counts = np.stack([np.full(16, 1), np.full(16, 10)], axis=1)
    assert cut_sky(pixels, counts, 160) == [Partition(0, 0)]
    assert cut_sky(pixels, counts, 159) == [Partition(1, i) for i in range(4)]
    assert cut_sky(pixels, counts, 39) == [Partition(2, i) for i in range(16)]
    assert cut_sky(pixels[:0], counts[:0], 5) == []


def test_where_a_partition_is_stored():
    assert str(Partition(5, 12_345).path) == "Norder=5/Dir=10000/Npix=12345.parquet"
    assert Partition(29, 17).span == (17, 18)


def test_neighbours_are_put_together():
    assert cut_list(np.array([[3], [3], [5], [1], [9], [1]]), 6) == [(0, 2), (2, 4), (4, 5), (5, 6)]
    assert cut_list(np.empty((0, 1), int), 6) == []
