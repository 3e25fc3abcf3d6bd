"""Law 7 without a clock: what a task and a rerun cost, counted. The seconds are measured by benchmarks/overhead.py."""

import os
from collections import Counter

import pytest

from astrosurvey.core.plan import State
from astrosurvey.core.run import run_pipeline
from astrosurvey.core.store import Store

CHAIN = {"make": {"use": "toy.make"}, "add": {"use": "toy.add", "in": "make"}, "noise": {"use": "toy.random", "in": "add"}}


@pytest.fixture
def counted(monkeypatch):
    """Counts of the calls that cost: synced files, records read, products hashed."""
    calls = Counter()

    def count(module, name):
        original = getattr(module, name)

        def counting(*args, **kwargs):
            calls[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, counting)

    count(os, "fsync")
    count(Store, "record")
    count(Store, "is_sound")
    return calls


def test_law_7_a_task_syncs_its_product_its_record_and_its_folder_once(toy_pipeline, tmp_path, counted):
    tasks = 3 * 40
    run_pipeline(toy_pipeline(tiles={"count": 40}, stages=CHAIN), tmp_path)
    of_the_run = 20  # run.json, pipeline.yaml, the lock, the digests
    assert counted["fsync"] <= 3 * tasks + of_the_run


def test_law_7_a_rerun_reads_each_record_once_and_starts_no_engine(toy_pipeline, tmp_path, counted):
    pipeline = toy_pipeline(tiles={"count": 300}, stages=CHAIN)
    run_pipeline(pipeline, tmp_path)
    counted.clear()

    def engine():
        raise AssertionError("a rerun with nothing to do made an engine")

    again = run_pipeline(pipeline, tmp_path, engine=engine)
    assert {state for _, state in again.counts} == {State.CACHED}
    assert counted["record"] == counted["is_sound"] == 900
    assert counted["fsync"] <= 20
