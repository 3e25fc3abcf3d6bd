import errno
import json
import os
import time

import pytest

from astrosurvey.core import digests as digests_module
from astrosurvey.core.digests import FileDigests, digest_path
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


@pytest.fixture
def tomorrow(monkeypatch):
    """The clock that stamps files is a day ahead: all files are old."""
    monkeypatch.setattr("astrosurvey.core.digests._Clock.now", lambda clock: time.time_ns() + 86400 * 10**9)


def test_digests_are_of_content_and_remembered_only_as_a_hint(tmp_path, tomorrow):
    path = tmp_path / "raw"
    path.write_text("one")
    digests = FileDigests(tmp_path / "digests.json")
    first = digests.digest(str(path))
    digests.save()
    assert str(path) in json.loads((tmp_path / "digests.json").read_text())
    os.utime(path, (2, 2))
    assert FileDigests(tmp_path / "digests.json").digest(str(path)) == first
    path.write_text("two")
    os.utime(path, (2, 2))  # the time of the inode's last change tells what the file's own was set back to hide
    assert FileDigests(tmp_path / "digests.json").digest(str(path)) != first


def test_a_remembered_digest_is_not_trusted_when_all_is_to_be_verified(tmp_path, tomorrow):
    path = tmp_path / "raw"
    path.write_text("one")
    digests = FileDigests(tmp_path / "digests.json")
    true = digests.digest(str(path))
    digests.save()
    known = json.loads((tmp_path / "digests.json").read_text())
    known[str(path)][1] = "wrong"  # as after damage that no time stamp tells of
    (tmp_path / "digests.json").write_text(json.dumps(known))
    assert FileDigests(tmp_path / "digests.json").digest(str(path)) == "wrong"
    assert FileDigests(tmp_path / "digests.json", trust=False).digest(str(path)) == true


def test_a_young_file_is_hashed_once_a_run_and_not_remembered_beyond(tmp_path, monkeypatch):
    path = tmp_path / "raw"
    path.write_text("one")
    digests = FileDigests(tmp_path / "digests.json")
    first = digests.digest(str(path))
    monkeypatch.setattr("astrosurvey.core.digests.hashlib.file_digest", lambda *_: pytest.fail("hashed again"))
    assert digests.digest(str(path)) == first
    digests.save()
    assert json.loads((tmp_path / "digests.json").read_text()) == {}


def test_a_clock_that_is_ahead_makes_no_young_file_old(tmp_path, monkeypatch):
    path = tmp_path / "raw"
    path.write_text("one")
    monkeypatch.setattr("astrosurvey.core.digests.time.time_ns", lambda now=time.time_ns: now() + 600 * 10**9)
    digests = FileDigests(tmp_path / "digests.json")
    digests.digest(str(path))
    digests.save()
    assert json.loads((tmp_path / "digests.json").read_text()) == {}


def test_a_file_that_was_replaced_meanwhile_is_read_once_more(tmp_path, monkeypatch):
    path = tmp_path / "raw"
    path.write_text("one")
    stale, stamp = [OSError(errno.ESTALE, "Stale file handle")], digests_module._stamp
    monkeypatch.setattr(digests_module, "_stamp", lambda descriptor: (_ for _ in ()).throw(stale.pop()) if stale else stamp(descriptor))
    assert FileDigests(tmp_path / "digests.json").digest(str(path)) == digest_path(path)[0]


def test_what_nfs_keeps_of_removed_files_belongs_to_no_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("1")
    before = digest_path(folder)
    (folder / ".nfs000000000124000300000001").write_text("removed while it was open")
    assert digest_path(folder) == before


def test_pipes_devices_and_missing_files_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    digests = FileDigests(tmp_path / "digests.json")
    for name in ("pipe", "zero", "missing", "a.fits(out.fits)", "nul\0byte"):
        with pytest.raises(DataError):
            digests.digest(str(tmp_path / name))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pipe", "zero"]
