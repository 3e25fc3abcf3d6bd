"""Templates that assume no profile: symmetric about the centre, and nowhere brighter than further in."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch


def symmetric(stamps: torch.Tensor, known: torch.Tensor, size: int, dx: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
    """Return the lesser of each pixel and the one opposite about the centre, not negative.

    Args:
        stamps: (b, size * size) flux per pixel.
        known: (b, size * size) bool, usable pixels; where one of the two is not, the other stands alone.
        size: side of the stamps.
        dx, dy: (b,) centres relative to the middle pixel; the mirror lies at the nearest half pixel.

    References:
        Lupton (2005), SDSS Image Processing II: the Photo pipelines (deblending).
    """
    side = torch.arange(size, device=stamps.device)
    my = 2 * (size // 2) + torch.round(2 * dy).long()[:, None] - side
    mx = 2 * (size // 2) + torch.round(2 * dx).long()[:, None] - side
    inside = ((my >= 0) & (my < size))[:, :, None] & ((mx >= 0) & (mx < size))[:, None, :]
    opposite = (my.clamp(0, size - 1)[:, :, None] * size + mx.clamp(0, size - 1)[:, None, :]).flatten(1)
    bound = torch.where(known, stamps, torch.inf)  # what is not known bounds nothing
    lesser = torch.where(inside.flatten(1), torch.minimum(bound, bound.gather(1, opposite)), bound)
    return torch.where(lesser < torch.inf, lesser, 0.0).clamp_min(0.0)


def monotone(stamps: torch.Tensor, size: int) -> torch.Tensor:
    """Return the stamps cut down so that no pixel is brighter than any on its way to the middle pixel.

    Args:
        stamps: (b, size * size) flux per pixel, not negative.
        size: side of the stamps.

    References:
        Melchior et al. (2018), Astron. Comput. 24, 129, arXiv:1802.10157.
    """
    result = stamps
    for step in _inwards(size):  # pointer doubling: each look reaches twice as far
        result = torch.minimum(result, result.index_select(1, step.to(stamps.device)))
    return result


@lru_cache(maxsize=16)
def _inwards(size: int) -> tuple[torch.Tensor, ...]:
    """Return for each pixel the one that lies 1, 2, 4, … steps further in, as flat places."""
    y, x = (np.mgrid[:size, :size] - size // 2).astype(np.int64)
    steps = np.maximum(np.maximum(np.abs(x), np.abs(y)), 1)
    nearer_y = np.rint(y * (steps - 1) / steps).astype(np.int64) + size // 2
    nearer_x = np.rint(x * (steps - 1) / steps).astype(np.int64) + size // 2
    near = (nearer_y * size + nearer_x).reshape(-1)
    hops = []
    for _ in range(int(np.ceil(np.log2(size // 2))) + 1):
        hops.append(torch.from_numpy(near))
        near = near[near]
    return tuple(hops)
