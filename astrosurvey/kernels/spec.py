"""What a kernel declares of itself, so that tests, docs and `astrosurvey doctor` can go over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Launch:
    """One CUDA kernel function of a kernel's CUDA twin.

    Attributes:
        function: a plain Python function in numba-cuda's dialect; jitted when first launched.
        signature: its argument types as numba writes them, such as "void(float32[:,::1], int32[::1])".
        threads: the most threads in a block that it is launched with.
    """

    function: Callable[..., None]
    signature: str
    threads: int


@dataclass(frozen=True)
class KernelSpec:
    """A numerical kernel: three functions with one meaning, and what the tests of all kernels need.

    `reference`, `cpu` and `cuda` take the same arguments (host NumPy arrays and numbers) and return the
    same host arrays.

    Attributes:
        name: such as "mesh", the name of its file.
        summary: one line.
        reference: NumPy and SciPy, written to be read.
        cpu: compiled, threaded, without the GIL; what a stage runs on device "cpu".
        cuda: what a stage runs on device "cuda"; also runs in numba's simulator.
        launches: the CUDA kernel functions behind `cuda`.
        example: returns several tuples of arguments, of at most 64 x 64 pixels, dirt included, drawn from
            the generator it is given.
        rtol: relative tolerance between the twins and the reference; 0 where they must be equal.
        atol: absolute tolerance.
        large: returns one tuple of arguments of a survey's size, to be run and timed where there is a GPU.
        float64: whether the CUDA twin may calculate in double precision, and why; "" for no.
        host: why the CUDA twin runs on the host, with no launches; "" where it does not.
    """

    name: str
    summary: str
    reference: Callable[..., Any]
    cpu: Callable[..., Any]
    cuda: Callable[..., Any]
    launches: tuple[Launch, ...]
    example: Callable[[np.random.Generator], Sequence[tuple[Any, ...]]]
    rtol: float
    atol: float = 0.0
    large: Callable[[np.random.Generator], tuple[Any, ...]] | None = None
    float64: str = ""
    host: str = ""

    def on(self, device: Literal["cpu", "cuda"]) -> Callable[..., Any]:
        """Return the twin that runs on a device."""
        return self.cuda if device == "cuda" else self.cpu
