import os
import subprocess

import pytest
from toy import products

from astrosurvey.core import layout
from astrosurvey.core.plan import State
from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.core.store import Store
from astrosurvey.report.gather import gather

STAGES = {
    "make": {"use": "toy.make"},
    "break": {"use": "toy.break", "in": "make", "tiles": ["t0003"]},
    "total": {"use": "toy.total", "in": "break"},
}


@pytest.fixture
def few(monkeypatch):
    """Have shards from the fifth tile on, and more of them from the thirteenth."""
    monkeypatch.setattr(layout, "_STEPS", ((4, 0), (12, 2), (None, 3)))


@pytest.fixture
def grown(toy_pipeline, tmp_path):
    """Return a function that runs so many tiles in one directory."""

    def run(tiles, **more):
        return run_pipeline(toy_pipeline(tiles={"count": tiles}, stages=STAGES, run={"retries": 0}), tmp_path / "run", **more)

    return run


def states(result):
    return {f"{stage}/{state}": number for (stage, state), number in result.counts.items()}


def digits_of(store):
    """Return how many digits the shards on disk have, in every stage with tiles; {0} without shards."""
    folders = [p for area in layout.AREAS for p in store.root.glob(f"{area}/*/*") if p.name != "survey"]
    return {len(p.name) - 1 if p.name.startswith("_") else 0 for p in folders}


def test_few_tiles_stand_beside_one_another_and_many_in_shards(few, grown):
    store = grown(4).store
    assert store.folder("make", "t0001") == store.root / "products" / "make" / "t0001"
    assert digits_of(store) == {0}
    store = grown(5).store
    assert digits_of(store) == {2}
    assert store.folder("make", "t0001").is_dir()
    assert store.folder("total", None) == store.root / "products" / "total" / "survey"
    assert list(store.published("make")) == [("make", f"t{i:04d}") for i in range(5)]
    assert list(store.failures()) == [("break", "t0003")]


def test_no_folder_has_more_entries_than_shards_or_a_thousand_tiles():
    for tiles, digits in ((1000, 0), (1001, 2), (100_000, 2), (1_000_000, 2), (10_000_000, 3)):
        assert next(d for most, d in layout._STEPS if most is None or tiles <= most) == digits
        assert tiles / 16**digits < 4000


def test_a_run_that_outgrows_its_layout_keeps_its_products(few, grown):
    grown(4)
    for tiles in (5, 12, 13):
        before = grown(tiles - 1)
        after = grown(tiles)
        assert after.counts["make", State.CACHED] == len(before.states) // 2
        assert after.counts["make", State.DONE] == 1
        assert after.counts["break", State.FAILED] == 1
    assert digits_of(after.store) == {3}
    assert digits_of(grown(2).store) == {3}, "shards stay"


def test_shards_change_no_product(few, grown, toy_pipeline, tmp_path, monkeypatch):
    sharded = grown(6)
    monkeypatch.setattr(layout, "_STEPS", ((None, 0),))
    flat = run_pipeline(toy_pipeline(tiles={"count": 6}, stages=STAGES, run={"retries": 0}), tmp_path / "flat")
    assert products(flat.store.root) == products(sharded.store.root) != {}


@pytest.mark.parametrize("moved", range(0, 11, 2))
def test_a_move_that_is_killed_loses_nothing_and_is_ended_by_the_next_run(few, grown, monkeypatch, moved):
    store = grown(4).store
    whole = products(store.root)
    left = moved

    def rename(old, new, really=os.rename):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        really(old, new)

    with monkeypatch.context() as patched:
        patched.setattr("astrosurvey.core.layout.os.rename", rename)
        try:
            store.arrange(5)
        except KeyboardInterrupt:
            assert Store(store.root).layout.before == 0
    assert products(store.root) == whole
    found = gather(store.root)
    assert len(found.records) == 8
    assert [(f.tile, "cursed" in f.message) for f in found.failed] == [("t0003", True)]
    assert not found.problems
    resumed = grown(13)  # which wants yet other shards
    assert resumed.counts["make", State.CACHED] == 4
    assert digits_of(store) == {3}
    assert Store(store.root).layout == layout.Layout(3)


def test_what_a_crash_of_the_machine_put_back_is_moved_again(few, grown):
    store = grown(5).store
    store.folder("make", "t0002").rename(store.root / "products" / "make" / "t0002")
    assert grown(5).counts["make", State.CACHED] == 5
    assert digits_of(store) == {2}


def test_a_run_without_its_layout_file_is_found_again(few, grown):
    store = grown(5).store
    (store.root / layout.FILE).unlink()
    assert grown(5).counts["make", State.CACHED] == 5


def test_checkpoints_are_in_shards_too_and_move(few, grown):
    store = grown(4).store
    kept = store.checkpoint_folder("make", "t0001") / "key"
    kept.mkdir(parents=True)
    store.arrange(5)
    assert not kept.exists()
    assert (store.checkpoint_folder("make", "t0001") / "key").is_dir()


def test_unfinished_folders_in_shards_are_swept(few, grown):
    store = grown(5).store
    left = store.folder("make", "t0001").with_name(".new-t0001-abc")
    left.mkdir()
    store.sweep()
    assert not left.exists()


@pytest.mark.parametrize("tiles", [4, 5])
def test_the_script_that_reproduces_a_failure_finds_the_run_from_any_layout(few, grown, tmp_path, tiles):
    grown(4)
    store = grown(tiles).store
    echo = tmp_path / "astrosurvey"
    echo.write_text('#!/bin/sh\necho "$@"\n')
    echo.chmod(0o755)
    script = store.failure_folder("break", "t0003") / "reproduce.sh"
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(["sh", script], env=path, capture_output=True, text=True, check=True)
    assert said.stdout.startswith(f"run {store.root}/pipeline.yaml --out {store.root} --only break --tiles t0003"), said.stderr


def test_readers_of_broken_layout_files_see_a_flat_run(tmp_path):
    for text in ("", "[]", "{}", '{"digits": "x", "before": null}'):
        (tmp_path / layout.FILE).write_text(text)
        assert layout.Layout.read(tmp_path) == layout.Layout()


def test_retry_failed_finds_failures_in_shards(few, grown):
    grown(5)
    from astrosurvey import Selection

    again = grown(5, selection=Selection(failed_only=True))
    assert again.exit_code == ExitCode.SOME_FAILED
    assert [name[:2] for name in again.failures] == [("break", "t0003")]
