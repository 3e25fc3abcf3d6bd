import json
import multiprocessing
import os
import socket

import pytest

from astrosurvey.core.digests import FileDigests, digest_path
from astrosurvey.core.lock import LockHeld, RunLock, holder
from astrosurvey.core.stage import DataError
from astrosurvey.core.store import RECORD, Record, Store, Stored


def publish(store, text, tile="t1"):
    with store.publishing("stage", tile) as folder:
        (folder / "out.txt").write_text(text)
        sha256, size = digest_path(folder / "out.txt")
        record = Record("key", {}, "done", {"out": Stored("out.txt", "text", sha256, size)})
        (folder / RECORD).write_bytes(record.as_json())
    return record


def test_what_is_published_is_there_whole_and_sound(tmp_path):
    store = Store(tmp_path)
    record = publish(store, "one")
    assert store.record("stage", "t1") == record
    assert store.is_sound("stage", "t1", record, verify=True)
    assert store.path("stage", "t1", "out", record).read_text() == "one"


def test_publishing_again_replaces_and_leaves_nothing_behind(tmp_path):
    store = Store(tmp_path)
    publish(store, "one")
    publish(store, "two")
    assert [p.name for p in (tmp_path / "products" / "stage").iterdir()] == ["t1"]
    assert (store.folder("stage", "t1") / "out.txt").read_text() == "two"


def test_a_failed_publication_leaves_the_old_product(tmp_path):
    store = Store(tmp_path)
    publish(store, "one")
    with pytest.raises(RuntimeError), store.publishing("stage", "t1") as folder:
        (folder / "out.txt").write_text("half")
        raise RuntimeError
    assert [p.name for p in (tmp_path / "products" / "stage").iterdir()] == ["t1"]
    assert (store.folder("stage", "t1") / "out.txt").read_text() == "one"


def test_sizes_are_checked_always_and_bytes_when_asked(tmp_path):
    store = Store(tmp_path)
    record = publish(store, "one")
    path = store.path("stage", "t1", "out", record)
    path.write_text("two")
    assert store.is_sound("stage", "t1", record)
    assert not store.is_sound("stage", "t1", record, verify=True)
    path.write_text("longer")
    assert not store.is_sound("stage", "t1", record)
    path.unlink()
    assert not store.is_sound("stage", "t1", record)


def test_a_record_that_cannot_be_read_is_no_record(tmp_path):
    store = Store(tmp_path)
    publish(store, "one")
    for text in ("", "{", "[]", '{"key": 1}', "\xff"):
        (store.folder("stage", "t1") / RECORD).write_bytes(text.encode("latin-1"))
        assert store.record("stage", "t1") is None


def test_the_sweep_removes_what_killed_tasks_left(tmp_path):
    store = Store(tmp_path)
    publish(store, "one")
    (tmp_path / "products" / "stage" / ".new-t2-abc").mkdir()
    (tmp_path / "products" / "stage" / ".old-t2-abc").mkdir()
    store.sweep()
    assert [p.name for p in (tmp_path / "products" / "stage").iterdir()] == ["t1"]


def test_the_digest_of_a_folder_counts_names_and_contents(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a").write_text("1")
    before = digest_path(folder)[0]
    (folder / "a").rename(folder / "b")
    assert digest_path(folder)[0] != before


def test_digests_are_of_content_and_remembered_only_as_a_hint(tmp_path):
    path = tmp_path / "raw"
    path.write_text("one")
    os.utime(path, (1, 1))
    digests = FileDigests(tmp_path / "digests.json")
    first = digests.digest(str(path))
    digests.save()
    os.utime(path, (2, 2))
    assert FileDigests(tmp_path / "digests.json").digest(str(path)) == first
    path.write_text("two")
    assert FileDigests(tmp_path / "digests.json").digest(str(path)) != first


def test_a_young_file_is_hashed_once_a_run_and_not_remembered_beyond(tmp_path, monkeypatch):
    path = tmp_path / "raw"
    path.write_text("one")
    digests = FileDigests(tmp_path / "digests.json")
    first = digests.digest(str(path))
    monkeypatch.setattr("astrosurvey.core.digests.digest_path", lambda path: pytest.fail("hashed again"))
    assert digests.digest(str(path)) == first
    digests.save()
    assert json.loads((tmp_path / "digests.json").read_text()) == {}


def test_pipes_devices_and_missing_files_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    digests = FileDigests(tmp_path / "digests.json")
    for name in ("pipe", "zero", "missing", "a.fits(out.fits)", "nul\0byte"):
        with pytest.raises(DataError):
            digests.digest(str(tmp_path / name))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pipe", "zero"]


def hold(path, ready, go_on):
    RunLock(path).acquire()
    ready.set()
    go_on.wait(30)


def test_a_live_owner_is_refused_by_name_and_a_killed_one_is_not(tmp_path):
    path = tmp_path / "run.lock"
    context = multiprocessing.get_context("spawn")
    ready, go_on = context.Event(), context.Event()
    owner = context.Process(target=hold, args=(path, ready, go_on))
    owner.start()
    try:
        assert ready.wait(30)
        assert holder(path)["pid"] == owner.pid
        with pytest.raises(LockHeld, match=f"process {owner.pid} on {socket.gethostname()}"):
            RunLock(path).acquire()
    finally:
        owner.kill()
        owner.join()
    assert holder(path) is None
    with RunLock(path):
        assert holder(path)["pid"] == os.getpid()
    assert holder(path) is None


def test_an_owner_on_another_host_is_refused_until_forced(tmp_path):
    path = tmp_path / "run.lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "start": 1.0}))
    with pytest.raises(LockHeld, match="process 1 on elsewhere.*--force-unlock"):
        RunLock(path).acquire()
    with RunLock(path, force=True):
        assert holder(path)["pid"] == os.getpid()


def test_without_kernel_locks_the_process_decides(tmp_path, monkeypatch):
    monkeypatch.setattr("astrosurvey.core.lock._flock", lambda descriptor: None)
    path = tmp_path / "run.lock"
    with RunLock(path), pytest.raises(LockHeld, match=str(os.getpid())):
        RunLock(path).acquire()
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "start": 1.0}))  # a pid used again
    RunLock(path).acquire()
