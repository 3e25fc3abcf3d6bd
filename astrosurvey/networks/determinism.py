"""What torch's results depend on besides their inputs, set for a while and given back as it was: seed and threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators, of the CPU and of the GPU in use, and restore them afterwards."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def chance(seed: int, step: int) -> torch.Generator:
    """Return a generator, on the CPU, whose numbers depend on seed and step alone: a training that goes on sees what it would have seen."""
    return torch.Generator().manual_seed(int(np.random.default_rng((seed, step)).integers(2**63)))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch calculate in that many threads on the CPU; sums over a batch, and so gradients, are rounded differently for each."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prediction_threads(precision: torch.dtype) -> AbstractContextManager[None]:
    """Let torch predict in as many threads as leave the result's bits alone.

    In single precision convolutions are rounded differently for different numbers of threads, so it is always two. In bfloat16
    what is rounded differs below the last bit that is kept, and as many as there are will do.
    """
    return threads(2 if precision == torch.float32 else max(2, torch.get_num_threads()))
