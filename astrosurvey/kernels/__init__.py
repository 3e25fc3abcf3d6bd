"""Numerical kernels: one file a kernel, each with a NumPy reference, a CPU twin and a CUDA twin.

`load()` returns all of them. A stage imports the one file it needs, inside `run`: nothing here is
imported, and nothing compiles, before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .spec import KernelSpec

MODULES: tuple[str, ...] = (
    "mesh",
    "sky_pixels",
    "subtract",
    "matched_filter",
    "cutouts",
    "components",
    "flood",
    "seeded_flood",
    "centroid",
    "radial",
    "posterior",
    "render",
    "aperture",
    "resample",
    "morton",
    "neighbours",
    "crossmatch",
    "nearest",
    "friends",
    "density",
    "edges",
    "aggregate",
    "linkage",
)
"""The files that hold a kernel, named after it, in the order of the documentation; each has a `KERNEL`."""


def load() -> tuple[KernelSpec, ...]:
    """Return every kernel; imports numba, compiles nothing."""
    return tuple(import_module(f".{name}", __name__).KERNEL for name in MODULES)
