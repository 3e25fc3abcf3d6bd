"""The run's lock: one winner in every race, dead owners free at once, those who cannot be seen by their heartbeat."""

import errno
import json
import multiprocessing
import os
import socket
import time
from dataclasses import replace

import pytest

from astrosurvey.core import lock, owner
from astrosurvey.core.lock import LockHeld, RunLock, holder
from astrosurvey.core.owner import Fate, Owner
from astrosurvey.core.run import ExitCode, run_pipeline

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.lock"


@pytest.fixture
def quick(monkeypatch):
    """Hearts that beat, and are watched, in tenths of a second."""
    monkeypatch.setattr(lock, "BEAT", 0.02)
    monkeypatch.setattr(lock, "PATIENCE", 0.3)


def foreign(**values):
    """Return an owner on another host."""
    return replace(Owner.this_process(3), host="elsewhere", pid=1, boot="another", machine="another", **values)


def hold(path, ready, go_on):
    RunLock(path).acquire()
    ready.set()
    go_on.wait(30)


@pytest.fixture
def other(path):
    """Another process that holds the lock."""
    ready, go_on = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=hold, args=(path, ready, go_on))
    process.start()
    assert ready.wait(30)
    yield process
    process.kill()
    process.join()


def test_a_live_owner_is_refused_by_name_and_a_killed_one_is_not(path, other, monkeypatch):
    assert holder(path)["pid"] == other.pid
    with pytest.raises(LockHeld, match=f"process {other.pid} on {socket.gethostname()} is running"):
        RunLock(path).acquire()
    os.kill(other.pid, 9)
    while owner._start(other.pid) not in (-1, None):
        time.sleep(0.001)
    assert owner._start(other.pid) == -1  # its parent, this process, has not asked for its end: it is still in the process table
    monkeypatch.setattr(lock, "_watch", lambda *_: pytest.fail("nothing to wait for"))
    assert holder(path) is None
    with RunLock(path):
        assert holder(path)["pid"] == os.getpid()
    assert holder(path) is None


def test_the_lock_can_be_taken_again_and_leaves_one_file(path):
    for generation in range(1, 4):
        with RunLock(path) as held:
            assert holder(path)["generation"] == generation
            with pytest.raises(LockHeld, match=str(os.getpid())):
                RunLock(path).acquire()
        assert not held.lost
    assert [p.name for p in path.parent.iterdir()] == ["run.lock"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"host": "elsewhere", "pid": 1, "start": 1.0}', json.dumps({**vars(foreign()), "pid": "1"})]
)
def test_what_is_no_lock_holds_nothing(path, text):
    path.write_text(text)
    assert holder(path) is None
    with RunLock(path):
        assert holder(path)["pid"] == os.getpid()


def test_a_process_number_used_again_is_another_process(path):
    path.write_bytes(replace(Owner.this_process(1), start=1.0).as_json())
    assert holder(path) is None
    RunLock(path).acquire()


def race(path, start, results, rounds, dead):
    """Take the lock as often as there are rounds, at the same time as the others do."""
    for number in range(rounds):
        start.wait(60)
        contender = RunLock(path)
        try:
            contender.acquire()
            held = True
        except LockHeld:
            held = False
        results.put((number, held))
        start.wait(60)  # nobody gives it back before all have tried
        if held:
            contender.release()
            if dead:  # what a killed owner leaves
                path.write_bytes(replace(Owner.this_process(holder_generation(path)), start=1.0).as_json())
        start.wait(60)


def holder_generation(path):
    return json.loads(path.read_bytes())["generation"]


@pytest.mark.parametrize("dead", [False, True], ids=["free", "stale"])
def test_of_many_who_start_at_once_one_wins(path, dead):
    contenders, rounds = 5, 10
    start, results = SPAWN.Barrier(contenders), SPAWN.Queue()
    processes = [SPAWN.Process(target=race, args=(path, start, results, rounds, dead)) for _ in range(contenders)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in range(contenders * rounds)]
    for process in processes:
        process.join(30)
    assert sorted(number for number, held in found if held) == list(range(rounds))
    assert [p.name for p in path.parent.iterdir()] == ["run.lock"]


def test_a_claim_that_is_renamed_while_it_is_read_is_found_in_the_lock(path, monkeypatch):
    claim, read = path.parent / ".run.lock.1", lock._read
    claim.write_bytes(Owner.this_process(1).as_json())

    def slow(file):
        if file == claim and claim.exists():
            claim.rename(path)
        return read(file)

    monkeypatch.setattr(lock, "_read", slow)
    monkeypatch.setattr(lock, "_watch", lambda *_: False)
    with pytest.raises(LockHeld, match=str(os.getpid())):
        RunLock(path).acquire()


