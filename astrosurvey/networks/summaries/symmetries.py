"""Turns, mirror images and shifts under which data mean the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

Symmetry = Literal["none", "mirror", "square", "torus"]
"""Of the last two axes: none; mirror images; turns by 90 degrees as well; shifts around the edges as well."""


def orbit(x: Tensor, symmetry: Symmetry) -> Iterator[Tensor]:
    """Yield the data in each of their equivalent positions but for shifts: one, four or eight.

    Args:
        x: (batch, …, y, x); y = x for turns.
        symmetry: which.
    """
    positions = {"none": 1, "mirror": 4}.get(symmetry, 8)
    for position in range(positions):
        yield _placed(x, position)


def moved(x: Tensor, symmetry: Symmetry, generator: torch.Generator) -> Tensor:
    """Return a batch in one random equivalent position, shifts included.

    Args:
        x: (batch, …, y, x); y = x for turns.
        symmetry: which.
        generator: of random numbers, on the CPU.
    """
    if symmetry == "none":
        return x
    position = int(torch.randint(4 if symmetry == "mirror" else 8, (), generator=generator))
    x = _placed(x, position)
    if symmetry == "torus":
        shift = [int(torch.randint(n, (), generator=generator)) for n in x.shape[-2:]]
        x = x.roll(shift, dims=(-2, -1))
    return x


def _placed(x: Tensor, position: int) -> Tensor:
    """Return the data mirrored along the last axis, the one before it, and both exchanged, as bits of the position say."""
    flipped = [axis for bit, axis in ((1, -1), (2, -2)) if position & bit]
    x = x.flip(flipped) if flipped else x
    return x.transpose(-1, -2) if position & 4 else x
