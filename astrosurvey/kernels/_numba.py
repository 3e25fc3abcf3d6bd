"""The one door to numba and numba-cuda: decorators, the compiler's settings, and device arrays.

The arithmetic of a kernel is written once, as `helper` functions. Its CPU twin loops over them in a
`parallel` function, its CUDA twin in functions that `launch` compiles and starts. Torch owns device
memory and streams. In numba's simulator (NUMBA_ENABLE_CUDASIM=1) device arrays are NumPy arrays.

Threads: numba's OpenMP layer comes first, since it alone of the two that numba's wheels bring may be
entered by several Python threads at once; the other, "workqueue", ends the process then. OpenMP
in turn ends a process that was *forked* after a loop has run and runs one itself: start processes with
"spawn", torch's DataLoader workers too. NUMBA_NUM_THREADS says how many threads loops use; the local
engine shares the cores out among its workers by it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

# Read when numba is imported. Torch's stream orders our launches, so numba need not wait for the device
# before each of them; and small images fill no GPU, which is no news to warn of.
os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", "omp tbb workqueue")
os.environ.setdefault("NUMBA_CUDA_ARRAY_INTERFACE_SYNC", "0")
os.environ.setdefault("NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS", "0")

import numba
import numpy as np
from numba import cuda as _cuda
from numba import prange as prange
from numba.core import event

from . import _cache

cuda: Any = _cuda  # it has no types

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"

CACHE_FOLDER = _cache.make_folder()

event.register("numba:compile", _cache.Announcer(CACHE_FOLDER))


def _cpu_compiler(**options: Any) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        # A function's place on disk is fixed here. Elsewhere the setting is left as it is, for it is the whole process's.
        before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
        numba.config.CACHE_DIR = str(CACHE_FOLDER)  # type: ignore[attr-defined]
        try:
            return numba.njit(error_model="numpy", nogil=True, cache=True, **options)(function)
        finally:
            numba.config.CACHE_DIR = before  # type: ignore[attr-defined]

    return decorate


helper: Callable[..., Any] = _cpu_compiler()
"""Arithmetic that both twins use: scalars, and arrays that are handed in."""

inlined: Callable[..., Any] = _cpu_compiler(forceinline=True)
"""Short arithmetic within inner loops, where handing over many arrays would cost more than the arithmetic."""

serial = helper
"""A CPU function that runs in one thread."""

parallel: Callable[..., Any] = _cpu_compiler(parallel=True)
"""A CPU function that loops with `prange`. Its result must not depend on the number of threads."""


def read_only(*arrays: np.ndarray) -> list[np.ndarray]:
    """Return views that nobody writes to: whatever the caller's arrays are, one compiled function serves."""
    views = [array.view() for array in arrays]
    for view in views:
        view.setflags(write=False)
    return views


@cache
def without_contraction() -> None:
    """Have a * b + c rounded twice on the GPU, as on the CPU, from now on: results must not depend on the device."""
    from numba.cuda import compiler, dispatcher

    def wrapped(compile_cuda: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(compile_cuda)
        def without(*arguments: Any, **named: Any) -> Any:
            named["nvvm_options"] = {**(named.get("nvvm_options") or {}), "fma": False}
            return compile_cuda(*arguments, **named)

        return without

    compiler.compile_cuda = dispatcher.compile_cuda = wrapped(compiler.compile_cuda)  # type: ignore[attr-defined]


if SIMULATED:
    from numba.cuda.simulator import kernel as _simulator

    # The simulator hands arrays over in a wrapper that compiled helpers do not take.
    _simulator.FakeWithinKernelCUDAArray = lambda array: array._ary  # type: ignore[misc,assignment]


@cache
def _jitted(function: Callable[..., None]) -> Any:
    # Link-time optimisation would contract multiplications and additions again.
    if SIMULATED:
        return cuda.jit(function)
    without_contraction()
    return cuda.jit(function, lto=False)


def launch(function: Callable[..., None], blocks: int | tuple[int, ...], threads: int | tuple[int, ...], *arguments: Any) -> None:
    """Compile a CUDA kernel function if need be, and start it on torch's current stream; nothing happens without blocks."""
    if 0 in ((blocks,) if isinstance(blocks, int) else blocks):  # CUDA takes no empty grid; the simulator does
        return
    stream: Any = 0
    if not SIMULATED:
        import torch

        stream = cuda.external_stream(torch.cuda.current_stream().cuda_stream)
    _jitted(function)[blocks, threads, stream](*arguments)


def upload(array: np.ndarray) -> Any:
    """Return a device copy of a host array: a torch tensor, or in the simulator a NumPy array."""
    if SIMULATED:
        return np.array(array)
    import torch

    pinned = torch.empty(array.shape, dtype=getattr(torch, array.dtype.name), pin_memory=True)
    np.copyto(pinned.numpy(), array)
    return pinned.to("cuda", non_blocking=True)


def empty(shape: int | tuple[int, ...], dtype: Any) -> Any:
    """Return an uninitialised device array; in the simulator it is filled so that reading it shows."""
    if SIMULATED:
        return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else -1).astype(dtype)
    import torch

    return torch.empty(shape, dtype=getattr(torch, np.dtype(dtype).name), device="cuda")


def zeros(shape: int | tuple[int, ...], dtype: Any) -> Any:
    """Return a device array of zeros."""
    if SIMULATED:
        return np.zeros(shape, dtype)
    import torch

    return torch.zeros(shape, dtype=getattr(torch, np.dtype(dtype).name), device="cuda")


def download(array: Any) -> np.ndarray:
    """Return a device array on the host, in pinned memory: torch keeps that for the next one, and fresh memory costs more than the copy."""
    if isinstance(array, np.ndarray):
        return array
    import torch

    pinned = torch.empty(array.shape, dtype=array.dtype, pin_memory=True)
    pinned.copy_(array)
    return pinned.numpy()


def argsort(array: Any) -> Any:
    """Return the order of a device array's elements, smallest first, equal ones as they stand; a device array."""
    if SIMULATED:
        return np.argsort(array, kind="stable")
    import torch

    return torch.argsort(array, stable=True)
