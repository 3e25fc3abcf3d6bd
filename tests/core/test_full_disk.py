"""A disk that is full stops the run with one line that says which and of what; with room, it goes on."""

import errno
import os
import subprocess

import pytest
import toy

from astrosurvey.core.plan import State
from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.engines.local import LocalEngine

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
STAGES = {"make": {"use": "toy.make", "padding": 300_000}, "add": {"use": "toy.add", "in": "make"}}
ENGINES = {"inline": {}, "local": {"engine": lambda: LocalEngine(2, memory_limit=0)}}


@pytest.fixture
def disk(tmp_path):
    """A function that mounts a small file system."""
    mounted = []

    def mount(options, name="small"):
        folder = tmp_path / name
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@root_only
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("options", "room", "said"),
    [("size=2m", "size=20m", "no space left on"), ("size=20m,nr_inodes=80", "size=20m,nr_inodes=10000", "no more files are allowed on")],
    ids=["bytes", "inodes"],
)
def test_a_full_disk_stops_with_one_line_and_resumes_with_room(toy_pipeline, disk, engine, options, room, said):
    small = disk(options)
    pipeline = toy_pipeline(tiles={"count": 20}, stages=STAGES if "inodes" not in options else {**STAGES, "make": {"use": "toy.make"}})
    result = run_pipeline(pipeline, small / "run", **ENGINES[engine])
    assert result.exit_code == ExitCode.STOPPED
    assert result.stopped.startswith(f"stopped: {said} the disk of {small / 'run'}; make room")
    assert result.stopped.endswith("run the same command again to resume")
    assert "\n" not in result.stopped
    assert ("astrosurvey pack" in result.stopped) == ("inodes" in options)
    folders = [f for f in (small / "run" / "products").glob("*/*") if not f.name.startswith(".")]
    assert folders
    assert all((folder / "task.json").is_file() for folder in folders)
    remount(small, room)
    resumed = run_pipeline(pipeline, small / "run")
    assert resumed.exit_code == ExitCode.OK
    assert resumed.counts["make", State.CACHED] == len([f for f in folders if f.parent.name == "make"])


class Scribble(toy.Add):
    """Fill the scratch folder, then add."""

    name = "toy.scribble"

    def run(self, ctx, *, number):
        with (ctx.scratch / "big").open("wb") as stream:
            for _ in range(64):
                stream.write(bytes(1 << 16))
        return super().run(ctx, number=number)


@root_only
def test_a_full_scratch_disk_is_named_as_such(toys, toy_pipeline, disk, tmp_path, monkeypatch):
    small = disk("size=1m")
    monkeypatch.setenv("ASTROSURVEY_SCRATCH", str(small))
    monkeypatch.setitem(toys.stages, "toy.scribble", Scribble)
    pipeline = toy_pipeline(tiles={"count": 3}, stages={"make": {"use": "toy.make"}, "add": {"use": "toy.scribble", "in": "make"}})
    result = run_pipeline(pipeline, tmp_path / "run")
    assert result.exit_code == ExitCode.STOPPED
    assert result.stopped.startswith(f"stopped: no space left on the scratch disk of {os.uname().nodename}, {small}; make room and run")
    remount(small, "size=8m")
    assert run_pipeline(pipeline, tmp_path / "run").exit_code == ExitCode.OK


def test_a_quota_that_is_used_up_is_said_to_be_one(toy_pipeline, tmp_path, monkeypatch):
    def full(number, path):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    pipeline = toy_pipeline(tiles={"count": 3}, stages=STAGES)
    with monkeypatch.context() as patched:
        patched.setattr(toy.Number, "write", full)
        result = run_pipeline(pipeline, tmp_path)
    assert result.exit_code == ExitCode.STOPPED
    assert result.stopped == (
        f"stopped: the quota is used up on the disk of {tmp_path}; make room and run the same command again to resume"
    )
    assert run_pipeline(pipeline, tmp_path).exit_code == ExitCode.OK


def test_a_writer_that_hides_why_it_failed_is_seen_through(toy_pipeline, tmp_path, monkeypatch):
    def full(number, path):
        raise RuntimeError("FITSIO status = 106: error writing to FITS file")

    monkeypatch.setattr(toy.Number, "write", full)
    monkeypatch.setattr("astrosurvey.core.fulldisk._fullness", lambda folder: "no space left on")
    result = run_pipeline(toy_pipeline(tiles={"count": 3}, stages=STAGES), tmp_path)
    assert result.stopped.startswith("stopped: no space left on the disk")


def test_a_command_that_finds_the_disk_full_before_it_begins_says_so(command_here, tmp_path, monkeypatch):
    (tmp_path / "p.yaml").write_text("astrosurvey: 1\ntiles: {count: 1}\nstages:\n  simulate: {use: simulate.sky}\n")
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    ended = command_here("run", "p.yaml")
    assert ended.returncode == 3
    assert "error: no space left on the disk; make room and run the same command again" in ended.stderr
