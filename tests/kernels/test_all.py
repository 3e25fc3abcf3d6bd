"""Tests over all kernels: the twins agree with the reference and each other, and the CUDA twin compiles for an H200."""

from __future__ import annotations

import ast
import inspect
import json
import time
from pathlib import Path

import numpy as np
import pytest

from astrosurvey import kernels
from tools.kernel_figures import KEPT, toolkit

from .twins import assert_agree, examples, flat

ALL = kernels.load()
FOLDER = Path(kernels.__file__).parent
REGISTERS = 65536
SHARED = 48 * 1024

each = pytest.mark.parametrize("kernel", ALL, ids=lambda kernel: kernel.name)
pytestmark = pytest.mark.timeout(900)  # the first of these compiles every kernel


@each
def test_cpu_twin_is_the_reference_and_leaves_its_arguments_alone(kernel):
    for i, arguments in enumerate(examples(kernel)):
        before = [np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments]
        wanted = flat(kernel.reference(*arguments))
        assert_agree(flat(kernel.cpu(*arguments)), wanted, kernel, f"example {i}")
        for n, (now, then) in enumerate(zip(arguments, before, strict=True)):
            np.testing.assert_array_equal(now, then, err_msg=f"example {i}: argument {n} was changed")


def results(twins, kernel, way):
    """Return what one way of running a kernel gave, by example."""
    found = []
    for i in range(len(examples(kernel))):
        assert (error := f"{kernel.name}/{way}/{i}/error") not in twins, f"example {i}: {twins[error]}"
        count = sum(key.startswith(f"{kernel.name}/{way}/{i}/") for key in twins)
        found.append([twins[f"{kernel.name}/{way}/{i}/{k}"] for k in range(count)])
    return found


@each
def test_result_does_not_depend_on_the_number_of_threads(kernel, twins):
    for i, (one, two) in enumerate(zip(results(twins, kernel, "one"), results(twins, kernel, "two"), strict=True)):
        assert [part.tobytes() for part in one] == [part.tobytes() for part in two], f"example {i}"


@each
def test_cuda_twin_in_the_simulator_is_the_cpu_twin(kernel, twins):
    for i, (cpu, cuda) in enumerate(zip(results(twins, kernel, "one"), results(twins, kernel, "simulator"), strict=True)):
        assert_agree(cuda, cpu, kernel, f"example {i}")


@each
def test_cuda_twin_compiles_for_an_h200_within_its_means(kernel, figures):
    found = figures["kernels"][kernel.name]
    assert "error" not in found, found["error"]
    assert bool(found) != bool(kernel.host)
    for name, values in found.items():
        assert values["spills"] == 0, f"{name} spills {values['spills']} bytes of registers"
        assert -(-values["registers"] // 8) * 8 * values["threads"] <= REGISTERS, f"{name}: too many registers for its blocks"
        assert values["shared"] <= SHARED, f"{name} takes {values['shared']} bytes of shared memory"
        assert not values["contracted"], f"{name} contracts multiplications and additions, which the CPU does not"
        assert kernel.float64 or not values["float64"], f"{name} calculates in double precision; type its literals, or say why"


@each
def test_kept_figures_are_fresh(kernel, figures):
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    if kept["toolkit"] != toolkit():
        pytest.skip(f"the figures that are kept were made with {kept['toolkit']}")
    assert kept["kernels"].get(kernel.name) == figures["kernels"][kernel.name], "run `make generate`"


@each
def test_example_is_small_and_the_declaration_whole(kernel):
    for i, arguments in enumerate(examples(kernel)):
        sizes = [a.size for a in arguments if isinstance(a, np.ndarray)]
        assert max(sizes) <= 8 * 64 * 64, f"example {i} is too large for the simulator"
    assert kernel.summary.strip()
    assert kernel.summary.count("\n") == 0
    assert all(1 <= launch.threads <= 1024 for launch in kernel.launches)
    assert inspect.getdoc(kernel.reference)


@pytest.mark.gpu
@each
def test_cuda_twin_on_a_gpu_is_the_cpu_twin(kernel):
    for i, arguments in enumerate([*examples(kernel), *([kernel.large(np.random.default_rng(1))] if kernel.large else [])]):
        wanted = flat(kernel.cpu(*arguments))
        assert_agree(flat(kernel.cuda(*arguments)), wanted, kernel, f"example {i}")
        started = time.perf_counter()
        got = flat(kernel.cuda(*arguments))
        seconds = time.perf_counter() - started
        moved = sum(a.nbytes for a in [*arguments, *got] if isinstance(a, np.ndarray))
        print(f"{kernel.name}, example {i}: {seconds * 1e3:.2f} ms with transfers, {moved / seconds / 1e9:.1f} GB/s")


MODULES = sorted(FOLDER.glob("*.py"))


def calls(tree):
    """Yield (line, dotted name) of every call in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_source_keeps_the_rules_that_the_simulator_does_not_check(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    shared = [line for line, name in calls(tree) if name.endswith("shared.array")]
    assert len(shared) == len(set(shared)), f"{path.name}: two shared arrays in one line are one array in the simulator"
    unknown = ("shfl_", "ballot_sync", "match_any", "match_all", "syncwarp", "libdevice")
    used = [f"line {line}: {name}" for line, name in calls(tree) if any(word in name for word in unknown)]
    assert not used, f"{path.name}: not in the simulator: {used}"
    if path.name != "_numba.py":
        imported = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        assert not [text for text in imported if "numba.cuda" in text or "from numba import cuda" in text]


def test_every_file_with_a_kernel_is_listed():
    found = {path.stem for path in MODULES if "\nKERNEL = " in path.read_text(encoding="utf-8")}
    assert found == set(kernels.MODULES)
    assert [kernel.name for kernel in ALL] == list(kernels.MODULES)
