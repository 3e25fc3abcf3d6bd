"""Compiling all CPU twins ahead of their first use, and the state of the compiler's cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import MODULES, load

LOOPS = {"flood": "_basins", "linkage": "_spanning"}
"""The file that holds a kernel's CPU loops, where it is not the kernel's own; nothing in that one is compiled."""


@dataclass(frozen=True)
class CacheState:
    """What the compiler has kept on disk.

    Attributes:
        folder: where, for these sources.
        compiled: the kernels that have compiled functions in it.
        kernels: how many kernels there are.
        size: bytes in it.
        others: how many folders of other versions stand beside it.
        others_size: bytes in those.
    """

    folder: Path
    compiled: tuple[str, ...]
    kernels: int
    size: int
    others: int
    others_size: int

    def __str__(self) -> str:
        """Say it in a line."""
        said = f"{len(self.compiled)} of {self.kernels} kernels compiled, {self.size / 2**20:.1f} MiB in {self.folder}"
        return said + (f"; {self.others_size / 2**20:.1f} MiB of {self.others} other versions beside it" if self.others else "")


def cache_state() -> CacheState:
    """Return the state of the cache; compiles nothing."""
    from ._cache import others
    from ._numba import CACHE_FOLDER

    # numba names a file after the module, the function and its line: "mesh._measure-93.py311.nbi".
    found = {path.name.partition(".")[0] for path in CACHE_FOLDER.rglob("*.nbi")}
    beside = others(CACHE_FOLDER)
    return CacheState(
        folder=CACHE_FOLDER,
        compiled=tuple(name for name in MODULES if LOOPS.get(name, name) in found),
        kernels=len(MODULES),
        size=_size(CACHE_FOLDER),
        others=len(beside),
        others_size=sum(_size(folder) for folder in beside),
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def compile_all(progress: Callable[[int, int, str], None] = lambda done, total, name: None) -> None:
    """Compile every CPU twin, by running it on its example.

    Args:
        progress: called with how many are done, how many there are, and the name of the next.
    """
    import numpy as np

    kernels = load()
    for done, kernel in enumerate(kernels):
        progress(done, len(kernels), kernel.name)
        for arguments in kernel.example(np.random.default_rng(0)):
            kernel.cpu(*arguments)
