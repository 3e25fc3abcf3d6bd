"""Packs: a packed run is as good as it was, unpacking brings back the same bytes, and a kill at any step loses nothing."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import toy

from astrosurvey import Pipeline
from astrosurvey.core import layout
from astrosurvey.core.digests import digest_path
from astrosurvey.core.lock import LockHeld, RunLock
from astrosurvey.core.packing import pack, unpack
from astrosurvey.core.plan import Plan, State
from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.core.store import RECORD, Record, Store, Stored
from astrosurvey.report.gather import gather

STAGES = {
    "make": {"use": "toy.make"},
    "noise": {"use": "toy.random", "in": "make"},
    "empty": {"use": "toy.break", "in": "make", "tiles": ["t0002"], "how": "empty"},
    "total": {"use": "toy.total", "in": "noise"},
    "share": {"use": "toy.share", "in": {"number": "noise", "total": "total.number"}},
}
RUN = {"tiles": {"count": 6}, "seed": 5, "stages": STAGES}


def tree(root):
    """Return the bytes of every file of products by its path, and the folders that hold none."""
    paths = sorted((root / "products").rglob("*"))
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in paths}


@pytest.fixture
def pipeline(toy_pipeline):
    return toy_pipeline(**RUN)


@pytest.fixture(scope="module", params=[0, 2], ids=["plain", "shards"])
def finished(request, tmp_path_factory, toys):
    """A finished run, with shards and without."""
    root = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patched:
        if request.param:
            patched.setattr(layout, "_STEPS", ((2, 0), (None, request.param)))
        assert run_pipeline(Pipeline.build({"astrosurvey": 1, **RUN}, toys), root).exit_code == ExitCode.OK
    return root


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def publish(store, tile, files, name="stage"):
    with store.publishing(name, tile) as folder:
        for file, text in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text) if not file.endswith("/") else (folder / file).mkdir()
        outputs = {p.name: Stored(p.name, "x", *digest_path(p)) for p in folder.iterdir()}
        record = Record("key", {}, "done", outputs)
        (folder / RECORD).write_bytes(record.as_json())
    return record


def test_a_packed_run_is_resumed_without_running_anything(run, pipeline):
    before = tree(run)
    done = pack(run)
    assert done.tasks == 24
    assert not done.left
    assert done.after.entries < done.before.entries
    assert [p.name for p in (run / "products").rglob("*") if p.is_dir() and p.name.startswith("t0")] == []
    for verify in (False, True):
        again = run_pipeline(pipeline, run, verify=verify)
        assert {state for _, state in again.counts} <= {State.CACHED, State.EMPTY}
    assert again.read("share", "share", toy.Number, "t0003").value == json.loads(before[self_path(before, "share", "t0003")])["value"]
    assert unpack(run).tasks == 24
    assert tree(run) == before
    assert not (run / "packs").exists()


def self_path(found, stage, tile):
    return next(path for path in found if path.startswith(f"products/{stage}/") and path.endswith(f"{tile}/share.json"))


def test_a_stage_that_needs_packed_products_gets_them(run, toy_pipeline):
    pack(run)
    changed = toy_pipeline(
        **RUN | {"stages": {**STAGES, "total": {"use": "toy.total", "in": "make"}, "add": {"use": "toy.add", "in": "noise"}}}
    )
    result = run_pipeline(changed, run)
    assert result.exit_code == ExitCode.OK, result.failures
    assert result.counts["add", State.DONE] == result.counts["share", State.DONE] == 6
    assert result.counts["make", State.CACHED] == 6
    assert result.read("total", "number", toy.Number).value == sum(range(1, 7))
    assert not list((run / "scratch").glob("inputs-*"))
    before = {name: text for name, text in tree(run).items() if "/share/" in name}
    pack(run)  # what ran again is newer than what was packed of it
    unpack(run)
    assert {name: text for name, text in tree(run).items() if "/share/" in name} == before


def test_the_report_reads_a_packed_run_as_it_does_folders(run):
    def said():
        found = gather(run)
        values = {
            (stage, tile, port): found.store.get(path).read_bytes()
            for stage in found.stages
            for tile, port, _, path in found.products(stage)
        }
        return found.records, values, found.problems

    before = said()
    pack(run)
    assert said() == before


def test_equal_runs_make_equal_packs_however_often_they_are_packed(tmp_path):
    for name in ("once", "twice"):
        store = Store(tmp_path / name)
        store.arrange(2)
        publish(store, "a", {"out.txt": "1"})
        if name == "twice":
            pack(store.root)
        publish(store, "b", {"out.txt": "2", "model/card.json": "{}", "model/empty/": "", "model/w/x": "3"})
        pack(store.root)
        pack(store.root)
    assert (tmp_path / "once/packs/stage/tiles.zip").read_bytes() == (tmp_path / "twice/packs/stage/tiles.zip").read_bytes()


def test_folders_and_names_of_every_kind_come_back(tmp_path):
    store = Store(tmp_path)
    store.arrange(1)
    files = {"out.txt": "", "model/b/x": "1", "model/a.b": "2", "model/a/c": "3", "model/empty/": "", "grün/ß": "4", "none/": ""}
    record = publish(store, "tile é", files)
    before = tree(tmp_path)
    pack(tmp_path)
    packed = Store(tmp_path)
    assert packed.record("stage", "tile é") == record
    assert packed.is_sound("stage", "tile é", record, verify=True)
    assert digest_path(packed.get(packed.path("stage", "tile é", "model", record))) == digest_path_of(record, "model")
    unpack(tmp_path)
    assert tree(tmp_path) == before


def digest_path_of(record, port):
    return record.outputs[port].sha256, record.outputs[port].bytes


def test_damage_in_a_pack_is_found_when_asked_for_and_not_brought_back(tmp_path):
    store = Store(tmp_path)
    store.arrange(1)
    record = publish(store, "a", {"out.txt": "the number is 42"})
    publish(store, "b", {"out.txt": "another"})
    pack(tmp_path)
    path = tmp_path / "packs/stage/tiles.zip"
    path.write_bytes(path.read_bytes().replace(b"the number is 42", b"the number is 43"))
    store = Store(tmp_path)
    assert store.is_sound("stage", "a", record)
    assert not store.is_sound("stage", "a", record, verify=True)
    done = unpack(tmp_path)
    assert list(done.left) == ["stage/a"]
    assert path.exists()
    assert Store(tmp_path).packed("stage", "b") is None
    path.write_bytes(b"no pack")
    assert Store(tmp_path).record("stage", "a") is None
    publish(store, "c", {"out.txt": "3"})
    for work in (pack, unpack):
        with pytest.raises(OSError, match="this pack is damaged"):
            work(tmp_path)
    assert Store(tmp_path).record("stage", "c") is not None


def test_what_is_damaged_or_linked_is_left_in_its_folder(tmp_path):
    store = Store(tmp_path)
    store.arrange(1)
    for tile in "abc":
        publish(store, tile, {"out.txt": tile})
    (store.folder("stage", "a") / "out.txt").write_text("b")
    (store.folder("stage", "b") / "link").symlink_to("out.txt")
    done = pack(tmp_path)
    assert done.tasks == 1
    assert {name: why.split(",")[0] for name, why in done.left.items()} == {
        "stage/a": "it is not finished",
        "stage/b": "there are symbolic links in it",
    }
    assert list(Store(tmp_path).packs.tasks()) == [("stage", "c")]
    assert list(Store(tmp_path).published()) == [("stage", "a"), ("stage", "b"), ("stage", "c")]


def test_a_run_that_outgrows_its_layout_keeps_what_is_packed(tmp_path, toy_pipeline, monkeypatch):
    monkeypatch.setattr(layout, "_STEPS", ((3, 0), (None, 2)))
    stages = {"make": {"use": "toy.make"}, "add": {"use": "toy.add", "in": "make"}}
    run_pipeline(toy_pipeline(tiles={"count": 3}, stages=stages), tmp_path)
    pack(tmp_path)
    result = run_pipeline(toy_pipeline(tiles={"count": 5}, stages=stages), tmp_path)
    assert result.counts["make", State.CACHED] == 3
    assert result.counts["make", State.DONE] == 2
    pack(tmp_path)
    assert run_pipeline(toy_pipeline(tiles={"count": 5}, stages=stages), tmp_path, verify=True).counts["add", State.CACHED] == 5
    assert unpack(tmp_path).tasks == 10


def test_packing_is_refused_while_somebody_works_there(run):
    with RunLock(run / "run.lock"):
        for work in (pack, unpack):
            with pytest.raises(LockHeld, match=str(os.getpid())):
                work(run)


def test_packing_is_refused_while_jobs_without_a_lock_work_there(run):
    def refuse(root):
        raise LockHeld(f"job 4711 works in {root}")

    for work in (pack, unpack):
        with pytest.raises(LockHeld, match="job 4711"):
            work(run, take_over=refuse)


def test_the_command_says_how_much_it_was_and_is(command_here, run):
    packed = command_here("pack", "run")
    assert packed.returncode == 0, packed.stderr
    assert "24 tasks packed" in packed.stdout
    values = json.loads(command_here("unpack", "run", "--json").stdout)
    assert values["tasks"] == 24
    assert f"{values['before']['entries']} after" in packed.stdout
    assert f"{values['after']['entries']} before" in packed.stdout
    assert command_here("pack", "run/products").returncode == 2


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {toy!r}]
from astrosurvey.core import digests, packing

def fatal_at(number):
    left = [number]
    def wrap(function):
        def call(*args, **kwargs):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call
    for name in ("rename", "unlink", "rmdir", "fsync", "mkdir"):
        setattr(os, name, wrap(getattr(os, name)))

number = 0
while True:
    number += {step}
    at = Path({folder!r}, str(number))
    shutil.copytree({run!r}, at)
    child = os.fork()
    if not child:
        fatal_at(number)
        getattr(packing, {work!r})(at)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(number)
        break
"""


