"""Tiles that eat memory, hang, or kill their worker: each fails for its own reason, and no other tile suffers."""

from __future__ import annotations

import json
import re

import pytest

from .cluster import wait_until
from .runs import pipeline, retried, site

pytestmark = pytest.mark.slurm

BAD = {
    "hoards": {"use": "toy.break", "how": "hog", "hoard": 9e8, "tiles": ["t0001"]},
    "devours": {"use": "toy.break", "how": "hog", "hoard": 5e9, "tiles": ["t0002"]},
    "hangs": {"use": "toy.break", "how": "hang", "tiles": ["t0003"]},
    "poisons": {"use": "toy.break", "how": "segfault", "tiles": ["t0004"]},
}


@pytest.fixture(scope="module")
def ended(slurm, command_of_module):
    """A run on workers of 700 MB, at most 1400 MB, of which four tiles are bad."""
    folder, command = command_of_module
    stages = {"make": {"use": "toy.make"}, **{name: {"in": "make", **stage} for name, stage in BAD.items()}}
    options = {"retries": 1, "time_limit": 10}
    where = site(folder, memory="700MB", memory_max="1400MB", resources={"toy.break": {"memory": "700MB"}})
    path = pipeline(folder, tiles={"count": 6}, stages=stages, run=options)
    done = command("run", path, "--out", "run", "--engine", where, "--no-report", env=slurm.environment, timeout=230)
    wait_until(lambda: not slurm.jobs() and not slurm.processes_of_jobs(), 60, "jobs outlived their driver")
    return folder / "run", done


def error(out, stage, tile):
    """Return what is said of a failed task."""
    return json.loads((out / "failures" / stage / tile / "error.json").read_text())["message"]


def test_all_other_tiles_are_done(ended):
    out, done = ended
    assert done.returncode == 1, done.stderr
    counts = json.loads((out / "run.json").read_text())["counts"]
    assert counts == {
        "make": {"done": 6}, "hoards": {"done": 6}, "devours": {"done": 5, "failed": 1}, "hangs": {"done": 5, "failed": 1},
        "poisons": {"done": 5, "failed": 1},
    }  # fmt: skip


def test_a_tile_over_its_memory_is_tried_again_with_more(ended):
    out, _ = ended
    record = json.loads((out / "products" / "hoards" / "t0001" / "task.json").read_text())
    assert record["facts"]["attempt"] == 2
    assert record["facts"]["batch"] == 1


def test_a_tile_over_all_memory_fails_with_limit_and_peak(ended):
    out, _ = ended
    assert re.search(r"out of memory; it held \d+ MB, and its limit is 1[34]\d\d MB", error(out, "devours", "t0002"))
    assert len([line for line in retried(out) if "out of memory" in line]) == 2


def test_a_hung_tile_fails_with_its_time_limit_and_where_it_hung(ended):
    out, _ = ended
    assert "10 s" in error(out, "hangs", "t0003")
    assert "toy.py" in (out / "failures" / "hangs" / "t0003" / "traceback.txt").read_text()


def test_a_poisoned_tile_fails_with_the_signal(ended):
    out, _ = ended
    assert "signal 11 (SIGSEGV)" in error(out, "poisons", "t0004")
