"""What a task reads: products that another node has just published, and nothing but those it was told of."""

import shutil
import threading

import pytest
import toy

from astrosurvey.core import inputs
from astrosurvey.core.inputs import UnseenInput, open_inputs
from astrosurvey.core.plan import State
from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.core.store import Store

STAGES = {"make": {"use": "toy.make"}, "add": {"use": "toy.add", "in": "make"}}


@pytest.fixture
def run(toy_pipeline, tmp_path, monkeypatch):
    """A finished run of one tile, and what a task that reads it would be told."""
    monkeypatch.setattr(inputs, "PATIENCE", 0.3)
    run_pipeline(toy_pipeline(tiles=["t0"], stages=STAGES), tmp_path)
    store = Store(tmp_path)
    record = store.record("make", "t0")
    return store, str(store.path("make", "t0", "number", record)), {"inputs": {"number": record.outputs["number"].sha256}}


def read(run):
    store, path, fields = run
    with open_inputs(store, fields, store.root / "scratch" / "x") as found:
        return found.read(toy.Add(toy.Add.Config()), {"number": path})["number"].value


def test_a_product_that_is_seen_late_is_waited_for(run):
    store, *_ = run
    folder, aside = store.folder("make", "t0"), store.root / "aside"
    folder.rename(aside)
    later = threading.Timer(0.1, aside.rename, [folder])
    later.start()
    assert read(run) == 1
    later.join()


def test_a_product_that_is_never_seen_is_named_with_the_host(run):
    shutil.rmtree(run[0].folder("make", "t0"))
    with pytest.raises(UnseenInput, match="number.json is not, or not yet, seen on"):
        read(run)


def test_the_product_of_an_earlier_run_is_not_taken_for_the_new_one(run):
    run[2]["inputs"]["number"] = "0" * 64
    with pytest.raises(UnseenInput):
        read(run)


def test_a_run_goes_on_when_an_input_goes_astray(toy_pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "PATIENCE", 0.1)

    def lose(event):
        if event.kind == "task_finished" and (event.stage, event.tile) == ("make", "t1"):
            shutil.rmtree(Store(tmp_path).folder("make", "t1"))

    pipeline = toy_pipeline(tiles=["t0", "t1", "t2"], stages=STAGES, run={"retries": 0})
    result = run_pipeline(pipeline, tmp_path, listeners=[lose])
    assert result.exit_code == ExitCode.SOME_FAILED
    assert [(stage, tile, failure.kind) for stage, tile, failure in result.failures] == [("add", "t1", "UnseenInput")]
    assert result.counts["add", State.DONE] == 2
    assert run_pipeline(pipeline, tmp_path).exit_code == ExitCode.OK
