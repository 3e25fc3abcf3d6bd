"""What the tests of all kernels share: the results of one separate process, and of one compilation for the GPU."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def selected(request):
    """Return the names of the kernels that the tests about to run are about."""
    parameters = (getattr(item, "callspec", None) for item in request.session.items)
    return sorted({p.params["kernel"].name for p in parameters if p and "kernel" in p.params})


def once(request, tmp_path_factory, name, command, **environment):
    """Run a command once for all workers of pytest-xdist, with the file to write and the kernels' names behind it; return the file."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    made = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_file():
            scratch = folder / f"scratch-{name}"
            argv = [sys.executable, *command, str(scratch), *selected(request)]
            paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
            done = subprocess.run(
                argv, env={**os.environ, "PYTHONPATH": paths, **environment}, cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert scratch.is_file(), done.stdout[-2000:] + done.stderr[-4000:]
            scratch.rename(made)
    return made


@pytest.fixture(scope="session")
def twins(request, tmp_path_factory):
    """What the twins gave in a process with numba's simulator: arrays by "kernel/way/example/result"."""
    import numpy as np

    settings = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_NUM_THREADS": "2"}
    made = once(request, tmp_path_factory, "twins.npz", ["-m", "tests.kernels.twins"], **settings)
    with np.load(made) as kept:
        return dict(kept)


@pytest.fixture(scope="session")
def figures(request, tmp_path_factory):
    """What the compiler says of the CUDA functions, by kernel and function."""
    from tools.kernel_figures import ptxas

    if ptxas() is None:
        why = "no CUDA toolkit with ptxas and NVVM is installed; CUDA_HOME may name one"
        assert not os.environ.get("ASTROSURVEY_REQUIRE_PTX"), why
        pytest.skip(why)
    return json.loads(once(request, tmp_path_factory, "figures.json", ["tools/kernel_figures.py"]).read_text())
