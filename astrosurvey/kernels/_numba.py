"""The one door to numba and numba-cuda: decorators, the compiler's cache, and device arrays.

The arithmetic of a kernel is written once, as `helper` functions. Its CPU twin loops over them in a
`parallel` function, its CUDA twin in functions that `launch` compiles and starts. Torch owns device
memory and streams. In numba's simulator (NUMBA_ENABLE_CUDASIM=1) device arrays are NumPy arrays.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import cuda as cuda
from numba import prange as prange

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


def _cache_folder() -> str:
    """Return the cache's folder, named by all that compiled code depends on but numba does not look at."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources) + numba.__version__.encode()).hexdigest()[:16]
    home = os.environ.get("NUMBA_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "astrosurvey" / "kernels"
    return str(Path(home) / key)


CACHE_FOLDER = _cache_folder()
numba.config.CACHE_DIR = CACHE_FOLDER  # type: ignore[attr-defined]

helper: Callable[..., Any] = partial(numba.njit, error_model="numpy", nogil=True, cache=True)
"""Arithmetic that both twins use: scalars, and arrays that are handed in."""

serial = helper
"""A CPU function that runs in one thread."""

parallel: Callable[..., Any] = partial(numba.njit, parallel=True, error_model="numpy", nogil=True, cache=True)
"""A CPU function that loops with `prange`. Its result must not depend on the number of threads."""


@cache
def _jitted(function: Callable[..., None]) -> Any:
    return cuda.jit(function)


def launch(function: Callable[..., None], blocks: int | tuple[int, ...], threads: int | tuple[int, ...], *arguments: Any) -> None:
    """Compile a CUDA kernel function if need be, and start it on torch's current stream."""
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

    return torch.as_tensor(np.ascontiguousarray(array), device="cuda")


def empty(shape: int | tuple[int, ...], dtype: Any) -> Any:
    """Return an uninitialised device array; in the simulator it is filled so that reading it shows."""
    if SIMULATED:
        host = np.empty(shape, dtype)
        host.fill(np.nan if host.dtype.kind == "f" else np.iinfo(host.dtype).max)
        return host
    import torch

    return torch.empty(shape, dtype=getattr(torch, np.dtype(dtype).name), device="cuda")


def download(array: Any) -> np.ndarray:
    """Return a device array on the host."""
    return array if isinstance(array, np.ndarray) else np.asarray(array.cpu().numpy())
