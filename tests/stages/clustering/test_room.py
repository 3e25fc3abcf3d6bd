"""Memory: that a search stays within the estimate, that the estimate is not far above it, and that what does not fit is refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from astrosurvey.core.stage import DataError
from astrosurvey.kernels import neighbours
from astrosurvey.stages.clustering import graph, room
from astrosurvey.stages.clustering.astrolink.stage import AstroLink
from astrosurvey.stages.clustering.features import Points
from astrosurvey.stages.clustering.hdbscan import tree
from astrosurvey.stages.clustering.hdbscan.stage import Hdbscan
from astrosurvey.stages.clustering.tables import Group, write_tables

from ..running import run, tiles_of
from .fields import catalog, clumps

N = 40_000


def points(d):
    return Points(np.random.default_rng(1).random((N, d)), np.arange(N), N, d, np.zeros(d), tuple("abcdef"[:d]))


def peak(call):
    """Return the most bytes that NumPy has had at a time, above those it had before."""
    call()  # compiles
    tracemalloc.start()
    try:
        kept = call()
        return tracemalloc.get_traced_memory()[1], kept
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("d", "k"), [(2, 20), (6, 20), (3, 60)])
def test_the_estimates_hold_and_are_not_far_off(d, k, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 2**13)
    given = points(d)
    link = graph.linked(d, k)
    for call, estimate in (
        (lambda: graph.build(given, k), graph.bytes_a_row(d, link)),
        (lambda: tree.grow(given, k, 100, "cpu"), tree.bytes_a_row(d, k)),
    ):
        needed, _ = peak(call)
        assert 0.6 * estimate < needed / N < estimate


def test_no_more_neighbours_are_kept_than_are_connected(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 2**13)
    few, many = (peak(lambda k=k: graph.build(points(3), k, link=7))[0] for k in (10, 60))
    assert many < 1.1 * few


def test_tables_fit_into_what_is_counted_for_them():
    rows = catalog(a=np.arange(float(N)))
    given = Points(np.arange(float(N))[:, None], np.arange(N), N, 1, np.zeros(1), ("a",))
    groups = [Group(np.arange(N // 2), np.full(N // 2, 0.9))]
    before = pa.total_allocated_bytes()
    needed, made = peak(lambda: write_tables(rows, given, groups, "clustering.test", log_density=np.zeros(N), position=np.arange(N)))
    assert needed + pa.total_allocated_bytes() - before < room.TABLES * N
    assert len(made["members"]) == N // 2


@pytest.mark.parametrize("stage", [AstroLink, Hdbscan])
def test_what_does_not_fit_is_refused_before_it_is_begun(stage, monkeypatch):
    values, _ = clumps()
    sources = tiles_of(t=catalog(a=values[:, 0], b=values[:, 1]))
    monkeypatch.setattr(room, "available", lambda: room.TABLES * 100)
    monkeypatch.setattr(graph.morton, "KERNEL", None)
    with pytest.raises(DataError, match=rf"^{len(values)} rows need .* enough for 100 rows: cluster regions"):
        run(stage, {"columns": ["a", "b"]}, sources=sources)


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    import psutil

    assert 0 < room.available() <= psutil.virtual_memory().total
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.stat").write_text("anon 400000\nfile 500000\n")
    (tmp_path / "free").mkdir()
    (tmp_path / "free" / "memory.max").write_text("max\n")
    (tmp_path / "free" / "memory.stat").write_text("anon 1\n")
    monkeypatch.setattr(room, "_control_groups", lambda: [tmp_path / "free", tmp_path])
    assert room.available() == 600_000