@pytest.mark.parametrize("work", ["pack", "unpack"])
def test_a_kill_at_any_step_loses_nothing(tmp_path, work):
    store = Store(tmp_path / "run")
    store.arrange(1)
    for stage in ("one", "two"):
        for tile in "ab":
            publish(store, tile, {"out.txt": tile, "model/card": stage}, name=stage)
    before = tree(store.root)
    if work == "unpack":
        pack(store.root)
    (tmp_path / "killed").mkdir()
    root = Path(__file__).parents[2]
    script = KILLED.format(
        root=str(root), toy=str(root / "tests/toyplugin"), folder=str(tmp_path / "killed"), run=str(store.root), work=work, step=5
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(ended.stdout) > 30
    for killed in (tmp_path / "killed").iterdir():
        found = Store(killed)
        assert len(list(found.published())) == 4
        for name in found.published():
            record = found.record(*name)
            assert record is not None
            assert found.is_sound(*name, record, verify=True)
        for whole in (pack, unpack):
            whole(killed)
        assert tree(killed) == before
        assert not (killed / "packs").exists()


def test_a_full_disk_leaves_all_as_it_was(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.arrange(1)
    publish(store, "a", {"out.txt": "1"})
    before = tree(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("zipfile.ZipFile.open", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            pack(tmp_path)
    assert tree(tmp_path) == before
    assert not list((tmp_path / "packs").rglob("*.zip*"))
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(tmp_path / "packs")
    assert pack(tmp_path).tasks == 1


def test_a_plan_of_a_packed_run_has_nothing_to_do(run, pipeline):
    pack(run)
    assert {state for _, state in Plan(pipeline, Store(run)).preview()} == {State.CACHED, State.EMPTY}
