"""Spectra on the grid of the templates, a number of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ....catalog.flags import SPECTRUM_PIXEL
from ....core.stage import Context
from ....products import Spectra
from ..forest import mean_transmission
from ..resample.rows import resampled
from ..templates import LOG_STEP
from .sets import ScanSet

ROWS = 16
"""Spectra that are fitted at a time."""
EVEN = 0.02
"""Of a pixel: wavelengths that miss the grid's step by less than this over the whole range are on it."""
TERMS = 13
"""Legendre polynomials that are kept at hand: all that any model needs."""
LEAST_PIXELS = 30
"""A spectrum with fewer usable pixels is not fitted; the model has half as many parameters."""
SKY = SPECTRUM_PIXEL.combine(["SKY_LINE", "TELLURIC"])
"""Mask bits of pixels in which what is left of sky lines, or an imperfect correction of the atmosphere, may exceed the errors."""
THRESHOLD = 0.5
"""Of a pixel, see `spectra.resample`."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some spectra on the templates' grid, each in units of its own root mean square.

    Attributes:
        flux: (row, pixel) float64; 0 where unusable.
        ivar: (row, pixel) float64; 0 where unusable.
        first: number of the first pixel, as in `TemplateSet`.
        offset: by what part of a pixel all pixels lie behind the numbered ones.
        scale: (row,) float64, what the flux was divided by.
        place: (row, pixel) float64, -1 at the first usable pixel and 1 at the last, not beyond.
    """

    flux: torch.Tensor
    ivar: torch.Tensor
    first: int
    offset: float
    scale: torch.Tensor
    place: torch.Tensor

    def __len__(self) -> int:
        return len(self.flux)

    @property
    def pixels(self) -> int:
        """How many there are in a row."""
        return self.flux.shape[1]

    @cached_property
    def polynomials(self) -> torch.Tensor:
        """(row, `TERMS`, pixel) float64, Legendre polynomials over each row's usable range."""
        x = self.place
        values = [torch.ones_like(x), x]
        for k in range(1, TERMS - 1):
            values.append(((2 * k + 1) * x * values[k] - k * values[k - 1]) / (k + 1))
        return torch.stack(values, dim=1)

    @cached_property
    def forest(self) -> torch.Tensor:
        """(pixel,) float64, mean transmission of the Lyα forest in light that was emitted blueward of Lyα."""
        wave = 10 ** (LOG_STEP * (self.first + self.offset + np.arange(self.pixels)))
        return torch.from_numpy(mean_transmission(wave)).to(self.flux.device)

    @cached_property
    def used(self) -> torch.Tensor:
        """(row,) how many pixels are usable."""
        return (self.ivar > 0).sum(dim=1)


def reach(sets: Sequence[ScanSet]) -> tuple[int, int]:
    """Return the numbers of the first pixel that every set reaches at one of its redshifts, and of the one behind the last."""
    return max(s.first + s.shifts[0] for s in sets), min(s.first + s.flux.shape[1] + s.shifts[1] for s in sets)


def blocks(ctx: Context, spectra: Spectra, limits: tuple[int, int], sky_weight: np.ndarray | float) -> Iterator[tuple[np.ndarray, Block]]:
    """Yield row numbers (row,) and those spectra; spectra with fewer than `LEAST_PIXELS` usable pixels in reach are passed over.

    Args:
        ctx: says on what device and in what batches.
        spectra: on any grid.
        limits: numbers of the first pixel to use and of the one behind the last.
        sky_weight: by what the inverse variances of pixels on sky lines and in telluric bands are multiplied; (spectrum,) or for all.
    """
    sky_weight = np.broadcast_to(np.float32(sky_weight), len(spectra))
    if len(spectra) == 0 or spectra.flux.shape[1] < 2:
        return
    on_grid = _numbered(spectra.wave) if spectra.shared else None
    count = max(1, int(ROWS * ctx.batch))
    parts = [slice(begin, begin + count) for begin in range(0, len(spectra), count)]
    quiet = replace(ctx, progress=lambda done, total: None)
    span = _span(spectra, parts, limits)
    if span is None:
        return
    for rows in parts:
        part = spectra.take(rows)
        numbers = np.flatnonzero((part.usable() & _within(part.wave, limits)).sum(axis=1) >= LEAST_PIXELS)
        if len(numbers):
            part = part.take(numbers)
            if on_grid is None:
                wave = 10 ** (LOG_STEP * np.arange(span[0], span[1] + 1))
                part = resampled(quiet, part, wave, THRESHOLD)
                first, offset, cut = span[0], 0.0, slice(None)
            else:
                first, offset = span[0], on_grid[1]
                cut = slice(span[0] - on_grid[0], span[1] + 1 - on_grid[0])
            good = part.usable()[:, cut]
            enough = good.sum(axis=1) >= LEAST_PIXELS
            if enough.any():
                flux, ivar, mask = (plane[enough][:, cut] for plane in (part.flux, part.ivar, part.mask))
                numbers = rows.start + numbers[enough]
                ivar = ivar * np.where(mask & SKY, sky_weight[numbers, None], np.float32(1))
                yield numbers, _block(flux, ivar, good[enough], first, offset, ctx.device)
        ctx.progress(min(rows.stop, len(spectra)), len(spectra))


def _within(wave: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    low, high = (10 ** (LOG_STEP * (limit - 0.5)) for limit in limits)
    inside: np.ndarray = (wave >= low) & (wave < high)
    return inside


def _span(spectra: Spectra, parts: list[slice], limits: tuple[int, int]) -> tuple[int, int] | None:
    """Return the numbers of the first and the last pixel that any spectrum can use; None when there are none."""
    low, high = np.inf, -np.inf
    for rows in parts:
        part = spectra.take(rows)
        good = part.usable() & _within(part.wave, limits)
        if good.any():
            where = np.broadcast_to(part.wave, good.shape)[good]
            low, high = min(low, float(where.min())), max(high, float(where.max()))
    if high < low:
        return None
    first, last = (np.log10(edge) / LOG_STEP for edge in (low, high))
    return int(np.floor(first + EVEN)), int(np.floor(last + EVEN))


def _numbered(wave: np.ndarray) -> tuple[int, float] | None:
    """Return the number of the first pixel and the part of a pixel by which it lies behind; None off the grid's step."""
    with np.errstate(divide="ignore", invalid="ignore"):
        number = np.log10(wave) / LOG_STEP
        start = float(np.mean(number - np.arange(len(wave))))
        # What is no wavelength is off it, too, and refused where spectra are put on it.
        if not np.abs(number - start - np.arange(len(wave))).max() <= EVEN:
            return None
    first = int(np.floor(start + EVEN))
    return first, start - first


def _block(flux: np.ndarray, ivar: np.ndarray, good: np.ndarray, first: int, offset: float, device: Any) -> Block:
    usable = torch.from_numpy(np.ascontiguousarray(good)).to(device)
    planes = (torch.from_numpy(np.array(plane, np.float64)).to(device) for plane in (flux, ivar))
    f, w = (torch.where(usable, plane, torch.zeros_like(plane)) for plane in planes)
    total = w.sum(dim=1)
    scale = torch.sqrt((w * f**2).sum(dim=1) / total)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    pixel = torch.arange(f.shape[1], dtype=torch.float64, device=device)
    start, stop = (torch.argmax(side.to(torch.int8), dim=1, keepdim=True) for side in (usable, usable.flip(1)))
    stop = f.shape[1] - 1 - stop
    place = (2 * (pixel - start) / (stop - start) - 1).clamp(-1, 1)
    return Block(f / scale[:, None], w * scale[:, None] ** 2, first, offset, scale, place)