@pytest.mark.parametrize("judged", [1, 2, 3], ids=["none", "before", "after"])
def test_a_claim_that_comes_late_gives_way(path, judged):
    with RunLock(path):
        known = [None, replace(Owner.this_process(1), start=1.0), replace(Owner.this_process(2), start=1.0)]
        assert lock._claim(path, [(path, owner) for owner in known[:judged]]) is None
        assert holder(path)["generation"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["run.lock"]


def test_a_live_owner_is_seen_behind_a_claimant_who_erred_and_died(path):
    with RunLock(path):
        (path.parent / ".run.lock.2").write_bytes(replace(Owner.this_process(2), start=1.0).as_json())
        with pytest.raises(LockHeld, match=str(os.getpid())):
            RunLock(path).acquire()


def test_a_claimant_who_died_on_the_way_is_passed_over(path):
    path.write_bytes(replace(Owner.this_process(4), state="free").as_json())
    (path.parent / ".run.lock.5").write_bytes(replace(Owner.this_process(5), start=1.0).as_json())
    (path.parent / ".run.lock.5-abc").write_bytes(b"")
    with RunLock(path):
        assert holder(path)["generation"] == 6
    assert [p.name for p in path.parent.iterdir()] == ["run.lock"]


def test_a_claimant_on_the_way_is_refused_by_name(path):
    (path.parent / ".run.lock.1").write_bytes(Owner.this_process(1).as_json())
    with pytest.raises(LockHeld, match=str(os.getpid())):
        RunLock(path).acquire()


def test_an_owner_on_another_host_is_refused_until_forced(path, quick):
    path.write_bytes(foreign(job="Slurm job 4711").as_json())
    said = r"process 1 on elsewhere \(Slurm job 4711\) has the run .*heartbeat has not moved for 0.3 s.*--force-unlock"
    with pytest.raises(LockHeld, match=said):
        RunLock(path).acquire()
    assert holder(path)["host"] == "elsewhere"
    with RunLock(path, force=True):
        assert holder(path)["pid"] == os.getpid()


def test_a_heartbeat_that_moves_is_refused_even_when_forced(path, quick, monkeypatch):
    with RunLock(path):
        monkeypatch.setattr(Owner, "fate", lambda self: Fate.UNSEEN)
        with pytest.raises(LockHeld, match=f"process {os.getpid()} on .* is running"):
            RunLock(path, force=True).acquire()


def test_the_next_may_go_on_when_an_unseen_owner_gives_back_meanwhile(path, quick, monkeypatch):
    held = RunLock(path)
    held.acquire()
    monkeypatch.setattr(lock, "_watch", lambda *_: held.release() or True)
    monkeypatch.setattr(Owner, "fate", lambda self: Fate.UNSEEN)
    with RunLock(path):
        assert holder(path)["generation"] == 2


def test_an_owner_who_was_overruled_notices_and_leaves_the_lock_alone(path, quick):
    with RunLock(path) as held:
        path.rename(path.parent / "aside")
        path.write_bytes(foreign().as_json())
        deadline = time.monotonic() + 10
        while not held.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        assert held.lost == "process 1 on elsewhere has taken over"
    assert holder(path)["host"] == "elsewhere"


def test_equal_host_names_in_two_containers_are_two_places(path, quick):
    box = replace(Owner.this_process(1), namespace="pid:[1]", pid=7)
    assert box.fate() is Fate.UNSEEN
    path.write_bytes(box.as_json())
    with pytest.raises(LockHeld, match=f"process 7 on {socket.gethostname()} in another container .*--force-unlock"):
        RunLock(path).acquire()


@pytest.mark.parametrize("machine", ["ours", ""])
def test_after_a_reboot_the_lock_is_free_where_the_machine_is_known(path, quick, monkeypatch, machine):
    place = owner._place()
    monkeypatch.setattr(owner, "_place", lambda: (*place[:2], machine))
    path.write_bytes(replace(Owner.this_process(1), boot="the one before").as_json())
    if machine:
        RunLock(path).acquire()
    else:
        with pytest.raises(LockHeld, match="--force-unlock"):
            RunLock(path).acquire()


@pytest.mark.parametrize("restarts", ["", "1", "2"])
def test_a_job_that_its_batch_system_started_again_takes_over_from_its_lost_node(path, quick, monkeypatch, restarts):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    path.write_bytes(foreign(job="Slurm job 4711", restarts=1).as_json())
    if restarts == "2":
        RunLock(path).acquire()
    else:
        with pytest.raises(LockHeld, match="Slurm job 4711.*--force-unlock"):
            RunLock(path).acquire()


def test_without_hard_links_the_lock_works_too(path, quick, monkeypatch):
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "Operation not permitted")))
    (path.parent / ".run.lock.1").write_bytes(b"")  # was killed before it wrote its name
    with RunLock(path):
        assert holder(path)["generation"] == 2
        with pytest.raises(LockHeld):
            RunLock(path).acquire()
    assert [p.name for p in path.parent.iterdir()] == ["run.lock"]


def test_a_link_that_was_made_though_the_answer_was_lost_counts(path, monkeypatch):
    link = os.link

    def answer_lost(source, target):
        link(source, target)
        link(source, target)

    monkeypatch.setattr("os.link", answer_lost)
    with RunLock(path):
        assert holder(path)["pid"] == os.getpid()


def test_a_run_that_was_overruled_stops_and_leaves_the_directory_to_the_other(toy_pipeline, tmp_path, quick):
    path = tmp_path / "run.lock"

    def overrule(event):
        if event.kind == "task_finished" and holder(path)["host"] != "elsewhere":
            path.rename(tmp_path / "aside")
            path.write_bytes(foreign().as_json())
            (tmp_path / "run.json").write_text("the other's")
            time.sleep(0.2)

    result = run_pipeline(toy_pipeline(tiles={"count": 3}, stages={"make": {"use": "toy.make"}}), tmp_path, listeners=[overrule])
    assert result.exit_code == ExitCode.STOPPED
    assert result.stopped.startswith("stopped: process 1 on elsewhere has taken over")
    assert (tmp_path / "run.json").read_text() == "the other's"
