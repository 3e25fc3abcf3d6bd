"""The kernel layer: what the compiler keeps and says, threads, and the local engine's workers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from toy import Number

from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.engines.local import LocalEngine
from astrosurvey.kernels import _cache, ahead
from astrosurvey.kernels._numba import empty, parallel, prange
from tools.kernel_figures import _arithmetic

pytestmark = pytest.mark.timeout(900)  # two of these compile every kernel that is not compiled yet
ROOT = Path(__file__).parents[2]

COMPILES = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
logging.getLogger("astrosurvey.notes").setLevel("INFO")
import numpy as np
from astrosurvey.kernels import _numba
sys.path.insert(0, sys.argv[1])
import _dozen
print(_dozen.twelve(np.arange(3.0)), _dozen.again(2), _dozen.again(2.0))
"""

DOZEN = """
from astrosurvey.kernels._numba import helper, parallel, prange

@helper
def times(x):
    return 12 * x

@parallel
def twelve(values):
    out = values.copy()
    for i in prange(len(values)):
        out[i] = times(values[i])
    return out

@helper
def again(x):
    return times(x)
"""


def test_compiling_is_said_once_and_only_when_something_is_compiled(tmp_path):
    (tmp_path / "_dozen.py").write_text(DOZEN)
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    said = [
        subprocess.run([sys.executable, "-c", COMPILES, tmp_path], capture_output=True, text=True, check=True, env=settings).stdout
        for _ in range(2)
    ]
    result = "[ 0. 12. 24.] 24 24.0\n"
    assert said[0].endswith(result)
    assert said[0].count("compiling the kernel dozen for this machine") == 1
    assert said[0].count("\n") == 2
    assert said[1] == result


def test_a_changed_helper_in_another_file_changes_the_folder(tmp_path):
    helpers, kernel = tmp_path / "_helpers.py", tmp_path / "kernel.py"
    helpers.write_text("a = 1\n")
    kernel.write_text("b = 2\n")
    before = _cache.key([helpers, kernel])
    stamp = helpers.stat().st_mtime_ns
    assert _cache.key([helpers, kernel]) == before
    helpers.write_text("a = 3\n")
    os.utime(helpers, ns=(stamp, stamp))
    assert _cache.key([helpers, kernel]) != before


def test_every_source_of_the_kernels_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    seen = []
    monkeypatch.setattr(_cache, "key", lambda sources: seen.extend(sources) or "0" * 16)
    assert _cache.make_folder() == tmp_path / ("0" * 16)
    assert {path.name for path in seen} >= {"_numba.py", "_cache.py", "spec.py"}


def test_folders_of_other_versions_go_when_they_are_old(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    old, recent, alien = tmp_path / ("a" * 16), tmp_path / ("b" * 16), tmp_path / "somebody else's"
    for folder in (old, recent, alien):
        folder.mkdir()
    for folder in (old, alien):
        os.utime(folder, (time.time() - 2 * _cache.KEEP,) * 2)
    mine = _cache.make_folder()
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, recent.name, alien.name}


def test_a_disk_that_cannot_be_written_gets_a_folder_elsewhere(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    folder = _cache.make_folder()
    assert folder.is_dir()
    assert tmp_path not in folder.parents


def test_state_of_the_cache():
    ahead.compile_all()
    state = ahead.cache_state()
    assert set(state.compiled) == set(ahead.MODULES)
    assert str(state.folder) in str(state)


@parallel
def _doubled(values, out):
    for i in prange(len(values)):
        out[i] = 2 * values[i]


def test_loops_may_be_entered_by_several_threads_at_once():
    values = np.arange(200_000)
    outs = [np.empty_like(values) for _ in range(4)]
    threads = [threading.Thread(target=_doubled, args=(values, out)) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(out, 2 * values) for out in outs)


def test_openmp_is_the_threading_layer():
    import numba

    _doubled(np.arange(3), np.empty(3, int))
    if numba.threading_layer() == "workqueue":
        pytest.skip("this numba was built without OpenMP")
    assert numba.threading_layer() == "omp"


def test_memory_that_was_not_written_shows_in_the_simulator():
    code = (
        "import numpy as np; from astrosurvey.kernels._numba import empty;"
        "print(np.isnan(empty(3, 'f4')).all(), (empty(2, 'i4') == -1).all(), (empty(2, 'u1') == 255).all(), empty(1, bool))"
    )
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=settings)
    assert done.stdout.split() == ["True", "True", "True", "[", "True]"]
    assert callable(empty)


@pytest.mark.parametrize(
    ("line", "float64", "contracted"),
    [
        ("add.rn.f32 \t%f3, %f1, %f2;", False, False),
        ("@%p1 bra \t$L__BB0_2;", False, False),
        ("fma.rn.f32 \t%f3, %f1, %f2, %f0;", False, False),
        ("mul.f32 \t%f3, %f1, %f2;", False, True),
        ("mul.rn.f64 \t%fd3, %fd1, %fd2;", True, False),
        ("@%p2 cvt.f64.f32 \t%fd1, %f1;", True, False),
        ("ld.param.f64 \t%fd1, [x];", False, False),
        ("st.global.f64 \t[%rd1], %fd1;", False, False),
        ("mad.lo.s32 \t%r1, %r2, %r3, %r4;", False, False),
        ("setp.gt.f64 \t%p1, %fd1, 0d0;", True, False),
    ],
)
def test_arithmetic_is_recognised_in_ptx(line, float64, contracted):
    assert _arithmetic(f"\t{line}\n") == {"float64": float64, "contracted": contracted}


@pytest.mark.parametrize("workers", [1, 2])
def test_loops_run_in_spawned_workers_which_share_out_the_cores(toy_pipeline, tmp_path, monkeypatch, workers):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    seen = []
    pipeline = toy_pipeline(tiles={"count": 3}, stages={"loop": {"use": "toy.loop"}})
    result = run_pipeline(pipeline, tmp_path / "run", engine=lambda: LocalEngine(workers, memory_limit=0), listeners=[seen.append])
    assert result.exit_code == ExitCode.OK, result.failures
    share = max(1, len(os.sched_getaffinity(0)) // workers)
    assert {result.read("loop", "number", Number, f"t{i:04d}").value for i in range(3)} == {share}
    notes = [event.data["line"] for event in seen if event.kind == "task_note"]
    assert len(notes) == 1
    assert notes[0].startswith("compiling the kernel toyloops for this machine, once")


def test_a_run_in_this_process_says_on_the_screen_that_it_compiles(command, tmp_path):
    (tmp_path / "loop.yaml").write_text("astrosurvey: 1\ntiles: {count: 2}\nstages: {loop: {use: toy.loop}}\n")
    settings = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "ASTROSURVEY_PLUGINS": "toy"}
    first, again = (command("run", "loop.yaml", "--out", out, "--no-report", env=settings) for out in ("a", "b"))
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("compiling the kernel toyloops") == 1
    assert "compiling" not in again.stderr


def test_doctor_tells_what_is_compiled_and_compiles_the_rest(command, tmp_path):
    n = len(ahead.MODULES)
    assert f"0 of {n} kernels compiled" in command("doctor", "--json", env={"NUMBA_CACHE_DIR": str(tmp_path)}).stdout
    done = command("doctor", "--compile", timeout=600)  # into the cache that the other tests fill, too
    assert f"{n} of {n} kernels compiled" in done.stdout
    assert done.stderr.count("] kernel ") == n
