"""Densities and aggregation: known answers on few points."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.kernels import aggregate, density, edges


def graph_of(points, k, link, weights=None):
    indices, squared = density.neighbours_of(points, k)
    weights = np.ones(len(points)) if weights is None else weights
    log_density = density.cpu(indices, squared, weights, points.shape[1])
    return log_density, *edges.cpu(indices[:, :link].copy(), log_density)


def test_density_counts_what_the_kernel_holds():
    points = np.array([[0.0], [1.0], [2.0], [4.0]])
    log_density, descending, _, _ = graph_of(points, 3, 2, np.array([1.0, 1.0, 1.0, 5.0]))
    np.testing.assert_allclose(log_density, np.log([(1 + 3 / 4) / 2, 1.0, (1 + 3 / 4) / 2, (5 + 5 / 9) / 3]), rtol=1e-14)
    assert descending.tolist() == [3, 1, 0, 2]  # of equals the first first


@pytest.mark.parametrize("x", [5e-324, 1e-300, 0.1, 0.7071067811865476, 1 - 1e-16, 1.0, 1 + 1e-15, 2.0, 3e5, 1.7e308])
def test_logarithm_is_that_of_the_library(x):
    assert density._log(x) == pytest.approx(np.log(x), rel=1e-15, abs=1e-15)


def test_two_hills_on_a_line_join_at_their_saddle():
    height = np.array([1.0, 3.0, 5.0, 4.0, 2.0, 6.0, 1.5])  # along the line
    descending = np.argsort(-height)
    rank = np.argsort(descending)
    ends = [sorted((rank[i], rank[i + 1])) for i in range(6)]
    pairs = np.array(sorted((b, a) for a, b in ends))
    start = np.searchsorted(pairs[:, 0], np.arange(8)).astype(np.int32)
    order, small, large, saddle, noise = aggregate.cpu(height[descending], start, pairs[:, 1].astype(np.int32))
    assert height[descending][order].tolist() == [5, 4, 3, 6, 2, 1.5, 1]
    assert height[descending[saddle]].tolist() == [2]
    assert small.tolist() == [[3, 2, 0]]  # the higher peak, but fewer points
    assert large.tolist() == [[0, 3, 1]]
    assert noise.tolist() == [[0, 0]]


def test_every_group_is_a_span_of_the_order():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(500, 2)) + rng.integers(0, 3, 500)[:, None] * 8
    log_density, descending, start, denser = graph_of(points, 12, 7)
    height = log_density[descending]
    order, small, large, saddle, noise = aggregate.cpu(height, start, denser)
    assert sorted(order) == list(range(500))
    assert len(saddle) == len(small) == (np.diff(start) == 0).sum() - 1
    for (a, size, peak), (b, above, summit), level in zip(small, large, saddle, strict=True):
        assert size <= above
        assert order[a : a + size].min() == peak
        assert order[b : b + above].min() == summit
        assert max(order[a : a + size].max(), order[b : b + above].max()) <= level
    assert (noise >= 0).all()
    assert noise[:, 1].max() > 0


def test_refused():
    with pytest.raises(ValueError, match="of the same points"):
        density.cpu(np.zeros((3, 2), np.int32), np.zeros((3, 3)), np.ones(3), 2)
    with pytest.raises(ValueError, match="of the same points"):
        edges.cpu(np.zeros((3, 2), np.int32), np.zeros(4))
    with pytest.raises(ValueError, match="too many edges"):
        edges.cpu(np.broadcast_to(np.int32(-1), (2**28, 8)), np.broadcast_to(0.0, 2**28))
    with pytest.raises(ValueError, match="do not fit"):
        aggregate.cpu(np.zeros(3), np.zeros(3, np.int32), np.zeros(0, np.int32))
