"""The pixels of a block's windows, gathered from a batch of spectra, ragged grids and all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from ..velocity import LIGHT
from .blocks import Block


@dataclass(frozen=True)
class Sampled:
    """A batch of spectra whose lines are to be fitted; arrays (n, pixel) unless said otherwise.

    Attributes:
        low, high: natural logarithm of the pixels' edges in the rest frame of each spectrum.
        width: of the pixels, Å as observed.
        flux: continuum subtracted, in units of `scale`.
        weight: inverse variance in these units; 0 where nothing is usable.
        scale: (n,) noise of a typical pixel.
    """

    low: np.ndarray
    high: np.ndarray
    width: np.ndarray
    flux: np.ndarray
    weight: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Pixels:
    """The pixels of a block, one window behind the other, each divided by its noise; what is no pixel has no weight.

    Attributes:
        edges: (n, p + 1) natural logarithm of rest wavelengths.
        gain: (n, p) what turns a line's flux within a pixel into units of its noise.
        flux: (n, p) over its noise.
        base: (n, 2 w, p) the continuum's columns over the noise: a level and a slope in each window.
        covered: (n, column) part of the width around each flux's lines that usable pixels cover.
        reached: (n, column) whether the spectrum's range reaches to one of these lines at all.
    """

    edges: torch.Tensor
    gain: torch.Tensor
    flux: torch.Tensor
    base: torch.Tensor
    covered: torch.Tensor
    reached: torch.Tensor

    def take(self, rows: torch.Tensor) -> Pixels:
        """Return those of some spectra."""
        return Pixels(*(getattr(self, field.name)[rows] for field in fields(self)))


CORE = 250.0 / LIGHT
"""Natural logarithm to both sides of a line within which its pixels must be there."""


def gather(block: Block, sampled: Sampled, device: str) -> Pixels:
    """Return a block's pixels.

    Args:
        block: says which.
        sampled: the spectra.
        device: where the tensors are to be.
    """
    edges, planes = [], []
    for number, (start, stop) in enumerate(block.windows):
        first = (sampled.high <= start).sum(axis=1)
        count = (sampled.low < stop).sum(axis=1) - first
        place = first[:, None] + np.arange(max(int(count.max(initial=0)), 1))
        usable = place < (first + count)[:, None]
        place = np.minimum(place, sampled.flux.shape[1] - 1)
        low, high, width, flux, weight = (np.take_along_axis(getattr(sampled, field.name), place, axis=1) for field in fields(Sampled)[:5])
        centre = (low + high) / 2
        for begin, end in block.left_out:
            usable &= (centre < begin) | (centre > end)
        root = np.sqrt(np.where(usable, weight, 0.0))
        base = np.zeros((len(place), 2 * len(block.windows), place.shape[1]))
        base[:, 2 * number] = root
        base[:, 2 * number + 1] = root * (centre - (start + stop) / 2) / (stop - start)
        edges += [low, high[:, -1:]]
        planes.append([root / np.where(width > 0, width, 1), root * flux, base])  # filling has no width
    # Between two windows the edges make one pixel that is none.
    joined = [np.concatenate(_with_gaps(parts), axis=-1) for parts in zip(*planes, strict=True)]
    all_edges = np.concatenate(edges, axis=1)
    covered, reached = _coverage(block, sampled, all_edges, joined[0] > 0)
    return Pixels(*(torch.from_numpy(values).to(device) for values in (all_edges, *joined, covered, reached)))


def _with_gaps(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    gap = np.zeros_like(parts[0][..., :1])
    return [piece for part in parts for piece in (gap, part)][1:]


def _coverage(block: Block, sampled: Sampled, edges: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shape = (len(edges), len(block.columns))
    covered, reached = np.zeros(shape), np.zeros(shape, bool)
    for profile in block.profiles:
        low, high = profile.log_wave - CORE, profile.log_wave + CORE
        overlap = np.clip(np.minimum(edges[:, 1:], high) - np.maximum(edges[:, :-1], low), 0, None)
        here = (overlap * used).sum(axis=1) / (high - low)
        # Of tied lines the better one counts, for it alone gives the flux of both.
        covered[:, profile.column] = np.maximum(covered[:, profile.column], here)
        reached[:, profile.column] |= (sampled.low[:, 0] < profile.log_wave) & (profile.log_wave < sampled.high[:, -1])
    return covered, reached
